"""Start a run from a notebook, or watch one that goes on elsewhere: a view of its run folder."""

import threading
from collections.abc import Callable
from pathlib import Path

import ipywidgets as w

from course_lib.errors import RunError, TunebookError
from course_lib.teaching import display, markdown
from course_lib.training import background, claim, follow
from course_lib.training.config import TrainConfig
from course_lib.training.result import CONFIG_FILE, RunResult
from course_lib.training.spread import ONE_PROCESS, Spread
from course_lib.widgets import checkpoint_slider, curves, style
from course_lib.widgets.background import InTurn

LOOK_S = 0.5
WORDS: dict[str, str] = {
    "none": "There is no run in this folder yet.",
    "starting": "Starting: reading the data and loading the model.",
    "running": "Running.",
    "finished": "Finished.",
    "stopped": "Stopped.",
    "failed": "Failed.",
    "interrupted": "Interrupted.",
    "other_version": "This folder was written by another version.",
}
BAR_STYLES = {"finished": "success", "failed": "danger", "other_version": "danger"}
BAR_STYLES |= {"stopped": "warning", "interrupted": "warning"}
GOES_ON = ("starting", "running")
CAN_RESUME = ("stopped", "interrupted", "failed")


class TrainingMonitor(style.Panel):
    """Watch a run: progress, curves, replies, scores; with a config, start one.

    The run has a process of its own: the kernel answers other cells meanwhile, and the run goes
    on when the kernel is restarted. A monitor on the same folder then shows it again.

    Args:
        run_dir: the run folder; the run may be over, or going on, or still to come, started here
            or in a shell.
        config: what to start; None only watches, and resumes with the folder's own config.
        spread: over how many processes, and with what.
    """

    def __init__(
        self,
        run_dir: Path | str,
        config: TrainConfig | None = None,
        spread: Spread = ONE_PROCESS,
    ) -> None:
        self.run_dir, self.config, self.spread = Path(run_dir), config, spread
        self.run: background.BackgroundRun | None = None
        self.follower = follow.Follower(self.run_dir)
        self.state = follow.RunState()
        self._drawing, self._background = threading.Lock(), InTurn()
        self._is_stopping = False
        self._seen: tuple[object, ...] = ()  # what is drawn
        self._make_controls()
        buttons = w.HBox(
            [self.start_button, self.stop_button, self.resume_button, self.look_button],
            layout=w.Layout(flex_flow="row wrap"),
        )
        self.views = [self.status, self.problem, self.numbers, self.curves, self.scores]
        self.views.append(self.samples)
        top = [self.title, buttons, self.bar]
        super().__init__([*top, *self.views], self.static)
        self.look()

    def _make_controls(self) -> None:
        self.title = w.HTML(style.heading(f"Run folder: {self.run_dir}"))
        self.start_button = _button("Start", "play", self.start, "Start the run")
        self.stop_button = _button(
            "Stop", "stop", self.stop, "End the run at its next step, with a checkpoint"
        )
        self.resume_button = _button(
            "Resume", "forward", self.resume, "Go on from the latest checkpoint"
        )
        self.look_button = _button(
            "Look again", "refresh", self.look, "Watch a run that was started elsewhere"
        )
        self.bar = w.IntProgress(
            description="Progress",
            layout=w.Layout(width="auto"),
            style={"description_width": "6em"},
        )
        self.status, self.problem, self.numbers = w.HTML(), w.HTML(), w.HTML()
        self.curves, self.scores, self.samples = w.HTML(), w.HTML(), w.HTML()

    # --- what the reader does ---

    def start(self) -> None:
        """Start the run in a process of its own and watch it."""
        self._begin(self.config, resume=False)

    def resume(self) -> None:
        """Go on with the run in this folder, and watch it."""
        self._begin(None, resume=True)

    def stop(self) -> None:
        """Ask the run to end at its next step, with a checkpoint."""
        try:
            if self.run is not None:
                self.run.stop()
            else:
                claim.ask_to_stop(self.run_dir)
        except TunebookError as error:
            self._say_problem(error)
            return
        self._is_stopping = True
        self._draw()

    def look(self) -> None:
        """Read what the run has written, and go on reading while it goes on."""
        if self.run is not None and not self.run.is_alive():
            self.run = None  # what goes on in the folder now is somebody else's
        self._draw()
        self._watch()

    def wait(self, timeout_s: float | None = None) -> follow.RunState:
        """Return when the run has ended; cells need not wait, scripts may.

        Args:
            timeout_s: how long at most; None for as long as it takes.

        Returns:
            How it stands.
        """
        self._background.wait(timeout_s)
        return self.state

    def finish(self) -> RunResult:
        """Start the run if nobody did, and wait for its end, or for another one's that goes on.

        The notebook then stores how the run ended.

        Returns:
            What the run left.

        Raises:
            RunError: it was stopped, or failed; says how to go on. Or the folder's run has another
                config than this monitor.
        """
        if not self.start_button.disabled:
            self.start()
        state = self.wait()
        self.store()
        if self.config is not None and (self.run_dir / CONFIG_FILE).is_file():
            from course_lib.training import folder  # loads torch, which takes seconds

            folder.check_run(self.run_dir, self.config, resume=True, spread=self.spread)
        if state.status in CAN_RESUME:
            said = state.message or WORDS[state.status]
            resume = "Press Resume in the monitor, then run this cell again."
            raise RunError(said, (state.status == "failed" and state.next_step) or resume)
        return follow.finished(self.run_dir)

    # --- what goes on behind it ---

    def _begin(self, config: TrainConfig | None, resume: bool) -> None:
        if self.run is not None and self.run.is_alive():
            return  # a second click, before the page heard of the first
        self._is_stopping = False
        spread = self.follower.spread() if resume else self.spread
        try:
            self.run = background.start(config, self.run_dir, resume, spread)
            self.follower = self.run.follower
        except TunebookError as error:
            self.look()
            self._say_problem(error)
            return
        self._draw()
        self._watch()

    def _say_problem(self, error: TunebookError) -> None:
        self.problem.value = style.line(str(error), "problem")

    def _watch(self) -> None:
        if self.state.status in GOES_ON:
            self._background.do(self._keep_looking)

    def _keep_looking(self) -> None:
        pause = threading.Event()
        while self.state.status in GOES_ON:
            pause.wait(LOOK_S)
            self._draw()

    def _draw(self) -> None:
        with self._drawing:
            try:
                self.state = (self.run or self.follower).look()
                self._is_stopping = self._is_stopping and self.state.status in GOES_ON
            except OSError as error:  # the folder went while it was read: the next look tells
                self.problem.value, self._seen = style.line(str(error), "problem"), ()
                return
            files = (self.follower.log, self.follower.scores, self.follower.samples)
            seen = (self.state, self._is_stopping, *map(len, files))
            if seen == self._seen:
                return
            self._seen = seen
            self._draw_state()
            self._draw_curves()
            self._draw_scores()
            self._draw_samples()

    def _draw_state(self) -> None:
        state = self.state
        goes_on = state.status in GOES_ON
        self.bar.max, self.bar.value = max(state.total_steps, 1), state.step
        self.bar.bar_style = BAR_STYLES.get(state.status, "info")
        # A run that failed before it had a folder is started again, not resumed.
        is_there = (self.run_dir / CONFIG_FILE).is_file()
        is_new = state.status == "none" or (state.status == "failed" and not is_there)
        self.start_button.disabled = self.config is None or not is_new
        self.stop_button.disabled = not goes_on or self._is_stopping
        self.resume_button.disabled = state.status not in CAN_RESUME or not is_there
        is_stopping = goes_on and self._is_stopping
        word = "Stopping at the next step." if is_stopping else WORDS[state.status]
        self.status.value = style.line(f"{word} {_progress_text(state)}".strip())
        said = "\n".join(filter(None, [state.message, state.next_step and f"-> {state.next_step}"]))
        is_asked = state.status == "stopped"
        self.problem.value = style.line(said, "plain" if is_asked else "problem")
        self.numbers.value = style.line(_numbers_text(state), "muted")

    def _draw_curves(self) -> None:
        losses, rates = self.follower.losses(), self.follower.rates()
        drawn = curves.curve({"loss": losses}, "Loss")
        self.curves.value = curves.beside(
            drawn, curves.curve({"learning rate": rates}, "Learning rate")
        )

    def _draw_scores(self) -> None:
        records = self.follower.scores
        if not records:
            self.scores.value = ""
            return
        names = (("target", follow.TARGET), ("retention", follow.RETAINED))
        lines = {name: [(r["step"], 100 * r[key]) for r in records] for name, key in names}
        rows = [{"step": r["step"], **{name: r[key] for name, key in names}} for r in records]
        shown = display.table(rows, percent=[name for name, _ in names]).html
        drawn = curves.curve(lines, "Scores in percent")
        self.scores.value = style.heading("Scores by checkpoint") + curves.beside(drawn, shown)

    def _draw_samples(self) -> None:
        samples = self.follower.samples
        if not samples:
            self.samples.value = ""
            return
        step = samples[-1]["step"]
        shown = checkpoint_slider.replies_html(self.follower.answers(step))
        self.samples.value = style.heading(f"Replies at step {step:,}") + shown

    def static(self) -> display.HtmlView:
        """The run as it stands now, with nothing to click."""
        state = self.state
        lines = [
            f"run folder: {self.run_dir.name}",
            f"{WORDS[state.status]} {_progress_text(state)}",
        ]
        lines += filter(None, [_numbers_text(state), state.message, state.next_step])
        lines = list(map(markdown.to_plain, lines))
        lines += [
            f"step {r['step']}: target {r[follow.TARGET]:.0%}, retention {r[follow.RETAINED]:.0%}"
            for r in self.follower.scores
        ]
        for prompt, reply in self.follower.answers(state.step):
            lines += [f"  {markdown.to_plain(text)}" for text in (prompt, f"-> {reply}")]
        # only its name: a stored notebook need not tell the folders of a machine
        title = style.heading(f"Run folder: {self.run_dir.name}")
        page = title + curves.as_pictures("".join(view.value for view in self.views))
        return display.HtmlView(page, "\n".join(line.rstrip() for line in lines))


def _progress_text(state: follow.RunState) -> str:
    if not state.total_steps:
        return ""
    done = f"Step {state.step:,} of {state.total_steps:,}"
    return f"{done}, about {_duration(state.left_s)} left." if state.left_s else f"{done}."


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _numbers_text(state: follow.RunState) -> str:
    parts = []
    if state.tokens_per_s is not None:
        parts.append(f"{state.tokens_per_s:,.0f} tokens/s")
    if state.memory_gib is not None:
        parts.append(f"{state.memory_gib:.2f} GiB of memory")
    return ", ".join(parts)


def _button(text: str, icon: str, act: Callable[[], None], tooltip: str) -> w.Button:
    made = w.Button(description=text, icon=icon, tooltip=tooltip)
    made.on_click(lambda _: act())
    return made

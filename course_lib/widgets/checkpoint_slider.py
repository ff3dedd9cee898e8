"""Move through a run's steps: the answers, the target score and the retention score of each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as w

from course_lib.teaching import display, markdown
from course_lib.training import follow
from course_lib.widgets import curves, style

SCORE_NAMES = {
    follow.TARGET: "target: the new thing",
    follow.RETAINED: "retention: what the base knew",
}
REPLY_STYLE = "border-left:4px solid;padding:2px 10px;margin:6px 0"
NO_STEP = -1
NOTHING_YET = (("no step yet", NO_STEP),)


class CheckpointSlider(style.Panel):
    """Shows what a model answered at each step of its run, and what it scored there.

    Args:
        run_dir: a run folder; the run may be over, or going on, or still to come.
    """

    def __init__(self, run_dir: Path | str) -> None:
        self.follower = follow.Follower(run_dir)
        self.state = follow.RunState()
        self.slider = w.SelectionSlider(
            options=NOTHING_YET,
            value=NO_STEP,
            description="Step",
            continuous_update=True,
            layout=w.Layout(width="30em", max_width="100%"),
            style={"description_width": "3em"},
        )
        # A screen reader calls a slider of ipywidgets by no name; the list beside it has one.
        self.steps = w.Dropdown(
            options=NOTHING_YET,
            value=NO_STEP,
            description="Go to step",
            style={"description_width": "6em"},
            layout=w.Layout(width="14em"),
        )
        self._is_moving = False
        for control in (self.slider, self.steps):
            control.observe(lambda change: self._go_to(change["new"]), "value")
        self.again = w.Button(
            description="Look again", icon="refresh", tooltip="Read what the run has written since"
        )
        self.again.on_click(lambda _: self.look())
        self.problem, self.scores, self.answers = w.HTML(), w.HTML(), w.HTML()
        moved = [self.slider, self.steps, self.again]
        controls = w.HBox(moved, layout=w.Layout(flex_flow="row wrap"))
        super().__init__([controls, self.problem, self.scores, self.answers], self.static)
        self.look()

    def look(self) -> None:
        """Read what is new; stay at the step that is shown, or follow the newest one."""
        self.state = self.follower.look()
        steps = self.follower.steps()
        before, known = self.slider.value, [value for _, value in self.slider.options]
        was_at_end = before == known[-1]
        if steps and steps != known:
            options = [(f"{step:,}", step) for step in steps]
            self._go_to(steps[-1] if was_at_end or before not in steps else before, options)
        self.slider.disabled = self.steps.disabled = not steps
        self._show()

    def _go_to(self, step: int, options: Sequence[tuple[str, int]] = ()) -> None:
        """Move both controls, after giving them other steps where there are any."""
        if self._is_moving:
            return
        self._is_moving = True
        for control in (self.slider, self.steps):
            control.options = options or control.options
            control.value = step
        self._is_moving = False
        self._show()

    def _show(self) -> None:
        self.problem.value = style.line(self._problem_text(), "problem")
        step = self.slider.value
        if step == NO_STEP:
            self.scores.value = self.answers.value = ""
            return
        self.scores.value = self._scores_html(step)
        self.answers.value = self._answers_html(step)

    def _problem_text(self) -> str:
        if self.state.status == "none":
            return f"There is no run in {self.follower.run_dir}.\n  -> Train one, then look again."
        if self.state.status == "other_version":
            return f"{self.state.message}\n  -> {self.state.next_step}"
        return "" if self.follower.steps() else "The run has no answers and no scores yet."

    def _scores_html(self, step: int) -> str:
        found, base = self.follower.scored(step), self.follower.scored(0)
        if found is None:
            return style.line("Nothing is scored up to this step.", "muted")
        lines = {
            name: [(record["step"], 100 * record[measure]) for record in self.follower.scores]
            for name, measure in (("target", follow.TARGET), ("retention", follow.RETAINED))
        }
        drawn = curves.curve(lines, "percent", mark=step)
        shown = display.table(_score_rows(found, base), percent=_share_columns(found, base)).html
        return style.heading(_when("Scores", step, found["step"])) + curves.beside(drawn, shown)

    def _answers_html(self, step: int) -> str:
        answers = self.follower.answers(step)
        if not answers:
            return style.line("No questions were asked up to this step.", "muted")
        asked = max(r["step"] for r in self.follower.samples if r["step"] <= step)
        heading = style.heading(_when("Answers", step, asked))
        return f'{heading}<div role="status">{replies_html(answers)}</div>'

    def static(self) -> display.HtmlView:
        """The step that is shown now, with nothing to move."""
        step = self.slider.value
        shown = self.problem.value + self.scores.value + self.answers.value
        page = curves.as_pictures(shown)
        if step == NO_STEP:
            return display.HtmlView(page, markdown.to_plain(self._problem_text()))
        lines = [f"step {step}"]
        found = self.follower.scored(step)
        if found is not None:
            shares = ", ".join(f"{name} {found[name]:.0%}" for name in SCORE_NAMES)
            lines.append(f"scores at step {found['step']}: {shares}")
        for prompt, reply in self.follower.answers(step):
            lines += [f"  {markdown.to_plain(text)}" for text in (prompt, f"-> {reply}")]
        return display.HtmlView(page, "\n".join(lines))


def replies_html(answers: Sequence[tuple[str, str]]) -> str:
    """Prompts and replies, one below the other.

    Args:
        answers: from `Follower.answers`.

    Returns:
        HTML in which no text is markup of its own.
    """
    parts = [
        f'<div style="{REPLY_STYLE}"><strong>{markdown.to_html(prompt)}</strong>'
        f'<div dir="auto">{markdown.render(reply)}</div></div>'
        for prompt, reply in answers
    ]
    return f'<div class="tb-line">{"".join(parts)}</div>'


def _score_rows(
    found: Mapping[str, Any], base: Mapping[str, Any] | None
) -> list[dict[str, str | float]]:
    at = f"step {found['step']:,}"
    has_base = base is not None and base["step"] == 0 != found["step"]
    return [
        {"score": text, **({"step 0": base[name]} if has_base else {}), at: found[name]}
        for name, text in SCORE_NAMES.items()
    ]


def _share_columns(found: Mapping[str, Any], base: Mapping[str, Any] | None) -> list[str]:
    return [column for column in _score_rows(found, base)[0] if column != "score"]


def _when(what: str, step: int, found: int) -> str:
    """Samples and scores have steps of their own: say which ones are shown."""
    if step == found:
        return f"{what} at step {step:,}"
    return f"{what} at step {found:,}, the last before step {step:,}"

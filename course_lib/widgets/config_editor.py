"""Edit a config in a notebook: a view of `training.config_text` and `training.prediction`."""

import html
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipywidgets as w

from course_lib.errors import ConfigError, TunebookError, UnknownNameError
from course_lib.teaching import display, markdown
from course_lib.training import config as configs
from course_lib.training import config_text
from course_lib.training.config import TrainConfig
from course_lib.widgets import round_trip, style
from course_lib.widgets.background import IsOld, Latest
from course_lib.widgets.fields import FieldRow

GROUPS = tuple(dict.fromkeys(map(config_text.group_of, config_text.NAMES)))
ROWS_BETWEEN = 200  # rows read between two looks whether something newer was asked
LONGEST_CELL = 400  # characters of a value in the static twin
CORRECT_FIRST = "Correct the problems first."


class _NewerCame(Exception):
    """Ends the reading of rows for a prediction that nobody waits for any more."""


class ConfigEditor(style.Panel):
    """Edit a preset or a config file, see what it changes and what the run will do, and save it.

    Args:
        source: a preset's name, or a YAML file.
        path: where to save; the file itself, or PRESET.yaml in the working folder, when left out.
        preset: the preset that a file is compared with; found by the file's name when empty.

    Raises:
        UnknownNameError: there is no such preset.
        ConfigError: the file is missing or is not YAML. Values that break rules are no error: they
            are shown, each at its field.
    """

    def __init__(
        self,
        source: str | Path = "pico_qlora_assistant_e3",
        path: str | Path | None = None,
        preset: str = "",
    ) -> None:
        self._background = Latest()
        self._predictor: Any = None  # made in the background: it loads torch
        self._known: dict[Path, str] = {}  # files as they were when opened or saved here
        self._is_loading = False
        self._lock = threading.RLock()  # a prediction must not end in the middle of a change
        self._is_dropping = False
        self.draft = config_text.Draft(())
        self.facts: dict[str, str] = {}
        self.warnings: tuple[str, ...] = ()
        self.refusal = ""
        self.rows = {name: FieldRow(name, self._changed) for name in config_text.NAMES}
        self.boxes = {name: row.box for name, row in self.rows.items()}
        self._make_controls()
        super().__init__(list(self._lay_out()), self.static)
        self._load(config_text.open_start(source, preset), path)

    # --- parts -----------------------------------------------------------------------------------

    def _make_controls(self) -> None:
        wide, names = w.Layout(width="31em"), {"description_width": "6em"}
        self.source_box = w.Combobox(
            description="Start from",
            options=configs.preset_names(),
            ensure_option=False,
            tooltip="a preset's name, or the path of a config file",
            layout=wide,
            style=names,
        )
        self.path_box = w.Text(
            description="Save as",
            tooltip="where the config is written; a name that ends in .yaml",
            layout=wide,
            style=names,
        )
        self.round_trip = round_trip.RoundTrip()
        make = self._make_button
        self.open_button = make("Open", "folder-open", self._open, "Edit this preset or file")
        self.save_button = make("Save", "save", self._save, "Write the config file")
        self.drop_button = make(
            "Remove unknown keys", "eraser", self._drop, "Leave out the keys that no config has"
        )
        self.group_buttons = w.ToggleButtons(
            options=[(group, group) for group in GROUPS],
            tooltips=[f"fields of the group {group}" for group in GROUPS],
            style={"button_width": "auto"},
        )
        self.group_buttons.observe(lambda change: self._show_group(), "value")
        self.path_box.observe(lambda change: self._changed(), "value")
        self.title, self.opened, self.message = w.HTML(), w.HTML(), w.HTML()
        self.prediction, self.difference, self.saved = w.HTML(), w.HTML(), w.HTML()
        self.groups = {
            group: w.VBox([r for n, r in self.rows.items() if config_text.group_of(n) == group])
            for group in GROUPS
        }

    def _make_button(self, text: str, icon: str, act: Any, tooltip: str) -> w.Button:
        look = {"description": text, "icon": icon, "tooltip": tooltip}
        made = round_trip.Button(self.round_trip, **look, layout=w.Layout(width="auto"))
        made.on_click(act)
        return made

    def _lay_out(self) -> Iterator[w.Widget]:
        yield self.title
        yield _line(self.source_box, self.open_button)
        yield from (self.opened, self.message, self.drop_button, self.group_buttons)
        yield from self.groups.values()
        yield from (w.HTML(style.heading("What the run will do")), self.prediction)
        yield from (w.HTML(style.heading("What you changed")), self.difference)
        yield _line(self.path_box, self.save_button)
        yield self.saved

    def _show_group(self) -> None:
        for group, box in self.groups.items():
            box.layout.display = None if group == self.group_buttons.value else "none"

    # --- opening ---------------------------------------------------------------------------------

    def _open(self, button: Any) -> None:
        source = self.source_box.value.strip()
        try:
            self._load(config_text.open_start(source), None)
        except (TunebookError, OSError) as error:
            self.opened.value = style.line(_words(error), "problem")

    def _load(self, start: config_text.Start, path: str | Path | None) -> None:
        """Fill all boxes; they are looked at once, at the end."""
        self.start, self._is_dropping = start, False
        if not start.is_preset:
            self._known[start.path.resolve()] = start.text
        usual = Path(f"{start.path.stem}.yaml") if start.is_preset else start.path
        self._is_loading = True
        self.source_box.value = start.name
        self.path_box.value = str(path or usual)
        for name, text in config_text.field_texts(start).items():
            self.rows[name].text = text
        self._is_loading = False
        self.title.value = style.heading(f"Config: {start.name}")
        self.opened.value = ""
        self._show_group()
        self._changed()

    # --- checking --------------------------------------------------------------------------------

    @property
    def texts(self) -> dict[str, str]:
        """What stands in the boxes."""
        return {name: row.text for name, row in self.rows.items()}

    @property
    def config(self) -> TrainConfig:
        """The config as edited.

        Raises:
            ConfigError: a value breaks a rule.
        """
        if self.draft.config is None:
            found = "\n".join(f"  {place}: {text}" for place, text in self.draft.problems)
            raise ConfigError(f"The config has problems:\n{found}", "Correct them in the editor.")
        return self.draft.config

    def set(self, **values: object) -> None:
        """Put values into the boxes, as if they were typed.

        Args:
            values: by the fields' names.

        Raises:
            UnknownNameError: there is no such field.
        """
        for name, value in values.items():
            if name not in self.rows:
                raise UnknownNameError("field", name, list(self.rows))
            self.rows[name].text = str(value)

    def _changed(self) -> None:
        if not self._is_loading:
            with self._lock:
                self._look()

    def _look(self) -> None:
        """Check the texts, and show what they amount to."""
        self.saved.value = ""  # what stands here now is another text
        path = Path(self.path_box.value.strip() or "config.yaml")
        self.draft = config_text.draft(self.start, self.texts, path, self._is_dropping)
        self._show_problems()
        self._show_difference()
        if self.draft.config is None:
            self.refusal = CORRECT_FIRST
            self._background.ask(lambda is_old: None)
            self._show_prediction()
            return
        self._show_prediction("Working it out …")
        config = self.draft.config
        self._background.ask(lambda is_old: self._predict(config, is_old))

    def _show_problems(self) -> None:
        at: dict[str, list[str]] = {name: [] for name in self.rows}
        elsewhere = []
        for place, text in self.draft.problems:
            fields = config_text.fields_at(place, text)
            shown = text if place in (*fields, "config") else f"{place}: {text}"
            for name in fields:
                at[name].append(shown)
            elsewhere += [] if fields else [f"{place}: {text}"]
        for name, texts in at.items():
            self.rows[name].show_problem("; ".join(texts))
        self.message.value = "".join(style.line(text, "problem") for text in elsewhere)
        self.drop_button.layout.display = None if elsewhere else "none"
        self._count_problems([name for name, texts in at.items() if texts])

    def _count_problems(self, fields: list[str]) -> None:
        """Say in each group's button how many of its fields have problems."""
        counts = {g: sum(config_text.group_of(name) == g for name in fields) for g in GROUPS}
        options = tuple((f"{g} ✗ {n}" if n else g, g) for g, n in counts.items())
        if options != tuple(self.group_buttons.options):
            chosen = self.group_buttons.value
            self.group_buttons.options = options  # chooses the first one
            self.group_buttons.value = chosen

    def _show_difference(self) -> None:
        self.difference.value = _difference_html(self._difference())

    def _difference(self) -> str:
        if self.draft.config is None:
            return CORRECT_FIRST
        name = Path(self.path_box.value).name
        found = config_text.difference(self.start, self.draft.text, name)
        if not found:
            return f"Nothing yet: the same as {self.start.preset or self.start.name}."
        lost = "" if self.draft.has_comments else "(The file's comments could not be kept.)\n"
        return lost + found

    def _drop(self, button: Any) -> None:
        self._is_dropping = True
        self._changed()

    # --- predicting ------------------------------------------------------------------------------

    def _predict(self, config: TrainConfig, is_old: IsOld) -> None:
        """Work out the run, beside the kernel."""

        def on_row(count: int) -> None:
            if count % ROWS_BETWEEN == 0:
                if is_old():
                    raise _NewerCame
                self._show_prediction(f"Reading the data: {count:,} rows so far …")

        try:
            if self._predictor is None:
                from course_lib.training import prediction  # loads torch, which takes seconds

                self._predictor = prediction.Predictor()
            made = self._predictor.predict(config, on_row)
        except _NewerCame:
            return
        except Exception as error:  # no cell waits for it: it is shown here
            self._end_prediction(is_old, {}, (), _words(error))
            return
        self._end_prediction(is_old, made.facts(), made.warnings, "")

    def _end_prediction(
        self, is_old: IsOld, facts: dict[str, str], warnings: tuple[str, ...], refusal: str
    ) -> None:
        with self._lock:
            if is_old():
                return
            self.facts, self.warnings, self.refusal = facts, warnings, refusal
            self._show_prediction()
            field = getattr(self._predictor, "field", "")
            if refusal and field in self.rows:
                self.rows[field].show_problem(refusal)
                self._count_problems([field])

    def _show_prediction(self, progress: str = "") -> None:
        if progress:
            bar = f'<progress aria-label="{html.escape(progress)}"></progress>'
            old = _facts_html(self.facts) if self.facts else ""
            self.prediction.value = style.line(progress, "muted") + bar + old
            return
        shown = "".join(style.line(text, "warning") for text in self.warnings)
        if self.refusal:
            shown, self.facts, self.warnings = style.line(self.refusal, "problem"), {}, ()
        self.prediction.value = shown + _facts_html(self.facts)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Return when the prediction is there; cells need not, scripts may.

        Args:
            timeout_s: how long at most; None for as long as it takes.

        Returns:
            Whether it is there.
        """
        return self._background.wait(timeout_s)

    # --- saving ----------------------------------------------------------------------------------

    def _save(self, button: Any) -> None:
        path = Path(self.path_box.value.strip())
        try:
            _ = self.config
            config_text.save(self.draft.text, path, self._known.get(path.resolve()))
        except (TunebookError, OSError) as error:
            self.saved.value = style.line(_words(error), "problem")
            return
        self._known[path.resolve()] = self.draft.text
        self.saved.value = style.line(f"Saved: {path}", "ok")

    # --- the twin --------------------------------------------------------------------------------

    def static(self) -> display.HtmlView:
        """The fields, their problems, the prediction and the difference, with nothing to click.

        Call `wait` first to have the prediction in it.
        """
        table = display.table(list(self._table_rows()))
        notes = [f"warning: {text}" for text in self.warnings]
        notes += [f"problem: {self.refusal}"] if self.refusal else []
        notes += [f"problem: {place}: {text}" for place, text in self.draft.problems]
        facts = display.table(
            [{"run": k, "what": v} for k, v in self.facts.items()] or [{"run": ""}]
        )
        difference = self._difference()
        heading = f"Config: {self.start.name}"
        shown = "".join(f"<p>{markdown.to_html(note)}</p>" for note in notes)
        diff = markdown.to_html(difference)
        return display.HtmlView(
            f"<p><strong>{markdown.to_html(heading)}</strong></p>{table.html}{shown}"
            f"{facts.html if self.facts else ''}<pre>{diff}</pre>",
            "\n".join(
                [markdown.make_visible(heading), table.text, *map(markdown.make_visible, notes)]
                + ([facts.text] if self.facts else [])
                + [markdown.make_visible(difference)]
            ),
        )

    def _table_rows(self) -> Iterator[dict[str, str]]:
        """Fields that the file names or that differ from the default."""
        usual = config_text.field_texts(config_text.Start("", Path(), "", {}, ""))
        for name, text in self.texts.items():
            if text != usual[name] or name in self.start.values:
                shown = markdown.make_visible(markdown.shorten(text, LONGEST_CELL))
                yield {"group": config_text.group_of(name), "field": name, "value": shown}


def _facts_html(facts: dict[str, str]) -> str:
    if not facts:
        return ""
    head = "text-align:left;padding-right:12px;white-space:nowrap"
    lines = "".join(
        f'<tr><th scope="row" style="{head}">{markdown.to_html(name)}</th>'
        f'<td style="text-align:left">{markdown.to_html(text)}</td></tr>'
        for name, text in facts.items()
    )
    return f'<table class="tb-line" role="status">{lines}</table>'


def _difference_html(text: str) -> str:
    """A unified diff with its lines coloured; the signs in front say the same."""
    shown = style.code(text, "Difference from the preset")
    kinds = {"+": "tb-added", "-": "tb-removed"}
    head, start, body = shown.partition(">")
    lines = body.removesuffix("</pre>").split("\n")
    marked = [
        f'<span class="{kinds[line[0]]}">{line}</span>' if line[:1] in kinds else line
        for line in lines
    ]
    return head + start + "\n".join(marked) + "</pre>"


def _words(error: Exception) -> str:
    """An error for reading; one that the course did not raise says its kind."""
    if isinstance(error, TunebookError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or error}: {error.filename or ''}\n  -> Check the path and rights."
    return f"{type(error).__name__}: {error}"


def _line(*parts: w.Widget) -> w.HBox:
    return w.HBox(list(parts), layout=w.Layout(flex_flow="row wrap"))

"""One field of a config as a row: its name, its box, what it means, and what is wrong with it."""

from collections.abc import Callable

import ipywidgets as w

from course_lib.training import config_text
from course_lib.training.config import TrainConfig
from course_lib.widgets import style

NAME_WIDTH = "15em"  # the longest name of a field fits
BOX_WIDTH = "31em"
LINES = 4  # of a box for lists; longer ones scroll


class FieldRow(w.VBox):
    """A field of `TrainConfig`, made from its own type, bounds, unit and description.

    Args:
        name: the field.
        on_change: is called after each key or click.
    """

    def __init__(self, name: str, on_change: Callable[[], None]) -> None:
        self.name = name
        self.kind = config_text.field_kind(name)
        self.box = self._make_box()
        self._kept = ""  # a file's value for a switch that is neither true nor false
        self.problem = w.HTML(layout=w.Layout(margin=f"0 0 0 {NAME_WIDTH}"))
        self._hint = w.HTML(style.line(hint_of(name), "muted"), layout=w.Layout(flex="1 1 16em"))
        in_line = w.Layout(flex_flow="row wrap", align_items="center")
        line = w.HBox([self.box, self._hint], layout=in_line)
        super().__init__([line, self.problem])
        self.box.observe(lambda change: self._changed(on_change), "value")

    def _changed(self, on_change: Callable[[], None]) -> None:
        self._kept = ""
        on_change()

    def _make_box(self) -> w.Widget:
        usual = {
            "description": self.name,
            "tooltip": hint_of(self.name),
            "style": {"description_width": NAME_WIDTH},
            "layout": w.Layout(width=BOX_WIDTH),
        }
        if self.kind == "choice":
            return w.Dropdown(options=config_text.choices(self.name), **usual)
        if self.kind == "switch":
            return w.Checkbox(indent=True, **usual)
        if self.kind in ("lines", "yaml"):
            return w.Textarea(rows=LINES, **usual)
        return w.Text(**usual)

    @property
    def text(self) -> str:
        """What stands in the box, as `config_text.to_value` reads it."""
        if self.kind == "switch":
            return self._kept or str(self.box.value).lower()
        return self.box.value

    @text.setter
    def text(self, text: str) -> None:
        """Put a text into the box."""
        if self.kind == "switch":
            self.box.value = text == "true"
            self._kept = "" if text in ("true", "false") else text
            return
        if self.kind == "choice" and text not in self.box.options:
            # a file's wrong value can be seen and changed here as well
            self.box.options = [text, *config_text.choices(self.name)]
        self.box.value = text

    def show_problem(self, text: str) -> None:
        """Show what is wrong below the box, or that nothing is (an empty text)."""
        shown = style.line(text, "problem")
        if self.problem.value != shown:  # a screen reader reads out what is set again
            self.problem.value = shown
        (self.box.add_class if text else self.box.remove_class)("tb-bad")


def hint_of(name: str) -> str:
    """What a field means, with its bounds.

    Args:
        name: the field.
    """
    meaning = TrainConfig.model_fields[name].description or ""
    bounds = config_text.limits(name)
    return f"{meaning} ({bounds})" if bounds else meaning

"""What all panels share: escaped texts, names for screen readers, and a static twin."""

import re

import ipywidgets as w
import pytest

from course_lib.teaching import display
from course_lib.widgets import style


@pytest.mark.parametrize(
    ("kind", "role", "mark"), [("problem", "alert", "✗ "), ("warning", "status", "⚠ ")]
)
def test_a_line_is_escaped_and_read_out(kind, role, mark):
    assert style.line("<b>&\x1b", kind) == (
        f'<div class="tb-line tb-{kind}" role="{role}">{mark}&lt;b&gt;&amp;\\x1b</div>'
    )
    assert style.line("") == ""


def test_code_is_escaped_keeps_its_lines_and_can_be_reached_by_keyboard():
    shown = style.code("a <br>\nb", 'the "new" file')
    assert 'aria-label="the &quot;new&quot; file"' in shown
    assert 'tabindex="0"' in shown
    assert ">a &lt;br&gt;\nb</pre>" in shown
    assert style.heading("<i>") == (
        '<div class="tb-heading" role="heading" aria-level="3" style="font-weight:600">'
        "&lt;i&gt;</div>"
    )


def test_colours_are_the_themes_own_or_see_through():
    for value in re.findall(
        r"(?:[^-]color|background|border|border-left|outline): ([^;]+);", style.CSS
    ):
        assert re.search(r"var\(--jp-|rgba\(", value), value
    assert not re.search(r"#[0-9a-fA-F]{3}", style.CSS)
    for cell in re.findall(r"rgba\(([^)]+)\)", style.CSS):
        assert float(cell.split(",")[3]) <= 0.3


def test_a_panel_is_stored_as_a_widget_and_as_its_twin():
    panel = style.Panel([w.Label("hello")], lambda: display.table([{"said": "hello"}]))
    bundle = panel._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == panel.model_id
    assert bundle["text/plain"] == "said\nhello"
    assert "<td" in bundle["text/html"]
    assert "<style>" in panel.children[0].value


def test_a_notebook_stores_what_a_panel_shows_later(monkeypatch):
    stored = []

    class Place:
        def update(self, bundle, raw):
            stored.append(bundle["text/plain"])

    def show(bundle, raw, display_id):
        stored.append(bundle["text/plain"])
        return Place()

    said = ["at first"]
    panel = style.Panel([], lambda: display.table([{"said": said[-1]}]))
    panel.store()  # nobody has shown it yet
    monkeypatch.setattr(style, "show", show)
    panel._ipython_display_()
    said.append("in the end")
    panel.store()
    assert stored == ["said\nat first", "said\nin the end"]

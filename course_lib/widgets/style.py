"""What all widgets share: one style sheet for Lab's light and dark themes, and a static twin.

Colours are the theme's own variables, so a panel changes with the theme. Texts that nobody checked
come in through `markdown.to_html`, which escapes them and shows control characters by their codes.
"""

import html
from collections.abc import Callable, Sequence
from typing import Any, Literal

import ipywidgets as w
from IPython.display import DisplayHandle
from IPython.display import display as show

from course_lib.teaching import display, markdown
from course_lib.widgets import kernel_threads

Kind = Literal["plain", "muted", "ok", "warning", "problem"]
# Colour is never the only sign: each kind has a mark of its own in front.
MARKS: dict[Kind, str] = {"plain": "", "muted": "", "ok": "✓ ", "warning": "⚠ ", "problem": "✗ "}
CSS = """
.tb-panel { color: var(--jp-content-font-color1, inherit); padding: 4px; max-width: 1100px; }
.tb-panel .widget-label, .tb-panel .widget-html-content, .tb-panel .widget-readout,
.tb-panel .widget-checkbox label { color: var(--jp-content-font-color1, inherit); }
.tb-heading { font-size: 1.05em; margin: 4px 0; }
.tb-line { line-height: 1.4; overflow-wrap: anywhere; white-space: normal; }
.tb-line :is(p, ul, ol, pre, blockquote) { margin: 0 0 4px; }
.tb-muted { color: var(--jp-content-font-color2, inherit); }
.tb-ok { color: var(--jp-success-color0, inherit); }
.tb-warning { border-left: 4px solid var(--jp-warn-color1, currentColor); padding-left: 8px; }
.tb-problem { border-left: 4px solid var(--jp-error-color1, currentColor); padding-left: 8px; }
.tb-panel .tb-box { border: 1px solid var(--jp-border-color2, currentColor);
  border-radius: 4px; padding: 8px;
  background: var(--jp-layout-color1, transparent); }
.tb-code { font-family: var(--jp-code-font-family, monospace); white-space: pre-wrap;
  overflow-wrap: anywhere; margin: 0; max-height: 320px; overflow: auto; }
.tb-added { background: rgba(46, 160, 67, 0.22); }
.tb-removed { background: rgba(218, 54, 51, 0.22); }
.tb-panel input, .tb-panel textarea, .tb-panel select, .tb-panel .widget-dropdown > select {
  color: var(--jp-ui-font-color1, inherit);
  background-color: var(--jp-layout-color1, transparent);
  border: 1px solid var(--jp-border-color1, currentColor); }
.tb-panel .tb-choices label { height: auto; line-height: 1.4; padding: 3px 0; white-space: normal;
  color: var(--jp-content-font-color1, inherit); }
[data-jp-theme-light="false"] .tb-panel { color-scheme: dark; }
[data-jp-theme-light="false"] .tb-panel select {
  appearance: auto; background-image: none !important; }
.tb-panel .tb-bad input, .tb-panel .tb-bad textarea, .tb-panel .tb-bad select {
  border: 2px solid var(--jp-error-color1, currentColor) !important; }
.tb-panel :is(button, input, textarea, select, summary, [tabindex]):focus-visible {
  outline: 3px solid var(--jp-brand-color1, Highlight) !important; outline-offset: 1px; }
@media (prefers-reduced-motion: reduce) { .tb-panel * { transition: none !important; } }
.tb-panel.jupyter-widgets-disconnected::before { content: "⚠ As it was: its kernel is gone, so \
nothing here answers. Run the cell again to use it.";
  display: block; margin-bottom: 4px; padding-left: 8px;
  border-left: 4px solid var(--jp-warn-color1, currentColor); }
.tb-panel .jupyter-widgets-disconnected:is(button, .widget-hslider, .widget-toggle-buttons),
.tb-panel .jupyter-widgets-disconnected :is(input, select, textarea) {
  pointer-events: none; opacity: 0.55; }
"""


def sheet() -> w.HTML:
    """The style sheet, to be the first child of a panel; it takes no room."""
    no_room = w.Layout(height="0", margin="0", overflow="hidden")
    return w.HTML(f"<style>{CSS}</style>", layout=no_room)


def line(text: str, kind: Kind = "plain") -> str:
    """A line of text for the value of a `w.HTML`.

    Args:
        text: anything; it is escaped.
        kind: how it looks; a problem and a warning have a mark in front, for those who see no
            colours.

    Returns:
        HTML that a screen reader reads out: problems at once, the rest when it is idle.
    """
    if not text:
        return ""
    role = "alert" if kind == "problem" else "status"
    shown = MARKS[kind] + text
    return f'<div class="tb-line tb-{kind}" role="{role}">{markdown.to_html(shown)}</div>'


def heading(text: str) -> str:
    """A heading for the value of a `w.HTML`; the text is escaped."""
    shown = markdown.to_html(text)
    bold = 'style="font-weight:600"'  # a twin has no style sheet
    return f'<div class="tb-heading" role="heading" aria-level="3" {bold}>{shown}</div>'


def code(text: str, label: str) -> str:
    """A block of code for the value of a `w.HTML`.

    Args:
        text: anything; it is escaped. Long blocks scroll, by keyboard too.
        label: what the block is, for a screen reader.
    """
    body = markdown.to_html(text).replace("<br>", "\n")  # a <br> of the text itself is escaped
    name = html.escape(label)
    return (
        f'<pre class="tb-code tb-box" tabindex="0" role="region" aria-label="{name}">{body}</pre>'
    )


class Panel(w.VBox):
    """A widget that shows the same as HTML and as text where nobody can click.

    A notebook stores all three: GitHub, PDF, a kernel without widgets, and JupyterLab as long as it
    does not trust the notebook, show the static ones.

    Args:
        children: from top to bottom.
        twin: what the panel shows now, as HTML and as text.
    """

    def __init__(self, children: Sequence[w.Widget], twin: Callable[[], display.HtmlView]) -> None:
        kernel_threads.follow_the_page()
        super().__init__([sheet(), *children])
        self._twin = twin
        self._stored: DisplayHandle | None = None  # where the notebook shows it
        self.add_class("tb-panel")
        self.add_class("mathjax_ignore")  # "$5 or $6" is no formula, and a formula may hold a link

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        shown = self._twin()
        bundle = super()._repr_mimebundle_(**kwargs)
        return bundle | {"text/html": shown._repr_html_(), "text/plain": repr(shown)}

    def _ipython_display_(self) -> None:
        self._stored = show(self._repr_mimebundle_(), raw=True, display_id=True)

    def store(self) -> None:
        """Have the notebook store what the panel shows now, in place of what it showed at first."""
        if self._stored is not None:
            self._stored.update(self._repr_mimebundle_(), raw=True)

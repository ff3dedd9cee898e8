"""Small curves as SVG: legible in light and dark themes, told apart without colours, read aloud."""

import base64
import html
import math
import re
from collections.abc import Mapping, Sequence

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 380, 150  # two stand side by side in a notebook
LEFT, RIGHT, TOP, BOTTOM = 64, 368, 22, 128  # of the field in which the lines are
MOST_POINTS = 300  # of a line: more cannot be told apart
PAGE_COLOR = "#808080"  # of texts and axes in a picture, legible on white and on black
SVG = re.compile(r'<svg role="img" aria-label="([^"]*)" (.*?)</svg>', re.DOTALL)
STYLES = (("#2a9d8f", "0"), ("#d98324", "6 3"), ("#5b8def", "2 3"))  # colour and dashes


def curve(lines: Mapping[str, Points], label: str, mark: float | None = None) -> str:
    """Draw values over optimizer steps.

    Args:
        lines: for each name its points (step, value), in order; values that are not finite are
            left out and counted.
        label: what the curve shows, for a screen reader and as its title.
        mark: a step to point at.

    Returns:
        An `<svg>`, or a line of text while there is nothing to draw.
    """
    finite = {
        name: [(x, y) for x, y in points if math.isfinite(y)] for name, points in lines.items()
    }
    lost = sum(map(len, lines.values())) - sum(map(len, finite.values()))
    drawn = {name: points for name, points in finite.items() if points}
    note = f" ({lost} values are no numbers)" if lost else ""
    if not drawn:
        return f'<div class="tb-line tb-muted">{html.escape(label + note)}: nothing yet</div>'
    scale = _Scale([point for points in drawn.values() for point in points], mark)
    parts = [_frame(scale, label + note)]
    for number, (name, points) in enumerate(drawn.items()):
        parts.append(_line(scale, points, name, number, len(drawn) > 1))
    if mark is not None:
        x = scale.x(mark)
        parts.append(
            f'<line x1="{x}" x2="{x}" y1="{TOP}" y2="{BOTTOM}" stroke="currentColor" '
            f'stroke-dasharray="2 2"></line>'
        )
    spoken = html.escape(". ".join([label + note, *map(_in_words, drawn, drawn.values())]))
    return (
        f'<svg role="img" aria-label="{spoken}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" style="max-width:100%">{"".join(parts)}</svg>'
    )


def beside(*parts: str) -> str:
    """HTML in which the parts stand side by side where there is room.

    Args:
        parts: HTML each.
    """
    parted = "".join(f'<div style="margin-right:16px">{part}</div>' for part in parts)
    return f'<div style="display:flex;flex-wrap:wrap;align-items:flex-start">{parted}</div>'


def as_pictures(page: str) -> str:
    """Make each curve a picture, for pages that show no `<svg>` of a notebook.

    JupyterLab drops `<svg>` until a notebook is trusted, and keeps pictures.

    Args:
        page: HTML with curves of `curve`.

    Returns:
        The HTML with `<img>` in their places.
    """
    return SVG.sub(_picture, page)


def _picture(found: re.Match[str]) -> str:
    spoken, rest = found.groups()
    font = 'style="font-family:sans-serif" '
    drawn = f'<svg xmlns="http://www.w3.org/2000/svg" {font}{rest}</svg>'
    drawn = drawn.replace('style="max-width:100%"', "").replace("currentColor", PAGE_COLOR)
    code = base64.b64encode(drawn.encode()).decode()
    return f'<img alt="{spoken}" src="data:image/svg+xml;base64,{code}">'


class _Scale:
    """From steps and values to places in the picture."""

    def __init__(self, points: Points, mark: float | None) -> None:
        steps = [x for x, _ in points] + ([] if mark is None else [mark])
        values = [y for _, y in points]
        self.first, self.last = min(steps), max(steps)
        self.low, self.high = min(values), max(values)

    def x(self, step: float) -> float:
        """How far from the left a step is drawn."""
        return round(LEFT + (RIGHT - LEFT) * _share(step, self.first, self.last), 1)

    def y(self, value: float) -> float:
        """How far from the top a value is drawn."""
        return round(BOTTOM - (BOTTOM - TOP) * _share(value, self.low, self.high), 1)


def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.5


def _frame(scale: _Scale, label: str) -> str:
    texts = [
        (LEFT, 12, "start", label),
        (LEFT - 6, BOTTOM, "end", f"{scale.low:.3g}"),
        (LEFT, HEIGHT - 6, "start", f"step {scale.first:,}"),
    ]
    if scale.high > scale.low:
        texts.append((LEFT - 6, TOP + 8, "end", f"{scale.high:.3g}"))
    if scale.last > scale.first:
        texts.append((RIGHT, HEIGHT - 6, "end", f"step {scale.last:,}"))
    lines = [(LEFT, TOP, LEFT, BOTTOM), (LEFT, BOTTOM, RIGHT, BOTTOM)]
    return "".join(
        f'<line x1="{a}" y1="{b}" x2="{c}" y2="{d}" stroke="currentColor" opacity="0.5"></line>'
        for a, b, c, d in lines
    ) + "".join(_text(*text) for text in texts)


def _line(scale: _Scale, points: Points, name: str, number: int, is_named: bool) -> str:
    color, dashes = STYLES[number % len(STYLES)]
    few = _thin(points)
    places = " ".join(f"{scale.x(x)},{scale.y(y)}" for x, y in few)
    drawn = (
        f'<polyline points="{places}" fill="none" stroke="{color}" stroke-width="2" '
        f'stroke-dasharray="{dashes}"></polyline>'
    )
    if len(few) <= 30:
        drawn += "".join(
            f'<circle cx="{scale.x(x)}" cy="{scale.y(y)}" r="2.5" fill="{color}"></circle>'
            for x, y in few
        )
    if is_named:
        x = RIGHT - 110 * number
        drawn += (
            f'<line x1="{x - 24}" x2="{x}" y1="8" y2="8" stroke="{color}" stroke-width="2" '
            f'stroke-dasharray="{dashes}"></line>'
        ) + _text(x - 28, 12, "end", name)
    return drawn


def _text(x: float, y: float, anchor: str, text: str) -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="currentColor" font-size="11">'
        f"{html.escape(text)}</text>"
    )


def _thin(points: Points) -> Points:
    """At most about `MOST_POINTS` of them, the last one always."""
    stride = math.ceil(len(points) / MOST_POINTS)
    return [*points[:-1:stride], points[-1]]


def _in_words(name: str, points: Points) -> str:
    (first, begin), (last, end) = points[0], points[-1]
    return f"{name}: {begin:.3g} at step {first:,}, {end:.3g} at step {last:,}"

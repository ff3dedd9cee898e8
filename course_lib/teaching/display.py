"""Static views of lessons: tables, conversations and tokens, as HTML and as plain text."""

import html
import itertools
import math
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from course_lib.data import masking
from course_lib.errors import DataError, UnknownNameError
from course_lib.teaching import markdown

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedTokenizerBase

# No colour is fixed, so all is readable in JupyterLab's light and dark themes; and styles stand in
# the elements, because JupyterLab drops <style> from notebooks that are not trusted yet. Borders
# name no colour, which means the colour of the text: it would drop "currentColor" as well.
LINE = "1px solid"
CELL_STYLE = f"border-bottom:{LINE};padding:4px 10px;text-align:{{}};vertical-align:top"
TURN_STYLE = "border-left:{}px solid;padding:2px 10px;margin:6px 0"
CHIP_STYLE = "display:inline-block;border-radius:3px;padding:0 3px;margin:1px;border:1px "
WITH_LOSS, WITHOUT_LOSS = "solid", "dashed;opacity:0.65"
# A speaker's colour is a thin layer over whatever the theme has; the name stands beside it.
SPEAKER_STYLE = "display:inline-block;border-radius:3px;padding:1px 3px;margin:1px"
SPEAKER_TINTS = {
    "system": "rgba(156,39,176,0.2)",
    "user": "rgba(33,150,243,0.22)",
    "assistant": "rgba(76,175,80,0.28)",
    "tool": "rgba(255,152,0,0.25)",
}
LONGEST_ROW = 3000  # tokens that are shown: a browser lays out more only slowly
VISIBLE = str.maketrans({" ": "␣", "\n": "⏎", "\t": "⇥"})  # blanks of a token, to be seen
BROKEN = "\ufffd"  # what half a character decodes to


@dataclass(frozen=True)
class HtmlView:
    """Something to look at: HTML in a notebook, aligned text everywhere else.

    Args:
        html: every text in it is escaped.
        text: the same for a terminal and for tests.
    """

    html: str
    text: str

    def _repr_html_(self) -> str:
        # Without this class JupyterLab would set "$5 or $6" as a formula.
        return f'<div class="mathjax_ignore">{self.html}</div>'

    def __repr__(self) -> str:
        return self.text


def table(rows: Sequence[Mapping[str, Any]], percent: Collection[str] = ()) -> HtmlView:
    """Show rows as a table.

    Args:
        rows: each maps column names to values; a column that a row lacks stays empty there.
        percent: columns whose numbers are shares from 0 to 1, shown as percent.

    Returns:
        The table; columns in the order in which they first occur, numbers on the right.

    Raises:
        DataError: there are no rows, or no columns.
        UnknownNameError: a name in `percent` is no column.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if not columns:
        raise DataError("There is nothing to show.", "Give at least one row with one column.")
    for name in percent:
        if name not in columns:
            raise UnknownNameError("column", name, columns)
    cells = [[_cell_text(row.get(c, ""), c in percent) for c in columns] for row in rows]
    right = {i for i, c in enumerate(columns) if _has_numbers([r[c] for r in rows if c in r])}
    return HtmlView(_table_html(columns, cells, right), _table_text(columns, cells, right))


def chat(messages: Sequence[Mapping[str, str]], title: str = "") -> HtmlView:
    """Show a conversation.

    Args:
        messages: each with `role` and `content`.
        title: a line above it.

    Returns:
        The conversation, each turn marked with its role.

    Raises:
        DataError: a message has no role or no content.
    """
    turns = [_turn(number, message) for number, message in enumerate(messages, 1)]
    heading = f"<p><strong>{html.escape(title)}</strong></p>" if title else ""
    body = "".join(_turn_html(role, content) for role, content in turns)
    width = max((_width(role) for role, _ in turns), default=0)
    lines = [title] if title else []
    lines += [f"{_pad(role, width)}  {content}" for role, content in turns]
    return HtmlView(heading + body, "\n".join(lines))


def token_table(
    tokenizer: "PreTrainedTokenizerBase",
    input_ids: Sequence[int],
    labels: Sequence[int] | None = None,
    roles: Sequence[str] | None = None,
    position_ids: Sequence[int] | None = None,
) -> HtmlView:
    """Show a row or a pack token by token; those without loss are dimmed.

    Args:
        tokenizer: turns each id into its text.
        input_ids: (tokens,); a list, a tuple or a tensor.
        labels: (tokens,), `IGNORE_INDEX` where no loss falls; None shows the tokens alone.
        roles: (tokens,), who speaks; each speaker's stretch gets a colour and a name.
        position_ids: (tokens,); each 0 starts a row of the pack on a line of its own.

    Returns:
        The tokens in order, blanks made visible; id, label and position stand in each one's
        hover title. Of a very long row the first `LONGEST_ROW` tokens, which is said.

    Raises:
        DataError: ids and labels, speakers or positions are not of one length.
    """
    ids = [int(i) for i in input_ids]
    columns = {"label": labels, "speaker": roles, "position": position_ids}
    given = {name: list(values) for name, values in columns.items() if values is not None}
    for name, values in given.items():
        if len(values) != len(ids):
            raise DataError(
                f"{len(ids)} ids and {len(values)} {name}s do not belong together.",
                f"Give the input_ids and the {name}s of one row.",
            )
    shown = ids[:LONGEST_ROW]
    rows = [{"token": _token_text(tokenizer, i), "id": i} for i in shown]
    for name, values in given.items():
        for row, value in zip(rows, values, strict=False):  # a long row's end is not shown
            row[name] = value if name == "speaker" else int(value)
    for row in rows:
        row.update({"loss": row["label"] != masking.IGNORE_INDEX} if "label" in row else {})
    note = _length_note(len(ids))
    legend = _legend(ids, given.get("label"))
    text = table(rows).text if rows else "no tokens"
    return HtmlView(
        _tokens_html(rows) + note + legend, text + re.sub(r"<[^>]+>", "\n", note).rstrip()
    )


def _cell_text(value: Any, is_percent: bool) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if is_percent and _is_number(value):
        return f"{100 * value:.0f} %"
    if isinstance(value, float):
        return f"{value:,.0f}" if 1000 <= abs(value) < math.inf else f"{value:.3g}"
    return markdown.make_visible(str(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _has_numbers(values: Sequence[Any]) -> bool:
    """Whether a column holds numbers, and gaps at most."""
    given = [value for value in values if value is not None]
    return bool(given) and all(map(_is_number, given))


def _table_html(columns: Sequence[str], cells: Sequence[Sequence[str]], right: set[int]) -> str:
    def line(tag: str, texts: Sequence[str]) -> str:
        made = [
            f'<{tag} style="{CELL_STYLE.format("right" if i in right else "left")}">'
            f"{_escape(text)}</{tag}>"
            for i, text in enumerate(texts)
        ]
        return f"<tr>{''.join(made)}</tr>"

    body = "".join(line("td", row) for row in cells)
    return f"<table><thead>{line('th', columns)}</thead><tbody>{body}</tbody></table>"


def _table_text(columns: Sequence[str], cells: Sequence[Sequence[str]], right: set[int]) -> str:
    lines = [columns, *([text.replace("\n", " ") for text in row] for row in cells)]
    widths = [max(_width(line[i]) for line in lines) for i in range(len(columns))]
    padded = [
        "  ".join(_pad(line[i], width, i in right) for i, width in enumerate(widths))
        for line in lines
    ]
    return "\n".join(line.rstrip() for line in padded)


def _turn(number: int, message: Mapping[str, str]) -> tuple[str, str]:
    for name in ("role", "content"):
        if not isinstance(message.get(name), str):
            raise DataError(
                f"message {number}: {name} is {message.get(name)!r}, expected a text.",
                'Write {"role": "user", "content": "Hello!"}.',
            )
    return message["role"], markdown.make_visible(message["content"])


def _turn_html(role: str, content: str) -> str:
    line = 4 if role == "assistant" else 1
    return (
        f'<div style="{TURN_STYLE.format(line)}"><strong>{html.escape(role)}</strong><br>'
        f"{_escape(content)}</div>"
    )


def _token_text(tokenizer: "PreTrainedTokenizerBase", token_id: int) -> str:
    text = tokenizer.decode([token_id], clean_up_tokenization_spaces=False)
    if BROKEN in text:  # a rare character takes several tokens: show the tokenizer's own spelling
        text = tokenizer.convert_ids_to_tokens(token_id)
    return markdown.make_visible(text.translate(VISIBLE))


def _tokens_html(rows: Sequence[Mapping[str, Any]]) -> str:
    """Chips; a pack's rows one below the other, each speaker's stretch in its colour."""
    packed = [list(group) for _, group in itertools.groupby(rows, _row_counter())]
    if len(packed) == 1 and not rows[0].get("position"):
        return _turns_html(packed[0])
    return "".join(
        f'<div style="{TURN_STYLE.format(2)}"><small>row {number} of the pack: {len(row)} tokens, '
        f"positions {row[0]['position']} to {row[-1]['position']}</small><br>{_turns_html(row)}"
        "</div>"
        for number, row in enumerate(packed, 1)
    )


def _row_counter() -> Callable[[Mapping[str, Any]], int]:
    """Numbers the rows of a pack: a new one starts where positions start again."""
    numbers = itertools.count()
    current = 0

    def number(row: Mapping[str, Any]) -> int:
        nonlocal current
        if row.get("position") == 0:
            current = next(numbers)
        return current

    return number


def _turns_html(rows: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for speaker, turn in itertools.groupby(rows, lambda row: row.get("speaker")):
        chips = "".join(map(_token_html, turn))
        if speaker is None:
            parts.append(chips)
            continue
        tint = SPEAKER_TINTS.get(speaker, "rgba(128,128,128,0.15)")
        name = f"<small><strong>{html.escape(speaker)}</strong></small> "
        parts.append(f'<span style="{SPEAKER_STYLE};background-color:{tint}">{name}{chips}</span>')
    return "".join(parts)


def _token_html(row: Mapping[str, Any]) -> str:
    names = [name for name in ("label", "position", "speaker") if name in row]
    title = ", ".join([f"id {row['id']}", *(f"{name} {row[name]}" for name in names)])
    style = CHIP_STYLE + (WITH_LOSS if row.get("loss", True) else WITHOUT_LOSS)
    return f'<span style="{style}" title="{html.escape(title)}">{html.escape(row["token"])}</span>'


def _length_note(n_tokens: int) -> str:
    more = n_tokens - LONGEST_ROW
    return f"<p>{more:,} more tokens are not shown</p>" if more > 0 else ""


def _legend(ids: Sequence[int], labels: Sequence[int] | None) -> str:
    if labels is None or not ids:
        return f"<p>{len(ids)} tokens</p>"
    with_loss = sum(int(label) != masking.IGNORE_INDEX for label in labels)
    return f"<p>{len(ids)} tokens: {with_loss} with loss, {len(ids) - with_loss} without</p>"


def _escape(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")


def _width(text: str) -> int:
    """Columns of a terminal that a text takes; a Chinese character takes two."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide


def _pad(text: str, width: int, to_the_right: bool = False) -> str:
    blanks = " " * (width - _width(text))
    return blanks + text if to_the_right else text + blanks

"""Show a text that nobody checked, such as a model's reply, with a little Markdown and no danger.

The HTML holds the tags of `TAGS` and no others, written here: of the text itself every character is
escaped, so it can never become markup. Links lead to http and https only; pictures are not loaded.
"""

import html
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence

TAGS = frozenset(["p", "br", "strong", "em", "code", "pre", "ul", "ol", "li", "blockquote", "a"])
LONGEST_SHOWN = 20_000  # characters: a browser lays out more only slowly
DIRECTION_MARKS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
FENCE = "```"
HEADING = re.compile(r"#{1,6} +(.*)")
ITEM = re.compile(r" {0,3}(?:[-*+]|(\d{1,9})[.)]) +(.*)")
QUOTE = re.compile(r"> ?(.*)")
CODE = re.compile("`([^`<>]+)`")  # no tag inside: a line ends it
# Each part ends at the next mark of its kind at the latest, or has a limit: the time that a
# text takes grows with its length and no faster.
INLINE = re.compile(
    r"`(?P<code>[^`\n]+)`"
    r"|\*\*(?P<strong>[^*\n]+)\*\*"
    r"|\*(?P<em>[^*\s][^*\n]*)\*"
    r"|\[(?P<label>[^\[\]\n]{1,200})\]\((?P<address>https?://[^\s()<>\"'`\\]{1,500})\)"
)


def make_visible(text: str) -> str:
    """Show control characters, and marks that turn the reading direction, by their codes.

    Args:
        text: any text.

    Returns:
        The text with line breaks and tabs as they are.
    """
    return "".join(map(_visible, text))


def _visible(character: str) -> str:
    is_control = unicodedata.category(character) in ("Cc", "Cs") or character in DIRECTION_MARKS
    if character in "\n\t" or not is_control:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def shorten(text: str, limit: int = LONGEST_SHOWN) -> str:
    """Cut a very long text and say so.

    Args:
        text: any text.
        limit: characters that are kept.
    """
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n({len(text) - limit:,} more characters are not shown)"


def to_plain(text: str) -> str:
    """A text for where there is no HTML: cut when very long, control characters shown.

    Args:
        text: any text.
    """
    return make_visible(shorten(text))


def to_html(text: str) -> str:
    """A text with its line breaks, and nothing else taken as a mark.

    Args:
        text: any text.

    Returns:
        HTML without tags but `<br>`.
    """
    clean = make_visible(shorten(text).replace("\r\n", "\n"))
    return html.escape(clean).replace("\n", "<br>")


def mark_code(escaped: str) -> str:
    """Show what stands between backticks as code, and nothing else as a mark.

    Args:
        escaped: HTML from `to_html`, perhaps with tags of ours around it.
    """
    return CODE.sub(r"<code>\1</code>", escaped)


def render(text: str) -> str:
    """Set a text in HTML: paragraphs, headings, lists, quotes, code, emphasis and links.

    Args:
        text: any text; what is no Markdown of this small kind stays as it is.

    Returns:
        HTML that holds only the tags of `TAGS`, and of attributes only those of a link.
    """
    lines = make_visible(shorten(text).replace("\r\n", "\n")).split("\n")
    return "".join(_blocks(lines))


def _blocks(lines: Sequence[str]) -> Iterator[str]:
    place = 0
    while place < len(lines):
        line = lines[place]
        if line.lstrip().startswith(FENCE):
            end = _next(lines, place + 1, lambda other: other.strip() == FENCE)
            code = "\n".join(lines[place + 1 : end])
            yield f"<pre><code>{html.escape(code)}</code></pre>"
            place = end + 1
        elif not line.strip():
            place += 1
        else:
            kind = _kind(line)
            end = _next(lines, place + 1, lambda other, kind=kind: _kind(other) != kind)
            yield _block(kind, lines[place:end])
            place = end


def _next(lines: Sequence[str], start: int, is_end: Callable[[str], bool]) -> int:
    """The first place from `start` on where a condition holds, or the end of the text."""
    return next((i for i in range(start, len(lines)) if is_end(lines[i])), len(lines))


def _kind(line: str) -> str:
    """What a line belongs to: neighbours of one kind make one block."""
    if not line.strip() or line.lstrip().startswith(FENCE):
        return ""
    if HEADING.fullmatch(line):
        return "heading"
    if QUOTE.fullmatch(line):
        return "blockquote"
    item = ITEM.fullmatch(line)
    return ("ol" if item.group(1) else "ul") if item else "p"


def _block(kind: str, lines: Sequence[str]) -> str:
    if kind == "heading":
        return "".join(
            f"<p><strong>{html.escape(line.lstrip('# '))}</strong></p>" for line in lines
        )
    if kind in ("ul", "ol"):
        items = "".join(f"<li>{_inline(ITEM.fullmatch(line).group(2))}</li>" for line in lines)
        return f"<{kind}>{items}</{kind}>"
    if kind == "blockquote":
        lines = [QUOTE.fullmatch(line).group(1) for line in lines]
    return f"<{kind}>{'<br>'.join(map(_inline, lines))}</{kind}>"


def _inline(line: str) -> str:
    done, parts = 0, []
    for found in INLINE.finditer(line):
        parts += [html.escape(line[done : found.start()]), _mark(found)]
        done = found.end()
    return "".join(parts) + html.escape(line[done:])


def _mark(found: re.Match[str]) -> str:
    if found["address"]:
        address = html.escape(found["address"])
        label = html.escape(found["label"])
        return f'<a href="{address}" target="_blank" rel="noopener noreferrer">{label}</a>'
    kind = found.lastgroup
    return f"<{kind}>{html.escape(found[kind])}</{kind}>"

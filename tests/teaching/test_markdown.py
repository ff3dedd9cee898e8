import time

import pytest

from course_lib.teaching import markdown
from tests.widgets import hostile

each_hostile = pytest.mark.parametrize("name", hostile.TEXTS)


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("", ""),
        ("Hello\nworld", "<p>Hello<br>world</p>"),
        ("one\r\n\r\ntwo", "<p>one</p><p>two</p>"),
        ("a < b & c", "<p>a &lt; b &amp; c</p>"),
        ("**bold** and *slanted*", "<p><strong>bold</strong> and <em>slanted</em></p>"),
        ("2 * 3 * 4 = 24", "<p>2 * 3 * 4 = 24</p>"),
        ("`x < 1`", "<p><code>x &lt; 1</code></p>"),
        ("`**x**`", "<p><code>**x**</code></p>"),
        ("# Title\ntext", "<p><strong>Title</strong></p><p>text</p>"),
        ("- a\n- b", "<ul><li>a</li><li>b</li></ul>"),
        ("1. a\n2) **b**", "<ol><li>a</li><li><strong>b</strong></li></ol>"),
        ("> so\n> it is", "<blockquote>so<br>it is</blockquote>"),
        (
            "```python\nx = '**'\n\n# y\n```\nz",
            "<pre><code>x = &#x27;**&#x27;\n\n# y</code></pre><p>z</p>",
        ),
        ("```\nopen", "<pre><code>open</code></pre>"),
        ("[a](ftp://b.example)", "<p>[a](ftp://b.example)</p>"),
    ],
)
def test_small_markdown(text, page):
    assert markdown.render(text) == page


def test_a_picture_is_a_link_and_is_not_loaded():
    page = markdown.render("![a](https://b.example/c.png)")
    assert page.startswith('<p>!<a href="https://b.example/c.png"')


def test_a_link_leads_to_http_and_tells_the_other_side_nothing():
    assert markdown.render("[the *docs*](https://docs.example/a?b=1&c=2)") == (
        '<p><a href="https://docs.example/a?b=1&amp;c=2" target="_blank" '
        'rel="noopener noreferrer">the *docs*</a></p>'
    )


@each_hostile
@pytest.mark.parametrize("show", [markdown.render, markdown.to_html])
def test_a_hostile_text_stays_text(name, show):
    text, strange = hostile.look(show(hostile.TEXTS[name]))
    assert strange == []
    assert hostile.shown(hostile.TEXTS[name]) in text


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("a\tb\nc", "a\tb\nc"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),  # ESC would clear a terminal
        ("real\rfake", "real\\x0dfake"),  # CR would write over the line
        ("\x9b31m\x7f\x07", "\\x9b31m\\x7f\\x07"),  # one-character ESC[, DEL, bell
        ("\x00\x85", "\\x00\\x85"),
        ("\u202eabc\u2069", "\\u202eabc\\u2069"),
        ("\ud800", "\\ud800"),
        ("你好 👩‍🔬 é", "你好 👩‍🔬 é"),
    ],
)
def test_control_characters_are_shown_not_obeyed(text, visible):
    assert markdown.make_visible(text) == visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("use `name` and `a < b`", "use <code>name</code> and <code>a &lt; b</code>"),
        ("one ` only", "one ` only"),
        ("`over\nlines`", "`over<br>lines`"),
        ("``", "``"),
        ("`<b>` **no**", "<code>&lt;b&gt;</code> **no**"),
    ],
)
def test_only_backticks_are_marks_of_code(text, shown):
    assert markdown.mark_code(markdown.to_html(text)) == shown


def test_a_very_long_text_is_cut_and_says_so():
    text = markdown.shorten("a" * 1_000_000)
    assert text == "a" * 20_000 + "\n(980,000 more characters are not shown)"
    assert markdown.shorten("a" * 20_000) == "a" * 20_000


@pytest.mark.parametrize(
    "unit", ["*", "**a", "[", "[a](", "`", "> ", "1. ", "```\n", "[a](https://b"]
)
def test_no_text_takes_long(unit):
    start = time.process_time()
    markdown.render(unit * (1_000_000 // len(unit)))
    assert time.process_time() - start < 2  # takes 0.05; a pattern that goes back takes minutes

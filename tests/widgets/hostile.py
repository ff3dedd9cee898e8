"""Texts that would like to be more than text, and a look at HTML for what they became."""

import base64
from html.parser import HTMLParser

# Each calls `tripped()`, which a page of the browser tests defines, if anything in it is executed.
TEXTS = {
    "script": "<script>tripped()</script>",
    "script in capitals": "<ScRiPt>tripped()</sCrIpT>",
    "script of another server": '<script src="http://127.0.0.1:9/x.js"></script>',
    "end of a block first": "</div></pre></textarea><script>tripped()</script>",
    "picture with an error": "<img src=x onerror=tripped()>",
    "picture inside an attribute": '"><img src=x onerror=tripped()>',
    "single quotes": "'><img src='x' onerror='tripped()'>",
    "svg that loads": "<svg onload=tripped()></svg>",
    "svg with a script": "<svg><script>tripped()</script></svg>",
    "svg animation": "<svg><animate onbegin=tripped() attributeName=x dur=1s></svg>",
    "math": '<math><mi xlink:href="javascript:tripped()">x</mi></math>',
    "frame": '<iframe srcdoc="<script>parent.tripped()</script>"></iframe>',
    "frame with an address": '<iframe src="javascript:parent.tripped()"></iframe>',
    "object": '<object data="javascript:tripped()"></object>',
    "body": "<body onload=tripped()>",
    "details": "<details open ontoggle=tripped()>x</details>",
    "focus": "<input autofocus onfocus=tripped()>",
    "style": "<style>*{background:url(javascript:tripped())}</style>",
    "base address": '<base href="javascript:tripped()//">',
    "form": '<form action="javascript:tripped()"><button autofocus>x</button></form>',
    "link": '<a href="javascript:tripped()">x</a>',
    "Markdown link": "[click](javascript:tripped())",
    "Markdown link in capitals": "[click](JaVaScRiPt:tripped())",
    "Markdown link with an entity": "[click](javascript&colon;tripped())",
    "Markdown link to data": "[click](data:text/html,<script>tripped()</script>)",
    "Markdown link with a quote": '[click](https://a.example/"onmouseover="tripped())',
    "Markdown picture": '![x](x" onerror=tripped() x=")',
    "Markdown autolink": "<javascript:tripped()>",
    "Markdown reference": "[x]: javascript:tripped()\n[x]",
    "label with markup": "[<img src=x onerror=tripped()>](https://a.example/)",
    "markup in code": "`<img src=x onerror=tripped()>` and **<svg onload=tripped()>**",
    "code block that ends early": "```html\n</code></pre><script>tripped()</script>\n```",
    "code block without an end": "```\n<script>tripped()</script>",
    "formula with a link": r"$\href{javascript:tripped()}{x}$ \(\require{html}x\) $$\style{x}{y}$$",
    "template marks": "{{tripped()}} ${tripped()} <%= tripped() %>",
    "comment": "<!-- --><script>tripped()</script><!-- -->",
    "CDATA": "<![CDATA[<script>tripped()</script>]]>",
    "entities": "&lt;script&gt;tripped()&lt;/script&gt; &#60;img src=x onerror=tripped()&#62;",
    "terminal colours": "\x1b[31mred\x1b[0m \x1b]8;;javascript:tripped()\x07link\x1b]8;;\x07",
    "null byte": "<scr\x00ipt>tripped()</scr\x00ipt>",
    "backspaces": "safe\x08\x08\x08\x08<script>tripped()</script>",
    "direction override": "\u202e<script>tripped()</script>\u202c \u2066x\u2069",
    "half a character": "\ud800<script>tripped()</script>",
    "control token": "<|im_end|>\n<|im_start|>system\n<script>tripped()</script>",
    "long line": "<img src=x onerror=tripped()>" + "a" * 1_000_000,
}
TAGS = """
div span p br small strong em b i code pre ul ol li blockquote a table thead tbody tr th td
details summary dl dt dd figure figcaption svg g line polyline circle text title
progress
"""
ATTRIBUTES = """
style class role dir title id for scope tabindex open colspan start viewbox width height x y
x1 y1 x2 y2 cx cy r points fill stroke stroke-width stroke-dasharray opacity text-anchor font-size
"""
LINK = ("href", "target", "rel")
PICTURE = "data:image/svg+xml;base64,"  # a curve of ours, which is looked at as well


class _Reader(HTMLParser):
    """Collects the text, and whatever a view of ours would never write."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text, self.strange = "", []

    def handle_starttag(self, tag, attrs):
        given = {name: value or "" for name, value in attrs}
        if tag == "img" and given.keys() == {"alt", "src"} and given["src"].startswith(PICTURE):
            drawn = base64.b64decode(given["src"].removeprefix(PICTURE)).decode()
            self.strange += look(drawn.replace(' xmlns="http://www.w3.org/2000/svg"', "", 1))[1]
            return
        if tag not in TAGS.split():
            self.strange.append(f"<{tag}>")
        for name, value in attrs:
            is_known = name in ATTRIBUTES.split() or name.startswith("aria-")
            is_link = tag == "a" and name in LINK
            if is_link and name == "href":
                is_link = (value or "").startswith(("http://", "https://"))
            if not is_known and not is_link:
                self.strange.append(f"{tag} {name}={value!r}")
            if name == "style" and "url(" in (value or ""):
                self.strange.append(f"{tag} {name}={value!r}")
        if tag == "br":
            self.text += "\n"

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        self.strange.append(f"<!--{data}")

    def handle_decl(self, decl):
        self.strange.append(f"<!{decl}")

    def unknown_decl(self, data):
        self.strange.append(f"<![{data}")


def look(page: str) -> tuple[str, list[str]]:
    """The text that HTML shows, and every tag, attribute and address that does not belong there."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return reader.text, reader.strange


def shown(text: str) -> str:
    """A part of a hostile text that any honest view of it shows as it is."""
    return "tripped()" if "tripped()" in text else text.strip()

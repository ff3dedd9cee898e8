"""The frame of the pages that an instructor gets: one file each, legible on light and dark."""

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: {w}em; margin: 2em auto; padding: 0 1em; }}
table {{ border-collapse: collapse; }} td, th {{ border-bottom: 1px solid; padding: 4px 12px;
  text-align: left; vertical-align: top; }}
{style}
</style>
<h1>{title}</h1>
{body}
</html>
"""


def write_page(title: str, body: str, style: str, width: int) -> str:
    """A whole page that needs no other file.

    Args:
        title: escaped.
        body: HTML.
        style: CSS for what this page has beside tables.
        width: of the text, in em.

    Returns:
        HTML.
    """
    return PAGE.format(title=title, body=body, style=style, w=width)

"""Write a whole report as one HTML page that needs no other file and no network."""

import base64
import html
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.token import Token

from pipeline.reporting.web_style import SCRIPT, STYLE

FRONT = "report.md"
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
PICTURES = {"svg": "image/svg+xml", "png": "image/png"}  # the first that a figure has is shown
EXTERNAL = re.compile(r"(https?|mailto):")
RAW = re.compile(r"<!--.*?-->|<(/?(?:details|summary|br)(?: open)? ?/?)>|<", re.DOTALL)
TABLE, END = '<div class="scroll"><table>\n', "</table></div>\n"


@dataclass(frozen=True)
class Section:
    """One page of a report: its name in links, its title and its text as HTML."""

    name: str
    title: str
    body: str


def web_page(pages: Mapping[str, str], figures: Mapping[str, bytes]) -> str:
    """Return the HTML of a report.

    Tables can be sorted, the pages behind the front page are folded, and colors follow the reader's
    light or dark scheme. Of HTML inside the Markdown, only `details`, `summary` and `br` are kept;
    links that lead out of the report to other files become plain text.

    Args:
        pages: Markdown by path in the report's folder; `report.md` is the front page.
        figures: The content of every figure by its path in that folder, such as `figures/gap.png`.
    """
    front = _section(FRONT, pages, figures)
    ordered = [path for path in _linked(pages[FRONT]) if path in pages]
    others = [path for path in dict.fromkeys([*ordered, *pages]) if path != FRONT]
    behind = [_section(path, pages, figures) for path in others]
    contents = "\n".join(
        f'<li><a href="#{section.name}">{section.title}</a></li>' for section in behind
    )
    folded = "\n".join(
        f'<details class="page" id="{section.name}"><summary>{section.title}</summary>\n'
        f"{section.body}</details>"
        for section in behind
    )
    title = html.escape(html.unescape(re.sub(r"<[^>]+>", "", front.title)))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{title}</title>
<style>
{STYLE}</style>
</head>
<body>
<header><h1 id="{front.name}">{front.title}</h1></header>
<nav aria-label="Contents"><details><summary>Pages</summary><ol>
{contents}
</ol></details></nav>
<main>
{front.body}{folded}
</main>
<script>
{SCRIPT}</script>
</body>
</html>
"""


def _linked(text: str) -> list[str]:
    """Return the targets of the links of a page, in the order of their last links."""
    targets = re.findall(r"\]\(([^)#\s]+)", text)
    return [*dict.fromkeys(reversed(targets))][::-1]


def _section(path: str, pages: Mapping[str, str], figures: Mapping[str, bytes]) -> Section:
    """Return a page of the report; the link above its title, the way back, is left out."""
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    tokens = parser.parse(pages[path])
    _allow(tokens)
    start = next((n for n, token in enumerate(tokens) if token.tag == "h1"), None)
    title = path
    if start is not None:
        title = parser.renderer.render(tokens[start + 1 : start + 2], parser.options, {})
        tokens = tokens[start + 3 :]
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", f"{_name(path)}--{_anchor(tokens[place + 1].content)}")
        if token.type in ("heading_open", "heading_close") and path != FRONT:
            token.tag = f"h{min(int(token.tag[1]) + 1, 6)}"
        _resolve(token.children or [], path, pages, figures)
        if token.children:
            token.children = [part for child in token.children for part in _breakable(child)]
    return Section(_name(path), title, parser.renderer.render(tokens, parser.options, {}))


def _breakable(token: Token) -> list[Token]:
    """Return a text in parts between which a line may break: after each "_" of a name.

    Otherwise a narrow cell would break a long name at any letter. The breaks are not copied.
    """
    if token.type != "text":
        return [token]
    parts = [Token("text", "", 0, content=part) for part in re.split("(?<=_)", token.content)]
    breaks = [Token("html_inline", "", 0, content="<wbr>") for _ in parts]
    return [each for pair in zip(parts, breaks, strict=True) for each in pair][:-1]


def _name(path: str) -> str:
    """Return the name of a page in links."""
    return posixpath.splitext(posixpath.basename(path))[0]


def _anchor(heading: str) -> str:
    """Return the anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")


def _resolve(
    tokens: Sequence[Token], path: str, pages: Mapping[str, str], figures: Mapping[str, bytes]
) -> None:
    """Put figures in place of their paths, and places in this page in place of links to pages."""
    outside = False
    for token in tokens:
        if token.type == "image":
            source = _picture(_target(path, str(token.attrs["src"])), figures)
            token.attrs["src"] = source
        elif token.type == "link_open":
            link = _link(path, str(token.attrs["href"]), pages)
            outside = not link
            token.attrs["href"] = link
            token.hidden = outside
        elif token.type == "link_close":
            token.hidden = outside


def _target(path: str, link: str) -> str:
    """Return where a link of a page leads, as a path in the report's folder."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), link))


def _link(path: str, link: str, pages: Mapping[str, str]) -> str:
    """Return the link inside this page, or to the web; "" if it leads to another file."""
    if EXTERNAL.match(link):
        return link
    place, _, anchor = link.partition("#")
    target = _target(path, place) if place else path
    if target not in pages:
        return ""
    return f"#{_name(target)}--{anchor}" if anchor else f"#{_name(target)}"


def _picture(path: str, figures: Mapping[str, bytes]) -> str:
    """Return a figure as a data URI; "" if there is none, so that its description is shown."""
    stem = posixpath.splitext(path)[0]
    for ending, kind in PICTURES.items():
        if content := figures.get(f"{stem}.{ending}"):
            return f"data:{kind};base64,{base64.b64encode(content).decode()}"
    return ""


def _allow(tokens: Sequence[Token]) -> None:
    """Put each table in a box that scrolls, and keep only the raw HTML that is allowed."""
    for token in tokens:
        if token.type in ("table_open", "table_close"):
            token.content = TABLE if token.type == "table_open" else END
            token.type = "html_block"
        elif token.type in ("html_block", "html_inline"):
            token.content = RAW.sub(_allowed_tag, token.content)
        _allow(token.children or [])


def _allowed_tag(match: re.Match[str]) -> str:
    """Return an allowed tag as it is, a comment as nothing, and other markup as text."""
    if match[1]:
        return match[0]
    return "" if match[0].startswith("<!--") else "&lt;"

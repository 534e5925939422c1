"""The text of an HTML body: what a reader would see, in lines. No sanitiser: nothing of the markup comes through.

It goes over the text once, whatever is in it: anybody can send anything, and a parser that looks back and forth can be
kept busy for hours by one message.
"""

import re
from collections.abc import Iterator
from html import unescape

_RAW = frozenset(("script", "style", "textarea", "xmp"))
_HIDDEN = frozenset(("head", "title", "template", "noscript", "object", "iframe", "svg"))
_BLOCKS = frozenset(
    (
        "address", "article", "blockquote", "br", "center", "dd", "div", "dl", "dt", "footer", "form", "h1", "h2", "h3",
        "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "table", "tr", "ul",
    )
)  # fmt: skip
_CELLS = frozenset(("td", "th"))
_NAME = re.compile(r"/?([A-Za-z][A-Za-z0-9:-]{0,30})")
_BLANKS = re.compile(r"[ \t\f\v\u00a0\u200b]+")
_LONGEST_VALUE = 2000
"""Characters of a quoted value that has a ``>`` in it."""


def text_of_html(html: str) -> str:
    """The readable text, one line a block, at most one empty line in a row."""
    pieces: list[str] = []
    hidden, depth = "", 0
    for text, tag in _pieces(html):
        if text and not hidden:
            pieces.append(re.sub(r"\s+", " ", unescape(text)))
        name, closes = tag.lstrip("/"), tag.startswith("/")
        if hidden and name == "body":
            hidden = ""  # a head that was never closed ends here
        elif hidden:
            depth += (-1 if closes else 1) if name == hidden else 0
            hidden = hidden if depth else ""
        elif name in _HIDDEN and not closes:
            hidden, depth = name, 1
        elif name in _BLOCKS:
            pieces.append("\n")
        elif name in _CELLS:
            pieces.append(" ")
    return tidy("".join(pieces))


def tidy(text: str) -> str:
    """Lines without blanks at their ends, and at most one empty line in a row."""
    lines = (_BLANKS.sub(" ", line).strip() for line in text.splitlines())
    kept: list[str] = []
    for line in lines:
        if line or (kept and kept[-1]):
            kept.append(line)
    return "\n".join(kept).strip()


def _pieces(html: str) -> Iterator[tuple[str, str]]:
    """Pieces of text, each with the tag after it (in lower case, a closing one with its slash) or nothing."""
    place, end = 0, len(html)
    comments = True
    while place < end:
        opened = html.find("<", place)
        if opened < 0:
            break
        if comments and html.startswith("<!--", opened):
            closed = html.find("-->", opened + 4)
            comments = closed >= 0  # none ends any more: what looks like one is a tag
            if comments:
                yield html[place:opened], ""
                place = closed + 3
                continue
        named = _NAME.match(html, opened + 1)
        if named is None and html[opened + 1 : opened + 2] not in ("!", "?", "/"):
            yield html[place : opened + 1], ""
            place = opened + 1
            continue
        closed = _end_of_tag(html, opened)
        if closed < 0:
            break
        name = named[1].lower() if named else ""
        yield html[place:opened], name if html[opened + 1] != "/" else f"/{name}"
        place = closed + 1
        if name in _RAW and html[opened + 1] != "/":
            ending = re.compile(f"</{name}", re.IGNORECASE).search(html, place)
            if ending is None:
                return
            place = ending.start()
    yield html[place:], ""


def _end_of_tag(html: str, opened: int) -> int:
    """Where a tag ends; a ``>`` in a quoted value does not end it. Less than 0: nowhere."""
    closed = html.find(">", opened)
    for quote in "\"'":
        if closed > 0 and html.count(quote, opened, closed) % 2:
            value_ends = html.find(quote, closed, closed + _LONGEST_VALUE)
            closed = html.find(">", value_ends) if value_ends > 0 else closed
    return closed

"""The text of an HTML body: what a reader would see, in lines. No sanitiser: nothing of the markup comes through."""

import re
from html.parser import HTMLParser

_HIDDEN = frozenset(("script", "style", "head", "title", "template", "noscript", "object", "iframe", "svg"))
_BLOCKS = frozenset(
    (
        "address", "article", "blockquote", "br", "center", "dd", "div", "dl", "dt", "footer", "form", "h1", "h2", "h3",
        "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "table", "tr", "ul",
    )
)  # fmt: skip
_CELLS = frozenset(("td", "th"))
_VOID = frozenset(("br", "hr", "img", "input", "link", "meta", "area", "base", "col", "embed", "source", "wbr"))
_TAG = re.compile(r"<[^>]{0,2000}>")
_BLANKS = re.compile(r"[ \t\f\v\u00a0\u200b]+")


def text_of_html(html: str) -> str:
    """The readable text, one line a block, at most one empty line in a row."""
    reader = _Reader()
    try:
        reader.feed(html)
        reader.close()
        text = "".join(reader.pieces)
    except (AssertionError, ValueError, RecursionError):
        text = _TAG.sub(" ", html)
    return tidy(text)


def tidy(text: str) -> str:
    """Lines without blanks at their ends, and at most one empty line in a row."""
    lines = (_BLANKS.sub(" ", line).strip() for line in text.splitlines())
    kept: list[str] = []
    for line in lines:
        if line or (kept and kept[-1]):
            kept.append(line)
    return "\n".join(kept).strip()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._hidden: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _HIDDEN and tag not in _VOID:
            self._hidden.append(tag)
        elif tag == "body":
            self._hidden.clear()  # a head that was never closed ends here
        elif not self._hidden:
            self._break(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if not self._hidden:
            self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._hidden:
            del self._hidden[self._hidden.index(tag) :]
        elif not self._hidden:
            self._break(tag)

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.pieces.append(re.sub(r"\s+", " ", data))

    def _break(self, tag: str) -> None:
        if tag in _BLOCKS:
            self.pieces.append("\n")
        elif tag in _CELLS:
            self.pieces.append(" ")

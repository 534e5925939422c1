"""The process that makes the picture of a page of a document: one question on stdin, one answer on stdout.

A document from outside may be anything: this process may use only so much memory and time, knows no secret, and
whoever started it may kill it at any moment.
"""

import io
import os
import resource
import sys
from typing import Any

import msgspec

MEMORY = 1024**3
CPU_SECONDS = 20
SCALE = 2.0
"""Pixels a point of a page: 144 in an inch."""
CLOSE_SCALE = 3.0
CLOSE = (320.0, 96.0)
"""Points around what is marked, from side to side and from top to bottom."""
MOST_PIXELS = 2400
"""Of a side. A page may say that it is kilometres wide."""
_BAND, _FRAME, _THIN = (255, 190, 0), (200, 30, 40), 0.22
_PADDING = 2.0
_NICER = 5
Box = tuple[float, float, float, float]


class Asked(msgspec.Struct, frozen=True):
    """One page (from 1) of a document. ``box``: what is marked on it, in points from its upper left corner."""

    document: bytes
    page: int
    box: Box | None = None


class Drawn(msgspec.Struct, frozen=True):
    """The page as PNG, what is marked from close by, and how many pages there are.

    ``refusal``: why there is no picture. ``text``: the beginning of what is no PDF, where one can read it.
    """

    png: bytes = b""
    close: bytes = b""
    width: int = 0
    height: int = 0
    pages: int = 0
    refusal: str = ""
    text: str = ""


def draw(asked: Asked) -> Drawn:
    """One page's picture."""
    import pypdfium2  # here, so that whoever starts this process need not load it

    try:
        document = pypdfium2.PdfDocument(asked.document)
    except pypdfium2.PdfiumError:
        return Drawn(refusal="It cannot be opened as a PDF.")
    pages = len(document)
    if not 1 <= asked.page <= pages:
        return Drawn(pages=pages, refusal=f"It has no page {asked.page}: {pages} can be opened.")
    try:
        page = document[asked.page - 1]
        scale = _scale(page.get_size(), SCALE)
        whole = _marked(page, asked.box, scale)
        close = _close_by(page, asked.box) if asked.box else b""
        return Drawn(_png(whole), close, whole.width, whole.height, pages)
    except pypdfium2.PdfiumError:
        return Drawn(pages=pages, refusal=f"Page {asked.page} cannot be drawn.")


def _scale(size: tuple[float, float], wanted: float) -> float:
    return min(wanted, MOST_PIXELS / max(*size, 1.0))


def _marked(page: Any, box: Box | None, scale: float) -> Any:
    """The page with a band across what is marked and a frame around it."""
    picture = page.render(scale=scale).to_pil().convert("RGB")
    return picture if box is None else _framed(picture, _in_pixels(page, box, scale), scale)


def _close_by(page: Any, box: Box) -> bytes:
    """What is marked, larger."""
    scale = _scale(page.get_size(), CLOSE_SCALE)
    whole = page.render(scale=scale).to_pil().convert("RGB")
    left, top, right, bottom = _in_pixels(page, box, scale)
    wide = min(max(CLOSE[0] * scale, right - left + 40 * scale), whole.width)
    high = min(max(CLOSE[1] * scale, bottom - top + 24 * scale), whole.height)
    x = round(min(max((left + right - wide) / 2, 0), whole.width - wide))
    y = round(min(max((top + bottom - high) / 2, 0), whole.height - high))
    part = whole.crop((x, y, x + round(wide), y + round(high)))
    return _png(_framed(part, (left - x, top - y, right - x, bottom - y), scale))


def _framed(picture: Any, box: Box, scale: float) -> Any:
    from PIL import Image, ImageDraw

    pad = _PADDING * scale
    left, top, right, bottom = (round(at) for at in (box[0] - pad, box[1] - pad, box[2] + pad, box[3] + pad))
    top, bottom = max(top, 0), min(bottom, picture.height - 1)
    if top >= bottom or left >= right:
        return picture  # it lies beside the page
    band = picture.crop((0, top, picture.width, bottom))
    picture.paste(Image.blend(band, Image.new("RGB", band.size, _BAND), _THIN), (0, top))
    ImageDraw.Draw(picture).rectangle((left, top, right, bottom), outline=_FRAME, width=max(2, round(1.2 * scale)))
    return picture


def _in_pixels(page: Any, box: Box, scale: float) -> Box:
    """A box of the whole page on the picture, which shows only the part that is to be printed."""
    media, crop = page.get_mediabox(), page.get_cropbox()
    x, y = crop[0], media[3] - crop[3]
    if page.get_rotation():
        x = y = 0.0
    return ((box[0] - x) * scale, (box[1] - y) * scale, (box[2] - x) * scale, (box[3] - y) * scale)


def _png(picture: Any) -> bytes:
    """As small as it is still as good: print has few colours."""
    into = io.BytesIO()
    picture.quantize(64).save(into, "PNG", optimize=False, compress_level=6)
    return into.getvalue()


def main() -> None:
    """Answer once."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    os.nice(_NICER)  # whoever waits for a page comes first
    asked = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Asked)
    try:
        drawn = draw(asked)
    except (MemoryError, RecursionError):
        drawn = Drawn(refusal="Drawing it takes too much memory.")
    sys.stdout.buffer.write(msgspec.msgpack.encode(drawn))


if __name__ == "__main__":
    main()

"""Pictures of the pages of kept documents: what failed is marked, and whatever the document is, the server goes on."""

import asyncio
import io
from typing import Any

import pytest
from PIL import Image

from keepstep.model.document import Document
from keepstep.model.errors import NotFound
from keepstep.service.documents import Documents
from keepstep.service.pictures import Pictures
from keepstep.service.vault import Vault
from keepstep.store.db import Database
from tests.support.reports import document, read


@pytest.fixture
def documents(database: Database) -> Documents:
    return Documents(database, Vault(lambda: ["a phrase"]))


async def kept(documents: Documents, one: Document) -> dict[str, Any]:
    return await documents.one(await documents.keep("erp", one))


def reds(png: bytes) -> set[tuple[int, int]]:
    """Where the frame is."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    wide, high = picture.size
    pixels = picture.load()
    assert pixels is not None
    return {(x, y) for x in range(wide) for y in range(high) if _is_red(pixels[x, y])}


def _is_red(pixel: Any) -> bool:
    red, green, blue = pixel
    return bool(red > 150 and green < 90 and blue < 100)


async def test_the_row_that_failed_is_framed_where_its_box_is(documents: Documents) -> None:
    bad = document("customers", "007", flaw="bad-cell")
    assert bad.box is not None
    assert bad.page is not None
    row = await kept(documents, bad)

    drawn = await Pictures(documents).of(row, bad.page)

    assert (drawn.refusal, drawn.pages) == ("", 2)
    frame = reds(drawn.png)
    left, top = min(x for x, _ in frame) / 2, min(y for _, y in frame) / 2
    right, bottom = max(x for x, _ in frame) / 2, max(y for _, y in frame) / 2
    assert (left, top, right, bottom) == pytest.approx(bad.box, abs=4)
    assert reds(drawn.close)
    assert len(Image.open(io.BytesIO(drawn.close)).getbands()) == 1  # few colours, few bytes


async def test_another_page_of_it_and_a_proven_document_have_no_mark(documents: Documents) -> None:
    pictures = Pictures(documents)
    bad = await kept(documents, document("customers", "007", flaw="bad-cell"))
    good = await kept(documents, document("orders", "007"))

    for row, page in ((bad, 2), (good, 1)):
        drawn = await pictures.of(row, page)
        assert drawn.png.startswith(b"\x89PNG")
        assert drawn.close == b""
        assert reds(drawn.png) == set()
    with pytest.raises(NotFound):
        await pictures.png(bad, 2, close=True)


async def test_what_cannot_be_drawn_says_so(documents: Documents) -> None:
    pictures = Pictures(documents)
    whole = document("customers", "007").body
    for body, words in (
        (b"<html><body>Servizio non disponibile</body></html>", "no PDF"),
        (whole[: len(whole) // 3], "cannot be opened"),
        (b"%PDF-1.4 and nothing else", "cannot be opened"),
    ):
        drawn = await pictures.of(await kept(documents, read("customers", "007", body)), 1)
        assert words in drawn.refusal
        assert drawn.png == b""
    shown = await pictures.of(await kept(documents, read("prices", "", b"<html>Servizio non disponibile")), 1)
    assert shown.text == "<html>Servizio non disponibile"
    beyond = await pictures.of(await kept(documents, document("orders", "007")), 9)
    assert "no page 9" in beyond.refusal


async def test_a_page_that_says_that_it_is_enormous_is_drawn_small(documents: Documents) -> None:
    body = document("orders", "007", rows=3).body.replace(b"/MediaBox [ 0 0 841.8898 595.2756 ]",
                                                          b"/MediaBox [ 0 0 900000.0 900000.0 ]")  # fmt: skip
    assert b"900000" in body
    drawn = await Pictures(documents).of(await kept(documents, read("orders", "007", body)), 1)

    assert drawn.refusal or max(drawn.width, drawn.height) <= 2400


async def test_drawing_that_takes_too_long_is_ended(documents: Documents) -> None:
    row = await kept(documents, document("orders", "007"))

    drawn = await Pictures(documents, longest=0.001).of(row, 1)

    assert drawn.refusal == "Drawing it takes too long."


async def test_a_picture_that_nobody_waits_for_any_more_leaves_no_process(documents: Documents) -> None:
    row = await kept(documents, document("orders", "007"))
    started: list[asyncio.subprocess.Process] = []

    class Watched(Pictures):
        async def _process(self) -> asyncio.subprocess.Process:
            process = await super()._process()
            started.append(process)
            asked.cancel()
            return process

    asked = asyncio.ensure_future(Watched(documents).of(row, 1))
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert [process.returncode for process in started] == [-9]


async def test_who_asks_for_the_same_page_again_is_given_the_same_picture(documents: Documents) -> None:
    row = await kept(documents, document("orders", "007"))
    pictures = Pictures(documents)

    assert (await pictures.of(row, 1)).png is await pictures.png(row, 1)

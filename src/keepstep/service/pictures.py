"""Pictures of the pages of kept documents, made beside the event loop in processes that can be killed."""

import asyncio
import contextlib
import os
import sys
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import msgspec

from keepstep.model.errors import NotFound
from keepstep.service.documents import Documents
from keepstep.service.picture_child import Asked, Box, Drawn

LONGEST = 20.0
"""Seconds for one page; it takes about half of one."""
AT_ONCE = 2
KEPT = 12
"""Pictures in memory: a browser asks for each right after the words about it."""
_MOST_WAITING = 16
_BEGINNING = 2048
_NEEDED = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "HOME", "LANG", "LC_ALL", "TMPDIR")


class Pictures:
    """Draws pages of kept documents. ``longest``: after so many seconds the process that draws is killed."""

    def __init__(self, documents: Documents, *, longest: float = LONGEST) -> None:
        self._documents = documents
        self._longest = longest
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._made: OrderedDict[tuple[str, int, Box | None], Drawn] = OrderedDict()

    async def of(self, document: Mapping[str, Any], page: int) -> Drawn:
        """A page (from 1) of a document as ``Documents.one`` gives it, with what failed on it marked. Never raises
        for what the document is; raises ``NotFound``, ``StoreError`` for one that cannot be opened here.
        """
        box = _box(document, page)
        key = (document["hash"], page, box)
        if (made := self._made.get(key)) is None:
            if self._waiting >= _MOST_WAITING:
                return Drawn(refusal="Too many pictures are being made at this moment: look again soon.")
            self._waiting += 1
            try:
                async with self._turns:
                    made = await self._drawn(Asked(await self._documents.open(document["hash"]), page, box))
            finally:
                self._waiting -= 1
            self._made[key] = made
            while len(self._made) > KEPT:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        return made

    async def png(self, document: Mapping[str, Any], page: int, *, close: bool = False) -> bytes:
        """The same as PNG: the page, or only what is marked on it. Raises ``NotFound`` where there is no picture."""
        drawn = await self.of(document, page)
        if not (png := drawn.close if close else drawn.png):
            raise NotFound(f"There is no such picture. {drawn.refusal}".strip(), fix="Look at the document's page.")
        return png

    async def _drawn(self, asked: Asked) -> Drawn:
        if not asked.document.startswith(b"%PDF-"):
            beginning = asked.document[:_BEGINNING]
            text = "" if b"\0" in beginning else beginning.decode("utf-8", "replace")
            return Drawn(refusal="What came is no PDF.", text=text)
        process = await self._process()
        try:
            async with asyncio.timeout(self._longest):
                told, _ = await process.communicate(msgspec.msgpack.encode(asked))
            return msgspec.msgpack.decode(told, type=Drawn)
        except TimeoutError:
            return Drawn(refusal="Drawing it takes too long.")
        except (msgspec.MsgspecError, OSError):
            return Drawn(refusal="Drawing it was ended by the system: it takes too much, or it is broken.")
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await asyncio.shield(process.wait())

    async def _process(self) -> asyncio.subprocess.Process:
        """It is given what Python needs to start, and no secret."""
        return await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "keepstep.service.picture_child",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env={name: os.environ[name] for name in _NEEDED if name in os.environ},
        )  # fmt: skip


def _box(document: Mapping[str, Any], page: int) -> Box | None:
    """What is marked on this page."""
    if document["page"] != page or document["box"] is None:
        return None
    left, top, right, bottom = document["box"]
    return (float(left), float(top), float(right), float(bottom))

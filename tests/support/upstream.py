"""The emulated DoorLoop as the tests of the engine see it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from keepstep.integrations.doorloop.emulator.options import EmulatorOptions
from keepstep.integrations.doorloop.emulator.server import DoorLoopEmulator

SMALL: dict[str, Any] = {"owners": 7, "properties": 11, "units": 40, "leases": 60, "tenants": 50}


class Upstream(DoorLoopEmulator):
    """An emulator that is being served at ``url``."""

    url: str = ""

    async def truth(self, entity: str) -> list[bytes]:
        """Every record of an entity, byte by byte, as the control route gives it."""
        return await fetch_truth(self.url, entity)

    def ids(self, entity: str) -> list[str]:
        """The ids of the records that can be decoded."""
        return [record["id"] for record in self.records(entity)]

    def asked(self, entity: str) -> int:
        """How many requests an entity took since the last ``reset_requests``."""
        return sum(1 for request in self.requests() if request.entity == entity)


async def fetch_truth(url: str, entity: str) -> list[bytes]:
    """The truth of an emulator that runs anywhere."""
    base = url.rsplit("/", 1)[0]
    async with aiohttp.ClientSession() as session, session.get(f"{base}/_emulator/records/{entity}") as answer:
        assert answer.status == 200, await answer.text()
        body = await answer.read()
    return [line for line in body.split(b"\n") if line]


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Upstream]:
    """A small emulated account, with some options replaced."""
    upstream = Upstream(EmulatorOptions(**{**SMALL, **options}))
    async with upstream.serve() as url:
        upstream.url = url
        yield upstream


def some(ids: Sequence[str], count: int) -> list[str]:
    """A few ids, spread over all of them."""
    return [ids[place * len(ids) // count] for place in range(count)]

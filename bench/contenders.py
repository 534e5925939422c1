"""Who is measured, and how each is set to work."""

import asyncio
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from bench.child import run_child
from bench.stage import Emulator, Server
from keepstep.integrations.doorloop.emulator.options import EmulatorOptions
from keepstep.integrations.doorloop.entities import LEASES
from keepstep.store.db import Database
from keepstep.store.records import Destination

FIRST, UNCHANGED, NOTHING_NEW, CHANGED = "first load", "unchanged", "delta, nothing new", "1 % changed"
STEPS = (FIRST, UNCHANGED, NOTHING_NEW, CHANGED)
FULL_READINGS = (FIRST, UNCHANGED, CHANGED)


@dataclass
class Place:
    """One contender's database and files for one round; ``profile`` is where a profile of Keepstep goes, if wanted."""

    server: Server
    emulator: Emulator
    database: str
    directory: Path
    profile: Path | None = None
    files: dict[str, Path] = field(default_factory=dict)
    """Ready text by database, shared by all places of one number of rows."""

    @property
    def dsn(self) -> str:
        """The address of the database."""
        return self.server.dsn(self.database)


Run = Callable[[Place, str], dict[str, Any]]


@dataclass(frozen=True)
class Contender:
    """``run`` does one step and gives what the measured process told of itself."""

    key: str
    title: str
    steps: tuple[str, ...]
    run: Run
    prepare: Callable[[Place], None] = lambda _place: None
    latency: bool = False
    slow: bool = False
    """Left out of sizes above the first one, unless asked for by name."""

    @property
    def database(self) -> str:
        """Its database."""
        return "bench_" + "".join(letter if letter.isalnum() else "_" for letter in self.key)


def keepstep(page_size: int, in_flight: int = 4) -> Run:
    """``keepstep run doorloop leases``, the request rate unlimited."""

    def run(place: Place, step: str) -> dict[str, Any]:
        environment = {
            "DATABASE_URL": place.dsn,
            "KEEPSTEP_HOME": str(place.directory),
            "DOORLOOP_BASE_URL": place.emulator.url,
            "DOORLOOP_API_KEY": EmulatorOptions().api_key,
            "DOORLOOP_PAGE_SIZE": str(page_size),
            "DOORLOOP_MAX_CONCURRENCY": str(in_flight),
            "DOORLOOP_RATE_LIMIT_RPS": "100000",
        }
        mode = "delta" if step == NOTHING_NEW else "backfill"
        profile = [str(place.profile)] if place.profile else []
        return run_child("keepstep_child", [mode, *profile], environment)

    return run


def dlt(kind: str, page_size: int, in_flight: int = 1) -> Run:
    """dlt's pipeline ``kind`` (see ``dlt_child``); its state stays in the place's directory."""

    def run(place: Place, _step: str) -> dict[str, Any]:
        arguments = [place.dsn, place.emulator.url, kind, str(page_size), str(in_flight)]
        return run_child("dlt_child", arguments, {"BENCH_DLT_HOME": str(place.directory)})

    return run


def copy(flush_rows: int) -> Run:
    """COPY of ready text into a table that Keepstep's own code has made."""

    def run(place: Place, _step: str) -> dict[str, Any]:
        text = place.files["text"]
        return run_child("copy_child", [place.dsn, "doorloop.leases", str(text), str(flush_rows)], {})

    return run


def prepare_copy(place: Place) -> None:
    """Make the empty table."""

    async def create() -> None:
        async with Database(place.dsn).connection() as connection:
            await Destination("doorloop", LEASES).create(connection)

    asyncio.run(create())


def save_text(dsn: str, directory: Path) -> Path:
    """The rows of a loaded table as the text that COPY reads."""
    handle, name = tempfile.mkstemp(suffix=".copy", dir=directory)
    with (
        os.fdopen(handle, "wb") as file,
        psycopg.connect(dsn) as connection,
        connection.cursor() as cursor,
        cursor.copy("COPY doorloop.leases TO STDOUT") as lines,
    ):
        for line in lines:
            file.write(line)
    return Path(name)


def everybody(page_sizes: tuple[int, ...]) -> list[Contender]:
    """All contenders, in the order of their first turn: Keepstep's table gives the text for COPY."""
    ours = [Contender(f"keepstep {size}", f"Keepstep, pages of {size:,}", STEPS, keepstep(size)) for size in page_sizes]
    return [
        *ours,
        Contender("copy", "COPY of ready text, at once", (FIRST,), copy(0), prepare_copy),
        Contender("copy flushed", "COPY of ready text, 1,000 rows a transaction", (FIRST,), copy(1000), prepare_copy),
        Contender("dlt default", "dlt as it comes", FULL_READINGS, dlt("default", 1000), slow=True),
        Contender("dlt best", "dlt at its best", FULL_READINGS, dlt("best", 1000), slow=True),
        _far("keepstep", "Keepstep, 8 in flight", keepstep(100, 8)),
        _far("dlt default", "dlt as it comes", dlt("default", 100)),
        _far("dlt best", "dlt at its best", dlt("best", 100)),
        _far("dlt threads", "dlt at its best, 8 threads by hand", dlt("best", 100, 8)),
    ]


def _far(key: str, title: str, run: Run) -> Contender:
    """A first load in pages of 100 from an upstream that takes its time for each."""
    return Contender(f"latency {key}", f"50 ms away: {title}", (FIRST,), run, latency=True, slow=True)


def versions() -> Mapping[str, str]:
    """What was measured, by name."""
    from importlib.metadata import version

    return {name: version(name) for name in ("keepstep", "dlt", "psycopg", "msgspec")}

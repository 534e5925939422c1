"""Real runs of real accounts: how long healthy owners wait, without and with others whose account is dead."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.child import ROOT
from bench.results import Result, single, spread
from bench.stage import Server
from keepstep.always_on import working
from keepstep.app import App
from keepstep.config import Settings
from keepstep.dispatch import places
from keepstep.integrations.google_contacts.emulator.options import EmulatorOptions
from keepstep.integrations.tokens import TokenSet
from keepstep.service.core import Service
from keepstep.store.db import Connection, Database

KEY, PEOPLE = "google_contacts", 10
CONCURRENCY = 4
MOST_RATIO = 2.0
"""By how much dead accounts, one in a hundred, may raise the healthy ones' p99."""
_WAITS = """
SELECT extract(epoch FROM coalesce(r.started_at, clock_timestamp()) - r.planned_at)::float8 AS started,
       extract(epoch FROM coalesce(r.finished_at, clock_timestamp()) - r.planned_at)::float8 AS finished, r.state
FROM keepstep.runs r JOIN keepstep.connections c ON c.id = r.connection_id
WHERE c.owner_id = ANY (%s) AND r.planned_at >= to_timestamp(%s)
"""

_REST = """
UPDATE keepstep.schedule_times SET due_at = n.at, delta_at = n.at FROM (SELECT now() + interval '90 days' AS at) n
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """Who is dead, and whether a run that stands still leaves its place. ``first``: the dead are due before others."""

    what: str
    silent: int = 0
    revoked: int = 0
    first: bool = False
    parks: bool = True


def scenes(owners: int) -> list[Scene]:
    """Each in turn."""
    half = max(owners // 200, 1)
    return [
        Scene("all are well"),
        Scene("one in a hundred is dead", silent=half, revoked=half),
        Scene("20 fall silent at once", silent=20, first=True),
        Scene("the same, where runs that stand still keep their places", silent=20, first=True, parks=False),
    ]


class Google:
    """The emulator's process."""

    def __init__(self, accounts: list[str], people: int) -> None:
        given = json.dumps({"accounts": accounts, "people": people})
        command = [sys.executable, "-m", "bench.google_child", given]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        told = self._read()
        self.url, self.tokens = str(told["url"]), dict(told["tokens"])

    def order(self, **accounts: list[str]) -> None:
        """From now on these are silent, those revoked; all others are well."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(accounts) + "\n")
        self._process.stdin.flush()
        self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


@contextmanager
def google(accounts: list[str], people: int = PEOPLE) -> Iterator[Google]:
    """The emulator while the block lasts."""
    running = Google(accounts, people)
    try:
        yield running
    finally:
        running.close()


async def measure(place: Server, directory: Path, *, per_second: int, seconds: int) -> list[Result]:
    """Every scene on the same owners, among all the others, whose schedules are not due meanwhile."""
    database = Database(place.dsn(place.database))
    owners = await _sample(database, per_second * seconds)
    results: list[Result] = []
    with google(owners) as upstream:
        options = EmulatorOptions()
        settings = Settings.load(
            {
                "DATABASE_URL": place.dsn(place.database), "KEEPSTEP_HOME": str(directory / "keepstep"),
                "GOOGLE_CONTACTS_BASE_URL": upstream.url, "GOOGLE_CLIENT_ID": options.client_id,
                "GOOGLE_CLIENT_SECRET": options.client_secret,
            }
        )  # fmt: skip
        async with App(settings).open(pooled=True) as service:
            await _connect(service, upstream, owners)
            healthy = 0.0
            for scene in scenes(len(owners)):
                found = await _play(service, database, upstream, scene, owners, per_second)
                owners = await _connected(database, owners)
                finished = found[1].p99
                healthy = healthy or finished
                ratio = finished / healthy
                kept = ratio <= MOST_RATIO if scene.revoked else None
                results += found
                if scene.silent:
                    results.append(single("… p99 of the healthy, beside all well", ratio, "times", kept))
    return results


async def _sample(database: Database, count: int) -> list[str]:
    """Some owners here and there; the schedules of all others are far away."""
    async with database.connection() as connection:
        await connection.execute(_REST)
        cursor = await connection.execute(
            "SELECT c.owner_id FROM keepstep.connections c WHERE c.integration = %s AND c.state = 'connected'"
            " ORDER BY md5(c.owner_id) LIMIT %s", [KEY, count],
        )  # fmt: skip
        return [str(row["owner_id"]) for row in await cursor.fetchall()]


async def _connected(database: Database, owners: list[str]) -> list[str]:
    """Without those who must connect again."""
    async with database.connection() as connection:
        cursor = await connection.execute(
            "SELECT owner_id FROM keepstep.connections WHERE state = 'connected' AND owner_id = ANY (%s)", [owners]
        )
        well = {row["owner_id"] for row in await cursor.fetchall()}
    return [owner for owner in owners if owner in well]


async def _connect(service: Service, upstream: Google, owners: list[str]) -> None:
    for owner in owners:
        tokens = service.owners.tokens(KEY, owner, read=TokenSet.of, write=TokenSet.stored)
        await tokens.put(TokenSet(**upstream.tokens[owner]), by="bench")


async def _play(
    service: Service, database: Database, upstream: Google, scene: Scene, owners: list[str], per_second: int
) -> list[Result]:
    dead = owners[:: max(len(owners) // max(scene.silent + scene.revoked, 1), 1)][: scene.silent + scene.revoked]
    well = [owner for owner in owners if owner not in set(dead)]
    upstream.order(silent=dead[: scene.silent], revoked=dead[scene.silent :])
    places.STILL = 1.0 if scene.parks else 1e9
    async with database.connection() as connection:
        order = [*dead, *well] if scene.first else owners
        began = await _fall_due(connection, order, per_second, at_once=len(dead) if scene.first else 0)
    patience = len(owners) / per_second + 45
    async with working(service, concurrency=CONCURRENCY):
        await _until_over(database, well, began, patience)
        async with database.connection() as connection:
            rows = await (await connection.execute(_WAITS, [well, began])).fetchall()
            await connection.execute(_REST)
        upstream.order()
    missing = len(well) - sum(row["state"] == "succeeded" for row in rows)
    found = [
        spread(f"{scene.what}: from due to begun, healthy owners", [row["started"] for row in rows], "s"),
        spread(f"{scene.what}: from due to done", [row["finished"] for row in rows], "s"),
    ]
    if missing:
        found.append(single(f"… not done after {patience:.0f} s (counted as so long)", missing, "runs"))
    await _end_all(service, database)
    return found


async def _fall_due(connection: Connection, order: list[str], per_second: int, *, at_once: int) -> float:
    """Each a little after the one before it, from three seconds on, so many of the first at once; gives that time."""
    cursor = await connection.execute(
        "UPDATE keepstep.schedule_times t SET due_at = n.at, delta_at = n.at FROM ("
        " SELECT s.id, now() + interval '3 seconds' + greatest(o.place - %s, 0) * interval '1 second' / %s AS at"
        " FROM unnest(%s::text[]) WITH ORDINALITY AS o (owner, place)"
        " JOIN keepstep.connections c ON c.owner_id = o.owner JOIN keepstep.schedules s ON s.connection_id = c.id"
        " WHERE c.state = 'connected') n"
        " WHERE t.schedule_id = n.id RETURNING extract(epoch FROM t.due_at)::float8 AS at",
        [at_once, per_second, order],
    )
    return min(row["at"] for row in await cursor.fetchall()) - 0.001


async def _until_over(database: Database, owners: list[str], began: float, patience: float) -> None:
    deadline = time.monotonic() + patience
    async with database.connection() as connection:
        while time.monotonic() < deadline:
            await asyncio.sleep(1)
            rows = await (await connection.execute(_WAITS, [owners, began])).fetchall()
            if len(rows) == len(owners) and all(row["state"] in ("succeeded", "failed") for row in rows):
                return


async def _end_all(service: Service, database: Database) -> None:
    """What hangs still is ended, and nobody is known to struggle or to be refused."""
    async with database.connection() as connection:
        cursor = await connection.execute(
            "SELECT c.owner_id FROM keepstep.runs r JOIN keepstep.connections c ON c.id = r.connection_id"
            " WHERE r.state IN ('queued', 'running', 'waiting')"
        )
        for row in await cursor.fetchall():
            await service.owners.pause(KEY, row["owner_id"], reason="the scene is over", by="bench")
            await service.owners.resume(KEY, row["owner_id"], by="bench")
        await connection.execute("TRUNCATE keepstep.struggling, keepstep.limits")
        await connection.execute(_REST)

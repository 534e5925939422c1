"""kill -9 at any moment: nothing lost, nothing doubled, nothing to repair."""

import asyncio
import random
from collections import Counter
from typing import Any

from tests.support.sync import Sync
from tests.support.upstream import serving
from tests.support.victims import Victims, victims

ENTITIES = ("units", "leases")
SIZES = {"units": 300, "leases": 900}
MOST_EVENTS = 7
LONGEST_DELAY = 0.03


class Attacker:
    """Kills runs after a random number of events and a random moment more, until one gets through."""

    def __init__(self, sync: Sync, victims: Victims, seed: int) -> None:
        self._sync = sync
        self._victims = victims
        self._chance = random.Random(seed)
        self.kills = 0

    async def until_through(self, *, at_least: int = 0) -> dict[str, int]:
        """The sums of what all runs, the killed ones and the last, say they did. Spares a run after enough kills."""
        first = await self._sync.value("SELECT coalesce(max(id), 0) AS id FROM keepstep.runs")
        kills = 0
        while not await self._attempt(spare=kills >= at_least and self._chance.random() < 0.2):
            kills += 1
        self.kills += kills
        return await self._sums(first)

    async def _attempt(self, *, spare: bool) -> bool:
        """Whether it lived."""
        victim = await self._victims.start(*ENTITIES, page_size=25, flush_rows=50)
        if not spare:
            await victim.until(self._chance.randrange(MOST_EVENTS))
            await asyncio.sleep(self._chance.random() ** 2 * LONGEST_DELAY)
            if await victim.kill():
                return False
        await victim.until_gone()
        assert victim.result == "succeeded", victim.result
        return True

    async def _sums(self, after: int) -> dict[str, int]:
        [sums] = await self._sync.sql(
            "SELECT sum(inserted) AS inserted, sum(updated) AS updated, sum(deleted) AS deleted,"
            " sum(dead_lettered) AS dead_lettered FROM keepstep.run_entities WHERE run_id > %s",
            after,
        )
        return {name: int(value) for name, value in sums.items()}


async def test_fifty_kills_at_random_moments_lose_and_double_nothing(dsn: str) -> None:
    async with serving(**SIZES) as upstream:
        sync = Sync(dsn, upstream)
        async with victims(sync) as processes:
            attacker = Attacker(sync, processes, seed=20)
            sums = await attacker.until_through(at_least=16)
            assert sums == _sums(inserted=sum(SIZES.values()))
            await sync.assert_in_step(*ENTITIES)

            wave = 0
            while attacker.kills < 50:
                wave += 1
                poisoned, expected = _make_changes(sync, wave)
                sums = await attacker.until_through(at_least=10)
                assert sums == expected
                await sync.assert_in_step(*ENTITIES, apart_from=poisoned)
                assert {letter["record_key"] for letter in await sync.letters()} == set(poisoned)
                sync.upstream.cure("leases")
                cured = await attacker.until_through()
                assert cured == _sums(inserted=len(poisoned))
                assert await sync.letters() == []
                await sync.assert_in_step(*ENTITIES)
            await _nothing_is_left_over(sync)


def _make_changes(sync: Sync, wave: int) -> tuple[list[str], dict[str, int]]:
    """Updates, creations, poison, and deletions that take a second look; the poisoned ids and the sums to come."""
    upstream = sync.upstream
    lost = upstream.change("leases", delete=30)["deleted"]
    changed = upstream.change("leases", update=200)["updated"]
    changed += upstream.change("units", update=90)["updated"]
    created = upstream.change("units", create=20 + wave)["created"]
    poisoned = upstream.poison("leases", "nul-in-text", "beyond-bigint", "lone-surrogate", count=15)
    sums = _sums(inserted=len(created), updated=len(changed), deleted=len(lost), dead_lettered=len(poisoned))
    return poisoned, sums


def _sums(**sums: int) -> dict[str, int]:
    return {"inserted": 0, "updated": 0, "deleted": 0, "dead_lettered": 0, **sums}


async def _nothing_is_left_over(sync: Sync) -> None:
    """No checkpoint, no table of seen keys, no lock, no live run; every killed run is called crashed."""
    leftovers: Counter[str] = Counter()
    for name, query in _LEFTOVERS.items():
        leftovers[name] = await sync.value(query)
    assert leftovers == {"checkpoints": 0, "seen": 0, "locks": 0, "live": 0}
    states: list[dict[str, Any]] = await sync.sql("SELECT state, count(*) AS n FROM keepstep.runs GROUP BY 1")
    assert {row["state"] for row in states} == {"crashed", "succeeded"}


_LEFTOVERS = {
    "checkpoints": "SELECT count(*) FROM keepstep.checkpoints",
    "seen": "SELECT count(*) FROM pg_class WHERE relname LIKE 'seen%%'",
    "locks": "SELECT count(*) FROM keepstep.locks",
    "live": "SELECT count(*) FROM keepstep.runs WHERE state IN ('running', 'waiting')",
}

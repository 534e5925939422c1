"""Whatever happens upstream, on the way and to the runs: after a clean full run the tables are upstream."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from keepstep.model.integration import Mode
from keepstep.model.run import Event
from tests.support.server import TestServer
from tests.support.sync import Sync, counts_of, entity_of
from tests.support.upstream import Upstream, serving

ENTITIES = ("units", "leases")
SIZES = {"units": 24, "leases": 33}
POISON = ("nul-in-text", "nested-number-out-of-range", "missing-id", "duplicate-id", "beyond-bigint", "null-record")
LARGEST_EMPTYING = "45%"


@dataclass
class Story:
    """One upstream, one database, and what has been done to them."""

    sync: Sync
    told: Counter[str] = field(default_factory=Counter)
    poisoned: Counter[str] = field(default_factory=Counter)

    @property
    def upstream(self) -> Upstream:
        """The emulator."""
        return self.sync.upstream

    def good(self, name: str) -> int:
        """How many records of an entity can be changed."""
        return max(0, len(self.upstream.raw_records(name)) - self.poisoned[name])


Step = Callable[[Story], Any]
entity = st.sampled_from(ENTITIES)
few = st.integers(0, 6)


@st.composite
def changes(draw: st.DrawFn) -> Step:
    """Something changes upstream."""
    name, create, update, touch = draw(entity), draw(few), draw(few), draw(few)
    delete = draw(st.sampled_from([0, 0, 1, 3]) | st.just(LARGEST_EMPTYING))
    silent = draw(st.booleans())

    def step(story: Story) -> None:
        there = story.good(name)
        done = story.upstream.change(
            name, create=create, update=min(update, there), touch=min(touch, there),
            delete=delete if isinstance(delete, str) else min(delete, there), silent=silent,
        )  # fmt: skip
        note(f"{name}: { ({kind: len(ids) for kind, ids in done.items()}) }")

    return step


@st.composite
def poison(draw: st.DrawFn) -> Step:
    """Bad records arrive, or all of them are mended."""
    name, kinds, cure = draw(entity), draw(st.lists(st.sampled_from(POISON), max_size=4)), draw(st.booleans())

    def step(story: Story) -> None:
        if cure:
            story.upstream.cure(name)
            story.poisoned[name] = 0
        else:
            story.poisoned[name] += len(story.upstream.poison(name, *kinds))
        note(f"{name}: {'cured' if cure else kinds}")

    return step


FAULTS: list[dict[str, Any]] = [
    {"kind": "503"}, {"kind": "503", "forever": True}, {"kind": "reset"}, {"kind": "truncate"}, {"kind": "html"},
    {"kind": "truncate", "variant": "body"}, {"kind": "shift"}, {"kind": "shift", "variant": "replace", "rows": 2},
    {"kind": "429", "retry_after": 2}, {"kind": "429", "retry_after": 4000}, {"kind": "envelope"}, {"kind": "401"},
    {"kind": "repeat"}, {"kind": "bad-json"},
]  # fmt: skip


@st.composite
def faults(draw: st.DrawFn) -> Step:
    """Something will go wrong on the way."""
    fault, name, after = draw(st.sampled_from(FAULTS)), draw(entity), draw(st.integers(0, 4))

    def step(story: Story) -> None:
        story.upstream.fault(**fault, entity=name, after=after)
        note(f"{fault} for {name} after {after}")

    return step


@st.composite
def switches(draw: st.DrawFn) -> Step:
    """Upstream behaves differently from now on."""
    given_: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "sort": st.sampled_from(["honoured", "ignored"]),
                "shuffle_keys": st.booleans(),
                "pretty": st.booleans(),
            },
        )
    )

    def step(story: Story) -> None:
        story.upstream.switch(**given_)
        note(f"{given_}")

    return step


@st.composite
def attempts(draw: st.DrawFn) -> Step:
    """A run, perhaps cancelled after some events, of a command's own or from the queue."""
    mode = draw(st.sampled_from(Mode))
    page_size, flush_rows = draw(st.sampled_from([1, 3, 7, 10, 100])), draw(st.sampled_from([1, 5, 12, 1000]))
    names = draw(st.sampled_from([ENTITIES, ENTITIES[:1], ENTITIES[1:]]))
    dry, cancel_after = draw(st.sampled_from([False, False, False, True])), draw(st.none() | st.integers(0, 9))
    queued = draw(st.booleans())

    async def step(story: Story) -> None:
        story.sync.page_size = page_size
        heard = itertools.count()

        def listen(_event: Event) -> None:
            if cancel_after is not None and next(heard) == cancel_after:
                run.cancel()

        do = story.sync.run_queued if queued else story.sync.run
        run = asyncio.create_task(do(*names, mode=mode, dry_run=dry, listener=listen, flush_rows=flush_rows))
        try:
            result = (await run).result
        except asyncio.CancelledError:
            result = "cancelled"
        story.told[result] += 1
        await story.sync.let_time_pass()
        note(f"{'dry ' if dry else ''}{mode} of {names}, pages of {page_size}, flushes of {flush_rows}: {result}")

    return step


steps = st.lists(
    st.one_of(changes(), changes(), poison(), faults(), switches(), attempts(), attempts()), min_size=3, max_size=14
)


@settings(
    max_examples=16, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(story=steps)
def test_after_a_clean_full_run_the_tables_are_upstream(server: TestServer, story: list[Step]) -> None:
    with server.database() as dsn:
        asyncio.run(_live_through(dsn, story))


async def _live_through(dsn: str, story: list[Step]) -> None:
    async with serving(**SIZES) as upstream:
        sync = Sync(dsn, upstream)
        sync.policy = replace(sync.policy, drop_percent=100)
        told = Story(sync)
        for step in story:
            done = step(told)
            if done is not None:
                await done
                await _sums_are_consistent(sync)
        upstream.clear_faults()
        for name in ENTITIES:
            upstream.cure(name)
        sync.page_size = 10
        await sync.run(*ENTITIES)  # ends whatever was unfinished, and misses no record and no deletion meanwhile
        for name in ENTITIES:
            live = {key for key, row in (await sync.rows(name)).items() if row["_deleted_at"] is None}
            assert live == set(upstream.ids(name))
        clean = await sync.run(*ENTITIES)
        assert clean.result == "succeeded"
        await sync.assert_in_step(*ENTITIES)
        assert await sync.letters() == []
        again = await sync.run(*ENTITIES)
        assert counts_of(again) == {"unchanged": sum(len(upstream.ids(name)) for name in ENTITIES)}
        for name in ENTITIES:
            assert (entity_of(again, name).completeness or "").startswith("complete")
        await _sums_are_consistent(sync)


async def _sums_are_consistent(sync: Sync) -> None:
    """Every record read is exactly one of four things, and the rows that exist are those that were inserted."""
    async with sync.connection() as connection:
        cursor = await connection.execute(
            "SELECT * FROM keepstep.run_entities WHERE rows <> inserted + updated + unchanged + dead_lettered"
        )
        assert await cursor.fetchall() == []
        cursor = await connection.execute(
            "SELECT entity, sum(inserted)::bigint AS n FROM keepstep.run_entities e"
            " JOIN keepstep.runs r ON r.id = e.run_id"
            " WHERE NOT r.dry_run AND to_regclass('doorloop.' || entity) IS NOT NULL GROUP BY entity"
        )
        for sums in await cursor.fetchall():
            counted = await connection.execute(f"SELECT count(*) AS n FROM doorloop.{sums['entity']}".encode())
            assert await counted.fetchone() == {"n": sums["n"]}

"""What a live run writes through: one transaction per flush, repeated when its connection breaks, counted once."""

from collections.abc import AsyncIterator

import pytest

from keepstep.model.errors import StoreError
from keepstep.model.integration import Mode
from keepstep.model.run import Counts, RunRequest, State
from keepstep.store import runs
from keepstep.store.db import Connection, Database, DataRefused
from keepstep.store.session import RunSession

COUNTS = Counts(inserted=3, updated=2, unchanged=4, dead_lettered=1)


@pytest.fixture
async def session(database: Database, connection: Connection) -> AsyncIterator[RunSession]:
    """A run of leases that has begun to read them."""
    await connection.execute("CREATE TABLE public.notes (note text CHECK (note <> 'bad'))")
    session = await runs.begin(database, "doorloop", RunRequest(("leases",), Mode.BACKFILL), lease=60)
    await session.flush(lambda c, _now: runs.start_entity(c, session, "leases", resumed=False))
    yield session
    await session.release()


async def kill_session(connection: Connection) -> None:
    """End the run's session under its feet."""
    await connection.execute("SELECT pg_terminate_backend(backend_pid, 5000) FROM keepstep.locks")


async def noted(connection: Connection) -> list[str]:
    """What was committed."""
    return [row["note"] for row in await (await connection.execute("SELECT note FROM public.notes")).fetchall()]


async def count(connection: Connection, session: RunSession, expected_pages: int) -> None:
    """Count a flush of two pages."""
    await runs.count_flush(
        connection, session, "leases", pages=2, expected_pages=expected_pages, requests=3, total=100, counts=COUNTS
    )


async def test_a_flush_whose_connection_breaks_is_done_again_on_a_new_one(
    session: RunSession, connection: Connection
) -> None:
    attempts = 0

    async def work(own: Connection, _now: object) -> None:
        nonlocal attempts
        attempts += 1
        await own.execute("INSERT INTO public.notes VALUES ('once')")
        if attempts < 3:
            await kill_session(connection)

    await session.flush(work)
    assert attempts == 3
    assert await noted(connection) == ["once"]
    cursor = await connection.execute(
        "SELECT count(*) AS n FROM keepstep.locks l JOIN pg_stat_activity ON pid = backend_pid"
    )
    assert await cursor.fetchone() == {"n": 1}


async def test_a_flush_that_cannot_be_repeated_fails_in_words(session: RunSession, connection: Connection) -> None:
    async def work(own: Connection, _now: object) -> None:
        await kill_session(connection)
        await own.execute("INSERT INTO public.notes VALUES ('never')")

    with pytest.raises(StoreError) as failure:
        await session.flush(work, repeatable=False)
    assert failure.value.fix
    assert await noted(connection) == []


async def test_a_refused_value_undoes_the_flush_and_the_next_one_works(
    session: RunSession, connection: Connection
) -> None:
    async def write(own: Connection, *notes: str) -> None:
        for note in notes:
            await own.execute("INSERT INTO public.notes VALUES (%s)", [note])

    with pytest.raises(DataRefused, match="check constraint"):
        await session.flush(lambda own, _now: write(own, "good", "bad"))
    assert await noted(connection) == []
    await session.flush(lambda own, _now: write(own, "good"))
    assert await noted(connection) == ["good"]


async def test_a_statement_that_is_wrong_is_no_refused_value(session: RunSession) -> None:
    async def work(own: Connection, _now: object) -> None:
        await own.execute("SELECT * FROM public.nowhere")

    with pytest.raises(StoreError, match="nowhere") as failure:
        await session.flush(work)
    assert not isinstance(failure.value, DataRefused)


async def test_a_flush_is_counted_once_however_often_it_is_said(session: RunSession, connection: Connection) -> None:
    await session.flush(lambda own, _now: count(own, session, 0))
    with pytest.raises(runs.AlreadyCounted):
        await session.flush(lambda own, _now: count(own, session, 0))
    await session.flush(lambda own, _now: count(own, session, 2))
    row = await runs.get(connection, session.run_id)
    assert row is not None
    [leases] = row["entities"]
    expected = {"pages": 4, "rows": 20, "requests": 6, "inserted": 6, "updated": 4, "unchanged": 8, "dead_lettered": 2}
    assert {name: leases[name] for name in expected} == expected
    assert leases["total"] == 100


async def test_an_entity_that_has_ended_is_known_to_have(session: RunSession, connection: Connection) -> None:
    assert await runs.ended_entity(connection, session, "leases") is None
    state = State.SUCCEEDED
    await session.flush(
        lambda own, _now: runs.finish_entity(own, session, "leases", state, completeness="complete", deleted=2)
    )
    ended = await runs.ended_entity(connection, session, "leases")
    assert ended == {"state": "succeeded", "deleted": 2, "completeness": "complete"}


async def test_releasing_twice_or_after_the_session_has_gone_is_harmless(
    session: RunSession, connection: Connection
) -> None:
    await kill_session(connection)
    await session.release()
    await session.release()


async def test_a_runs_session_keeps_no_generic_plan_and_joins_by_index(
    session: RunSession,
) -> None:
    async def settings(own: Connection, _now: object) -> dict[str, str]:
        names = ["plan_cache_mode", "enable_hashjoin", "enable_mergejoin"]
        cursor = await own.execute("SELECT name, setting FROM pg_settings WHERE name = ANY (%s)", [names])
        return {row["name"]: row["setting"] for row in await cursor.fetchall()}

    assert await session.flush(settings) == {
        "plan_cache_mode": "force_custom_plan",
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
    }

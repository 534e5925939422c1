"""The politeness of a connection in a real database: shared by pacers, kept across restarts, told to people."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from tests.support.server import TestServer

from keepstep.model.errors import BreakerOpen, RateLimited, StoreError
from keepstep.reliability.pacing import Heard, Outcome, Verdict
from keepstep.reliability.politeness import Ask, Grant, Report, Rules
from keepstep.reliability.shared_pacer import SharedPacer
from keepstep.reliability.windows import Window
from keepstep.service.audit import Audit
from keepstep.service.limits import Limits
from keepstep.store import desk as desks
from keepstep.store import limits
from keepstep.store.db import Connection, Database
from keepstep.store.desk import LimitsDesk, shared_pacer

GOOD = Outcome(Verdict.GOOD, 200)
FAILED = Outcome(Verdict.FAILED, 503)
RULES = Rules(max_concurrency=2)
DEADLINE = 60.0


@asynccontextmanager
async def pacers(dsn: str, count: int = 1, rules: Rules = RULES) -> AsyncIterator[list[SharedPacer]]:
    """Pacers of one connection, each with its own way to the database."""
    made = [shared_pacer(Database(dsn), "doorloop", rules, title="DoorLoop") for _ in range(count)]
    try:
        async with asyncio.timeout(DEADLINE):
            yield made
    finally:
        for pacer in made:
            await pacer.aclose()


async def send(pacer: SharedPacer, outcome: Outcome = GOOD, times: int = 1) -> None:
    for _ in range(times):
        async with pacer.turn() as turn:
            turn.ended(outcome)


def people(dsn: str, rules: Rules = RULES) -> Limits:
    database = Database(dsn)
    return Limits(database, lambda _key: rules, Audit(database))


async def value(connection: Connection, statement: str) -> Any:
    row = await (await connection.execute(statement.encode())).fetchone()
    assert row is not None
    return next(iter(row.values()))


async def test_the_ceiling_on_requests_in_flight_holds_for_several_pacers_together(dsn: str) -> None:
    in_flight = most = done = 0
    async with pacers(dsn, 3, Rules(max_concurrency=3)) as made:

        async def request(pacer: SharedPacer) -> None:
            nonlocal in_flight, most, done
            async with pacer.turn() as turn:
                in_flight += 1
                most = max(most, in_flight)
                await asyncio.sleep(0)
                in_flight -= 1
                done += 1
                turn.ended(GOOD)

        await asyncio.gather(*(request(pacer) for pacer in made * 20))

    assert done == 60
    assert most <= 3


async def test_the_rate_holds_for_several_pacers_together(dsn: str) -> None:
    starts: list[float] = []
    async with pacers(dsn, 3, Rules(max_concurrency=3, per_second=25)) as made:

        async def request(pacer: SharedPacer) -> None:
            async with pacer.turn() as turn:
                starts.append(time.monotonic())
                turn.ended(GOOD)

        await asyncio.gather(*(request(pacer) for pacer in made * 10))

    assert max(starts) - min(starts) > 29 / 25 - 0.3


async def test_what_one_pacer_has_learned_holds_for_the_next_one(dsn: str) -> None:
    async with pacers(dsn) as [first]:
        await send(first, Outcome(Verdict.LIMITED, 429, retry_after=2400.0))
    async with pacers(dsn) as [second]:
        with pytest.raises(RateLimited, match="DoorLoop asked for a pause") as refusal:
            await send(second)

    assert 2390 < (refusal.value.after or 0) <= 2400


async def test_a_wait_that_may_not_last_is_refused_at_once(dsn: str) -> None:
    async with pacers(dsn) as [pacer]:
        await send(pacer, Outcome(Verdict.LIMITED, 429, retry_after=20.0))
        with pytest.raises(RateLimited):
            async with pacer.turn(patience=5.0):
                pass


async def test_the_breaker_opens_for_all_and_can_be_closed_by_hand(dsn: str, connection: Connection) -> None:
    rules = Rules(breaker_threshold=3, breaker_cooldown=60.0)
    staff = people(dsn, rules)
    assert (await staff.current("doorloop"))[0].state == "closed"
    async with pacers(dsn, 2, rules) as [one, two]:
        await send(one, FAILED, times=3)
        with pytest.raises(BreakerOpen):
            await send(two)

        breaker, _ = await staff.current("doorloop")
        assert (breaker.state, breaker.failures) == ("open", 3)
        assert breaker.opened_at is not None
        assert breaker.reopens_at is not None
        assert breaker.reopens_at - breaker.opened_at == timedelta(seconds=60)

        closed = await staff.close_breaker("doorloop", by="ann")
        assert closed.model_dump() == {"state": "closed", "failures": 0}
        await send(two)
    await staff.close_breaker("doorloop", by="ann")

    rows = await (await connection.execute("SELECT * FROM keepstep.admin_logs ORDER BY id")).fetchall()
    assert [(row["user"], row["action"], row["payload"], row["result"]) for row in rows] == [
        ("ann", "breaker.close", {"integration": "doorloop"}, "closed"),
        ("ann", "breaker.close", {"integration": "doorloop"}, "it was closed already"),
    ]


async def test_people_see_what_is_left_and_how_it_went(dsn: str) -> None:
    staff = people(dsn)
    async with pacers(dsn) as [pacer]:
        await send(pacer, Outcome(Verdict.GOOD, 200, Heard(50, 12, 30.0)))
        await send(pacer, Outcome(Verdict.LIMITED, 429, Heard(50, 0, 0.2), retry_after=0.2))
        await send(pacer)

    _, left = await staff.current("doorloop")
    assert left is not None
    assert left.limit == 50
    samples = await staff.samples("doorloop", timedelta(hours=1))
    assert {sample.cause for sample in samples} >= {"answer", "retry-after"}
    assert [sample.ts for sample in samples] == sorted(sample.ts for sample in samples)
    assert await staff.samples("doorloop", timedelta(0)) == []
    assert await staff.samples("nothing", timedelta(hours=1)) == []


async def test_limits_that_only_a_429_has_told_are_shown_by_our_own_count(dsn: str) -> None:
    rules = Rules(windows=(Window(50, 60.0), Window(500, 3600.0)))
    async with pacers(dsn, rules=rules) as [pacer]:
        await send(pacer, times=4)
        assert (await people(dsn, rules).current("doorloop"))[1] is None
        await send(pacer, Outcome(Verdict.LIMITED, 429, retry_after=0.1))
        await send(pacer)

    _, left = await people(dsn, rules).current("doorloop")
    assert left is not None
    assert (left.limit, left.remaining) == (50, 44)


async def test_requests_are_counted_by_status_code(dsn: str, connection: Connection) -> None:
    async with pacers(dsn, 2) as [one, two]:
        await send(one, times=30)
        await send(two, times=12)
        await send(two, FAILED)
        async with two.turn():
            pass

    rows = await (await connection.execute("SELECT * FROM keepstep.totals WHERE name = 'requests'")).fetchall()
    assert {row["labels"]["code"]: row["value"] for row in rows} == {"200": 42, "503": 1, "none": 1}
    assert all(row["labels"]["integration"] == "doorloop" for row in rows)


async def test_a_report_that_is_told_twice_counts_once(database: Database) -> None:
    desk = LimitsDesk(database, "doorloop")
    failed = Report(((Verdict.FAILED, 2),), sent=2)
    for number in (1, 2, 2, 2):
        reply = await desk.ask(Ask("one", number, report=failed), RULES, Counter({"503": 2}), 0.0)
        assert isinstance(reply.answer, Grant)
    await desk.close()

    async with database.connection() as connection:
        [row] = await limits.current(connection, "doorloop")
        assert row.state.breaker.failures == 4
        assert await value(connection, "SELECT sum(value) FROM keepstep.totals") == 4


async def test_a_state_that_cannot_be_read_is_begun_anew(dsn: str, connection: Connection) -> None:
    async with pacers(dsn) as [pacer]:
        await send(pacer)
        await connection.execute("""UPDATE keepstep.limits SET state = '{"breaker": "nonsense", "at": []}'""")
        await send(pacer, FAILED)
        await send(pacer)


async def test_the_state_stays_small(dsn: str, connection: Connection) -> None:
    rules = Rules(max_concurrency=2, windows=(Window(50, 60.0), Window(500, 3600.0)))
    async with pacers(dsn, 3, rules) as made:
        for pacer in made * 8:
            await send(pacer)

    assert await value(connection, "SELECT pg_column_size(state) FROM keepstep.limits") < 4000


async def test_questions_are_few_and_the_connection_is_given_up_when_idle(
    dsn: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keepstep.reliability.shared_pacer.IDLE", 0.1)
    asked = 0
    once = LimitsDesk._once

    async def counted(*given: Any) -> Any:
        nonlocal asked
        asked += 1
        return await once(*given)

    monkeypatch.setattr(LimitsDesk, "_once", counted)
    async with pacers(dsn) as [pacer]:
        started = time.monotonic()
        await send(pacer, times=3000)
        assert asked < 10 + 25 * (time.monotonic() - started)
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'keepstep limits'"
        while await value(connection, sessions):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await send(pacer)


# A database that goes away


async def test_a_restart_of_the_database_is_waited_out(dsn: str, server: TestServer) -> None:
    async with pacers(dsn) as [pacer]:
        await send(pacer, times=3)
        sending = asyncio.create_task(send(pacer, times=200_000))
        server.kill()
        await asyncio.to_thread(server.await_answer)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await send(pacer)


async def test_without_a_database_nothing_is_sent(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "PATIENCE", 0.3)
    sent = 0
    async with pacers(dsn.rsplit("/", 1)[0] + "/nowhere") as [pacer]:
        with pytest.raises(StoreError):
            async with pacer.turn():
                sent += 1

    assert sent == 0


async def test_a_session_that_the_server_ends_is_replaced(dsn: str, connection: Connection) -> None:
    async with pacers(dsn) as [pacer]:
        for _ in range(3):
            await send(pacer, FAILED)
            with contextlib.suppress(psycopg.Error):
                await connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'keepstep limits'"
                )
            await send(pacer)

    assert await value(connection, "SELECT value FROM keepstep.totals WHERE labels->>'code' = '503'") == 3

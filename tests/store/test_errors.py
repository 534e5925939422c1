"""Errors by their kind: counted where they are written, resolved when they stay away, reopened when they return."""

from typing import Any

import pytest

from keepstep.model.integration import Mode
from keepstep.model.run import Event, RunRequest
from keepstep.store import errors, runs
from keepstep.store.db import Connection, Database


def failed(
    entity: str | None = "owners", *, snippet: str = "<html>Oops", status: int | None = 500, type_: str = ""
) -> Event:
    answer = {"method": "GET", "path": f"/{entity or 'owners'}", "status": status, "snippet": snippet}
    data = {"code": "upstream-failed", "message": "It failed.", "fix": "Wait.", "answer": answer}
    kind = type_ or ("entity-failed" if entity else "run-failed")
    return Event(kind, "It failed.", level="error", entity=entity, data=data)


class Story:
    """Runs of one connection that fail as they are told to."""

    def __init__(self, connection: Connection, owner: int) -> None:
        self.connection = connection
        self.owner = owner

    async def run(self, *events: Event) -> int:
        cursor = await self.connection.execute(
            "INSERT INTO keepstep.runs (connection_id, mode, dry_run, trigger, state, started_at, finished_at, error)"
            " VALUES (%s, 'delta', false, 'manual', 'failed', now(), now(), '{}') RETURNING id", [self.owner],
        )  # fmt: skip
        row = await cursor.fetchone()
        assert row is not None
        for event in events:
            async with self.connection.transaction():
                await runs.tell_of(self.connection, self.owner, row["id"], event)
        return int(row["id"])

    async def groups(self, **filters: Any) -> list[dict[str, Any]]:
        return await errors.groups(self.connection, **filters)

    async def days_pass(self, days: int) -> None:
        await self.connection.execute(
            "UPDATE keepstep.error_groups SET first_seen = first_seen - %(d)s * interval '1 day',"
            " last_seen = last_seen - %(d)s * interval '1 day', opened_at = opened_at - %(d)s * interval '1 day'",
            {"d": days},
        )


@pytest.fixture
async def story(connection: Connection) -> Story:
    return Story(connection, await runs.connection_id(connection, "doorloop"))


async def test_the_same_error_is_one_whatever_numbers_ids_and_times_it_carries(story: Story) -> None:
    first = await story.run(failed(snippet='{"requestId": "5f0c9d1e2b3a4c5d6e7f8091", "at": "2026-05-06T07:08:09Z"}'))
    second = await story.run(failed(snippet='{"requestId": "0a1b2c3d4e5f60718293a4b5", "at": "2027-01-02T03:04:05Z"}'))
    [group] = await story.groups()

    assert (group["count"], group["run_ids"], group["entities"]) == (2, [second, first], ["owners"])
    assert (group["status"], group["path"], group["state"]) == (500, "/owners", "open")
    assert "0a1b2c" in group["sample"]["snippet"], "the newest is shown as it came"
    assert group["first_seen"] < group["last_seen"]


async def test_status_path_and_words_tell_errors_apart(story: Story) -> None:
    await story.run(
        failed(), failed(status=502), failed("leases"), failed(snippet="Something else"),
        failed(None, type_="run-waiting", status=429),
    )  # fmt: skip

    assert [group["count"] for group in await story.groups()] == [1] * 5
    assert [group["path"] for group in await story.groups(entity="leases")] == ["/leases"]
    assert await story.groups(integration="another") == []


async def test_an_error_told_for_the_entity_and_for_its_run_counts_once(story: Story) -> None:
    await story.run(failed(), failed(None))
    await story.run(failed(None))
    [group] = await story.groups()

    assert group["count"] == 2


async def test_a_run_that_waits_again_and_again_counts_each_wait_and_is_named_once(story: Story) -> None:
    run = await story.run(*[failed(None, type_="run-waiting")] * 3)
    [group] = await story.groups()

    assert (group["count"], group["run_ids"]) == (3, [run])


async def test_what_stays_away_for_a_day_is_resolved_and_reopened_when_it_returns(story: Story) -> None:
    await story.run(failed())
    await story.days_pass(2)
    [resolved] = await story.groups()
    await story.run(failed())
    [reopened] = await story.groups()
    await story.run(failed())
    [again] = await story.groups()
    await story.days_pass(1)
    await story.days_pass(1)
    [over] = await story.groups()

    assert [g["state"] for g in (resolved, reopened, again, over)] == ["resolved", "reopened", "reopened", "resolved"]
    assert [g["episodes"] for g in (resolved, reopened, again)] == [1, 2, 2]
    assert reopened["opened_at"] > reopened["first_seen"]
    assert again["opened_at"] == reopened["opened_at"]


async def test_only_the_newest_runs_are_named(story: Story) -> None:
    all_runs = [await story.run(failed()) for _ in range(errors.MOST_RUNS + 3)]
    [group] = await story.groups()

    assert group["run_ids"] == all_runs[: -errors.MOST_RUNS - 1 : -1]
    assert group["count"] == len(all_runs)


async def test_a_failure_that_is_undone_is_not_counted(database: Database) -> None:
    session = await runs.begin(database, "doorloop", RunRequest(("owners",), Mode.DELTA), lease=60)

    async def write_and_break(connection: Connection, _now: object) -> None:
        await runs.tell(connection, session, failed())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await session.flush(write_and_break)
    await session.release()
    async with database.connection() as connection:
        assert await errors.groups(connection) == []


async def test_kinds_that_nobody_has_seen_for_long_are_forgotten(story: Story) -> None:
    await story.run(failed())
    await story.days_pass(181)
    await story.run(failed(snippet="Something else"))

    assert await errors.prune(story.connection, older=errors.OVER_AFTER * 180, limit=10) == 1
    assert [group["count"] for group in await story.groups()] == [1]

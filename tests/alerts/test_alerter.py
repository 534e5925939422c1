"""Alerts from what is in the database to what arrives at the webhook."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from keepstep.alerts.alerter import Alerter, Arrangement
from keepstep.alerts.channels import Apprise, Teams
from keepstep.alerts.rules import QuietHours
from keepstep.store.db import Database
from tests.support.webhook import Webhook, webhook

SIGNATURE = "a-signature-that-nobody-may-see"


class Post:
    """An alerter with a webhook, and what a test does to the facts."""

    def __init__(self, database: Database, hook: Webhook) -> None:
        self.database = database
        self.hook = hook
        self.arrangement = Arrangement(
            channels=(Teams(f"{hook.host}/workflows/x?sig={SIGNATURE}"),), link="https://keepstep.example.test/x",
            titles={"doorloop": "DoorLoop"},
        )  # fmt: skip
        self.alerter = Alerter(database, self._arranged)

    async def _arranged(self) -> Arrangement:
        return self.arrangement

    async def round(self) -> None:
        """One round, whenever the last one was."""
        await self.sql("DELETE FROM keepstep.ticks WHERE name = 'alerter'")
        await self.alerter.round()

    async def sql(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """The rows of any statement."""
        async with self.database.connection() as connection:
            cursor = await connection.execute(statement.encode(), values or None)
            return await cursor.fetchall() if cursor.description else []

    async def connections(self, count: int) -> None:
        """Connections of owners."""
        await self.sql(
            "INSERT INTO keepstep.connections (integration, owner_id)"
            " SELECT 'doorloop', 'owner ' || n FROM generate_series(1, %s) n ON CONFLICT DO NOTHING", count,
        )  # fmt: skip

    async def failing(self, *, is_failing: bool = True, owner: str | None = None) -> None:
        """All connections (or one) are refused their credentials, or are not any more."""
        await self.sql(
            "INSERT INTO keepstep.runs (connection_id, mode, dry_run, trigger, state, started_at, finished_at, error)"
            " SELECT id, 'delta', false, 'schedule', CASE WHEN %(failing)s THEN 'failed' ELSE 'succeeded' END, now(),"
            " now(), CASE WHEN %(failing)s THEN '{\"code\": \"auth-failed\", \"message\": \"Refused.\"}'::jsonb END"
            " FROM keepstep.connections WHERE %(owner)s::text IS NULL OR owner_id = %(owner)s"
            .replace("%(failing)s", "true" if is_failing else "false")
            .replace("%(owner)s", "NULL" if owner is None else f"'{owner}'")
        )  # fmt: skip

    async def later(self, interval: str) -> None:
        """Everything that was told was told so much earlier."""
        await self.sql(f"UPDATE keepstep.alert_messages SET created_at = created_at - interval '{interval}'")
        await self.sql(
            f"UPDATE keepstep.alerts SET announced_at = announced_at - interval '{interval}',"
            f" reminded_at = reminded_at - interval '{interval}', started_at = started_at - interval '{interval}'"
        )

    async def retry_now(self) -> None:
        """Nothing waits for another try."""
        await self.sql("UPDATE keepstep.alert_messages SET next_at = now()")

    def titles(self) -> list[str]:
        """Of what arrived, in order."""
        return [card["attachments"][0]["content"]["body"][0]["text"] for card in self.hook.posted]


@pytest.fixture
async def post(database: Database) -> AsyncIterator[Post]:
    async with webhook() as hook:
        post = Post(database, hook)
        await post.connections(1)
        yield post


async def test_one_message_when_it_begins_none_in_between_and_one_when_it_ends(post: Post) -> None:
    await post.failing()
    for _ in range(3):
        await post.round()
    await post.failing(is_failing=False)
    for _ in range(3):
        await post.round()

    assert post.titles() == [
        "DoorLoop of owner 1: the credentials are refused",
        "Over: DoorLoop of owner 1: the credentials are refused",
    ]
    [alert] = await post.sql("SELECT * FROM keepstep.alerts")
    assert (alert["ended_at"] is not None, alert["end_announced"]) == (True, True)


async def test_a_day_later_it_is_said_once_more(post: Post) -> None:
    await post.failing()
    await post.round()
    await post.later("23 hours")
    await post.round()
    assert len(post.titles()) == 1
    await post.later("1 hour 1 minute")
    await post.round()
    await post.round()

    assert post.titles()[1:] == ["Still so after 24 h: DoorLoop of owner 1: the credentials are refused"]


async def test_a_storm_is_two_messages_not_a_hundred(post: Post) -> None:
    await post.failing()
    await post.round()
    await post.connections(101)
    await post.failing()
    for _ in range(3):
        await post.round()
    assert len(post.titles()) == 1
    await post.later("5 minutes")
    await post.round()

    assert post.titles()[1:] == ["100 connections do not get through"]
    assert await post.sql("SELECT id FROM keepstep.alerts WHERE announced_at IS NULL") == []


async def test_what_is_over_before_it_was_told_is_never_told(post: Post) -> None:
    await post.failing()
    await post.round()
    await post.failing(is_failing=False)
    await post.round()
    await post.failing()
    await post.round()  # within five minutes of the first: it waits
    await post.failing(is_failing=False)
    await post.round()
    await post.later("6 minutes")
    await post.round()

    assert len(post.titles()) == 2
    assert await post.sql("SELECT count(*) AS n FROM keepstep.alerts") == [{"n": 2}]


async def test_an_outage_of_teams_loses_nothing_and_keeps_the_order(post: Post) -> None:
    post.hook.status, post.hook.body = 503, "down"
    await post.failing()
    await post.round()
    await post.failing(is_failing=False)
    await post.round()
    await post.retry_now()
    await post.round()
    tries = len(post.hook.posted)
    post.hook.status = 202
    await post.retry_now()
    await post.round()

    assert tries == 2
    assert post.titles()[tries:] == [
        "DoorLoop of owner 1: the credentials are refused",
        "Over: DoorLoop of owner 1: the credentials are refused",
    ]
    rows = await post.sql("SELECT state, attempts, answer, status FROM keepstep.alert_messages ORDER BY id")
    assert [(row["state"], row["attempts"], row["status"]) for row in rows] == [("sent", 3, 202), ("sent", 1, 202)]


async def test_teams_says_when_to_try_again(post: Post) -> None:
    post.hook.status, post.hook.headers = 429, {"retry-after": "1800"}
    await post.failing()
    await post.round()

    [row] = await post.sql("SELECT state, next_at - now() AS left FROM keepstep.alert_messages")
    assert row["state"] == "waiting"
    assert 1700 < row["left"].total_seconds() <= 1800


async def test_a_message_that_is_never_taken_does_not_stop_those_after_it(post: Post) -> None:
    post.hook.status = 400
    await post.failing()
    for _ in range(3):
        await post.round()
        await post.retry_now()
    post.hook.status = 202
    await post.failing(is_failing=False)
    await post.round()

    rows = await post.sql("SELECT kind, state FROM keepstep.alert_messages ORDER BY id")
    assert [(row["kind"], row["state"]) for row in rows] == [("start", "failed"), ("end", "sent")]


async def test_many_processes_tell_each_alert_once(post: Post, dsn: str) -> None:
    await post.connections(20)
    await post.failing()
    others = [Alerter(Database(dsn), post._arranged) for _ in range(5)]
    for _ in range(3):
        await post.sql("DELETE FROM keepstep.ticks WHERE name = 'alerter'")
        await asyncio.gather(*(one.round() for one in (*others, post.alerter)))

    assert len(post.titles()) == 1


async def test_a_process_that_died_with_a_message_leaves_it_to_another_one(post: Post) -> None:
    await post.failing()
    async with post.database.connection() as connection:
        await post.alerter.look(connection, post.arrangement)
    # The process that claimed it is gone: nobody ever says what became of it.
    await post.sql("UPDATE keepstep.alert_messages SET attempts = 1, next_at = now() + interval '2 minutes'")
    await post.round()
    assert post.titles() == []
    await post.retry_now()
    await post.round()

    assert len(post.titles()) == 1


async def test_in_quiet_hours_only_critical_alerts_are_told_and_the_others_come_after(post: Post) -> None:
    now = datetime.now(UTC)
    quiet = replace(post.arrangement, quiet=QuietHours(now.hour, (now.hour + 2) % 24))
    loud, post.arrangement = post.arrangement, quiet
    await post.failing()
    await post.sql(
        "INSERT INTO keepstep.limits (connection_id, state) SELECT id, jsonb_build_object('breaker',"
        " jsonb_build_object('opened_at', extract(epoch FROM now()), 'failures', 5)) FROM keepstep.connections"
    )
    await post.round()
    during = post.titles()
    post.arrangement = loud
    await post.round()

    assert during == ["DoorLoop of owner 1: the credentials are refused"]
    assert post.titles()[1:] == ["DoorLoop of owner 1: the circuit breaker is open"]


async def test_without_a_channel_alerts_are_kept_and_told_once_there_is_one(post: Post) -> None:
    later, post.arrangement = post.arrangement, replace(post.arrangement, channels=())
    await post.failing()
    await post.round()
    assert len(await post.sql("SELECT id FROM keepstep.alerts WHERE ended_at IS NULL")) == 1
    post.arrangement = later
    await post.round()

    assert len(post.titles()) == 1


async def test_the_signature_is_nowhere_but_in_the_address(post: Post, capsys: pytest.CaptureFixture[str]) -> None:
    post.hook.status, post.hook.body = 401, f"the signature {SIGNATURE} is not valid"
    await post.failing()
    await post.round()

    kept = await post.sql("SELECT to_jsonb(m) AS m FROM keepstep.alert_messages m")
    assert "Teams does not know this webhook any more" in json.dumps(kept)
    assert SIGNATURE not in json.dumps(kept) + json.dumps(post.hook.posted) + "".join(capsys.readouterr())
    assert SIGNATURE not in repr(post.arrangement)


async def test_apprise_delivers_to_whatever_it_has_an_address_for(post: Post) -> None:
    address = f"json://{post.hook.host.partition('://')[2]}/inbox"
    post.hook.status = 200
    post.arrangement = replace(post.arrangement, channels=(Apprise((address,)),))
    await post.failing()
    await post.round()

    [posted] = post.hook.posted
    assert posted["title"] == "DoorLoop of owner 1: the credentials are refused"
    assert "What to do: " in posted["message"]
    unknown = await Apprise(("nosuchthing://x",)).deliver(post_message())
    assert (unknown.delivered, unknown.hopeless) == (False, True)


def post_message() -> Any:
    from keepstep.alerts.messages import Message

    return Message("Title", "Text")

"""Finds what is worth an alert, keeps the messages in the outbox, and delivers them.

::

    facts ── rules ──► alerts ── what is not told yet, grouped by rule ──► outbox ── channel by channel ──► people
                        └───────────── in one transaction ─────────────────┘

An alert and its message commit together, so neither a crash nor an outage of Teams loses one. A message is delivered by
whichever process claims it; when that one dies between delivering it and writing so down, another one delivers it again
after two minutes: rather twice than never.
"""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import structlog

from keepstep.alerts.messages import Message, compose
from keepstep.alerts.rules import (
    NIGHTLY_PATIENCE,
    Facts,
    Finding,
    QuietHours,
    Thresholds,
    decide,
    findings,
    grouped,
    scheduler,
)
from keepstep.alerts.teams import Delivery
from keepstep.store import alerts as store
from keepstep.store.db import Connection, Database
from keepstep.store.janitor import take_turn

LOOK_EVERY = 10.0
"""Seconds between two looks at the facts, all processes together."""
TOGETHER = 300.0
"""Seconds in which what one rule finds is told in one message, after a first one at once."""
REMIND_AFTER = timedelta(hours=24)
FIRST_PAUSE, FACTOR, LONGEST_PAUSE = 5.0, 1.8, 600.0
"""Seconds between two tries to deliver a message."""
MOST_HOPELESS_TRIES = 3
_log = structlog.get_logger()


class Channel(Protocol):
    """A way to people."""

    @property
    def name(self) -> str:
        """What it is called in the outbox."""
        ...

    @property
    def legacy(self) -> bool:
        """Whether it is of a kind that will cease to work."""
        ...

    async def deliver(self, message: Message) -> Delivery:
        """Send a message, once. Never raises for what the other side does."""
        ...


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What people have set. ``link``: the page, for messages; ``titles``: what integrations are called."""

    thresholds: Thresholds = field(default_factory=Thresholds)
    channels: Sequence[Channel] = ()
    quiet: QuietHours | None = None
    link: str = ""
    titles: Mapping[str, str] = field(default_factory=dict)


class Alerter:
    """Does its ``round`` whenever a ``Loop`` calls it."""

    def __init__(
        self, database: Database, arrangement: Callable[[], Awaitable[Arrangement]], rng: random.Random | None = None
    ) -> None:
        self._database = database
        self._arrangement = arrangement
        self._rng = rng or random.Random()  # noqa: S311 - jitter

    async def round(self) -> float:
        """Look, tell and deliver where it is due; gives the seconds until the next round."""
        arrangement = await self._arrangement()
        async with self._database.connection() as connection:
            if await take_turn(connection, "alerter", every=LOOK_EVERY):
                await self.look(connection, arrangement)
        for channel in arrangement.channels:
            while await self._deliver_one(channel):
                pass
        return LOOK_EVERY / 2

    async def look(self, connection: Connection, arrangement: Arrangement) -> None:
        """Compare the facts with the open alerts, and put what is to be told into the outbox. One transaction."""
        async with connection.transaction():
            service = await store.service(connection)
            now: datetime = service["now"]
            found = await self._found(connection, arrangement, service, now)
            open_alerts = [(row["id"], row["connection_id"], row["rule"]) for row in await store.open_ones(connection)]
            decision = decide(found, open_alerts)
            await store.begin(connection, [_as_row(finding) for finding in decision.standing])
            await store.end(connection, decision.ended)
            if arrangement.channels:
                await self._tell(connection, arrangement, now)

    async def _found(
        self, connection: Connection, arrangement: Arrangement, service: dict[str, Any], now: datetime
    ) -> list[Finding]:
        pings = await store.pings(connection)
        rows = await store.facts(connection, patience=NIGHTLY_PATIENCE.total_seconds())
        known = [_facts(row, pings.get(row["connection_id"]), arrangement.titles) for row in rows]
        silent = scheduler(service["tick"], now, scheduled=service["scheduled"])
        return [*findings(known, arrangement.thresholds, now), *([silent] if silent else [])]

    async def _tell(self, connection: Connection, arrangement: Arrangement, now: datetime) -> None:
        quiet = arrangement.quiet is not None and arrangement.quiet.holds(now)
        untold = await store.untold(
            connection, remind=REMIND_AFTER.total_seconds(), together=TOGETHER, quiet=quiet
        )  # fmt: skip
        names = [channel.name for channel in arrangement.channels]
        for kind, rule, alerts in grouped(untold):
            message = compose(kind, rule, alerts, link=arrangement.link, now=now)
            ids = [int(str(alert["id"])) for alert in alerts]
            await store.tell(connection, ids, kind=kind, rule=rule, channels=names, content=message.as_json())
            _log.warning(message.title, alert=rule, kind=kind, alerts=len(ids))

    async def _deliver_one(self, channel: Channel) -> bool:
        """Try the next message of a channel; whether another one may follow at once."""
        async with self._database.connection() as connection:
            row = await store.claim(connection, channel.name)
        if row is None:
            return False
        delivery = await channel.deliver(Message.from_json(row["content"]))
        lost = delivery.hopeless and row["attempts"] >= MOST_HOPELESS_TRIES
        async with self._database.connection() as connection:
            if delivery.delivered:
                await store.sent(connection, row["id"], status=delivery.status, answer=delivery.message)
                return True
            after = None if lost else max(delivery.after or 0.0, self._pause(row["attempts"]))
            await store.not_sent(connection, row["id"], status=delivery.status, answer=delivery.message, after=after)
        _log.warning("an alert was not delivered", channel=channel.name, why=delivery.message, fix=delivery.fix)
        return lost

    def _pause(self, attempts: int) -> float:
        pause = min(FIRST_PAUSE * FACTOR ** (attempts - 1), LONGEST_PAUSE)
        return pause * self._rng.uniform(0.5, 1.0)


def _facts(row: dict[str, Any], pinged: dict[str, Any] | None, titles: Mapping[str, str]) -> Facts:
    breaker = row["breaker"] or {}
    opened = breaker.get("opened_at")
    title = titles.get(row["integration"], row["integration"])
    return Facts(
        name=f"{title} of {row['owner_id']}" if row["owner_id"] else title,
        held=tuple(row["held"] or ()),
        held_rows=row["held_rows"] or 0,
        breaker_opened_at=None if opened is None else datetime.fromtimestamp(opened, UTC),
        breaker_failures=breaker.get("failures", 0),
        pings=tuple(pinged["states"]) if pinged else (),
        ping_reason=pinged["reason"] if pinged else "",
        pings_since=pinged["since"] if pinged else None,
        own_credentials=row["own_credentials"],
        refused_reason=row["refused_reason"] or "",
        failures=row["failures"] or 0,
        **{name: row[name] for name in _AS_IT_IS},
    )


_AS_IT_IS = (
    "connection_id", "integration", "created_at", "scheduled", "last_state", "last_code", "last_message", "last_fix",
    "last_finished_at", "last_success", "nightly_state", "nightly_at", "nightly_message", "nightly_missed_at",
    "held_since", "open_letters", "letters_since", "refused_at", "last_failure_at",
)  # fmt: skip


def _as_row(finding: Finding) -> dict[str, object]:
    return {
        "connection": finding.connection_id, "rule": finding.rule, "severity": finding.severity,
        "title": finding.title, "detail": finding.detail, "impact": finding.impact, "fix": finding.fix,
        "since": finding.since.isoformat(),
    }  # fmt: skip

"""The politeness of each connection as the database keeps it: one row, changed by one question at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keepstep.model.integration import RateLimit
from keepstep.reliability import politeness
from keepstep.reliability.breaker import Breaker
from keepstep.reliability.politeness import Ask, Decision, Politeness, Rules
from keepstep.store import totals
from keepstep.store.db import Connection
from keepstep.store.queries import queries
from keepstep.store.runs import connection_id
from keepstep.store.totals import Total

_LIMITS = queries("limits")
MOST_SAMPLES = 5000


@dataclass(frozen=True, slots=True)
class Sample:
    """How the limits stood at a moment. ``waited_ms``: the longest wait since the last sample, and its ``cause``."""

    limit: RateLimit | None
    waited_ms: int
    cause: str


@dataclass(frozen=True, slots=True)
class Row:
    """The state of one connection, and the database's clock when it was read (seconds since 1970)."""

    integration: str
    owner: str | None
    state: Politeness
    now: float


async def number_of(connection: Connection, integration: str, owner: str | None = None) -> int:
    """The id of a connection that has a row, made on first use."""
    number = await connection_id(connection, integration, owner)
    await connection.execute(_LIMITS["ensure"], {"connection": number})
    return number


async def ask(connection: Connection, number: int, rules: Rules, question: Ask) -> tuple[Decision, float]:
    """Decide about one question, in the caller's transaction; gives the database's clock too."""
    state, now = await _locked(connection, number)
    decision = politeness.decide(state, rules, question, now)
    await _keep(connection, number, decision.state)
    return decision, now


async def close_breaker(connection: Connection, integration: str, owner: str | None = None) -> bool:
    """Close the breaker by force, and let runs that wait for it go on; gives whether it was not closed."""
    async with connection.transaction():
        number = await number_of(connection, integration, owner)
        state, now = await _locked(connection, number)
        await connection.execute(_LIMITS["let_go_on"], {"connection": number})
        if state.breaker == Breaker():
            return False
        await _keep(connection, number, politeness.close_breaker(politeness.on_clock(state, now)))
        return state.breaker.reopens_at is not None


async def current(connection: Connection, integration: str | None = None, owner: str | None = None) -> list[Row]:
    """The state of one connection, or of all."""
    cursor = await connection.execute(_LIMITS["current"], {"integration": integration, "owner": owner})
    return [
        Row(row["integration"], row["owner_id"], Politeness.stored(row["state"]), row["now"])
        for row in await cursor.fetchall()
    ]


async def take_down(connection: Connection, number: int, sample: Sample) -> None:
    """Keep one sample."""
    limit = sample.limit or RateLimit()
    await connection.execute(
        _LIMITS["sample"],
        {
            "connection": number, "limit": limit.limit, "remaining": limit.remaining, "reset": limit.reset,
            "waited_ms": sample.waited_ms, "cause": sample.cause,
        },
    )  # fmt: skip


async def samples(
    connection: Connection, integration: str, owner: str | None = None, *, seconds: float
) -> list[dict[str, Any]]:
    """The newest samples of the last seconds, oldest first."""
    cursor = await connection.execute(
        _LIMITS["samples"], {"integration": integration, "owner": owner, "seconds": seconds, "most": MOST_SAMPLES}
    )
    return await cursor.fetchall()


async def use(connection: Connection, integration: str) -> tuple[int | None, int]:
    """How many requests a full run takes (None: not known yet), and how many were sent in the last hour."""
    row = await (await connection.execute(_LIMITS["use"], {"integration": integration})).fetchone()
    return (row["needed"], row["sent"]) if row else (None, 0)


async def waits_of_run(connection: Connection, run_id: int, *, least_ms: int, most: int) -> list[dict[str, Any]]:
    """The newest samples of the time of a run that tell of a refusal, or a wait of so many milliseconds; in order."""
    given = {"run": run_id, "least_ms": least_ms, "most": most}
    return await (await connection.execute(_LIMITS["waits_of_run"], given)).fetchall()


async def count_requests(connection: Connection, integration: str, codes: Mapping[str, int]) -> None:
    """Add to the totals of requests by status code; ``none`` is a request without an answer."""
    await totals.add(
        connection, [Total("requests", {"integration": integration, "code": c}, n) for c, n in codes.items()]
    )
    failed = sum(count for code, count in codes.items() if code[:1] not in "23")
    await connection.execute(
        _LIMITS["count_minute"], {"integration": integration, "sent": sum(codes.values()), "failed": failed}
    )


async def _locked(connection: Connection, number: int) -> tuple[Politeness, float]:
    cursor = await connection.execute(_LIMITS["lock"], {"connection": number})
    row = await cursor.fetchone()
    if row is None:  # the connection was removed and made again
        await connection.execute(_LIMITS["ensure"], {"connection": number})
        return await _locked(connection, number)
    return Politeness.stored(row["state"]), float(row["now"])


async def _keep(connection: Connection, number: int, state: Politeness) -> None:
    await connection.execute(_LIMITS["keep"], {"connection": number, "state": state.stored_form().decode()})

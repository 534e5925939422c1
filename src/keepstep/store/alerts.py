"""Alerts and the outbox of their messages."""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg.types.json import Jsonb

from keepstep.store.db import Connection
from keepstep.store.queries import queries

_QUERIES = queries("alerts")
Row = dict[str, Any]


async def facts(connection: Connection, *, patience: float) -> list[Row]:
    """Every connection as the rules look at it. ``patience``: seconds after which a full run that is due was missed."""
    return await _rows(connection, "facts", {"patience": patience})


async def pings(connection: Connection) -> dict[int, Row]:
    """The last answers to pings, newest first, by connection."""
    return {row["connection_id"]: row for row in await _rows(connection, "pings", {})}


async def service(connection: Connection) -> Row:
    """The database's time, the dispatcher's last tick, and whether any schedule is on."""
    [row] = await _rows(connection, "service", {})
    return row


async def open_ones(connection: Connection) -> list[Row]:
    """Id, connection and rule of each open alert."""
    return await _rows(connection, "open", {})


async def begin(connection: Connection, alerts: Sequence[Mapping[str, object]]) -> None:
    """Open alerts, or bring the words of those that are open up to date."""
    if alerts:
        await connection.execute(_QUERIES["begin"], {"found": Jsonb([dict(alert) for alert in alerts])})


async def end(connection: Connection, ids: Sequence[int]) -> None:
    """Close alerts."""
    if ids:
        await connection.execute(_QUERIES["end"], {"ids": list(ids)})


async def untold(connection: Connection, *, remind: float, together: float, quiet: bool) -> list[Row]:
    """Alerts to tell of now, locked for the transaction; ``kind`` says what. Times in seconds."""
    return await _rows(connection, "untold", {"remind": remind, "together": together, "quiet": quiet})


async def tell(
    connection: Connection,
    ids: Sequence[int],
    *,
    kind: str,
    rule: str,
    channels: Sequence[str],
    content: Mapping[str, Any],
) -> None:
    """Put one message for these alerts into the outbox of every channel."""
    await connection.execute(_QUERIES["told"], {"ids": list(ids), "kind": kind})
    for channel in channels:
        await connection.execute(
            _QUERIES["put_message"],
            {"channel": channel, "kind": kind, "rule": rule, "ids": list(ids), "content": Jsonb(dict(content))},
        )


async def claim(connection: Connection, channel: str) -> Row | None:
    """The next message of a channel, if its time has come: this process tries to deliver it."""
    rows = await _rows(connection, "claim", {"channel": channel})
    return rows[0] if rows else None


async def sent(connection: Connection, message: int, *, status: int | None, answer: str) -> None:
    """It arrived."""
    await connection.execute(_QUERIES["sent"], {"id": message, "status": status, "answer": answer})


async def not_sent(
    connection: Connection, message: int, *, status: int | None, answer: str, after: float | None
) -> None:
    """It did not; it is tried again after so many seconds, or (None) never."""
    state = "failed" if after is None else "waiting"
    await connection.execute(
        _QUERIES["later"], {"id": message, "status": status, "answer": answer, "state": state, "after": after or 0.0}
    )


async def record_test(
    connection: Connection,
    channel: str,
    content: Mapping[str, Any],
    *,
    delivered: bool,
    status: int | None,
    answer: str,
) -> None:
    """What became of a test message."""
    await connection.execute(
        _QUERIES["record_test"],
        {"channel": channel, "content": Jsonb(dict(content)), "delivered": delivered, "status": status,
         "answer": answer},
    )  # fmt: skip


async def newest(
    connection: Connection, *, state: str | None, limit: int, only: Sequence[int] | None = None
) -> list[Row]:  # fmt: skip
    """Alerts, open ones first. ``state``: open or ended; ``only``: of these connections, and of the whole service."""
    return await _rows(connection, "newest", {"state": state, "limit": limit, "only": only})


async def delivery(connection: Connection) -> list[Row]:
    """How each channel does."""
    return await _rows(connection, "delivery", {})


async def counts(connection: Connection, *, only: Sequence[int] | None = None) -> list[Row]:
    """How many alerts are open, by rule and severity."""
    return await _rows(connection, "counts", {"only": only})


async def _rows(connection: Connection, name: str, parameters: Mapping[str, object]) -> list[Row]:
    return await (await connection.execute(_QUERIES[name], parameters)).fetchall()

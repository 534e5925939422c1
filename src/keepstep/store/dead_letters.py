"""Records that could not be applied, each kept once with its reason, its bytes and how often it came."""

import hashlib
from collections.abc import Sequence
from typing import Any

from keepstep.model.run import DeadLetter
from keepstep.store.arrays import TextArray
from keepstep.store.db import Connection
from keepstep.store.queries import queries

_QUERIES = queries("dead_letters")
_UNPRINTABLE = {0: "␀", **dict.fromkeys(range(55296, 57344), "�")}


async def put(
    connection: Connection, connection_id: int, run_id: int, entity: str, letters: Sequence[DeadLetter]
) -> None:
    """Keep them. One that is open already only has its count and its last sight raised."""
    hashes = [hashlib.sha256(letter.payload).hexdigest() for letter in letters]
    once = {
        (letter.key, digest if letter.key is None else "", letter.kind == "duplicate"): (letter, digest)
        for letter, digest in zip(letters, hashes, strict=True)
    }
    await connection.execute(
        _QUERIES["put"],
        {
            "connection": connection_id,
            "run": run_id,
            "entity": entity,
            "keys": [letter.key for letter, _ in once.values()],
            "kinds": [letter.kind for letter, _ in once.values()],
            "reasons": [letter.reason.translate(_UNPRINTABLE) for letter, _ in once.values()],
            "payloads": [letter.payload for letter, _ in once.values()],
            "hashes": [digest for _, digest in once.values()],
        },
    )


async def open_count(connection: Connection, connection_id: int, entity: str) -> int:
    """How many wait."""
    cursor = await connection.execute(_QUERIES["open_count"], {"connection": connection_id, "entity": entity})
    row = await cursor.fetchone()
    return int(row["n"]) if row else 0


async def resolve(
    connection: Connection, connection_id: int, entity: str, keys: TextArray, *, by: str, note: str
) -> int:
    """Close those whose records have arrived good; gives how many there were."""
    cursor = await connection.execute(
        _QUERIES["resolve"], {"connection": connection_id, "entity": entity, "keys": keys, "by": by, "note": note}
    )
    return cursor.rowcount


async def resolve_gone(connection: Connection, connection_id: int, entity: str, *, by: str, note: str) -> int:
    """Close those that the full reading under way has not met, although it is complete; gives how many there were."""
    cursor = await connection.execute(
        _QUERIES["resolve_gone"], {"connection": connection_id, "entity": entity, "by": by, "note": note}
    )
    return cursor.rowcount


async def select(
    connection: Connection,
    *,
    entity: str | None,
    state: str | None,
    reason: str | None = None,
    limit: int | None = None,
    before: int | None = None,
    only: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """Newest first, without payloads. ``reason`` matches the whole reason or its kind; ``before`` is an id; ``only``:
    of these connections.
    """
    given = {"entity": entity, "state": state, "reason": reason, "limit": limit, "before": before, "only": only}
    cursor = await connection.execute(_QUERIES["list"], given)
    return await cursor.fetchall()


async def count(
    connection: Connection, *, entity: str | None, state: str | None, reason: str | None = None,
    only: Sequence[int] | None = None,
) -> int:  # fmt: skip
    """How many there are in all."""
    given = {"entity": entity, "state": state, "reason": reason, "only": only}
    cursor = await connection.execute(_QUERIES["count"], given)
    row = await cursor.fetchone()
    return int(row["n"]) if row else 0


async def tally(connection: Connection, *, only: Sequence[int] | None = None) -> list[dict[str, Any]]:
    """How many there are of each entity, kind and state."""
    return await (await connection.execute(_QUERIES["tally"], {"only": only})).fetchall()


async def get(connection: Connection, ids: Sequence[int]) -> list[dict[str, Any]]:
    """With payloads and the integration, by id. Unknown ids are left out."""
    return await (await connection.execute(_QUERIES["get"], {"ids": list(ids)})).fetchall()


async def retried(connection: Connection, letter_id: int, letter: DeadLetter) -> None:
    """A requeue found it still bad."""
    await connection.execute(
        _QUERIES["retried"],
        {"id": letter_id, "kind": letter.kind, "reason": letter.reason.translate(_UNPRINTABLE)},
    )


async def close(connection: Connection, ids: Sequence[int], state: str, *, by: str, note: str) -> list[int]:
    """Close open ones as ``resolved`` or ``discarded``; gives the ids that were open."""
    cursor = await connection.execute(_QUERIES["close"], {"ids": list(ids), "state": state, "by": by, "note": note})
    return [int(row["id"]) for row in await cursor.fetchall()]

"""Documents by their content: what came as which report, and the encrypted bytes, each once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from psycopg.types.json import Jsonb

from keepstep.model.document import Document
from keepstep.model.run import error_json
from keepstep.store.db import Connection
from keepstep.store.queries import queries

MOST = 20
"""So many documents of a report are kept, of the proven and of the refused ones."""
_SQL = queries("documents")


@dataclass(frozen=True, slots=True)
class SealedContent:
    """A document's bytes under a key of their own, and that key under the secret one."""

    sealed: bytes
    key: bytes


async def known(connection: Connection, hash_: str) -> bool:
    """Whether the bytes of this hash are kept; they stay at least until the caller's transaction ends."""
    return await (await connection.execute(_SQL["known"], {"hash": hash_})).fetchone() is not None


async def put(
    connection: Connection, integration: str, document: Document, content: SealedContent | None, *, most: int = MOST
) -> int:
    """Keep a document in a transaction of the caller's; gives its id. ``content``: None for bytes that are known."""
    if content is not None:
        await connection.execute(
            _SQL["put_content"],
            {"hash": document.hash, "size": len(document.body), "sealed": content.sealed, "key": content.key},
        )
    where = {"integration": integration, "report": document.report, "agent": document.agent}
    where["state"] = "proven" if document.error is None else "refused"
    found = {
        "hash": document.hash,
        "error": None if document.error is None else Jsonb(error_json(document.error)),
        "page": document.page,
        "row": document.row,
        "box": None if document.box is None else Jsonb(list(document.box)),
    }
    row = await (await connection.execute(_SQL["put"], {**where, **found})).fetchone()
    assert row is not None  # noqa: S101 - an upsert returns a row
    await connection.execute(_SQL["thin_out"], {**where, "most": most})
    return int(row["id"])


async def newest(
    connection: Connection,
    *,
    integration: str | None = None,
    report: str | None = None,
    state: str | None = None,
    limit: int = 50,
) -> list[dict[str, Any]]:
    """What came last, newest first, without its bytes."""
    wanted = {"integration": integration, "report": report, "state": state, "limit": limit}
    return await (await connection.execute(_SQL["list"], wanted)).fetchall()


async def one(connection: Connection, document_id: int) -> dict[str, Any] | None:
    """What came under this id, without its bytes; None when it is not kept."""
    return await (await connection.execute(_SQL["one"], {"id": document_id})).fetchone()


async def content(connection: Connection, hash_: str) -> SealedContent | None:
    """A document's encrypted bytes; None when they are not kept."""
    row = await (await connection.execute(_SQL["content"], {"hash": hash_})).fetchone()
    return None if row is None else SealedContent(bytes(row["sealed"]), bytes(row["key"]))


async def keys(connection: Connection, *, after: str, limit: int) -> Sequence[tuple[str, bytes]]:
    """The next hashes in order, with their encrypted keys."""
    rows = await (await connection.execute(_SQL["keys"], {"after": after, "limit": limit})).fetchall()
    return [(row["hash"], bytes(row["key"])) for row in rows]


async def renew_key(connection: Connection, hash_: str, *, old: bytes, new: bytes) -> bool:
    """Put a document's key under another secret key; False when it is not what it was."""
    cursor = await connection.execute(_SQL["renew_key"], {"hash": hash_, "old": old, "new": new})
    return await cursor.fetchone() is not None


async def prune(connection: Connection, *, older: timedelta, limit: int) -> int:
    """Delete up to ``limit`` documents that did not come for so long, and bytes that nothing needs; gives how many."""
    gone = (await connection.execute(_SQL["prune"], {"older": older.total_seconds(), "limit": limit})).rowcount
    await connection.execute(_SQL["prune_contents"], {"limit": limit})
    return gone

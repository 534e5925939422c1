"""What the server itself says about rows that were written."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from tests.support.sync import Sync

_OTHERS = """
SELECT count(*) AS n FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
_WRITTEN = """
SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint AS n FROM pg_stat_user_tables
WHERE schemaname = 'doorloop'
"""


@dataclass
class Physical:
    """Rows: where each lies, which transaction wrote it, all its values; and how many tuples were ever written."""

    tuples: dict[tuple[str, str], dict[str, Any]]
    written: int = field(compare=False)


async def physical(sync: Sync, *entities: str) -> Physical:
    """How the tables lie on the disk, once every other session has ended and told its statistics."""
    async with sync.connection() as connection:
        deadline = time.monotonic() + 30
        while (await (await connection.execute(_OTHERS.encode())).fetchone() or {})["n"]:
            assert time.monotonic() < deadline, "a session does not end"
            await asyncio.sleep(0.005)
        await connection.execute("SELECT pg_stat_force_next_flush()")
        await connection.execute("SELECT pg_stat_clear_snapshot()")
        row = await (await connection.execute(_WRITTEN.encode())).fetchone()
        tuples: dict[tuple[str, str], dict[str, Any]] = {}
        for name in entities:
            cursor = await connection.execute(f"SELECT ctid::text, xmin::text, t.* FROM doorloop.{name} t".encode())
            tuples |= {(name, found["id"]): found for found in await cursor.fetchall()}
    assert row is not None
    return Physical(tuples, int(row["n"]))

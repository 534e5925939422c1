"""Users, sessions, API tokens and failed logins. Passwords and tokens come here as hashes only."""

from collections.abc import Sequence
from typing import Any

from keepstep.store.db import Connection
from keepstep.store.queries import queries

_SQL = queries("accounts")
Row = dict[str, Any]


async def add_user(connection: Connection, *, name: str, password_hash: str, role: str) -> Row | None:
    """A new user; None when the name is taken, in whatever case."""
    return await _one(connection, "add_user", name=name, hash=password_hash, role=role)


async def users(connection: Connection, *, search: str | None, after: int | None, limit: int) -> list[Row]:
    """Users by name. ``after``: only those behind the one of that id."""
    given = {"search": search, "after": after, "limit": limit}
    return await (await connection.execute(_SQL["users"], given)).fetchall()


async def count_users(connection: Connection) -> int:
    """How many there are."""
    row = await _one(connection, "count_users")
    return int(row["n"]) if row else 0


async def user_named(connection: Connection, name: str) -> Row | None:
    """A user with the password's hash."""
    return await _one(connection, "user_named", name=name)


async def user_by_id(connection: Connection, user_id: int) -> Row | None:
    """A user with the password's hash."""
    return await _one(connection, "user_by_id", id=user_id)


async def change_user(
    connection: Connection, user_id: int, *, role: str | None, password_hash: str | None
) -> Row | None:
    """A user with another role or password; None when there is none of that id."""
    return await _one(connection, "change_user", id=user_id, role=role, hash=password_hash)


async def remove_user(connection: Connection, user_id: int) -> str | None:
    """The name of the user who is gone now, with every session."""
    return await _name(connection, "remove_user", id=user_id)


async def sign_in(connection: Connection, user_id: int, *, old_hash: str, new_hash: str) -> Row | None:
    """Note a login; None when the user is gone or has another password by now."""
    return await _one(connection, "sign_in", id=user_id, old=old_hash, new=new_hash)


async def add_session(connection: Connection, user_id: int, token_hash: bytes, *, lives: float) -> None:
    """A session of ``lives`` seconds at most."""
    await connection.execute(_SQL["add_session"], {"user": user_id, "hash": token_hash, "lives": lives})


async def use_session(connection: Connection, token_hash: bytes, *, idle: float) -> Row | None:
    """The user of a session that is neither over nor unused for ``idle`` seconds."""
    return await _one(connection, "use_session", hash=token_hash, idle=idle)


async def host_user(connection: Connection, subject: str, *, role: str | None) -> Row | None:
    """A user whom another application has signed in, with this role if one is given; None when they are new."""
    return await _one(connection, "host_user", subject=subject, role=role)


async def add_host_user(connection: Connection, subject: str, *, name: str, role: str) -> Row:
    """The same, written down; under another name where this one is taken."""
    for called in (name, f"host:{subject}"):
        row = await _one(connection, "add_host_user", subject=subject, name=called, role=role)
        row = row or await host_user(connection, subject, role=role)
        if row is not None:
            return row
    raise AssertionError(subject)  # pragma: no cover - both names taken, and the subject unknown


async def end_session(connection: Connection, token_hash: bytes) -> str | None:
    """The name of the user whose session has ended."""
    return await _name(connection, "end_session", hash=token_hash)


async def end_sessions_of(connection: Connection, user_id: int, *, but: bytes | None = None) -> None:
    """End a user's sessions, all but one."""
    await connection.execute(_SQL["end_sessions_of"], {"user": user_id, "except": but})


async def add_token(connection: Connection, *, name: str, token_hash: bytes, role: str, by: str) -> Row | None:
    """A new API token; None when the name is taken by one that is not revoked."""
    return await _one(connection, "add_token", name=name, hash=token_hash, role=role, by=by)


async def tokens(connection: Connection) -> list[Row]:
    """API tokens that are not revoked, by name."""
    return await (await connection.execute(_SQL["tokens"])).fetchall()


async def use_token(connection: Connection, token_hash: bytes) -> Row | None:
    """Id, name and role of a token that is not revoked."""
    return await _one(connection, "use_token", hash=token_hash)


async def revoke_token(connection: Connection, token_id: int) -> str | None:
    """The name of the token that is worth nothing now."""
    return await _name(connection, "revoke_token", id=token_id)


async def begin_try(
    connection: Connection, limits: Sequence[tuple[str, int]], *, window: float
) -> tuple[list[int], float]:
    """Count a try to sign in against each limit (what, most in ``window`` seconds), or give the seconds to wait.

    In a transaction of its own. The ids are what ``end_try`` takes back.
    """
    what = [name for name, _most in limits]
    async with connection.transaction():
        await connection.execute(_SQL["one_at_a_time"], {"what": what})
        waits = [
            row["after"]
            for name, most in limits
            if (row := await _one(connection, "too_many", what=name, window=window, most=most)) is not None
        ]
        if waits:
            return [], max(waits)
        cursor = await connection.execute(_SQL["try"], {"what": what})
        return [row["id"] for row in await cursor.fetchall()], 0.0


async def end_try(connection: Connection, ids: Sequence[int], *, name: str) -> None:
    """A try has succeeded: it did not fail, and the earlier ones for the name are forgotten."""
    await connection.execute(_SQL["succeeded"], {"ids": list(ids), "name": name})


async def _one(connection: Connection, query: str, **parameters: Any) -> Row | None:
    return await (await connection.execute(_SQL[query], parameters)).fetchone()


async def _name(connection: Connection, query: str, **parameters: Any) -> str | None:
    row = await _one(connection, query, **parameters)
    return None if row is None else str(row["name"])

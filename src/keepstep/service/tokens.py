"""API tokens: named, each with a role, revocable. They are long and random, so SHA-256 is all that they need."""

import hashlib
import secrets
from datetime import datetime
from typing import Annotated

from pydantic import Field

from keepstep.model.errors import BadRequest, Conflict, NotFound
from keepstep.model.schedule import Identity, Role
from keepstep.service.audit import Audit
from keepstep.service.names import checked_name
from keepstep.service.shapes import Shape, one_of
from keepstep.store import accounts as store
from keepstep.store.db import Database

ADMIN_TOKEN = "ADMIN_SYNC_TOKEN"  # noqa: S105 - its name
PREFIX = "keepstep_"
"""What every API token begins with, so that people and programs that look for leaked secrets know one."""
RoleName = Annotated[str, one_of(*Role)]


class Token(Shape):
    """What is known of an API token. ``last_used_at`` is exact to the minute."""

    id: int
    name: str
    role: RoleName
    created_at: datetime
    created_by: str
    last_used_at: datetime | None


class NewToken(Token):
    """A token just made, with the only copy of itself."""

    token: Annotated[str, Field(repr=False)]


class Tokens:
    """Makes, knows and revokes API tokens. Every change is in the admin log."""

    def __init__(self, database: Database, audit: Audit) -> None:
        self._database = database
        self._audit = audit

    async def identify(self, token: str) -> Identity | None:
        """Whose token this is; None for nobody's, and for one that was revoked."""
        if not token.startswith(PREFIX):
            return None
        async with self._database.connection() as connection:
            row = await store.use_token(connection, digest(token))
        return (
            None if row is None else Identity(token_name(row["name"]), Role(row["role"]), owner=token_name(row["id"]))
        )

    async def all(self) -> list[Token]:
        """API tokens by name, without those that were revoked."""
        async with self._database.connection() as connection:
            return [Token(**row) for row in await store.tokens(connection)]

    async def create(self, name: str, role: Role, *, by: str) -> NewToken:
        """A new token, shown this once. Raises ``BadRequest``, ``Conflict`` for a name that is taken."""
        name = checked_name(name)
        if name.upper() == ADMIN_TOKEN:
            raise BadRequest(f"{ADMIN_TOKEN} is another token.", fix="Take another name.")
        token = PREFIX + secrets.token_urlsafe(32)
        async with self._database.connection() as connection, connection.transaction():
            row = await store.add_token(connection, name=name, token_hash=digest(token), role=role, by=by)
            if row is None:
                raise Conflict(f"There is a token {name} already.", fix="Take another name, or revoke that one first.")
            await self._audit.record(by, "token.create", {"name": name, "role": role}, "done", within=connection)
        return NewToken(**row, token=token)

    async def revoke(self, token_id: int, *, by: str) -> str:
        """Make a token worthless at once; gives its name. Raises ``NotFound``."""
        async with self._database.connection() as connection, connection.transaction():
            name = await store.revoke_token(connection, token_id)
            if name is None:
                raise NotFound(f"There is no token {token_id}.", fix="List them with: keepstep token list")
            await self._audit.record(by, "token.revoke", {"name": name}, "done", within=connection)
        return name


def token_name(name: object) -> str:
    """What the admin log calls a token. No user can have such a name."""
    return f"token:{name}"


def digest(secret: str) -> bytes:
    """What is kept of a token or a session."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()

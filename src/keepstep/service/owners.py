"""Connections of owners: who has connected what, how it does, and what people may do about it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from keepstep.dispatch.queue import Queue
from keepstep.model.errors import BadRequest, Conflict, LockHeld, NotAllowed, NotFound, StoreError
from keepstep.model.integration import ANOTHER_ACCOUNT, Mode
from keepstep.model.run import RunRequest
from keepstep.model.schedule import Identity, Role
from keepstep.reliability.health import Health, of_owners
from keepstep.service.audit import Audit
from keepstep.service.owner_lines import STATES, WAITS, OwnerLine, OwnerPage, line_of
from keepstep.service.scope import is_hidden
from keepstep.service.shapes import RunSummary
from keepstep.service.vault import Vault
from keepstep.service.views import Views
from keepstep.store import checkpoints, runs
from keepstep.store import owners as store
from keepstep.store.db import Connection, Database

MOST_LISTED = 500
MOST_POOLED = 2
"""So many renewals of tokens at the same time hold connections of the pool; others open one of their own."""
_OF_AGENTS = "erp"
"""Where owners are agents, and no users (``connections.of_user``)."""
T = TypeVar("T")
TOKENS = "tokens"
"""Under which name tokens stand among an owner's credentials, as JSON."""


@dataclass(slots=True)
class Renewals:
    """How many tokens are being renewed with connections that others need too."""

    count: int = 0


@dataclass(frozen=True, slots=True)
class OwnerConnections:
    """``entities``: those of each integration that is there."""

    database: Database
    vault: Vault
    audit: Audit
    entities: Mapping[str, Sequence[str]]
    renewals: Renewals = field(default_factory=Renewals)

    async def page(
        self, *, integration: str | None = None, state: str | None = None, failing: bool = False,
        search: str | None = None, after: int | None = None, limit: int = 100, users: bool = False,
    ) -> OwnerPage:  # fmt: skip
        """Connections of all owners, in the order of integrations and owners. ``users``: none of agents."""
        most = min(max(limit, 1), MOST_LISTED)
        async with self.database.connection() as connection:
            rows = await store.select(
                connection, integration=integration, state=state, failing=failing, search=search or None, after=after,
                limit=most + 1, users=users,
            )  # fmt: skip
            counted = await store.counts(connection, integration=integration)
        counts = dict.fromkeys(STATES, 0)
        for row in counted:
            if not (users and row["integration"] == _OF_AGENTS):
                counts[row["state"]] += row["n"]
        more = rows[most - 1]["id"] if len(rows) > most else None
        return OwnerPage(items=[line_of(row) for row in rows[:most]], next=more, counts=counts)

    async def of(self, owner: str) -> list[OwnerLine]:
        """All connections of one user."""
        async with self.database.connection() as connection:
            return [line_of(row) for row in await store.select(connection, owner=owner, users=True)]

    def of_users(self, integration: str) -> str:
        """The same integration. Raises ``NotFound`` where its owners are agents: what is theirs is no user's."""
        if integration == _OF_AGENTS:
            raise NotFound(f"Nothing of {integration} belongs to a user.", fix="Its agents: GET /api/sync/agents")
        return integration

    async def history(
        self, integration: str, owner: str, *, before: int | None = None, limit: int = 50
    ) -> list[RunSummary]:
        """An owner's runs, newest first."""
        views = Views(self.database)
        async with self.database.connection() as connection:
            ids = await store.history(connection, integration, owner, before=before, limit=limit)
        return await views.runs_of(ids)

    async def run(self, integration: str, owner: str, *, by: str) -> int:
        """Queue a run of an owner's connection now; gives its id, also when one is live already.

        Raises ``NotFound``, and ``Conflict`` where the connection cannot be used.
        """
        line = await self._known(integration, owner)
        if line.state != "connected":
            raise Conflict(f"It cannot be synced: {WAITS[line.state][0]}.", fix=line.fix)
        if integration not in self.entities:
            raise NotFound(f"There is no integration {integration}.", fix=f"Known are: {', '.join(self.entities)}.")
        request = RunRequest(tuple(self.entities[integration]), Mode.DELTA, actor=by)
        try:
            run_id = await Queue(self.database).enqueue_one(integration, request, owner=owner)
        except LockHeld as live:
            return int(live.run_id or 0)
        asked = {"integration": integration, "owner": owner}
        await self.audit.record(by, "owner.run", asked, f"run {run_id}")
        return run_id

    async def connect(
        self, integration: str, owner: str, values: Mapping[str, str], *, by: str, anew: bool = False
    ) -> None:
        """Store an owner's credentials; what waits for them begins. Raises ``NotFound`` for what is not there.

        ``anew``: they may be those of another account. What is known of the one before says nothing of it: its run is
        ended, and the next one reads everything, at once, and deletes what only the former one had.
        """
        if integration not in self.entities:
            raise NotFound(f"There is no integration {integration}.", fix=f"Known are: {', '.join(self.entities)}.")
        secret = await asyncio.to_thread(self.vault.seal, values, owner=_name(integration, owner))
        if anew:
            await Queue(self.database).cancel(integration, owner=owner)
        async with self.database.connection() as connection, connection.transaction():
            if anew and await runs.is_active(connection, await runs.hold_off(connection, integration, owner)):
                raise Conflict("A sync of the account before has just begun.", fix="Connect it again.")
            held = await store.connect(connection, integration, owner, secret)
            if anew:
                for entity in self.entities[integration]:
                    await checkpoints.reset(connection, held, entity)
                    await checkpoints.put_facts(connection, held, entity, ANOTHER_ACCOUNT)
                await store.make_due(connection, held)
            payload = {"integration": integration, "owner": owner, "credentials": dict(values)}
            await self.audit.record(by, "owner.connect", payload, "done", within=connection)

    async def disconnect(self, integration: str, owner: str, *, by: str) -> bool:
        """Forget a user's credentials, and end what runs with them; False where there were none."""
        integration = self.of_users(integration)
        async with self.database.connection() as connection, connection.transaction():
            if not await store.disconnect(connection, integration, owner):
                return False
            payload = {"integration": integration, "owner": owner}
            await self.audit.record(by, "owner.disconnect", payload, "done", within=connection)
        await Queue(self.database).cancel(integration, owner=owner)
        return True

    async def refuse(self, integration: str, owner: str, reason: str) -> None:
        """Upstream does not take the credentials any more: nothing is due until the owner has connected anew."""
        async with self.database.connection() as connection:
            await store.refuse(connection, integration, owner, reason)

    async def pause(self, integration: str, owner: str, *, reason: str, by: str) -> OwnerLine:
        """Let nothing of an owner begin, and end what is live. Raises ``NotFound``, ``BadRequest`` without a reason."""
        if not reason.strip():
            raise BadRequest("A reason is needed.", fix="Say why; the user reads it.")
        async with self.database.connection() as connection, connection.transaction():
            if not await store.pause(connection, integration, owner, reason=reason.strip(), by=by):
                raise _nobody(integration, owner)
            payload = {"integration": integration, "owner": owner, "reason": reason}
            await self.audit.record(by, "owner.pause", payload, "done", within=connection)
        await Queue(self.database).cancel(integration, owner=owner)
        return await self._known(integration, owner)

    async def resume(self, integration: str, owner: str, *, by: str) -> OwnerLine:
        """End a pause: what is enabled is due at once. Raises ``NotFound``."""
        async with self.database.connection() as connection, connection.transaction():
            if not await store.resume(connection, integration, owner):
                raise _nobody(integration, owner)
            payload = {"integration": integration, "owner": owner}
            await self.audit.record(by, "owner.resume", payload, "done", within=connection)
        return await self._known(integration, owner)

    async def credentials(self, integration: str, owner: str) -> dict[str, str] | None:
        """What an owner has stored, nothing where they are not connected; None: the shared ones are used.

        Raises ``StoreError`` when no key opens it.
        """
        async with self.database.connection() as connection:
            if not await store.is_own(connection, integration, owner):
                return None
            sealed = await store.sealed(connection, integration, owner)
        return {} if sealed is None else await asyncio.to_thread(
            self.vault.unseal, sealed, owner=_name(integration, owner)
        )  # fmt: skip

    async def struggles(self, integration: str, owner: str) -> bool:
        """Whether upstream did not answer this owner's last run."""
        async with self.database.connection() as connection:
            return await store.struggles(connection, integration, owner)

    async def stored(self, integration: str, owner: str) -> dict[str, str]:
        """What an owner has stored; nothing where that is nothing, or nothing that a key of ours opens."""
        try:
            return await self.credentials(integration, owner) or {}
        except StoreError:
            return {}

    def tokens(
        self, integration: str, owner: str, *, read: Callable[[Mapping[str, Any]], T], write: Callable[[T], Any]
    ) -> "OwnerTokens[T]":
        """The place of an owner's tokens. ``read`` and ``write`` turn plain JSON into them and back."""
        return OwnerTokens(self, integration, owner, read, write)

    async def named(self, name: str) -> str:
        """The owner who is called so, or whose id it is. Raises ``NotAllowed`` for somebody else's, ``NotFound``."""
        async with self.database.connection() as connection:
            owner = await store.named(connection, name)
        if is_hidden(owner or name):
            raise NotAllowed("This is somebody else's.", fix="Ask for your own, or let an administrator ask.")
        if owner is None:
            raise NotFound(f"There is no user {name[:80]}.", fix="List them with: keepstep user list")
        return owner

    async def connected(self, integration: str, name: str) -> str:
        """The owner who is called so and has a connection to an integration. Raises ``NotFound``."""
        if integration != _OF_AGENTS:
            return (await self._known(integration, await self.named(name))).owner
        try:
            return (await self._known(integration, name)).owner
        except NotFound:
            raise NotFound(
                f"Nothing was ever read of an agent {name[:40]}.", fix="List them with: keepstep agents list"
            ) from None

    async def health(self, integration: str) -> Health:
        """How well the connections of all owners are."""
        async with self.database.connection() as connection:
            return of_owners(**await store.troubles(connection, integration))

    async def whose(self, who: Identity, user: str | None) -> str:
        """The owner whom a caller means: themselves, and for an administrator anybody by id or name.

        Raises ``NotAllowed`` for another's, ``NotFound``.
        """
        if not user or user == who.owner:
            return who.owner
        if who.role is not Role.ADMIN and user == who.name:
            return who.owner
        return await self.named(user)

    async def _known(self, integration: str, owner: str) -> OwnerLine:
        async with self.database.connection() as connection:
            rows = await store.select(connection, integration=integration, owner=owner)
        if not rows:
            raise _nobody(integration, owner)
        return line_of(rows[0])


@dataclass(frozen=True, slots=True)
class OwnerTokens(Generic[T]):
    """Where the tokens of one owner live. Any number of processes may use the same ones."""

    connections: OwnerConnections
    integration: str
    owner: str
    read: Callable[[Mapping[str, Any]], T]
    write: Callable[[T], Any]

    async def load(self) -> T | None:
        """The tokens as they are stored now; None where there are none."""
        async with self.connections.database.connection() as connection:
            return self._of(await self._opened(await store.sealed(connection, self.integration, self.owner)))

    @asynccontextmanager
    async def locked(self) -> AsyncIterator["HeldTokens[T]"]:
        """Keep everybody else from renewing them while the block lasts. What is saved counts once it has ended well.

        Whoever asks for new ones may wait long. Only so many wait with a connection of the pool: pages and the
        dispatcher need some too.
        """
        renewals, database = self.connections.renewals, self.connections.database
        if renewals.count >= MOST_POOLED:
            database = database.apart()
        renewals.count += 1
        try:
            async with database.connection() as connection, connection.transaction():
                yield await self._held(connection)
        finally:
            renewals.count -= 1

    async def _held(self, connection: Connection) -> "HeldTokens[T]":
        sealed = await store.sealed(connection, self.integration, self.owner, locked=True)
        values = await self._opened(sealed)
        return HeldTokens(self, connection, self._of(values), values)

    async def seal(self, tokens: T, beside: Mapping[str, str] | None = None) -> bytes:
        """The tokens, and what stands beside them, encrypted."""
        values = {**(beside or {}), TOKENS: json.dumps(self.write(tokens))}
        name = _name(self.integration, self.owner)
        return await asyncio.to_thread(self.connections.vault.seal, values, owner=name)

    async def put(
        self, tokens: T, *, by: str, beside: Mapping[str, str] | None = None, anew: bool = False
    ) -> None:  # fmt: skip
        """The owner has connected: what waits for it begins. ``anew``: perhaps another account than before."""
        values = {**(beside or {}), TOKENS: json.dumps(self.write(tokens))}
        await self.connections.connect(self.integration, self.owner, values, by=by, anew=anew)

    async def _opened(self, sealed: bytes | None) -> dict[str, str]:
        if sealed is None:
            return {}
        name = _name(self.integration, self.owner)
        return await asyncio.to_thread(self.connections.vault.unseal, sealed, owner=name)

    def _of(self, values: Mapping[str, str]) -> T | None:
        return self.read(json.loads(values[TOKENS])) if TOKENS in values else None


@dataclass(slots=True)
class HeldTokens(Generic[T]):
    """The tokens of one owner while nobody else may renew them, as they were read after the lock was had.

    ``values``: all of the owner's credentials; what is no token stays as it is.
    """

    place: OwnerTokens[T]
    connection: Connection
    tokens: T | None
    values: Mapping[str, str]

    async def save(self, tokens: T) -> None:
        """Store others in their place."""
        sealed = await self.place.seal(tokens, self.values)
        await store.renew(self.connection, self.place.integration, self.place.owner, sealed)
        self.tokens = tokens


def _name(integration: str, owner: str) -> str:
    """What an owner's credentials are sealed for: ``store/sealed.sql`` says it too."""
    return f"{integration} of {owner}"


def _nobody(integration: str, owner: str) -> NotFound:
    return NotFound(
        f"{owner[:80]} has no connection to {integration[:40]}.",
        fix="GET /api/auto-sync lists one's own, GET /api/admin/owners everybody's.",
    )

"""Who may: users who sign in, and API tokens. Every change is in the admin log."""

import hmac
import ipaddress
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from keepstep.model.errors import Conflict, NotAllowed, NotFound, NotSignedIn, TooManyTries
from keepstep.model.schedule import Identity, Role
from keepstep.reliability.masking import MASK
from keepstep.service.audit import Audit
from keepstep.service.host_tokens import HostRules, HostTokens, HostUser
from keepstep.service.names import checked_name, is_name
from keepstep.service.passwords import Passwords, check_password
from keepstep.service.shapes import Shape
from keepstep.service.tokens import ADMIN_TOKEN, RoleName, Tokens, digest, token_name
from keepstep.store import accounts as store
from keepstep.store.db import Database

MOST_LISTED = 1000


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds; tries are failed ones in ``window``."""

    idle: float = 12 * 3600.0
    lives: float = 7 * 24 * 3600.0
    window: float = 15 * 60.0
    tries_of_a_name: int = 10
    tries_from_an_address: int = 50


class User(Shape):
    """Somebody who signs in with a password."""

    id: int
    name: str
    role: RoleName
    created_at: datetime
    last_login_at: datetime | None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session: what the cookie holds, whose it is, and for how many seconds at most."""

    session: str = field(repr=False)
    who: Identity
    lives: float


class Accounts:
    """Knows who may.

    ``admin_token`` gives the one token that is not in the database, or None; it is asked at the first use. ``tokens``
    has the others, ``host`` says whose JWT are taken besides.
    """

    def __init__(
        self, database: Database, audit: Audit, *, admin_token: Callable[[], str | None], limits: Limits | None = None,
        host: HostRules | None = None,
    ) -> None:  # fmt: skip
        self._database = database
        self._audit = audit
        self._admin_token = admin_token
        self._limits = limits or Limits()
        self._passwords = Passwords()
        self.tokens = Tokens(database, audit)
        self._host = HostTokens(host or HostRules())

    @cached_property
    def _admin(self) -> bytes | None:
        token = self._admin_token()
        return digest(token) if token else None

    async def identify(self, *, token: str | None, session: str | None) -> Identity | None:
        """Who has these credentials, None for nobody. A token, where there is one, decides alone.

        Raises ``NotSignedIn`` with the reason for a JWT that is not accepted.
        """
        if token is not None:
            if self._admin is not None and hmac.compare_digest(digest(token), self._admin):
                return Identity(token_name(ADMIN_TOKEN), Role.ADMIN, owner=token_name("admin"))
            if self._host.is_one(token):
                return await self._of_host(await self._host.read(token))
            return await self.tokens.identify(token)
        return await self._of_session(session) if session else None

    async def sign_in(self, name: str, password: str, *, address: str) -> SignedIn:
        """A session for a name and password.

        Raises ``NotSignedIn`` in the same words, after the same time, whether the name or the password is wrong, and
        ``TooManyTries`` without looking at either.
        """
        name = name.strip()
        limits = [
            (counted := _of_name(name), self._limits.tries_of_a_name),
            (f"address {_network(address)}", self._limits.tries_from_an_address),
        ]
        async with self._database.connection() as connection:
            tries, after = await store.begin_try(connection, limits, window=self._limits.window)
            if not tries:
                raise _too_many(after)
            user = await store.user_named(connection, name) if is_name(name) else None
        stored: str | None = None if user is None else user["password_hash"]
        if not await self._passwords.matches(stored, password) or user is None or stored is None:
            await self._audit.record(user["name"] if user else "unknown", "login", {"address": address}, "refused")
            raise _wrong_name_or_password()
        better = await self._passwords.hash(password) if self._passwords.is_outdated(stored) else stored
        session = secrets.token_urlsafe(32)
        async with self._database.connection() as connection, connection.transaction():
            row = await store.sign_in(connection, user["id"], old_hash=stored, new_hash=better)
            if row is None:  # removed, or given another password, while this one was compared
                raise _wrong_name_or_password()
            await store.add_session(connection, row["id"], digest(session), lives=self._limits.lives)
            await store.end_try(connection, tries, name=counted)
            await self._audit.record(row["name"], "login", {"address": address}, "ok", within=connection)
        return SignedIn(session, _user(row), self._limits.lives)

    async def sign_out(self, session: str) -> None:
        """End a session; harmless when there is none."""
        async with self._database.connection() as connection, connection.transaction():
            if (name := await store.end_session(connection, digest(session))) is not None:
                await self._audit.record(name, "logout", {}, "ok", within=connection)

    async def users(self, *, search: str = "", after: int | None = None, limit: int = MOST_LISTED) -> list[User]:
        """Users by name. ``after``: only those behind the one of that id."""
        most = min(max(limit, 1), MOST_LISTED)
        async with self._database.connection() as connection:
            rows = await store.users(connection, search=search.strip() or None, after=after, limit=most)
        return [User(**row) for row in rows]

    async def count_users(self) -> int:
        """How many there are."""
        async with self._database.connection() as connection:
            return await store.count_users(connection)

    async def user(self, user_id: int) -> User:
        """The user of that id. Raises ``NotFound``."""
        async with self._database.connection() as connection:
            return _shown(await store.user_by_id(connection, user_id), user_id)

    async def user_named(self, name: str) -> User | None:
        """The user of that name, in whatever case."""
        async with self._database.connection() as connection:
            row = await store.user_named(connection, name.strip())
        return None if row is None else _shown(row, row["id"])

    async def add_user(self, name: str, password: str, role: Role, *, by: str) -> User:
        """A new user. Raises ``BadRequest``, ``Conflict`` for a name that is taken."""
        name = checked_name(name)
        check_password(password, name=name)
        stored = await self._passwords.hash(password)
        async with self._database.connection() as connection, connection.transaction():
            row = await store.add_user(connection, name=name, password_hash=stored, role=role)
            if row is None:
                raise Conflict(f"There is a user {name} already.", fix="Take another name, or change that user.")
            await self._audit.record(by, "user.add", {"name": name, "role": role}, "done", within=connection)
        return User(**row)

    async def change_user(
        self, user_id: int, *, role: Role | None = None, password: str | None = None, by: str
    ) -> User:
        """Another role, at once; another password, which ends every session. Raises ``BadRequest``, ``NotFound``."""
        async with self._database.connection() as connection:
            known = await store.user_by_id(connection, user_id)
        if known is None:
            raise _no_user(user_id)
        if password is not None:
            check_password(password, name=known["name"])
        stored = None if password is None else await self._passwords.hash(password)
        async with self._database.connection() as connection, connection.transaction():
            row = await store.change_user(connection, user_id, role=role, password_hash=stored)
            if row is None:
                raise _no_user(user_id)
            if stored is not None:
                await store.end_sessions_of(connection, user_id)
            payload = {"name": row["name"], "role": role, "password": password and MASK}
            changes = {key: value for key, value in payload.items() if value is not None}
            await self._audit.record(by, "user.change", changes, "done", within=connection)
        return User(**row)

    async def change_own_password(self, who: Identity, *, current: str, new: str, session: str, address: str) -> None:
        """Ends the user's other sessions. Raises ``NotAllowed`` for a token or a wrong current password."""
        if who.user_id is None:
            raise NotAllowed("A token has no password.", fix="Sign in as a user.")
        check_password(new, name=who.name)
        limits = [(counted := f"user {who.user_id}", self._limits.tries_of_a_name)]
        async with self._database.connection() as connection:
            tries, after = await store.begin_try(connection, limits, window=self._limits.window)
            if not tries:
                raise _too_many(after)
            user = await store.user_by_id(connection, who.user_id)
        if not await self._passwords.matches(None if user is None else user["password_hash"], current):
            await self._audit.record(who.name, "user.password", {"address": address}, "refused")
            raise NotAllowed("The current password is wrong.", fix="Try again, or ask an administrator for a new one.")
        stored = await self._passwords.hash(new)
        async with self._database.connection() as connection, connection.transaction():
            await store.end_try(connection, tries, name=counted)
            await store.change_user(connection, who.user_id, role=None, password_hash=stored)
            await store.end_sessions_of(connection, who.user_id, but=digest(session))
            await self._audit.record(who.name, "user.password", {"address": address}, "done", within=connection)

    async def remove_user(self, user_id: int, *, by: str) -> str:
        """Remove a user and end their sessions at once; gives the name. Raises ``NotFound``."""
        async with self._database.connection() as connection, connection.transaction():
            name = await store.remove_user(connection, user_id)
            if name is None:
                raise _no_user(user_id)
            await self._audit.record(by, "user.remove", {"name": name}, "done", within=connection)
        return name

    async def _of_host(self, user: HostUser) -> Identity:
        """The user whom another application has signed in; whoever comes first is written down."""
        async with self._database.connection() as connection:
            role = None if user.role is None else user.role.value
            row = await store.host_user(connection, user.subject, role=role)
            if row is None:
                name = user.email if is_name(user.email) else f"host:{user.subject}"
                row = await store.add_host_user(connection, user.subject, name=name, role=role or Role.USER)
        return _user(row)

    async def _of_session(self, session: str) -> Identity | None:
        async with self._database.connection() as connection:
            row = await store.use_session(connection, digest(session), idle=self._limits.idle)
        return None if row is None else _user(row)


def _user(row: Mapping[str, Any]) -> Identity:
    return Identity(row["name"], Role(row["role"]), row["id"], owner=row["owner_id"])


def _shown(row: Mapping[str, Any] | None, user_id: int) -> User:
    if row is None:
        raise _no_user(user_id)
    return User(**{name: row[name] for name in User.model_fields})


def _of_name(name: str) -> str:
    # People type passwords into the field for the name: what fails is not kept in the clear.
    return f"name {digest(name.casefold()).hex()[:32]}"


def _network(address: str) -> str:
    """What tries are counted under: whoever has one IPv6 address has a whole /64 of them."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return digest(address).hex()[:32]
    if isinstance(known, ipaddress.IPv6Address):
        mapped = known.ipv4_mapped
        return str(mapped or ipaddress.ip_network((int(known) >> 64 << 64, 64)))
    return str(known)


def _wrong_name_or_password() -> NotSignedIn:
    return NotSignedIn("The name or the password is wrong.", fix="Try again, or ask an administrator.")


def _no_user(user_id: int) -> NotFound:
    return NotFound(f"There is no user {user_id}.", fix="List them with: keepstep user list")


def _too_many(after: float) -> TooManyTries:
    minutes = max(1, round(after / 60 + 0.49))
    return TooManyTries(
        "Too many failed tries.", after=after, fix=f"Wait {minutes} minute{'s' if minutes > 1 else ''}, then try again."
    )

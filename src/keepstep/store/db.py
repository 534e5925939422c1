"""Connections to the one database, and what a failed statement means."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection, IsolationLevel
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from keepstep.model.errors import StoreError
from keepstep.store import arrays
from keepstep.store.pooler import Way, way_of

OLDEST_SERVER = 140000
_PATIENCE = 10.0
"""Seconds to wait for a connection of the pool."""
_ENCODING = "utf8"
"""Records go to COPY as the bytes that came; in another encoding their letters would become others."""
_FORMS = {"DateStyle": "ISO", "IntervalStyle": "postgres", "standard_conforming_strings": "on"}
Connection = AsyncConnection[DictRow]


class DatabaseAway(StoreError):
    """The database cannot be reached now: what was asked of it can be asked again later."""


class NoSession(StoreError):
    """Only a transaction pooler can be reached, and a session is needed."""


class DataRefused(StoreError):
    """The database refused a value of the rows it was given."""


class Database:
    """A way to the database.

    ``connection`` is for one piece of work, a transaction or less: inside ``pooled`` it is borrowed from a pool and may
    come through a transaction pooler, so it keeps no session state and prepares nothing. ``session`` gives a session of
    the caller's own: runs and LISTEN need one. ``take_session`` gives one that may have served others before, inside
    ``keeping_sessions``. ``direct``: the address for everything but the pool, where ``dsn`` has a transaction pooler.
    """

    def __init__(self, dsn: str, *, direct: str | None = None) -> None:
        self._dsn = dsn
        self._direct = direct
        self._way: Way | None = None
        self._pool: AsyncConnectionPool[Connection] | None = None
        self._sessions: list[Connection] = []
        self._sessions_kept = 0

    @property
    def direct(self) -> str:
        """The address for sessions, password included."""
        return self._direct or self._dsn

    @property
    def variable(self) -> str:
        """What that address is called in the settings."""
        return "KEEPSTEP_DIRECT_DATABASE_URL" if self._direct else "DATABASE_URL"

    @property
    def has_pool(self) -> bool:
        """Whether ``connection`` lends one that is open already."""
        return self._pool is not None

    def apart(self) -> "Database":
        """The same without the pool: for who needs sessions of their own."""
        database = Database(self._dsn, direct=self._direct)
        database._way = self._way
        return database

    async def open(self, *, name: str = "keepstep") -> Connection:
        """A new connection in autocommit mode whose rows are dicts, for short work only.

        Through a transaction pooler it prepares nothing. Raises ``StoreError`` when there is no way in.
        """
        connection = await self._connect(self.direct, name)
        try:
            if connection.info.server_version < OLDEST_SERVER:
                version = connection.info.server_version // 10000
                raise StoreError.named("database-too-old", facts={"count": version})
            if self._way is None:
                self._way = await way_of(connection, lambda: self._connect(self.direct, name))
        except psycopg.Error as error:
            await connection.close()
            raise explain(error) from error
        except BaseException:
            await connection.close()
            raise
        if self._way is Way.TRANSACTION:
            connection.prepare_threshold = None
        return connection

    async def _connect(self, dsn: str, name: str) -> Connection:
        try:
            connection = await AsyncConnection.connect(
                dsn, autocommit=True, row_factory=dict_row, application_name=name, connect_timeout=10,
                client_encoding=_ENCODING,
            )  # fmt: skip
        except (psycopg.OperationalError, psycopg.ProgrammingError) as error:
            said = explain(error)
            if dsn == self._direct:
                said.fix = said.fix.replace("DATABASE_URL", self.variable)
            raise said from None
        try:
            encoding = connection.info.parameter_status("server_encoding") or "UTF8"
            if encoding != "UTF8":
                raise StoreError(
                    f"The database is encoded as {encoding}; Keepstep needs UTF8, or letters would be lost.",
                    fix="Create one with: CREATE DATABASE keepstep ENCODING 'UTF8' TEMPLATE template0",
                )
            await _configure(connection)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def way(self) -> Way:
        """What is in between."""
        if self._way is None:
            await (await self.open()).close()
        assert self._way is not None  # noqa: S101 - set by open
        return self._way

    async def require_sessions(self) -> None:
        """Raises ``NoSession`` where there are none."""
        if await self.way() is Way.TRANSACTION:
            raise NoSession(
                f"{self.variable} leads through a pooler in transaction mode. keepstep web can do with that; runs need"
                " a database session of their own.",
                fix="Set KEEPSTEP_DIRECT_DATABASE_URL to the database's own address, or to one in session mode.",
            )

    async def require_one_place(self) -> None:
        """Raises ``StoreError`` when the two addresses lead to different databases."""
        places: set[tuple[Any, ...]] = set()
        for dsn in (self._dsn, self.direct):
            connection = await self._connect(dsn, "keepstep")
            try:
                cursor = await connection.execute(
                    "SELECT current_database() AS name, pg_postmaster_start_time() AS began", prepare=False
                )
                places.update(tuple(row.values()) for row in await cursor.fetchall())
            except psycopg.Error as error:
                raise explain(error) from error
            finally:
                await connection.close()
        if len(places) > 1:
            raise StoreError(
                "DATABASE_URL and KEEPSTEP_DIRECT_DATABASE_URL lead to different databases.",
                fix="Let both name the same database of the same server, the first one through the pooler.",
            )

    async def session(self, *, name: str) -> Connection:
        """A session of the caller's own. Raises ``StoreError``."""
        await self.require_sessions()
        return await self.open(name=name)

    @asynccontextmanager
    async def pooled(self, most: int = 8) -> AsyncIterator["Database"]:
        """Keep up to ``most`` connections open for the pieces of work done meanwhile."""
        settings = {
            "autocommit": True, "row_factory": dict_row, "prepare_threshold": None, "connect_timeout": 10,
            "client_encoding": _ENCODING,
        }  # fmt: skip
        pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            self._dsn, kwargs={**settings, "application_name": "keepstep"}, min_size=0, max_size=most, open=False,
            timeout=_PATIENCE, max_idle=60, configure=_configure, check=AsyncConnectionPool.check_connection,
        )  # fmt: skip
        async with pool:
            self._pool = pool
            try:
                yield self
            finally:
                self._pool = None

    @asynccontextmanager
    async def keeping_sessions(self, most: int) -> AsyncIterator["Database"]:
        """Keep up to ``most`` sessions that were given back for those who take one later."""
        self._sessions_kept = most
        try:
            yield self
        finally:
            self._sessions_kept = 0
            while self._sessions:
                await self._sessions.pop().close()

    async def take_session(self, *, name: str) -> Connection:
        """A session of the caller's own, to be given back. Raises ``StoreError``."""
        while self._sessions:
            connection = self._sessions.pop()
            try:
                await connection.execute("SELECT 1")
            except psycopg.Error:
                await connection.close()
            else:
                return connection
        return await self.session(name=name)

    async def give_session(self, connection: Connection) -> None:
        """Keep a session for somebody else, if it is in order and there is room for it."""
        whole = not connection.closed and connection.info.transaction_status is TransactionStatus.IDLE
        if whole and len(self._sessions) < self._sessions_kept:
            try:
                await connection.execute("DISCARD TEMP")
            except psycopg.Error:
                pass
            else:
                self._sessions.append(connection)
                return
        await connection.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for one piece of work. A database error inside it comes out as ``StoreError``."""
        pool = self._pool
        connection = await self.open() if pool is None else await self._borrow(pool)
        try:
            yield connection
        except psycopg.Error as error:
            raise explain(error) from error
        finally:
            if pool is None:
                await connection.close()
            else:
                await pool.putconn(connection)

    async def _borrow(self, pool: AsyncConnectionPool[Connection]) -> Connection:
        try:
            return await pool.getconn()
        except PoolTimeout:
            await (await self._connect(self._dsn, "keepstep")).close()  # says what is wrong with it, if it is that
            raise StoreError.named("database-busy", facts={"count": f"{_PATIENCE:.0f}"}) from None


async def _configure(connection: Connection) -> None:
    """Values are written and read in one form, and at one isolation, whatever the server, database or role has set.

    These are the settings that a server reports and a transaction pooler keeps for each client; the isolation stands in
    each BEGIN.
    """
    await connection.set_isolation_level(IsolationLevel.READ_COMMITTED)
    for name, value in _FORMS.items():
        if not (connection.info.parameter_status(name) or value).startswith(value):
            await connection.execute(f"SET {name} = '{value}'".encode())
    arrays.register(connection)


_FULL_HOUSE = "53300"
_BY_STATE = {
    "3D000": "database-missing", "28P01": "database-password", "28000": "database-user", "42501": "database-rights",
    "53100": "database-full", "53300": "database-connections", "25006": "database-read-only",
    "57P01": "database-shut-down", "57P03": "database-starting",
}  # fmt: skip
_AT_THE_DOOR = (
    (re.compile(r'FATAL:  database "[^\n]*" does not exist'), "3D000"),
    (re.compile(r"FATAL:  password authentication failed|no password supplied"), "28P01"),
    (re.compile(r'FATAL:  (role "[^\n]*" does not exist|no pg_hba.conf entry)|authentication failed'), "28000"),
    (re.compile(r"FATAL:  the database system is starting up"), "57P03"),
    (re.compile(r"FATAL:  .*(too many (clients|connections)|(remaining )?connection slots)"), "53300"),
)
"""What a server says to somebody whom it does not let in: libpq gives the text, and no code."""
_NO_SUCH_THING = ("3F000", "42P01", "42703", "42883")
"""No such schema, table, column or function."""


def explain(error: psycopg.Error) -> StoreError:
    """What a database error means, in words. Data that was refused never comes here: the sinks handle it."""
    first_line = str(error).strip().split("\n", 1)[0]
    state = error.sqlstate or next((code for said, code in _AT_THE_DOOR if said.search(str(error))), "")
    code = _BY_STATE.get(state)
    if code is None and isinstance(error, psycopg.OperationalError) and (state or "08").startswith("08"):
        code = "database-down"
    if code is None and state in _NO_SUCH_THING and "keepstep" in first_line:
        return StoreError.named("migrations-missing", facts={"detail": f" ({first_line})"})
    if code is None:
        return StoreError.named("store", facts={"detail": f"{first_line} (SQLSTATE {state})"})
    kind = DatabaseAway if lost(error) or state == _FULL_HOUSE else StoreError
    return kind.named(code, facts={"detail": f" ({first_line})"})


def lost(error: BaseException) -> bool:
    """Whether the connection, not the statement, failed: the work can be done again on a new one."""
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    state = error.sqlstate or ""
    return not state or state[:2] == "08" or state in ("57P01", "57P02", "57P03")


def is_foreign_key_violation(error: BaseException | None) -> bool:
    """Whether a row that was referred to is not there."""
    return isinstance(error, psycopg.errors.ForeignKeyViolation)


# https://www.postgresql.org/docs/current/errcodes-appendix.html: data, constraints, triggers, functions, checks, limits
_ABOUT_DATA = frozenset(("22", "23", "27", "38", "39", "44", "54", "P0"))
_ABOUT_OTHER_THINGS = frozenset(
    (
        "00", "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "24", "25", "26",
        "28", "2B", "2D", "2F", "34", "3B", "3D", "3F", "40", "42", "53", "55", "57", "58", "F0", "HV", "XX",
    )
)  # fmt: skip


def refused(error: psycopg.Error) -> bool:
    """Whether the database refused the *data*; a code that is not PostgreSQL's own is one of a user's trigger."""
    kind = (error.sqlstate or "08")[:2]
    return kind in _ABOUT_DATA or kind not in _ABOUT_OTHER_THINGS


def reason_of(error: psycopg.Error) -> str:
    """The first line of what the database said about a record, without the SQL around it."""
    diagnosis: Any = error.diag
    primary = diagnosis.message_primary or str(error).split("\n", 1)[0]
    column = f" (column {diagnosis.column_name})" if diagnosis.column_name else ""
    detail = f": {diagnosis.message_detail}" if diagnosis.message_detail else ""
    return f"{primary}{column}{detail}"

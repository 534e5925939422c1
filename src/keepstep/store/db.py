"""Connections to the one database, and what a failed statement means."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from keepstep.model.errors import StoreError
from keepstep.store import arrays

OLDEST_SERVER = 140000
_PATIENCE = 10.0
"""Seconds to wait for a connection of the pool."""
Connection = AsyncConnection[DictRow]


class DatabaseAway(StoreError):
    """The database cannot be reached now: what was asked of it can be asked again later."""


class DataRefused(StoreError):
    """The database refused a value of the rows it was given."""


class Database:
    """A way to the database.

    ``connection`` is for one piece of work, a transaction or less: inside ``pooled`` it is borrowed from a pool and may
    come through a transaction pooler, so it keeps no session state and prepares nothing. ``open`` gives a session of
    the caller's own: runs, locks and LISTEN need one. ``take_session`` gives one that may have served others before,
    inside ``keeping_sessions``.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._pool: AsyncConnectionPool[Connection] | None = None
        self._sessions: list[Connection] = []
        self._sessions_kept = 0

    @property
    def dsn(self) -> str:
        """The address, password included."""
        return self._dsn

    async def open(self, *, name: str = "keepstep") -> Connection:
        """A new connection in autocommit mode whose rows are dicts. Raises ``StoreError`` when there is no way in."""
        try:
            connection = await AsyncConnection.connect(
                self._dsn, autocommit=True, row_factory=dict_row, application_name=name, connect_timeout=10
            )
        except (psycopg.OperationalError, psycopg.ProgrammingError) as error:
            raise explain(error) from None
        if connection.info.server_version < OLDEST_SERVER:
            version = connection.info.server_version // 10000
            await connection.close()
            raise StoreError.named("database-too-old", facts={"count": version})
        arrays.register(connection)
        return connection

    @asynccontextmanager
    async def pooled(self, most: int = 8) -> AsyncIterator["Database"]:
        """Keep up to ``most`` connections open for the pieces of work done meanwhile."""
        settings = {"autocommit": True, "row_factory": dict_row, "prepare_threshold": None, "connect_timeout": 10}
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
        return await self.open(name=name)

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
            await (await self.open()).close()  # says what is wrong with the database, if it is that
            raise StoreError.named("database-busy", facts={"count": f"{_PATIENCE:.0f}"}) from None


async def _configure(connection: Connection) -> None:
    arrays.register(connection)


_FULL_HOUSE = "53300"
_BY_STATE = {
    "3D000": "database-missing", "28P01": "database-password", "28000": "database-user", "42501": "database-rights",
    "53100": "database-full", "53300": "database-connections", "25006": "database-read-only",
    "57P01": "database-shut-down", "57P03": "database-starting",
}  # fmt: skip
_AT_THE_DOOR = (
    ("password authentication failed", "database-password"),
    ("no pg_hba.conf entry", "database-user"),
    ("role", "database-user"),
    ("does not exist", "database-missing"),
    ("starting up", "database-starting"),
    ("too many clients", "database-connections"),
    ("connection slots are reserved", "database-connections"),
)
"""A refused connection comes without a SQLSTATE: what the server says (in English, else nothing) has to do."""
_NO_SUCH_THING = ("3F000", "42P01", "42703", "42883")
"""No such schema, table, column or function."""


def explain(error: psycopg.Error) -> StoreError:
    """What a database error means, in words. Data that was refused never comes here: the sinks handle it."""
    first_line = str(error).strip().split("\n", 1)[0]
    state = error.sqlstate or ""
    code = _BY_STATE.get(state)
    if code is None and isinstance(error, psycopg.OperationalError) and (state or "08").startswith("08"):
        fatal = first_line.partition("FATAL:")[2]
        code = next((code for words, code in _AT_THE_DOOR if words in fatal), "database-down")
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

"""``keepstep up`` with users who each have a mailbox, as the tests of mail see them."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from hashlib import sha256
from typing import Any

import httpx
import psycopg
from psycopg.rows import dict_row

from tests.support.dovecot import PASSWORD, Dovecot, Mailbox
from tests.support.site import NO_TLS
from tests.support.workers import LIVE, until
from tests.system.command import Keepstep, Running

ADMIN_TOKEN = "the-admin-token-of-this-test"
WORDS = "a few good words"
APPLICATION = "mail_application"
RUNS, RUN = "/api/auto-sync/mail/runs", "/api/auto-sync/mail/run"


class User:
    """Somebody with a session and a mailbox."""

    def __init__(self, name: str, owner: str, client: httpx.AsyncClient, house: "House") -> None:
        self.name = name
        self.owner = owner
        self.client = client
        self.house = house

    @property
    def account(self) -> str:
        """The name of the mailbox."""
        return f"{self.name}@example.test"

    async def enable(self, minutes: int = 15) -> None:
        """Turn auto-sync on."""
        body = {"enabled": True, "interval_minutes": minutes}
        answer = await self.client.post("/api/settings/save-auto-sync", json=body)
        assert answer.json() == {"success": True}, answer.text

    async def connect(self, server: Dovecot, *, port: int = 0, **more: Any) -> httpx.Response:
        """Give address and password."""
        body = {
            "address": self.account, "password": PASSWORD, "host": "127.0.0.1", "port": port or server.port,
            "security": "none", **more,
        }  # fmt: skip
        return await self.client.post("/api/connections/mail/imap", json=body)

    async def runs(self) -> list[dict[str, Any]]:
        """Their runs, newest first."""
        return list((await self.client.get(RUNS)).json())

    async def ended(self, count: int) -> dict[str, Any]:
        """The newest run, once so many have ended."""

        async def over() -> bool:
            return sum(run["finishedAt"] is not None for run in await self.runs()) >= count

        await until(over)
        return (await self.runs())[0]

    async def sync(self) -> dict[str, Any]:
        """A run by hand, as it ended."""
        answer = await self.client.post(RUN)
        assert answer.status_code == 202, answer.text
        run_id = answer.json()["runId"]

        async def over() -> bool:
            return next(run for run in await self.runs() if run["runId"] == run_id)["result"] not in LIVE

        await until(over)
        return next(run for run in await self.runs() if run["runId"] == run_id)

    async def assert_nothing_to_do(self) -> None:
        """A run by hand changes nothing."""
        run = await self.sync()
        assert [run[name] for name in ("inserted", "updated", "deleted", "deadLettered")] == [0, 0, 0, 0]

    async def line(self) -> dict[str, Any]:
        """How their connection does."""
        [found] = (await self.client.get("/api/auto-sync")).json()
        return dict(found)

    def rows(self) -> list[dict[str, Any]]:
        """Their live rows."""
        return self.house.sql(
            "SELECT * FROM mail.messages WHERE owner_id = %s AND _deleted_at IS NULL", self.owner
        )  # fmt: skip

    def compare(self, mailbox: Mailbox, *folders: str) -> None:
        """Every message of the server is one live row with its number, flags and content, and there is no other."""
        expected = Counter(
            (folder, uid, tuple(sorted(flags)), sha256(raw).hexdigest())
            for folder in folders or ("INBOX",)
            for uid, flags, raw in mailbox.truth(folder)
        )
        found = Counter(
            (row["folder"], row["uid"], tuple(sorted([*row["flags"], *row["labels"]])), row["hash"])
            for row in self.rows()
        )
        assert found == expected


class House:
    """A running ``keepstep up``. ``admin`` is a client with the admin token."""

    def __init__(self, command: Keepstep, url: str, dsn: str, admin: httpx.AsyncClient, stack: AsyncExitStack) -> None:
        self.command = command
        self.url = url
        self.dsn = dsn
        self.admin = admin
        self._stack = stack

    async def user(self, name: str, role: str = "user") -> User:
        """A new user who has signed in."""
        made = await self.admin.post("/api/admin/users", json={"name": name, "password": WORDS, "role": role})
        assert made.status_code == 201, made.text
        return await self.again(name)

    async def again(self, name: str) -> User:
        """A user in another browser."""
        client = await self._stack.enter_async_context(_client(self.url))
        answer = await client.post("/api/auth/login", json={"name": name, "password": WORDS})
        assert answer.status_code == 200, answer.text
        [row] = self.sql("SELECT owner_id FROM keepstep.users WHERE name = %s", name)
        return User(name, str(row["owner_id"]), client, self)

    def sql(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        """The rows of a statement."""
        with psycopg.connect(self.dsn, autocommit=True, row_factory=dict_row) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def application(self) -> Iterator[psycopg.Connection[dict[str, Any]]]:
        """The role of an application that reads the tables, in a transaction."""
        if not self.sql("SELECT 1 FROM pg_roles WHERE rolname = %s", APPLICATION):
            self.sql(f"CREATE ROLE {APPLICATION} NOLOGIN NOSUPERUSER NOBYPASSRLS")
            self.sql(f"GRANT USAGE ON SCHEMA mail, keepstep TO {APPLICATION}")
            self.sql(f"GRANT SELECT ON mail.messages, keepstep.runs, keepstep.connections TO {APPLICATION}")
        with psycopg.connect(self.dsn, row_factory=dict_row) as connection:
            connection.execute(f"SET ROLE {APPLICATION}".encode())
            yield connection


@asynccontextmanager
async def up(command: Keepstep, **environment: str) -> AsyncIterator[tuple[House, Running]]:
    """Keepstep in a process of its own, until the end of the block."""
    given = {"ADMIN_SYNC_TOKEN": ADMIN_TOKEN, "KEEPSTEP_MAIL_PRIVATE_HOSTS": "true", **environment}
    async with AsyncExitStack() as stack:
        running = stack.enter_context(command.start("up", "--json", **given))
        url = json.loads(await asyncio.to_thread(running.until, '"url"'))["url"]
        ended = await asyncio.to_thread(command, "db", "url")
        assert ended.code == 0, ended.err
        admin = await stack.enter_async_context(_client(url, {"authorization": f"Bearer {ADMIN_TOKEN}"}))
        yield House(command, url, ended.out.strip(), admin, stack), running


def _client(url: str, headers: dict[str, str] | None = None) -> httpx.AsyncClient:
    # A connection that is kept may be closed by the server at the very moment of the next request.
    kept = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=60, verify=NO_TLS, limits=kept)

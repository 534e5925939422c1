"""Every fault of the database, made for real: doctor, and whoever asks for the status, is told what it is."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from keepstep.model.errors import StoreError
from keepstep.store import migrate as migration
from keepstep.store.db import Database
from keepstep.store.embedded import EmbeddedPostgres
from keepstep.store.migrate import migrate
from tests.support.clinic import command, examine
from tests.support.elsewhere import free_port
from tests.support.sync import Sync
from tests.support.tiny import fill, tiny_disk
from tests.support.upstream import serving


def execute(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def elsewhere(dsn: str, database: str) -> str:
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{database}"))


def environment(dsn: str, home: Path) -> dict[str, str]:
    return {"DATABASE_URL": dsn, "KEEPSTEP_HOME": str(home)}


def told_by_status(capfd: pytest.CaptureFixture[str], dsn: str, home: Path) -> str:
    """The code in the problem document that ``keepstep status --json`` gives."""
    code, said = command(capfd, "status", "--json", **environment(dsn, home))
    assert code == 1, said
    document = json.loads(said[: said.rindex("}") + 1])
    assert document["fix"]
    return str(document["code"])


def test_a_healthy_database_has_nothing_wrong(dsn: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert examine(capfd, **environment(dsn, tmp_path)) == (0, {})


def test_a_database_that_is_down_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    dsn = f"postgresql://me@127.0.0.1:{free_port()}/none"
    code, found = examine(capfd, **environment(dsn, tmp_path))

    assert (code, found["database-down"]["state"]) == (1, "failed")
    assert told_by_status(capfd, dsn, tmp_path) == "database-down"


def test_a_database_that_does_not_exist_is_named(dsn: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, found = examine(capfd, **environment(elsewhere(dsn, "nosuch"), tmp_path))

    assert (code, list(found)) == (1, ["database-missing"])


def test_a_read_only_database_is_named_and_well_when_it_is_not(
    dsn: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name = urlsplit(dsn).path.strip("/")
    execute(dsn, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    code, found = examine(capfd, **environment(dsn, tmp_path))
    stopped, said = command(capfd, "stop", "--json", **environment(dsn, tmp_path))
    execute(dsn, "SET default_transaction_read_only = off", f'ALTER DATABASE "{name}" RESET ALL')

    assert (code, found["database-read-only"]["state"]) == (1, "failed")
    assert stopped == 0 or "database-read-only" in said
    assert examine(capfd, **environment(dsn, tmp_path)) == (0, {})


async def test_a_run_on_a_read_only_database_says_so(sync: Sync) -> None:
    name = urlsplit(sync.dsn).path.strip("/")
    await sync.sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    with pytest.raises(StoreError) as refused:
        await sync.run("owners")

    assert (refused.value.code, bool(refused.value.fix)) == ("database-read-only", True)


def test_a_missing_migration_is_named_and_gone_when_it_is_applied(
    empty_dsn: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def up_to_the_seventh() -> None:
        async with Database(empty_dsn).connection() as connection:
            await migrate(connection)

    known = migration.migrations()
    with monkeypatch.context() as older:
        older.setattr(migration, "migrations", lambda: known[:7])
        asyncio.run(up_to_the_seventh())
    code, found = examine(capfd, **environment(empty_dsn, tmp_path))
    asyncio.run(_refuses_without_it(empty_dsn))
    migrated, _ = command(capfd, "migrate", **environment(empty_dsn, tmp_path))

    assert (code, f"{len(known) - 7} migrations" in found["migrations-missing"]["message"]) == (0, True)
    assert (migrated, examine(capfd, **environment(empty_dsn, tmp_path))) == (0, (0, {}))


async def _refuses_without_it(dsn: str) -> None:
    """The eighth brings the alerts."""
    from keepstep.store import alerts

    with pytest.raises(StoreError) as refused:
        async with Database(dsn).connection() as connection:
            await alerts.open_ones(connection)
    assert (refused.value.code, refused.value.fix) == (
        "migrations-missing", "Apply the migrations with: keepstep migrate",
    )  # fmt: skip


def test_a_database_of_a_newer_keepstep_is_named(dsn: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    execute(dsn, "INSERT INTO keepstep.migrations (version, name, checksum) VALUES (9999, 'later', 'x')")
    code, found = examine(capfd, **environment(dsn, tmp_path))

    assert (code, list(found)) == (1, ["migrations-newer"])
    assert told_by_status(capfd, dsn, tmp_path) == "migrations-newer"


@contextlib.contextmanager
def as_version(dsn: str, version: bytes) -> Iterator[str]:
    """The same server, told to be of another version by whoever passes its words on."""
    parts = urlsplit(dsn)
    query = dict(pair.split("=", 1) for pair in parts.query.split("&"))
    socket = f"{query['host'].replace('%2F', '/')}/.s.PGSQL.{query.get('port', '5432')}"
    loop, ready, port = asyncio.new_event_loop(), threading.Event(), []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(socket)

        async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, lie: bool) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await source.read(1 << 16):
                    sink.write(data.replace(b"server_version\x0018", b"server_version\x00" + version) if lie else data)
                    await sink.drain()
            sink.close()

        await asyncio.gather(pass_on(reader, back, lie=False), pass_on(there, writer, lie=True))

    async def serve() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        port.append(server.sockets[0].getsockname()[1])
        ready.set()

    def run() -> None:
        loop.run_until_complete(serve())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield f"postgresql://{parts.username or 'keepstep'}@127.0.0.1:{port[0]}{parts.path}?sslmode=disable"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def test_a_server_that_is_too_old_is_named(dsn: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with as_version(dsn, b"13") as old:
        code, found = examine(capfd, **environment(old, tmp_path))

    assert (code, list(found)) == (1, ["database-too-old"])
    assert "PostgreSQL 13" in found["database-too-old"]["message"]


async def test_a_database_whose_disk_is_full_is_named_and_the_next_run_goes_on(tmp_path: Path) -> None:
    with tiny_disk(tmp_path, 256) as place, EmbeddedPostgres.open(place / "home") as server:
        async with Database(server.dsn).connection() as connection:
            await migrate(connection)
        async with serving(leases=3000) as upstream:
            sync = Sync(server.dsn, upstream)
            await sync.run("owners")
            await sync.sql("SELECT pg_switch_wal()")  # so that it is the tables that find no room, not the log
            await sync.run("owners")
            filler = fill(place, leave=1 << 19)
            with pytest.raises(StoreError) as full:
                await sync.run("leases")
            filler.unlink()
            [failed] = await sync.sql("SELECT state, error FROM keepstep.runs ORDER BY id DESC LIMIT 1")
            again = await sync.run("leases")
            await sync.assert_in_step("leases")

    assert (full.value.code, "next run goes on" in full.value.fix) == ("database-full", True)
    assert failed["error"] is None or failed["error"]["code"] == "database-full"
    assert again.result == "succeeded"

"""One embedded PostgreSQL for the whole session; a database of its own, copied from a migrated one, for each test."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tools import system_parts

from keepstep.store.db import Connection, Database
from keepstep.store.embedded import EmbeddedPostgres
from tests.support.server import TestServer, fast_place
from tests.support.sync import Sync
from tests.support.upstream import Upstream, serving

os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], *map(str, system_parts.places())])


@pytest.fixture(scope="session")
def server() -> Iterator[TestServer]:
    """The session's server. A test that kills it must leave it answering."""
    home = Path(tempfile.mkdtemp(prefix="keepstep-test-", dir=fast_place()))
    try:
        with EmbeddedPostgres.open(home / "home") as postgres:
            yield TestServer(postgres)
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def dsn(server: TestServer) -> Iterator[str]:
    """A migrated database of the test's own."""
    with server.database() as dsn:
        yield dsn


@pytest.fixture
def empty_dsn(server: TestServer) -> Iterator[str]:
    """A database with nothing in it."""
    with server.database(template="template0") as dsn:
        yield dsn


@pytest.fixture
def database(dsn: str) -> Database:
    """The test's own migrated database."""
    return Database(dsn)


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    """One connection to the test's own migrated database."""
    async with database.connection() as connection:
        yield connection


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """A small emulated DoorLoop account."""
    async with serving() as upstream:
        yield upstream


@pytest.fixture
def sync(dsn: str, upstream: Upstream) -> Sync:
    """Keepstep between the two."""
    return Sync(dsn, upstream)


LONGEST = (
    "tests/web/test_openapi.py", "tests/system/test_erp.py", "tests/system/test_pg_cron",
    "tests/integrations/erp/test_parser.py", "tests/system/test_soak.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes a minute or more begins first: at the end the other workers would wait for it."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))

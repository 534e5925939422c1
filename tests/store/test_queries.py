"""Every named query is one that PostgreSQL can prepare against the migrated tables."""

import re
from importlib import resources

import pytest

from keepstep.store.db import Connection
from keepstep.store.queries import queries, query_files

EVERY = [(file, name) for file in query_files() for name in queries(file)]
_PARAMETER = re.compile(rb"%\((\w+)\)s")


@pytest.mark.parametrize(("file", "name"), EVERY, ids=[f"{file}-{name}" for file, name in EVERY])
async def test_a_named_query_prepares(connection: Connection, file: str, name: str) -> None:
    text = queries(file)[name]
    numbers: dict[bytes, int] = {}
    numbered = _PARAMETER.sub(lambda found: b"$%d" % numbers.setdefault(found[1], len(numbers) + 1), text)
    assert b"%(" not in numbered
    await connection.execute(b"PREPARE tried AS " + numbered.replace(b"%%", b"%"))


def test_no_name_comes_twice_in_a_file() -> None:
    assert len(EVERY) > 40
    folder = resources.files("keepstep.store")
    for file in query_files():
        names = re.findall(r"^-- name: (\w+)", folder.joinpath(f"{file}.sql").read_text("utf-8"), re.MULTILINE)
        assert names == list(queries(file))

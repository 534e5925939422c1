"""Documents are kept by their content, encrypted, and not for ever."""

import hashlib
from datetime import timedelta

import pytest

from keepstep.model.document import Document
from keepstep.model.errors import NotData, NotFound, StoreError
from keepstep.service.documents import Documents
from keepstep.service.vault import Vault
from keepstep.store import documents as store
from keepstep.store.db import Database


def document(text: str, *, report: str = "customers", agent: str = "007", refused: bool = False) -> Document:
    body = b"%PDF-1.4 " + text.encode()
    error = NotData.named("report-total", facts={"path": report, "detail": "1 is not 2"}) if refused else None
    return Document(hashlib.sha256(body).hexdigest(), body, report, agent, error)


@pytest.fixture
def keys() -> list[str]:
    return ["the first phrase"]


@pytest.fixture
def documents(database: Database, keys: list[str]) -> Documents:
    return Documents(database, Vault(lambda: keys))


async def age(database: Database, days: int) -> None:
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE keepstep.documents SET last_seen = last_seen - make_interval(days => %s)", (days,)
        )


async def counts(database: Database) -> tuple[int, int]:
    async with database.connection() as connection:
        found = []
        for table in (b"documents", b"document_contents"):
            row = await (await connection.execute(b"SELECT count(*) AS n FROM keepstep." + table)).fetchone()
            assert row is not None
            found.append(row["n"])
    return found[0], found[1]


async def prune(database: Database, days: int = 90) -> int:
    async with database.connection() as connection:
        return await store.prune(connection, older=timedelta(days=days), limit=100)


async def test_a_document_comes_back_byte_for_byte_and_nothing_of_it_stands_in_the_table(
    documents: Documents, database: Database
) -> None:
    kept = document("Perché No, saldo 1.234,56 " * 20)
    await documents.keep("erp", kept)

    assert await documents.open(kept.hash) == kept.body
    async with database.connection() as connection:
        content = await store.content(connection, kept.hash)
    assert content is not None
    assert b"Perch" not in content.sealed + content.key


async def test_the_same_content_is_kept_once_however_it_came(documents: Documents, database: Database) -> None:
    for _ in range(3):
        await documents.keep("erp", document("same"))
    await documents.keep("erp", document("same", agent="012"))

    assert await counts(database) == (2, 1)
    assert [row["times"] for row in await documents.newest()] == [1, 3]


async def test_a_refused_document_tells_why(documents: Documents) -> None:
    await documents.keep("erp", document("proven"))
    await documents.keep("erp", document("refused", refused=True))

    (row,) = await documents.newest(state="refused")
    assert row["error"]["code"] == "report-total"
    assert row["error"]["fix"]
    assert await documents.newest(report="orders") == []


async def test_a_new_secret_key_takes_over_and_the_old_one_may_go(documents: Documents, database: Database) -> None:
    kept = document("rotated")
    await documents.keep("erp", kept)
    both = Documents(database, Vault(lambda: ["the second phrase", "the first phrase"]))

    assert await both.rotate() == 1
    assert await both.rotate() == 0

    assert await Documents(database, Vault(lambda: ["the second phrase"])).open(kept.hash) == kept.body
    with pytest.raises(StoreError):
        await documents.open(kept.hash)


async def test_an_altered_document_is_not_opened(documents: Documents, database: Database) -> None:
    kept, other = document("one"), document("other")
    await documents.keep("erp", kept)
    await documents.keep("erp", other)
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE keepstep.document_contents c SET sealed = o.sealed, key = o.key FROM keepstep.document_contents o"
            " WHERE c.hash = %s AND o.hash = %s",
            (kept.hash, other.hash),
        )

    with pytest.raises(StoreError):
        await documents.open(kept.hash)
    assert await documents.open(other.hash) == other.body


async def test_what_is_not_kept_is_said_so(documents: Documents) -> None:
    with pytest.raises(NotFound):
        await documents.open("0" * 64)


async def test_old_documents_go_but_for_the_last_proven_one_of_each_report(
    documents: Documents, database: Database
) -> None:
    old, last = document("old"), document("last")
    for kept in (old, last, document("bad", refused=True), document("other agent", agent="012")):
        await documents.keep("erp", kept)
    await age(database, 91)

    assert await prune(database) == 2

    assert {row["hash"] for row in await documents.newest(report="customers") if row["agent"] == "007"} == {last.hash}
    assert await counts(database) == (2, 2)
    assert await prune(database) == 0
    with pytest.raises(NotFound):
        await documents.open(old.hash)


async def test_of_each_report_only_the_newest_are_kept(documents: Documents, database: Database) -> None:
    for n in range(store.MOST + 5):
        await documents.keep("erp", document(f"number {n}"))
    await documents.keep("erp", document("refused", refused=True))

    assert len(await documents.newest(state="proven")) == store.MOST
    assert len(await documents.newest(state="refused")) == 1
    await prune(database)
    assert await counts(database) == (store.MOST + 1, store.MOST + 1)

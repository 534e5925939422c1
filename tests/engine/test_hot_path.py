"""The traps of the fast way from a page to its rows, each of which once gave a wrong table or a slow one."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from keepstep.engine import mapping
from keepstep.integrations.doorloop.entities import LEASES, OWNERS
from keepstep.model.integration import Entity, Field, Kind
from tests.support.quiet import physical
from tests.support.sync import Sync, counts_of, entity_of
from tests.support.upstream import SMALL, Upstream, serving, some

VOLATILE = replace(LEASES, volatile=frozenset({"lastViewedToken", "expiresInDays"}))


async def test_records_in_another_order_than_the_rows_are_still_the_same_records(dsn: str) -> None:
    async with serving(leases=1500) as upstream:
        sync = Sync(dsn, upstream)
        sync.page_size = 500
        await sync.run("leases")
        upstream.switch(sort="ignored")  # the listing now comes by name
        changed = upstream.change("leases", update="3%")["updated"]
        before = await physical(sync, "leases")
        run = await sync.run("leases", flush_rows=700)
        assert counts_of(run) == {"updated": len(changed), "unchanged": 1500 - len(changed)}
        after = await physical(sync, "leases")
        assert {key for _, key in after.tuples if after.tuples["leases", key] != before.tuples["leases", key]} == set(
            changed
        )
        await sync.assert_in_step("leases")


# What is no change


async def test_keys_in_another_order_are_no_change(sync: Sync) -> None:
    await sync.run()
    before = await physical(sync, "leases", "tenants")
    sync.upstream.switch(shuffle_keys=True)
    run = await sync.run()
    assert counts_of(run) == {"unchanged": sum(SMALL.values())}
    after = await physical(sync, "leases", "tenants")
    assert after == before
    assert after.written == before.written


async def test_other_white_space_is_no_change(sync: Sync) -> None:
    await sync.run("leases")
    before = await physical(sync, "leases")
    sync.upstream.switch(pretty=True)
    assert counts_of(await sync.run("leases")) == {"unchanged": SMALL["leases"]}
    assert await physical(sync, "leases") == before


async def test_a_volatile_field_is_no_change_and_without_the_word_it_is_one(dsn: str, upstream: Upstream) -> None:
    plain, told = Sync(dsn, upstream), Sync(dsn, upstream, entities=[VOLATILE])
    upstream.switch(volatile_field=True)
    await told.run("leases")
    before = await physical(told, "leases")
    assert counts_of(await told.run("leases")) == {"unchanged": SMALL["leases"]}
    after = await physical(told, "leases")
    assert after == before
    assert after.written == before.written
    assert counts_of(await plain.run("leases")) == {"updated": SMALL["leases"]}


async def test_a_volatile_field_comes_along_when_something_else_changes(dsn: str, upstream: Upstream) -> None:
    sync = Sync(dsn, upstream, entities=[VOLATILE])
    await sync.run("leases")
    quiet, loud = some(upstream.ids("leases"), 2)
    upstream.change(
        "leases", patch={quiet: {"expiresInDays": 4321}, loud: {"expiresInDays": 4321, "notes": "new"}}, silent=True
    )
    assert counts_of(await sync.run("leases")) == {"updated": 1, "unchanged": SMALL["leases"] - 1}
    rows = await sync.rows("leases")
    assert rows[quiet]["expires_in_days"] != 4321
    assert (rows[loud]["expires_in_days"], rows[loud]["notes"]) == (4321, "new")


# A new mapping


async def test_a_new_mapping_version_marks_rows_once_and_changes_none(
    sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sync.run("leases")
    old = await sync.rows("leases")
    monkeypatch.setattr(mapping, "VERSION", mapping.VERSION + 1)
    assert counts_of(await sync.run("leases")) == {"unchanged": SMALL["leases"]}
    new = await sync.rows("leases")
    assert all(new[key]["_hash"] != old[key]["_hash"] for key in old)
    assert {k: {**row, "_hash": b""} for k, row in new.items()} == {k: {**row, "_hash": b""} for k, row in old.items()}
    before = await physical(sync, "leases")
    assert counts_of(await sync.run("leases")) == {"unchanged": SMALL["leases"]}
    after = await physical(sync, "leases")
    assert after == before
    assert after.written == before.written


async def test_a_field_that_becomes_documented_gets_its_column_filled_where_it_says_something(
    dsn: str, upstream: Upstream
) -> None:
    await Sync(dsn, upstream).run("owners")
    with_titles = [record["id"] for record in upstream.records("owners") if record.get("jobTitle")]
    upstream.change("owners", patch={upstream.ids("owners")[0]: {"jobTitle": "Landlord"}}, silent=True)
    await Sync(dsn, upstream).run("owners")
    grown: Entity = replace(OWNERS, fields=(*OWNERS.fields, Field("jobTitle", Kind.TEXT)))
    sync = Sync(dsn, upstream, entities=[grown])
    expected = len({*with_titles, upstream.ids("owners")[0]})
    run = await sync.run("owners")
    assert counts_of(run) == {k: n for k, n in (("updated", expected), ("unchanged", SMALL["owners"] - expected)) if n}
    await sync.assert_in_step("owners")
    assert counts_of(await sync.run("owners")) == {"unchanged": SMALL["owners"]}


# The way through COPY

AWKWARD = [
    "\\", "\\\\", "\\N", "\\.", "\n\\.\n", "a\tb", "a\nb", "a\r\nb", "\r", '"', '""', '","', "'", ",", ";", "null",
    "NULL", " null ", '"null"', " ", "\\x41", "\\u0041", "{}", "{", "a,\"b\"\n\\.\nc", "\u2028\u2029\u0085", "\x01\x7f",
    "%s", "%(a)s", "${x}", "�", "\U0001f3e1", "e\u0301", "true", "1e5", "-", "--", "/*", "\b\f", "\ufeff",
]  # fmt: skip


async def test_awkward_texts_arrive_as_they_are_in_every_place(sync: Sync) -> None:
    for place, text in enumerate(["", *AWKWARD]):
        record: dict[str, Any] = {
            "id": f"awkward {place} {text}",
            "name": text,
            "notes": None if place % 2 else text,
            "settings": {text: [text]},
            "units": [text],
            "renewalInfo": text,
            f"undocumented {text}": text,
            text or "-empty-": {text: None},
        }
        sync.upstream.inject("leases", msgspec.json.encode(record))
    run = await sync.run("leases")
    assert counts_of(run) == {"inserted": SMALL["leases"] + len(AWKWARD) + 1}
    await sync.assert_in_step("leases")
    assert counts_of(await sync.run("leases")) == {"unchanged": SMALL["leases"] + len(AWKWARD) + 1}


async def test_awkward_texts_arrive_as_they_are_by_update_too(sync: Sync) -> None:
    await sync.run("leases")
    ids = some(sync.upstream.ids("leases"), len(AWKWARD))
    sync.upstream.change(
        "leases",
        patch={
            key: {"notes": text, "settings": {"t": text}, text: text} for key, text in zip(ids, AWKWARD, strict=True)
        },
    )
    assert counts_of(await sync.run("leases"))["updated"] == len(AWKWARD)
    await sync.assert_in_step("leases")


async def test_null_and_absent_are_null_and_empty_is_empty(sync: Sync) -> None:
    await sync.run("tenants")
    null, absent, empty = some(sync.upstream.ids("tenants"), 3)
    sync.upstream.change(
        "tenants",
        patch={null: {"notes": None, "emails": None, "more": None}, empty: {"notes": "", "emails": [], "more": ""}},
        unset={absent: ["notes", "emails"]},
    )
    await sync.run("tenants")
    rows = await sync.rows("tenants")
    assert [rows[key]["notes"] for key in (null, absent, empty)] == [None, None, ""]
    assert [rows[key]["emails"] for key in (null, absent, empty)] == [None, None, []]
    assert rows[null]["_extra"]["more"] is None
    assert "more" not in rows[absent]["_extra"]
    await sync.assert_in_step("tenants")


@pytest.mark.parametrize("escaped", [b'"\\u0069d"', b'"id"'], ids=["escaped", "plain"])
async def test_names_may_be_written_with_escapes(sync: Sync, escaped: bytes) -> None:
    sync.upstream.inject("leases", b'{%b:"es\\u0063aped","n\\u0061me":"\\u00fc","und\\u006fcumented":1}' % escaped)
    assert (await sync.run("leases")).result == "succeeded"
    row = (await sync.rows("leases"))["escaped"]
    assert (row["name"], row["_extra"]) == ("ü", {"undocumented": 1})


# Twice the same id


async def test_of_two_records_of_a_page_with_one_id_the_last_counts_and_the_first_is_reported(sync: Sync) -> None:
    [twin] = sync.upstream.poison("owners", "duplicate-id")
    run = await sync.run("owners")
    assert counts_of(run) == {"inserted": SMALL["owners"], "dead_lettered": 1}
    assert entity_of(run, "owners").completeness == f"complete: all {SMALL['owners'] + 1} records seen"
    assert (await sync.rows("owners"))[twin]["_extra"]["notes"] == "the later of two with this id"
    [letter] = await sync.letters()
    assert (letter["record_key"], letter["kind"]) == (twin, "duplicate")
    assert letter["reason"] == f"Another record of the same page has the id {twin}; the later one was kept."

    assert counts_of(await sync.run("owners")) == {"unchanged": SMALL["owners"], "dead_lettered": 1}
    assert [letter["attempts"] for letter in await sync.letters()] == [2]

    sync.upstream.cure("owners")
    assert counts_of(await sync.run("owners")) == {"updated": 1, "unchanged": SMALL["owners"] - 1}
    assert await sync.letters() == []
    await sync.assert_in_step("owners")


async def test_of_two_records_of_two_pages_with_one_id_the_last_counts(sync: Sync) -> None:
    first = min(sync.upstream.records("leases"), key=lambda record: record["createdAt"])
    later = {**first, "createdAt": "2026-10-01T00:00:00.000Z", "notes": "the later of two with this id"}
    sync.upstream.inject("leases", msgspec.json.encode(later))
    run = await sync.run("leases")
    # One key fewer than records: something may have slipped past, so a second look follows and writes both once more.
    assert counts_of(run) == {"inserted": SMALL["leases"], "updated": 3}
    assert "completeness unproven" in (entity_of(run, "leases").completeness or "")
    assert (await sync.rows("leases"))[first["id"]]["notes"] == "the later of two with this id"
    assert await sync.letters() == []

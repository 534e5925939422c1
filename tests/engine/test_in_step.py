"""End to end: after a full run the tables are upstream; a second run writes nothing."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from tests.support.quiet import Physical, physical
from tests.support.sync import ALL, Sync, counts_of, entity_of
from tests.support.upstream import SMALL, serving


async def test_after_a_backfill_every_table_equals_upstream_record_by_record(sync: Sync) -> None:
    run = await sync.run()
    assert run.result == "succeeded"
    assert counts_of(run) == {"inserted": sum(SMALL.values())}
    await sync.assert_in_step()
    assert await sync.value("SELECT count(*) FROM doorloop.units WHERE NOT active") > 0


async def test_a_large_account_with_other_page_and_flush_sizes_arrives_too(dsn: str) -> None:
    async with serving(leases=2500, tenants=1700, units=900, seed=7) as upstream:
        sync = Sync(dsn, upstream)
        sync.page_size = 1000
        run = await sync.run(flush_rows=333)
        assert counts_of(entity_of(run, "leases")) == {"inserted": 2500}
        await sync.assert_in_step()


async def test_the_comparison_of_these_tests_notices_a_wrong_value(sync: Sync) -> None:
    await sync.run()
    await sync.sql("UPDATE doorloop.leases SET total_balance_due = coalesce(total_balance_due, 0) + 0.01")
    await sync.sql("UPDATE doorloop.owners SET _extra = _extra || '{\"more\": 1}'")
    found = await sync.differences()
    assert len(found) == SMALL["leases"] + SMALL["owners"]


EVERY_KIND: dict[str, Any] = {
    "id": "every-kind",
    "name": "Zoë Ångström 渡辺 \U0001f3e1 \u202e",
    "notes": "",
    "status": None,
    "start": "2024-02-29",
    "end": "0001-01-01",
    "totalBalanceDue": Decimal("12345678901234567890.123456789012345678901234567890"),
    "outstandingBalance": Decimal("0.10"),
    "currentBalance": -0.0,
    "expiresInDays": -9223372036854775808,
    "rolloverToAtWill": False,
    "proofOfInsuranceProvidedAt": "2026-03-29T03:30:00.123456+02:00",
    "settings": {"a": [1, None, {"ü": "\u2028"}], "n": 1.5},
    "units": [],
    'Unknown Key "quoted", \\ and ü': {"deep": [[]]},
    "emptyText": "",
    "nothing": None,
    "createdAt": "1970-01-01T00:00:00Z",
    "updatedAt": "2026-01-01T00:00:00.000Z",
}


async def test_every_kind_of_value_arrives_unaltered(sync: Sync) -> None:
    raw = _exact(EVERY_KIND)
    sync.upstream.inject("leases", raw)
    assert (await sync.run("leases")).result == "succeeded"
    row = (await sync.rows("leases"))["every-kind"]
    assert row["name"] == EVERY_KIND["name"]
    assert row["notes"] == ""
    assert row["status"] is None
    assert row["reference"] is None
    assert (row["start"], row["end"]) == (date(2024, 2, 29), date(1, 1, 1))
    assert row["total_balance_due"] == EVERY_KIND["totalBalanceDue"]
    assert str(row["outstanding_balance"]) == "0.10"
    assert row["expires_in_days"] == -(2**63)
    assert row["rollover_to_at_will"] is False
    assert row["proof_of_insurance_provided_at"] == datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
    assert row["settings"] == {"a": [1, None, {"ü": "\u2028"}], "n": Decimal("1.5")}
    assert row["units"] == []
    assert row["_extra"] == {'Unknown Key "quoted", \\ and ü': {"deep": [[]]}, "emptyText": "", "nothing": None}
    await sync.assert_in_step("leases")


def _exact(record: dict[str, Any]) -> bytes:
    numbers = {f"@{name}@": str(value) for name, value in record.items() if isinstance(value, Decimal)}
    text = json.dumps(
        {name: f"@{name}@" if isinstance(value, Decimal) else value for name, value in record.items()},
        ensure_ascii=False,
    )
    for mark, number in numbers.items():
        text = text.replace(f'"{mark}"', number)
    return text.encode()


async def test_a_row_says_where_it_came_from(sync: Sync) -> None:
    run = await sync.run("owners")
    [changed] = sync.upstream.change("owners", update=1)["updated"]
    second = await sync.run("owners")
    for key, row in (await sync.rows("owners")).items():
        assert row["_source"] == "doorloop"
        assert row["_deleted_at"] is None
        assert row["_run_id"] == (second if key == changed else run).run_id
        assert (row["_changed_at"] > row["_first_seen_at"]) == (key == changed)
        assert row["_fetched_at"] == row["_changed_at"]


async def test_running_again_finds_everything_unchanged_and_writes_no_row(sync: Sync) -> None:
    await sync.run()
    before = await physical(sync, *ALL)
    run = await sync.run()
    assert counts_of(run) == {"unchanged": sum(SMALL.values())}
    after = await physical(sync, *ALL)
    assert after == before
    assert after.written == before.written


async def test_an_unchanged_run_adds_hardly_anything_to_the_wal_however_many_rows_there_are(dsn: str) -> None:
    async with serving(leases=4000) as upstream:
        sync = Sync(dsn, upstream)
        sync.page_size = 1000
        await sync.run("leases")
        loaded = await _wal(sync)
        run = await sync.run("leases")
        assert counts_of(run) == {"unchanged": 4000}
        assert await _wal(sync) - loaded < 500_000


async def _wal(sync: Sync) -> int:
    return int(await sync.value("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))


async def test_only_what_changed_is_written(sync: Sync) -> None:
    await sync.run()
    before = await physical(sync, *ALL)
    changed = sync.upstream.change("leases", update=5, touch=3)["updated"]
    created = sync.upstream.change("tenants", create=4)["created"]
    run = await sync.run()
    assert counts_of(entity_of(run, "leases")) == {"updated": 8, "unchanged": SMALL["leases"] - 8}
    assert counts_of(entity_of(run, "tenants")) == {"inserted": 4, "unchanged": SMALL["tenants"]}
    await sync.assert_in_step()
    after = await physical(sync, *ALL)
    assert _moved(before, after) == {("leases", key) for key in changed} | {("tenants", key) for key in created}
    assert after.written - before.written == 8 + 4


def _moved(before: Physical, after: Physical) -> set[tuple[str, str]]:
    return {key for key in after.tuples if after.tuples[key] != before.tuples.get(key)}

"""Fields that nobody documented: kept, given a column, or a reason to stop; and nothing is ever lost of them."""

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from keepstep.model.schema import SchemaPolicies
from keepstep.store import schema_fields
from tests.support.sync import Sync, counts_of, entity_of
from tests.support.upstream import SMALL, Upstream, serving

LEASES = SMALL["leases"]
EVOLVE, KEEP, STOP = (SchemaPolicies.parsed(text) for text in ("evolve", "keep", "keep, leases=stop"))


@pytest.fixture
async def sync(dsn: str) -> AsyncIterator[Sync]:
    """An account without undocumented fields, but for those that a test gives it."""
    async with serving(undocumented_fields=False) as upstream:
        yield Sync(dsn, upstream)


def give(sync: Sync, **fields: Any) -> list[str]:
    """Every lease has these fields from now on."""
    ids = sync.upstream.ids("leases")
    sync.upstream.change("leases", patch=dict.fromkeys(ids, fields))
    return ids


async def columns(sync: Sync) -> dict[str, str]:
    rows = await sync.sql(
        "SELECT column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'doorloop' AND table_name = 'leases'"
    )
    return {row["column_name"]: row["data_type"] for row in rows}


async def test_under_keep_an_unknown_field_stays_beside_the_columns_and_is_noted_once(sync: Sync) -> None:
    await sync.run("leases")
    give(sync, petPolicy="cats only")
    await sync.run("leases")
    told = [event for event in sync.events if event.type == "schema-drift"]
    await sync.run("leases")

    assert {row["_extra"]["petPolicy"] for row in (await sync.rows("leases")).values()} == {"cats only"}
    assert "pet_policy" not in await columns(sync)
    assert (len(told), "petPolicy" in told[0].msg) == (1, True)
    assert [event for event in sync.events if event.type == "schema-drift"] == []


async def test_under_evolve_the_next_run_adds_a_column_and_fills_it_for_every_row(sync: Sync) -> None:
    sync.policy = type(sync.policy)(schema=EVOLVE)
    give(sync, petPolicy='cats "only"', deposits=12.50, smoking=False, tags=["a"], mixed=1, nothing=None)
    sync.upstream.change("leases", patch={sync.upstream.ids("leases")[0]: {"mixed": "one"}})
    await sync.run("leases")
    before = await sync.rows("leases")
    assert "pet_policy" not in await columns(sync)

    delta = await sync.delta("leases")
    after = await sync.rows("leases")
    types = await columns(sync)
    same = await sync.run("leases")
    await sync.run("leases")

    assert {name: types[name] for name in ("pet_policy", "deposits", "smoking", "tags", "mixed")} == {
        "pet_policy": "text", "deposits": "numeric", "smoking": "boolean", "tags": "jsonb", "mixed": "jsonb",
    }  # fmt: skip
    assert "nothing" not in types
    assert {row["pet_policy"] for row in after.values()} == {'cats "only"'}
    assert {row["deposits"] for row in after.values()} == {Decimal("12.5")}
    assert {row["smoking"] for row in after.values()} == {False}
    assert {json.dumps(row["mixed"]) for row in after.values()} == {"1", '"one"'}
    assert not any({"petPolicy", "deposits", "smoking", "tags", "mixed"} & set(row["_extra"]) for row in after.values())
    assert {key: row["_changed_at"] for key, row in after.items()} == {k: r["_changed_at"] for k, r in before.items()}
    assert (counts_of(delta).get("inserted"), counts_of(same)) == (None, {"unchanged": LEASES})
    assert [event.type for event in sync.events if event.type.startswith("schema")] == []


async def test_what_evolved_keeps_its_column_and_is_filled_whatever_the_policy_becomes(sync: Sync) -> None:
    sync.policy = type(sync.policy)(schema=EVOLVE)
    ids = give(sync, petPolicy="none")
    await sync.run("leases")
    await sync.run("leases")
    sync.policy = type(sync.policy)(schema=KEEP)
    sync.upstream.change("leases", patch={ids[0]: {"petPolicy": "dogs"}})
    run = await sync.run("leases")
    rows = await sync.rows("leases")

    assert (rows[ids[0]]["pet_policy"], rows[ids[1]]["pet_policy"]) == ("dogs", "none")
    assert (counts_of(run), "petPolicy" in rows[ids[0]]["_extra"]) == ({"updated": 1, "unchanged": LEASES - 1}, False)


async def test_a_value_that_does_not_fit_an_evolved_column_stays_beside_it_and_its_record_is_in(sync: Sync) -> None:
    sync.policy = type(sync.policy)(schema=EVOLVE)
    ids = give(sync, petPolicy="none", deposits=5)
    await sync.run("leases")
    await sync.run("leases")
    sync.upstream.change("leases", patch={ids[0]: {"deposits": "five", "petPolicy": "dogs"}})
    await sync.run("leases")
    odd = (await sync.rows("leases"))[ids[0]]
    sync.upstream.change("leases", patch={ids[0]: {"deposits": 6}})
    await sync.run("leases")
    even = (await sync.rows("leases"))[ids[0]]

    assert (odd["deposits"], odd["_extra"]["deposits"], odd["pet_policy"]) == (None, "five", "dogs")
    assert (even["deposits"], "deposits" in even["_extra"]) == (Decimal(6), False)
    assert await sync.letters() == []


async def test_a_name_that_cannot_be_a_column_is_noted_and_not_tried_again(sync: Sync) -> None:
    sync.policy = type(sync.policy)(schema=EVOLVE)
    await sync.run("leases")
    await sync.sql("ALTER TABLE doorloop.leases ADD COLUMN rating integer")
    give(sync, rating=5, **{"x" * 80: 1, "_hash": "mine", "Größe": "L"})
    await sync.run("leases")
    await sync.run("leases")
    rows = await sync.rows("leases")
    async with sync.connection() as connection:
        met = {one.field: one for one in await schema_fields.of_shared(connection, "doorloop", "leases")}

    assert {met[name].column_name for name in ("rating", "x" * 80, "_hash", "Größe")} == {None}
    assert all(met[name].note for name in ("rating", "x" * 80, "_hash", "Größe"))
    assert {row["_extra"]["rating"] for row in rows.values()} == {5}
    assert {row["rating"] for row in rows.values()} == {None}, "a column of somebody else's is left alone"


async def test_under_stop_an_unknown_field_fails_the_entity_alone_and_nothing_of_its_page_is_written(
    sync: Sync,
) -> None:
    sync.policy = type(sync.policy)(schema=STOP)
    await sync.run("leases")
    before = await sync.rows("leases")
    ids = give(sync, petPolicy="none")
    run = await sync.run("leases", "owners")
    after = await sync.rows("leases")
    sync.policy = type(sync.policy)(schema=KEEP)
    again = await sync.run("leases")

    error = entity_of(run, "leases").error or {}
    assert [entity.state for entity in run.entities] == ["failed", "succeeded"]
    assert (error["code"], "petPolicy" in error["message"]) == ("schema-stop", True)
    assert "keepstep schema policy doorloop leases" in error["fix"]
    assert after == before
    assert (again.result, counts_of(again)) == ("succeeded", {"updated": len(ids)})


async def test_under_stop_what_was_kept_before_is_no_news(sync: Sync) -> None:
    give(sync, petPolicy="none")
    await sync.run("leases")
    sync.policy = type(sync.policy)(schema=STOP)
    ids = give(sync, petPolicy="dogs")
    run = await sync.run("leases")

    assert (run.result, counts_of(run)) == ("succeeded", {"updated": len(ids)})


@pytest.mark.parametrize("policy", ["evolve", "stop"])
async def test_a_dry_run_adds_no_column_and_notes_nothing(sync: Sync, policy: str) -> None:
    give(sync, petPolicy="none")
    await sync.run("leases")
    await sync.sql("DELETE FROM keepstep.schema_fields")
    sync.policy = type(sync.policy)(schema=SchemaPolicies.parsed(policy))
    run = await sync.run("leases", dry_run=True)

    assert run.result == "succeeded"
    assert "pet_policy" not in await columns(sync)
    assert await sync.sql("SELECT FROM keepstep.schema_fields") == []


async def test_a_requeued_record_fills_the_evolved_columns_too(sync: Sync) -> None:
    sync.policy = type(sync.policy)(schema=EVOLVE)
    ids = give(sync, petPolicy="none")
    await sync.run("leases")
    await sync.run("leases")
    sync.upstream.change("leases", patch={ids[0]: {"petPolicy": "dogs", "totalBalanceDue": "twelve"}})
    await sync.run("leases")
    [letter] = await sync.letters()
    cured = bytes(letter["payload"]).replace(b'"twelve"', b"12")
    await sync.sql("UPDATE keepstep.dead_letters SET payload = %s", cured)
    [result] = await sync.commands.requeue([letter["id"]], by="ana")
    row = (await sync.rows("leases"))[ids[0]]

    assert result.result == "requeued", result
    assert (row["pet_policy"], row["total_balance_due"]) == ("dogs", Decimal(12))
    assert "petPolicy" not in row["_extra"]


async def test_undocumented_fields_of_a_whole_account_evolve_and_stay_in_step(dsn: str, upstream: Upstream) -> None:
    sync = Sync(dsn, upstream)
    sync.policy = type(sync.policy)(schema=EVOLVE)
    await sync.run()
    await sync.run()
    evolved = await sync.value("SELECT count(*) FROM keepstep.schema_fields WHERE column_name IS NOT NULL")
    same = await sync.run()

    assert evolved > 0
    assert set(counts_of(same)) == {"unchanged"}

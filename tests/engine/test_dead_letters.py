"""A bad record never stops a good one: it is set apart with its reason, and comes in once it is good."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from keepstep.integrations.doorloop.emulator.poison import POISONS
from tests.support.sync import Sync, counts_of
from tests.support.upstream import SMALL, some

WITHOUT_ID = (
    "number-for-id", "mapping-for-id", "missing-id", "null-id", "empty-id", "nul-in-id",
    "list-record", "text-record", "number-record", "null-record",
)  # fmt: skip
WITH_ID = tuple(kind for kind in POISONS if kind not in WITHOUT_ID and kind != "duplicate-id")
REASONS = {
    "nul-in-text": "Field notes: holds a NUL character, which PostgreSQL cannot store",
    "nul-in-nested": "Field settings: holds a NUL character",
    "nul-in-undocumented": "Field importedFrom: holds a NUL character",
    "nul-in-key": "Field settings: holds a NUL character",
    "lone-surrogate": "half of a surrogate pair, which PostgreSQL cannot store",
    "lone-surrogate-in-nested": "half of a surrogate pair",
    "number-out-of-range": "Field totalBalanceDue: the number is out of the range that PostgreSQL can hold",
    "nested-number-out-of-range": "PostgreSQL refused it: value overflows numeric format.",
    "beyond-bigint": "Field expiresInDays: the whole number is out of range",
    "fraction-for-integer": "Field expiresInDays: expected a whole number, found one with decimals",
    "impossible-date": "Field start: no such date",
    "impossible-timestamp": "Field updatedAt: no such moment",
    "soon-for-date": 'Field start: expected a date, such as 2026-01-31 (got "soon")',
    "text-for-number": "Field totalBalanceDue: expected a number, found text",
    "number-for-text": "Field name: expected text, found a number (got 12345)",
    "mapping-for-text": "Field name: expected text, found an object",
    "list-for-text": "Field name: expected text, found a list",
    "ten-megabytes": "The record is 10.0 MB",
    "deep": "The record is nested too deeply",
    "deep-mapping": "The record is nested too deeply",
}


async def test_every_poison_record_is_set_apart_and_the_rest_of_its_page_is_in_the_table(sync: Sync) -> None:
    sync.upstream.poison("leases", *POISONS)
    sync.page_size = 1000
    run = await sync.run("leases")
    assert run.result == "succeeded"
    assert counts_of(run) == {"inserted": SMALL["leases"], "dead_lettered": len(POISONS)}
    assert run.entities[0].completeness == f"completeness unproven: {len(WITHOUT_ID)} records came without an id"
    letters = await sync.letters()
    assert len(letters) == len(POISONS)
    for letter in letters:
        assert 15 < len(letter["reason"]) < 400
        assert letter["reason"].endswith(".")
        assert letter["reason"].isprintable()
    await sync.assert_in_step(
        "leases", apart_from=[letter["record_key"] for letter in letters if letter["kind"] != "duplicate"]
    )


@pytest.mark.parametrize("kind", WITH_ID)
def test_every_poison_with_an_id_has_a_reason_to_expect(kind: str) -> None:
    assert kind in REASONS


async def test_the_reason_says_which_field_and_what_is_wrong_with_it(sync: Sync) -> None:
    by_key = {sync.upstream.poison("leases", kind)[0]: kind for kind in WITH_ID}
    await sync.run("leases")
    letters = {letter["record_key"]: letter for letter in await sync.letters()}
    assert letters.keys() == by_key.keys()
    truth = await sync.upstream.truth("leases")
    for key, kind in by_key.items():
        assert REASONS[kind] in letters[key]["reason"]
        assert bytes(letters[key]["payload"]) in truth


async def test_a_record_that_turns_bad_leaves_its_row_as_it_was(sync: Sync) -> None:
    await sync.run("leases")
    before = await sync.rows("leases")
    spoiled = some(sync.upstream.ids("leases"), len(WITH_ID))
    for key, kind in zip(spoiled, WITH_ID, strict=True):
        sync.upstream.poison("leases", kind, replace=key)
    run = await sync.run("leases")
    assert counts_of(run) == {"unchanged": SMALL["leases"] - len(WITH_ID), "dead_lettered": len(WITH_ID)}
    assert run.entities[0].completeness == f"complete: all {SMALL['leases']} records seen"
    assert await sync.rows("leases") == before
    assert {letter["record_key"] for letter in await sync.letters()} == set(spoiled)


async def test_the_same_poison_again_only_raises_its_count(sync: Sync) -> None:
    sync.upstream.poison("leases", *POISONS)
    await sync.run("leases")
    first = await sync.letters()
    run = await sync.run("leases")
    assert counts_of(run) == {"unchanged": SMALL["leases"], "dead_lettered": len(POISONS)}
    second = await sync.letters()
    assert [letter["id"] for letter in second] == [letter["id"] for letter in first]
    assert {letter["attempts"] for letter in second} == {2}
    for before, after in zip(first, second, strict=True):
        assert after["created_at"] == before["created_at"]
        assert after["last_seen_at"] > before["last_seen_at"]


async def test_a_dead_letter_resolves_itself_once_its_record_arrives_good(sync: Sync) -> None:
    sync.upstream.poison("leases", *POISONS)
    await sync.run("leases")
    cured = sync.upstream.cure("leases")
    run = await sync.run("leases")
    assert counts_of(run)["inserted"] == cured - 1  # the duplicate had no good form
    assert "dead_lettered" not in counts_of(run)
    assert await sync.letters() == []
    resolved = await sync.letters("resolved")
    assert len(resolved) == len(POISONS)
    assert {letter["closed_by"] for letter in resolved} == {"keepstep"}
    await sync.assert_in_step("leases")


async def test_a_dead_letter_whose_record_is_deleted_upstream_is_closed_by_a_complete_reading_only(sync: Sync) -> None:
    [bad] = sync.upstream.poison("leases", "nul-in-text")
    await sync.run("leases")
    sync.upstream.change("leases", delete=[bad])
    sync.upstream.change("leases", update=2)
    await sync.delta("leases")
    assert [letter["record_key"] for letter in await sync.letters()] == [bad]
    await sync.run("leases")
    [letter] = await sync.letters("resolved")
    assert letter["note"] == "A complete reading no longer found the record."


async def test_many_poison_records_at_once_are_all_found(sync: Sync) -> None:
    sync.upstream.poison("leases", "nested-number-out-of-range", "nul-in-text", "beyond-bigint", count=120)
    sync.page_size = 1000
    run = await sync.run("leases")
    assert counts_of(run) == {"inserted": SMALL["leases"], "dead_lettered": 360}
    assert len(await sync.letters()) == 360


BROKEN: dict[str, bytes] = {
    "not UTF-8": b'{"id":"@","name":"\xff\xfe"}',
    "a time that is not UTF-8": b'{"id":"@","updatedAt":"\xed\xa0\x80"}',
    "a name that is not UTF-8": b'{"id":"@","\xff\xfe":1}',
    "NaN": b'{"id":"@","totalBalanceDue":NaN}',
    "minus infinity": b'{"id":"@","totalBalanceDue":-Infinity}',
    "a control character in a text": b'{"id":"@","name":"a\x01b"}',
    "an id of 2000 characters": b'{"id":"@%s"}' % (b"x" * 2000),
    "half a surrogate in a name": b'{"id":"@","na\\udc00me":1}',
    "a NUL in a name": b'{"id":"@","na\\u0000me":1}',
    "a timestamp without a zone": b'{"id":"@","updatedAt":"2026-01-01T00:00:00"}',
    "a timestamp in nanoseconds": b'{"id":"@","updatedAt":"2026-01-01T00:00:00.123456789Z"}',
    "a year 10000": b'{"id":"@","start":"10000-01-01"}',
    "a year 0": b'{"id":"@","start":"0000-01-01"}',
    "a day as a timestamp": b'{"id":"@","start":"2026-01-01T00:00:00Z"}',
    "infinity for a date": b'{"id":"@","start":"infinity"}',
    "now for a timestamp": b'{"id":"@","updatedAt":"now"}',
    "a second 60": b'{"id":"@","updatedAt":"2016-12-31T23:59:60Z"}',
    "text for true": b'{"id":"@","rolloverToAtWill":"true"}',
    "1 for true": b'{"id":"@","rolloverToAtWill":1}',
    "true for a number": b'{"id":"@","totalBalanceDue":true}',
    "a number too small to be kept": b'{"id":"@","totalBalanceDue":1e-20000}',
    "a nested number too small to be kept": b'{"id":"@","settings":{"a":1e-20000}}',
    "a whole number as 1e30": b'{"id":"@","expiresInDays":1e30}',
}


@pytest.mark.parametrize("name", BROKEN)
async def test_what_cannot_be_held_exactly_is_set_apart(sync: Sync, name: str) -> None:
    sync.upstream.inject("leases", BROKEN[name].replace(b"@", b"broken"))
    run = await sync.run("leases")
    assert counts_of(run) == {"inserted": SMALL["leases"], "dead_lettered": 1}
    [letter] = await sync.letters()
    assert letter["reason"].isprintable()
    assert bytes(letter["payload"]) == BROKEN[name].replace(b"@", b"broken")
    assert "broken" not in await sync.rows("leases")


# What a user's own table refuses


@pytest.fixture
def refusals() -> Iterator[dict[str, str]]:
    yield {
        "check": "ALTER TABLE doorloop.leases ADD CONSTRAINT mine CHECK (coalesce(notes, '') NOT LIKE 'bad%%')",
        "unique": "CREATE UNIQUE INDEX mine ON doorloop.leases (notes) WHERE notes LIKE 'bad%%'",
        "not null": "ALTER TABLE doorloop.leases ALTER COLUMN notes SET NOT NULL",
        "trigger": _trigger("BEFORE", "RAISE EXCEPTION 'we do not want it'"),
        "trigger with a code of its own": _trigger(
            "BEFORE", "RAISE EXCEPTION 'we do not want it' USING ERRCODE = 'K0001'"
        ),
        "trigger that counts on something": _trigger("AFTER", "PERFORM 1 / 0"),
        "trigger at the end": _trigger("AFTER", "RAISE EXCEPTION 'we do not want it'", deferred=True),
    }


def _trigger(when: str, action: str, *, deferred: bool = False) -> str:
    kind, timing = ("CONSTRAINT TRIGGER", "DEFERRABLE INITIALLY DEFERRED") if deferred else ("TRIGGER", "")
    return f"""
        CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.notes LIKE 'bad%%' THEN {action}; END IF; RETURN NEW; END $$;
        CREATE {kind} mine {when} INSERT OR UPDATE ON doorloop.leases {timing} FOR EACH ROW EXECUTE FUNCTION mine()
    """


@pytest.mark.parametrize(
    "which",
    ["check", "trigger", "trigger with a code of its own", "trigger that counts on something", "trigger at the end"],
)
async def test_exactly_the_rows_that_the_database_refuses_are_set_apart(
    sync: Sync, refusals: dict[str, str], which: str
) -> None:
    await sync.run("leases")
    await sync.sql(refusals[which])
    old = await sync.rows("leases")
    ids = some(sync.upstream.ids("leases"), 12)
    bad, good = ids[::3], [key for place, key in enumerate(ids) if place % 3]
    patch: dict[str, dict[str, Any]] = {key: {"notes": "bad"} for key in bad} | {key: {"notes": "ok"} for key in good}
    sync.upstream.change("leases", patch=patch)
    for number in range(5):
        record = {
            **sync.upstream.records("leases")[number],
            "id": f"new-{number}",
            "notes": "bad" if number < 2 else "ok",
        }
        sync.upstream.inject("leases", json.dumps(record).encode())
    sync.page_size = 1000
    run = await sync.run("leases")
    assert run.result == "succeeded"
    assert counts_of(run) == {"inserted": 3, "updated": 8, "unchanged": SMALL["leases"] - 12, "dead_lettered": 6}
    letters = await sync.letters()
    assert {letter["record_key"] for letter in letters} == {*bad, "new-0", "new-1"}
    assert all(letter["reason"].startswith("PostgreSQL refused it: ") for letter in letters)
    rows = await sync.rows("leases")
    assert all(rows[key] == old[key] for key in bad)
    await sync.assert_in_step("leases", apart_from=[*bad, "new-0", "new-1"])

    await sync.sql("DROP FUNCTION IF EXISTS mine() CASCADE")
    await sync.sql("ALTER TABLE doorloop.leases DROP CONSTRAINT IF EXISTS mine")
    assert counts_of(await sync.run("leases")) == {"inserted": 2, "updated": 4, "unchanged": SMALL["leases"] - 1}
    assert await sync.letters() == []
    await sync.assert_in_step("leases")


async def test_of_rows_that_exclude_each_other_the_first_is_taken(sync: Sync, refusals: dict[str, str]) -> None:
    await sync.run("leases")
    await sync.sql(refusals["unique"])
    sync.upstream.change("leases", patch={key: {"notes": "bad"} for key in some(sync.upstream.ids("leases"), 5)})
    run = await sync.run("leases")
    assert counts_of(run) == {"updated": 1, "unchanged": SMALL["leases"] - 5, "dead_lettered": 4}
    assert all("duplicate key value" in letter["reason"] for letter in await sync.letters())


# What people do with them


async def test_a_requeued_dead_letter_goes_into_the_table_once_the_obstacle_is_gone(
    sync: Sync, refusals: dict[str, str]
) -> None:
    await sync.run("leases")
    await sync.sql(refusals["check"])
    [key] = some(sync.upstream.ids("leases"), 1)
    sync.upstream.change("leases", patch={key: {"notes": "bad \\ \n"}})
    run = await sync.run("leases")
    [letter] = await sync.letters()

    [answer] = await sync.commands.requeue([letter["id"]], by="ann")
    assert answer.result == "failed"
    assert "violates check constraint" in answer.reason
    assert [known["attempts"] for known in await sync.letters()] == [2]

    await sync.sql("ALTER TABLE doorloop.leases DROP CONSTRAINT mine")
    [answer] = await sync.commands.requeue([letter["id"]], by="ann")
    assert answer.result == "requeued"
    await sync.assert_in_step("leases")
    assert (await sync.rows("leases"))[key]["_run_id"] == run.run_id
    [resolved] = await sync.letters("resolved")
    assert resolved["closed_by"] == "ann"
    [answer] = await sync.commands.requeue(
        [
            letter["id"],
        ],
        by="ann",
    )
    assert answer.result == "resolved"
    assert counts_of(await sync.run("leases")) == {"unchanged": SMALL["leases"]}


async def test_requeueing_what_is_still_bad_keeps_it_open_with_its_reason(sync: Sync) -> None:
    sync.upstream.poison("leases", *POISONS)
    await sync.run("leases")
    letters = await sync.letters()
    answers = await sync.commands.requeue([letter["id"] for letter in letters], by="ann")
    assert {answer.result for answer in answers} == {"failed"}
    for before, after in zip(letters, await sync.letters(), strict=True):
        assert after["attempts"] == before["attempts"] + 1
        assert after["kind"] == before["kind"]
    await sync.assert_in_step("leases", apart_from=[letter["record_key"] for letter in letters])


async def test_a_discarded_dead_letter_is_closed_and_a_new_sight_opens_another(sync: Sync) -> None:
    sync.upstream.poison("leases", "nul-in-text")
    await sync.run("leases")
    [letter] = await sync.letters()
    [answer] = await sync.commands.discard([letter["id"]], by="ann", reason="known and harmless")
    assert answer.result == "discarded"
    [discarded] = await sync.letters("discarded")
    assert (discarded["closed_by"], discarded["note"]) == ("ann", "known and harmless")
    await sync.run("leases")
    [again] = await sync.letters()
    assert again["id"] != letter["id"]
    logged = await sync.sql('SELECT "user", action FROM keepstep.admin_logs')
    assert logged == [{"user": "ann", "action": "dlq.discard"}]

"""Google Contacts in step with PostgreSQL: whole runs against the emulator over HTTP, and a real database."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from keepstep.model.integration import Mode
from tests.support.google import GoogleSync, google_account
from tests.support.sync import counts_of, entity_of

PEOPLE = 60
EXPIRED = ("400", "400-failed-precondition", "410", "410-bare")


@pytest.fixture
async def google(dsn: str) -> AsyncIterator[GoogleSync]:
    async with google_account(people=PEOPLE) as account:
        yield GoogleSync(dsn, account)


def with_identifier(google: GoogleSync, count: int) -> list[str]:
    """Some people who are contacts."""
    reachable = ("emailAddresses", "phoneNumbers")
    found = [p["resourceName"] for p in google.emulator.records() if any(field in p for field in reachable)]
    return found[:: len(found) // count][:count]


async def test_the_first_run_brings_everybody_and_counts_who_has_no_identifier(google: GoogleSync) -> None:
    run = await google.delta()

    connections, contacts = entity_of(run, "connections"), entity_of(run, "contacts")
    synced = len(google.google.truth("contacts"))
    assert counts_of(connections) == {"inserted": PEOPLE}
    assert counts_of(contacts) == {"inserted": synced}
    assert contacts.skipped == run.skipped == {"skipped_no_identifier": PEOPLE - synced}
    assert 0 < synced < PEOPLE
    assert connections.completeness == contacts.completeness == f"complete: all {PEOPLE} records seen"
    assert await google.letters() == []
    await google.assert_in_step()


async def test_both_entities_are_made_of_one_reading(google: GoogleSync) -> None:
    first = await google.delta()
    google.emulator.change(update=30)
    second = await google.delta()

    assert [entity.requests for entity in (*first.entities, *second.entities)] == [3, 0, 2, 0]
    assert google.google.asked("syncToken")[:3] == [None, None, None]
    assert google.google.requests() == 5


async def test_a_delta_brings_what_is_new_changed_deleted_and_has_lost_its_identifier(google: GoogleSync) -> None:
    await google.delta()
    deleted, stripped, updated = (with_identifier(google, 9)[n::3] for n in range(3))
    created = google.emulator.change(create=4, delete=deleted, strip=stripped, update=updated)["created"]

    run = await google.delta()

    new_contacts = {*created} & await google.live("contacts")
    assert counts_of(entity_of(run, "connections")) == {"inserted": 4, "updated": 6, "deleted": 3}
    assert counts_of(entity_of(run, "contacts")) == {"inserted": len(new_contacts), "updated": 3, "deleted": 6}
    assert entity_of(run, "contacts").skipped["skipped_no_identifier"] == 3 + 4 - len(new_contacts)
    await google.assert_in_step()
    assert counts_of(await google.delta()) == {}


async def test_a_contact_that_gets_an_identifier_again_returns(google: GoogleSync) -> None:
    await google.delta()
    [name] = with_identifier(google, 1)
    google.emulator.change(strip=[name])
    await google.delta()
    assert name not in await google.live("contacts")

    google.emulator.change(patch={name: {"phoneNumbers": [{"value": "06 1234"}]}})
    run = await google.delta()

    assert counts_of(entity_of(run, "contacts")) == {"updated": 1}
    await google.assert_in_step()


async def test_merged_and_renamed_people_leave_no_row_under_their_old_names(google: GoogleSync) -> None:
    await google.delta()
    first, second, third = with_identifier(google, 3)
    moved = google.emulator.change(merge=[first, second], rename=[third])

    run = await google.delta()

    assert counts_of(entity_of(run, "connections")) == {"inserted": 2, "deleted": 3}
    assert {moved["merged"], *moved["renamed"].values()} <= await google.live("contacts")
    assert not {first, second, third} & (await google.live("contacts") | await google.live("connections"))
    assert await google.live("connections") == set(google.emulator.account().names())


@pytest.mark.parametrize("form", EXPIRED)
async def test_an_expired_sync_token_leads_to_a_full_reading_that_finds_deletions(
    google: GoogleSync, form: str
) -> None:
    await google.delta()
    google.emulator.change(create=2, update=5, delete=with_identifier(google, 4))
    google.emulator.switch(expired_as=form)
    google.emulator.expire()

    run = await google.delta()

    assert run.result == "succeeded"
    assert counts_of(entity_of(run, "connections"))["deleted"] == 4
    assert [event.entity for event in google.events if event.type == "changes-lost"] == ["connections", "contacts"]
    await google.assert_in_step()
    google.emulator.reset_requests()
    assert counts_of(await google.delta()) == {}
    assert google.google.requests() == 1


async def test_a_sync_token_lives_seven_days_from_the_full_reading_on(google: GoogleSync) -> None:
    await google.delta()
    google.emulator.set_clock(offset_s=4 * 86400)
    google.emulator.change(update=1)
    fourth = await google.delta()
    google.emulator.set_clock(offset_s=7.1 * 86400)
    google.emulator.change(delete=1)
    eighth = await google.delta()

    assert [entity.completeness for entity in fourth.entities] == [None, None]
    assert all(entity.completeness for entity in eighth.entities)
    assert await google.differences("contacts", "connections") == []


async def test_a_mass_deletion_found_by_a_full_reading_waits_for_a_person(google: GoogleSync) -> None:
    await google.delta()
    google.emulator.change(delete=PEOPLE - 5)
    google.emulator.expire()

    run = await google.delta()

    assert run.result == "held"
    assert len(await google.live("connections")) == PEOPLE


async def test_a_mass_deletion_that_upstream_tells_waits_for_a_person_too(google: GoogleSync) -> None:
    await google.delta()
    google.emulator.change(delete=PEOPLE - 5)

    run = await google.delta()

    assert [entity.state for entity in run.entities] == ["held", "held"]
    assert len(await google.live("connections")) == PEOPLE
    await google.commands.approve(run.run_id, by="anna", reason="They are gone.")
    await google.assert_in_step()
    assert counts_of(await google.delta()) == {}


async def test_the_sync_token_is_kept_when_the_reading_has_ended_and_not_before(google: GoogleSync) -> None:
    google.emulator.fault("503", page=3, forever=True)
    failed = await google.delta(flush_rows=1)
    assert failed.result == "failed"
    assert await google.facts("connections") == {}
    assert len(await google.live("connections")) == 40
    google.emulator.clear_faults()
    google.emulator.reset_requests()

    await google.delta()

    assert entity_of(await google.views.run(failed.run_id + 1), "connections").resumed
    assert google.google.asked("pageToken")[0] is not None
    assert (await google.facts("connections"))["sync_token"]
    await google.assert_in_step()


async def test_changes_go_on_where_they_were_interrupted(google: GoogleSync) -> None:
    await google.delta()
    google.emulator.change(update=45, delete=3)
    google.emulator.fault("503", page=3, forever=True)
    token = (await google.facts("connections"))["sync_token"]
    assert (await google.delta(flush_rows=1)).result == "failed"
    assert (await google.facts("connections"))["sync_token"] == token
    google.emulator.clear_faults()
    google.emulator.reset_requests()

    run = await google.delta()

    assert entity_of(run, "connections").resumed
    assert entity_of(run, "connections").requests == 1
    await google.assert_in_step()


async def test_a_full_reading_whose_place_is_gone_begins_again(google: GoogleSync) -> None:
    await google.delta()
    google.emulator.fault("503", page=3, forever=True)
    assert (await google.run("connections", flush_rows=1)).result == "failed"
    google.emulator.clear_faults()
    google.emulator.fault("400", page=3)

    run = await google.run("connections")

    assert run.result == "succeeded"
    assert any("cannot go on where it was interrupted" in event.msg for event in google.events)
    await google.assert_in_step()


async def test_a_full_reading_that_goes_on_after_people_went_begins_again(google: GoogleSync) -> None:
    await google.delta()
    google.emulator.switch(paging="offset")
    google.emulator.fault("503", page=3, forever=True)
    assert (await google.run("connections", flush_rows=1)).result == "failed"
    google.emulator.clear_faults()
    google.emulator.change(delete=google.emulator.account().names()[:3])

    run = await google.run("connections")

    assert any("the listing has moved" in event.msg for event in google.events)
    assert counts_of(run)["deleted"] == 3
    await google.assert_in_step("connections")


async def test_people_who_shift_between_pages_are_never_taken_for_deleted(google: GoogleSync) -> None:
    await google.delta()
    google.emulator.switch(paging="offset")
    google.emulator.fault("shift", page=1, rows=3)

    run = await google.run("connections")

    assert counts_of(run)["deleted"] == 3
    await google.assert_in_step("connections")


async def test_without_a_sync_token_the_next_run_reads_everything(google: GoogleSync) -> None:
    google.emulator.fault("no-sync-token", page=3)
    await google.delta("connections")
    assert await google.facts("connections") == {}
    google.emulator.change(delete=2)

    run = await google.delta("connections")

    assert counts_of(run) == {"unchanged": PEOPLE - 2, "deleted": 2}
    assert (await google.facts("connections"))["sync_token"]


async def test_another_page_size_does_not_spoil_the_sync_token(google: GoogleSync) -> None:
    await google.delta()
    google.emulator.change(update=3)
    google.page_size = 50

    run = await google.delta()

    assert [entity.completeness for entity in run.entities] == [None, None]
    assert google.google.asked("pageSize")[-1] == "20"
    await google.run(mode=Mode.BACKFILL)
    assert google.google.asked("pageSize")[-1] == "50"


async def test_a_since_from_before_the_sync_token_reads_everything(google: GoogleSync) -> None:
    await google.delta()

    early = await google.delta(since=datetime(2020, 1, 1, tzinfo=UTC))
    late = await google.delta(since=datetime.now(UTC))

    assert [entity.completeness is not None for entity in early.entities] == [True, True]
    assert [entity.completeness is not None for entity in late.entities] == [False, False]


async def test_the_quota_of_the_first_page_lets_the_run_wait_in_the_database(google: GoogleSync) -> None:
    google.emulator.switch(first_page_quota=1)
    await google.delta()
    google.emulator.expire()

    waiting = await google.run_queued("connections", mode=Mode.DELTA)

    assert waiting.result == "waiting"
    assert waiting.error is not None
    assert waiting.error["code"] == "rate-limited"
    google.emulator.switch(first_page_quota=0)
    await google.let_time_pass()
    assert (await google.run_queued("connections")).result == "succeeded"
    await google.assert_in_step("connections")


async def test_a_dry_run_tells_of_deletions_and_moves_no_token(google: GoogleSync) -> None:
    await google.delta()
    facts = await google.facts("connections")
    google.emulator.change(update=2, delete=with_identifier(google, 3))

    run = await google.delta(dry_run=True)

    reports: list[Any] = [entity.report for entity in run.entities]
    assert [report["deleted"] for report in reports] == [3, 3]
    assert await google.facts("connections") == facts
    assert len(await google.live("connections")) == PEOPLE
    assert counts_of(await google.delta())["deleted"] == 6


async def test_a_person_that_cannot_be_read_is_a_dead_letter_of_both_and_deletes_nobody(google: GoogleSync) -> None:
    await google.delta()
    name = with_identifier(google, 1)[0]
    google.emulator.inject(b'{"resourceName":"%b","names":[{"displayName":"\xff"}]}' % name.encode(), name)

    await google.delta()

    assert sorted(letter["entity"] for letter in await google.letters()) == ["connections", "contacts"]
    assert {name} <= await google.live("connections") & await google.live("contacts")
    google.emulator.change(delete=[name])
    await google.delta()
    assert await google.letters() == []
    await google.assert_in_step()


async def test_revoked_consent_fails_the_run_once_and_asks_for_reconnecting(google: GoogleSync) -> None:
    await google.delta()
    google.emulator.revoke()
    google.emulator.reset_requests()

    run = await google.delta()

    assert run.result == "failed"
    assert run.error is not None
    assert run.error["code"] == "needs-reconnect"
    assert "again" in run.error["fix"]
    assert [request.path for request in google.emulator.requests()] == ["/v1/people/me/connections", "/token"]
    assert len(await google.live("connections")) == PEOPLE

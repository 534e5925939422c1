"""The Google Contacts connector against the emulator, over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keepstep.integrations.google_contacts.entities import CONNECTIONS, CONTACTS, PERSON_FIELDS
from keepstep.integrations.google_contacts.position import MASK
from keepstep.model.errors import ChangesLost, UpstreamError
from keepstep.model.integration import Mode, Reading
from tests.integrations.conformance import Conformance
from tests.integrations.google_contacts.account import GoogleUpstream, delta, facts_of
from tests.integrations.google_contacts.persons import person, raw
from tests.integrations.upstream import keys_of, opened, read_all, records_of, skipped_by, watermark
from tests.support.clock import HurriedClock


class TestGoogleContacts(Conformance):
    """Google Contacts passes the suite of all integrations."""


@pytest.mark.parametrize(
    ("fault", "kind", "code", "says", "fix"),
    [
        ({"kind": "401"}, "needs-reconnect", "needs-reconnect", "401", "again"),
        ({"kind": "403"}, "permanent", "access-denied", "403", "access"),
        ({"kind": "disabled"}, "permanent", "api-disabled", "not switched on", "console"),
        ({"kind": "usage-limit"}, "rate-limited", "rate-limited", "too many requests", "by itself"),
        ({"kind": "404"}, "permanent", "endpoint-unknown", "404", "GOOGLE_CONTACTS_BASE_URL"),
        ({"kind": "400"}, "permanent", "request-rejected", "invalid argument", "people.connections"),
        ({"kind": "429"}, "rate-limited", "rate-limited", "without saying", "by itself"),
        ({"kind": "429", "retry_after": 600}, "rate-limited", "rate-limited", "600 s", "by itself"),
        ({"kind": "500"}, "transient", "upstream-failed", "500", "support"),
        ({"kind": "html"}, "not-data", "html-instead-of-data", "web page", "GOOGLE_CONTACTS_BASE_URL"),
        ({"kind": "envelope", "variant": "items"}, "not-data", "wrong-envelope", "something else", "support"),
        ({"kind": "envelope", "variant": "list"}, "not-data", "wrong-envelope", "no object", "support"),
        ({"kind": "envelope", "variant": "null"}, "not-data", "wrong-envelope", "not a list", "support"),
        ({"kind": "envelope", "variant": "token-number"}, "not-data", "wrong-envelope", "token", "support"),
        ({"kind": "envelope", "variant": "total-text"}, "not-data", "wrong-envelope", "total", "support"),
        ({"kind": "envelope", "variant": "wrapped"}, "not-data", "wrong-envelope", "something else", "support"),
        ({"kind": "truncate", "variant": "body"}, "not-data", "json-cut-off", "not whole JSON", "PAGE_SIZE"),
        ({"kind": "repeat"}, "not-data", "page-repeats", "repeats", "proxy"),
    ],
)
async def test_each_answer_says_what_happened_and_what_to_do(
    upstream: GoogleUpstream, fault: dict[str, Any], kind: str, code: str, says: str, fix: str
) -> None:
    upstream.emulator.fault(**fault, count=None)
    google = upstream.google(clock=HurriedClock())

    with pytest.raises(UpstreamError) as raised:
        await read_all(google, CONNECTIONS)

    assert (raised.value.kind, raised.value.code) == (kind, code)
    assert says in raised.value.message
    assert fix in raised.value.fix


async def test_a_token_that_google_repeats_in_an_answer_is_not_shown(upstream: GoogleUpstream) -> None:
    echo = raw(person("people/echo", biographies=[{"value": f"Bearer {upstream.secret}"}]))
    upstream.emulator.reset(people=0)
    upstream.emulator.inject(bytes(echo), "people/echo")
    upstream.emulator.fault("truncate", variant="body", keep=0.97, count=None)

    with pytest.raises(UpstreamError) as raised:
        await read_all(upstream.google(), CONNECTIONS)

    assert raised.value.answer is not None
    assert "Bearer ****" in raised.value.answer.snippet
    assert upstream.secret not in f"{raised.value} {raised.value.answer}"


async def test_every_request_of_a_reading_and_of_those_after_it_asks_the_same(upstream: GoogleUpstream) -> None:
    facts = facts_of(await read_all(upstream.google(page_size=40), CONNECTIONS))
    upstream.emulator.change(update=90)

    await read_all(upstream.google(page_size=33), CONNECTIONS, delta(facts))

    assert upstream.requests() == 4 + 3
    assert set(upstream.asked("personFields")) == {MASK}
    assert set(upstream.asked("pageSize")) == {"40"}
    assert set(upstream.asked("requestSyncToken")) == {"true"}
    assert set(upstream.asked("sortOrder")) == {None}
    assert upstream.asked("syncToken")[:4] == [None] * 4
    assert len(set(upstream.asked("syncToken")[4:])) == 1
    assert len(PERSON_FIELDS) == len(set(PERSON_FIELDS)) == 29


async def test_the_sync_token_comes_with_the_last_page_only(upstream: GoogleUpstream) -> None:
    pages = await read_all(upstream.google(page_size=40), CONNECTIONS)

    assert [page.facts is not None for page in pages] == [False, False, False, True]


@pytest.mark.parametrize("form", ["400", "400-failed-precondition", "410", "410-bare"])
async def test_an_expired_token_means_that_the_changes_are_lost_in_every_form(
    upstream: GoogleUpstream, form: str
) -> None:
    google = upstream.google()
    facts = facts_of(await read_all(google, CONNECTIONS))
    upstream.emulator.switch(expired_as=form)
    upstream.emulator.expire()
    upstream.forget()

    for _ in range(2):
        with pytest.raises(ChangesLost) as raised:
            async with opened(google, CONNECTIONS, delta(facts)) as pages:
                await anext(pages)
        assert raised.value.code == "changes-lost"

    assert upstream.requests() == 1, "a token that has expired does not come to life again"


async def test_another_400_is_no_expired_token(upstream: GoogleUpstream) -> None:
    google = upstream.google()
    facts = facts_of(await read_all(google, CONNECTIONS))
    upstream.emulator.fault("400")

    with pytest.raises(UpstreamError) as raised:
        async with opened(google, CONNECTIONS, delta(facts)) as pages:
            await anext(pages)

    assert raised.value.code == "request-rejected"


@pytest.mark.parametrize(
    "facts",
    [
        {}, {"sync_token": ""}, {"sync_token": 5, "size": 20, "mask": MASK}, {"sync_token": "x", "mask": MASK},
        {"sync_token": "x", "size": 20, "mask": "names"}, {"sync_token": "x", "size": 20, "mask": MASK, "high": "soon"},
        {"sync_token": "x", "size": 20, "mask": MASK, "began": "first"},
    ],
)  # fmt: skip
async def test_without_a_usable_token_no_request_is_made_before_everything_is_asked_for(
    upstream: GoogleUpstream, facts: dict[str, Any]
) -> None:
    with pytest.raises(ChangesLost):
        async with opened(upstream.google(), CONNECTIONS, delta(facts)) as pages:
            await anext(pages)

    assert upstream.requests() == 0


async def test_a_token_made_with_other_parameters_is_refused_by_google_and_never_sent(upstream: GoogleUpstream) -> None:
    facts = facts_of(await read_all(upstream.google(page_size=40), CONNECTIONS))
    wrong = {**facts, "size": 41}

    with pytest.raises(UpstreamError) as raised:
        await read_all(upstream.google(), CONNECTIONS, delta(wrong))

    assert "mismatch" in raised.value.message


async def test_changes_hold_what_is_gone_and_a_full_reading_does_not(upstream: GoogleUpstream) -> None:
    google = upstream.google()
    facts = facts_of(await read_all(google, CONNECTIONS))
    first, second, third, *_ = upstream.emulator.account().names()
    moved = upstream.emulator.change(delete=[first], merge=[second, third])

    changes = await read_all(google, CONNECTIONS, delta(facts))
    everything = await read_all(google, CONNECTIONS)

    assert keys_of(changes) == [moved["merged"]]
    assert {key for page in changes for key in page.gone} == {first, second, third}
    assert not any(page.gone for page in everything)
    assert len(keys_of(everything)) == 130 - 3 + 1


async def test_contacts_are_made_of_the_last_reading_once_and_only_of_the_same(upstream: GoogleUpstream) -> None:
    google = upstream.google()
    connections = await read_all(google, CONNECTIONS)
    contacts = await read_all(google, CONTACTS)
    upstream.forget()

    again = await read_all(google, CONTACTS)

    assert facts_of(contacts) == facts_of(connections)
    assert [page.requests for page in contacts] == [0] * 7
    assert sorted(records_of(again)) == sorted(records_of(contacts)) == sorted(upstream.truth("contacts"))
    assert {*keys_of(contacts), *skipped_by(contacts)} == set(keys_of(connections))
    assert upstream.requests() == 7


async def test_a_reading_that_was_not_finished_is_not_kept(upstream: GoogleUpstream) -> None:
    google = upstream.google()
    async with opened(google, CONNECTIONS, Reading(Mode.BACKFILL)) as pages:
        await anext(pages)

    assert sorted(records_of(await read_all(google, CONTACTS))) == sorted(upstream.truth("contacts"))


async def test_what_is_kept_grows_old(upstream: GoogleUpstream) -> None:
    clock = HurriedClock()
    google = upstream.google(clock=clock)
    await read_all(google, CONNECTIONS)
    upstream.forget()
    clock.slept += 301

    await read_all(google, CONTACTS)

    assert upstream.requests() == 7


async def test_contacts_that_fell_behind_come_back_to_the_same_reading(upstream: GoogleUpstream) -> None:
    """Their token is another one, but what changed since the older one holds all that changed since the younger."""
    google = upstream.google()
    connections = facts_of(await read_all(google, CONNECTIONS))
    await read_all(google, CONTACTS)
    contacts = facts_of(await read_all(google, CONTACTS))
    upstream.emulator.change(update=3)
    changes = await read_all(google, CONNECTIONS, delta(connections))
    upstream.forget()

    same = await read_all(google, CONTACTS, delta(contacts))

    assert upstream.requests() == 0
    assert facts_of(same) == facts_of(changes)


async def test_contacts_that_are_behind_never_take_changes_from_after_their_own_token(upstream: GoogleUpstream) -> None:
    google = upstream.google()
    first = facts_of(await read_all(google, CONNECTIONS))
    upstream.emulator.change(update=3)
    second = facts_of(await read_all(google, CONNECTIONS, delta(first)))
    upstream.emulator.change(update=3)
    await read_all(google, CONNECTIONS, delta(second))
    upstream.forget()

    behind = await read_all(google, CONTACTS, delta(first))

    assert upstream.requests() == 1
    assert len(keys_of(behind)) + len(skipped_by(behind)) > 3


@pytest.mark.parametrize("totals", ["items", "people"])
async def test_either_total_is_taken(upstream: GoogleUpstream, totals: str) -> None:
    upstream.emulator.switch(totals=totals)

    assert {page.total for page in await read_all(upstream.google(), CONNECTIONS)} == {130}


async def test_an_account_without_contacts_is_one_empty_page_with_a_token(upstream: GoogleUpstream) -> None:
    upstream.emulator.reset(people=0)

    pages = await read_all(upstream.google(), CONNECTIONS)

    assert [(len(page.records), page.last) for page in pages] == [(0, True)]
    assert facts_of(pages)["sync_token"]


async def test_an_update_time_in_the_future_never_becomes_the_watermark(upstream: GoogleUpstream) -> None:
    sources = [{"type": "CONTACT", "updateTime": "2099-01-01T00:00:00Z"}]
    odd = raw(person("people/odd", metadata={"sources": sources}))
    upstream.emulator.inject(bytes(odd), "people/odd")

    assert watermark(await read_all(upstream.google(), CONNECTIONS)) < datetime.now(UTC) + timedelta(minutes=1)


async def test_pretty_json_is_read_like_any_other(upstream: GoogleUpstream) -> None:
    upstream.emulator.switch(pretty=True)

    assert sorted(map(str, keys_of(await read_all(upstream.google(), CONNECTIONS)))) == sorted(
        upstream.emulator.account().names()
    )


async def test_a_google_that_answers_slowly_or_refuses_shows_in_the_ping(upstream: GoogleUpstream) -> None:
    upstream.emulator.switch(read_quota=1)
    google = upstream.google(clock=HurriedClock())
    first, second = await google.ping(), await google.ping()

    assert (first.state, second.state) == ("ok", "degraded")
    assert second.code == "rate-limited"


async def test_a_ping_does_not_use_up_the_quota_of_the_first_page(upstream: GoogleUpstream) -> None:
    upstream.emulator.switch(first_page_quota=1)
    google = upstream.google()

    assert all([(await google.ping()).ok for _ in range(3)])
    assert len(await read_all(google, CONNECTIONS)) == 7

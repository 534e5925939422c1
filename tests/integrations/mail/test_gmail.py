"""The Gmail connector against an emulated Gmail: everything, the history, and whatever Google says no to."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from keepstep.integrations.mail.entities import MESSAGES
from keepstep.integrations.mail.gmail.emulator.options import EmulatorOptions
from keepstep.integrations.mail.gmail.emulator.server import GmailEmulator
from keepstep.model.errors import ChangesLost, NeedsReconnect, NotData, Permanent, RateLimited, UpstreamError
from keepstep.model.integration import Json, Mode, Page, Reading
from tests.integrations.conformance import Conformance
from tests.integrations.mail.gmail_account import GmailUpstream
from tests.integrations.upstream import keys_of, opened, read_all, records_of, skipped_by, watermark
from tests.support.clock import HurriedClock


@pytest.fixture
async def upstream() -> AsyncIterator[GmailUpstream]:
    emulator = GmailEmulator(EmulatorOptions(messages=110))
    async with emulator.serve() as url:
        upstream = GmailUpstream(emulator, url)
        try:
            yield upstream
        finally:
            await upstream.aclose()


class TestGmail(Conformance):
    """The suite that every integration passes."""


async def table_of(upstream: GmailUpstream, facts: Json | None = None) -> tuple[dict[str, bytes], Json]:
    """Everything by key, and what was learned."""
    pages = await read_all(upstream.gmail(), MESSAGES, Reading(Mode.BACKFILL, facts=facts or {}))
    return dict(zip(map(str, keys_of(pages)), records_of(pages), strict=True)), facts_of(pages)


def facts_of(pages: list[Page]) -> Json:
    """What a reading learned, as it is stored."""
    learned = next((page.facts for page in reversed(pages) if page.facts is not None), {})
    stored: Json = json.loads(json.dumps(learned))
    return stored


async def changes(upstream: GmailUpstream, facts: Json, **given: Any) -> list[Page]:
    """The pages of a delta, with its error if it has one."""
    async with opened(upstream.gmail(**given), MESSAGES, Reading(Mode.DELTA, facts=facts)) as pages:
        return [page async for page in pages]


def apply(table: dict[str, bytes], pages: list[Page]) -> None:
    """What the engine does with pages."""
    for page in pages:
        table.update(zip(map(str, page.keys), map(bytes, page.records), strict=True))
        for key in (*page.gone, *skipped_by([page])):
            table.pop(key, None)


async def test_the_history_brings_what_came_changed_and_went(upstream: GmailUpstream) -> None:
    table, facts = await table_of(upstream)
    upstream.forget()
    changed = upstream.emulator.change(create=3, label=2, delete=2, trash=1)

    pages = await changes(upstream, facts)
    apply(table, pages)

    assert sorted(table.values()) == sorted(upstream.truth("messages"))
    assert set(keys_of(pages)) == {*changed["created"], *changed["labelled"]}
    assert set(changed["deleted"]) == {key for page in pages for key in page.gone}
    assert skipped_by(pages) == changed["trashed"]
    assert upstream.paths() == ["history", "v1"]

    again = await changes(upstream, facts_of(pages))
    assert [(page.records, page.gone, page.last) for page in again] == [([], (), True)]


async def test_a_message_that_comes_back_from_the_bin_comes_back(upstream: GmailUpstream) -> None:
    table, facts = await table_of(upstream)
    (binned,) = upstream.emulator.change(trash=1)["trashed"]
    pages = await changes(upstream, facts)
    apply(table, pages)
    assert binned not in table

    upstream.emulator.change(label=[binned], add=("INBOX",), remove=("TRASH",))
    apply(table, await changes(upstream, facts_of(pages)))

    assert sorted(table.values()) == sorted(upstream.truth("messages"))


@pytest.mark.parametrize("form", ["404", "400"])
async def test_history_that_is_too_old_is_said_to_be_and_everything_is_read(upstream: GmailUpstream, form: str) -> None:
    table, facts = await table_of(upstream)
    upstream.emulator.switch(history_lost_as=form)
    upstream.emulator.change(create=1, delete=1)
    upstream.emulator.expire()

    with pytest.raises(ChangesLost) as raised:
        await changes(upstream, facts)
    pages = await read_all(upstream.gmail(), MESSAGES, Reading(Mode.BACKFILL, facts=facts))

    assert raised.value.code == "changes-lost"
    assert sorted(records_of(pages)) == sorted(upstream.truth("messages"))
    assert await changes(upstream, facts_of(pages))
    assert len(table) == len(upstream.truth("messages"))


async def test_history_ages_by_the_clock(upstream: GmailUpstream) -> None:
    _, facts = await table_of(upstream)
    upstream.emulator.switch(history_days=7.0)
    upstream.emulator.change(create=1)
    assert await changes(upstream, facts)
    upstream.emulator.set_clock(offset_s=8 * 86400.0)

    with pytest.raises(ChangesLost):
        await changes(upstream, facts)


async def test_what_happens_while_everything_is_read_is_not_lost(upstream: GmailUpstream) -> None:
    table: dict[str, bytes] = {}
    pages: list[Page] = []
    async with opened(upstream.gmail(page_size=10, max_concurrency=1), MESSAGES) as reading:
        async for page in reading:
            pages.append(page)
            if len(pages) in (1, 4, 7):
                upstream.emulator.change(create=1, label=1, delete=1, trash=1)
    apply(table, pages)
    apply(table, await changes(upstream, facts_of(pages)))

    assert sorted(table.values()) == sorted(upstream.truth("messages"))
    assert {page.total for page in pages} == {len(keys_of(pages)) + len(skipped_by(pages))}


async def test_a_delta_that_breaks_off_goes_on_without_loss(upstream: GmailUpstream) -> None:
    table, facts = await table_of(upstream)
    upstream.emulator.change(create=25, label=20, delete=3)
    async with opened(
        upstream.gmail(page_size=10), MESSAGES, Reading(Mode.DELTA, facts=facts)
    ) as reading:  # fmt: skip
        first = [await anext(reading), await anext(reading)]
    apply(table, first)
    done = [str(key) for key in keys_of(first)]
    upstream.emulator.change(label=done[:3], add=("Label_9",), remove=())
    upstream.emulator.change(create=2, delete=done[4:5])

    cursor = json.loads(json.dumps(first[-1].cursor))
    rest = await read_all(upstream.gmail(page_size=10), MESSAGES, Reading(Mode.DELTA, cursor=cursor, facts=facts))
    apply(table, rest)
    apply(table, await changes(upstream, facts_of(rest)))

    assert sorted(table.values()) == sorted(upstream.truth("messages"))


async def test_a_long_history_is_read_page_by_page(upstream: GmailUpstream) -> None:
    table, facts = await table_of(upstream)
    for _ in range(12):
        upstream.emulator.change(label=60, add=("Label_1",), remove=("Label_2",))
        upstream.emulator.change(label=60, add=("Label_2",), remove=("Label_1",))
    assert len(upstream.emulator.mailbox.events) > 1000
    upstream.forget()

    apply(table, await changes(upstream, facts))

    assert upstream.paths().count("history") >= 3
    assert sorted(table.values()) == sorted(upstream.truth("messages"))


@pytest.mark.parametrize("costs", ["classic", "2026"])
@pytest.mark.parametrize("hint", ["none", "message", "retry-after"])
@pytest.mark.parametrize("status", ["403", "429"])
async def test_a_batch_of_which_only_some_calls_are_answered_is_completed(
    upstream: GmailUpstream, status: str, hint: str, costs: str
) -> None:
    upstream.emulator.switch(
        batch_throttled_after=7, throttle_as=status, throttle_hint=hint, unit_costs=costs, int64_as="number"
    )
    client = upstream.gmail(clock=HurriedClock())

    pages = await read_all(client, MESSAGES)

    assert sorted(records_of(pages)) == sorted(upstream.truth("messages"))
    assert sum(page.requests for page in pages) == upstream.requests()


async def test_a_used_up_minute_is_waited_for(upstream: GmailUpstream) -> None:
    upstream.emulator.switch(units_per_minute=400, quota_window_scale=0.005, throttle_hint="message")

    pages = await read_all(upstream.gmail(max_concurrency=1), MESSAGES)

    assert sorted(records_of(pages)) == sorted(upstream.truth("messages"))


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        ({"kind": "usage-limit", "variant": "dailyLimitExceeded"}, RateLimited, "rate-limited"),
        ({"kind": "usage-limit", "retry_after": 100}, RateLimited, "rate-limited"),
        ({"kind": "disabled"}, Permanent, "api-disabled"),
        ({"kind": "scope"}, NeedsReconnect, "needs-reconnect"),
        ({"kind": "403"}, Permanent, "access-denied"),
    ],
)
async def test_each_refusal_of_google_has_its_meaning(
    upstream: GmailUpstream, fault: dict[str, Any], kind: type[UpstreamError], code: str
) -> None:
    upstream.emulator.fault(**fault, count=None)
    client = upstream.gmail(clock=HurriedClock())

    with pytest.raises(UpstreamError) as raised:
        await read_all(client, MESSAGES)

    assert (type(raised.value), raised.value.code) == (kind, code)
    assert raised.value.fix
    if kind is not RateLimited:  # none of them is asked again
        assert upstream.requests() == 1


async def test_a_consent_that_was_taken_back_needs_its_owner(upstream: GmailUpstream) -> None:
    upstream.emulator.revoke()

    with pytest.raises(NeedsReconnect) as raised:
        await read_all(upstream.gmail(), MESSAGES)

    assert raised.value.fix


async def test_an_access_token_that_ends_while_reading_is_renewed(upstream: GmailUpstream) -> None:
    client = upstream.gmail(page_size=10, max_concurrency=1)
    pages: list[Page] = []
    async with opened(client, MESSAGES) as reading:
        async for page in reading:
            pages.append(page)
            if len(pages) == 2:
                upstream.emulator.end_access()

    assert sorted(records_of(pages)) == sorted(upstream.truth("messages"))


@pytest.mark.parametrize("variant", ["nameless", "other-messages", "null", "no-parts", "list"])
async def test_a_batch_in_another_shape_is_no_data(upstream: GmailUpstream, variant: str) -> None:
    upstream.emulator.fault("envelope", variant=variant, path="batch", count=None)

    with pytest.raises(NotData):
        await read_all(upstream.gmail(), MESSAGES)


@pytest.mark.parametrize("path", ["profile", "messages", "history"])
async def test_a_listing_in_another_shape_is_no_data(upstream: GmailUpstream, path: str) -> None:
    _, facts = await table_of(upstream)
    upstream.emulator.fault("envelope", variant="list", path=path, count=None)
    reading = Reading(Mode.DELTA if path == "history" else Mode.BACKFILL, facts=facts)

    with pytest.raises(NotData):
        await read_all(upstream.gmail(), MESSAGES, reading)


async def test_an_empty_mailbox_is_empty_and_nothing_else(upstream: GmailUpstream) -> None:
    upstream.emulator.reset(messages=0)

    (page,) = await read_all(upstream.gmail(), MESSAGES)

    assert (page.records, page.total, page.last) == ([], 0, True)
    assert page.facts


async def test_an_answer_that_is_too_large_is_asked_for_in_halves(upstream: GmailUpstream) -> None:
    upstream.emulator.reset(messages=40, message_bytes=20_000)
    client = upstream.gmail(page_size=20, max_body=200_000)

    pages = await read_all(client, MESSAGES)

    assert sorted(records_of(pages)) == sorted(upstream.truth("messages"))


async def test_a_moment_that_was_asked_for_and_is_older_than_the_history_means_everything(
    upstream: GmailUpstream,
) -> None:
    pages = await read_all(upstream.gmail(), MESSAGES)
    facts, high = facts_of(pages), watermark(pages)

    async with opened(
        upstream.gmail(), MESSAGES, Reading(Mode.DELTA, since=high - timedelta(days=1), facts=facts, asked_for=True)
    ) as reading:
        with pytest.raises(ChangesLost):
            await anext(reading)

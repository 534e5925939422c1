"""The emulated Google answers as the real one is known to: its listing, its tokens, its refusals, its commands."""

from typing import Any

import aiohttp
import pytest

from keepstep.integrations.google_contacts.connector import PATH
from keepstep.integrations.google_contacts.emulator.options import CHOICES, MEANINGS, EmulatorOptions
from tests.integrations.google_contacts.account import GoogleUpstream

ALL = {"personFields": "names,emailAddresses,phoneNumbers,metadata"}


async def asked(upstream: GoogleUpstream, expect: int = 200, **params: Any) -> Any:
    """The decoded answer to one request of the listing."""
    token = params.pop("access_token", upstream.secret)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    given = {name: str(value) for name, value in {**ALL, **params}.items() if value is not None}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(upstream.base_url + PATH, params=given) as answer,
    ):
        assert answer.status == expect, await answer.text()
        body = await answer.json()
        if "Retry-After" in answer.headers:
            body["retryAfter"] = answer.headers["Retry-After"]
        return body


async def everything(upstream: GoogleUpstream, **params: Any) -> list[Any]:
    """Every page of a reading."""
    pages = [await asked(upstream, requestSyncToken="true", **params)]
    while "nextPageToken" in pages[-1]:
        pages.append(await asked(upstream, requestSyncToken="true", pageToken=pages[-1]["nextPageToken"], **params))
    return pages


async def commanded(upstream: GoogleUpstream, route: str, body: Any = None, expect: int = 200) -> Any:
    """The answer of a control route."""
    async with aiohttp.ClientSession() as session:
        method = "GET" if body is None else "POST"
        async with session.request(method, f"{upstream.base_url}/_emulator/{route}", json=body) as answer:
            assert answer.status == expect, await answer.text()
            return await answer.json()


def names(pages: list[Any]) -> list[str]:
    return [person["resourceName"] for page in pages for person in page.get("connections", [])]


async def test_a_reading_gives_everybody_once_in_the_order_of_change_and_a_token_at_the_end(
    upstream: GoogleUpstream,
) -> None:
    pages = await everything(upstream, pageSize=50)

    assert names(pages) == upstream.emulator.account().names()
    assert [len(page["connections"]) for page in pages] == [50, 50, 30]
    assert ["nextSyncToken" in page for page in pages] == [False, False, True]
    assert {(page["totalItems"], page["totalPeople"]) for page in pages} == {(130, 130)}


async def test_without_a_page_size_a_page_holds_a_hundred_and_none_holds_more_than_a_thousand(
    upstream: GoogleUpstream,
) -> None:
    assert len((await asked(upstream))["connections"]) == 100
    assert len((await asked(upstream, pageSize=0))["connections"]) == 100
    assert len((await asked(upstream, pageSize=5000))["connections"]) == 130
    upstream.emulator.switch(page_size_over_max="reject")
    assert (await asked(upstream, 400, pageSize=1001))["error"]["status"] == "INVALID_ARGUMENT"


async def test_an_empty_account_answers_without_a_list(upstream: GoogleUpstream) -> None:
    upstream.emulator.reset(people=0)

    page = await asked(upstream, requestSyncToken="true")

    assert set(page) == {"nextSyncToken", "totalItems", "totalPeople"}


async def test_the_same_seed_gives_the_same_people_and_each_account_has_its_own(upstream: GoogleUpstream) -> None:
    first = upstream.emulator.raw_records()
    other = upstream.emulator.raw_records("anna@example.test")
    upstream.emulator.reset()

    assert upstream.emulator.raw_records() == first
    assert not {*upstream.emulator.account().names()} & {*upstream.emulator.account("anna@example.test").names()}
    assert len(other) == 130
    upstream.emulator.reset(seed=2)
    assert upstream.emulator.raw_records() != first


async def test_only_the_fields_that_are_asked_for_come(upstream: GoogleUpstream) -> None:
    page = await asked(upstream, personFields="names", pageSize=100)

    found = {name for person in page["connections"] for name in person}
    assert found - {"contactScore"} == {"resourceName", "etag", "names"}


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"personFields": None}, "mask is required"),
        ({"personFields": "names,shoeSize"}, "shoeSize"),
        ({"pageSize": "many"}, "pageSize"),
        ({"sortOrder": "UPWARDS"}, "sortOrder"),
        ({"sortOrder": "FIRST_NAME_ASCENDING", "requestSyncToken": "true"}, "sortOrder"),
        ({"pageToken": "made-up"}, "Page token"),
        ({"syncToken": "made-up"}, "Sync token"),
    ],
)
async def test_what_google_refuses_is_refused(upstream: GoogleUpstream, params: dict[str, Any], says: str) -> None:
    error = (await asked(upstream, 400, **params))["error"]

    assert error["status"] == "INVALID_ARGUMENT"
    assert says in error["message"]


async def test_with_a_token_everything_else_must_be_the_same(upstream: GoogleUpstream) -> None:
    pages = await everything(upstream, pageSize=50)
    token, page_token = pages[-1]["nextSyncToken"], pages[0]["nextPageToken"]

    for params in (
        {"syncToken": token, "pageSize": 49}, {"syncToken": token, "pageSize": 50, "personFields": "names"},
        {"pageToken": page_token, "pageSize": 49},
    ):  # fmt: skip
        error = (await asked(upstream, 400, requestSyncToken="true", **params))["error"]
        assert "mismatch" in error["message"]
    assert "mismatch" in (await asked(upstream, 400, syncToken=token, pageSize=50))["error"]["message"]
    upstream.emulator.switch(param_mismatch="ignore")
    assert "nextSyncToken" in await asked(upstream, requestSyncToken="true", syncToken=token, pageSize=49)


async def test_a_token_of_one_account_says_nothing_to_another(upstream: GoogleUpstream) -> None:
    token = (await everything(upstream, pageSize=200))[-1]["nextSyncToken"]
    upstream.emulator.reset(account="anna@example.test")

    assert (
        "invalid"
        in (await asked(upstream, 400, requestSyncToken="true", syncToken=token, pageSize=200))["error"]["message"]
    )


async def test_changes_hold_each_person_once_and_what_is_left_of_the_deleted(upstream: GoogleUpstream) -> None:
    token = (await everything(upstream, pageSize=200))[-1]["nextSyncToken"]
    first, second, third, *_ = upstream.emulator.account().names()
    upstream.emulator.change(update=[first, second])
    done = upstream.emulator.change(update=[first], delete=[second], rename=[third], create=1)

    [page] = await everything(upstream, syncToken=token, pageSize=200)

    people = {person["resourceName"]: person for person in page["connections"]}
    new = done["renamed"][third]
    assert names([page]).count(first) == 1
    assert people.keys() == {first, second, new, done["created"][0]}
    assert people[second] == {"resourceName": second, "metadata": {"deleted": True, "objectType": "PERSON"}}
    assert people[new]["metadata"]["previousResourceNames"] == [third]
    again = await everything(upstream, pageSize=200)
    assert "previousResourceNames" not in str(again)
    assert second not in names(again)


@pytest.mark.parametrize(("moment", "seen"), [("first-page", 1), ("last-page", 0)])
async def test_what_changes_during_a_reading_is_among_the_next_changes_or_in_it(
    upstream: GoogleUpstream, moment: str, seen: int
) -> None:
    upstream.emulator.switch(changes_since=moment)
    first = await asked(upstream, requestSyncToken="true", pageSize=100)
    upstream.emulator.change(update=[first["connections"][0]["resourceName"]])
    last = await asked(upstream, requestSyncToken="true", pageSize=100, pageToken=first["nextPageToken"])

    [page] = await everything(upstream, syncToken=last["nextSyncToken"], pageSize=100)

    assert first["connections"][0]["resourceName"] in names([last])
    assert len(page.get("connections", [])) == seen


@pytest.mark.parametrize(
    ("form", "status", "word", "reason"),
    [
        ("400", 400, "INVALID_ARGUMENT", "EXPIRED_SYNC_TOKEN"),
        ("400-failed-precondition", 400, "FAILED_PRECONDITION", "EXPIRED_SYNC_TOKEN"),
        ("410", 410, "FAILED_PRECONDITION", "EXPIRED_SYNC_TOKEN"),
        ("410-bare", 410, None, None),
    ],
)
async def test_a_sync_token_expires_seven_days_after_its_full_reading(
    upstream: GoogleUpstream, form: str, status: int, word: str | None, reason: str | None
) -> None:
    upstream.emulator.switch(expired_as=form)
    token = (await everything(upstream, pageSize=200))[-1]["nextSyncToken"]
    upstream.emulator.set_clock(offset_s=6.9 * 86400)
    younger = (await everything(upstream, syncToken=token, pageSize=200))[-1]["nextSyncToken"]
    upstream.emulator.set_clock(offset_s=7.1 * 86400)

    for old in (token, younger):
        error = (await asked(upstream, status, requestSyncToken="true", syncToken=old, pageSize=200))["error"]
        assert error.get("status") == word
        assert [detail["reason"] for detail in error.get("details", [])] == ([reason] if reason else [])


@pytest.mark.parametrize("hint", CHOICES["quota_hint"])
async def test_the_first_page_of_a_full_reading_has_a_quota_of_its_own(upstream: GoogleUpstream, hint: str) -> None:
    upstream.emulator.switch(first_page_quota=1, quota_hint=hint)
    token = (await everything(upstream, pageSize=50))[-1]["nextSyncToken"]

    refused = await asked(upstream, 429, requestSyncToken="true", pageSize=50)

    assert refused["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert ("retryAfter" in refused) is (hint == "retry-after")
    assert ("window_start_time" in str(refused)) is (hint == "window-start")
    assert await everything(upstream, syncToken=token, pageSize=50)
    assert await asked(upstream), "a listing without a sync token has no such first page"


async def test_a_quota_opens_again_when_its_minute_is_over(upstream: GoogleUpstream) -> None:
    upstream.emulator.switch(read_quota=2, quota_window_scale=1e-9)

    for _ in range(5):
        await asked(upstream)


@pytest.mark.parametrize("token", ["", "ya29.made-up"])
async def test_without_a_valid_access_token_nothing_is_read(upstream: GoogleUpstream, token: str) -> None:
    assert (await asked(upstream, 401, access_token=token))["error"]["status"] == "UNAUTHENTICATED"


async def test_control_over_http_does_what_the_methods_do(upstream: GoogleUpstream) -> None:
    done = await commanded(upstream, "changes", {"create": 2, "delete": "10%", "strip": 1})
    await commanded(upstream, "faults", [{"kind": "503"}, {"kind": "429", "page": 2}])
    state = await commanded(upstream, "state")

    assert (len(done["created"]), len(done["deleted"]), len(done["stripped"])) == (2, 13, 1)
    assert state["records"] == {"me@example.test": 119}
    assert [fault["status"] for fault in state["faults"]] == [503, 429]
    assert "secret" not in str(state["switches"]).replace("client_secret", "")
    await commanded(upstream, "faults/clear", {})
    await commanded(upstream, "switches", {"totals": "none", "clock_offset_s": 60})
    assert "totalItems" not in await asked(upstream)
    assert (await commanded(upstream, "requests"))["by_status"] == {"200": 1}
    await commanded(upstream, "expire", {})
    assert await commanded(upstream, "revoke", {}) == {"revoked": 1}
    assert (await asked(upstream, 401))["error"]
    await commanded(upstream, "reset", {"people": 3})
    assert len(await everything(upstream)) == 1
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{upstream.base_url}/_emulator/records/connections") as answer,
    ):
        assert (await answer.read()).splitlines() == upstream.emulator.raw_records()


@pytest.mark.parametrize(
    ("route", "body", "says"),
    [
        ("changes", {"delete": 10**6}, "130 people"),
        ("changes", {"delete": ["people/nobody"]}, "no person"),
        ("changes", {"explode": 1}, "explode"),
        ("faults", {"kind": "fire"}, "no fault is called"),
        ("faults", {"kind": "truncate", "variant": "none"}, "comes as"),
        ("faults", {"kind": "503", "colour": 1}, "has no 'colour'"),
        ("switches", {"people": 5}, "change it with a reset"),
        ("switches", {"paging": "sideways"}, "one of"),
        ("switches", {"sorrow": 5}, "no switch"),
        ("switches", {"read_quota": "many"}, "takes a int"),
        ("clock", {"at": "noon"}, "noon"),
    ],
)
async def test_a_command_that_cannot_be_is_refused_in_words(
    upstream: GoogleUpstream, route: str, body: dict[str, Any], says: str
) -> None:
    assert says in (await commanded(upstream, route, body, expect=400))["message"]


async def test_no_token_and_no_code_is_on_record(upstream: GoogleUpstream) -> None:
    await upstream.oauth().refresh(upstream.tokens())
    await asked(upstream)

    record = str(await commanded(upstream, "requests")) + str(await commanded(upstream, "state"))

    for secret in (upstream.secret, upstream.emulator.options.refresh_token, upstream.emulator.options.client_secret):
        assert secret not in record


def test_every_switch_is_explained() -> None:
    shared = {"seed", "undocumented_fields", "pretty", "latency_ms", "clock_offset_s", "requests_kept"}
    assert set(EmulatorOptions.__dataclass_fields__) == shared | set(MEANINGS)
    assert set(CHOICES) <= set(MEANINGS)


@pytest.mark.parametrize(
    "options",
    [{"people": -1}, {"no_identifier_percent": 101}, {"default_page_size": 0}, {"quota_window_scale": 0},
     {"read_quota": -1}, {"consent": "perhaps"}],
)  # fmt: skip
def test_an_emulator_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options)) if "page_size" not in str(options) else "page sizes"):
        EmulatorOptions(**options)

"""The emulated Gmail by itself: what it answers over HTTP, and its commands."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from keepstep.integrations.mail.gmail.emulator.options import CHOICES, MEANINGS, EmulatorOptions
from keepstep.integrations.mail.gmail.emulator.server import GmailEmulator
from tests.integrations.mail.gmail_account import GmailUpstream

USER = "/gmail/v1/users/me"


@pytest.fixture
async def upstream() -> AsyncIterator[GmailUpstream]:
    emulator = GmailEmulator(EmulatorOptions(messages=40))
    async with emulator.serve() as url:
        yield GmailUpstream(emulator, url)


async def asked(upstream: GmailUpstream, path: str, *, expect: int = 200, token: str | None = None) -> Any:
    """What a GET gives."""
    headers = {"Authorization": f"Bearer {token or upstream.secret}"}
    async with aiohttp.ClientSession() as session, session.get(upstream.base_url + path, headers=headers) as answer:
        assert answer.status == expect, await answer.text()
        return await answer.json(content_type=None)


async def commanded(
    upstream: GmailUpstream, route: str, body: Any = None, *, expect: int = 200
) -> Any:  # fmt: skip
    """What a control route gives: a POST with a body, a GET without one."""
    url = f"{upstream.base_url}/_emulator/{route}"
    method = "GET" if body is None else "POST"
    async with aiohttp.ClientSession() as session, session.request(method, url, json=body) as answer:
        assert answer.status == expect, await answer.text()
        return await answer.json()


async def batched(upstream: GmailUpstream, *paths: str, expect: int = 200) -> str:
    """What a batch of requests gives."""
    parts = "".join(
        f"--b\r\nContent-Type: application/http\r\nContent-ID: <{n}>\r\n\r\nGET {path}\r\n\r\n"
        for n, path in enumerate(paths)
    )
    headers = {"Authorization": f"Bearer {upstream.secret}", "Content-Type": "multipart/mixed; boundary=b"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{upstream.base_url}/batch/gmail/v1", data=parts + "--b--\r\n", headers=headers) as answer,
    ):
        assert answer.status == expect, await answer.text()
        return await answer.text()


async def test_the_list_goes_page_by_page_from_the_newest_and_leaves_spam_and_bin_out(upstream: GmailUpstream) -> None:
    ids: list[str] = []
    token = ""
    while True:
        page = await asked(upstream, f"{USER}/messages?maxResults=7{token}")
        ids += [one["id"] for one in page["messages"]]
        if "nextPageToken" not in page:
            break
        token = f"&pageToken={page['nextPageToken']}"
    everything = await asked(upstream, f"{USER}/messages?maxResults=500&includeSpamTrash=true")
    none = await asked(upstream, f"{USER}/messages?labelIds=STARRED&labelIds=SPAM")

    hidden = {one.id for one in upstream.emulator.mailbox.messages.values() if {"SPAM", "TRASH"} & one.labels}
    assert ids == sorted(set(ids), reverse=True)
    assert {one["id"] for one in everything["messages"]} == {*ids, *hidden}
    assert hidden
    assert none == {"resultSizeEstimate": 0}


async def test_a_message_comes_in_each_of_its_formats(upstream: GmailUpstream) -> None:
    with_file = next(
        one for one in upstream.emulator.mailbox.messages.values() if b"filename" in one.raw and b"boundary" in one.raw
    )
    path = f"{USER}/messages/{with_file.id}"
    raw, full = await asked(upstream, f"{path}?format=raw"), await asked(upstream, path)
    minimal = await asked(upstream, f"{path}?format=minimal")
    some = await asked(upstream, f"{path}?format=metadata&metadataHeaders=Subject&metadataHeaders=Date")

    assert base64.urlsafe_b64decode(raw["raw"]) == with_file.raw
    assert (type(raw["historyId"]), type(raw["internalDate"]), type(raw["sizeEstimate"])) == (str, str, int)
    assert "payload" not in raw
    assert minimal.keys() == raw.keys() - {"raw"}
    assert {header["name"] for header in some["payload"]["headers"]} <= {"Subject", "Date"}
    part = next(part for part in full["payload"]["parts"] if part["filename"])
    content = await asked(upstream, f"{path}/attachments/{part['body']['attachmentId']}")
    assert len(base64.urlsafe_b64decode(content["data"])) == content["size"] == part["body"]["size"] > 0
    await asked(upstream, f"{path}?format=loud", expect=400)
    await asked(upstream, f"{USER}/messages/nothing", expect=404)


async def test_the_history_tells_what_happened_and_nothing_where_nothing_did(upstream: GmailUpstream) -> None:
    start = (await asked(upstream, f"{USER}/profile"))["historyId"]
    assert await asked(upstream, f"{USER}/history?startHistoryId={start}") == {"historyId": start}
    changed = await commanded(upstream, "changes", {"create": 1, "label": 1, "delete": 1, "trash": 1})

    told = await asked(upstream, f"{USER}/history?startHistoryId={start}")
    deleted = await asked(upstream, f"{USER}/history?startHistoryId={start}&historyTypes=messageDeleted")

    numbers = [int(record["id"]) for record in told["history"]]
    assert numbers == sorted(numbers)
    assert int(told["historyId"]) == numbers[-1] > int(start)
    kinds = {kind for record in told["history"] for kind in record if kind not in ("id", "messages")}
    assert {"messagesAdded", "messagesDeleted", "labelsAdded"} <= kinds
    assert [one["messagesDeleted"][0]["message"]["id"] for one in deleted["history"]] == changed["deleted"]
    error = await asked(upstream, f"{USER}/history?startHistoryId=1", expect=404)
    assert error["error"]["errors"][0]["reason"] == "notFound"
    await commanded(upstream, "expire", {})
    await asked(upstream, f"{USER}/history?startHistoryId={start}", expect=404)


async def test_a_batch_is_answered_part_by_part_and_has_a_limit(upstream: GmailUpstream) -> None:
    text = await batched(upstream, f"{USER}/profile", f"{USER}/messages/nothing", f"{USER}/history?startHistoryId=x")
    assert [text.count(f"<response-{n}>") for n in range(3)] == [1, 1, 1]
    assert [text.count(f"HTTP/1.1 {status}") for status in (200, 404, 400)] == [1, 1, 1]

    await commanded(upstream, "switches", {"batch_max": 3, "batch_throttled_after": 2, "throttle_as": "429"})
    assert (await batched(upstream, *[f"{USER}/profile"] * 3)).count("HTTP/1.1 429") == 1
    await batched(upstream, *[f"{USER}/profile"] * 4, expect=400)


async def test_units_run_out_and_say_so_in_the_way_that_was_chosen(upstream: GmailUpstream) -> None:
    await commanded(upstream, "switches", {"units_per_minute": 2, "throttle_hint": "message"})
    await asked(upstream, f"{USER}/profile")
    await asked(upstream, f"{USER}/profile")

    refused = await asked(upstream, f"{USER}/profile", expect=403)

    assert refused["error"]["errors"][0]["domain"] == "usageLimits"
    assert refused["error"]["errors"][0]["reason"] == "userRateLimitExceeded"
    assert "Retry after 20" in refused["error"]["message"]


async def test_commands_over_http_do_what_the_methods_do(upstream: GmailUpstream) -> None:
    sent = base64.b64encode(b"Subject: by hand\r\n\r\nx").decode()
    made = (await commanded(upstream, "inject", {"base64": sent}))["id"]
    assert (await asked(upstream, f"{USER}/messages/{made}?format=minimal"))["id"] == made
    await commanded(upstream, "faults", [{"kind": "503", "path": "profile"}])
    await asked(upstream, f"{USER}/profile", expect=503)
    truth = await commanded(upstream, "records/messages")
    assert [one["id"] for one in truth] == [one["id"] for one in upstream.emulator.truth()]
    assert (await commanded(upstream, "revoke", {})) == {"revoked": 1}
    await asked(upstream, f"{USER}/profile", expect=401)
    await commanded(upstream, "reset", {"messages": 3})
    assert (await asked(upstream, f"{USER}/profile"))["messagesTotal"] == 3
    assert (await asked(upstream, f"{USER}/labels"))["labels"]
    await asked(upstream, "/gmail/v1/users/somebody@example.test/profile", expect=404)
    assert (await commanded(upstream, "fire", {}, expect=404))["commands"]


@pytest.mark.parametrize(
    ("route", "body", "says"),
    [
        ("changes", {"delete": ["nobody"]}, "no message"),
        ("changes", {"explode": 1}, "explode"),
        ("faults", {"kind": "fire"}, "no fault is called"),
        ("faults", {"kind": "truncate", "variant": "none"}, "comes as"),
        ("faults", {"kind": "503", "colour": 1}, "has no 'colour'"),
        ("switches", {"messages": 5}, "change it with a reset"),
        ("switches", {"throttle_as": "sideways"}, "one of"),
        ("switches", {"sorrow": 5}, "no switch"),
        ("switches", {"units_per_minute": "many"}, "takes a int"),
        ("clock", {"at": "noon"}, "noon"),
    ],
)
async def test_a_command_that_cannot_be_is_refused_in_words(
    upstream: GmailUpstream, route: str, body: dict[str, Any], says: str
) -> None:
    assert says in (await commanded(upstream, route, body, expect=400))["message"]


async def test_no_token_is_on_record(upstream: GmailUpstream) -> None:
    await asked(upstream, f"{USER}/profile")

    record = str(await commanded(upstream, "requests")) + str(await commanded(upstream, "state"))

    options = upstream.emulator.options
    for secret in (options.access_token, options.refresh_token, options.client_secret):
        assert secret not in record


def test_every_switch_is_explained() -> None:
    shared = {"seed", "pretty", "latency_ms", "clock_offset_s", "requests_kept"}
    assert set(EmulatorOptions.__dataclass_fields__) == shared | set(MEANINGS)
    assert set(CHOICES) <= set(MEANINGS)


def test_the_same_seed_gives_the_same_mail() -> None:
    options = EmulatorOptions(messages=30)
    assert GmailEmulator(options).truth() == GmailEmulator(options).truth()
    assert GmailEmulator(EmulatorOptions(messages=30, seed=2)).truth() != GmailEmulator(options).truth()

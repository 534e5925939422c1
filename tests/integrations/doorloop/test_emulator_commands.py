"""Faults, changes, poison and truth on command, in process and over the control routes."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest

from keepstep.integrations.doorloop.emulator.options import EmulatorOptions
from keepstep.integrations.doorloop.emulator.poison import POISONS, poisons_for
from keepstep.integrations.doorloop.emulator.server import DoorLoopEmulator

LEASES = "/api/leases?page_size=10"


@dataclass
class Site:
    """A served emulator and a client for it."""

    emulator: DoorLoopEmulator
    root: str
    session: aiohttp.ClientSession

    async def get(self, path: str = LEASES) -> tuple[int, bytes]:
        async with self.session.get(self.root + path) as answer:
            return answer.status, await answer.read()

    async def ids(self, path: str) -> list[str]:
        return [record["id"] for record in json.loads((await self.get(path))[1])["data"]]

    async def command(self, path: str, body: Any = None, method: str = "POST") -> tuple[int, Any]:
        async with self.session.request(method, f"{self.root}/_emulator/{path}", json=body) as answer:
            return answer.status, await answer.json()


@asynccontextmanager
async def served(**options: Any) -> AsyncIterator[Site]:
    emulator = DoorLoopEmulator(EmulatorOptions(**options))
    headers = {"Authorization": f"bearer {emulator.options.api_key}"}
    async with emulator.serve() as base_url, aiohttp.ClientSession(headers=headers) as session:
        yield Site(emulator, base_url.removesuffix("/api"), session)


def is_json(record: bytes) -> bool:
    """Whether the bytes are JSON, leaving out most of a nesting that is too deep for any parser here."""
    for deep in (b"[", b"]", b'{"a":', b"}"):
        record = record.replace(deep * 4990, b"")
    json.loads(record)
    return True


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with served(leases=100, tenants=60, units=40, properties=20, owners=10) as site:
        yield site


async def test_a_fault_hits_the_requests_it_is_armed_for_and_no_other(site: Site) -> None:
    site.emulator.fault("503", entity="leases", page=2, count=2, after=1)
    statuses = [(await site.get(f"{LEASES}&page_number={page}"))[0] for page in (1, 2, 2, 2, 2)]
    assert statuses == [200, 200, 503, 503, 200]
    site.emulator.fault("500", forever=True, path="/api/own")
    assert [(await site.get("/api/owners"))[0] for _ in range(3)] == [500] * 3
    assert (await site.get())[0] == 200
    site.emulator.clear_faults()
    assert (await site.get("/api/owners"))[0] == 200


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"retry_after": 7}, {"Retry-After": "7"}),
        ({}, {"Retry-After": "1"}),
        ({"retry_after_as": "absent"}, {"Retry-After": None}),
        ({"headers": "x-ratelimit"}, {"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "0"}),
        ({"headers": "ratelimit", "retry_after": 9}, {"RateLimit-Reset": "9", "RateLimit-Remaining": "0"}),
        ({"headers": "ratelimit-draft", "retry_after": 9}, {"RateLimit": '"default";r=0;t=9'}),
    ],
)
async def test_a_429_says_when_to_come_back_in_every_dialect(
    site: Site, given: dict[str, Any], expected: dict[str, str | None]
) -> None:
    site.emulator.fault("429", **given)
    async with site.session.get(site.root + LEASES) as answer:
        assert answer.status == 429
        assert await answer.json() == {"message": "RATE_LIMIT_EXCEEDED"}
        assert {name: answer.headers.get(name) for name in expected} == expected


async def test_retry_after_as_a_date_follows_the_emulators_clock(site: Site) -> None:
    site.emulator.set_clock(at="2031-05-06T07:08:09")
    site.emulator.fault("429", retry_after=60, retry_after_as="date")
    async with site.session.get(site.root + LEASES) as answer:
        assert parsedate_to_datetime(answer.headers["Date"]).date() == datetime(2031, 5, 6, tzinfo=UTC).date()
        wait = parsedate_to_datetime(answer.headers["Retry-After"]) - parsedate_to_datetime(answer.headers["Date"])
        assert wait.total_seconds() in (60, 61)


@pytest.mark.parametrize("variant", ["rst", "close"])
async def test_a_reset_breaks_the_connection(site: Site, variant: str) -> None:
    site.emulator.fault("reset", variant=variant, count=2)  # aiohttp's client repeats a broken GET once by itself
    with pytest.raises(aiohttp.ClientConnectionError):
        await site.get()
    assert [request.status for request in site.emulator.requests()] == [0, 0]
    assert (await site.get())[0] == 200


async def test_a_truncated_body_breaks_off_or_ends_as_if_whole(site: Site) -> None:
    whole = (await site.get())[1]
    site.emulator.fault("truncate")
    with pytest.raises(aiohttp.ClientPayloadError):
        await site.get()
    site.emulator.fault("truncate", variant="body", keep=0.5)
    status, body = await site.get()
    assert status == 200
    assert whole.startswith(body)
    assert len(body) == len(whole) // 2


@pytest.mark.parametrize("dressed", [{}, {"pretty": True}, {"shuffle_keys": True}])
@pytest.mark.parametrize(
    ("variant", "keys"),
    [
        ("items", ["items"]),
        ("null", ["total", "data"]),
        ("total-text", ["total", "data"]),
        ("no-total", ["data"]),
        ("no-data", ["total"]),
        ("wrapped", ["result"]),
    ],
)
async def test_wrong_envelopes_are_valid_json_of_another_shape(
    site: Site, variant: str, keys: list[str], dressed: dict[str, bool]
) -> None:
    site.emulator.switch(**dressed)
    for _ in range(2):
        site.emulator.fault("envelope", variant=variant)
        envelope = json.loads((await site.get())[1])
        assert list(envelope) == keys
        assert envelope.get("total") in (None, 100, "100")
    site.emulator.fault("envelope", variant="list")
    assert len(json.loads((await site.get())[1])) == 10


async def test_bodies_that_are_not_json_or_not_utf8(site: Site) -> None:
    site.emulator.fault("bad-json")
    with pytest.raises(json.JSONDecodeError):
        json.loads((await site.get())[1])
    site.emulator.fault("bad-utf8")
    with pytest.raises(UnicodeDecodeError):
        (await site.get())[1].decode()
    site.emulator.fault("empty")
    assert (await site.get())[1] == b'{"total":0,"data":[]}'


async def test_a_repeating_page_and_the_html_answers(site: Site) -> None:
    first = await site.get()
    site.emulator.fault("repeat", forever=True)
    assert await site.get(f"{LEASES}&page_number=3") == first
    site.emulator.clear_faults()
    for kind, expected in (("html", 200), ("readme", 404)):
        site.emulator.fault(kind)
        status, body = await site.get()
        assert status == expected
        assert body.lower().startswith(b"<!doctype html>")


@pytest.mark.parametrize("entity", ["leases", "tenants"])
@pytest.mark.parametrize("variant", ["rename", "replace"])
async def test_a_shift_hides_a_row_from_a_reader_of_pages_though_the_total_agrees(
    site: Site, entity: str, variant: str
) -> None:
    path = f"/api/{entity}?page_size=10&page_number="
    site.emulator.fault("shift", variant=variant, entity=entity, page=2, rows=2)
    count = len(site.emulator.raw_records(entity))
    seen = [id_ for page in range(1, count // 10 + 1) for id_ in await site.ids(f"{path}{page}")]
    live = {record["id"] for record in site.emulator.records(entity)}
    assert len(seen) == count == len(live)
    assert len(live - set(seen)) == 2
    again = [id_ for page in range(1, count // 10 + 1) for id_ in await site.ids(f"{path}{page}")]
    assert set(again) == live


async def test_changes_show_in_the_listing_and_move_the_update_time(site: Site) -> None:
    before = {record["id"]: record for record in site.emulator.records("leases")}
    newest = max(record["updatedAt"] for record in before.values())
    done = site.emulator.change("leases", create=3, update=5, touch=2, delete=4)
    after = {record["id"]: record for record in site.emulator.records("leases")}
    assert set(before) - set(after) == set(done["deleted"])
    assert set(after) - set(before) == set(done["created"])
    moved = {id_ for id_ in after if id_ not in before or after[id_] != before[id_]}
    assert moved == {*done["created"], *done["updated"]}
    assert all(after[id_]["updatedAt"] > newest for id_ in moved)
    path = f"/api/leases?page_size={len(moved)}&sort_by=updatedAt&sort_descending=true"
    assert set(await site.ids(path)) == moved
    for id_ in done["deleted"]:
        assert (await site.get(f"/api/leases/{id_}"))[0] == 404


async def test_named_changes_patch_unset_and_keep_silent(site: Site) -> None:
    record = site.emulator.records("tenants")[5]
    site.emulator.change(
        "tenants", patch={record["id"]: {"name": "aaa", "x": [None]}}, unset={record["id"]: ["phones"]}, silent=True
    )
    changed = json.loads((await site.get(f"/api/tenants/{record['id']}"))[1])
    assert changed == {k: v for k, v in record.items() if k != "phones"} | {"name": "aaa", "x": [None]}
    site.emulator.change("tenants", delete=[record["id"]])
    with pytest.raises(ValueError, match="no record with the id"):
        site.emulator.change("tenants", update=[record["id"]])
    with pytest.raises(ValueError, match="there are"):
        site.emulator.change("tenants", delete=10_000)


async def test_orders_that_were_mended_equal_orders_made_anew(site: Site) -> None:
    paths = [
        f"/api/{entity}?page_size=1000{query}"
        for entity in ("leases", "units", "tenants")
        for query in (
            "",
            "&sort_by=updatedAt",
            "&sort_by=name&sort_descending=true",
            "&filter_active=false",
            "&filter_text=a",
        )
    ]
    for round_ in range(4):
        for path in paths:
            await site.get(path)
        for entity in ("leases", "units", "tenants"):
            some = [record["id"] for record in site.emulator.records(entity)][round_ : round_ + 2]
            patch = {id_: {"name": f"m{round_}", "active": round_ % 2 == 0} for id_ in some}
            site.emulator.change(entity, create=1, update=3, delete=2, patch=patch)
        mended = [await site.get(path) for path in paths]
        for entity in ("leases", "units", "tenants"):
            site.emulator.account.table(entity)._orders.clear()
        assert [await site.get(path) for path in paths] == mended


@pytest.mark.parametrize("entity", ["owners", "properties", "units", "leases", "tenants"])
async def test_every_poison_is_served_as_valid_json_beside_good_records_and_can_be_cured(
    site: Site, entity: str
) -> None:
    before = set(site.emulator.raw_records(entity))
    kinds = poisons_for(entity)
    assert len(kinds) >= len(POISONS) - 2
    assert (await site.command("poison", {"entity": entity, "kinds": "all"}))[0] == 200
    total_before = json.loads((await site.get(f"/api/{entity}?page_size=1"))[1])["total"]
    status, body = await site.get(f"/api/{entity}?page_size=1000")
    assert status == 200
    assert body.startswith(b'{"total":%d,"data":[' % total_before)
    bad = set(site.emulator.raw_records(entity)) - before
    assert all(record in body for record in bad)
    assert all(is_json(record) for record in bad)
    assert body.count(b"\n") == 0
    assert site.emulator.cure(entity) == len(kinds)
    cured = site.emulator.records(entity)
    assert len({record["id"] for record in cured}) == len(cured) == len(before) + len(kinds) - 1
    assert before <= set(site.emulator.raw_records(entity))


async def test_a_duplicate_id_stands_right_behind_the_first_of_its_name(site: Site) -> None:
    for entity in ("leases", "tenants"):
        (id_,) = site.emulator.poison(entity, "duplicate-id")
        data = json.loads((await site.get(f"/api/{entity}?page_size=2"))[1])["data"]
        assert [record["id"] for record in data] == [id_, id_]
        assert data[1]["notes"] == "the later of two with this id" != data[0].get("notes")


async def test_a_known_record_goes_bad_and_is_cured_with_a_new_update_time(site: Site) -> None:
    good = site.emulator.records("leases")[3]
    site.emulator.poison("leases", "nul-in-text", replace=good["id"])
    assert json.loads((await site.get(f"/api/leases/{good['id']}"))[1])["notes"] == "before\0after"
    assert site.emulator.cure("leases") == 1
    cured = json.loads((await site.get(f"/api/leases/{good['id']}"))[1])
    assert cured.pop("updatedAt") > good.pop("updatedAt")
    assert cured == good


async def test_raw_bytes_are_served_as_they_are(site: Site) -> None:
    site.emulator.inject("leases", b'{"id": "spaced",  "name":"\xff"}')
    assert b'{"id": "spaced",  "name":"\xff"}' in (await site.get("/api/leases?page_size=1000"))[1]


async def test_every_command_works_over_http(site: Site) -> None:
    assert (await site.command("changes", {"entity": "leases", "create": 2, "update": "10%"}))[0] == 200
    first = site.emulator.records("leases")[0]["id"]
    status, done = await site.command("changes", {"entity": "leases", "set": {first: {"name": "Renamed"}}})
    assert (status, done["updated"]) == (200, [first])
    assert (await site.command("poison", {"entity": "owners", "kinds": ["null-id"]}))[1]["ids"]
    assert (await site.command("inject", {"entity": "owners", "base64": "/w=="}))[0] == 200
    assert (await site.command("cure", {"entity": "owners"}))[1] == {"cured": 2}
    status, armed = await site.command("faults", [{"kind": "429", "count": 3}, {"kind": "hang"}])
    assert [fault["kind"] for fault in armed["faults"]] == ["status", "hang"]
    assert (await site.get())[0] == 429
    await site.command("faults", method="DELETE")
    assert (await site.get())[0] == 200
    assert (await site.command("switches", {"forbidden": ["units"], "latency_ms": 1}))[0] == 200
    assert (await site.get("/api/units"))[0] == 405
    assert (await site.command("clock", {"offset_s": 3600}))[0] == 200
    state = (await site.command("state", method="GET"))[1]
    assert state["records"]["leases"] == 102
    assert state["switches"]["clock_offset_s"] == 3600
    requests = (await site.command("requests", method="GET"))[1]
    assert [request["status"] for request in requests["requests"]] == [429, 200, 405]
    assert requests["by_status"] == {"200": 1, "405": 1, "429": 1}
    await site.command("requests/reset")
    assert (await site.command("requests", method="GET"))[1]["total"] == 0
    assert (await site.command("reset", {"leases": 7}))[0] == 200
    assert len(site.emulator.raw_records("leases")) == 7


async def test_the_truth_comes_as_lines_or_in_an_envelope(site: Site) -> None:
    site.emulator.change("units", delete=1)
    truth = site.emulator.raw_records("units")
    assert (await site.get("/_emulator/records/units"))[1].split(b"\n")[:-1] == truth
    assert (await site.get("/_emulator/records/units?format=data"))[1] == b'{"data":[' + b",".join(truth) + b"]}"
    assert (await site.get("/_emulator/records/leases/tenants"))[0] == 200
    assert (await site.get("/_emulator/records/nothing"))[0] == 404


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("faults", {"kind": "flood"}, "no fault is called"),
        ("faults", {"kind": "429", "pages": 2}, "a fault has no 'pages'"),
        ("faults", {"kind": "truncate", "variant": "half"}, "comes as connection, body"),
        ("faults", {"kind": "429", "count": -1}, "whole number"),
        ("poison", {"entity": "leases", "kinds": ["arsenic"]}, "no poison is called"),
        ("poison", {"entity": "owners", "kinds": ["beyond-bigint"]}, "no field that could show"),
        ("changes", {"entity": "ghosts", "create": 1}, "no list 'ghosts'"),
        ("changes", {"entity": "tasks", "create": 1}, "cannot be created"),
        ("changes", {"entity": "leases", "update": "lots"}, "neither a number"),
        ("switches", {"leases": 5}, "change it with a reset"),
        ("inject", {"entity": "leases"}, "'raw' is missing"),
    ],
)
async def test_impossible_commands_are_refused_in_words(site: Site, path: str, body: Any, reason: str) -> None:
    status, answer = await site.command(path, body)
    assert status == 400
    assert reason in answer["message"]


async def test_a_reset_brings_back_the_very_bytes(site: Site) -> None:
    before = {entity: site.emulator.raw_records(entity) for entity in ("leases", "units")}
    site.emulator.change("leases", create=5, delete=5, update=5)
    site.emulator.poison("units", "empty-id")
    site.emulator.reset()
    assert {entity: site.emulator.raw_records(entity) for entity in before} == before

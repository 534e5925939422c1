"""The emulated DoorLoop answers as the real one is known to: envelope, pages, orders, filters, refusals, records."""

import asyncio
import json
import unicodedata
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from keepstep.integrations.doorloop.emulator.options import EmulatorOptions
from keepstep.integrations.doorloop.emulator.seed import Seed
from keepstep.integrations.doorloop.emulator.server import DoorLoopEmulator
from keepstep.integrations.emulation.emulator import serve_forever

MAIN = ("owners", "properties", "units", "leases", "tenants")


@dataclass
class Site:
    """A served emulator and a client with its key."""

    emulator: DoorLoopEmulator
    base_url: str
    session: aiohttp.ClientSession

    async def get(self, path: str, **headers: str) -> tuple[int, str, bytes]:
        async with self.session.get(self.base_url + path, headers=headers) as answer:
            return answer.status, answer.content_type, await answer.read()

    async def page(self, path: str) -> tuple[int, list[Any]]:
        status, content_type, body = await self.get(path)
        assert (status, content_type) == (200, "application/json"), body[:200]
        envelope = json.loads(body)
        assert list(envelope) == ["total", "data"]
        return envelope["total"], envelope["data"]


@asynccontextmanager
async def served(**options: Any) -> AsyncIterator[Site]:
    emulator = DoorLoopEmulator(EmulatorOptions(**options))
    headers = {"Authorization": f"bearer {emulator.options.api_key}"}
    async with emulator.serve() as base_url, aiohttp.ClientSession(headers=headers) as session:
        yield Site(emulator, base_url, session)


async def until(reached: Callable[[], bool]) -> None:
    """Let the loop run until a condition holds, for 10 s at most."""
    deadline = asyncio.get_running_loop().time() + 10
    for _ in iter(reached, True):
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with served() as site:
        yield site


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    options = EmulatorOptions(leases=300, tenants=200)
    assert Seed(options).records() == Seed(options).records()
    assert Seed(options).records()["leases"] != Seed(options.changed({"seed": 2})).records()["leases"]


def test_every_documented_field_appears_somewhere_and_optional_ones_are_sometimes_absent() -> None:
    records = {
        entity: [json.loads(row) for row in rows]
        for entity, rows in Seed(EmulatorOptions(leases=3000)).records().items()
    }
    documented = {
        "properties": "id name type class active address numActiveUnits owners amenities pictures petsPolicy "
        "description typeDescription settings boardMembers createdAt updatedAt createdBy updatedBy",
        "units": "id name property active addressSameAsProperty address beds baths size marketRent description "
        "amenities pictures listing rentalApplicationListing inEviction listed createdAt updatedAt "
        "createdBy updatedBy",
        "leases": "id name reference property units start end term status recurringRentFrequency "
        "recurringRentStatus totalRecurringRent totalRecurringCharges totalRecurringCredits "
        "totalRecurringPayments totalBalanceDue outstandingBalance currentBalance overdueBalance "
        "upcomingBalance totalDepositsHeld expiresInDays rolloverToAtWill evictionPending "
        "proofOfInsuranceRequired proofOfInsuranceStatus lastLateFeesProcessedDate renewalInfo settings "
        "notes",
        "tenants": "id firstName lastName middleName name fullName type emails phones e164PhoneMobileNumber "
        "dateOfBirth gender languagePreference companyName prospectInfo portalInfo emergencyContacts pets "
        "vehicles dependants notes acceptedOnTOS stripeCustomerId",
        "owners": "id active firstName lastName companyName name fullName emails phones e164PhoneMobileNumber "
        "primaryAddress alternateAddress properties managementStartDate managementEndDate portalInfo "
        "languagePreference",
    }
    for entity, names in documented.items():
        seen = {name for record in records[entity] for name in record}
        assert set(names.split()) <= seen, set(names.split()) - seen
        assert any(set(record) != set(records[entity][0]) for record in records[entity])
        assert seen - set(names.split()) - {"createdAt", "updatedAt", "createdBy", "updatedBy"}, (
            "undocumented fields too"
        )
    amounts = {type(record["totalDepositsHeld"]) for record in records["leases"]}
    assert amounts == {int, float}
    assert any("createdBy" not in record for record in records["leases"])
    assert any("number" not in phone for record in records["tenants"] for phone in record["phones"])


def test_records_refer_only_to_records_that_exist() -> None:
    records = {entity: [json.loads(row) for row in rows] for entity, rows in Seed(EmulatorOptions()).records().items()}
    ids = {entity: {record["id"] for record in records[entity]} for entity in MAIN}
    homes = {record["id"]: record["property"] for record in records["units"]}
    assert all(len(ids[entity]) == len(records[entity]) for entity in MAIN)
    assert all(owner["owner"] in ids["owners"] for record in records["properties"] for owner in record["owners"])
    assert all(home in ids["properties"] for home in homes.values())
    assert all(homes[unit] == record["property"] for record in records["leases"] for unit in record["units"])
    owned = {(record["id"], home) for record in records["owners"] for home in record["properties"]}
    assert owned == {(owner["owner"], record["id"]) for record in records["properties"] for owner in record["owners"]}
    active = {record["id"]: record["numActiveUnits"] for record in records["properties"]}
    for home, count in active.items():
        assert count == sum(record["property"] == home and record["active"] for record in records["units"])


def test_texts_are_as_awkward_as_real_ones() -> None:
    text = b"".join(row for rows in Seed(EmulatorOptions()).records().values() for row in rows).decode()
    scripts = {unicodedata.name(char, "?").split()[0] for char in set(text)}
    assert {"CJK", "HIRAGANA", "HANGUL", "ARABIC", "HEBREW", "CYRILLIC", "GREEK", "DEVANAGARI"} <= scripts
    assert "🎉" in text
    for escape in ("\\n", "\\t", '\\"', "\\\\", "\\u0007"):
        assert escape in text


def test_records_of_accounts_without_some_entities_refer_to_nothing() -> None:
    records = Seed(EmulatorOptions(owners=0, properties=0, units=0, leases=5, tenants=3)).records()
    lease = json.loads(records["leases"][0])
    assert lease["units"] == []
    assert "property" not in lease
    assert json.loads(Seed(EmulatorOptions(owners=0)).records()["properties"][0])["owners"] == []


async def test_pages_default_to_50_and_together_hold_every_record_once(site: Site) -> None:
    total, first = await site.page("/tenants")
    assert (total, len(first)) == (1200, 50)
    pages = [(await site.page(f"/tenants?page_number={n}&page_size=500"))[1] for n in (1, 2, 3, 4)]
    assert [len(page) for page in pages] == [500, 500, 200, 0]
    truth = {record["id"]: record for record in site.emulator.records("tenants")}
    assert {record["id"]: record for page in pages for record in page} == truth


async def test_unknown_parameters_are_ignored_so_a_wrong_paging_name_repeats_page_one(site: Site) -> None:
    assert await site.page("/tenants?limit=200&page=3&offset=50") == await site.page("/tenants")


async def test_a_page_size_over_the_maximum_is_clamped_or_refused_by_switch(site: Site) -> None:
    assert len((await site.page("/tenants?page_size=5000"))[1]) == 1000
    site.emulator.switch(page_size_over_max="reject")
    status, _, body = await site.get("/tenants?page_size=5000")
    assert status == 400
    assert json.loads(body)["message"] == "Validation Failed"
    assert (await site.get("/tenants?page_size=abc"))[0] == 400


async def test_default_orders_are_by_name_and_leases_follow_no_field(site: Site) -> None:
    for entity in ("owners", "properties", "units", "tenants"):
        names = [record["name"].casefold() for record in (await site.page(f"/{entity}?page_size=1000"))[1]]
        assert names == sorted(names)
    leases = (await site.page("/leases?page_size=1000"))[1]
    for field in ("id", "name", "createdAt", "updatedAt"):
        values = [record[field] for record in leases]
        assert values not in (sorted(values), sorted(values, reverse=True))


async def test_sorting_by_update_time_is_honoured_unless_a_switch_says_otherwise(site: Site) -> None:
    path = "/leases?page_size=1000&sort_by=updatedAt&sort_descending=true"
    times = [record["updatedAt"] for record in (await site.page(path))[1]]
    assert times == sorted(times, reverse=True)
    site.emulator.switch(sort="ascending")
    assert [record["updatedAt"] for record in (await site.page(path))[1]] == times[::-1]
    site.emulator.switch(sort="ignored")
    assert await site.page(path) == await site.page("/leases?page_size=1000")


async def test_an_unknown_sort_field_is_ignored_or_refused_by_switch(site: Site) -> None:
    assert await site.page("/leases?sort_by=colour") == await site.page("/leases")
    site.emulator.switch(unknown_sort_field="reject")
    assert (await site.get("/leases?sort_by=colour"))[0] == 400


async def test_units_are_active_ones_unless_asked(site: Site) -> None:
    truth = site.emulator.records("units")
    active = sum(record["active"] for record in truth)
    assert 0 < active < len(truth) == 800
    assert (await site.page("/units"))[0] == (await site.page("/units?filter_active=true"))[0] == active
    total, inactive = await site.page("/units?filter_active=false&page_size=1000")
    assert total == len(truth) - active
    assert not any(record["active"] for record in inactive)
    site.emulator.switch(filter_active_false="all")
    assert (await site.page("/units?filter_active=false"))[0] == len(truth)


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        ("/leases?filter_status=ACTIVE", "status", "ACTIVE"),
        ("/tenants?filter_type=PROSPECT_TENANT", "type", "PROSPECT_TENANT"),
        ("/properties?filter_class=COMMERCIAL", "class", "COMMERCIAL"),
    ],
)
async def test_filters_narrow_a_listing(site: Site, path: str, field: str, value: str) -> None:
    total, records = await site.page(path + "&page_size=1000")
    truth = [record for record in site.emulator.records(path[1:].partition("?")[0]) if record[field] == value]
    assert total == len(records) == len(truth) > 0
    assert all(record[field] == value for record in records)


async def test_one_record_is_found_by_its_id_and_another_id_is_404_json(site: Site) -> None:
    record = site.emulator.raw_records("leases")[7]
    assert await site.get(f"/leases/{json.loads(record)['id']}") == (200, "application/json", record)
    assert (await site.get("/leases/66d7aa000000000000000301"))[:2] == (404, "application/json")
    assert (await site.page("/leases/tenants"))[0] == 25


@pytest.mark.parametrize(
    ("path", "switch", "value"),
    [
        ("/lease-reversed-payments", "returned_payments", "lease-returned-payments"),
        ("/lease-returned-payments", "returned_payments", "lease-reversed-payments"),
        ("/portfolios", "portfolios", "property-groups"),
        ("/property-groups", "portfolios", "portfolios"),
    ],
)
async def test_disputed_paths_answer_both_unless_a_switch_takes_a_side(
    site: Site, path: str, switch: str, value: str
) -> None:
    await site.page(path)
    site.emulator.switch(**{switch: value})
    assert (await site.get(path))[:2] == (200, "text/html")


async def test_a_wrong_path_is_a_success_with_html_and_the_docs_host_is_404_with_html(site: Site) -> None:
    for path in ("/payments", "/v1/leases", "/leases/x/y"):
        status, content_type, body = await site.get(path)
        assert (status, content_type) == (200, "text/html")
        assert body.startswith(b"<!doctype html>")
    async with site.session.get(site.base_url.removesuffix("/api") + "/") as root:
        assert (root.status, root.content_type) == (200, "text/html")
    site.emulator.switch(docs_host=True)
    status, content_type, body = await site.get("/leases")
    assert (status, content_type) == (404, "text/html")
    assert b'readme-deploy" content="5.544.0"' in body


async def test_keys_are_checked_and_never_kept(site: Site) -> None:
    key = site.emulator.options.api_key
    for good in (f"bearer {key}", f"Bearer {key}", f"BEARER {key}", key):
        assert (await site.get("/users/me", Authorization=good))[0] == 200
    for bad in ("bearer nope", f"bearer bearer {key}", f'bearer "{key}"', "", f"Basic {key}"):
        assert (await site.get("/users/me", Authorization=bad))[:2] == (401, "application/json")
    site.emulator.switch(raw_key_accepted=False)
    assert (await site.get("/users/me", Authorization=key))[0] == 401
    await site.get(f"/leases?api_key={key}")
    kept = repr([request.shown() for request in site.emulator.requests()]) + repr(site.emulator.state())
    assert key not in kept + repr(site.emulator.options)


async def test_a_role_that_may_not_read_gets_405(site: Site) -> None:
    site.emulator.switch(forbidden=["owners"])
    status, content_type, body = await site.get("/owners")
    assert (status, content_type, json.loads(body)) == (405, "application/json", {"message": "METHOD_NOT_ALLOWED"})
    assert (await site.get("/leases"))[0] == 200


async def test_a_report_without_its_accounting_method_is_refused_as_captured(site: Site) -> None:
    status, _, body = await site.get("/reports/rent-roll")
    assert status == 400
    assert json.loads(body) == {
        "errors": {"filter_accountingMethod": "This field is required"},
        "message": "Validation Failed",
    }


async def test_dressed_records_mean_the_same_and_look_different(site: Site) -> None:
    plain = await site.get("/leases?page_size=20")
    site.emulator.switch(pretty=True, shuffle_keys=True)
    first, second = await site.get("/leases?page_size=20"), await site.get("/leases?page_size=20")
    assert len({plain[2], first[2], second[2]}) == 3
    assert json.loads(first[2]) == json.loads(second[2]) == json.loads(plain[2])
    site.emulator.switch(pretty=False, shuffle_keys=False, volatile_field=True)
    one, two = [(await site.page("/leases?page_size=1"))[1][0] for _ in range(2)]
    assert one.pop("lastViewedToken") != two.pop("lastViewedToken")
    assert one == two


async def test_both_rate_windows_refuse_with_seconds_to_wait() -> None:
    async with served(rate_per_minute=2, rate_per_hour=3, rate_headers="x-ratelimit") as site:
        async with site.session.get(site.base_url + "/leases") as answer:
            assert answer.headers["X-RateLimit-Remaining"] == "1"
        assert (await site.get("/owners"))[0] == 200
        async with site.session.get(site.base_url + "/leases") as answer:
            assert answer.status == 429
            assert await answer.json() == {"message": "RATE_LIMIT_EXCEEDED"}
            assert 55 <= int(answer.headers["Retry-After"]) <= 60
        site.emulator.switch(rate_per_minute=0, rate_per_hour=1)
        await site.get("/leases")
        async with site.session.get(site.base_url + "/leases") as answer:
            assert 3500 <= int(answer.headers["Retry-After"]) <= 3600
        site.emulator.switch(rate_scope="endpoint")
        assert [(await site.get(path))[0] for path in ("/leases", "/owners", "/leases")] == [200, 200, 429]


async def test_requests_in_flight_are_counted_while_latency_holds_them(site: Site) -> None:
    site.emulator.fault("hang", count=3)
    waiting = [asyncio.create_task(site.get("/leases?page_size=1")) for _ in range(3)]
    await until(lambda: site.emulator.log.in_flight == 3)
    site.emulator.release()
    assert [status for status, _, _ in await asyncio.gather(*waiting)] == [200, 200, 200]
    assert (site.emulator.log.in_flight, site.emulator.log.max_in_flight, site.emulator.log.total) == (0, 3, 3)
    assert [request.query for request in site.emulator.requests()] == ["page_size=1"] * 3


async def test_serve_forever_tells_where_it_listens_and_stops_when_told() -> None:
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    emulator = DoorLoopEmulator(EmulatorOptions(leases=1))
    serving = asyncio.create_task(serve_forever(emulator, started=ready.set_result, until=stop))
    async with aiohttp.ClientSession() as session, session.get(f"{await ready}/leases") as answer:
        assert answer.status == 401
    stop.set()
    await serving


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"sort": "maybe"}, "sort is one of"),
        ({"colour": 1}, "no switch 'colour'"),
        ({"latency_ms": "slow"}, "latency_ms takes"),
        ({"leases": -1}, "leases lies between"),
    ],
)
def test_impossible_options_are_refused_in_words(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        EmulatorOptions().changed(values)

"""The DoorLoop connector passes the suite of all integrations, and says what its answers mean."""

from typing import Any

import pytest

from keepstep.model.errors import Permanent, RateLimited, UpstreamError
from tests.integrations.conformance import Conformance
from tests.integrations.doorloop.account import LEASES, UNITS, DoorLoopUpstream
from tests.integrations.upstream import keys_of, read_all
from tests.support.clock import HurriedClock


class TestDoorLoop(Conformance):
    """DoorLoop passes the suite of all integrations."""


@pytest.mark.parametrize(
    ("fault", "kind", "says", "fix"),
    [
        ({"kind": "401"}, "auth-failed", "401", "DOORLOOP_API_KEY"),
        ({"kind": "403"}, "permanent", "403", "SYNC_ENTITIES"),
        ({"kind": "404"}, "permanent", "404", "DOORLOOP_BASE_URL"),
        ({"kind": "405"}, "permanent", "role", "role"),
        ({"kind": "400"}, "permanent", "Validation Failed", "https://api.doorloop.com/reference"),
        ({"kind": "429", "retry_after": 600}, "rate-limited", "600 s", "DOORLOOP_PAGE_SIZE"),
        ({"kind": "429", "retry_after": 600, "retry_after_as": "date"}, "rate-limited", "wait", "by itself"),
        ({"kind": "500"}, "transient", "500", "support"),
        ({"kind": "html"}, "not-data", "web page", "endpoint"),
        ({"kind": "readme"}, "not-data", "documentation", "https://app.doorloop.com/api"),
        ({"kind": "envelope", "variant": "items"}, "not-data", '"total" and "data" are missing', "pagination"),
        ({"kind": "envelope", "variant": "list"}, "not-data", "no {total, data}", "pagination"),
        ({"kind": "envelope", "variant": "null"}, "not-data", '"data" is not a list', "pagination"),
        ({"kind": "envelope", "variant": "total-text"}, "not-data", '"total" is not a whole', "pagination"),
        ({"kind": "envelope", "variant": "no-total"}, "not-data", '"total" is missing', "pagination"),
        ({"kind": "envelope", "variant": "no-data"}, "not-data", '"data" is missing', "pagination"),
        ({"kind": "envelope", "variant": "wrapped"}, "not-data", "missing", "pagination"),
        ({"kind": "truncate", "variant": "body"}, "not-data", "not whole JSON", "DOORLOOP_PAGE_SIZE"),
    ],
)
async def test_each_answer_says_what_happened_and_what_to_do(
    upstream: DoorLoopUpstream, fault: dict[str, Any], kind: str, says: str, fix: str
) -> None:
    upstream.emulator.fault(**fault, count=None)
    doorloop = upstream.doorloop(clock=HurriedClock())

    with pytest.raises(UpstreamError) as raised:
        await read_all(doorloop, LEASES)

    assert raised.value.kind == kind
    assert says in raised.value.message
    assert fix in raised.value.fix


async def test_a_role_without_access_to_one_entity_stops_only_that_entity(upstream: DoorLoopUpstream) -> None:
    upstream.emulator.switch(forbidden=["leases"])
    doorloop = upstream.doorloop()

    with pytest.raises(Permanent) as raised:
        await read_all(doorloop, LEASES)

    assert not raised.value.stops_run
    assert len(keys_of(await read_all(doorloop, UNITS))) == 50
    assert (await doorloop.ping()).state == "ok"


async def test_a_role_without_access_to_owners_still_proves_the_key(upstream: DoorLoopUpstream) -> None:
    upstream.emulator.switch(forbidden=["owners"])

    ping = await upstream.doorloop().ping()

    assert (ping.ok, ping.state, ping.authenticated) == (True, "degraded", True)


async def test_the_rate_windows_of_the_vendor_give_the_worker_back(upstream: DoorLoopUpstream) -> None:
    upstream.emulator.switch(rate_per_minute=3)
    doorloop = upstream.doorloop(page_size=10, max_concurrency=1)

    with pytest.raises(RateLimited) as raised:
        await read_all(doorloop, LEASES)

    assert raised.value.after is not None
    assert 30 < raised.value.after <= 60


@pytest.mark.parametrize("style", ["x-ratelimit", "ratelimit", "ratelimit-draft"])
async def test_rate_headers_arrive_with_the_pages(upstream: DoorLoopUpstream, style: str) -> None:
    upstream.emulator.switch(rate_headers=style, rate_per_minute=50)

    page = (await read_all(upstream.doorloop(page_size=1000), LEASES))[0]

    assert page.rate_limit is not None
    assert (page.rate_limit.limit, page.rate_limit.remaining) == (50, 49)
    assert page.rate_limit.reset is not None


async def test_the_documentation_site_is_recognised(upstream: DoorLoopUpstream) -> None:
    upstream.emulator.switch(docs_host=True)

    ping = await upstream.doorloop().ping()

    assert ping.state == "failing"
    assert "documentation" in ping.reason
    assert "https://app.doorloop.com/api" in ping.fix


async def test_a_base_url_with_v1_is_pointed_out(upstream: DoorLoopUpstream) -> None:
    ping = await upstream.doorloop(base_url=upstream.base_url + "/v1").ping()

    assert ping.state == "failing"
    assert "/v1" in ping.fix


async def test_an_unknown_endpoint_has_a_readable_check(upstream: DoorLoopUpstream) -> None:
    check = await upstream.doorloop().check("payments")

    assert (check.ok, check.status) == (False, 200)
    assert "web page" in check.message
    assert "no endpoint /payments" in check.fix


@pytest.mark.parametrize("key", ["", "   ", "one two three", "line\nbreak", "schlüssel-0123456789"])
async def test_a_key_that_cannot_be_sent_is_not_sent(upstream: DoorLoopUpstream, key: str) -> None:
    doorloop = upstream.doorloop(api_key=key)

    ping = await doorloop.ping()

    assert (ping.state, ping.authenticated) == ("failing", False)
    assert "DOORLOOP_API_KEY" in ping.fix
    assert upstream.requests() == 0


@pytest.mark.parametrize("shape", [" {} ", "Bearer {}", "bearer  {}\n"])
async def test_a_key_that_only_needs_trimming_works(upstream: DoorLoopUpstream, shape: str) -> None:
    doorloop = upstream.doorloop(api_key=shape.format(upstream.secret), base_url=upstream.base_url + "/ ")

    assert (await doorloop.ping()).state == "ok"
    assert doorloop.warnings
    assert upstream.secret not in str(doorloop.warnings)


async def test_a_pause_of_less_than_half_a_minute_is_waited_for(upstream: DoorLoopUpstream) -> None:
    clock = HurriedClock()
    upstream.emulator.fault("429", retry_after=25)

    pages = await read_all(upstream.doorloop(clock=clock), LEASES)

    assert pages[0].requests == 2
    assert clock.slept >= 25

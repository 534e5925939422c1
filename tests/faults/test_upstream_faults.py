"""Every fault of upstream, made for real: ping and status name it, and once the fix is followed it is gone."""

from pathlib import Path
from typing import Any

import pytest

from keepstep.integrations.doorloop.connector import DoorLoop
from keepstep.integrations.http import Timeouts
from keepstep.model.diagnosis import TABLE
from tests.faults.conftest import DOORLOOP, at, ping, problems, status
from tests.support.elsewhere import answering, free_port, own_address, self_signed, to_https, web_page
from tests.support.site import Served
from tests.support.sync import Sync

ANSWERS: dict[str, dict[str, Any]] = {
    "auth-failed": {"kind": "401"},
    "access-denied": {"kind": "403"},
    "role-refused": {"kind": "405"},
    "endpoint-unknown": {"kind": "404"},
    "request-rejected": {"kind": "400"},
    "request-refused": {"kind": "418"},
    "rate-limited-minute": {"kind": "429", "retry_after": 40},
    "rate-limited-hour": {"kind": "429", "retry_after": 1800},
    "upstream-failed": {"kind": "500"},
    "html-instead-of-data": {"kind": "html"},
    "docs-host": {"kind": "readme"},
    "answer-cut-off": {"kind": "truncate", "variant": "connection"},
    "json-cut-off": {"kind": "truncate", "variant": "body"},
    "bad-json": {"kind": "bad-json"},
    "wrong-envelope": {"kind": "envelope", "variant": "items"},
    "connection-broken": {"kind": "reset", "variant": "rst"},
}


@pytest.mark.parametrize("code", ANSWERS)
async def test_an_answer_that_is_not_data_is_named_and_gone_when_it_is(sync: Sync, site: Served, code: str) -> None:
    sync.upstream.fault(**ANSWERS[code], forever=True)
    told = await ping(site)
    problem = (await problems(site))[code]
    kept = (await status(site))["ping"]
    sync.upstream.clear_faults()
    if code.startswith("rate-limited"):  # the pause that upstream asked for is kept to
        await site.sql("UPDATE keepstep.limits SET state = '{}'")
    better = await ping(site)

    assert told["state"] in ("degraded", "failing")
    if told["code"] != "rate-limited":  # the second one met the pause that the first one was asked for
        assert (told["code"], told["docs"]) == (code, f"docs/diagnosis.md#{code}")
        assert (told["impact"], bool(told["fix"])) == (TABLE[code].impact, True)
    assert (problem["message"], problem["fix"]) == (kept["reason"], kept["fix"])
    assert (problem["connection"], kept["code"]) == ("doorloop", code)
    assert (better["state"], "code" in better) == ("ok", False)
    assert code not in await problems(site)


async def test_a_wrong_path_is_named(sync: Sync, tmp_path: Path) -> None:
    async with at(sync, tmp_path, f"{sync.upstream.url}/v1") as site:
        told = await ping(site)
        found = await problems(site)

    assert (told["code"], "no /v1" in told["fix"]) == ("wrong-path", True)
    assert "wrong-path" in found


async def test_a_host_that_is_not_doorloop_is_named(sync: Sync, tmp_path: Path) -> None:
    address = own_address()
    if address is None:
        pytest.skip("this machine has no address of its own")
    async with answering(web_page, host=address) as url, at(sync, tmp_path, f"{url}/api") as site:
        told = await ping(site)
        found = await problems(site)

    assert (told["code"], address in told["reason"]) == ("wrong-host", True)
    assert "https://app.doorloop.com/api" in found["wrong-host"]["fix"]


async def test_http_where_https_is_wanted_is_named(sync: Sync, tmp_path: Path) -> None:
    async with answering(to_https) as url, at(sync, tmp_path, f"{url}/api") as site:
        told = await ping(site)

        assert (told["code"], "https://" in told["fix"]) == ("http-not-https", True)
        assert "http-not-https" in await problems(site)


async def test_a_certificate_that_nobody_signed_is_named(sync: Sync, tmp_path: Path) -> None:
    async with (
        answering(web_page, tls=self_signed(tmp_path)) as url,
        at(sync, tmp_path / "home", f"{url}/api") as site,
    ):
        told = await ping(site)

        assert (told["code"], "self-signed certificate" in told["reason"]) == ("tls-failed", True)
        assert "tls-failed" in await problems(site)


@pytest.mark.parametrize(
    ("base_url", "code"),
    [("https://nosuch.invalid/api", "dns-failed"), ("http://127.0.0.1:{free}/api", "connection-refused")],
)
async def test_a_host_that_is_not_there_is_named(sync: Sync, tmp_path: Path, base_url: str, code: str) -> None:
    async with at(sync, tmp_path, base_url.format(free=free_port())) as site:
        told = await ping(site)

        assert (told["code"], told["state"], "DOORLOOP_BASE_URL" in told["fix"]) == (code, "failing", True)
        assert code in await problems(site)


async def test_an_answer_that_never_comes_is_named(sync: Sync) -> None:
    sync.upstream.fault("hang", forever=True)
    doorloop = DoorLoop(
        base_url=sync.upstream.url, api_key=sync.upstream.options.api_key, timeouts=Timeouts(silence=0.2)
    )
    told = await doorloop.ping()
    await doorloop.aclose()

    assert (told.code, told.state) == ("answer-timeout", "failing")
    assert told.fix


async def test_a_slow_answer_is_degraded_and_says_what_to_do(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keepstep.integrations.probing.SLOW_SECONDS", 0.0)
    doorloop = sync.connector()
    told = await doorloop.ping()
    await doorloop.aclose()

    assert (told.code, told.state, told.ok, bool(told.fix)) == ("upstream-slow", "degraded", True, True)


@pytest.mark.parametrize(("key", "code"), [("", "key-missing"), ("two words", "key-unusable")])
async def test_a_key_that_cannot_be_sent_is_named(sync: Sync, key: str, code: str) -> None:
    doorloop = DoorLoop(base_url=sync.upstream.url, api_key=key)
    told = await doorloop.ping()
    await doorloop.aclose()

    assert (told.code, told.state) == (code, "failing")
    assert sync.upstream.requests() == []


async def test_a_role_without_one_entity_is_found_by_asking_for_each(sync: Sync, site: Served) -> None:
    from keepstep.service.checkup import look_at_upstream

    sync.upstream.switch(forbidden=["leases"])
    async with site.service.connectors.lent("doorloop") as (doorloop, _):
        found = await look_at_upstream(doorloop, ["owners", "leases"])
    run = await sync.run("owners", "leases")

    assert [(f.name, f.code) for f in found if f.state == "failed"] == [("DoorLoop leases", "role-refused")]
    assert run.result == "failed"
    assert (await problems(site))["role-refused"]["entity"] == "leases"


async def test_upstreams_clock_is_compared_with_ours(sync: Sync, site: Served) -> None:
    from keepstep.service.checkup import look_at_upstream

    sync.upstream.set_clock(offset_s=7200)
    async with site.service.connectors.lent("doorloop") as (doorloop, _):
        found = {f.code: f for f in await look_at_upstream(doorloop, ["owners"])}

    assert "DoorLoop's differ by 7," in found["clock-skew"].message


async def test_an_open_breaker_is_named_and_no_ping_is_sent_meanwhile(sync: Sync, site: Served) -> None:
    sync.upstream.fault("503", forever=True)
    for _ in range(5):
        await site.service.pinger.ping("doorloop")
    sync.upstream.clear_faults()
    sync.upstream.reset_requests()
    await site.service.pinger.round()
    await site.service.pinger.ping("doorloop")
    found = await problems(site)

    assert sync.upstream.requests() == []
    assert {"breaker-open", "upstream-failed"} <= set(found)
    assert found["breaker-open"]["since"] is not None
    assert len((await site.admin.get("/api/admin/integrations/doorloop/pings")).json()) == 5


async def test_the_ping_of_a_person_is_heard_as_well(sync: Sync, site: Served) -> None:
    await site.service.pinger.ping("doorloop")
    sync.upstream.fault("401", forever=True)
    told = (await site.admin.get(f"{DOORLOOP}/ping")).json()
    found = await problems(site)
    sync.upstream.clear_faults()
    await site.admin.get(f"{DOORLOOP}/ping")

    assert found["auth-failed"]["message"] == told["reason"]
    assert (await status(site))["ping"]["state"] == "ok"
    assert "auth-failed" not in await problems(site)


async def test_a_ping_that_failed_is_history_once_a_run_has_got_through(sync: Sync, site: Served) -> None:
    sync.upstream.fault("401", forever=True)
    await site.service.pinger.ping("doorloop")
    sync.upstream.clear_faults()
    before = await problems(site)
    await sync.delta("owners")

    assert "auth-failed" in before
    assert "auth-failed" not in await problems(site)

"""Two users connect their Google accounts with a browser and turn auto-sync on: both are kept in step, apart."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from keepstep.always_on import working
from keepstep.integrations.google_contacts.emulator.server import GoogleEmulator
from keepstep.integrations.google_contacts.entities import NO_IDENTIFIER
from keepstep.model.errors import BadRequest
from keepstep.model.integration import Mode
from keepstep.model.run import RunRequest
from tests.integrations.google_contacts.account import GoogleUpstream, contact_bytes
from tests.support.google import google_account
from tests.support.site import NO_TLS, Served, served
from tests.support.workers import until

CONFIG = "/api/logos-vision/auto-sync/config"
CONNECT = "/api/connections/google_contacts/connect"
CALLBACK = "/api/connections/google_contacts/callback"
RUN = "/api/auto-sync/google_contacts/run"
NAMES = ("ana", "ben")


@pytest.fixture
async def google() -> AsyncIterator[GoogleUpstream]:
    async with google_account(people=40) as account:
        yield account


@pytest.fixture
async def site(dsn: str, tmp_path: Path, google: GoogleUpstream) -> AsyncIterator[Served]:
    async with serving(dsn, tmp_path, google) as site:
        yield site


@asynccontextmanager
async def serving(dsn: str, home: Path, google: GoogleUpstream, **environment: str) -> AsyncIterator[Served]:
    """Keepstep beside an emulated Google."""
    options = google.emulator.options
    given = {
        "GOOGLE_CONTACTS_BASE_URL": google.base_url, "GOOGLE_CLIENT_ID": options.client_id,
        "GOOGLE_CLIENT_SECRET": options.client_secret, "GOOGLE_CONTACTS_PAGE_SIZE": "15", **environment,
    }  # fmt: skip
    async with served(dsn, home, **given) as site:
        yield site


def account_of(name: str) -> str:
    return f"{name}@example.test"


async def at_google(address: str) -> str:
    """Where a browser comes back to that opens the consent's address."""
    async with httpx.AsyncClient(verify=NO_TLS) as browser:
        answer = await browser.get(address)
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


async def begun(client: httpx.AsyncClient, name: str, **query: str) -> str:
    """The address that the user is sent to."""
    answer = await client.get(CONNECT, params={"account": account_of(name), **query})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


async def connect(client: httpx.AsyncClient, name: str, **query: str) -> httpx.Response:
    """Consent from its beginning to its end."""
    return await client.get(await at_google(await begun(client, name, **query)))


async def lines(site: Served) -> dict[str, dict[str, Any]]:
    """Each user's connection, by the user's name."""
    items = (await site.admin.get("/api/admin/owners")).json()["items"]
    return {item["user"]: item for item in items}


async def runs_of(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    return list((await client.get("/api/auto-sync/google_contacts/runs")).json())


async def ended(client: httpx.AsyncClient, count: int) -> list[dict[str, Any]]:
    """A user's runs, newest first, once so many have ended."""

    async def over() -> bool:
        return sum(run["finishedAt"] is not None for run in await runs_of(client)) >= count

    await until(over)
    return await runs_of(client)


async def keys(site: Served, entity: str) -> dict[str, set[str]]:
    """The keys of the live rows by the name of their owner."""
    rows = await site.sql(
        f"SELECT u.name, t.id FROM google_contacts.{entity} t JOIN keepstep.users u ON u.owner_id = t.owner_id"
        " WHERE t._deleted_at IS NULL"
    )
    return {name: {row["id"] for row in rows if row["name"] == name} for name in NAMES}


async def _has_begun(client: httpx.AsyncClient) -> bool:
    return len(await runs_of(client)) == 1


def people_of(emulator: GoogleEmulator, name: str) -> tuple[set[str], int]:
    """What a user's account holds: its people, and how many of them can be reached."""
    records = emulator.raw_records(account_of(name))
    return set(emulator.account(account_of(name)).names()), sum(contact_bytes(one) is not None for one in records)


async def test_two_users_are_kept_in_step_apart_and_a_revoked_consent_concerns_its_owner_only(
    site: Served, google: GoogleUpstream
) -> None:
    emulator = google.emulator
    shared = emulator.account(account_of("ana")).names()[0]
    record = next(r for r in emulator.raw_records(account_of("ana")) if contact_bytes(r) and shared.encode() in r)
    emulator.inject(record, shared, account=account_of("ben"))
    for name in NAMES:
        await site.user(name, role="user")
    async with site.signed_in("ana") as ana, site.signed_in("ben") as ben, working(site.service, concurrency=2):
        for name, client in zip(NAMES, (ana, ben), strict=True):
            answer = await client.put(CONFIG, json={"enabled": True, "interval_hours": 24})
            waits = (await lines(site))[name]
            assert (answer.status_code, waits["state"]) == (200, "needs-connecting")
            assert (await connect(client, name)).status_code == 204

        first = {"ana": (await ended(ana, 1))[0], "ben": (await ended(ben, 1))[0]}
        rows = {entity: await keys(site, entity) for entity in ("connections", "contacts")}
        for name in NAMES:
            people, reachable = people_of(emulator, name)
            assert first[name]["result"] == "succeeded", first[name]["error"]
            assert rows["connections"][name] == people
            assert len(rows["contacts"][name]) == reachable < len(people)
            assert first[name]["skipped"] == {NO_IDENTIFIER: len(people) - reachable}
        assert shared in rows["contacts"]["ana"] & rows["contacts"]["ben"]

        emulator.revoke(account_of("ana"))
        emulator.change(create=3, account=account_of("ben"))
        for client in (ana, ben):
            assert (await client.post(RUN)).status_code == 202
        refused, good = (await ended(ana, 2))[0], (await ended(ben, 2))[0]
        told = await lines(site)
        again = await ana.post(RUN)

        assert (refused["result"], refused["error"]["code"]) == ("failed", "needs-reconnect")
        assert (told["ana"]["state"], told["ana"]["nextSync"]) == (
            "needs-reconnect", "waits until it is connected again",
        )  # fmt: skip
        assert (again.status_code, again.json()["fix"]) == (409, "Connect the account again.")
        assert len(await runs_of(ana)) == 2
        assert (good["result"], told["ben"]["state"]) == ("succeeded", "connected")
        after = await keys(site, "connections")
        assert after["ben"] == people_of(emulator, "ben")[0] > rows["connections"]["ben"]
        assert after["ana"] == rows["connections"]["ana"]

        assert (await connect(ana, "ana")).status_code == 204
        assert (await ended(ana, 3))[0]["result"] == "succeeded"
        assert (await lines(site))["ana"]["state"] == "connected"


async def test_another_account_is_read_at_once_and_what_only_the_former_one_had_goes_without_asking(
    site: Served, google: GoogleUpstream
) -> None:
    """Most of the rows go: as a deletion upstream that would wait for a person."""
    emulator = google.emulator
    shared = emulator.account(account_of("ana")).names()[0]
    record = next(r for r in emulator.raw_records(account_of("ana")) if shared.encode() in r)
    emulator.inject(record, shared, account=account_of("eva"))
    await site.user("ana", role="user")
    async with site.signed_in("ana") as ana, working(site.service, concurrency=2):
        await ana.put(CONFIG, json={"enabled": True, "interval_hours": 24})
        await connect(ana, "ana")
        await ended(ana, 1)
        first_seen = await site.sql("SELECT _first_seen_at FROM google_contacts.connections WHERE id = %s", shared)
        assert (await connect(ana, "eva")).status_code == 204
        [run, *_] = await ended(ana, 2)
        people, reachable = people_of(emulator, "eva")
        connections, contacts = (await keys(site, "connections"))["ana"], (await keys(site, "contacts"))["ana"]

        assert (run["trigger"], run["result"]) == ("schedule", "succeeded"), run["error"]
        assert (connections, len(contacts)) == (people, reachable)
        assert {one["entity"]: (one["inserted"], one["deleted"]) for one in run["entities"]}["connections"] == (40, 39)
        assert first_seen == await site.sql(
            "SELECT _first_seen_at FROM google_contacts.connections WHERE id = %s", shared
        )
        assert (await connect(ana, "eva")).status_code == 204  # the same: reading goes on from its sync token
        assert (await ana.post(RUN)).status_code == 202
        [same, *_] = await ended(ana, 3)
        emulator.change(delete=30, account=account_of("eva"))
        emulator.expire()
        assert (await ana.post(RUN)).status_code == 202
        [guarded, *_] = await ended(ana, 4)

    assert (same["result"], same["rows"]) == ("succeeded", 0)
    assert guarded["result"] == "held"


async def test_the_wrong_account_is_changed_for_an_empty_one_before_its_first_reading_has_ended(
    site: Served, google: GoogleUpstream
) -> None:
    emulator = google.emulator
    await site.user("ana", role="user")
    emulator.change(delete=40, account=account_of("eva"))
    async with site.signed_in("ana") as ana:
        await ana.put(CONFIG, json={"enabled": True, "interval_hours": 24})
        await connect(ana, "ana")
        emulator.fault("hang", page=3)
        async with working(site.service, concurrency=2):

            async def is_half_read() -> bool:
                [run] = await runs_of(ana)
                return run["rows"] >= 30

            await until(lambda: _has_begun(ana))
            await until(is_half_read)
            assert (await connect(ana, "eva")).status_code == 204
            emulator.release()
            [run, *_] = await ended(ana, 2)
        left = await keys(site, "connections")

    assert (run["result"], run["inserted"]) == ("succeeded", 0), run["error"]
    assert left["ana"] == set(), run["entities"]


async def test_an_account_is_asked_by_an_administrator_and_by_its_owner_alone(
    site: Served, google: GoogleUpstream
) -> None:
    registry = "/api/admin/integrations"
    ping, check = f"{registry}/google_contacts/ping", f"{registry}/google_contacts/check"
    for name in NAMES:
        await site.user(name, role="operator")
    async with site.signed_in("ana") as ana, site.signed_in("ben") as ben:
        await ana.put(CONFIG, json={"enabled": True, "interval_hours": 24})
        await connect(ana, "ana")
        good = (await site.admin.get(ping, params={"owner": "ana"})).json()
        own = (await ana.get(check, params={"owner": "ana", "endpoint": "connections"})).json()
        others = [await ben.get(ping, params={"owner": name}) for name in ("ana", "nobody")]
        unknown = await site.admin.get(ping, params={"owner": "nobody"})
        unconnected = (await site.admin.get(ping, params={"owner": "ben"})).json()
        nobodys = (await site.admin.get(ping)).json()
        google.emulator.revoke(account_of("ana"))
        bad = (await site.admin.get(ping, params={"owner": "ana"})).json()
    known = {one["key"]: one for one in (await site.admin.get(registry)).json()}

    assert (good["ok"], good["authenticated"], bad["ok"], bad["state"]) == (True, True, False, "failing")
    assert "resourceName" in own["firstItemKeys"]
    assert [answer.status_code for answer in others] == [403, 403]
    assert (unknown.status_code, unknown.json()["detail"]) == (404, "There is no user nobody.")
    assert (unconnected["ok"], nobodys["ok"]) == (False, False)
    assert "no account that all share" in nobodys["reason"]
    assert (known["doorloop"]["perOwner"], known["google_contacts"]["perOwner"]) == (False, True)
    assert (known["google_contacts"]["configured"], known["google_contacts"]["health"]["score"]) == (True, 100)


async def test_a_consent_comes_back_to_where_keepstep_is_reached_and_goes_on_to_a_path_of_ours(
    dsn: str, tmp_path: Path, google: GoogleUpstream
) -> None:
    async with serving(dsn, tmp_path, google, KEEPSTEP_PUBLIC_URL="https://keepstep.example.test/") as site:
        await site.user("ana", role="user")
        async with site.signed_in("ana") as ana:
            back = urlsplit(await at_google(await begun(ana, "ana", next="/crm/settings?tab=2")))
            answer = await ana.get(f"{back.path}?{back.query}")
            elsewhere = [
                (await ana.get(CONNECT, params={"next": after})).status_code
                for after in ("https://evil.example.test", "//evil.example.test", "/\\evil.example.test", "/\t/x")
            ]

    assert f"{back.scheme}://{back.netloc}{back.path}" == f"https://keepstep.example.test{CALLBACK}"
    assert (answer.status_code, answer.headers["location"]) == (303, "/crm/settings?tab=2")
    assert elsewhere == [422] * 4


async def test_the_attempt_is_kept_in_a_cookie_that_only_its_own_user_can_finish(
    site: Served, google: GoogleUpstream
) -> None:
    for name in NAMES:
        await site.user(name, role="user")
    async with site.signed_in("ana") as ana, site.signed_in("ben") as ben:
        answer = await ana.get(CONNECT, params={"account": account_of("ana")})
        back = await at_google(answer.headers["location"])
        cookie = answer.headers["set-cookie"]
        state = dict(parse_qsl(urlsplit(back).query))["state"]
        without = await ben.get(back)
        ben.cookies.set("keepstep_consent", ana.cookies["keepstep_consent"])
        others = await ben.get(back)
        forged = await ana.get(CALLBACK, params={"code": "4/stolen", "state": "another"})
        own = await ana.get(back)
        replayed = await ana.get(back)
        told = await lines(site)

    assert all(part in cookie for part in ("HttpOnly", "SameSite=lax", "Max-Age=600", "Path=/api/connections"))
    assert state not in cookie
    for refused in (without, others, forged, replayed):
        assert (refused.status_code, refused.json()["code"]) == (409, "consent-refused"), refused.text
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["fix"]
    assert own.status_code == 204
    assert "keepstep_consent" not in ana.cookies
    assert list(told) == ["ana"]


async def test_consent_is_in_the_admin_log_and_no_secret_of_it_anywhere(site: Served, google: GoogleUpstream) -> None:
    await site.user("ana", role="user")
    async with site.signed_in("ana") as ana:
        google.emulator.switch(consent="deny")
        denied = await connect(ana, "ana")
        google.emulator.switch(consent="allow")
        await connect(ana, "ana")
    acts = await site.sql(
        "SELECT \"user\", payload::text, result FROM keepstep.admin_logs WHERE action = 'owner.connect' ORDER BY id"
    )
    [stored] = await site.sql("SELECT credentials FROM keepstep.connections")

    assert (denied.status_code, denied.json()["code"]) == (409, "consent-refused")
    assert "did not allow" in denied.json()["detail"]
    assert [(act["user"], act["result"] == "done") for act in acts] == [("ana", False), ("ana", True)]
    for secret in ("ya29.", "1//", "4/", google.emulator.options.client_secret):
        assert not any(secret in act["payload"] or secret in act["result"] for act in acts)
        assert secret.encode() not in bytes(stored["credentials"])


async def test_what_nobody_connects_by_consent_and_an_application_without_a_client_are_told_with_a_fix(
    dsn: str, tmp_path: Path, google: GoogleUpstream
) -> None:
    async with serving(dsn, tmp_path, google, GOOGLE_CLIENT_ID="") as site:
        unknown = await site.admin.get(CONNECT.replace("google_contacts", "doorloop"))
        without = await site.admin.get(CONNECT)
        with pytest.raises(BadRequest) as nobodys:
            await site.service.commands.enqueue("google_contacts", RunRequest(("contacts",), Mode.DELTA))

    assert (unknown.status_code, bool(unknown.json()["fix"])) == (404, True)
    assert (without.status_code, "GOOGLE_CLIENT_ID" in without.json()["fix"]) == (422, True)
    assert "owner" in nobodys.value.fix

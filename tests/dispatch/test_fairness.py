"""One owner's dead account delays nobody else: real runs against an emulated Google that is silent to some."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keepstep.always_on import working
from keepstep.integrations.tokens import TokenSet
from tests.integrations.google_contacts.account import GoogleUpstream
from tests.support.google import google_account
from tests.support.site import Served, served
from tests.support.workers import LIVE, until

KEY, PLACES = "google_contacts", 2
DEAD = [f"dead {n}" for n in range(3 * PLACES)]
WELL = [f"well {n}" for n in range(4)]
RUNS = """
SELECT c.owner_id AS owner, r.state, r.error ->> 'code' AS code FROM keepstep.runs r
JOIN keepstep.connections c ON c.id = r.connection_id ORDER BY r.id
"""


@pytest.fixture
async def google() -> AsyncIterator[GoogleUpstream]:
    async with google_account(people=5) as account:
        yield account


@pytest.fixture
async def site(
    dsn: str, tmp_path: Path, google: GoogleUpstream, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Served]:
    """A Keepstep that loses patience sooner."""
    for name, seconds in (("places.STILL", 0.3), ("places.LONG", 2.0), ("lane.LOOK_EVERY", 0.3)):
        monkeypatch.setattr(f"keepstep.dispatch.{name}", seconds)
    options = google.emulator.options
    given = {
        "GOOGLE_CONTACTS_BASE_URL": google.base_url, "GOOGLE_CLIENT_ID": options.client_id,
        "GOOGLE_CLIENT_SECRET": options.client_secret,
    }  # fmt: skip
    async with served(dsn, tmp_path, **given) as site:
        yield site


async def connected(site: Served, google: GoogleUpstream, *owners: str, expires_at: datetime | None = None) -> None:
    """Each has given consent, and turned auto-sync on; the first ones are due first."""
    for owner in owners:
        tokens = TokenSet(**google.emulator.consent(owner), expires_at=expires_at)
        place = site.service.owners.tokens(KEY, owner, read=TokenSet.of, write=TokenSet.stored)
        await place.put(tokens, by="test")
        await site.sql(
            "INSERT INTO keepstep.schedules (connection_id, enabled, interval_seconds, entities)"
            " SELECT id, true, 86400, '{connections,contacts}' FROM keepstep.connections WHERE owner_id = %s", owner,
        )  # fmt: skip


def silent(google: GoogleUpstream, *owners: str) -> None:
    for owner in owners:
        google.emulator.fault("hang", account=owner, count=None)


async def states(site: Served, owners: list[str]) -> list[str]:
    return [str(row["state"]) for row in await site.sql(RUNS) if row["owner"] in owners]


async def struggling(site: Served) -> set[str]:
    rows = await site.sql("SELECT owner_id FROM keepstep.connections JOIN keepstep.struggling ON connection_id = id")
    return {row["owner_id"] for row in rows}


async def _all(site: Served, owners: list[str], state: str) -> bool:
    return await states(site, owners) == [state] * len(owners)


async def test_many_accounts_that_are_silent_keep_no_healthy_one_waiting(site: Served, google: GoogleUpstream) -> None:
    silent(google, *DEAD)
    await connected(site, google, *DEAD, *WELL)
    async with working(site.service, concurrency=PLACES):
        await until(lambda: _all(site, WELL, "succeeded"))
        assert set(await states(site, DEAD)) <= set(LIVE)
        assert await struggling(site) <= set(DEAD)
        assert len(await struggling(site)) >= len(DEAD) - 2 * PLACES
        google.emulator.clear_faults()
        await until(lambda: _all(site, DEAD, "succeeded"))
    assert await struggling(site) == set()
    assert await site.sql("SELECT FROM keepstep.runs WHERE crashes > 0") == []
    assert len(await site.sql("SELECT FROM google_contacts.connections")) == 0  # without an owner nothing is seen


async def test_what_people_start_by_hand_for_dead_accounts_keeps_no_other_click_waiting(
    site: Served, google: GoogleUpstream
) -> None:
    silent(google, *DEAD)
    await connected(site, google, *DEAD, *WELL[:1])
    await site.sql("DELETE FROM keepstep.schedule_times")
    async with working(site.service, concurrency=PLACES):
        for owner in (*DEAD, WELL[0]):
            answer = await site.admin.post("/api/admin/owners/run", json={"integration": KEY, "owner": owner})
            assert answer.status_code == 202
        await until(lambda: _all(site, WELL[:1], "succeeded"))
        assert set(await states(site, DEAD)) <= set(LIVE)


async def test_a_silent_authorisation_server_leaves_connections_of_the_pool_to_others(
    site: Served, google: GoogleUpstream
) -> None:
    await connected(site, google, *DEAD, expires_at=datetime(2026, 1, 1, tzinfo=UTC))
    await connected(site, google, *WELL)
    google.emulator.fault("hang", path="token", count=None)
    async with site.service.database.pooled(most=4), working(site.service, concurrency=PLACES):
        await until(lambda: _all(site, WELL, "succeeded"))
        assert (await site.admin.get("/api/admin/owners")).status_code == 200
        assert set(await states(site, DEAD)) <= set(LIVE)
        google.emulator.clear_faults()


async def test_a_revoked_consent_takes_one_short_run_and_nothing_after_it(site: Served, google: GoogleUpstream) -> None:
    await connected(site, google, *DEAD, *WELL)
    for owner in DEAD:
        google.emulator.revoke(owner)
    async with working(site.service, concurrency=PLACES):
        await until(lambda: _all(site, WELL, "succeeded"))
        await until(lambda: _all(site, DEAD, "failed"))
    codes = {row["code"] for row in await site.sql(RUNS) if row["owner"] in DEAD}
    later = await site.sql("SELECT started FROM keepstep.dispatch_due(1000, now() + interval '23 hours')")

    assert codes == {"needs-reconnect"}
    assert await struggling(site) == set()
    assert later[0]["started"] == []


@pytest.mark.parametrize(
    ("trigger", "failed", "priority"), [("schedule", True, 5), ("schedule", False, 8), ("manual", True, 100)]
)
async def test_who_struggles_is_queued_aside_and_what_somebody_waits_for_comes_first_there(
    site: Served, google: GoogleUpstream, trigger: str, failed: bool, priority: int
) -> None:
    await connected(site, google, "ana")
    await site.sql("SELECT keepstep.set_aside(id, %s) FROM keepstep.connections WHERE owner_id = 'ana'", failed)
    if trigger == "manual":
        await site.sql("DELETE FROM keepstep.schedule_times")
        await site.admin.post("/api/admin/owners/run", json={"integration": KEY, "owner": "ana"})
    else:
        await site.sql("SELECT keepstep.dispatch_due()")
    rows = await site.sql("SELECT queue_name, priority FROM keepstep_queue.procrastinate_jobs")

    assert [(row["queue_name"], row["priority"]) for row in rows] == [("struggling", priority)]


async def test_a_shared_connection_is_never_set_aside(site: Served) -> None:
    await site.sql("INSERT INTO keepstep.connections (integration) VALUES ('doorloop')")
    [found] = await site.sql("SELECT keepstep.set_aside(id) AS is_aside FROM keepstep.connections")
    assert found["is_aside"] is False
    assert await site.sql("SELECT FROM keepstep.struggling") == []

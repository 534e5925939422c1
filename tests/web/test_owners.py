"""What owners have connected: how it does, who may see it, and that nothing which can only fail is tried in a loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keepstep.model.errors import AuthFailed, NotFound, Transient
from keepstep.model.run import error_json
from keepstep.service.owners import OwnerConnections, OwnerTokens
from tests.support.site import Served, served
from tests.support.workers import until

KEY = "doorloop"
OWNERS, PAUSE, RESUME = "/api/admin/owners", "/api/admin/owners/pause", "/api/admin/owners/resume"
TIMES = "SELECT t.due_at FROM keepstep.schedule_times t JOIN keepstep.schedules s ON s.id = t.schedule_id"


@pytest.fixture
async def site(dsn: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(dsn, tmp_path, KEEPSTEP_SECRET_KEY="first") as site:
        yield site


async def schedule(site: Served, owner: str, *, hours: int = 24) -> None:
    """An owner's schedule that is enabled."""
    await site.sql(
        "INSERT INTO keepstep.schedules (connection_id, enabled, interval_seconds, entities)"
        " SELECT id, true, %s, '{owners}' FROM keepstep.connections WHERE owner_id = %s",
        hours * 3600, owner,
    )  # fmt: skip


async def connect(site: Served, owner: str) -> None:
    await site.service.owners.connect(KEY, owner, {"apiKey": f"key-of-{owner}"}, by="test")


async def dispatch(site: Served) -> list[int]:
    [found] = await site.sql("SELECT started FROM keepstep.dispatch_due()")
    return list(found["started"])


async def end(site: Served, run_id: int, error: Exception | None) -> None:
    """A run has begun and ended, as the engine writes it."""
    from psycopg.types.json import Jsonb

    await site.sql("UPDATE keepstep.runs SET state = 'running', started_at = now() WHERE id = %s", run_id)
    state, value = ("succeeded", None) if error is None else ("failed", Jsonb(error_json(error)))
    await site.sql(
        "UPDATE keepstep.runs SET state = %s, error = %s, finished_at = now() WHERE id = %s", state, value, run_id
    )


async def failed(site: Served, error: Exception) -> int:
    """The run that is due now fails."""
    [run_id] = await dispatch(site)
    await end(site, run_id, error)
    return run_id


async def due_now(site: Served) -> None:
    await site.sql("UPDATE keepstep.schedule_times SET delta_at = now(), due_at = now()")


async def line(site: Served, owner: str) -> dict[str, Any]:
    [found] = (await site.admin.get(OWNERS, params={"search": owner})).json()["items"]
    return dict(found)


async def test_refused_credentials_are_never_tried_again_until_they_are_given_anew(site: Served) -> None:
    await connect(site, "ana")
    await schedule(site, "ana")
    await failed(site, AuthFailed("Google refuses the token.", fix="Connect again."))
    [later] = await site.sql("SELECT started FROM keepstep.dispatch_due(100, now() + interval '30 days')")
    told = await line(site, "ana")
    refused = await site.admin.post(f"{OWNERS}/run", json={"integration": KEY, "owner": "ana"})
    await connect(site, "ana")
    again = await line(site, "ana")

    assert later["started"] == []
    assert (told["state"], told["reason"], told["nextSyncAt"]) == (
        "needs-reconnect", "Google refuses the token.", None,
    )  # fmt: skip
    assert (told["nextSync"], told["fix"]) == ("waits until it is connected again", "Connect the account again.")
    assert (refused.status_code, refused.json()["fix"]) == (409, "Connect the account again.")
    assert refused.json()["detail"] == "It cannot be synced: waits until it is connected again."
    assert (again["state"], again["reason"]) == ("connected", None)
    assert len(await dispatch(site)) == 1


async def test_another_failure_is_tried_again_three_times_before_the_next_slot_and_then_waits(site: Served) -> None:
    await connect(site, "ana")
    await schedule(site, "ana", hours=24)
    waits = []
    for _ in range(5):
        await failed(site, Transient("Upstream is away."))
        [row] = await site.sql(f"SELECT n.due_at - now() AS left FROM ({TIMES}) n")
        waits.append(row["left"])
        await due_now(site)

    minutes = [round(wait / timedelta(minutes=1)) for wait in waits]
    assert minutes[:3] == [5, 15, 45]
    assert all(wait > timedelta(hours=23) for wait in waits[3:])
    assert (await line(site, "ana"))["failures"] == 5


async def test_a_short_interval_is_not_filled_with_tries(site: Served) -> None:
    await connect(site, "ana")
    await schedule(site, "ana")
    await site.sql("UPDATE keepstep.schedules SET interval_seconds = 300")
    await due_now(site)
    await failed(site, Transient("Upstream is away."))

    [row] = await site.sql(f"SELECT n.due_at - now() AS left FROM ({TIMES}) n")
    assert timedelta(seconds=50) < row["left"] <= timedelta(seconds=60)


async def test_a_success_forgets_the_failures(site: Served) -> None:
    await connect(site, "ana")
    await schedule(site, "ana")
    await failed(site, Transient("Upstream is away."))
    await due_now(site)
    [run_id] = await dispatch(site)
    await end(site, run_id, None)
    told = await line(site, "ana")

    assert (told["failures"], told["error"], told["lastRunId"]) == (0, None, run_id)
    assert told["lastSyncAt"] is not None


async def test_an_owner_who_needs_to_reconnect_has_an_alert_and_it_ends_by_itself(site: Served) -> None:
    from keepstep.alerts.alerter import Alerter, Arrangement

    alerter = Alerter(site.service.database, site.service.alerts.arrangement)

    async def look() -> list[dict[str, Any]]:
        async with site.connection() as connection:
            await alerter.look(connection, Arrangement())
        return list((await site.admin.get("/api/admin/alerts", params={"state": "open"})).json()["items"])

    await connect(site, "ana")
    await connect(site, "ben")
    await schedule(site, "ana")
    await failed(site, AuthFailed("Google refuses the token.", fix="Connect again."))
    [alert] = await look()
    await connect(site, "ana")
    after = await look()

    assert (alert["rule"], alert["owner"], alert["severity"]) == ("reconnect", "ana", "warning")
    assert "Google refuses the token." in alert["detail"]
    assert after == []


async def test_repeated_failures_of_an_owner_have_an_alert(site: Served) -> None:
    from keepstep.alerts.alerter import Alerter, Arrangement

    await connect(site, "ana")
    await schedule(site, "ana")
    for _ in range(3):
        await failed(site, Transient("Upstream is away."))
        await due_now(site)
    async with site.connection() as connection:
        await Alerter(site.service.database, site.service.alerts.arrangement).look(connection, Arrangement())
    [alert] = (await site.admin.get("/api/admin/alerts", params={"state": "open"})).json()["items"]

    assert (alert["rule"], alert["owner"]) == ("failing", "ana")
    assert "Upstream is away." in alert["detail"]


async def test_an_admin_pauses_with_a_reason_and_what_runs_ends(site: Served) -> None:
    await connect(site, "ana")
    await schedule(site, "ana")
    [run_id] = await dispatch(site)
    without = await site.admin.post(PAUSE, json={"integration": KEY, "owner": "ana", "reason": "  "})
    paused = await site.admin.post(PAUSE, json={"integration": KEY, "owner": "ana", "reason": "Too many requests."})
    [run] = await site.sql("SELECT state FROM keepstep.runs WHERE id = %s", run_id)
    await connect(site, "ana")
    still = await line(site, "ana")
    times = await site.sql(TIMES)
    resumed = await site.admin.post(RESUME, json={"integration": KEY, "owner": "ana"})

    assert without.status_code == 422
    assert (paused.json()["state"], paused.json()["reason"], paused.json()["nextSync"]) == (
        "paused", "Too many requests.", "paused",
    )  # fmt: skip
    assert (run["state"], still["state"], times) == ("stopped", "paused", [])
    assert (resumed.json()["state"], resumed.json()["nextSync"]) == ("connected", "now")
    acts = await site.sql("SELECT action FROM keepstep.admin_logs WHERE action LIKE 'owner.%' ORDER BY id")
    assert [act["action"] for act in acts] == ["owner.connect", "owner.pause", "owner.connect", "owner.resume"]


async def test_nobody_has_no_pause(site: Served) -> None:
    answer = await site.admin.post(PAUSE, json={"integration": KEY, "owner": "nobody", "reason": "x"})

    assert (answer.status_code, bool(answer.json()["fix"])) == (404, True)


async def test_a_pause_without_a_reason_is_refused_in_words(site: Served) -> None:
    await connect(site, "ana")
    answer = await site.admin.post(PAUSE, json={"integration": KEY, "owner": "ana", "reason": "  "})

    assert (answer.status_code, answer.json()["detail"]) == (422, "reason: It must not be empty.")
    assert (await line(site, "ana"))["state"] == "connected"


async def test_everybodys_connections_are_read_page_by_page_and_searched(site: Served) -> None:
    await site.sql(
        "INSERT INTO keepstep.connections (integration, owner_id, own_credentials, workspace)"
        " SELECT 'mail', 'user-' || lpad(n::text, 4, '0'), true, 'ws_%' FROM generate_series(1, 250) n"
    )
    seen: list[str] = []
    after = None
    while True:
        page = (await site.admin.get(OWNERS, params={"limit": 100} | ({"after": after} if after else {}))).json()
        seen += [one["owner"] for one in page["items"]]
        if (after := page["next"]) is None:
            break
    found = (await site.admin.get(OWNERS, params={"search": "USER-0042"})).json()["items"]
    literal = (await site.admin.get(OWNERS, params={"search": "s_%"})).json()["items"]
    none = (await site.admin.get(OWNERS, params={"search": "r_0"})).json()["items"]

    assert seen == sorted(seen)
    assert len(set(seen)) == len(seen) == 250
    assert page["counts"] == {"connected": 0, "needs-connecting": 250, "needs-reconnect": 0, "paused": 0}
    assert [one["owner"] for one in found] == ["user-0042"]
    assert (len(literal), none) == (100, [])


async def test_a_user_sees_and_syncs_only_their_own(site: Served) -> None:
    ana, ben = str(await site.user("ana", role="user")), str(await site.user("ben", role="user"))
    await connect(site, ana)
    await connect(site, ben)
    async with site.signed_in("ana") as client:
        own = (await client.get("/api/auto-sync")).json()
        first = await client.post(f"/api/auto-sync/{KEY}/run")
        again = await client.post(f"/api/auto-sync/{KEY}/run")
        runs = (await client.get(f"/api/auto-sync/{KEY}/runs")).json()
        others = await client.get(OWNERS)
        unknown = await client.post("/api/auto-sync/mail/run")
    async with site.signed_in("ben") as client:
        bens = (await client.get(f"/api/auto-sync/{KEY}/runs")).json()

    assert [(one["integration"], one["owner"], one["user"]) for one in own] == [(KEY, ana, "ana")]
    assert (first.status_code, again.json()) == (202, first.json())
    assert [run["runId"] for run in runs] == [first.json()["runId"]]
    assert (bens, others.status_code, unknown.status_code) == ([], 403, 404)


async def test_a_user_takes_their_credentials_back(site: Served) -> None:
    owner = str(await site.user("ana", role="user"))
    await connect(site, owner)
    await schedule(site, owner)
    async with site.signed_in("ana") as client:
        gone = await client.delete(f"/api/auto-sync/{KEY}")
        again = await client.delete(f"/api/auto-sync/{KEY}")
        [own] = (await client.get("/api/auto-sync")).json()

    assert (gone.status_code, again.status_code) == (204, 204)
    assert (own["state"], own["nextSync"]) == ("needs-connecting", "waits until it is connected")
    assert await site.sql(TIMES) == []


async def test_nobody_connects_to_what_is_not_there(site: Served) -> None:
    with pytest.raises(NotFound):
        await site.service.owners.connect("no-such-thing", "ana", {"apiKey": "x"}, by="test")


def tokens_of(owners: OwnerConnections, owner: str = "ana") -> OwnerTokens[str]:
    return owners.tokens(KEY, owner, read=lambda stored: str(stored["token"]), write=lambda token: {"token": token})


async def test_of_several_workers_one_renews_the_tokens(site: Served) -> None:
    renewals = []

    async def use(place: OwnerTokens[str]) -> str:
        """As a connector does whose access token has ended."""
        async with place.locked() as held:
            assert held.tokens is not None
            if held.tokens == "old":
                renewals.append(held.tokens)
                await asyncio.sleep(0)
                await held.save("new")
            return held.tokens

    await tokens_of(site.service.owners).put("old", by="ana")
    used = await asyncio.gather(*(use(tokens_of(site.service.owners)) for _ in range(6)))

    assert (renewals, set(used)) == (["old"], {"new"})
    assert await tokens_of(site.service.owners).load() == "new"


async def test_a_renewal_that_fails_changes_nothing(site: Served) -> None:
    place = tokens_of(site.service.owners)
    await place.put("old", by="ana")
    with pytest.raises(RuntimeError):
        async with place.locked() as held:
            await held.save("half")
            raise RuntimeError

    assert await place.load() == "old"


async def test_tokens_are_encrypted_for_their_owner_alone_and_rotated_with_all_others(
    site: Served, dsn: str, tmp_path: Path
) -> None:
    await tokens_of(site.service.owners).put("secret-token", by="ana")
    [row] = await site.sql("SELECT credentials FROM keepstep.connections WHERE owner_id = 'ana'")
    await connect(site, "ben")
    await site.sql("UPDATE keepstep.connections SET credentials = %s WHERE owner_id = 'ben'", row["credentials"])
    from keepstep.model.errors import StoreError

    with pytest.raises(StoreError):
        await tokens_of(site.service.owners, "ben").load()
    await site.sql("DELETE FROM keepstep.connections WHERE owner_id = 'ben'")
    async with served(dsn, tmp_path, KEEPSTEP_SECRET_KEY="second,first") as other:
        renewed = await other.service.credentials.rotate()
    async with served(dsn, tmp_path, KEEPSTEP_SECRET_KEY="second") as third:
        read = await tokens_of(third.service.owners).load()

    assert b"secret-token" not in bytes(row["credentials"])
    assert (renewed, read) == (1, "secret-token")
    logged = await site.sql("SELECT payload::text AS text FROM keepstep.admin_logs")
    assert not any("secret-token" in one["text"] for one in logged)


async def test_an_owners_runs_work_with_the_owners_own_credentials(dsn: str, tmp_path: Path) -> None:
    from keepstep.always_on import working
    from tests.support.upstream import serving

    async with serving(api_key="key-of-ana") as upstream, served(
        dsn, tmp_path, DOORLOOP_BASE_URL=upstream.url, DOORLOOP_API_KEY="key-of-ana", DOORLOOP_RATE_LIMIT_RPS="1000"
    ) as site:  # fmt: skip
        await connect(site, "ana")
        await connect(site, "ben")
        async with working(site.service, concurrency=2):
            for owner in ("ana", "ben"):
                await site.service.owners.run(KEY, owner, by="test")

            async def ended() -> bool:
                return all([(await line(site, owner))["lastRunId"] for owner in ("ana", "ben")])

            await until(ended)
        told = {owner: await line(site, owner) for owner in ("ana", "ben")}

    assert (told["ana"]["state"], told["ana"]["failures"]) == ("connected", 0), told["ana"]["error"]
    assert (told["ben"]["state"], told["ben"]["failures"]) == ("needs-reconnect", 1)
    assert "key-of-ben" not in str(told)


@asynccontextmanager
async def _held(site: Served, owner: str) -> AsyncIterator[None]:
    """Somebody has the connection's row locked, as whoever waits for its run does."""
    async with site.connection() as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM keepstep.connections WHERE owner_id = %s FOR NO KEY UPDATE", [owner])
        yield


async def test_the_end_of_a_run_waits_for_nobody_who_has_its_connection(site: Served) -> None:
    await connect(site, "ana")
    await schedule(site, "ana")
    [run_id] = await dispatch(site)
    async with _held(site, "ana"), asyncio.timeout(20):
        await end(site, run_id, AuthFailed("Google refuses the token."))
    unknown = await line(site, "ana")
    await due_now(site)
    await failed(site, AuthFailed("Google refuses the token."))

    assert (unknown["state"], unknown["failures"]) == ("connected", 1)
    assert (await line(site, "ana"))["state"] == "needs-reconnect"
    assert datetime.fromisoformat((await line(site, "ana"))["lastFailureAt"]) is not None

"""The routes about runs, as a front end meets them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from keepstep.model.integration import Mode
from tests.support.site import Served, served
from tests.support.sync import ALL, Sync
from tests.support.upstream import SMALL

SYNC = "/api/admin/sync"


@pytest.fixture
async def site(sync: Sync, tmp_path: Path) -> AsyncIterator[Served]:
    """An application on the database of ``sync``, with the credentials of its upstream."""
    upstream = sync.upstream
    async with served(
        sync.dsn, tmp_path, DOORLOOP_BASE_URL=upstream.url, DOORLOOP_API_KEY=upstream.options.api_key
    ) as site:
        yield site


async def ask(site: Served, path: str, **query: Any) -> Any:
    answer = await site.admin.get(f"{SYNC}/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def act(site: Served, path: str, **body: Any) -> httpx.Response:
    return await site.admin.post(f"{SYNC}/{path}", json=body)


async def audit(site: Served) -> list[tuple[str, str]]:
    entries = (await site.admin.get("/api/admin/audit")).json()
    return [(entry["action"], entry["result"]) for entry in reversed(entries)]


async def test_the_status_of_a_new_database_has_every_member(site: Served) -> None:
    status = await ask(site, "status")

    assert status["scheduler"] == {
        "enabled": False, "intervalMinutes": 10, "fullAtHourUtc": None, "entities": list(ALL), "envLocked": [],
        "lastTickAt": None,
    }  # fmt: skip
    assert (status["nextRun"], status["lock"], status["activeRun"]) == (None, None, None)
    assert [entity["entity"] for entity in status["entities"]] == list(ALL)
    assert status["entities"][0] == {
        "entity": "owners", "lastSuccess": None, "lastFailure": None, "lastError": None, "rows": 0,
    }  # fmt: skip
    assert (status["breaker"], status["dlq"]) == ({"state": "closed", "failures": 0}, {"open": 0})
    assert "rateLimit" not in status
    assert status["health"]["score"] == 70
    assert (await site.sql("SELECT count(*) AS n FROM keepstep.runs"))[0]["n"] == 0


async def test_the_status_follows_a_run_to_its_end(site: Served, sync: Sync) -> None:
    sync.upstream.fault("hang", entity="leases", page=2)
    running = asyncio.create_task(sync.run("owners", "leases"))
    async with asyncio.timeout(60):
        while ((await ask(site, "status"))["activeRun"] or {}).get("entity") != "leases":  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        status = await ask(site, "status")
    active, lock = status["activeRun"], status["lock"]
    assert (active["state"], active["mode"], active["dryRun"]) == ("running", "backfill", False)
    assert (lock["held"], lock["runId"]) == (True, active["runId"])
    assert lock["startedAt"] < lock["expiresAt"]

    stopped = await act(site, "stop")
    async with asyncio.timeout(60):
        await asyncio.gather(running, return_exceptions=True)
    sync.upstream.clear_faults()
    await sync.run()
    status = await ask(site, "status")
    assert stopped.json() == {"stopped": True, "runId": active["runId"]}
    assert (status["activeRun"], status["lock"]) == (None, None)
    assert {entity["entity"]: entity["rows"] for entity in status["entities"]} == SMALL
    assert all(entity["lastSuccess"].endswith("Z") for entity in status["entities"])


async def test_times_are_utc_whatever_the_time_zone_of_the_database(site: Served, sync: Sync) -> None:
    [row] = await site.sql("SELECT current_database() AS name")
    await site.sql(f"ALTER DATABASE \"{row['name']}\" SET timezone = 'America/New_York'")
    await sync.run("owners")
    [run] = await ask(site, "runs")
    detail = await ask(site, f"runs/{run['runId']}")

    assert all(time.endswith("Z") for time in (run["startedAt"], run["finishedAt"], detail["events"][0]["ts"]))


async def test_a_failure_shows_in_the_status_and_among_the_errors_until_it_is_mended(site: Served, sync: Sync) -> None:
    sync.upstream.fault("html", entity="owners", forever=True)
    for _ in range(2):
        await sync.run("owners", "units")
    sync.upstream.clear_faults()
    status = await ask(site, "status")
    owners, units = status["entities"][0], status["entities"][2]
    [kind] = await ask(site, "errors")

    assert (owners["lastSuccess"], owners["lastFailure"] is not None) == (None, True)
    assert "web page" in owners["lastError"]
    assert (units["lastFailure"], units["lastSuccess"] is not None) == (None, True)
    assert {"25": "2 of the last 2 runs failed."} | {
        str(deduction["points"]): deduction["reason"] for deduction in status["health"]["deductions"]
    } == {"30": "Not every entity has been read successfully yet.", "25": "2 of the last 2 runs failed."}
    assert (kind["count"], kind["code"], kind["entities"], kind["status"]) == (
        2,
        "html-instead-of-data",
        ["owners"],
        200,
    )
    assert (kind["path"], "<html" in kind["sample"]["snippet"].lower()) == ("/owners", True)
    assert kind["runIds"] == [run["runId"] for run in await ask(site, "runs")]
    assert kind["firstSeen"] < kind["lastSeen"]
    assert await ask(site, "errors", entity="leases") == []


async def test_an_error_that_ends_a_run_counts_once(site: Served, sync: Sync) -> None:
    sync.upstream.fault("401", forever=True)
    await sync.run()
    [kind] = await ask(site, "errors")
    status = await ask(site, "status")

    assert (kind["count"], kind["code"], kind["status"]) == (1, "auth-failed", 401)
    assert "Upstream refuses the credentials." in [d["reason"] for d in status["health"]["deductions"]]
    assert [entity["lastFailure"] is not None for entity in status["entities"]] == [True] * 5


async def test_fifty_clicks_start_one_run(site: Served) -> None:
    answers = await asyncio.gather(*(act(site, "run", entities=["owners"], mode="delta") for _ in range(50)))
    [accepted] = [answer for answer in answers if answer.status_code == 202]
    refused = [answer for answer in answers if answer.status_code == 409]

    assert len(refused) == 49
    assert {answer.json()["runId"] for answer in refused} == {accepted.json()["runId"]}
    assert all(answer.json()["fix"] for answer in refused)


@pytest.mark.parametrize(("said", "meant"), [("incremental", "delta"), ("full", "backfill"), ("delta", "delta")])
async def test_a_mode_has_two_names(site: Served, said: str, meant: str) -> None:
    started = await act(site, "run", entities=["owners", "leases", "owners"], mode=said, dryRun=True)
    [run] = await ask(site, "runs")

    assert started.status_code == 202
    assert (run["runId"], run["mode"], run["entity"], run["dryRun"]) == (
        started.json()["runId"], meant, "owners,leases", True,
    )  # fmt: skip
    assert (run["result"], run["trigger"], run["startedAt"], run["actor"]) == (
        "queued", "manual", None, "token:ADMIN_SYNC_TOKEN",
    )  # fmt: skip
    assert await audit(site) == [("run.start", f"run {run['runId']}")]


async def test_without_entities_those_of_the_schedule_are_read(site: Served) -> None:
    await site.admin.put(f"{SYNC}/schedule", json={"entities": ["units", "owners"]})

    assert (await act(site, "run")).status_code == 202
    assert (await ask(site, "runs"))[0]["entity"] == "units,owners"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"entities": ["owners", "leasez"]}, "no entity 'leasez'"),
        ({"entities": []}, "No entity is named"),
        ({"entities": ["owners"], "mode": "sideways"}, "mode"),
        ({"entities": ["owners"], "since": "yesterday"}, "is not a date"),
        ({"entities": ["owners"], "since": "2999-01-01"}, "in the future"),
        ({"entities": ["owners"], "since": "2026-01-01", "mode": "full"}, "no meaning for a backfill"),
        ({"entities": ["owners"], "dryrun": True}, "dryrun"),
        ({"entities": ["owners"], "dryRun": "yes"}, "dryRun"),
        ({"entities": "owners"}, "entities"),
        ({"entities": ["own\0ers"]}, "entities"),
    ],
)
async def test_what_cannot_be_run_is_refused_in_words(site: Served, body: dict[str, Any], words: str) -> None:
    refused = await act(site, "run", **body)

    assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
    assert words in refused.json()["detail"]
    assert refused.json()["fix"]
    assert await ask(site, "runs") == []


async def test_an_unknown_integration_is_not_found(site: Served) -> None:
    for answer in (await act(site, "run", integration="nosuch"), await site.admin.post(f"{SYNC}/stop?integration=x"),
                   await site.admin.get(f"{SYNC}/status?integration=x")):  # fmt: skip
        assert (answer.status_code, "There is no integration" in answer.json()["detail"]) == (404, True)


async def test_full_runs_by_hand_can_be_turned_off(dsn: str, tmp_path: Path) -> None:
    async with served(dsn, tmp_path, DOORLOOP_API_KEY="k" * 30, ALLOW_MANUAL_BACKFILL="false") as site:
        refused = await act(site, "run", entities=["owners"], mode="full")
        delta = await act(site, "run", entities=["owners"])

    assert (refused.status_code, delta.status_code) == (403, 202)
    assert "ALLOW_MANUAL_BACKFILL" in refused.json()["detail"]


async def test_stopping_ends_what_is_queued_and_is_harmless_without(site: Served) -> None:
    run_id = (await act(site, "run", entities=["owners"])).json()["runId"]
    first, second = await act(site, "stop"), await act(site, "stop")

    assert first.json() == {"stopped": True, "runId": run_id}
    assert second.json() == {"stopped": False, "runId": None}
    assert (await ask(site, "runs"))[0]["result"] == "stopped"
    assert [action for action, _ in await audit(site)] == ["run.start", "run.stop"]


async def test_runs_are_listed_newest_first_and_page_by_page(site: Served, sync: Sync) -> None:
    for entity in ("owners", "units", "owners"):
        await sync.run(entity)
    newest, *rest = await ask(site, "runs", limit=2)
    [last] = await ask(site, "runs", limit=2, before=rest[0]["runId"])

    assert newest["runId"] > rest[0]["runId"] > last["runId"]
    assert [run["entity"] for run in await ask(site, "runs", entity="owners")] == ["owners", "owners"]
    assert await ask(site, "runs", result="failed") == []
    assert await ask(site, "runs", entity="nosuch") == []
    assert {"runId", "startedAt", "entity", "mode", "rows", "inserted", "updated", "unchanged", "deleted",
            "deadLettered", "durationMs", "result", "error", "dryRun", "trigger"} <= set(newest)  # fmt: skip
    for query in ("limit=0", "limit=1001", "limit=x", "before=0", f"before={2**63}", "result=nosuch"):
        assert (await site.admin.get(f"{SYNC}/runs?{query}")).status_code == 422, query


async def test_a_filter_that_is_left_empty_is_none(site: Served, sync: Sync) -> None:
    run = await sync.run("owners")
    [shown] = await ask(site, "runs", limit=50, entity="", result="", before="")
    letters = await ask(site, "dlq", entity="", state="", before="")
    assert (shown["runId"], letters["count"]) == (run.run_id, 0)


async def test_a_run_is_shown_with_its_pages_and_events(site: Served, sync: Sync) -> None:
    run = await sync.run("leases", flush_rows=1)
    detail = await ask(site, f"runs/{run.run_id}")
    newest = await ask(site, f"runs/{run.run_id}", events=2)
    older = await ask(site, f"runs/{run.run_id}", before=newest["eventsBefore"])

    assert [event["type"] for event in (detail["events"][0], detail["events"][-1])] == ["run-started", "run-finished"]
    assert [page["page"] for page in detail["pages"]] == [1, 2, 3]
    assert sum(page["inserted"] for page in detail["pages"]) == detail["inserted"] == 60
    assert detail["eventsBefore"] is None
    assert older["events"] + newest["events"] == detail["events"]
    assert (await site.admin.get(f"{SYNC}/runs/{run.run_id + 1}")).status_code == 404


async def test_a_failed_run_shows_what_upstream_answered_and_a_dry_run_its_report(site: Served, sync: Sync) -> None:
    sync.upstream.fault("html", entity="owners", forever=True)
    failed = await ask(site, f"runs/{(await sync.run('owners')).run_id}")
    sync.upstream.clear_faults()
    dry = await ask(site, f"runs/{(await sync.run('owners', dry_run=True)).run_id}")

    assert 0 < len(failed["error"]["answer"]["snippet"]) <= 2048
    assert failed["error"]["fix"]
    assert (dry["dryRun"], dry["entities"][0]["report"]["inserted"]) == (True, 7)


async def test_held_deletions_are_decided_with_a_reason(site: Served, sync: Sync) -> None:
    await sync.run("leases", "tenants")
    for entity in ("leases", "tenants"):
        sync.upstream.change(entity, delete=48)
    run = await sync.run("leases", "tenants")
    status = await ask(site, "status")
    holds = await ask(site, "held")
    path = f"runs/{run.run_id}/held"
    without = [await act(site, path, action="approve"), await act(site, path, action="discard", reason=" "),
               await act(site, path, action="forget", reason="why")]  # fmt: skip
    approved = await act(site, path, action="approve", reason="they moved out")
    again = await act(site, path, action="discard", reason="late")

    assert status["heldDeletions"] == {"open": 2}
    assert [hold["entity"] for hold in holds] == ["leases", "tenants"]
    assert [answer.status_code for answer in without] == [422, 422, 422]
    assert approved.json() == {
        "runId": run.run_id, "action": "approve", "deleted": sum(hold["deleteRows"] for hold in holds),
        "entities": ["leases", "tenants"],
    }  # fmt: skip
    assert (again.status_code, (await ask(site, f"runs/{run.run_id}"))["result"]) == (409, "succeeded")
    assert (await act(site, f"runs/{run.run_id + 99}/held", action="approve", reason="x")).status_code == 404
    assert await ask(site, "held") == []
    assert len(await ask(site, "held", state="approved")) == 2


async def test_dead_letters_are_listed_shown_requeued_and_discarded(site: Served, sync: Sync) -> None:
    ids = sync.upstream.poison("leases", "impossible-date", count=3)
    await sync.run("leases")
    letters = await ask(site, "dlq", entity="leases")
    first, second, third = (letter["id"] for letter in letters["items"])
    paged = await ask(site, "dlq", limit=2, before=first)
    shown = await ask(site, f"dlq/{first}")
    failed = await act(site, "dlq/requeue", id=first)
    discarded = await act(site, "dlq/discard", ids=[second], reason="nobody needs it")
    sync.upstream.cure("leases")
    await sync.run("leases")
    late = await act(site, "dlq/requeue", ids=[first, third, 10**15])
    wrong: list[dict[str, Any]] = [
        {},
        {"id": 1, "entity": "leases"},
        {"ids": []},
        {"id": 0},
        {"id": 2**63},
        {"id": "1"},
    ]

    assert (letters["count"], {letter["recordKey"] for letter in letters["items"]}) == (3, set(ids))
    assert [letter["id"] for letter in paged["items"]] == [second, third]
    assert shown["recordKey"] in shown["payload"]
    assert [answer["result"] for answer in failed.json()] == ["failed"]
    assert discarded.json() == [{"id": second, "result": "discarded", "reason": "nobody needs it"}]
    assert [answer["result"] for answer in late.json()] == ["resolved", "resolved", "failed"]
    assert (await site.admin.get(f"{SYNC}/dlq/{10**15}")).status_code == 404
    assert [(await act(site, "dlq/requeue", **body)).status_code for body in wrong] == [422] * len(wrong)
    assert (await act(site, "dlq/discard", id=first)).status_code == 422
    counts = Counter(action for action, _ in await audit(site))
    assert (counts["dlq.requeue"], counts["dlq.discard"]) == (2, 1)


async def test_all_dead_letters_of_an_entity_are_requeued_by_kind(site: Served, sync: Sync) -> None:
    sync.upstream.poison("leases", "impossible-date", count=2)
    await sync.run("leases")
    [kind] = {letter["kind"] for letter in (await ask(site, "dlq"))["items"]}
    of_kind = await act(site, "dlq/requeue", entity="leases", reason=kind)
    of_another = await act(site, "dlq/requeue", entity="leases", reason="nosuch")

    assert ([answer["result"] for answer in of_kind.json()], of_another.json()) == (["failed", "failed"], [])


async def test_all_that_match_are_decided_up_to_the_one_that_was_seen(site: Served, sync: Sync) -> None:
    sync.upstream.poison("leases", "impossible-date", count=2)
    sync.upstream.poison("tenants", "missing-id")
    await sync.run("leases", "tenants")
    letters = (await ask(site, "dlq"))["items"]
    newest = letters[0]["id"]
    of_kind = await ask(site, "dlq", reason="no-id")
    older = await act(site, "dlq/requeue", all=True, before=newest, note="mended upstream")
    discarded = await act(site, "dlq/discard", kind="no-id", reason="no use")
    unclear = [await act(site, "dlq/requeue", all=False), await act(site, "dlq/discard", ids=[1], kind="x", reason="y")]

    assert (of_kind["count"], of_kind["items"][0]["entity"]) == (1, "tenants")
    assert {answer["id"] for answer in older.json()} == {letter["id"] for letter in letters if letter["id"] < newest}
    assert [answer["result"] for answer in discarded.json()] == ["discarded"]
    assert [answer.status_code for answer in unclear] == [422, 422]
    noted = (await site.admin.get("/api/admin/audit?action=dlq.requeue")).json()
    assert [entry["payload"]["reason"] for entry in noted] == ["mended upstream"]


async def test_the_breaker_is_shown_and_closed_by_hand(site: Served, sync: Sync) -> None:
    await sync.run("owners")
    await site.sql(
        "INSERT INTO keepstep.limits (connection_id, state) SELECT c.id, jsonb_build_object('at', s.now, 'breaker',"
        " jsonb_build_object('failures', 5, 'opened_at', s.now, 'reopens_at', s.now + 600))"
        " FROM keepstep.connections c, (SELECT extract(epoch FROM clock_timestamp())::float8 AS now) s"
        " ON CONFLICT (connection_id) DO UPDATE SET state = excluded.state"
    )
    opened = await ask(site, "status")
    closed = await act(site, "breaker/close")
    again = await act(site, "breaker/close")

    assert (opened["breaker"]["state"], opened["breaker"]["failures"]) == ("open", 5)
    assert opened["breaker"]["openedAt"] < opened["breaker"]["reopensAt"]
    assert "The breaker is open" in str(opened["health"])
    assert closed.json() == again.json() == {"state": "closed", "failures": 0}
    assert [action for action, _ in await audit(site)] == ["breaker.close"] * 2


async def test_closing_the_breaker_makes_the_runs_due_that_wait_for_it(site: Served, sync: Sync) -> None:
    await sync.run("owners")
    waiting = (
        "UPDATE keepstep.runs SET state = 'waiting', finished_at = NULL, due_at = now() + interval '1 hour',"
        " error = jsonb_build_object('code', '{code}')"
    )
    due = "SELECT due_at <= now() AS due FROM keepstep.runs"
    await site.sql(waiting.format(code="rate-limited"))
    await act(site, "breaker/close")
    limited = await site.sql(due)
    await site.sql(waiting.format(code="breaker-open"))
    await act(site, "breaker/close")

    assert (limited, await site.sql(due)) == ([{"due": False}], [{"due": True}])


async def test_rate_samples_are_those_of_the_window(site: Served, sync: Sync) -> None:
    await sync.run("owners")
    await site.sql(
        'INSERT INTO keepstep.rate_samples (ts, connection_id, "limit", remaining, waited_ms, cause)'
        " SELECT now() - age, c.id, 50, 7, 12, 'window'"
        " FROM keepstep.connections c, unnest(ARRAY[interval '10 minutes', interval '5 hours']) AS age"
    )
    hour, day = await ask(site, "rate-limit"), await ask(site, "rate-limit", window="1d")

    sample = hour[0]
    assert (len(hour), len(day)) == (1, 2)
    assert (sample["limit"], sample["remaining"], sample["reset"], sample["waitedMs"], sample["cause"]) == (
        50, 7, None, 12, "window",
    )  # fmt: skip
    for window in ("", "1w", "0h", "-1h", "1", "99999999d"):
        assert (await site.admin.get(f"{SYNC}/rate-limit", params={"window": window})).status_code == 422, window


async def test_a_delta_says_since_when_it_read(site: Served) -> None:
    started = await act(site, "run", entities=["owners"], mode=Mode.DELTA, since="2026-01-01T02:00:00+02:00")
    [row] = await site.sql("SELECT extract(epoch FROM since)::bigint AS since FROM keepstep.runs")

    assert (started.status_code, row["since"]) == (202, 1767225600)

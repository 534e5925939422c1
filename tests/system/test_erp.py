"""The ERP from one end to the other: agents on the list, schedules, runs, tables, against an emulated ERP."""

import json
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from keepstep.integrations.erp.emulator.ledger import Ledger
from keepstep.integrations.erp.emulator.options import EmulatorOptions
from keepstep.integrations.erp.layout import LAYOUTS
from keepstep.model.integration import snake_case
from tests.support.erp import PER_AGENT, SMALL, Office, at_work, office
from tests.support.workers import until
from tests.system.command import Keepstep, keepstep

AGENTS = ("007", "012")
CUT_OFF = ("report-cut-off", "report-not-pdf", "answer-cut-off")
UNTOUCHED = "id, ctid::text AS place, xmin::text AS written, _hash, _changed_at, _deleted_at"


@pytest.fixture
async def erp(dsn: str, tmp_path: Path) -> AsyncIterator[Office]:
    async with office(dsn, tmp_path) as found:
        yield found


async def test_agents_added_by_hand_and_by_the_api_are_kept_in_step(erp: Office) -> None:
    await erp.add("007")
    async with at_work(erp):
        answer = await erp.site.admin.post("/api/sync/agents", json={"code": "012", "name": "Ilaria Però"})
        assert answer.status_code == 201
        await until(lambda: erp.all_in_step(AGENTS))
        await erp.idle()

    assert {run["state"] for agent in (*AGENTS, None) for run in await erp.runs(agent)} == {"succeeded"}
    assert sorted(run["entities"][0] for run in await erp.runs("012")) == sorted(PER_AGENT)
    listed = (await erp.site.admin.get("/api/sync/agents")).json()
    assert [(one["code"], one["name"], one["failures"]) for one in listed] == [
        ("007", "", 0),
        ("012", "Ilaria Però", 0),
    ]
    assert all(one["lastSuccessAt"] and one["nextRun"] for one in listed)
    documents = await erp.site.sql("SELECT report, agent, state FROM keepstep.documents")
    assert len(documents) == len({(one["report"], one["agent"]) for one in documents}) == 2 + 2 * len(PER_AGENT)


async def test_what_changed_upstream_arrives_when_it_is_asked_for(erp: Office) -> None:
    await erp.add(*AGENTS)
    async with at_work(erp):
        await until(lambda: erp.all_in_step(AGENTS))
        await erp.idle()
        erp.emulator.change("customers", agent="007", create=2, update=3, delete=2)
        erp.emulator.change("prices", update=4)
        told = await erp.run_now("customers")
        shared = await erp.run_now("prices")

    assert await erp.all_in_step(AGENTS)
    assert ([run["agent"] for run in told["runs"]], told["busy"]) == (list(AGENTS), [])
    assert [run["agent"] for run in shared["runs"]] == [None]
    assert {(run["trigger"], run["mode"]) for run in await erp.runs("007", entity="customers")} == {
        ("schedule", "backfill"), ("manual", "backfill"),
    }  # fmt: skip


async def test_the_same_document_again_is_not_read(erp: Office) -> None:
    await erp.add("007")
    async with at_work(erp):
        await until(lambda: erp.all_in_step(["007"]))
        await erp.idle()
        before = await erp.rows("customers", "007", UNTOUCHED)
        await erp.run_now("customers", "007")

    [first, again] = await erp.runs("007", entity="customers")
    assert (first["rows"], again["rows"], again["state"]) == (SMALL["customers"], 0, "succeeded")
    assert await erp.rows("customers", "007", UNTOUCHED) == before
    [known] = await erp.site.sql(
        "SELECT times, state, (SELECT count(*) FROM keepstep.document_contents c WHERE c.hash = d.hash) AS kept"
        " FROM keepstep.documents d WHERE report = 'customers'"
    )
    assert known == {"times": 2, "state": "proven", "kept": 1}, "that it came again is noted, its bytes are not"


async def test_truncated_at_40_points_not_one_customer_of_anybody_is_deleted_or_altered(
    dsn: str, tmp_path: Path
) -> None:
    agents = [f"A{number:02}" for number in range(5)]
    chance = random.Random(11)
    async with office(dsn, tmp_path, agents=frozenset(agents), customers=30) as erp:
        await erp.site.sql("UPDATE keepstep.sync_settings SET enabled = sync_type = 'customers'")
        await erp.add(*agents)
        async with at_work(erp, concurrency=6):
            await erp.idle()
            before = {agent: await erp.rows("customers", agent, UNTOUCHED) for agent in agents}
            assert all(len(rows) == 30 for rows in before.values())
            for point in range(8):
                for agent in agents:
                    erp.emulator.change("customers", agent=agent, update=9, delete=4 if point == 0 else 0)
                    variant = "connection" if point > 5 else "body"
                    erp.emulator.fault(
                        "truncate", variant=variant, report="customers", agent=agent, step="download",
                        keep=chance.uniform(0.01, 0.99), count=None if variant == "connection" else 1,
                    )  # fmt: skip
                await erp.run_now("customers")
                erp.emulator.clear_faults()
                for agent in agents:
                    assert await erp.rows("customers", agent, UNTOUCHED) == before[agent]
            failed = [run for agent in agents for run in await erp.runs(agent) if run["trigger"] == "manual"]
            assert len(failed) == 40
            for run in failed:
                error = run["entity_error"]
                assert (run["state"], run["rows"], run["deleted"]) == ("failed", 0, 0)
                assert error["code"] in CUT_OFF, error
                assert error["message"]
                assert error["fix"]
            await erp.run_now("customers")
            for agent in agents:
                assert await erp.in_step("customers", agent)


async def test_a_report_with_suspiciously_fewer_rows_is_held_until_somebody_decides(dsn: str, tmp_path: Path) -> None:
    async with office(dsn, tmp_path, customers=60) as erp:
        await erp.add(*AGENTS)
        async with at_work(erp):
            await until(lambda: erp.all_in_step(AGENTS))
            await erp.idle()
            erp.emulator.change("customers", agent="007", delete=40)
            told = await erp.run_now("customers", "007")

            assert [run["state"] for run in await erp.runs("007", entity="customers")] == ["succeeded", "held"]
            assert len([row for row in await erp.rows("customers", "007") if row["_deleted_at"] is None]) == 60
            decided = await erp.site.admin.post(
                f"/api/admin/sync/runs/{told['runIds'][0]}/held", json={"action": "approve", "reason": "sold the shop"}
            )
        assert (decided.status_code, decided.json()["deleted"]) == (200, 40)
        assert await erp.in_step("customers", "007")
        assert await erp.in_step("customers", "012")


async def test_an_agent_whose_report_never_comes_delays_no_other(dsn: str, tmp_path: Path) -> None:
    agents = [f"A{number:02}" for number in range(5)]
    async with office(dsn, tmp_path, agents=frozenset(agents)) as erp:
        await erp.add(*agents)
        erp.emulator.fault("hang", agent="A00", step="poll", count=None)
        async with at_work(erp):
            await until(lambda: erp.all_in_step(agents[1:]))
            [hanging] = await erp.runs("A00")
            assert hanging["state"] == "running"
            erp.emulator.clear_faults()
            await until(lambda: erp.all_in_step(agents))


async def test_an_agent_taken_off_the_list_by_hand_is_stopped_and_keeps_the_rows(erp: Office) -> None:
    await erp.add(*AGENTS)
    async with at_work(erp):
        await until(lambda: erp.all_in_step(AGENTS))
        await erp.idle()
        erp.emulator.change("customers", agent="012", update=1)
        erp.emulator.fault("hang", agent="012", step="poll", count=None)
        asked = await erp.site.admin.post("/api/sync/run/customers", json={"agent": "012"})

        async def hangs() -> bool:
            return bool((await erp.runs("012"))[-1]["state"] == "running")

        await until(hangs)
        await erp.site.sql("DELETE FROM keepstep.agents WHERE code = '012'")

        async def stopped() -> bool:
            return bool((await erp.runs("012"))[-1]["state"] == "stopped")

        await until(stopped)
        erp.emulator.clear_faults()
        again = await erp.site.admin.post("/api/sync/run/customers", json={"agent": "012"})

    assert (await erp.runs("012"))[-1]["id"] == asked.json()["runIds"][0]
    assert again.status_code == 404
    live = [row for row in await erp.rows("customers", "012") if row["_deleted_at"] is None]
    assert len(live) == SMALL["customers"]


async def test_an_agents_own_credentials_are_used_for_that_agent_only(erp: Office) -> None:
    await erp.add(*AGENTS)
    answer = await erp.site.admin.put(
        "/api/sync/agents/012/credentials", json={"username": "ilaria", "password": "not the right one"}
    )
    assert (answer.status_code, answer.json()["ownCredentials"]) == (200, True)
    async with at_work(erp):
        await until(lambda: erp.all_in_step(["007"]))

        async def refused() -> bool:
            agents = (await erp.site.admin.get("/api/sync/agents")).json()
            return bool(agents[1]["state"] == "needs-reconnect" and agents[1]["nextRun"] is None)

        await until(refused)
        back = await erp.site.admin.delete("/api/sync/agents/012/credentials")
        assert (back.json()["state"], back.json()["ownCredentials"]) == ("connected", False)
        await until(lambda: erp.all_in_step(AGENTS))
    kept = json.dumps(await erp.site.sql("SELECT payload FROM keepstep.admin_logs"), default=str)
    assert "not the right one" not in kept


async def test_credentials_that_are_stored_begin_what_waits_for_them(dsn: str, tmp_path: Path) -> None:
    nothing = {"ERP_USERNAME": "", "ERP_PASSWORD": ""}
    async with office(dsn, tmp_path, environment=nothing) as erp:
        await erp.add(*AGENTS)
        options = erp.emulator.options
        async with at_work(erp):
            refused = await erp.site.admin.post("/api/sync/run/prices")
            ping = (await erp.site.admin.get("/api/admin/integrations/erp/ping")).json()
            assert (refused.status_code, ping["ok"]) == (409, False)
            assert await erp.runs() == await erp.runs("007") == []
            put = await erp.site.admin.put(
                "/api/admin/integrations/erp/credentials",
                json={"username": options.username, "password": options.password},
            )
            assert put.status_code == 200, put.text
            await until(lambda: erp.all_in_step(AGENTS))
            await erp.idle()
            await erp.site.admin.delete("/api/admin/integrations/erp/credentials")
        assert await erp.site.sql("SELECT * FROM keepstep.schedule_times WHERE schedule_id IN"
                                  " (SELECT id FROM keepstep.schedules WHERE sync_type IS NOT NULL)") == []  # fmt: skip


async def test_ping_check_config_and_schema_difference_answer_for_the_erp(erp: Office) -> None:
    async def ask(rest: str, **query: Any) -> Any:
        answer = await erp.site.admin.get(f"/api/admin/integrations/erp/{rest}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    nobody = await ask("check", endpoint="customers")
    await erp.add(*AGENTS)
    ping, shared, first = (
        await ask("ping"),
        await ask("check", endpoint="prices"),
        await ask("check", endpoint="orders"),
    )
    second = await ask("check", endpoint="customers", owner="012")
    config, diff = await ask("config"), await ask("schema-diff", entity="customers")
    status = (await erp.site.admin.get("/api/admin/sync/status", params={"integration": "erp"})).json()

    assert (nobody["ok"], "keepstep agents add" in nobody["fix"]) == (False, True)
    assert (ping["ok"], ping["authenticated"]) == (True, True)
    assert (shared["count"], first["count"], second["count"]) == (14, 9, 12)
    shown = {line["variable"]: line["value"] for line in config["settings"]}
    assert {"ERP_BASE_URL", "ERP_USERNAME", "ERP_PASSWORD"} <= shown.keys()
    assert erp.emulator.options.password not in json.dumps(config)
    assert diff["upstream"]["ok"]
    assert (status["configured"], status["scheduler"]["entities"]) == (True, ["products", "prices"])


def table(command: Keepstep, report: str, agent: str) -> dict[str, dict[str, str]]:
    """The live rows of a table as psql tells them."""
    whose = f"owner_id = '{agent}' AND" if agent else ""
    lines = command.rows(
        f"SELECT set_config('keepstep.owner', '{agent}', false); SELECT to_jsonb(t)::text FROM erp.{report} t"
        f" WHERE {whose} _deleted_at IS NULL"
    )
    found = [json.loads(line, parse_float=str, parse_int=str) for line in lines if line.startswith("{")]
    return {row["id"]: row for row in found}


def test_the_command_line_lists_agents_runs_them_and_up_keeps_them_in_step() -> None:
    options = EmulatorOptions().changed(SMALL)
    truth = Ledger(options)
    sizes = [f"--{name}={value}" for name, value in SMALL.items()]
    with keepstep(ERP_RATE_LIMIT_RPS="100000") as command, command.start("emulate", "erp", "--json", *sizes) as server:
        ready = json.loads(server.until("baseUrl"))
        command.environment |= {
            "ERP_BASE_URL": ready["baseUrl"], "ERP_USERNAME": options.username, "ERP_PASSWORD": options.password
        }  # fmt: skip
        assert command("ping", "erp").code == 0
        nobody = command("run", "erp", "customers")
        assert (nobody.code, "No agent is on the list" in nobody.error) == (1, True)
        assert command("agents", "add", "007", "--name", "Bruno Città").code == 0
        check = command("check", "erp", "customers", "--json")
        assert (check.code, check.json["count"]) == (0, SMALL["customers"])
        dry = command("run", "erp", "--mode", "backfill", "--dry-run", "--json", "-q")
        assert dry.code == 0, dry.err
        assert [run["dryRun"] for run in dry.json["runs"]] == [True, True]
        assert command.rows("SELECT to_regclass('erp.customers') IS NULL") == ["t"]
        run = command("run", "erp", "orders", "--agent", "007", "--mode", "backfill", "--json", "-q")
        assert (run.code, run.json["inserted"]) == (0, SMALL["orders"])
        _begin_anew(command)
        wrong = command("run", "erp", "prices", "--agent", "007")
        assert wrong.code == 2
        assert command("run", "erp", "orders", "--agent", "999").code == 1

        with command.start("up") as up:
            up.until("http://")
            command.rows("INSERT INTO keepstep.agents (code) VALUES ('012')")
            for report, layout in LAYOUTS.items():
                for agent in AGENTS if layout.per_agent else ("",):
                    wanted = {
                        layout.key_of(row): {snake_case(name): value for name, value in row.items()}
                        for row in truth.rows(report, agent)
                    }
                    _until_in_step(command, report, agent, wanted)
            listed = command("agents", "list", "--json").json
            assert [one["code"] for one in listed] == list(AGENTS)
            assert command("doctor").code == 0
            assert up.send(signal.SIGTERM).code == 143
        gone = command("agents", "remove", "012")
        assert (gone.code, "rows of 012 stay" in gone.out) == (0, True)
        assert options.password not in "".join(path.read_text(errors="ignore") for path in command.home.rglob("*.log"))
        server.send(signal.SIGTERM)


def _begin_anew(command: Keepstep) -> None:
    """The document of an agent is known, until the agent's checkpoint is reset."""
    run = ("run", "erp", "orders", "--agent", "007", "--mode", "backfill", "--json", "-q")
    known = command(*run).json
    [listed] = command("checkpoint", "list", "--agent", "007", "--json").json
    reset = command("checkpoint", "reset", "erp", "orders", "--agent", "007")
    again = command(*run).json
    refused = [
        command("checkpoint", "reset", "erp", *rest)
        for rest in (("orders",), ("prices", "--agent", "007"), ("orders", "--agent", "999"))
    ]

    assert (known["rows"], again["rows"], again["unchanged"]) == (0, SMALL["orders"], SMALL["orders"])
    assert (listed["integration"], listed["owner"], listed["entity"]) == ("erp", "007", "orders")
    assert (reset.code, "The next run of 007 reads orders from the start" in reset.out) == (0, True)
    assert [(answer.code, "Fix" in answer.error or "fix" in answer.error.lower()) for answer in refused] == [
        (1, True), (1, True), (1, True),
    ]  # fmt: skip
    assert command("checkpoint", "list", "--json").json == []


def _until_in_step(command: Keepstep, report: str, agent: str, wanted: dict[str, dict[str, Any]]) -> None:
    for _ in range(60):
        if command.rows(f"SELECT to_regclass('erp.{report}') IS NOT NULL") == ["t"]:
            found = table(command, report, agent)
            if found.keys() == wanted.keys():
                break
    assert found.keys() == wanted.keys()
    for key, row in wanted.items():
        for name, value in row.items():
            told = found[key][name]
            assert ("" if told is None else told) == ("" if value is None else str(value)), (report, key, name)

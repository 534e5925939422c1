"""Every command through the installed script: words, JSON, exit codes, signals."""

import json
import signal
import stat
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.request import urlopen

import pytest

from keepstep.cli import arguments
from keepstep.cli.exits import Usage
from tests.system.command import KEY, SCRIPT, Emulator, Keepstep, emulator, keepstep

ENTITIES = ["owners", "properties", "units", "leases", "tenants"]
SMALL = ("--owners", "20", "--properties", "20", "--units", "40", "--leases", "300", "--tenants", "100")


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[Keepstep, Emulator]]:
    """A home that ``keepstep up`` serves, and an upstream for it."""
    with (
        keepstep() as command,
        command.start("up", "--json") as up,
        emulator(command, *SMALL) as upstream,
    ):
        command.environment |= upstream.environment
        up.until('"healthz"')
        yield command, upstream


@pytest.fixture
def command(place: tuple[Keepstep, Emulator]) -> Keepstep:
    return place[0]


@pytest.fixture
def upstream(place: tuple[Keepstep, Emulator]) -> Emulator:
    """The upstream as it was seeded."""
    place[1].command("reset")
    return place[1]


@pytest.fixture
def alone() -> Iterator[Keepstep]:
    """A command whose home does not exist yet."""
    with keepstep() as command:
        yield command


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nosuch", "No such command 'nosuch'"),
        ("run", "Missing argument"),
        ("run dorloop", "Did you mean doorloop?"),
        ("run doorloop ownerz", "Did you mean owners?"),
        ("run doorloop --mode half", "There is no mode 'half'"),
        ("run doorloop --since soon", "is not a date"),
        ("run doorloop --since 2999-01-01", "lies in the future"),
        ("run doorloop --since 2026-01-01 --mode full", "reads everything"),
        ("run doorloop --nosuch", "No such option"),
        ("check doorloop nosuch", "Known are: owners"),
        ("ping google_contacts", "For example: --owner ana"),
        ("run mail", "For example: --owner ana"),
        ("emulate nosuch", "There is no emulator 'nosuch'"),
        ("emulate doorloop --leases -1", "leases lies between"),
        ("emulate doorloop --sort upwards", "not one of"),
        ("emulate google_contacts --people -1", "people lies between"),
        ("dlq requeue", "by number, or all of an entity"),
        ("dlq discard 1", "Missing option '--reason'"),
    ],
)
def test_a_wrong_command_line_is_told_what_to_write_instead(alone: Keepstep, line: str, words: str) -> None:
    ended = alone(*line.split(), DOORLOOP_API_KEY=KEY)

    assert ended.code == 2
    assert words in ended.error
    assert "Fix:" in ended.error
    assert not alone.home.exists(), "a wrong command line touches nothing"


def test_with_json_an_error_is_a_problem_document_as_well(alone: Keepstep) -> None:
    ended = alone("run", "doorloop", "nosuch", "--json", DOORLOOP_API_KEY=KEY)

    assert ended.code == 2
    assert ended.json["detail"] in ended.error
    assert ended.json["status"] == 422
    assert ended.json["fix"].startswith("Known are: owners")


def test_dates_are_utc_unless_they_say_otherwise() -> None:
    assert arguments.instant("2026-03-31") == datetime(2026, 3, 31, tzinfo=UTC)
    assert arguments.instant("2026-03-31T08:00") == datetime(2026, 3, 31, 8, tzinfo=UTC)
    assert arguments.instant("2026-03-31T08:00:00+02:00") == datetime(2026, 3, 31, 6, tzinfo=UTC)
    for text in ("31.3.2026", "2026-02-30", "", "0001-01-01T00:00:00+14:00", "08:00"):
        with pytest.raises(Usage):
            arguments.instant(text)


def test_without_a_key_a_run_says_so_and_everything_else_works(command: Keepstep) -> None:
    refused, usable = ("run doorloop", "ping doorloop"), ("runs", "dlq list", "held list", "config show", "doctor")
    all_ended = command.all(*refused, *usable, DOORLOOP_API_KEY="", DOORLOOP_BASE_URL="")

    run, ping = all_ended[:2]
    assert (run.code, run.error.splitlines()[0]) == (1, "Error: DoorLoop has no API key.")
    assert "DOORLOOP_API_KEY" in run.error
    assert (ping.code, "DoorLoop has no API key." in ping.out, "Fix: Set DOORLOOP_API_KEY" in ping.out) == (
        1,
        True,
        True,
    )
    assert [ended.code for ended in all_ended[2:]] == [0] * len(usable)


def test_a_backfill_brings_everything_and_a_second_one_changes_nothing(command: Keepstep, upstream: Emulator) -> None:
    first = command("run", "doorloop", "--mode", "full", "--json")
    second = command("run", "doorloop", "--mode", "backfill", "--json")
    delta = command("run", "doorloop", "owners,leases", "leases")

    assert (first.code, second.code, delta.code) == (0, 0, 0)
    assert first.json["result"] == "succeeded"
    assert first.json["entity"].split(",") == ENTITIES
    assert "leases: page" in first.err
    again = second.json
    assert (again["inserted"], again["updated"], again["deleted"]) == (0, 0, 0)
    assert again["unchanged"] == again["rows"] == 20 + 20 + 40 + 300 + 100
    assert {"entity", "state", "rows", "total", "requests", "completeness"} <= set(again["entities"][0])
    assert command.rows("select count(*) from doorloop.leases where _deleted_at is null") == ["300"]
    assert "(delta): succeeded" in delta.out
    assert command("runs", "--json", "--limit", "1").json[0]["entity"] == "owners,leases"


def test_sync_entities_says_what_a_run_without_names_reads(command: Keepstep, upstream: Emulator) -> None:
    ended = command("run", "doorloop", "--json", "--quiet", SYNC_ENTITIES="tenants,nosuch")
    none = command("run", "doorloop", SYNC_ENTITIES="nosuch")

    assert (ended.code, ended.json["entity"], ended.err) == (0, "tenants", "")
    assert (none.code, "names no entity of DoorLoop" in none.error) == (1, True)


def test_a_dry_run_reports_and_writes_nothing(command: Keepstep, upstream: Emulator) -> None:
    assert command("run", "doorloop", "owners", "--mode", "full", "-q").code == 0
    upstream.command("changes", entity="owners", create=2, update=3)
    before = command.rows("select count(*), max(_run_id) from doorloop.owners")

    words = command("run", "doorloop", "owners", "--dry-run", "--mode", "full")
    report = command("run", "doorloop", "owners", "--dry-run", "--mode", "full", "--json").json

    assert words.code == 0
    assert "Nothing was written" in words.out
    assert "changed columns: " in words.out
    assert " -> " in words.out
    assert report["dryRun"] is True
    assert (report["inserted"], report["updated"]) == (2, 3)
    assert report["entities"][0]["report"]["changedColumns"]["updated_at"] == 3
    assert command.rows("select count(*), max(_run_id) from doorloop.owners") == before


def test_bad_records_become_dead_letters_that_can_be_looked_after(command: Keepstep, upstream: Emulator) -> None:
    upstream.command("poison", entity="properties", kinds=["nul-in-text", "impossible-date", "text-for-number"])

    ended = command("run", "doorloop", "properties", "--mode", "full")
    letters = command("dlq", "list", "--entity", "properties", "--json").json
    first, second, _ = ids = [str(letter["id"]) for letter in letters["items"]]
    shown = command("dlq", "show", first)
    detail = command("dlq", "show", first, "--json").json
    requeued = command("dlq", "requeue", first, second, "--json")
    discarded = command("dlq", "discard", first, "--reason", "known to be broken")
    by_entity = command("dlq", "requeue", "--entity", "properties", "--json")

    assert ended.code == 3
    assert "keepstep dlq list" in ended.err
    assert letters["count"] == 3
    assert {"id", "entity", "recordKey", "reason", "payloadHash", "createdAt", "runId", "attempts", "state"} <= set(
        letters["items"][0]
    )
    assert detail["payload"] in shown.out
    assert (requeued.code, {answer["result"] for answer in requeued.json}) == (1, {"failed"})
    assert (discarded.code, "discarded" in discarded.out) == (0, True)
    assert {str(answer["id"]) for answer in by_entity.json} == set(ids) - {first}
    upstream.command("cure", entity="properties")
    assert command("run", "doorloop", "properties", "--mode", "full", "-q").code == 0
    assert command("dlq", "list", "--entity", "properties", "--json").json["count"] == 0


def test_deletions_beyond_the_guard_wait_for_a_person(command: Keepstep, upstream: Emulator) -> None:
    assert command("run", "doorloop", "tenants", "--mode", "full", "-q").code in (0, 3)
    upstream.command("changes", entity="tenants", delete=80)

    ended = command("run", "doorloop", "tenants", "--mode", "full", "--json", "-q")
    run = str(ended.json["runId"])
    held = command("held", "list", "--json").json
    approved = command("held", "approve", run, "--reason", "they moved out", "--json")
    again = command("held", "approve", run)

    assert (ended.code, ended.json["result"]) == (3, "held")
    assert (str(held[0]["runId"]), held[0]["deleteRows"], held[0]["liveRows"]) == (run, 80, 100)
    assert approved.json == {"runId": int(run), "action": "approve", "deleted": 80}
    assert (again.code, f"Run {run} holds nothing." in again.error) == (1, True)
    assert command.rows("select count(*) from doorloop.tenants where _deleted_at is null") == ["20"]


def test_an_active_run_is_seen_guarded_and_stopped_by_other_processes(command: Keepstep, upstream: Emulator) -> None:
    upstream.command("faults", kind="hang", entity="leases", page=5, forever=True)
    with command.start("run", "doorloop", "leases", "--mode", "full", "--json", DOORLOOP_PAGE_SIZE="50") as running:
        running.until("leases: page")
        second = command("run", "doorloop", "owners", "--json")
        active = command("status", "--json").json["activeRun"]
        reset = command("checkpoint", "reset", "doorloop", "leases")
        stopped = command("stop", "--json")
        ended = running.end()
    upstream.command("faults/clear")
    idle = command("stop", "--json")

    assert (second.code, second.json["code"], second.json["runId"]) == (1, "lock-held", active["runId"])
    assert (active["entity"], active["mode"], active["dryRun"], active["total"]) == ("leases", "backfill", False, 300)
    assert (reset.code, "is active" in reset.error) == (1, True)
    assert stopped.json == {"stopped": True, "runId": active["runId"]}
    assert (ended.code, ended.json["result"]) == (1, "stopped")
    assert (idle.code, idle.json) == (0, {"stopped": False, "runId": None})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_stopped_in_order_and_the_next_one_goes_on(
    command: Keepstep, upstream: Emulator, number: int
) -> None:
    assert command("checkpoint", "reset", "doorloop", "leases").code == 0
    upstream.command("faults", kind="hang", entity="leases", page=4, forever=True)
    with command.start("run", "doorloop", "leases", "--mode", "full", DOORLOOP_PAGE_SIZE="50") as running:
        running.until("leases: page 3")
        ended = running.send(number)
    upstream.command("faults/clear")
    run = command("runs", "--json", "--limit", "1").json[0]
    unfinished = command("checkpoint", "list", "--json").json
    followed = command("run", "doorloop", "leases", "--mode", "full", "--json", DOORLOOP_PAGE_SIZE="50").json

    assert ended.code == 128 + number
    assert ": stopped" in ended.out
    assert "Traceback" not in ended.err
    assert (run["result"], run["rows"]) == ("stopped", 150)
    assert [c["mode"] for c in unfinished if c["entity"] == "leases"] == ["backfill"]
    assert (followed["entities"][0]["resumed"], followed["rows"], followed["requests"]) == (True, 150, 3 + 1)


def test_a_run_that_waits_for_upstream_can_be_interrupted(command: Keepstep, upstream: Emulator) -> None:
    upstream.command("faults", kind="429", entity="units", retry_after=3600, forever=True)
    with command.start("run", "doorloop", "units", "--mode", "full") as running:
        running.until("waits 3600 s")
        active = command("status", "--json").json["activeRun"]
        ended = running.send(signal.SIGINT)
    run = command("runs", "--json", "--limit", "1").json[0]
    command("db", "psql", "-c", "DELETE FROM keepstep.limits")  # or the pause would hold for everybody for an hour

    assert (active["state"], active["dueAt"] is not None) == ("waiting", True)
    assert ended.code == 130
    assert (run["result"], run["entities"][0]["state"]) == ("stopped", "stopped")


def test_the_log_of_a_run_can_be_read_and_followed(command: Keepstep, upstream: Emulator) -> None:
    upstream.command("faults", kind="hang", entity="units", forever=True)
    with command.start("run", "doorloop", "owners", "units", "--mode", "full", "--json") as running:
        running.until("started")
        with command.start("logs", "--follow", "--json") as following:
            following.until("owners: done")
            upstream.command("faults/clear")
            ended = following.end()
        run = running.end().json
    events = [json.loads(line) for line in ended.out.splitlines()]
    kept = command("logs", str(run["runId"]), "--json").json

    assert ended.code == 0
    assert events == kept
    assert (events[0]["type"], events[-1]["msg"]) == ("run-started", f"Run {run['runId']} succeeded.")
    assert {"id", "ts", "type", "level", "entity", "page", "rows", "msg"} <= set(events[0])
    assert {event["runId"] for event in events} == {run["runId"]}
    assert command("runs", str(run["runId"]), "--json").json["events"] == kept
    assert "no run 999999" in command("logs", "999999").error


def test_ping_and_check_say_what_upstream_answers(command: Keepstep, upstream: Emulator) -> None:
    ping = command("ping", "doorloop", "--json")
    refused = command("ping", "doorloop", "--json", DOORLOOP_API_KEY="dl_some_other_key_0123456789")
    check = command("check", "doorloop", "owners", "--json")
    page = command("check", "doorloop", "/nowhere", "--json")

    assert (ping.code, ping.json["ok"], ping.json["state"], ping.json["authenticated"]) == (0, True, "ok", True)
    assert {"reason", "baseUrl", "sampleCount", "elapsedMs"} <= set(ping.json)
    assert (refused.code, refused.json["ok"], refused.json["authenticated"]) == (1, False, False)
    assert (check.code, check.json["status"], check.json["count"]) == (0, 200, 20)
    assert "id" in check.json["firstItemKeys"]
    assert (page.code, "web page" in page.json["message"]) == (1, True)


def test_doctor_and_config_show_name_the_usual_mistakes_and_no_secret(command: Keepstep) -> None:
    mistakes = {
        "DOORLOOP_BASE_URL": "https://api.doorloop.com/v1", "DOORLOOP_API_KEY": '"bearer s3cr3t"',
        "DOORLOOP_PAGE_SIZE": "5000", "SYNC_ENTITIES": "ownerz", "DATABASE_URL": "postgresql://me:s3cr3t@127.0.0.1:1/none",
        "ADMIN_SYNC_TOKEN": "s3cr3t-s3cr3t", "KEEPSTEP_PORT": "eighty",
    }  # fmt: skip
    doctor, checked, config, shown, url, runs = command.all(
        "doctor", "doctor --json", "config show", "config show --json", "db url --json", "runs", **mistakes
    )  # fmt: skip
    checks, setup = checked.json, shown.json

    assert (doctor.code, checks["ok"], config.code) == (1, False, 0)
    for words in ("documentation site", "quotes", "more than 1000", "Did you mean owners?", "KEEPSTEP_PORT"):
        assert words in doctor.out
        assert words in config.out
    assert [c["message"] for c in checks["checks"] if c["state"] == "failed" and c["name"] == "database"]
    assert {w["about"] for w in setup["warnings"]} >= {"DOORLOOP_PAGE_SIZE", "SYNC_ENTITIES", "doorloop"}
    assert {line["source"] for line in setup["settings"]} == {"environment", "default"}
    assert url.json == {"url": "postgresql://me@127.0.0.1:1/none", "embedded": False}
    assert (runs.code, "cannot be reached" in runs.error) == (1, True)
    for ended in (doctor, config, url, runs):
        assert "s3cr3t" not in ended.out + ended.err


def test_doctor_finds_nothing_wrong_where_nothing_is(command: Keepstep, upstream: Emulator) -> None:
    ended = command("doctor", "--json")

    assert (ended.code, ended.json["ok"]) == (0, True)
    assert {"program", "settings", "disk", "database", "migrations", "DoorLoop"} <= {
        check["name"] for check in ended.json["checks"] if check["state"] == "ok"
    }


def test_the_token_is_made_once_and_kept_from_others(command: Keepstep) -> None:
    made = {ended.out for ended in command.all("token", "token", "token")}
    file = command.home / "admin-token"

    assert made == {file.read_text()}
    assert len(file.read_text()) > 40
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert command("token", "--json", ADMIN_SYNC_TOKEN="given").json == {"token": "given"}


def test_psql_gets_its_arguments_and_gives_its_exit_code(command: Keepstep) -> None:
    assert command("db", "psql", "-XAt", "-c", "select 1 + 1").out == "2\n"
    assert command("db", "psql", "-c", "select nosuch").code == 1
    assert command("db", "url").out.startswith("postgresql://keepstep@/keepstep?host=%2F")


def test_full_runs_by_hand_can_be_turned_off(command: Keepstep) -> None:
    ended = command("run", "doorloop", "--mode", "full", ALLOW_MANUAL_BACKFILL="false")

    assert (ended.code, "ALLOW_MANUAL_BACKFILL" in ended.error) == (1, True)


def test_whoever_reads_only_the_beginning_hears_no_complaint(command: Keepstep) -> None:
    piped = subprocess.run(
        ["sh", "-c", f"{SCRIPT} config show | true"],
        env=command.environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert piped.stderr == ""


def test_up_serves_one_home_once_and_ends_with_a_signal(command: Keepstep, alone: Keepstep) -> None:
    second = command("up")
    with alone.start("up", "--json") as up:
        ready = json.loads(up.until('"healthz"'))
        with urlopen(ready["healthz"]) as answer:  # noqa: S310
            health = json.load(answer)
        taken = command("up", KEEPSTEP_HOME=f"{alone.home}-2", KEEPSTEP_PORT=ready["url"].rsplit(":", 1)[1])
        ended = up.send(signal.SIGINT)

    assert (second.code, "already serves" in second.error) == (1, True)
    assert health["status"] == "ok"
    assert (taken.code, "KEEPSTEP_PORT=" in taken.error) == (1, True)
    assert ended.code == 130
    assert all(json.loads(line)["event"] for line in ended.err.splitlines() if line.startswith("{"))
    assert alone.processes() == []


def test_commands_without_up_share_the_database_that_the_first_one_starts(alone: Keepstep) -> None:
    ended = alone.all("runs --json", "migrate --json", "dlq list --json")

    assert [each.code for each in ended] == [0, 0, 0]
    assert ended[0].json == []
    assert alone.processes() == []

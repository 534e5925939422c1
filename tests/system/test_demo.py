"""``keepstep demo``: the first thing that anybody sees, killed and started again."""

import json
import re
import signal
import socket
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener, urlopen

from tests.system.command import KEY, keepstep

RECORDS = {"owners": 60, "properties": 120, "units": 800, "leases": 900, "tenants": 1200}
COUNT = " union all ".join(f"select count(*) from doorloop.{name} where _deleted_at is null" for name in RECORDS)


def test_a_demo_killed_in_the_middle_goes_on_from_the_page_it_had_committed() -> None:
    with keepstep() as command:
        with command.start("demo", DOORLOOP_RATE_LIMIT_RPS="8") as demo:
            committed = int(re.findall(r"page (\d+)", demo.until("leases: page"))[0])
            killed = demo.send(signal.SIGKILL)
        again = command("demo", "--once", "--json")
        third = command("demo", "--once")
        counted = command.rows(COUNT)
        run_of_a_real_account = command("run", "doorloop", DOORLOOP_API_KEY=KEY)

        assert killed.code == -signal.SIGKILL
        assert again.code == 0
        entities = {entity["entity"]: entity for entity in again.json["entities"]}
        assert [name for name, entity in entities.items() if entity["resumed"]] == ["leases"]
        assert entities["leases"]["rows"] <= 900 - 100 * committed
        assert entities["leases"]["inserted"] == entities["leases"]["rows"]
        assert entities["owners"]["unchanged"] == 60
        assert third.code == 0
        assert third.out.split("total")[1].split()[:5] == ["3,080", "0", "0", "3,080", "0"]
        assert counted == [str(number) for number in RECORDS.values()]
        assert (run_of_a_real_account.code, "invented records" in run_of_a_real_account.error) == (1, True)
        assert command.processes() == []


def test_a_demo_serves_until_it_is_told_to_end_and_others_may_use_it_meanwhile() -> None:
    with keepstep() as command, socket.create_server(("127.0.0.1", 0)) as other:
        taken = command("demo", KEEPSTEP_PORT=str(other.getsockname()[1]))
        with command.start("demo", DATABASE_URL="postgresql://nowhere.test/none") as demo:
            demo.until("unset DATABASE_URL")
            exports = demo.until("export DOORLOOP_BASE_URL").split()[1:]
            healthz = demo.until("/healthz").split()[-1]
            page = demo.until("The control center: ").split()[-1]
            password = demo.until("with the password").split()[-1]
            form = urlencode({"name": "demo", "password": password}).encode()
            with build_opener(HTTPCookieProcessor()).open(
                page.replace("/systems/integrations", "/login"), form
            ) as shown:
                signed_in = (shown.url, "DoorLoop" in shown.read().decode())
            with urlopen(healthz) as answer:  # noqa: S310
                health = json.load(answer)
            delta = command("run", "doorloop", "--json", **dict(word.split("=", 1) for word in exports))
            ended = demo.send(signal.SIGINT)

        assert (taken.code, "KEEPSTEP_PORT=" in taken.error) == (1, True)
        assert health["status"] == "ok"
        assert signed_in == (page, True)
        assert (delta.code, delta.json["inserted"], delta.json["deleted"]) == (0, 0, 0)
        assert ended.code == 130
        assert "Traceback" not in ended.err
        assert command.processes() == []


def test_a_demo_keeps_away_from_records_that_are_not_its_own() -> None:
    with keepstep() as command:
        with command.start("emulate", "doorloop", "--json", "--leases", "5") as running:
            ready = json.loads(running.until("baseUrl"))
            upstream = {"DOORLOOP_BASE_URL": ready["baseUrl"], "DOORLOOP_API_KEY": ready["apiKey"]}
            assert command("run", "doorloop", "leases", "--quiet", **upstream).code == 0
        ended = command("demo", "--once")

        assert (ended.code, "not the demo's" in ended.error) == (1, True)
        assert command.rows("select count(*) from doorloop.leases") == ["5"]

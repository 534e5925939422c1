"""Users connect their mailboxes and turn auto-sync on: each is kept in step with a real Dovecot, apart from others."""

import asyncio
import imaplib
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.integrations.mail.wire import way_to
from tests.support.dovecot import PASSWORD, Dovecot, dovecot, mail
from tests.support.mail_users import House, User, up
from tests.support.workers import LIVE, until
from tests.system.command import Keepstep, keepstep


@pytest.fixture(scope="module")
def imap() -> Iterator[Dovecot]:
    with dovecot() as running:
        yield running


@pytest.fixture(scope="module")
def command() -> Iterator[Keepstep]:
    with keepstep() as command:
        yield command


@pytest.fixture
async def house(command: Keepstep) -> AsyncIterator[House]:
    async with up(command) as (house, _):
        yield house


async def connected(house: House, imap: Dovecot, name: str, **more: Any) -> User:
    """A user with auto-sync on and a mailbox connected, whose first sync has ended."""
    user = await house.user(name)
    await user.enable()
    answer = await user.connect(imap, **more)
    assert answer.status_code == 200, answer.text
    first = await user.ended(1)
    assert first["result"] == "succeeded", first["error"]
    return user


async def test_two_users_are_kept_in_step_each_with_their_own_mailbox_and_see_nothing_of_the_other(
    house: House, imap: Dovecot
) -> None:
    anas, bens = imap.mailbox("ana@example.test"), imap.mailbox("ben@example.test")
    anas.create("Clients")
    anas.add(*(mail(f"to ana {n}") for n in range(12)), mail("to both"))
    anas.add(*(mail(f"client {n}") for n in range(5)), folder="Clients")
    bens.add(mail("to both"), *(mail(f"to ben {n}") for n in range(7)))
    ana, ben = await connected(house, imap, "ana"), await connected(house, imap, "ben")
    ana.compare(anas, "INBOX", "Clients")
    ben.compare(bens)
    assert [run["trigger"] for run in await ana.runs()] == ["schedule"]  # it began by itself, at once

    anas.add(mail("new 1"), mail("new 2"))
    anas.flag(anas.uids()[:3], r"\Seen \Flagged")
    bens.remove(bens.uids()[:2])
    delta, bens_delta = await ana.sync(), await ben.sync()
    ana.compare(anas, "INBOX", "Clients")
    ben.compare(bens)
    assert (delta["mode"], delta["inserted"], delta["updated"], delta["deleted"]) == ("delta", 2, 3, 0)
    assert (bens_delta["inserted"], bens_delta["updated"], bens_delta["deleted"]) == (0, 0, 2)
    await ana.assert_nothing_to_do()

    with anas.session("INBOX") as client:  # moved to another folder: a new row there, the old one is deleted
        client.uid("MOVE", str(anas.uids()[0]), "Clients")
    await ana.sync()
    ana.compare(anas, "INBOX", "Clients")

    await only_their_own(house, ana, ben)


async def only_their_own(house: House, ana: User, ben: User) -> None:
    """Neither by the API nor by SQL is there anything of the other one."""
    [bens] = [run["runId"] for run in await ben.runs()][:1]
    seen = [(await ana.client.get(f"/api/admin/sync/runs/{bens}")).status_code,
            (await ana.client.get(f"/systems/integrations/runs/{bens}")).status_code]  # fmt: skip
    assert set(seen) <= {403, 404}
    assert bens not in [run["runId"] for run in await ana.runs()]
    assert (await ana.client.get("/api/connections/mail", params={"user": "ben"})).status_code == 403
    for user in (ana, ben):
        with house.application() as application:
            assert application.execute("SELECT 1 FROM mail.messages").fetchall() == []
            application.execute("SELECT set_config('keepstep.owner', %s, true)", [user.owner])
            told = application.execute("SELECT owner_id, id FROM mail.messages WHERE _deleted_at IS NULL").fetchall()
            runs = application.execute(
                "SELECT DISTINCT c.owner_id FROM keepstep.runs r JOIN keepstep.connections c ON c.id = r.connection_id"
            ).fetchall()
        assert {row["id"] for row in told} == {row["id"] for row in user.rows()}
        assert {row["owner_id"] for row in told} == {user.owner} == {row["owner_id"] for row in runs}


async def test_a_new_uidvalidity_loses_and_doubles_nothing(house: House, imap: Dovecot) -> None:
    box = imap.mailbox("uma@example.test")
    box.add(*(mail(f"message {n}") for n in range(30)))
    box.remove(box.uids()[:4])
    uma = await connected(house, imap, "uma")
    before = {row["id"]: row["_first_seen_at"] for row in uma.rows()}
    await asyncio.to_thread(box.renumber)
    box.add(mail("after the new numbers"))
    box.remove([box.uids()[1]])
    run = await uma.sync()
    uma.compare(box)
    after = {row["id"]: row["_first_seen_at"] for row in uma.rows()}

    assert (run["result"], run["inserted"], run["deleted"]) == ("succeeded", 1, 1)
    assert len(before.keys() & after.keys()) == 25
    assert all(before[key] == after[key] for key in before.keys() & after.keys())
    await uma.assert_nothing_to_do()


async def test_another_mailbox_whose_numbers_are_the_same_is_read_anew(house: House, imap: Dovecot) -> None:
    """Nothing that a delta looks at tells the second mailbox from the first: count, UIDVALIDITY, UIDNEXT."""
    first, second = imap.mailbox("ivo@example.test"), imap.mailbox("ivo2@example.test")
    first.add(*(mail(f"common {n}") for n in range(5)))
    await asyncio.to_thread(subprocess.run, ["cp", "-a", first.place, second.place], check=True)
    for box in (first, second):
        box.add(*(mail(f"{box.user} {n}") for n in range(5)))
        box.remove(range(1, 6))
    assert (first.uidvalidity(), first.uids()) == (second.uidvalidity(), second.uids())
    ivo = await connected(house, imap, "ivo")
    ivo.compare(first)
    assert (await ivo.connect(imap, address="ivo2@example.test")).status_code == 200
    run = await ivo.ended(2)

    assert (run["result"], run["inserted"], run["deleted"]) == ("succeeded", 5, 5), run["error"]
    ivo.compare(second)
    assert (await ivo.connect(imap, address="ivo2@example.test")).status_code == 200  # the same: nothing begins anew
    await ivo.assert_nothing_to_do()
    assert len(await ivo.runs()) == 3


async def test_a_password_that_changed_waits_for_its_owner_and_is_not_tried_in_a_loop(
    house: House, imap: Dovecot
) -> None:
    box = imap.mailbox("pia@example.test")
    box.add(*(mail(f"message {n}") for n in range(6)))
    pia = await connected(house, imap, "pia")
    other = await connected(house, imap, "oro")
    box.add(mail("while nobody looks"))
    imap.refuse("pia@example.test")
    await until(lambda: _is_refused(pia, imap))
    refused = await pia.sync()
    line = await pia.line()
    tries = imap.log.count("user=<pia@example.test>")
    [planned] = house.sql("SELECT count(*) AS n FROM keepstep.dispatch_due(100, now() + interval '30 days') d,"
                          " unnest(d.started) s JOIN keepstep.runs r ON r.id = s JOIN keepstep.connections c"
                          " ON c.id = r.connection_id WHERE c.owner_id = %s", pia.owner)  # fmt: skip
    again = await pia.client.post("/api/auto-sync/mail/run")
    alert = (
        "SELECT a.title, a.fix FROM keepstep.alerts a JOIN keepstep.connections c ON c.id = a.connection_id"
        " WHERE c.owner_id = %s AND a.rule = 'reconnect' AND a.ended_at IS NULL"
    )

    async def alerted() -> bool:
        return bool(house.sql(alert, pia.owner))

    async def all_clear() -> bool:
        return not house.sql(alert, pia.owner)

    await until(alerted)
    assert (refused["result"], refused["error"]["code"]) == ("failed", "mailbox-refused")
    assert (line["state"], line["nextSyncAt"], line["nextSync"]) == (
        "needs-reconnect", None, "waits until it is connected again",
    )  # fmt: skip
    assert "refused the user name" in line["reason"]
    assert planned["n"] == 0
    assert (again.status_code, again.json()["fix"]) == (409, "Connect the account again.")
    assert imap.log.count("user=<pia@example.test>") == tries
    assert (await other.sync())["result"] == "succeeded"

    still_wrong = await pia.connect(imap)
    assert (still_wrong.status_code, still_wrong.json()["code"]) == (422, "mailbox-refused")
    imap.refuse("pia@example.test", refused=False)

    async def reconnected() -> bool:
        return (await pia.connect(imap)).status_code == 200

    await until(reconnected)
    runs = await pia.ended(3)
    assert runs["result"] == "succeeded", runs["error"]
    assert (runs["mode"], runs["inserted"]) == ("delta", 1)
    assert (await pia.line())["state"] == "connected"
    pia.compare(box)
    await until(all_clear)


async def _is_refused(user: User, imap: Dovecot) -> bool:
    """Dovecot has read the file by now."""
    client = imaplib.IMAP4("127.0.0.1", imap.port, timeout=20)
    try:
        client.login(user.account, PASSWORD)
    except imaplib.IMAP4.error:
        return True
    finally:
        client.shutdown()
    return False


async def test_a_server_that_hangs_delays_nobody_else(house: House, imap: Dovecot) -> None:
    box = imap.mailbox("eva@example.test")
    box.add(*(mail(f"message {n}") for n in range(20)))
    async with way_to(imap.port) as way:
        eva = await connected(house, imap, "eva", port=way.port)
        others = [await connected(house, imap, name) for name in ("gio", "leo", "zoe")]
        boxes = [imap.mailbox(user.account) for user in others]
        box.add(mail("one more"))
        way.silent = True
        answer = await eva.client.post("/api/auto-sync/mail/run")
        await until(lambda: _hangs(way))
        for user, own in zip(others, boxes, strict=True):
            own.add(mail(f"to {user.name}"))
        runs = await asyncio.gather(*(user.sync() for user in others))
        hanging = (await eva.runs())[0]
        assert {run["result"] for run in runs} == {"succeeded"}
        assert hanging["runId"] == answer.json()["runId"]
        assert hanging["finishedAt"] is None or max(run["finishedAt"] for run in runs) < hanging["finishedAt"]
        for user, own in zip(others, boxes, strict=True):
            user.compare(own)

        way.silent = False
        way.cut()

        async def well_again() -> bool:
            return bool((await eva.sync())["result"] == "succeeded")

        await until(well_again)
        eva.compare(box)


async def _hangs(way: Any) -> bool:
    return way.open > 0


async def test_a_first_sync_goes_on_after_kill_9_and_loses_and_doubles_nothing(
    command: Keepstep, imap: Dovecot
) -> None:
    box = imap.mailbox("kim@example.test")
    box.add(*(mail(f"message {n}") for n in range(400)))
    async with up(command) as (house, running):
        kim = await house.user("kim")
        await kim.enable()
        await kim.connect(imap)

        async def begun() -> bool:
            runs = await kim.runs()
            return bool(runs) and (runs[0]["rows"] > 0 or runs[0]["result"] not in LIVE)

        await until(begun)
        running.send(signal.SIGKILL)
    box.add(mail("meanwhile"))
    async with up(command) as (house, _):
        kim = await house.again("kim")
        assert (await kim.ended(1))["result"] == "succeeded"
        await kim.sync()
        kim.compare(box)
        assert len(kim.rows()) == 401
        config = (await kim.client.get("/api/settings/load-auto-sync")).json()
        assert config["settings"] == {"enabled": True, "interval_minutes": 15}


async def test_two_tabs_double_toggles_and_a_restart_make_one_run_an_interval(command: Keepstep, imap: Dovecot) -> None:
    for name in ("tia", "ugo"):
        imap.mailbox(f"{name}@example.test").add(mail("one"))
    async with up(command) as (house, _):
        users = [await house.user("tia"), await house.user("ugo")]
        for user in users:
            assert (await user.connect(imap)).status_code == 200
        tabs = [*users, *(await asyncio.gather(*(house.again(user.name) for user in users)))]
        await asyncio.gather(*(tab.enable() for tab in tabs * 5))
        for user in users:
            await user.ended(1)
        for enabled in (False, True, False, True):
            body = {"enabled": enabled}
            await asyncio.gather(*(t.client.post("/api/settings/save-auto-sync", json=body) for t in tabs * 2))
    async with up(command) as (house, _):
        users = [await house.again("tia"), await house.again("ugo")]
        await asyncio.gather(*(user.enable() for user in users * 3))
        house.sql("SELECT keepstep.dispatch_due()")
        house.sql("SELECT keepstep.dispatch_due()")
        for user in users:
            assert [(run["trigger"], run["result"]) for run in await user.runs()] == [("schedule", "succeeded")]
            assert (await user.line())["nextSync"] in {f"in {n} minutes" for n in range(2, 17)}
        scheduled = house.sql("SELECT count(*) AS n FROM keepstep.schedules s JOIN keepstep.connections c"
                              " ON c.id = s.connection_id WHERE c.owner_id = ANY(%s)",
                              [user.owner for user in users])  # fmt: skip
        assert scheduled == [{"n": 2}]


async def test_a_mailbox_is_read_as_fast_as_its_server_answers(house: House, imap: Dovecot) -> None:
    box = imap.mailbox("lino@example.test")
    box.create(*(f"Folder {n}" for n in range(16)))  # each takes some commands
    box.add(*(mail(f"message {n}") for n in range(120)))
    lino = await connected(house, imap, "lino")
    lino.compare(box)
    [first] = await lino.runs()
    waits = house.sql(
        "SELECT s.cause FROM keepstep.rate_samples s JOIN keepstep.connections c ON c.id = s.connection_id"
        " WHERE c.owner_id = %s AND s.waited_ms > 0", lino.owner,
    )  # fmt: skip

    assert first["requests"] >= 20
    assert waits == []

"""Users connect Gmail accounts with a browser and turn auto-sync on: kept in step with an emulated Gmail."""

from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from keepstep.integrations.mail.entities import MESSAGES
from keepstep.integrations.mail.gmail.emulator.options import EmulatorOptions
from keepstep.integrations.mail.gmail.emulator.server import GmailEmulator
from tests.integrations.mail.gmail_account import record_bytes
from tests.support.dovecot import dovecot, mail
from tests.support.mail_users import House, User, up
from tests.support.site import NO_TLS
from tests.support.truth import differences
from tests.support.workers import until
from tests.system.command import Keepstep, keepstep

CONNECT = "/api/connections/mail/connect"


@pytest.fixture(scope="module")
def command() -> Iterator[Keepstep]:
    with keepstep() as command:
        yield command


@pytest.fixture
async def gmail() -> AsyncIterator[tuple[GmailEmulator, str]]:
    emulator = GmailEmulator(EmulatorOptions(messages=60))
    async with emulator.serve() as url:
        yield emulator, url


@pytest.fixture
async def house(command: Keepstep, gmail: tuple[GmailEmulator, str]) -> AsyncIterator[House]:
    async with up(command, **settings(*gmail)) as (house, _):
        yield house


def settings(emulator: GmailEmulator, url: str) -> dict[str, str]:
    """What makes Keepstep ask the emulator."""
    options = emulator.options
    return {
        "GMAIL_BASE_URL": url, "GOOGLE_CLIENT_ID": options.client_id, "GOOGLE_CLIENT_SECRET": options.client_secret,
        "GMAIL_PAGE_SIZE": "20",
    }  # fmt: skip


async def consent(user: User) -> httpx.Response:
    """Consent from its beginning to its end, as a browser goes through it."""
    begun = await user.client.get(CONNECT, params={"next": "/settings/auto-sync"})
    assert begun.status_code == 303, begun.text
    async with httpx.AsyncClient(verify=NO_TLS) as browser:
        there = await browser.get(begun.headers["location"])
    assert there.status_code == 302, there.text
    back = urlsplit(there.headers["location"])
    return await user.client.get(f"{back.path}?{back.query}")


async def connected(house: House, name: str) -> User:
    """A user with auto-sync on and the Gmail account connected, whose first sync has ended."""
    user = await house.user(name)
    await user.enable()
    answer = await consent(user)
    assert (answer.status_code, answer.headers["location"]) == (303, "/settings/auto-sync"), answer.text
    first = await user.ended(1)
    assert (first["result"], first["trigger"]) == ("succeeded", "schedule"), first["error"]
    return user


def not_in_step(user: User, emulator: GmailEmulator) -> list[str]:
    """What a user's live rows and the account's messages do not agree on."""
    return differences(MESSAGES, map(record_bytes, emulator.truth()), {row["id"]: row for row in user.rows()})


async def test_two_users_of_one_account_have_its_messages_each_and_an_expired_history_loses_nothing(
    house: House, gmail: tuple[GmailEmulator, str]
) -> None:
    emulator, _ = gmail
    ana, ben = await connected(house, "ana"), await connected(house, "ben")
    assert not_in_step(ana, emulator) == not_in_step(ben, emulator) == []
    assert (await ana.client.get("/api/connections/mail")).json() == {
        "by": "gmail",
        "user": "me@example.test",
        "folders": [],
    }

    emulator.change(create=3, label=4, delete=2, trash=1)
    run = await ana.sync()
    assert (run["mode"], run["inserted"], run["updated"], run["deleted"]) == ("delta", 3, 4, 3)
    assert not_in_step(ana, emulator) == []
    assert not_in_step(ben, emulator) != []

    emulator.change(create=2, label=1, delete=1)
    emulator.expire()
    emulator.end_access()
    for user in (ana, ben):
        run = await user.sync()
        assert run["result"] == "succeeded", run["error"]
        assert run["inserted"] > 0
        assert not_in_step(user, emulator) == []
        assert (await user.sync())["inserted"] == 0
        with house.application() as application:
            application.execute("SELECT set_config('keepstep.owner', %s, true)", [user.owner])
            told = application.execute("SELECT DISTINCT owner_id FROM mail.messages").fetchall()
        assert told == [{"owner_id": user.owner}]


async def test_a_revoked_consent_waits_for_its_owner_and_goes_on_where_it_stopped(
    command: Keepstep, gmail: tuple[GmailEmulator, str]
) -> None:
    emulator, _ = gmail
    async with up(command, **settings(*gmail)) as (house, _):
        cleo = await connected(house, "cleo")
        emulator.revoke()
        emulator.change(create=4, delete=1)
        refused = await cleo.sync()
        line, again = await cleo.line(), await cleo.client.post("/api/auto-sync/mail/run")
        house.sql("SELECT keepstep.dispatch_due(100, now() + interval '30 days')")  # of whoever is not refused
        assert (refused["result"], refused["error"]["code"]) == ("failed", "needs-reconnect")
        assert (line["state"], line["nextSyncAt"], again.status_code) == ("needs-reconnect", None, 409)
        assert len(await cleo.runs()) == 2

        async def alerted() -> bool:
            return bool(
                house.sql(
                    "SELECT 1 FROM keepstep.alerts a JOIN keepstep.connections c ON c.id = a.connection_id"
                    " WHERE c.owner_id = %s AND a.rule = 'reconnect' AND a.ended_at IS NULL", cleo.owner,
                )
            )  # fmt: skip

        await until(alerted)
        assert len(await cleo.runs()) == 2

    async with up(command, **settings(*gmail)) as (house, _):  # a restart changes nothing of it
        cleo = await house.again("cleo")
        assert (await cleo.line())["state"] == "needs-reconnect"
        assert len(await cleo.runs()) == 2
        assert (await consent(cleo)).status_code == 303
        run = await cleo.ended(3)
        assert (run["result"], run["mode"], run["inserted"], run["deleted"]) == ("succeeded", "delta", 4, 1)
        assert not_in_step(cleo, emulator) == []


async def test_a_consent_that_is_denied_is_told_to_a_browser_as_a_page(
    house: House, gmail: tuple[GmailEmulator, str]
) -> None:
    emulator, _ = gmail
    dora = await house.user("dora")
    dora.client.headers["accept"] = "text/html"
    emulator.switch(consent="deny")
    answer = await consent(dora)
    emulator.switch(consent="allow")

    assert (answer.status_code, answer.headers["content-type"]) == (409, "text/html; charset=utf-8")
    assert "did not allow" in answer.text
    assert (await dora.client.get("/api/auto-sync")).json() == []


async def test_another_mailbox_is_read_at_once_and_the_messages_of_the_one_before_go_without_asking(
    house: House, gmail: tuple[GmailEmulator, str]
) -> None:
    emulator, _ = gmail
    with dovecot() as imap:
        box = imap.mailbox("enzo@example.test")
        box.add(*(mail(f"message {n}") for n in range(9)))
        enzo = await connected(house, "enzo")
        assert (await enzo.connect(imap)).status_code == 200
        run = await enzo.ended(2)

        assert (run["trigger"], run["result"], run["inserted"]) == ("schedule", "succeeded", 9), run["error"]
        assert run["deleted"] == len(emulator.truth()) > 20
        enzo.compare(box)
        await enzo.assert_nothing_to_do()

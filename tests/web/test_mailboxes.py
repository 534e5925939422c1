"""Users connect mailboxes by address and password: tried before they are kept, and never into a private network."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from keepstep.integrations.tokens import TokenSet
from tests.integrations.mail.test_imap_trouble import TOKEN, introspection
from tests.integrations.mail.wire import says
from tests.support.dovecot import PASSWORD, Dovecot, dovecot, mail
from tests.support.site import Served, served

IMAP, MAIL = "/api/connections/mail/imap", "/api/connections/mail"


@pytest.fixture(scope="module")
def imap() -> Iterator[Dovecot]:
    with dovecot() as running:
        yield running


@pytest.fixture
async def site(dsn: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(dsn, tmp_path, KEEPSTEP_MAIL_PRIVATE_HOSTS="true") as site:
        for name, role in (("ana", "user"), ("ben", "user")):
            await site.user(name, role)
        yield site


def where(imap: Dovecot, name: str = "ana", **more: Any) -> dict[str, Any]:
    """What a user types in."""
    return {
        "address": f"{name}@example.test", "password": PASSWORD, "host": "127.0.0.1", "port": imap.port,
        "security": "none", **more,
    }  # fmt: skip


async def stored(site: Served) -> list[dict[str, Any]]:
    return await site.sql("SELECT owner_id, credentials FROM keepstep.connections WHERE credentials IS NOT NULL")


async def test_a_user_connects_a_mailbox_and_what_was_enabled_is_due(site: Served, imap: Dovecot) -> None:
    imap.mailbox("ana@example.test").create("Clients", "Clients.Old")
    async with site.signed_in("ana") as ana:
        nothing = await ana.get(MAIL)
        await ana.post("/api/settings/save-auto-sync", json={"enabled": True, "interval_minutes": 15})
        answer = await ana.post(IMAP, json=where(imap))
        shown = await ana.get(MAIL)
        [line] = (await ana.get("/api/auto-sync")).json()
    [due] = await site.sql("SELECT cardinality(started) AS n FROM keepstep.dispatch_due()")

    assert (nothing.status_code, bool(nothing.json()["fix"])) == (404, True)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "by": "imap", "user": "ana@example.test", "host": "127.0.0.1", "port": imap.port, "security": "none",
        "folders": ["INBOX", "Clients", "Clients.Old"],
    }  # fmt: skip
    assert shown.json() == {**answer.json(), "folders": []}
    assert (line["integration"], line["state"]) == ("mail", "connected")
    assert due["n"] == 1


async def test_only_chosen_folders_are_read_and_one_that_is_not_there_is_told(site: Served, imap: Dovecot) -> None:
    imap.mailbox("ben@example.test").create("Clients", "Other")
    async with site.signed_in("ben") as ben:
        chosen = await ben.post(IMAP, json=where(imap, "ben", folders=["inbox", "Cl*"]))
        kept = await ben.get(MAIL)
        missing = await ben.post(IMAP, json=where(imap, "ben", folders=["Nowhere"]))

    assert chosen.json()["folders"] == ["INBOX", "Clients"]
    assert kept.json()["folders"] == ["inbox", "Cl*"]
    assert (missing.status_code, missing.json()["code"]) == (422, "folder-refused")
    assert "Nowhere" in missing.json()["detail"]


async def test_a_whole_address_is_taken_as_it_is(site: Served, imap: Dovecot) -> None:
    address = f"imap://ana%40example.test@127.0.0.1:{imap.port}/INBOX?security=none&attachment_bytes=1000"
    async with site.signed_in("ana") as ana:
        answer = await ana.post(IMAP, json={"address": address, "password": PASSWORD})
        other = await ana.post(IMAP, json={"address": "https://mail.example.test", "password": PASSWORD})
    [row] = await site.sql("SELECT owner_id FROM keepstep.connections WHERE integration = 'mail'")
    own = await site.service.owners.credentials("mail", row["owner_id"])

    assert answer.status_code == 200, answer.text
    assert own == {"address": address, "password": PASSWORD}
    assert (other.status_code, other.json()["fix"]) == (422, "Write it as imaps://user@host.")


async def test_what_is_wrong_is_told_in_words_and_nothing_is_stored(site: Served, imap: Dovecot) -> None:
    async with site.signed_in("ana") as ana, says(b"220 mail.example.test ESMTP\r\n") as smtp:
        wrong = await ana.post(IMAP, json=where(imap, password="a-wrong-password"))
        nobody = await ana.post(IMAP, json=where(imap, port=1))
        unknown = await ana.post(IMAP, json=where(imap, host="imap.keepstep.invalid", security="tls"))
        clear = await ana.post(IMAP, json=where(imap, host="192.0.2.1"))
        other = await ana.post(IMAP, json=where(imap, port=smtp))
        guessed = await ana.post(IMAP, json={"address": "ana@keepstep.invalid", "password": PASSWORD})
        nothing = await ana.post(IMAP, json={"address": "ana", "password": PASSWORD})
        odd = await ana.post(IMAP, json={"address": "ana@example.test/@127.0.0.1:1", "password": PASSWORD})

    assert odd.json()["detail"] == nothing.json()["detail"]
    codes = [answer.json()["code"] for answer in (wrong, nobody, unknown, clear, other, guessed, nothing)]
    assert codes == ["mailbox-refused", "connection-refused", "dns-failed", "mail-in-clear", "not-imap", "dns-failed",
                     "bad-request"]  # fmt: skip
    for answer in (wrong, nobody, unknown, clear, other, guessed, nothing):
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
        assert answer.json()["detail"]
        assert answer.json()["fix"]
    assert "app password" in wrong.json()["fix"]
    assert guessed.json()["fix"] == "Give the host of the mail server."
    assert await stored(site) == []


async def test_a_port_may_stand_with_the_host(site: Served, imap: Dovecot) -> None:
    given = {**where(imap), "host": f"127.0.0.1:{imap.port}", "port": None}
    async with site.signed_in("ana") as ana:
        answer = await ana.post(IMAP, json=given)

    assert (answer.status_code, answer.json().get("port")) == (200, imap.port), answer.text


async def test_a_wrong_password_leaves_what_was_connected_before(site: Served, imap: Dovecot) -> None:
    async with site.signed_in("ana") as ana:
        await ana.post(IMAP, json=where(imap))
        before = await stored(site)
        await ana.post(IMAP, json=where(imap, password="a-wrong-password"))

    assert await stored(site) == before


async def test_a_server_that_says_nothing_is_given_up_on(
    site: Served, imap: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keepstep.service.mailboxes.PATIENCE", 0.2)
    async with site.signed_in("ana") as ana, says(b"") as silent:
        answer = await ana.post(IMAP, json=where(imap, port=silent))

    assert (answer.status_code, answer.json()["code"]) == (422, "answer-timeout")


async def test_an_address_of_a_private_network_is_refused_unless_an_administrator_allows_it(
    dsn: str, tmp_path: Path, imap: Dovecot
) -> None:
    async with served(dsn, tmp_path) as site:
        await site.user("ana", role="user")
        async with site.signed_in("ana") as ana:
            refused = [await ana.post(IMAP, json=where(imap, host=host)) for host in ("127.0.0.1", "localhost")]
            closed = await ana.post(IMAP, json=where(imap, port=1))
            nothing = await stored(site)
            setting = "/api/admin/sync/settings/KEEPSTEP_MAIL_PRIVATE_HOSTS"
            own = await ana.put(setting, json={"value": "true"})
            allowed = await site.admin.put(setting, json={"value": "true"})
            good = await ana.post(IMAP, json=where(imap))

    for answer in (*refused, closed):  # in the same words, whether or not anybody listens there
        assert (answer.status_code, answer.json()["code"]) == (422, "mail-host-private")
    assert refused[0].json()["detail"] == closed.json()["detail"]
    assert nothing == []
    assert (own.status_code, allowed.status_code, good.status_code) == (403, 200, 200), allowed.text


async def test_passwords_cannot_be_tried_without_end(site: Served, imap: Dovecot) -> None:
    async with site.signed_in("ana") as ana, site.signed_in("ben") as ben:
        answers = await asyncio.gather(*(ana.post(IMAP, json=where(imap, password=f"guess {n}")) for n in range(21)))
        bens = await ben.post(IMAP, json=where(imap, "ben"))

    assert sorted(answer.status_code for answer in answers) == [422] * 20 + [429]
    [late] = [answer for answer in answers if answer.status_code == 429]
    assert int(late.headers["retry-after"]) > 0
    assert bens.status_code == 200


async def test_a_user_has_only_their_own_and_an_administrator_anybodys(site: Served, imap: Dovecot) -> None:
    [ben_id] = await site.sql("SELECT owner_id FROM keepstep.users WHERE name = 'ben'")
    async with site.signed_in("ana") as ana, site.signed_in("ben") as ben:
        await ben.post(IMAP, json=where(imap, "ben"))
        for user in ("ben", str(ben_id["owner_id"])):
            tried = [
                await ana.get(MAIL, params={"user": user}),
                await ana.post(IMAP, json=where(imap), params={"user": user}),
                await ana.delete(MAIL, params={"user": user}),
            ]
            assert [answer.status_code for answer in tried] == [403] * 3
            assert "ben@example.test" not in "".join(answer.text for answer in tried)
        own = await ana.get(MAIL, params={"user": "ana"})
        by_name = await site.admin.get(MAIL, params={"user": "ben"})
        by_id = await site.admin.get(MAIL, params={"user": str(ben_id["owner_id"])})
        nobody = await site.admin.post(IMAP, json=where(imap), params={"user": "zoe"})
        for_ana = await site.admin.post(IMAP, json=where(imap), params={"user": "ana"})
        anas = await ana.get(MAIL)
        gone = await site.admin.delete(MAIL, params={"user": "ben"})
        bens = await ben.get(MAIL)

    assert (own.status_code, by_name.json()["user"], by_id.json()) == (404, "ben@example.test", by_name.json())
    assert (nobody.status_code, for_ana.status_code, anas.json()["user"]) == (404, 200, "ana@example.test")
    assert (gone.status_code, bens.status_code) == (204, 404)


async def test_disconnecting_forgets_the_password_and_may_be_said_twice(site: Served, imap: Dovecot) -> None:
    async with site.signed_in("ana") as ana:
        await ana.post(IMAP, json=where(imap))
        first = await ana.delete(MAIL)
        second = await ana.delete(MAIL)
        [line] = (await ana.get("/api/auto-sync")).json()

    assert (first.status_code, second.status_code, line["state"]) == (204, 204, "needs-connecting")
    assert await stored(site) == []


async def test_every_try_is_in_the_admin_log_and_no_password_anywhere(site: Served, imap: Dovecot) -> None:
    async with site.signed_in("ana") as ana:
        await ana.post(IMAP, json=where(imap, password="a-wrong-password"))
        answer = await ana.post(IMAP, json=where(imap))
        await ana.delete(MAIL)
    acts = await site.sql("SELECT \"user\", action, payload, result FROM keepstep.admin_logs"
                          " WHERE action LIKE 'owner.%%' ORDER BY id")  # fmt: skip
    told = json.dumps(acts) + answer.text

    assert [(act["user"], act["action"]) for act in acts] == [
        ("ana", "owner.connect"), ("ana", "owner.connect"), ("ana", "owner.disconnect"),
    ]  # fmt: skip
    assert "refused the user name" in acts[0]["result"]
    assert acts[1]["payload"]["credentials"] == {"address": "••••", "password": "••••"}
    assert PASSWORD not in told
    assert "a-wrong-password" not in told


@pytest.mark.parametrize(
    "change",
    [{"password": ""}, {"password": "a\r\nb"}, {"address": ""}, {"address": "a\x00b"}, {"port": 0}, {"port": 65536},
     {"port": "993"}, {"security": "ssl"}, {"host": "evil host"}, {"host": "a/b"}, {"host": "user@host"},
     {"host": "a:b:c"}, {"host": "a:99999", "port": None}, {"host": ".."}, {"host": ":"},
     {"folders": "INBOX"}, {"folders": ["a"] * 101}, {"owner": "ben"}],
)  # fmt: skip
async def test_a_body_of_another_shape_is_a_problem_that_repeats_no_password(
    site: Served, imap: Dovecot, change: dict[str, Any]
) -> None:
    async with site.signed_in("ana") as ana:
        answer = await ana.post(IMAP, json={**where(imap), **change})

    assert (answer.status_code, bool(answer.json()["fix"])) == (422, True)
    assert PASSWORD not in answer.text


async def test_a_mail_server_with_an_address_around_it_is_refused_in_words_and_not_by_a_pattern(site: Served) -> None:
    given = {"address": "ana@example.test", "password": PASSWORD, "host": "https://imap.example.test/"}
    answer = await site.admin.post(IMAP, json=given)
    broken = await site.admin.post(IMAP, json={**given, "host": "", "user": "ana\n"})

    assert answer.json()["detail"] == "host: Give its name alone, such as imap.example.test."
    assert broken.json()["detail"] == "user: Write it in one line, without control characters."


async def test_nobody_connects_without_being_signed_in(site: Served, imap: Dovecot) -> None:
    answers: list[httpx.Response] = [
        await site.nobody.get(MAIL), await site.nobody.post(IMAP, json=where(imap)), await site.nobody.delete(MAIL),
    ]  # fmt: skip

    assert [answer.status_code for answer in answers] == [401] * 3


async def test_a_mailbox_with_a_consent_is_read_by_imap_with_its_token_and_renewed_tokens_keep_its_address(
    dsn: str, tmp_path: Path
) -> None:
    known = {"KEEPSTEP_MAIL_PRIVATE_HOSTS": "true", "GOOGLE_CLIENT_ID": "id", "GOOGLE_CLIENT_SECRET": "secret"}
    tokens = TokenSet(TOKEN, "refresh", datetime.now(UTC) + timedelta(hours=1))
    async with introspection({TOKEN, "another-token"}) as url, served(dsn, tmp_path, **known) as site:
        with dovecot(introspection_url=url) as server:
            server.mailbox("alice@example.test").add(mail("by token"))
            address = f"imap://alice%40example.test@127.0.0.1:{server.port}/?security=none"
            place = site.service.owners.tokens("mail", "alice", read=TokenSet.of, write=TokenSet.stored)
            await place.put(tokens, by="alice", beside={"address": address})
            async with site.service.connectors.lent("mail", "alice") as (integration, _):
                first = await integration.ping()
            async with place.locked() as held:
                await held.save(TokenSet("another-token", "refresh", tokens.expires_at))
            async with site.service.connectors.lent("mail", "alice") as (integration, _):
                second = await integration.ping()
            own = await site.service.owners.stored("mail", "alice")

    assert (first.ok, first.sample_count, second.ok) == (True, 1, True), (first.reason, second.reason)
    assert own["address"] == address
    assert "another-token" in own["tokens"]

"""A mail server that refuses, breaks off, falls silent, or is none."""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from keepstep.integrations.mail.connector import Mail
from keepstep.integrations.mail.session import Account, Security, Timeouts
from keepstep.model.errors import AuthFailed, NeedsReconnect, NotData, Permanent, RateLimited, Transient, UpstreamError
from tests.integrations.mail.truth import Table, connector
from tests.integrations.mail.wire import says, way_to
from tests.integrations.upstream import read_all, until
from tests.support.clock import HurriedClock
from tests.support.dovecot import PASSWORD, Dovecot, dovecot, mail

TOKEN, REVOKED = "ya29.invented-access-token-0123456789", "revoked-token-0123456789"


def at(
    port: int, *, user: str = "alice@example.test", password: str = PASSWORD, security: Security = "none",
    host: str = "127.0.0.1", silence: float = 20.0,
) -> Mail:  # fmt: skip
    """A connector to whatever listens there, that waits for nothing."""
    account = Account(host, user, port, security, password)
    return Mail(account, clock=HurriedClock(), timeouts=Timeouts(connect=min(5.0, silence), silence=silence))


async def error_of(client: Mail) -> UpstreamError:
    """What reading ends with."""
    with pytest.raises(UpstreamError) as raised:
        await read_all(client, client.entities[0])
    await client.aclose()
    return raised.value


async def test_a_wrong_password_is_said_to_be_wrong_and_shown_nowhere(
    imap_server: Dovecot, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = "wrong-but-secret-0123456789"
    client = at(imap_server.port, password=wrong)

    ping = await client.ping()
    error = await error_of(client)

    assert (ping.ok, ping.state, ping.authenticated, ping.code) == (False, "failing", False, "mailbox-refused")
    assert isinstance(error, AuthFailed)
    assert error.fix
    assert wrong not in f"{ping} {error!r} {error.answer} {error.__cause__!r} {error.__context__!r} {caplog.text}"


async def test_nothing_that_is_read_or_sent_goes_into_the_log(
    imap_server: Dovecot, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    mailbox = imap_server.mailbox("quiet@example.test")
    mailbox.add(mail("private matter", "nobody else's business"))
    client = connector(mailbox)

    await Table().sync(client)

    assert PASSWORD not in caplog.text
    assert "nobody" not in caplog.text
    assert PASSWORD not in repr(client._session.account)
    await client.aclose()


async def test_ping_and_check_tell_what_is_there(imap_server: Dovecot) -> None:
    mailbox = imap_server.mailbox("well@example.test")
    mailbox.add(mail("one"), mail("two"))
    client = connector(mailbox)

    ping, check = await client.ping(), await client.check("messages")
    inbox, unknown, odd = await client.check("INBOX"), await client.check("Nowhere"), await client.check("a\r\nb")

    assert (ping.ok, ping.state, ping.authenticated, ping.sample_count) == (True, "ok", True, 2)
    assert ping.base_url == f"imap://127.0.0.1:{imap_server.port}"
    assert (check.ok, check.count, inbox.count) == (True, 2, 2)
    assert {"id", "subject", "threadId"} <= set(check.first_item_keys)
    assert check.types["subject"] == {"text": 1}
    assert (unknown.ok, odd.ok) == (False, False)
    assert unknown.message
    await client.aclose()


@pytest.mark.parametrize("bytes_let_through", [1, 300, 2000, 20_000, 60_000])
async def test_a_connection_that_breaks_is_opened_again_and_nothing_is_missing(
    imap_server: Dovecot, bytes_let_through: int
) -> None:
    mailbox = imap_server.mailbox(f"breaking{bytes_let_through}@example.test")
    mailbox.add(*(mail(f"message {n}", "text " * 500) for n in range(30)))
    async with way_to(imap_server.port) as way:
        way.cut_after = bytes_let_through
        client, table = at(way.port, user=mailbox.user), Table()

        await table.sync(client)

        table.compare(mailbox)
        assert way.sessions == 2
        await client.aclose()
        await until(lambda: way.open == 0)


async def test_a_server_that_falls_silent_is_given_up_on(imap_server: Dovecot) -> None:
    async with way_to(imap_server.port) as way:
        way.silent = True
        error = await error_of(at(way.port, silence=0.3))

    assert way.sessions == 2  # more would keep a worker from everybody else's runs
    assert isinstance(error, Transient)
    assert error.code in ("connect-timeout", "answer-timeout")


async def test_a_reading_that_is_cancelled_leaves_no_connection(imap_server: Dovecot) -> None:
    mailbox = imap_server.mailbox("cancelled@example.test")
    mailbox.add(mail("one"))
    before = asyncio.all_tasks()
    async with way_to(imap_server.port) as way:
        account = Account("127.0.0.1", mailbox.user, way.port, "none", PASSWORD)
        client = Mail(account)
        await client.ping()
        way.silent = True
        reading = asyncio.create_task(read_all(client, client.entities[0]))
        await until(lambda: client.requests > 2)

        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

        await until(lambda: way.open == 0)
        await client.aclose()
        await client.aclose()
    await until(lambda: asyncio.all_tasks() <= before)


@pytest.mark.parametrize(
    ("answers", "kind", "code"),
    [
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], NotData, "not-imap"),
        ([b"* BYE too many connections from your address\r\n"], RateLimited, "mailbox-busy"),
        (
            [b"* OK [CAPABILITY IMAP4rev1] hi\r\n", b"TAG NO [LIMIT] slow down\r\n"],
            RateLimited,
            "mailbox-busy",
        ),
        (
            [b"* OK [CAPABILITY IMAP4rev1] hi\r\n", b"TAG NO [UNAVAILABLE] later\r\n"],
            Transient,
            "upstream-failed",
        ),
        ([b"* OK [CAPABILITY IMAP4rev1] hi\r\n", b"TAG NO wrong\r\n"], AuthFailed, "mailbox-refused"),
    ],
)  # fmt: skip
async def test_what_a_server_says_at_the_beginning_has_its_error(
    answers: list[bytes], kind: type[UpstreamError], code: str
) -> None:
    # imaplib asks for the capabilities before anything else.
    capability = b"* CAPABILITY IMAP4rev1\r\nTAG OK done\r\n"
    async with says(answers[0], capability, *answers[1:]) as port:
        error = await error_of(at(port))

    assert (type(error), error.code) == (kind, code)
    assert error.fix
    assert error.message.endswith(".")


async def test_a_port_that_nobody_listens_on_is_named() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        error = await error_of(at(held.getsockname()[1]))

    assert (type(error), error.code) == (Transient, "connection-refused")


async def test_a_password_is_not_sent_in_clear_to_another_machine() -> None:
    error = await error_of(at(143, host="mail.example.test"))

    assert (type(error), error.code) == (Permanent, "mail-in-clear")


async def test_a_certificate_that_nobody_vouches_for_is_refused_and_a_good_one_taken() -> None:
    with dovecot(tls=True) as secure:
        mailbox = secure.mailbox("alice@example.test")
        mailbox.add(mail("by tls"))
        tls, starttls = at(secure.tls_port, security="tls"), at(secure.port, security="starttls")
        for client in (tls, starttls):
            error = await error_of(client)
            assert (type(error), error.code) == (Permanent, "tls-failed")
        trusting = ssl.create_default_context(cafile=str(secure.certificate))
        for port, security in ((secure.tls_port, "tls"), (secure.port, "starttls")):
            account = Account("127.0.0.1", mailbox.user, port, security, PASSWORD)  # type: ignore[arg-type]
            client, table = Mail(account, ssl_context=trusting), Table()
            await table.sync(client)
            table.compare(mailbox)
            await client.aclose()


async def test_folders_that_are_not_there_are_named(imap_server: Dovecot) -> None:
    client = connector(imap_server.mailbox("narrow@example.test"), folders=["Nowhere"])

    error = await error_of(client)

    assert (type(error), error.code) == (Permanent, "folder-refused")
    assert "Nowhere" in error.message


@asynccontextmanager
async def introspection(valid: set[str]) -> AsyncIterator[str]:
    """A server that knows which tokens are good."""

    async def answer(request: web.Request) -> web.Response:
        good = (await request.post())["token"] in valid
        return web.json_response({"active": good, "email": "alice@example.test", "username": "alice@example.test"})

    app = web.Application()
    app.router.add_post("/introspect", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/introspect"
    finally:
        await runner.cleanup()


async def test_a_token_lets_in_and_is_asked_for_anew_for_each_session() -> None:
    tokens = iter([TOKEN, TOKEN, REVOKED, TOKEN, REVOKED, REVOKED])
    renewed = 0

    async def token() -> str:
        return next(tokens)

    async def renew() -> bool:
        nonlocal renewed
        renewed += 1
        return True

    async with introspection({TOKEN}) as url:
        with dovecot(introspection_url=url) as server:
            mailbox = server.mailbox("alice@example.test")
            mailbox.add(mail("by token"))
            account = Account("127.0.0.1", mailbox.user, server.port, "none", token=token, renew=renew)
            client, table = Mail(account), Table()
            for _ in range(3):  # the third time the first token is refused, and the next one is good
                await table.sync(client)
                table.compare(mailbox)
                await client.aclose()

            error = await error_of(client)

    assert next(tokens, None) is None
    assert renewed == 2
    assert (type(error), error.code) == (NeedsReconnect, "needs-reconnect")
    assert REVOKED not in f"{error!r} {error.answer}"

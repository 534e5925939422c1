"""The HTTP client against a real server on loopback."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from keepstep.integrations.call import Call
from keepstep.integrations.failures import name_failure, worth_another_try
from keepstep.integrations.http import (
    HttpClient,
    Response,
    Timeouts,
    environment_proxy,
    is_loopback,
    without_credentials,
)
from keepstep.integrations.tokens import FixedToken
from keepstep.model.diagnosis import said
from keepstep.model.errors import Answer, NotData, Permanent, Transient, UpstreamError
from keepstep.reliability.pacing import Outcome, Pacer, Turn, Verdict
from tests.support.clock import HurriedClock

SECRET = "dl-secret-0123456789-abcdefghij"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client(base_url: str, **given: Any) -> AsyncIterator[HttpClient]:
    clock = HurriedClock()

    def classify(response: Response, shown: Callable[[], Answer]) -> UpstreamError | None:
        if response.status >= 500:
            return Transient(f"It failed: {shown().snippet}", answer=shown())
        return None if response.status == 200 else Permanent("No.", answer=shown())

    settings: dict[str, Any] = {
        "title": "Upstream",
        "headers": {"Authorization": f"bearer {SECRET}"},
        "secrets": (SECRET,),
        "pacer": Pacer(max_concurrency=2, per_second=None, clock=clock),
        "classify": classify,
        "clock": clock,
        "base_url_setting": "UPSTREAM_BASE_URL",
        "size_fix": "Lower the page size.",
    }
    made = HttpClient(base_url, **{**settings, **given})
    try:
        yield made
    finally:
        await made.aclose()


async def failure(base_url: str, **given: Any) -> UpstreamError:
    async with client(base_url, **given) as http:
        with pytest.raises(UpstreamError) as raised:
            await http.get_page("/leases", {"page_number": 1})
    error = raised.value
    assert SECRET not in f"{error!s} {error!r} {error.fix} {error.answer} {error.__cause__!r}"
    return error


async def test_an_answer_carries_body_headers_date_and_time() -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"bearer {SECRET}"
        assert request.query_string == "page_number=1&filter=a%20b" or request.query["filter"] == "a b"
        return web.json_response({"ok": True}, headers={"X-RateLimit-Remaining": "3"})

    async with served(handler) as url, client(url + "/api/") as http:
        response = await http.get_page("/leases", {"page_number": 1, "filter": "a b"})

    assert response.body == b'{"ok": true}'
    assert response.content_type == "application/json"
    assert response.date is not None
    assert response.elapsed >= 0
    assert response.requests == http.requests == 1
    assert response.rate_limit is not None
    assert response.rate_limit.remaining == 3


async def test_compressed_answers_are_unpacked() -> None:
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(b'{"ok":1}'), headers={"Content-Encoding": "gzip"})

    async with served(handler) as url, client(url) as http:
        assert (await http.get_page("/x", {})).body == b'{"ok":1}'


async def test_connections_are_reused() -> None:
    peers = set()

    async def handler(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.json_response({})

    async with served(handler) as url, client(url) as http:
        for _ in range(5):
            await http.get_page("/x", {})

    assert len(peers) == 1


async def test_each_attempt_is_counted_and_the_waits_are_slept() -> None:
    answers = [503, 500, 200]

    async def handler(_request: web.Request) -> web.Response:
        return web.Response(status=answers.pop(0))

    clock = HurriedClock()
    async with served(handler) as url, client(url, clock=clock) as http:
        response = await http.get_page("/x", {})

    assert response.requests == http.requests == 3
    assert 0 < clock.slept < 1.4


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    async with served(handler) as url:
        error = await failure(url)

    assert asked == ["/leases"]
    assert error.answer is not None
    assert error.answer.status == 302


async def test_a_secret_that_upstream_repeats_is_masked_wherever_it_stands() -> None:
    async def handler(request: web.Request) -> web.Response:
        echo = request.headers["Authorization"]
        # One of them lies across the end of the snippet.
        return web.Response(status=500, body=b"\x00\xff" + (echo + " ").encode() * 200)

    async with served(handler) as url:
        error = await failure(url)

    assert error.answer is not None
    assert "\x00" not in error.answer.snippet
    assert "***" in error.answer.snippet
    assert SECRET[:8] not in error.answer.snippet
    assert len(error.answer.snippet.encode()) <= 2048


@pytest.mark.parametrize("chunked", [True, False])
async def test_an_answer_beyond_the_ceiling_is_not_read_to_its_end(chunked: bool) -> None:
    sent = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        if not chunked:
            response.content_length = 64 * 1024 * 1024
        await response.prepare(request)
        while sent < 64 * 1024 * 1024:
            await response.write(b"x" * 65536)
            sent += 65536
        return response

    async with served(handler) as url:
        error = await failure(url, max_body=1024 * 1024)

    assert isinstance(error, NotData)
    assert "1 MiB" in error.message
    assert error.fix == "Lower the page size."
    assert sent < 32 * 1024 * 1024


async def test_an_answer_that_ends_early_is_a_broken_connection() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 1000
        await response.prepare(request)
        await response.write(b'{"total":')
        assert request.transport is not None
        request.transport.close()
        return response

    async with served(handler) as url:
        error = await failure(url)

    assert isinstance(error, Transient)
    assert "cut off" in error.message


async def test_broken_compression_is_a_cut_off_answer() -> None:
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(body=b"this is not gzip", headers={"Content-Encoding": "gzip"})

    async with served(handler) as url:
        assert isinstance(await failure(url), Transient)


async def test_silence_is_a_timeout_in_words() -> None:
    async def handler(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with served(handler) as url:
        error = await failure(url, timeouts=Timeouts(silence=0.05))

    assert isinstance(error, Transient)
    assert "in time" in error.message
    assert error.stops_run


async def test_an_answer_that_drips_for_ever_is_given_up() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.01)

    async with served(handler) as url:
        error = await failure(url, timeouts=Timeouts(silence=5, total=0.1))

    assert isinstance(error, Transient)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_a_refused_connection_names_the_host_and_the_setting() -> None:
    port = free_port()

    error = await failure(f"http://127.0.0.1:{port}")

    assert isinstance(error, Transient)
    assert f"127.0.0.1:{port} refused" in error.message
    assert "UPSTREAM_BASE_URL" in error.fix


async def test_tls_to_a_server_without_it_is_named_and_not_retried() -> None:
    async def handler(_request: web.Request) -> web.Response:
        return web.Response()

    async with served(handler) as url, client(url.replace("http:", "https:")) as http:
        with pytest.raises(Permanent, match="secure connection") as raised:
            await http.get_page("/x", {})

    assert http.requests == 1
    assert raised.value.stops_run


@pytest.mark.parametrize("answer", [b"nonsense\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b""])
async def test_a_server_that_does_not_speak_http_is_named(answer: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        error = await failure(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")

    assert isinstance(error, Transient)
    assert error.fix


@pytest.mark.parametrize("base_url", ["not a url", "ftp://127.0.0.1/api", "http://[::1/api", "http://127.0.0.1:99999"])
async def test_an_address_that_is_none_is_named(base_url: str) -> None:
    error = await failure(base_url)

    assert isinstance(error, Permanent)
    assert "UPSTREAM_BASE_URL" in error.message + error.fix


def test_a_name_that_does_not_resolve_is_named() -> None:
    key = aiohttp.client_reqrep.ConnectionKey("app.example.test", 443, True, True, None, None, None)
    error = aiohttp.ClientConnectorDNSError(key, OSError(-2, "Name or service not known"))

    code, _ = name_failure(error)
    words = said(code, title="Upstream", host="app.example.test", url_setting="UPSTREAM_BASE_URL")

    assert "app.example.test, cannot be resolved" in words.message
    assert "UPSTREAM_BASE_URL" in words.fix
    assert worth_another_try(code)


def test_a_proxy_is_taken_from_the_environment_but_never_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert environment_proxy("https://app.example.test/api") is None
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.test:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example.test:3129")
    monkeypatch.setenv("NO_PROXY", "inside.example.test")

    assert environment_proxy("https://app.example.test/api") == "http://proxy.example.test:3128"
    assert environment_proxy("http://app.example.test/api") == "http://proxy.example.test:3129"
    assert environment_proxy("https://inside.example.test/api") is None
    assert environment_proxy("http://127.0.0.1:9090/api") is None
    assert environment_proxy("http://[::1]:9090/api") is None


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True),
     ("app.doorloop.com", False), ("10.0.0.1", False), ("", False), ("localhost.example.test", False)],
)  # fmt: skip
def test_loopback_is_recognised(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_credentials_are_taken_out_of_an_address() -> None:
    assert without_credentials("https://user:pass@example.test:8443/api") == "https://example.test:8443/api"
    assert without_credentials("https://example.test/api") == "https://example.test/api"


class NotingPacer(Pacer):
    """Keeps what was told at the end of each turn."""

    def __init__(self) -> None:
        super().__init__(max_concurrency=2, per_second=None, clock=HurriedClock())
        self.told: list[Outcome | None] = []

    @asynccontextmanager
    async def turn(self, *, patience: float = 30.0) -> AsyncIterator[Turn]:
        async with super().turn(patience=patience) as turn:
            try:
                yield turn
            finally:
                self.told.append(turn.outcome)


async def test_a_kept_open_connection_that_upstream_has_closed_takes_a_second_turn() -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await reader.readuntil(b"\r\n\r\n")  # the next request arrives on the same connection, and finds it closing
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    pacer = NotingPacer()
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, client(url, pacer=pacer) as http:
        assert (await http.get_page("/x", {})).requests == 1
        assert (await http.get_page("/x", {})).requests == 2
        assert http.requests == 3

    assert [outcome and outcome.verdict for outcome in pacer.told] == [Verdict.GOOD, None, Verdict.GOOD]


async def test_what_a_request_came_to_is_told_to_its_turn() -> None:
    answers = [503, 200]

    async def handler(_request: web.Request) -> web.Response:
        headers = {"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "7", "X-RateLimit-Reset": "30"}
        return web.Response(status=answers.pop(0), headers=headers)

    pacer = NotingPacer()
    async with served(handler) as url, client(url, pacer=pacer) as http:
        await http.get_page("/x", {})

    assert [(o.verdict, o.code) for o in pacer.told if o] == [(Verdict.FAILED, 503), (Verdict.GOOD, 200)]
    heard = pacer.told[1].heard if pacer.told[1] else None
    assert heard is not None
    assert (heard.limit, heard.remaining) == (50, 7)
    assert heard.reset_in == pytest.approx(30, abs=2)


async def test_a_form_is_posted_with_headers_of_its_own_and_a_cookie_comes_back_and_is_concealed() -> None:
    seen: dict[str, Any] = {}

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.update(await request.post(), method=request.method, cookie=request.headers.get("Cookie"))
        response = web.Response(status=200 if "open" in seen else 404, text="your session is s-0123456789")
        response.set_cookie("SESSION", "s-0123456789")
        return response

    async with served(handler) as url, client(url) as http:
        answer = await http.send(Call("/login", form={"open": "sesame"}, headers={"Cookie": "SESSION=old"}))
        assert seen == {"open": "sesame", "method": "POST", "cookie": "SESSION=old"}
        assert answer.cookies == {"SESSION": "s-0123456789"}
        assert (answer.method, answer.path) == ("POST", "/login")

        http.conceal(answer.cookies["SESSION"])
        assert http.answer_of(answer).snippet == "your session is ************"
        assert "sesame" not in repr(Call("/login", form={"open": "sesame"}))


async def test_headers_of_one_request_go_beside_the_credentials_and_both_secrets_stay_masked() -> None:
    async def handler(request: web.Request) -> web.Response:
        assert (request.headers["Authorization"], request.headers["Cookie"]) == ("Bearer token-0123456789", "S=s-0123")
        return web.Response(status=400, text="token-0123456789 and s-0123 and token-0123456789")

    async with served(handler) as url, client(url, headers={}, credentials=FixedToken("token-0123456789")) as http:
        http.conceal("s-0123")
        with pytest.raises(Permanent) as raised:
            await http.send(Call("/reports", headers={"Cookie": "S=s-0123"}))
    assert raised.value.answer is not None
    assert raised.value.answer.snippet == f"{'*' * 16} and {'*' * 6} and {'*' * 16}"

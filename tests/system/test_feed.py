"""The live feed of the installed command: its web process is killed, and nothing is lost or comes twice."""

import asyncio
import json
import signal
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.support.feed import TOKEN, Listener, until
from tests.system.command import Emulator, Keepstep, Running, emulator, keepstep

SMALL = ("--owners", "200", "--properties", "200", "--units", "200", "--leases", "200", "--tenants", "200")


@pytest.fixture
def command() -> Iterator[Keepstep]:
    with keepstep(ADMIN_SYNC_TOKEN=TOKEN, DOORLOOP_PAGE_SIZE="5", DOORLOOP_MAX_CONCURRENCY="1") as command:
        yield command


@pytest.fixture
def upstream(command: Keepstep) -> Iterator[Emulator]:
    with emulator(command, *SMALL, "--latency-ms", "20") as upstream:
        command.environment |= upstream.environment
        yield upstream


@pytest.mark.usefixtures("upstream")
async def test_a_browser_hears_every_event_of_a_run_once_while_the_web_process_is_killed(command: Keepstep) -> None:
    browser = Listener()

    async def serve(port: str = "0") -> tuple[Running, str]:
        web = command.start("web", "--json", KEEPSTEP_PORT=port)
        url: str = json.loads(await asyncio.to_thread(web.until, '"url"'))["url"]
        return web, url

    web, url = await serve()
    async with browser.at(url):
        await browser.until_placed()
        run = command.start("run", "doorloop", "--mode", "full", "--json")
        await until(lambda: len(browser.events) > 5)
        web.process.send_signal(signal.SIGKILL)
        await until(lambda: browser.ended)
    for _ in range(2):
        heard = len(browser.events)
        web, url = await serve(str(urlsplit(url).port))
        async with browser.at(url):
            await until(lambda: len(browser.events) > heard or run.process.poll() is not None)  # noqa: B023
            web.process.send_signal(signal.SIGKILL)
            await until(lambda: browser.ended)
    ended = await asyncio.to_thread(run.end)
    assert ended.code == 0, ended.err
    web, url = await serve()
    async with browser.at(url):
        await browser.until(f"Run {ended.json['runId']} succeeded.")
    stopped = await asyncio.to_thread(web.send, signal.SIGTERM)
    kept = (await asyncio.to_thread(command, "logs", str(ended.json["runId"]), "--json")).json

    assert browser.heard == [event["msg"] for event in kept]
    assert stopped.code == 143

"""The live feed over real sockets: nothing lost, nothing twice, nobody held up by anybody else."""

import asyncio
import random
import socket
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import httpx
import pytest

from keepstep.model.schedule import Role
from keepstep.service.audit import Audit
from keepstep.service.feed import Pace
from keepstep.service.tokens import Tokens
from keepstep.store.db import Database
from tests.support.feed import PATH, QUICK, TOKEN, Listener, Writer, serving, until, writers


@pytest.fixture
def bearer() -> dict[str, str]:
    return {"authorization": f"Bearer {TOKEN}"}


async def test_a_line_is_what_the_contract_says(dsn: str, database: Database) -> None:
    async with serving(dsn) as (url, _), writers(database, 1) as [writer], Listener().at(url) as browser:
        await browser.until_placed()
        await writer.say("owners: page 1", entity="owners", rateLimit={"limit": 50, "remaining": 9, "reset": None})
        await writer.say('with "quotes",\nlines\r and – signs', level="warning", rateLimit=None)
        await browser.until("owners: page 1", 'with "quotes",\nlines\r and – signs')

        assert browser.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert "no-transform" in browser.headers["cache-control"]
        first, second = browser.events
        assert list(first) == ["type", "ts", "entity", "page", "rows", "level", "msg", "runId", "rateLimit"]
        assert first["ts"].endswith("Z")
        assert (first["entity"], first["level"], first["runId"]) == ("owners", "info", writer.run)
        assert first["rateLimit"] == {"limit": 50, "remaining": 9, "reset": None}
        assert "rateLimit" not in second
        assert second["msg"] == 'with "quotes",\nlines\r and – signs'


async def test_the_feed_begins_with_what_comes_next(dsn: str, database: Database) -> None:
    async with serving(dsn) as (url, _), writers(database, 1) as [writer]:
        await writer.say("before")
        async with Listener().at(url) as browser:
            await browser.until_placed()
            await writer.say("after")
            await browser.until("after")
            assert browser.heard == ["after"]


async def test_a_browser_that_heard_nothing_yet_misses_nothing_either(dsn: str, database: Database) -> None:
    async with serving(dsn) as (url, _), writers(database, 1) as [writer]:
        browser = Listener()
        async with browser.at(url):
            await browser.until_placed()
        await writer.say("while it was away")
        async with browser.at(url):
            await browser.until("while it was away")


async def test_a_browser_is_told_without_a_notification_too(dsn: str, database: Database) -> None:
    async with serving(dsn) as (url, _), writers(database, 1) as [writer], Listener().at(url) as browser:
        await browser.until_placed()
        await writer.say("quietly", notify=False)
        await browser.until("quietly")


async def test_a_notification_is_enough(dsn: str, database: Database) -> None:
    seldom = Pace(tick=0.005, soon=3600, poll=3600, heartbeat=3600)
    async with serving(dsn, pace=seldom) as (url, _), writers(database, 1) as [writer], Listener().at(url) as browser:
        await browser.until_placed()
        for number in range(3):
            await writer.say(f"event {number}")
            await browser.until(f"event {number}")


async def test_filters_choose_by_entity_by_run_and_by_level_at_least(dsn: str, database: Database) -> None:
    async with serving(dsn) as (url, _), writers(database, 2) as (one, other), AsyncExitStack() as stack:
        asked = {
            "all": {}, "owners": {"entity": "owners"}, "warnings": {"level": "warning"}, "run": {"runId": other.run},
            "both": {"entity": "owners", "level": "error"}, "as before": {"entity": "", "level": "", "runId": ""},
        }  # fmt: skip
        browsers = {name: await stack.enter_async_context(Listener().at(url, **q)) for name, q in asked.items()}
        for browser in browsers.values():
            await browser.until_placed()
        await one.say("1", entity="owners", level="debug")
        await one.say("2", entity="units", level="warning")
        await other.say("3", entity="owners", level="error")
        await other.say("4", level="info")
        await one.say("5", entity="owners", level="error")
        expected = {
            "all": "12345", "owners": "135", "warnings": "235", "run": "34", "both": "35", "as before": "12345"
        }  # fmt: skip
        for name, browser in browsers.items():
            await browser.until(*expected[name])
            assert browser.heard == list(expected[name]), name


@pytest.mark.parametrize("query", [{"level": "loud"}, {"runId": "x"}, {"runId": "-1"}, {"entity": "a\0b"}])
async def test_a_filter_that_makes_no_sense_is_refused(dsn: str, bearer: dict[str, str], query: dict[str, str]) -> None:
    async with serving(dsn) as (url, feed), httpx.AsyncClient(base_url=url, headers=bearer) as client:
        assert (await client.get(PATH, params=query)).status_code == 422
        assert feed.browsers == 0


async def test_nobody_without_credentials_gets_in(dsn: str) -> None:
    async with serving(dsn) as (url, feed), httpx.AsyncClient(base_url=url) as client:
        answer = await client.get(PATH)
        assert (answer.status_code, feed.browsers) == (401, 0)


async def test_what_was_missed_while_away_comes_first_at_whatever_process(dsn: str, database: Database) -> None:
    browser = Listener()
    async with serving(dsn) as (first, _), serving(dsn) as (second, _), writers(database, 1) as [writer]:
        async with browser.at(first):
            await browser.until_placed()
            await writer.say("a")
            await browser.until("a")
        await writer.say("b", "c")
        async with browser.at(second):
            await browser.until("c")
            await writer.say("d")
            await browser.until("d")
        await writer.say("e")
        async with browser.at(first):
            await browser.until("e")
    await_later = ["a", "b", "c", "d", "e"]
    assert browser.heard == await_later


async def test_what_commits_late_is_neither_lost_nor_repeated_across_processes(dsn: str, database: Database) -> None:
    browser, other = Listener(), Listener()
    async with serving(dsn) as (first, _), writers(database, 3) as (slow, never, quick):
        async with browser.at(first), other.at(first):
            await browser.until_placed()
            await slow.begin("early id, late commit")
            await never.begin("never")
            await quick.say("in between")
            await browser.until("in between")
            assert "-" in (browser.last_event_id or "")
        async with serving(dsn) as (second, _):  # it has seen none of this
            await slow.commit()
            await never.roll_back()
            async with browser.at(second):
                await browser.until("early id, late commit")
                await quick.say("last")
                await browser.until("last")
                await until(lambda: "-" not in (browser.last_event_id or ""))
        async with browser.at(first), other.at(first):
            await quick.say("the very last")
            await browser.until("the very last")
            await other.until("the very last")
    assert browser.heard == ["in between", "early id, late commit", "last", "the very last"]
    assert other.heard == ["in between", "early id, late commit", "last", "the very last"]


async def test_browsers_that_come_and_go_between_processes_hear_every_event_once(dsn: str, database: Database) -> None:
    """Transactions overlap, some roll back; browsers leave in the middle and come back anywhere."""
    chance = random.Random(7)
    committed: list[str] = []

    async def write(writer: Writer, number: int) -> None:
        for step in range(40):
            msg = f"{number}.{step}"
            await writer.begin(msg, notify=chance.random() < 0.7)
            await asyncio.sleep(chance.random() * 0.02)
            if chance.random() < 0.75:
                await writer.commit()
                committed.append(msg)
            else:
                await writer.roll_back()

    async with AsyncExitStack() as stack:
        sites = [(await stack.enter_async_context(serving(dsn, kept=20)))[0] for _ in range(3)]
        several = await stack.enter_async_context(writers(database, 5))
        browsers = [Listener() for _ in range(6)]
        for browser in browsers:
            async with browser.at(sites[0]):
                await browser.until_placed()
        over = asyncio.Event()

        async def wander(browser: Listener) -> None:
            while not over.is_set():
                async with browser.at(chance.choice(sites)):
                    await asyncio.sleep(chance.random() * 0.15)
            async with browser.at(chance.choice(sites)):
                await browser.until(*committed)

        wandering = [asyncio.create_task(wander(browser)) for browser in browsers]
        await asyncio.gather(*(write(writer, number) for number, writer in enumerate(several)))
        over.set()
        await asyncio.gather(*wandering)
        for browser in browsers:
            assert sorted(browser.heard) == sorted(committed)


async def test_a_browser_that_does_not_read_holds_up_nobody_and_catches_up_from_the_table(
    dsn: str, database: Database
) -> None:
    words = "x" * 50_000
    async with serving(dsn, kept=5) as (url, feed), writers(database, 1) as [writer], Listener().at(url) as quick:
        await quick.until_placed()
        where = urlsplit(url)
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            slow.connect((where.hostname, where.port))
            slow.sendall(f"GET {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
            await until(lambda: feed.browsers == 2)
            slow.setblocking(False)
            loop = asyncio.get_running_loop()
            said = b""
            while b"id: " not in said:
                said += await loop.sock_recv(slow, 4096)
            sent = [f"{number} {words}" for number in range(150)]  # more than any buffer on the way holds
            for start in range(0, 150, 10):
                await writer.say(*sent[start : start + 10])
                await quick.until(*sent[start : start + 10])
            assert quick.heard == sent
            async with asyncio.timeout(30):
                while f'"{149} {words}"'.encode() not in said[-60_000:]:
                    said += await loop.sock_recv(slow, 1 << 20)
            numbers = [int(part.partition(b" ")[0]) for part in said.split(b'"msg":"')[1:]]
            assert numbers == list(range(150))


async def test_a_sign_of_life_keeps_the_browsers_place_up_to_date(dsn: str, database: Database) -> None:
    async with (
        serving(dsn) as (url, _),
        writers(database, 1) as [writer],
        Listener().at(url, entity="owners") as browser,
    ):
        await browser.until_placed()
        [last] = await writer.say("of no interest")
        await until(lambda: browser.last_event_id == str(last))
        await until(lambda: browser.comments.count("still here") > 2)
        assert browser.heard == []


@pytest.mark.parametrize("text", ["nonsense", "", "17-", "1e9", "99999999999999999999", "5-9", "3-1,1"])
async def test_a_last_event_id_that_is_none_means_now(dsn: str, database: Database, text: str) -> None:
    async with serving(dsn) as (url, _), writers(database, 1) as [writer]:
        await writer.say("before")
        browser = Listener(last_event_id=text)
        async with browser.at(url):
            await until(lambda: any("starting from now" in comment for comment in browser.comments))
            await writer.say("after")
            await browser.until("after")
            assert browser.heard == ["after"]


async def test_a_last_event_id_from_another_database_means_now(dsn: str, database: Database) -> None:
    async with serving(dsn) as (url, _), writers(database, 1) as [writer]:
        browser = Listener(last_event_id="4000000000-3999999999")
        async with browser.at(url):
            await until(lambda: any("ahead of this database" in comment for comment in browser.comments))
            await writer.say("after")
            await browser.until("after")


async def test_there_are_so_many_places_and_each_is_given_back(dsn: str, bearer: dict[str, str]) -> None:
    async with serving(dsn, most=2) as (url, feed), httpx.AsyncClient(base_url=url, headers=bearer) as client:
        async with Listener().at(url) as one, Listener().at(url) as two:
            await one.until_placed()
            await two.until_placed()
            answer = await client.get(PATH)
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
            assert "places" in answer.json()["detail"]
            assert answer.json()["fix"]
        await until(lambda: feed.browsers == 0)
        async with Listener().at(url) as three:
            await three.until_placed()


async def test_nothing_is_read_while_nobody_listens(dsn: str, database: Database) -> None:
    async def sessions_are(*names: str) -> None:
        async with asyncio.timeout(10), database.connection() as connection:
            found = None
            while found != list(names):
                cursor = await connection.execute(
                    """SELECT application_name AS name FROM pg_stat_activity
                       WHERE application_name LIKE 'keepstep feed%' AND datname = current_database()"""
                )
                found = sorted(row["name"] for row in await cursor.fetchall())

    async with serving(dsn) as (url, feed):
        await sessions_are()
        async with Listener().at(url) as one, Listener().at(url) as two:
            await one.until_placed()
            await two.until_placed()
            await sessions_are("keepstep feed", "keepstep feed listener")
        await sessions_are()
        assert feed.browsers == 0
        async with Listener().at(url) as one:
            await one.until_placed()


async def test_a_server_that_ends_sends_its_browsers_away_at_once(dsn: str, bearer: dict[str, str]) -> None:
    async with AsyncExitStack() as stack:
        url, feed = await stack.enter_async_context(serving(dsn))
        browsers = [await stack.enter_async_context(Listener().at(url)) for _ in range(5)]
        for browser in browsers:
            await browser.until_placed()
        await feed.aclose()
        await until(lambda: all(browser.ended for browser in browsers))
        assert feed.browsers == 0
        async with httpx.AsyncClient(base_url=url, headers=bearer) as client:
            assert (await client.get(PATH)).status_code == 503


async def test_a_feed_goes_on_after_its_sessions_were_ended(dsn: str, database: Database) -> None:
    async with serving(dsn) as (url, _), writers(database, 1) as [writer], Listener().at(url) as browser:
        await browser.until_placed()
        await writer.say("before")
        await browser.until("before")
        async with database.connection() as connection:
            await connection.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE application_name LIKE 'keepstep feed%' AND datname = current_database()"""
            )
        await writer.say("meanwhile")
        await browser.until("meanwhile")
        await writer.say("after")
        await browser.until("after")
        assert browser.heard == ["before", "meanwhile", "after"]


async def test_a_feed_ends_when_its_token_is_revoked(
    dsn: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keepstep.web.feed._ASK_AGAIN", 0.2)
    async with serving(dsn) as (url, _), database.connection() as connection:
        made = await Tokens(database, Audit(database)).create("page", Role.VIEWER, by="test")
        async with Listener().at(url, token=made.token) as browser:
            await browser.until_placed()
            await until(lambda: len(browser.comments) > 5)
            assert not browser.ended
            await connection.execute("UPDATE keepstep.api_tokens SET revoked_at = now()")
            await until(lambda: browser.ended)


def test_the_pace_of_the_tests_is_quick() -> None:
    assert QUICK.heartbeat < 1 < Pace().heartbeat <= 15

"""The web server inside a process that does other things as well."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import aiohttp
import pytest
from fastapi import FastAPI

from keepstep.web.server import Place


@pytest.fixture
async def url() -> AsyncIterator[str]:
    threshold = gc.get_threshold()
    with closing(Place("127.0.0.1", 0)) as place:
        async with place.answering(FastAPI()):
            yield place.url
    gc.set_threshold(*threshold)
    gc.unfreeze()


async def told_at(url: str) -> datetime:
    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        return parsedate_to_datetime(answer.headers["date"])


async def test_answers_say_what_time_it_is_however_long_the_server_has_been_there(url: str) -> None:
    first = await told_at(url)
    assert abs(datetime.now(UTC) - first) < timedelta(minutes=1)
    async with asyncio.timeout(20):
        while await told_at(url) == first:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_a_server_that_is_told_to_end_does_not_wait_for_connections_that_are_only_open() -> None:
    with closing(Place("127.0.0.1", 0)) as place:
        async with asyncio.timeout(20), aiohttp.ClientSession() as client:
            async with place.answering(FastAPI()):
                answer = await client.get(place.url)
                await answer.read()
            assert answer.status == 404


async def test_what_is_there_when_serving_begins_is_no_garbage_to_look_for(url: str) -> None:
    assert url
    assert gc.get_freeze_count() > 0
    assert gc.get_threshold()[0] > 700

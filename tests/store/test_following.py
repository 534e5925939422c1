"""Following one run until it ends."""

import asyncio

import pytest
from tests.support.feed import DEADLINE, Writer, until, writers

from keepstep.model.errors import NotFound
from keepstep.service.following import follow
from keepstep.service.views import Views
from keepstep.store.db import Connection, Database


class Follower:
    """Somebody who follows a run."""

    def __init__(self, database: Database, run: int) -> None:
        self.heard: list[str] = []
        self.ids: list[int] = []
        self._task = asyncio.create_task(self._follow(database, run))

    async def _follow(self, database: Database, run: int) -> None:
        async for event in follow(database, Views(database), run):
            self.heard.append(event.msg)
            self.ids.append(event.id)

    async def end(self) -> None:
        """Wait until there is nothing more to come."""
        async with asyncio.timeout(DEADLINE):
            await self._task


async def set_state(connection: Connection, writer: Writer, state: str) -> None:
    """Let the writer's run be alive, or over."""
    live = state in ("queued", "running")
    await connection.execute(
        "UPDATE keepstep.runs SET state = %s, finished_at = CASE WHEN %s THEN NULL ELSE now() END WHERE id = %s",
        [state, live, writer.run],
    )


@pytest.mark.parametrize("state", ["queued", "running"])
async def test_everything_of_a_run_is_heard_once_until_it_ends(
    database: Database, connection: Connection, state: str
) -> None:
    async with writers(database, 3) as (writer, slow, other):
        slow.run = writer.run
        await set_state(connection, writer, state)
        await writer.say("1", "2")
        early = await slow.begin("under way from the beginning", notify=False)
        await writer.say("3")
        follower = Follower(database, writer.run)
        await until(lambda: follower.heard == ["1", "2", "3"])
        await other.say("of another run")
        await writer.say("4")
        await until(lambda: follower.heard[-1] == "4")
        await slow.commit()
        await until(lambda: follower.ids[-1] == early)
        await slow.begin("with the end")
        await set_state(slow._connection, writer, "succeeded")
        await slow.commit()
        await follower.end()
        assert follower.heard == ["1", "2", "3", "4", "under way from the beginning", "with the end"]


async def test_a_run_that_has_ended_is_told_whole(database: Database) -> None:
    async with writers(database, 1) as [writer]:
        sent = [str(number) for number in range(30)]
        await writer.say(*sent)
        follower = Follower(database, writer.run)
        await follower.end()
        assert follower.heard == sent


async def test_a_run_that_does_not_exist_is_refused(database: Database) -> None:
    with pytest.raises(NotFound):
        await Follower(database, 999).end()

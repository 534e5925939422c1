"""A process to be killed: imports everything once, then forks a run for every line it reads, and says what happens.

Lines in are JSON: dsn, url, key, entities, mode, page_size, policy. Lines out: ``pid N``, then the run's ``event TYPE``
lines, each after its commit, then ``end RESULT`` if the run lived to see it, then ``gone STATUS``.
"""

import asyncio
import gc
import json
import os
import sys
from typing import Any, NoReturn

from keepstep.engine.runner import Runner
from keepstep.integrations.doorloop.connector import DoorLoop
from keepstep.model.integration import Mode
from keepstep.model.run import Event, Policy, RunRequest
from keepstep.service.views import Views
from keepstep.store.db import Database


def say(*words: object) -> None:
    """One line, whole, even beside another process's."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def run(order: dict[str, Any]) -> str:
    """One run; gives how it ended."""
    doorloop = DoorLoop(
        base_url=order["url"], api_key=order["key"], page_size=order["page_size"], max_concurrency=3, rate_limit_rps=0
    )

    def tell(event: Event) -> None:
        say("event", event.type)

    database = Database(order["dsn"])
    runner = Runner(database, doorloop, Policy(**order["policy"]), tell)
    try:
        run_id = await runner.start(RunRequest(tuple(order["entities"]), Mode(order["mode"])))
        return (await Views(database).run(run_id)).result
    finally:
        await doorloop.aclose()


def live(order: dict[str, Any]) -> NoReturn:
    """The life of a forked process."""
    try:
        say("pid", os.getpid())
        say("end", asyncio.run(run(order)))
    except BaseException as error:
        say("end", type(error).__name__, str(error).split("\n", 1)[0])
    finally:
        os._exit(0)


def main() -> None:
    """Fork a run for every line."""
    gc.freeze()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            live(json.loads(line))
        _, status = os.waitpid(pid, 0)
        say("gone", os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()

"""Ctrl-C and ``kill`` end a command in order: what is committed stays, and whatever was started is taken down."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

from keepstep.cli.exits import Interrupted

T = TypeVar("T")
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def drive(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end. The first signal cancels the work, a second one ends the process at once (which loses nothing).

    Raises ``Interrupted`` once the cancelled work has ended.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_heeding_signals(work))


async def _heeding_signals(work: Coroutine[Any, Any, T]) -> T:
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    received: list[int] = []

    def end(number: int) -> None:
        if received or main is None:
            os._exit(128 + number)
        received.append(number)
        main.cancel()

    for number in _ENDING:
        loop.add_signal_handler(number, end, number)
    try:
        result = await work
    except BaseException as error:
        if received:
            raise Interrupted(received[0]) from error
        raise
    if received:
        raise Interrupted(received[0])
    return result

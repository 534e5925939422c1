"""Work that blocks, done beside the event loop, so that whoever waits for it can be cancelled."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def beside(work: Callable[[], T], *, interrupt: Callable[[], None]) -> T:
    """Do ``work`` in a thread of its own. When the waiting is cancelled, ``interrupt`` must make ``work`` end soon.

    The thread keeps nobody waiting: not the one who was cancelled, and not the end of the process.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(result)  # type: ignore[arg-type]
        else:
            done.set_exception(error)

    def body() -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = work()
        except BaseException as raised:
            error = raised
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:  # the loop has ended meanwhile: nobody waits
            return

    threading.Thread(target=body, name="keepstep-mail", daemon=True).start()
    try:
        return await done
    except asyncio.CancelledError:
        interrupt()
        raise

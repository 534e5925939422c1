"""Reads reports beside the event loop, in processes that can be killed."""

import asyncio
import contextlib
import os
import sys

import msgspec

from keepstep.integrations.erp.parser import Report
from keepstep.integrations.erp.reader_child import Asked, Told
from keepstep.integrations.erp.refusal import NOWHERE, Refused

LONGEST = 300.0
"""Seconds for one report; 5,000 rows take about a tenth of it."""
_NEEDED = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "HOME", "LANG", "LC_ALL", "TMPDIR")
_decode = msgspec.msgpack.Decoder(Told).decode
_encode = msgspec.msgpack.Encoder().encode


class ReportReader:
    """At most ``processes`` reports are read at a time, the others wait. Closing it ends the processes.

    A reading that is cancelled, or takes longer than ``longest`` seconds, has its process killed.
    """

    def __init__(self, *, processes: int = 1, longest: float = LONGEST) -> None:
        self._longest = longest
        self._turns = asyncio.Semaphore(processes)
        self._idle: list[asyncio.subprocess.Process] = []
        self._busy: set[asyncio.subprocess.Process] = set()

    @property
    def pids(self) -> frozenset[int]:
        """The processes there are now."""
        return frozenset(process.pid for process in (*self._idle, *self._busy))

    async def read(self, report: str, pdf: bytes, *, agent: str = "") -> Report:
        """The report's rows, all proven. Raises ``Refused``."""
        async with self._turns:
            process = self._rested() or await self._start()
            self._busy.add(process)
            try:
                async with asyncio.timeout(self._longest):
                    told = await self._ask(process, Asked(report, agent, pdf))
            except TimeoutError:
                await self._kill(process)
                raise Refused("report-too-heavy", f"it took longer than {self._longest:.0f} s") from None
            except (OSError, EOFError):
                await self._kill(process)
                raise Refused("report-too-heavy", "the process that read it was ended by the system") from None
            except BaseException:
                await self._kill(process)
                raise
            finally:
                self._busy.discard(process)
            self._idle.append(process)
        if told.report is None:
            raise Refused(told.code, told.detail, told.spot or NOWHERE)
        return told.report

    async def aclose(self) -> None:
        """End the processes."""
        idle, self._idle = self._idle, []
        for process in (*idle, *self._busy):
            await self._kill(process)

    def _rested(self) -> asyncio.subprocess.Process | None:
        """A process that waits for work, if one is still there."""
        while self._idle:
            process = self._idle.pop()
            if process.returncode is None:
                return process
        return None

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "keepstep.integrations.erp.reader_child",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env=_environment(),
        )  # fmt: skip

    async def _ask(self, process: asyncio.subprocess.Process, asked: Asked) -> Told:
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        message = _encode(asked)
        process.stdin.write(len(message).to_bytes(8, "big") + message)
        await process.stdin.drain()
        size = int.from_bytes(await process.stdout.readexactly(8), "big")
        return _decode(await process.stdout.readexactly(size))

    async def _kill(self, process: asyncio.subprocess.Process) -> None:
        """Also while this task is being cancelled: killed is killed, and the system needs no time for it."""
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        if process.stdin is not None:
            process.stdin.close()
        await asyncio.shield(process.wait())


def _environment() -> dict[str, str]:
    """What Python needs to start, and no secret: what is read there comes from outside."""
    return {name: os.environ[name] for name in _NEEDED if name in os.environ}

"""The emulated DoorLoop in a process of its own. Arguments: number of leases, seed. Ends when its input closes."""

import asyncio
import sys

from keepstep.cli.signals import drive
from keepstep.integrations.doorloop.emulator.options import EmulatorOptions
from keepstep.integrations.doorloop.emulator.server import DoorLoopEmulator
from keepstep.integrations.emulation.emulator import serve_forever


async def main(leases: int, seed: int) -> None:
    """Serve until the parent is gone."""
    parent_gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), parent_gone.set)
    options = EmulatorOptions(leases=leases, seed=seed, requests_kept=10)
    await serve_forever(DoorLoopEmulator(options), started=lambda url: print(url, flush=True), until=parent_gone)


if __name__ == "__main__":
    drive(main(int(sys.argv[1]), int(sys.argv[2])))

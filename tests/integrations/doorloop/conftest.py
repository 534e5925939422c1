"""What the tests of the DoorLoop connector share."""

from collections.abc import AsyncIterator

import pytest

from keepstep.integrations.doorloop.emulator.options import EmulatorOptions
from keepstep.integrations.doorloop.emulator.server import DoorLoopEmulator
from tests.integrations.doorloop.account import DoorLoopUpstream


@pytest.fixture
async def upstream() -> AsyncIterator[DoorLoopUpstream]:
    emulator = DoorLoopEmulator(EmulatorOptions(owners=7, properties=12, units=50, leases=95, tenants=41))
    async with emulator.serve() as base_url:
        upstream = DoorLoopUpstream(emulator, base_url)
        yield upstream
        await upstream.aclose()

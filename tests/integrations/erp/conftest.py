"""What the tests of the ERP connector share."""

from collections.abc import AsyncIterator

import pytest

from keepstep.integrations.erp.emulator.options import EmulatorOptions
from keepstep.integrations.erp.emulator.server import ErpEmulator
from tests.integrations.erp.office import ErpUpstream


@pytest.fixture
async def upstream() -> AsyncIterator[ErpUpstream]:
    emulator = ErpEmulator(EmulatorOptions(customers=65, orders=12, ddt=9, invoices=10, products=14, prices=8))
    async with emulator.serve() as base_url:
        upstream = ErpUpstream(emulator, base_url)
        yield upstream
        await upstream.aclose()

"""An emulated account of more than three pages."""

from collections.abc import AsyncIterator

import pytest

from keepstep.integrations.google_contacts.emulator.options import EmulatorOptions
from keepstep.integrations.google_contacts.emulator.server import GoogleEmulator
from tests.integrations.google_contacts.account import GoogleUpstream


@pytest.fixture
async def upstream() -> AsyncIterator[GoogleUpstream]:
    """A small emulated account."""
    emulator = GoogleEmulator(EmulatorOptions(people=130))
    async with emulator.serve() as url:
        upstream = GoogleUpstream(emulator, url)
        try:
            yield upstream
        finally:
            await upstream.aclose()

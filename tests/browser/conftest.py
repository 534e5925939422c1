"""A served Keepstep with a user of each role, and a browser that fails a test when it complains."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.browser import Watched, browsing
from tests.support.control_center import working
from tests.support.site import Served
from tests.support.upstream import Upstream


@pytest.fixture
async def site(dsn: str, tmp_path: Path, upstream: Upstream) -> AsyncIterator[Served]:
    """Keepstep with workers; ana is an admin, otto an operator, vic a viewer."""
    async with working(dsn, tmp_path, upstream) as site:
        for name, role in (("ana", "admin"), ("otto", "operator"), ("vic", "viewer")):
            await site.user(name, role)
        yield site


@pytest.fixture
async def browser(site: Served) -> AsyncIterator[Watched]:
    """A browser that nobody has signed in with."""
    async with browsing(site.url) as browser:
        yield browser

"""Pages of an application that signs users in: what their browsers may do, and what those of other pages may not."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.host import SECRET, bearer, token
from tests.support.site import PASSWORD, Served, served

CRM = "https://crm.example.test"
CONFIG = "/api/logos-vision/auto-sync/config"
CHANGE = {"workspace_id": "w", "enabled": True, "interval_hours": 4}
CROSS = {"origin": CRM, "sec-fetch-site": "cross-site"}


@pytest.fixture
async def site(dsn: str, tmp_path: Path) -> AsyncIterator[Served]:
    given = {"KEEPSTEP_JWT_SECRET": SECRET, "KEEPSTEP_ALLOWED_ORIGINS": f"{CRM}/, http://localhost:5173"}
    async with served(dsn, tmp_path, **given) as site:
        yield site


def preflight(origin: str) -> dict[str, str]:
    return {
        "origin": origin,
        "access-control-request-method": "PUT",
        "access-control-request-headers": "authorization,content-type",
    }


@pytest.mark.parametrize("origin", [CRM, "http://localhost:5173"])
async def test_a_named_page_may_ask_change_and_read(site: Served, origin: str) -> None:
    asked = await site.nobody.options(CONFIG, headers=preflight(origin))
    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (204, origin)
    assert "Authorization" in asked.headers["access-control-allow-headers"]
    assert "PUT" in asked.headers["access-control-allow-methods"]

    headers = {**bearer(token()), "origin": origin, "sec-fetch-site": "cross-site"}
    changed = await site.nobody.put(CONFIG, json=CHANGE, headers=headers)
    assert (changed.status_code, changed.json()["interval_hours"]) == (200, 4)
    read = await site.nobody.get(CONFIG, headers=headers)
    assert read.headers["access-control-allow-origin"] == origin
    assert read.headers["cross-origin-resource-policy"] == "cross-origin"
    assert "Origin" in read.headers["vary"]
    assert "access-control-allow-credentials" not in read.headers


async def test_a_page_may_read_why_it_was_refused(site: Served) -> None:
    answer = await site.nobody.get(CONFIG, headers={**CROSS, "authorization": "Bearer wrong"})

    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, CRM)


@pytest.mark.parametrize("origin", ["https://crm.example.test.evil.test", "https://crm.example.test:8443", "null"])
async def test_another_page_may_not_even_with_a_token(site: Served, origin: str) -> None:
    asked = await site.nobody.options(CONFIG, headers=preflight(origin))
    assert "access-control-allow-origin" not in asked.headers
    headers = {**bearer(token()), "origin": origin, "sec-fetch-site": "cross-site"}
    assert (await site.nobody.put(CONFIG, json=CHANGE, headers=headers)).status_code == 403
    assert "access-control-allow-origin" not in (await site.nobody.get(CONFIG, headers=headers)).headers


async def test_the_cookie_of_a_session_does_not_count_from_a_named_page(site: Served) -> None:
    await site.user("ana")
    async with site.signed_in("ana") as client:
        assert (await client.get(CONFIG)).status_code == 200
        assert (await client.get(CONFIG, headers=CROSS)).status_code == 401
        assert (await client.put(CONFIG, json=CHANGE, headers=CROSS)).status_code == 403


async def test_nobody_is_signed_in_from_a_named_page_and_its_pages_stay_closed(site: Served) -> None:
    await site.user("ana")
    body = {"name": "ana", "password": PASSWORD}
    assert (await site.nobody.post("/api/auth/login", json=body, headers=CROSS)).status_code == 403
    page = await site.nobody.get("/login", headers=CROSS)
    assert "access-control-allow-origin" not in page.headers

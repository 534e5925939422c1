"""The pages beside the control center, as a program sees them."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keepstep.web.filters import address
from tests.support.site import Served, served
from tests.support.sync import Sync

PAGE = "/systems/integrations"
BROWSER = {"accept": "text/html,application/xhtml+xml"}
SECRET = "dl_secret_of_this_test"
LISTS = (f"{PAGE}/runs", f"{PAGE}/dlq", f"{PAGE}/dlq?state=all", f"{PAGE}/audit", f"{PAGE}/runs/1", "/admin/sync")


@pytest.fixture
async def site(sync: Sync, tmp_path: Path) -> AsyncIterator[Served]:
    """With a run that left dead letters."""
    sync.upstream.poison("leases", "nul-in-text", count=2)
    async with served(sync.dsn, tmp_path, DOORLOOP_BASE_URL=sync.upstream.url, DOORLOOP_API_KEY=SECRET) as site:
        await sync.run("leases")
        yield site


async def test_each_page_is_there_for_a_viewer_and_holds_no_secret(site: Served) -> None:
    viewer = await site.token("viewer")
    for path in (*LISTS, "/account"):
        answer = await site.nobody.get(path, headers={**BROWSER, **viewer})
        assert answer.status_code == 200, path
        assert answer.headers["cache-control"] == "no-store"
        assert SECRET not in answer.text


async def test_what_the_page_asks_for_again_is_exactly_what_it_holds(site: Served) -> None:
    still = re.compile(r"<time.*?</time>", re.DOTALL)
    for path in (*LISTS, "/admin/users"):
        page = (await site.admin.get(path)).text
        part = (await site.admin.get(path, headers={"hx-request": "true"})).text
        assert "<html" not in part, path
        assert still.sub("", part) in still.sub("", page), path


async def test_a_choice_that_cannot_be_is_refused_and_an_empty_one_is_none(site: Served) -> None:
    for wrong in ("runs?result=lost", "dlq?state=lost", "dlq?entity=a%00b", "audit?before=x", "runs/x", "runs/0"):
        assert (await site.admin.get(f"{PAGE}/{wrong}")).status_code == 422, wrong
    for empty in ("runs?entity=&result=&before=", "dlq?entity=&kind=&before=", "audit?user=&action=&before="):
        assert (await site.admin.get(f"{PAGE}/{empty}")).status_code == 200, empty
    assert (await site.admin.get("/admin/sync?integration=nothing")).status_code == 404


async def test_users_and_tokens_are_for_admins_only(site: Served) -> None:
    operator = await site.token("operator")
    for path in ("/admin/users", "/admin/tokens", "/admin/users/1"):
        assert (await site.nobody.get(path, headers=operator)).status_code == 403
    assert (await site.admin.get("/admin/users/99")).status_code == 404


async def test_a_token_has_no_password_to_change(site: Served) -> None:
    assert "A token has no password" in (await site.admin.get("/account")).text


async def test_a_choice_is_escaped_wherever_it_is_shown(site: Served) -> None:
    for path in (
        f"{PAGE}/dlq?kind=%3Cscript%3E",
        f"{PAGE}/audit?user=%22%3E%3Cscript%3E",
        f"{PAGE}/dlq?entity=%3Cb%3E",
    ):
        text = (await site.admin.get(path)).text
        assert "<script>" not in text
        assert "<b>" not in text


def test_an_address_keeps_what_is_chosen_and_leaves_out_what_is_empty() -> None:
    assert address({"entity": "a&b", "before": "7"}, before="") == "?entity=a%26b"
    assert address({"entity": "", "state": "open"}, before=12) == "?state=open&before=12"

"""The pages of the ERP as a program sees them."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.reports import agents, document, ended, read
from tests.support.site import Served, served

ERP = "/systems/integrations/erp"
BROWSER = {"accept": "text/html,application/xhtml+xml"}


@pytest.fixture
async def site(dsn: str, tmp_path: Path) -> AsyncIterator[Served]:
    """Keepstep without workers, with two agents and a refused report."""
    async with served(dsn, tmp_path) as site:
        async with site.connection() as connection:
            await agents(connection, ["007", "012"])
        yield site


async def kept(site: Served, flaw: str = "bad-cell") -> str:
    """The address of a kept report."""
    return f"{ERP}/documents/{await site.service.documents.keep('erp', document('customers', '007', flaw=flaw))}"


async def test_nothing_is_shown_without_credentials(site: Served) -> None:
    base = await kept(site)
    for path in (ERP, f"{ERP}/agents", f"{ERP}/cells/orders?agent=007", base):
        answer = await site.nobody.get(path, headers=BROWSER)
        assert (answer.status_code, answer.headers["location"].split("?")[0]) == (303, "/login"), path
    for path in (ERP, base, f"{base}/picture", f"{base}/page.png", f"{base}/file"):
        answer = await site.nobody.get(path)
        assert answer.status_code == 401, path
        assert "007" not in answer.text


async def test_pictures_are_for_operators_and_downloads_for_admins(site: Served) -> None:
    base = await kept(site)
    allowed = {"viewer": (200, 403, 403, 403), "operator": (200, 200, 200, 403), "admin": (200, 200, 200, 200)}
    for role, expected in allowed.items():
        token = await site.token(role)
        paths = (base, f"{base}/picture", f"{base}/page.png", f"{base}/file")
        assert [(await site.nobody.get(path, headers=token)).status_code for path in paths] == list(expected), role
    user = await site.token("user")
    assert (await site.nobody.get(ERP, headers=user)).status_code == 403


async def test_what_came_from_outside_can_do_nothing_in_a_browser(site: Served) -> None:
    base = await kept(site)
    for path, kind in ((f"{base}/page.png", "image/png"), (f"{base}/page.png?close=true", "image/png"),
                       (f"{base}/file", "application/pdf")):  # fmt: skip
        answer = await site.admin.get(path)
        assert answer.headers["content-type"] == kind
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'; sandbox" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
    page = read("prices", "", b"<script>alert(1)</script>")
    number = await site.service.documents.keep("erp", page)
    answer = await site.admin.get(f"{ERP}/documents/{number}/file")
    assert (answer.headers["content-type"], answer.content) == ("application/octet-stream", page.body)
    assert answer.headers["content-disposition"] == f'attachment; filename="prices-{page.hash[:12]}.bin"'
    shown = await site.admin.get(f"{ERP}/documents/{number}/picture")
    assert "<script>" not in shown.text
    assert "&lt;script&gt;" in shown.text


async def test_a_download_is_what_came_and_is_written_down(site: Served) -> None:
    one = document("customers", "007", flaw="bad-cell")
    number = await site.service.documents.keep("erp", one)

    answer = await site.admin.get(f"{ERP}/documents/{number}/file")

    assert answer.content == one.body
    [logged] = await site.service.audit.newest(action="document.download")
    assert logged.payload["hash"] == one.hash


async def test_a_document_that_is_not_there_or_not_the_erps_is_not_found(site: Served) -> None:
    other = await site.service.documents.keep("another", document("orders", "007"))
    for number in (other, 999):
        for path in ("", "/picture", "/page.png", "/file"):
            assert (await site.admin.get(f"{ERP}/documents/{number}{path}")).status_code == 404, (number, path)
    base = await kept(site)
    assert (await site.admin.get(f"{base}/page.png?page=9")).status_code == 404
    assert (await site.admin.get(f"{base}/page.png?page=0")).status_code == 422
    assert "no page 9" in (await site.admin.get(f"{base}/picture?page=9")).text


async def test_a_document_whose_bytes_are_gone_says_so_where_its_picture_would_be(site: Served) -> None:
    base = await kept(site)
    await site.sql("UPDATE keepstep.document_contents SET sealed = 'not what it was'")

    assert "is not what came" in (await site.admin.get(f"{base}/picture")).text
    assert (await site.admin.get(base)).status_code == 200


async def test_what_the_page_asks_for_again_is_exactly_what_it_holds(site: Served) -> None:
    still = re.compile(r"<time.*?</time>", re.DOTALL)
    for path in (ERP, f"{ERP}?state=failing", f"{ERP}/agents", await kept(site)):
        page = (await site.admin.get(path)).text
        part = (await site.admin.get(path, headers={"hx-request": "true"})).text
        assert "<html" not in part, path
        assert still.sub("", part) in still.sub("", page), path


async def test_a_choice_that_cannot_be_is_refused_and_an_empty_one_is_none(site: Served) -> None:
    for wrong in ("?state=lost", "?after=x", "?search=a%00b", "/agents?state=lost", "/documents/x"):
        assert (await site.admin.get(f"{ERP}{wrong}")).status_code == 422, wrong
    for empty in ("?search=&state=&after=", "?after=500", "/agents?search=&state=&after="):
        assert (await site.admin.get(f"{ERP}{empty}")).status_code == 200, empty


async def test_what_is_shown_of_a_cell_is_there_for_reports_and_agents_that_are(site: Served) -> None:
    asked = {"hx-request": "true"}
    for path, status in (("orders?agent=007", 200), ("prices", 200), ("prices?agent=007", 404), ("orders", 404),
                         ("orders?agent=999", 404), ("lost?agent=007", 404)):  # fmt: skip
        assert (await site.admin.get(f"{ERP}/cells/{path}", headers=asked)).status_code == status, path
    answer = await site.admin.get(f"{ERP}/cells/orders?agent=007")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{ERP}?search=007#freshness")


async def test_names_and_codes_are_escaped_wherever_they_are_shown(site: Served) -> None:
    await site.sql("INSERT INTO keepstep.agents (code, name) VALUES ('<b>&', '<script>alert(1)</script>')")
    async with site.connection() as connection:
        await ended(connection, "<b>&", "orders", times=1)
    for path in (ERP, f"{ERP}/agents", f"{ERP}?search=%3Cscript%3E"):
        text = (await site.admin.get(path)).text
        assert "<script>alert" not in text, path
        assert "<b>" not in text, path
    cell = await site.admin.get(f"{ERP}/cells/orders?agent=%3Cb%3E%26", headers={"hx-request": "true"})
    assert cell.status_code == 200
    assert "<script>" not in cell.text


async def test_links_to_runs_of_agents_lead_viewers_there_too(site: Served) -> None:
    viewer = await site.token("viewer")
    link = re.compile(r'href="(/systems/integrations/runs/\d+)"')
    found = link.findall((await site.nobody.get(ERP, headers=viewer)).text)
    assert found
    assert found == link.findall((await site.admin.get(ERP)).text)
    for path in found:
        assert (await site.nobody.get(path, headers=viewer)).status_code == 200, path

"""The emulated ERP asks for a login, makes reports on request, and goes wrong on command."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from keepstep.integrations.erp.emulator.faults import OF_THE_REPORT, ON_THE_WAY
from keepstep.integrations.erp.emulator.options import EmulatorOptions
from keepstep.integrations.erp.emulator.server import ErpEmulator
from tests.integrations.erp.office import AGENT


class Browser:
    """Somebody who uses the ERP by hand."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self._session = session
        self._base_url = base_url

    async def ask(self, method: str, path: str, **form: str) -> tuple[int, Any, str]:
        """Status, body, and where it leads."""
        asked = self._session.request(method, self._base_url + path, data=form or None, allow_redirects=False)
        async with asked as answer:
            body = await (answer.json() if answer.content_type == "application/json" else answer.read())
            return answer.status, body, answer.headers.get("Location", "")

    async def control(self, method: str, route: str, body: Any = None) -> tuple[int, Any]:
        """One control request."""
        url = self._base_url.removesuffix("/erp") + f"/_emulator/{route}"
        async with self._session.request(method, url, json=body) as answer:
            return answer.status, await (answer.json() if answer.content_type == "application/json" else answer.read())

    async def log_in(self, emulator: ErpEmulator) -> None:
        """Be let in."""
        known = emulator.options
        status, _, to = await self.ask("POST", "/login", username=known.username, password=known.password)
        assert (status, to) == (303, "/erp/home")


@pytest.fixture
def emulator() -> ErpEmulator:
    return ErpEmulator(EmulatorOptions(customers=20, orders=5, ddt=5, invoices=5, products=5, prices=5))


@pytest.fixture
async def browser(emulator: ErpEmulator) -> AsyncIterator[Browser]:
    # A jar that takes cookies of an address without a name.
    jar = aiohttp.CookieJar(unsafe=True)
    async with emulator.serve() as base_url, aiohttp.ClientSession(cookie_jar=jar) as session:
        yield Browser(session, base_url)


async def test_without_a_login_everything_leads_to_it(browser: Browser) -> None:
    for method, path in (("POST", "/reports"), ("GET", "/reports/1"), ("GET", "/reports/1/file")):
        status, _, to = await browser.ask(method, path, **({"report": "products"} if method == "POST" else {}))
        assert (status, to) == (303, "/erp/login")


async def test_a_wrong_password_shows_the_login_page_again(browser: Browser) -> None:
    status, body, _ = await browser.ask("POST", "/login", username="keepstep", password="wrong")

    assert status == 200
    assert b'type="password"' in body


async def test_a_report_is_made_while_somebody_waits(browser: Browser, emulator: ErpEmulator) -> None:
    emulator.switch(polls=2)
    await browser.log_in(emulator)
    status, job, _ = await browser.ask("POST", "/reports", report="customers", agent=AGENT)
    assert (status, job["status"]) == (202, "queued")

    states = [(await browser.ask("GET", f"/reports/{job['id']}"))[1] for _ in range(3)]
    assert [state["status"] for state in states] == ["running", "running", "ready"]
    _, pdf, _ = await browser.ask("GET", f"/reports/{job['id']}/file")

    assert pdf == emulator.document("customers", AGENT).pdf
    assert states[-1]["bytes"] == len(pdf)
    assert (await browser.ask("GET", "/reports/unknown"))[0] == 404


async def test_the_same_data_gives_the_same_document_and_a_change_another_one(emulator: ErpEmulator) -> None:
    first = emulator.document("customers", AGENT)
    assert ErpEmulator(emulator.options).document("customers", AGENT).pdf == first.pdf

    changed = emulator.change("customers", agent=AGENT, create=1, update=2, delete=3)

    assert [len(keys) for keys in changed.values()] == [1, 2, 3]
    assert emulator.document("customers", AGENT).pdf != first.pdf
    assert len(emulator.rows("customers", AGENT)) == 18
    assert len(emulator.rows("customers", "012")) == 20


async def test_control_shows_and_changes_everything(browser: Browser, emulator: ErpEmulator) -> None:
    status, state = await browser.control("GET", "state")
    assert (status, state["rows"]["products"]) == (200, 5)
    assert "erp_password" not in str(state)
    patch = {"report": "products", "patch": {key_of(emulator): {"stock": "1.234,5", "description": "Città"}}}
    assert (await browser.control("POST", "changes", patch))[0] == 200
    assert str(emulator.rows("products")[0]["stock"]) == "1234.5"
    status, pdf = await browser.control("GET", f"document/customers.pdf?agent={AGENT}")
    assert pdf == emulator.document("customers", AGENT).pdf
    assert (await browser.control("POST", "switches", {"rules": "ruled"}))[0] == 200
    assert emulator.options.rules == "ruled"


@pytest.mark.parametrize(
    ("route", "body", "says"),
    [
        ("faults", {"kind": "fire"}, "no fault is called 'fire'"),
        ("faults", {"kind": "truncate", "variant": "sideways"}, "connection, body"),
        ("faults", {"kind": "scan", "page": 3}, "a fault has no 'page'"),
        ("switches", {"rules": "dotted"}, "unruled, ruled, boxed"),
        ("switches", {"customers": 5}, "change it with a reset"),
        ("changes", {"report": "nothing"}, "there is no report 'nothing'"),
        ("changes", {"report": "customers", "agent": "999"}, "there is no agent '999'"),
        ("changes", {"report": "customers", "agent": AGENT, "delete": 50}, "there are 20 rows"),
        ("dance", {}, "there is no command 'dance'"),
    ],
)
async def test_what_is_not_possible_is_said_in_words(
    browser: Browser, route: str, body: dict[str, Any], says: str
) -> None:
    status, answer = await browser.control("POST", route, body)

    assert status == 400
    assert says in answer["message"]


@pytest.mark.parametrize("kind", [kind for kind in (*ON_THE_WAY, *OF_THE_REPORT) if kind != "hang"])
async def test_every_fault_hits_once_and_is_on_record(browser: Browser, emulator: ErpEmulator, kind: str) -> None:
    emulator.change("customers", agent=AGENT, update=1)
    await browser.log_in(emulator)
    emulator.fault(kind, seconds=0.0)

    try:
        _, job, _ = await browser.ask("POST", "/reports", report="customers", agent=AGENT)
        if isinstance(job, dict) and "id" in job:
            await browser.ask("GET", f"/reports/{job['id']}")
            await browser.ask("GET", f"/reports/{job['id']}")
            await browser.ask("GET", f"/reports/{job['id']}/file")
    except (aiohttp.ClientError, ValueError):
        assert kind in ("reset", "truncate", "bad-json")

    hit = [request.fault for request in emulator.requests() if request.fault]
    assert hit == [kind]
    assert emulator.state()["faults"] == []


def key_of(emulator: ErpEmulator) -> str:
    return str(emulator.rows("products")[0]["code"])

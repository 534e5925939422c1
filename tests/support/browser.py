"""A real browser, and everything that it complains about."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import BrowserContext, Page, async_playwright, expect

from tests.support.site import PASSWORD

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
AXE = Path(__file__).parents[1] / "browser" / "axe.min.js"
DESK = {"width": 1440, "height": 900}
PATIENCE_MS = 12_000
"""Less than the 15 s after which the page looks by itself: what it shows must have come as news."""
_AXE_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
_OF_COLOURS = ["color-contrast", "link-in-text-block"]
_AXE = """async ([all, colours]) => {
  const root = document.documentElement;
  const theme = root.dataset.theme;
  const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const found = [[theme, await axe.run(document, { runOnly: all })]];
  const still = new CSSStyleSheet();
  still.replaceSync("*, *::before, *::after { transition: none !important; }");
  document.adoptedStyleSheets.push(still);
  await frame();
  root.dataset.theme = theme === "dark" ? "light" : "dark";
  await frame();
  found.push([root.dataset.theme, await axe.run(document, { runOnly: colours })]);
  root.dataset.theme = theme;
  document.adoptedStyleSheets.pop();
  return found;
}"""
_WATCH = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`CSP: ${event.violatedDirective} blocked ${event.blockedURI || "inline"} ${event.sourceFile ?? ""}`);
});
"""


class Watched:
    """A browser whose complaints are kept. ``expected``: words of those that a test means to provoke."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context = context
        self.url = url
        self.complaints: list[str] = []
        self.expected: list[str] = []

    async def page(self, path: str = "") -> Page:
        """A new tab, at an address of the site."""
        page = await self.context.new_page()
        self.watch(page)
        if path:
            await page.goto(self.url + path)
        return page

    def watch(self, page: Page) -> None:
        """Keep what this tab complains about."""
        page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))

    async def sign_in(self, name: str = "ana") -> None:
        """Take up a session of a user with ``PASSWORD``, without the form."""
        answer = await self.context.request.post(
            f"{self.url}/api/auth/login", data={"name": name, "password": PASSWORD}
        )
        assert answer.ok, await answer.text()

    def unexpected(self) -> list[str]:
        """The complaints that nobody meant to provoke."""
        return [said for said in self.complaints if not any(words in said for words in self.expected)]


@asynccontextmanager
async def browsing(url: str, **options: Any) -> AsyncIterator[Watched]:
    """A browser that fails the test when it has had anything to complain about."""
    assert CHROMIUM, "these tests need Chromium: apt install chromium, or name one in CHROMIUM"
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            context = await browser.new_context(**{"viewport": DESK, "reduced_motion": "reduce", **options})
            await context.add_init_script(_WATCH)
            watched = Watched(context, url)
            yield watched
            assert watched.unexpected() == []
        finally:
            await browser.close()


async def violations(page: Page) -> list[str]:
    """What axe finds against WCAG A and AA, one line each: all of it as the page is, colours in the other theme too."""
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    found = await page.evaluate(_AXE, [{"type": "tag", "values": _AXE_RULES}, {"type": "rule", "values": _OF_COLOURS}])
    return [
        f"{theme}: {one['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:300]}"
        for theme, results in found
        for one in results["violations"]
        for node in one["nodes"]
    ]

"""``python -m bench.page``: what the control center costs a browser, cold and live.

``keepstep up`` against an emulated DoorLoop, a real Chromium, each in processes of their own. The page, with runs, dead
letters and a log, is opened again and again with an empty cache: when the first words are painted, how many bytes came,
and the same for a page of one line, which is the browser's own share. Then the browser watches runs while 49 others
listen to the feed: how long an update takes from its request to its frame.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from statistics import median
from typing import Any

import httpx
from tests.support.browser import Watched, browsing
from tests.support.control_center import PAGE
from tests.support.site import ADMIN_TOKEN, NO_TLS, PASSWORD
from tests.system.command import Keepstep, emulator, keepstep

from bench.report import about, machine

FIRST_PAINT_MS, MOST_KB, UPDATE_MS = 200, 200, 100
_LISTENERS = 49
_PATIENCE = httpx.Timeout(30, read=None)
_COLD = """async () => {
  const largest = await new Promise((found) => new PerformanceObserver(
    (list) => found(list.getEntries().at(-1).startTime)).observe({ type: "largest-contentful-paint", buffered: true }));
  const paint = performance.getEntriesByType("paint").find((one) => one.name === "first-contentful-paint");
  const parts = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
  return [paint?.startTime ?? null, largest, parts.reduce((sum, one) => sum + one.transferSize, 0), parts.length];
}"""
_LIVE = """
window.updates = [];
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) {
    if (one.name.includes("/live")) requestAnimationFrame(() => window.updates.push([one.startTime, one.responseEnd, performance.now()]));
  }
}).observe({ type: "resource" });
"""  # noqa: E501 - one line of JavaScript


class Site:
    """What the bench asks of a Keepstep that serves."""

    def __init__(self, url: str) -> None:
        limits = httpx.Limits(max_connections=_LISTENERS + 8)
        headers = {"authorization": f"Bearer {ADMIN_TOKEN}"}
        self.url = url
        self.client = httpx.AsyncClient(base_url=url, headers=headers, limits=limits, verify=NO_TLS, timeout=_PATIENCE)

    async def post(self, path: str, **body: object) -> Any:
        """What the API answers."""
        answer = await self.client.post(path, json=body)
        answer.raise_for_status()
        return answer.json()

    async def run(self, *entities: str) -> int:
        """One full run to its end."""
        body = {"mode": "backfill", **({"entities": entities} if entities else {})}
        run_id = int((await self.post("/api/admin/sync/run", **body))["runId"])
        async with self.client.stream("GET", f"/api/admin/sync/logs/stream?runId={run_id}") as feed:
            async for line in feed.aiter_lines():
                if '"type":"run-finished"' in line or '"type":"run-failed"' in line:
                    break
        return run_id


async def cold(browser: Watched, path: str) -> tuple[float, float, int, int]:
    """First and largest contentful paint (ms), bytes, requests of a load by a browser that knows nothing yet."""
    page = await browser.page("/healthz" if path == PAGE else "/login")
    client = await browser.context.new_cdp_session(page)
    await client.send("Network.clearBrowserCache")
    await page.goto(browser.url + path, wait_until="load")
    found: Any = None
    while found is None or found[0] is None:
        await page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        found = await page.evaluate(_COLD)
    await page.close()
    return float(found[0]), float(found[1]), int(found[2]), int(found[3])


@contextlib.asynccontextmanager
async def listening(site: Site, count: int) -> AsyncIterator[None]:
    """So many others that hear the feed."""

    async def hear(ready: asyncio.Event) -> None:
        async with site.client.stream("GET", "/api/admin/sync/logs/stream") as answer:
            ready.set()
            async for _ in answer.aiter_bytes():
                pass

    ready = [asyncio.Event() for _ in range(count)]
    tasks = [asyncio.create_task(hear(one)) for one in ready]
    try:
        await asyncio.gather(*(one.wait() for one in ready))
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def live(site: Site, browser: Watched, runs: int) -> list[tuple[float, float]]:
    """For each update: ms until its answer was there, and until its frame."""
    page = await browser.page()
    await page.add_init_script(_LIVE)
    await page.goto(browser.url + PAGE)
    await page.locator("#pulse-words", has_text="live").wait_for()
    async with listening(site, _LISTENERS):
        for _ in range(runs):
            run_id = await site.run("owners", "units")
            await page.locator(f"#run-row-{run_id}").wait_for()
    found = await page.evaluate("window.updates")
    await page.close()
    return [(answered - began, shown - began) for began, answered, shown in found]


async def measure(url: str, loads: int) -> bool:
    """Print the table; gives whether every aim was reached."""
    site = Site(url)
    await site.post("/api/admin/users", name="ana", password=PASSWORD, role="admin")
    for _ in range(12):
        await site.run()
    async with browsing(url) as browser:
        await browser.sign_in("ana")
        await cold(browser, PAGE)
        pages = [await cold(browser, PAGE) for _ in range(loads)]
        lines = [await cold(browser, "/healthz") for _ in range(loads)]
        browser.complaints.clear()  # a bare JSON document has no icon
        updates = await live(site, browser, 5)
    paints, kilobytes = sorted(one[0] for one in pages), max(one[2] for one in pages) / 1000
    shown = sorted(one[1] for one in updates)
    print("| what | aim | least | median | most |\n| --- | ---: | ---: | ---: | ---: |")
    rows = (
        (f"first contentful paint, {loads} cold loads, ms", f"< {FIRST_PAINT_MS}", paints),
        ("the largest contentful paint of these, ms", "", sorted(one[1] for one in pages)),
        ("first contentful paint of a page of one line, ms", "", sorted(one[0] for one in lines)),
        (f"{len(shown)} live updates, request to frame, {_LISTENERS} others listening, ms", f"< {UPDATE_MS}", shown),
        ("of that until the answer was there, ms", "", sorted(one[0] for one in updates)),
    )
    for words, aim, times in rows:
        print(f"| {words} | {aim} | {times[0]:.0f} | {median(times):.0f} | {times[-1]:.0f} |")
    print(f"| transfer, cold and compressed, kB, {pages[0][3]} requests | < {MOST_KB} | | {kilobytes:.0f} | |")
    return median(paints) < FIRST_PAINT_MS and kilobytes < MOST_KB and median(shown) < UPDATE_MS


@contextlib.contextmanager
def serving(command: Keepstep, environment: dict[str, str]) -> Iterator[str]:
    """``keepstep up``, and where it serves."""
    with command.start("up", "--json", **environment) as up:
        yield str(json.loads(up.until('"healthz"'))["url"])
        up.send(signal.SIGTERM)


def main() -> int:
    """Measure and print; 1 when an aim is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.page", description=__doc__)
    parser.add_argument("--loads", type=int, default=15)
    given = parser.parse_args()
    print(about(machine()), file=sys.stderr)
    with (
        keepstep(ADMIN_SYNC_TOKEN=ADMIN_TOKEN, DOORLOOP_PAGE_SIZE="20") as command,
        emulator(command, "--leases", "300") as upstream,
        serving(command, upstream.environment) as url,
    ):
        upstream.command("poison", entity="leases", kind="nul-in-text", count=12)
        return 0 if asyncio.run(measure(url, given.loads)) else 1


if __name__ == "__main__":
    sys.exit(main())

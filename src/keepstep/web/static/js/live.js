// Parts of the page are kept up to date: news marks them, one request fetches all that are marked.
import { learn, now, tick } from "./clock.js";

const EVERY = 15000;
const AT_MOST = 500;
const RESTS = 8000;
const room = document.getElementById("room");
const marked = new Set();
let underWay = false;
let timer = null;
let pointed = -Infinity;
let lastTime = performance.now();
let alone = true;
export const state = { updated: now(), failed: 0, seen: () => 0 };

const parts = () => [...document.querySelectorAll("[data-part]")].map((part) => part.dataset.part);

/** Parts have news; without names all of them have. ``soon``: somebody has done something, and waits for it. */
export function mark(names = parts(), { soon = false } = {}) {
  for (const name of names) marked.add(name);
  alone ||= soon;
  if (timer !== null && !soon) return;
  clearTimeout(timer);
  const wait = soon ? 0 : Math.max(AT_MOST - (performance.now() - lastTime), 0);
  timer = setTimeout(fetchMarked, wait);
}

/** Rows stay where they are while somebody points at them: until the pointer has gone, or has rested for a while. */
function isHeld(name) {
  if (performance.now() - pointed > RESTS) return false;
  return document.getElementById(`part-${name}`).querySelector("tbody:hover, [data-hold]:hover") !== null;
}

for (const kind of ["pointermove", "pointerdown", "wheel"]) {
  document.addEventListener(kind, () => { pointed = performance.now(); }, { passive: true });
}

async function fetchMarked() {
  timer = null;
  if (underWay) return;
  const present = new Set(parts());
  const names = [...marked].filter((name) => present.has(name) && !isHeld(name));
  if (!names.length) {
    if (marked.size) timer = setTimeout(fetchMarked, AT_MOST);
    return;
  }
  for (const name of names) marked.delete(name);
  underWay = true;
  lastTime = performance.now();
  try {
    await update(names);
    state.updated = now();
    state.failed = 0;
  } catch (problem) {
    state.failed += 1;
    state.signedOut = problem.status === 401;
    for (const name of names) marked.add(name);
  } finally {
    underWay = false;
    document.dispatchEvent(new Event("updated"));
    if (marked.size && timer === null) timer = setTimeout(fetchMarked, state.failed ? Math.min(1000 * 2 ** state.failed, 10000) : AT_MOST);
  }
}

async function update(names) {
  const query = new URLSearchParams({ integration: room.dataset.integration, parts: names.join(",") });
  if (!alone && state.seen()) query.set("seen", state.seen()); // pages that heard the same may share an answer
  alone = false;
  const response = await fetch(`/systems/integrations/live?${query}`, {
    headers: { accept: "text/html", "hx-request": "true" }, signal: AbortSignal.timeout(20000),
  });
  if (!response.ok) throw Object.assign(new Error("no update"), { status: response.status });
  learn(response);
  await window.htmx.swap({ text: await response.text(), swap: "none", sourceElement: document.body, target: document.body });
  tick();
}

document.addEventListener("acted", () => mark(undefined, { soon: true }));
document.addEventListener("visibilitychange", () => { if (!document.hidden) mark(); });
setInterval(() => mark(), EVERY);

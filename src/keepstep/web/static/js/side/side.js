// The pages beside the control center: one part that is fetched again after an act, when there is news, and now and then.
// The filter of a list stands in the address, and so does what is open beside it.
import "../forms.js";
import { iso, learn, now, tick } from "../clock.js";
import { Feed } from "../feed.js";

const RESTS = 8000;
const place = document.querySelector("[data-refresh]");
const AT_MOST = Number(place?.dataset.atMost ?? 500); // milliseconds between two
const drawer = document.getElementById("drawer");
const pulse = { dot: document.getElementById("pulse-dot"), words: document.getElementById("pulse-words"), time: document.getElementById("pulse-time") };
const SHOWN = { live: ["live", "dot dot-good"], interrupted: ["reconnecting", "dot dot-warn dot-pulse"], "signed-out": ["signed out", "dot dot-bad"] };
let feed = null;
let failed = 0;
let pointed = -Infinity;
let last = -Infinity;
let busy = false;
let again = false;
let timer = null;

/** Fetch it again: at once after something was done, else when nobody points at a row or has ticked one. */
function refresh({ soon = false } = {}) {
  if (!place) return;
  if (busy) { again ||= soon; return; }
  if (!soon && isHeld()) return;
  clearTimeout(timer);
  timer = setTimeout(fetchIt, soon ? 0 : Math.max(AT_MOST - (performance.now() - last), 0));
}

function isHeld() {
  if (document.hidden || place.querySelector("input[name='ids[]']:checked")) return true;
  return performance.now() - pointed < RESTS && place.querySelector("[data-hold]:hover") !== null;
}

async function fetchIt() {
  busy = true;
  last = performance.now();
  const address = location.href;
  try {
    const response = await fetch(address, { headers: { accept: "text/html", "hx-request": "true" }, signal: AbortSignal.timeout(20000), cache: "no-store" });
    if (response.status === 401) return signedOut();
    if (!response.ok) throw new Error("refused");
    learn(response);
    const text = await response.text();
    if (address !== location.href) { again = true; return; } // the filter has changed meanwhile
    await window.htmx.swap({ text, swap: "innerMorph", target: place, sourceElement: place });
    failed = 0;
    document.title = place.querySelector("[data-page-title]")?.dataset.pageTitle ?? document.title;
    if (pulse.time) pulse.time.dateTime = iso(now());
    if (place.querySelector("[data-ended='true']")) quiet();
    tick();
  } catch {
    failed += 1;
    timer = setTimeout(fetchIt, Math.min(1000 * 2 ** failed, 10000));
  } finally {
    busy = false;
    tell();
    if (again) { again = false; refresh({ soon: true }); }
  }
}

/** The run is over: nothing of it will be new, and its page stops saying that it is live. */
function quiet() {
  document.getElementById("pulse")?.remove();
}

function tell() {
  document.getElementById("side-away").hidden = failed < 2;
  const state = failed ? "interrupted" : feed ? feed.state : "live";
  const [words, dot] = SHOWN[state] ?? ["connecting", "dot"];
  if (!pulse.words) return;
  if (pulse.words.textContent !== words) pulse.words.textContent = words;
  pulse.dot.className = dot;
}

function signedOut() {
  const banner = document.getElementById("side-session");
  banner.querySelector("a").href = `/login?next=${encodeURIComponent(location.pathname + location.search)}`;
  banner.hidden = false;
}

function change(values) {
  const address = new URL(location.href);
  for (const [name, value] of Object.entries(values)) {
    if (value) address.searchParams.set(name, value); else address.searchParams.delete(name);
  }
  history.replaceState(history.state, "", address);
}

document.addEventListener("input", (event) => {
  const form = event.target.closest?.("form[data-filter]");
  if (!form) return;
  change({ ...Object.fromEntries(new FormData(form)), before: "", after: "" });
  refresh({ soon: true });
});
document.addEventListener("submit", (event) => { if (event.target.matches("form[data-filter]")) event.preventDefault(); });

document.addEventListener("acted", (event) => {
  const form = event.target.closest?.("form[data-clears]");
  if (form && event.detail.answer) form.reset();
  if (event.detail.answer && drawer.open && drawer.contains(event.target)) drawer.close();
  if (event.detail.answer && Array.isArray(event.detail.answer)) {
    for (const box of document.querySelectorAll("#letters input:checked")) box.checked = false;
  }
  refresh({ soon: true });
});

drawer.addEventListener("opened", () => {
  const letter = drawer.querySelector("[data-letter]")?.dataset.letter;
  if (letter) change({ id: letter });
});
drawer.addEventListener("close", () => change({ id: "" }));
const id = new URL(location.href).searchParams.get("id");
if (/^[0-9]+$/.test(id ?? "") && document.getElementById("letters")) {
  window.htmx.ajax("GET", `/systems/integrations/drawer/letters/${id}`, { target: "#drawer-body", swap: "innerHTML" });
}

for (const kind of ["pointermove", "pointerdown", "wheel"]) {
  document.addEventListener(kind, () => { pointed = performance.now(); }, { passive: true });
}
if (place?.dataset.feed) {
  feed = new Feed(place.dataset.feed);
  feed.addEventListener("state", ({ detail }) => (detail === "signed-out" ? signedOut() : tell()));
  feed.addEventListener("open", () => refresh());
  feed.addEventListener("lines", () => refresh());
}
if (place?.dataset.every) setInterval(() => refresh(), 1000 * Number(place.dataset.every));
if (place?.dataset.feed && !place.dataset.every) setInterval(() => refresh(), 15000);
document.addEventListener("visibilitychange", () => { if (!document.hidden && (feed || place?.dataset.every)) refresh(); });
tell();
if (document.getElementById("raw")) import("./raw.js");
if (document.getElementById("new-token") || document.querySelector("[data-same-as]")) import("./accounts.js");

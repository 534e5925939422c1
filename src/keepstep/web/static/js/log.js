// The live log: the newest 200 lines that pass the filter, however many come. History is fetched, the rest is the feed's.
import { toast } from "./toasts.js";

const MOST = 200;
const LEVELS = ["debug", "info", "warning", "error"];
const place = document.getElementById("log");
const filter = document.getElementById("log-filter");
const pauseButton = document.getElementById("log-pause");
const followButton = document.getElementById("log-follow");
const note = document.getElementById("log-note");
const count = document.getElementById("log-count");

let waiting = [];      // what came and is not shown yet, at most MOST
let unseen = 0;        // how many came while paused
let heard = 0;
let paused = false;
let following = true;
let loading = null;    // lines that came while history was being fetched
let frame = 0;
let marked = Number(place.dataset.line) || null;

const wanted = () => Object.fromEntries(new FormData(filter));
const nameOf = (line) => `${line.ts}|${line.runId}|${line.entity ?? ""}|${line.msg}`;

function passes(line, { entity, level, runId }) {
  return (!entity || line.entity === entity)
    && (!level || LEVELS.indexOf(line.level) >= LEVELS.indexOf(level))
    && (!runId || String(line.runId) === runId);
}

/** Lines of the feed. */
export function hear(lines) {
  heard += lines.length;
  if (loading) { loading.push(...lines); if (loading.length > 5 * MOST) loading.splice(0, loading.length - 5 * MOST); return; }
  const asked = wanted();
  const passing = lines.filter((line) => passes(line, asked));
  if (!passing.length) return;
  waiting.push(...passing);
  if (waiting.length > MOST) waiting.splice(0, waiting.length - MOST);
  if (paused) { unseen += passing.length; tell(); return; }
  frame ||= document.hidden ? setTimeout(show, 1000) : requestAnimationFrame(show);
}

/** Begin again: what was told before, and then what the feed said meanwhile. */
export async function load() {
  const asked = wanted();
  const query = new URLSearchParams({ ...asked, limit: String(MOST) });
  if (marked) query.set("before", String(marked + MOST / 2));
  const mine = loading = [];
  try {
    const response = await fetch(`/api/admin/sync/logs?${query}`, { headers: { accept: "application/json" } });
    if (!response.ok || loading !== mine) { if (loading === mine) loading = null; return; }
    const lines = await response.json();
    const known = new Set(lines.map(nameOf));
    if (loading !== mine) return;
    loading = null;
    place.replaceChildren(...lines.map(row));
    waiting = [];
    if (marked) { pause(true); mark(); } else hear(mine.filter((line) => !known.has(nameOf(line))));
    tell();
    if (following && !marked) place.scrollTop = place.scrollHeight;
  } catch {
    if (loading === mine) loading = null;
  }
}

function show() {
  frame = 0;
  if (paused) return;
  const lines = waiting;
  waiting = [];
  place.append(...lines.map(row));
  while (place.childElementCount > MOST) place.firstElementChild.remove();
  tell();
  if (following) place.scrollTop = place.scrollHeight;
}

function row(line) {
  const element = document.createElement("div");
  element.className = `log-line is-${line.level}`;
  if (line.id) element.dataset.id = line.id;
  const time = document.createElement("time");
  time.dateTime = line.ts;
  time.title = `${line.ts}${line.id ? " · click to link to this line" : ""}`;
  time.textContent = line.ts.slice(11, 23).padEnd(12, "0").replace("Z", "0");
  element.append(time, part("level", line.level), part("faint", line.entity ?? ""), part("faint", `#${line.runId}`), part("msg", line.msg));
  return element;
}

function part(name, words) {
  const span = document.createElement("span");
  span.className = name;
  span.textContent = words;
  return span;
}

function tell() {
  const shown = place.childElementCount;
  note.textContent = paused && unseen ? `Paused; ${unseen.toLocaleString("en")} new ${unseen === 1 ? "line" : "lines"} waiting.`
    : paused ? "Paused." : shown ? "" : "No line passes the filter yet.";
  count.textContent = shown ? `${shown} ${shown === 1 ? "line" : "lines"}${shown === MOST ? ", the newest" : ""}` : "";
}

function pause(now) {
  paused = now;
  pauseButton.setAttribute("aria-pressed", String(paused));
  pauseButton.querySelector("span").textContent = paused ? "Go on" : "Pause";
  if (!paused) {
    const missed = unseen > MOST || marked;
    unseen = 0;
    marked = null;
    follow(true);
    keepInAddress();
    missed ? load() : show();
  }
  tell();
}

function follow(now) {
  following = now;
  followButton.setAttribute("aria-pressed", String(following));
  if (following) place.scrollTop = place.scrollHeight;
}

function mark() {
  place.querySelector("[data-marked]")?.removeAttribute("data-marked");
  const element = place.querySelector(`[data-id="${marked}"]`);
  if (!element) return;
  element.dataset.marked = "";
  element.scrollIntoView({ block: "center" });
  place.closest("section").scrollIntoView({ block: "nearest" });
}

function keepInAddress() {
  const address = new URL(location.href);
  for (const [name, value] of Object.entries({ ...wanted(), line: marked ?? "" })) {
    if (value) address.searchParams.set(name, value); else address.searchParams.delete(name);
  }
  history.replaceState(history.state, "", address);
}

const text = () => [...place.children].map((line) => [...line.children].map((cell) => cell.textContent).join("  ")).join("\n");

filter.addEventListener("input", () => { marked = null; keepInAddress(); load(); });
filter.addEventListener("submit", (event) => event.preventDefault());
pauseButton.addEventListener("click", () => pause(!paused));
followButton.addEventListener("click", () => follow(!following));
place.addEventListener("scroll", () => {
  const end = place.scrollHeight - place.scrollTop - place.clientHeight < 30;
  if (following !== end && (end || !frame)) { following = end; followButton.setAttribute("aria-pressed", String(end)); }
});
place.addEventListener("click", (event) => {
  const line = event.target.closest("time")?.closest("[data-id]");
  if (!line) return;
  marked = Number(line.dataset.id);
  if (!paused) pause(true);
  mark();
  keepInAddress();
});
document.getElementById("log-copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(text());
    toast("good", `${place.childElementCount} lines are copied.`);
  } catch {
    toast("bad", "The browser does not let the page copy.", "Mark the lines and copy them yourself.");
  }
});
document.getElementById("log-download").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([`${text()}\n`], { type: "text/plain" }));
  link.download = `keepstep-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.log`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});

export const heardSoFar = () => heard;

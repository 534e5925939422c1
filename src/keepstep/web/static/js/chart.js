// What is left of upstream's limit over the last hour; waits and 429s are marked. uPlot is loaded when it is in sight.
import { iso, now } from "./clock.js";
const place = document.getElementById("rate-chart");
const room = document.getElementById("room");
const note = document.getElementById("rate-note");
const EVERY = 15000;
let chart = null;
let samples = [];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--color-${name}`).trim();

function library() {
  if (window.uPlot) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL("../dist/uplot.min.js", import.meta.url).href;
    script.addEventListener("load", resolve);
    script.addEventListener("error", reject);
    document.head.append(script);
  });
}

/** Waits that tell something: the pause between two requests that our own pace asks for does not. */
const waited = (one) => one.waitedMs > 0 && one.cause !== "retry-after" && one.cause !== "answer";

function columns() {
  const last = samples.findLast((one) => one.limit !== null);
  const top = last?.limit ?? 1;
  return [
    samples.map((one) => Date.parse(one.ts) / 1000),
    samples.map((one) => one.remaining),
    samples.map((one) => (waited(one) ? one.remaining ?? top / 2 : null)),
    samples.map((one) => (one.cause === "retry-after" ? one.remaining ?? 0 : null)),
  ];
}

function draw() {
  chart?.destroy();
  place.replaceChildren();
  const points = (name) => ({ show: true, size: 6, fill: colour(name), stroke: colour(name) });
  const axis = { stroke: colour("ink-faint"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
  const hour = Date.now() / 1000;
  chart = new window.uPlot({
    width: place.clientWidth, height: place.clientHeight, tzDate: (seconds) => window.uPlot.tzDate(new Date(seconds * 1000), "UTC"),
    cursor: { points: { size: 6 } }, legend: { show: false },
    scales: { x: { range: () => [hour - 3600, hour] }, y: { range: (_, __, most) => [0, Math.max(most ?? 1, 1)] } },
    axes: [{ ...axis, space: 60, size: 22, values: "{HH}:{mm}" }, { ...axis, size: 34, space: 30, show: samples.some((one) => one.remaining !== null) }],
    series: [
      {},
      { stroke: colour("accent"), width: 1.5, fill: colour("accent-soft"), points: { show: samples.length < 3 } },
      { paths: () => null, points: points("warn-solid") },
      { paths: () => null, points: points("bad-solid") },
    ],
    hooks: { setCursor: [(self) => {
      const one = samples[self.cursor.idx];
      note.textContent = one ? `${one.ts.slice(11, 19)}: ${one.remaining ?? "–"} left${one.waitedMs ? `, waited ${one.waitedMs} ms (${one.cause})` : ""}` : "the last hour";
    }] },
  }, columns(), place);
}

async function refresh() {
  if (document.hidden || !place.isConnected) return;
  try {
    const response = await fetch(`/api/admin/sync/rate-limit?window=1h&integration=${room.dataset.integration}`);
    if (!response.ok) return;
    samples = [...await response.json(), ...present()];
  } catch {
    return; // the banner says it
  }
  place.setAttribute("aria-label", described());
  if (samples.every((one) => one.remaining === null && one.cause !== "retry-after" && !waited(one))) {
    chart?.destroy();
    chart = null;
    place.textContent = samples.length ? "Upstream has told nothing of its limits in the last hour." : "No request in the last hour.";
    return;
  }
  await library();
  draw();
}

/** What the panel says is left: samples are taken now and then, and the last one may be from before it was told. */
function present() {
  const told = document.querySelector("#limits [data-left]")?.dataset;
  return told ? [{ ts: iso(now()), limit: Number(told.limit), remaining: Number(told.left), reset: null, waitedMs: 0, cause: "answer" }] : [];
}

function described() {
  const last = samples.at(-1);
  const waits = samples.filter(waited).length;
  const refused = samples.filter((one) => one.cause === "retry-after").length;
  return last ? `Requests left in the last hour: ${last.remaining ?? "not known"} now; ${waits} waits, ${refused} times 429` : "No request in the last hour";
}

new ResizeObserver(() => { if (chart) chart.setSize({ width: place.clientWidth, height: place.clientHeight }); }).observe(place);
document.addEventListener("theme", () => { if (chart) draw(); });
setInterval(refresh, EVERY);
refresh();

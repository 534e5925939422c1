// The control center: one feed for news and the log; parts that are fetched when there is news of them.
import { Feed } from "./feed.js";
import { feedIs } from "./liveness.js";
import { mark, state } from "./live.js";
import { hear, load } from "./log.js";
import "./forms.js";
import "./runs.js";

const OF_A_PAGE = ["glance", "run", "card"];
const feed = new Feed("/api/admin/sync/logs/stream");
let opened = false;
state.seen = () => feed.seen;

feed.addEventListener("state", ({ detail }) => feedIs(detail));
feed.addEventListener("open", () => {
  if (!opened) load();
  else mark();
  opened = true;
});
feed.addEventListener("lines", ({ detail }) => {
  hear(detail);
  mark(detail.every((line) => line.type === "page") ? OF_A_PAGE : undefined);
});
document.addEventListener("htmx:after:swap", ({ detail }) => {
  if (detail.ctx?.target?.id === "ping") mark(undefined, { soon: true }); // what it said stands in other parts as well
});
setTimeout(() => { if (!opened) load(); }, 2000);

const chart = document.getElementById("rate-chart");
new IntersectionObserver((entries, observer) => {
  if (!entries.some((entry) => entry.isIntersecting)) return;
  observer.disconnect();
  import("./chart.js");
}, { rootMargin: "400px" }).observe(chart);

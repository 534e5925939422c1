// Relative times that go on. The words are those of filters.py.
const UNITS = [["d", 86400], ["h", 3600], ["min", 60]];
let skew = 0;

/** Now on the server's clock, in milliseconds: what a page says of "ago" must not depend on the browser's clock. */
export const now = () => Date.now() + skew;

/** Learn the server's clock from an answer's Date header; whole seconds are good enough. */
export function learn(answer) {
  const date = Date.parse(answer.headers.get("date") ?? "");
  if (!Number.isNaN(date) && Math.abs(date - now()) > 2000) skew = date - Date.now();
}

export const iso = (milliseconds) => new Date(milliseconds).toISOString();

export function span(seconds) {
  for (const [unit, size] of UNITS) if (seconds >= 2 * size) return `${Math.round(seconds / size)} ${unit}`;
  return `${Math.round(seconds)} s`;
}

export function relative(then, at = now()) {
  const seconds = (at - then) / 1000;
  if (Math.abs(seconds) < 1) return "now";
  return seconds > 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`;
}

export function left(then, at = now()) {
  const seconds = Math.max(Math.round((then - at) / 1000), 0);
  const two = (number) => String(number).padStart(2, "0");
  const minutes = Math.floor(seconds / 60);
  if (seconds < 3600) return `${minutes}:${two(seconds % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(seconds % 60)}`;
}

// As reliability/span.py says it.
const STEPS = [[47.5 * 3600, 86400, "day"], [59.5 * 60, 3600, "hour"], [30, 60, "minute"]];

export function ahead(then, at = now()) {
  const seconds = (then - at) / 1000;
  if (seconds <= 0) return "now";
  for (const [least, unit, name] of STEPS) {
    const count = Math.max(1, Math.round(seconds / unit));
    if (seconds >= least) return `in ${count} ${name}${count > 1 ? "s" : ""}`;
  }
  return "in less than a minute";
}

function put(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

/** Bring every time on the page up to date, now and each second while somebody can see it. */
export function tick() {
  const at = now();
  for (const element of document.querySelectorAll("time[data-ago]")) put(element, relative(Date.parse(element.dateTime), at));
  for (const element of document.querySelectorAll("time[data-left]")) put(element, left(Date.parse(element.dateTime), at));
  for (const element of document.querySelectorAll("time[data-ahead]")) put(element, ahead(Date.parse(element.dateTime), at));
  document.dispatchEvent(new Event("tick"));
}

setInterval(() => { if (!document.hidden) tick(); }, 1000);
document.addEventListener("visibilitychange", () => { if (!document.hidden) tick(); });

// What the page says about itself: whether news arrive, how old it is, how much is wrong.
import { iso, now } from "./clock.js";
import { state as updates } from "./live.js";

const GRACE = 3000;
const words = { connecting: "connecting", live: "live", interrupted: "reconnecting", "signed-out": "signed out" };
const tones = { connecting: "dot", live: "dot dot-good", interrupted: "dot dot-warn dot-pulse", "signed-out": "dot dot-bad" };
let feedState = "connecting";
let since = Date.now();

const banner = (name) => document.getElementById(`banner-${name}`);

function put(element, hidden) { if (element.hidden !== hidden) element.hidden = hidden; }

export function feedIs(state) {
  feedState = state;
  since = Date.now();
  paint();
}

function paint() {
  const away = updates.failed > 0;
  const signedOut = updates.signedOut || feedState === "signed-out";
  const shown = signedOut ? "signed-out" : away && feedState === "live" ? "interrupted" : feedState;
  const label = document.getElementById("pulse-words");
  if (label.textContent !== words[shown]) label.textContent = words[shown];
  document.getElementById("pulse-dot").className = tones[shown];
  const time = document.getElementById("pulse-time");
  const updated = iso(updates.updated);
  if (time.dateTime !== updated) time.dateTime = updated;
  const late = Date.now() - since > GRACE;
  put(banner("session"), !signedOut);
  if (signedOut) banner("session").querySelector("a").href = `/login?next=${encodeURIComponent(location.pathname + location.search)}`;
  put(banner("away"), signedOut || !(away && updates.failed > 1));
  put(banner("feed"), signedOut || (away && updates.failed > 1) || !(feedState === "interrupted" && late));
}

function trouble() {
  const found = document.getElementById("troubles");
  const room = document.getElementById("room");
  if (!found || !room) return;
  const problems = Number(found.dataset.problems);
  const worst = updates.failed > 1 ? "act" : found.dataset.worst;
  document.title = `${problems ? `(${problems}) ` : ""}${room.dataset.title} · Keepstep`;
  const icon = document.getElementById("favicon");
  const href = worst === "act" ? icon.dataset.bad : worst === "retrying" ? icon.dataset.warn : icon.dataset.calm;
  if (icon.getAttribute("href") !== href) icon.setAttribute("href", href);
}

document.addEventListener("updated", () => { paint(); trouble(); });
document.addEventListener("tick", paint);
trouble();
paint();

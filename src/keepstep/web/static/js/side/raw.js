// The raw state: what the API answers, as it is, over and over.
import { toast } from "../toasts.js";

const place = document.getElementById("raw-text");
const choice = document.getElementById("raw-show");
const link = document.getElementById("raw-address");
const note = document.getElementById("raw-note");
const pauseButton = document.getElementById("raw-pause");
const addresses = document.getElementById("raw-addresses").content;
const EVERY = 1000 * Number(document.getElementById("raw").dataset.rawEvery);
let paused = false;
let asked = 0;

async function look() {
  const mine = ++asked;
  const address = addresses.getElementById(`raw-of-${choice.value}`).getAttribute("href");
  link.textContent = address;
  link.href = address;
  const began = performance.now();
  try {
    const response = await fetch(address, { headers: { accept: "application/json, text/plain" }, signal: AbortSignal.timeout(20000), cache: "no-store" });
    const text = await response.text();
    if (mine !== asked) return;
    put(pretty(text));
    note.textContent = `${response.status} in ${Math.round(performance.now() - began)} ms, ${new Date().toISOString().slice(11, 19)} UTC`;
  } catch {
    if (mine === asked) note.textContent = "No answer.";
  }
}

function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

/** What somebody is marking with the pointer stays until they are done. */
function put(text) {
  const marked = getSelection();
  if (place.textContent === text || (!marked.isCollapsed && place.contains(marked.anchorNode))) return;
  place.textContent = text;
}

choice.addEventListener("input", () => {
  const address = new URL(location.href);
  address.searchParams.set("show", choice.value);
  history.replaceState(history.state, "", address);
  place.scrollTop = 0;
  look();
});
pauseButton.addEventListener("click", () => {
  paused = !paused;
  pauseButton.setAttribute("aria-pressed", String(paused));
  pauseButton.querySelector("span").textContent = paused ? "Go on" : "Pause";
  if (!paused) look();
});
document.getElementById("raw-copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(place.textContent);
    toast("good", "It is copied.");
  } catch {
    toast("bad", "The browser does not let the page copy.", "Mark the text and copy it yourself.");
  }
});
document.addEventListener("acted", () => { if (!paused) look(); });
setInterval(() => { if (!paused && !document.hidden) look(); }, EVERY);
look();

// Keys for what is done often. A button names its own with data-key; "?" lists them.
const EXTRA = [["?", "This list"], ["g", "Then r, l, d, h, e: runs, log, dead letters, held runs, errors"], ["Esc", "Close what is open"]];
const PLACES = { r: "runs", l: "logs", d: "letters", h: "held", e: "errors" };
let going = 0;

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest?.("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]")) return;
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "?") return show();
  if (Date.now() - going < 1500 && PLACES[event.key]) {
    going = 0;
    event.preventDefault();
    return go(PLACES[event.key]);
  }
  if (event.key === "g") { going = Date.now(); return; }
  const target = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (!target || !target.checkVisibility?.()) return;
  event.preventDefault();
  target.matches("input, select") ? target.focus() : target.click();
});

document.addEventListener("click", (event) => { if (event.target.closest?.("[data-shortcuts]")) show(); });

function go(id) {
  const place = document.getElementById(id);
  if (!place) return;
  place.scrollIntoView({ block: "start" });
  (place.querySelector("a[href], button, input, select") ?? place.querySelector("[tabindex]") ?? place).focus({ preventScroll: true });
}

function show() {
  const list = document.getElementById("shortcut-list");
  list.replaceChildren();
  const keyed = [...document.querySelectorAll("[data-key]")].filter((one) => one.checkVisibility?.());
  const named = keyed.map((one) => [one.dataset.key, (one.dataset.keyWords || one.getAttribute("aria-label") || one.textContent).trim().split(". ")[0]]);
  for (const [key, words] of [...named, ...EXTRA]) {
    const term = document.createElement("dt");
    const cap = document.createElement("kbd");
    cap.textContent = key;
    term.append(cap);
    const text = document.createElement("dd");
    text.textContent = words;
    list.append(term, text);
  }
  document.getElementById("shortcuts").showModal();
}

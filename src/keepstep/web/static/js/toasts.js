// Short answers to what was pressed. They go by themselves, but not while they are read, and never when they are bad news.
const LASTS = 6000;
const MOST = 4;

export function toast(tone, title, text = "") {
  const place = document.getElementById("toasts");
  const made = document.getElementById(`toast-${tone}`).content.firstElementChild.cloneNode(true);
  made.querySelector("strong").textContent = title;
  const words = made.querySelector("p");
  if (text) words.textContent = text; else words.remove();
  made.querySelector("button").addEventListener("click", () => made.remove());
  place.append(made);
  while (place.childElementCount > MOST) place.firstElementChild.remove();
  if (place.showPopover) { place.hidePopover?.(); place.showPopover(); } // above an open dialog, too
  if (tone !== "bad") fade(made);
}

function fade(element) {
  let timer = setTimeout(() => element.remove(), LASTS);
  element.addEventListener("pointerenter", () => clearTimeout(timer));
  element.addEventListener("pointerleave", () => { timer = setTimeout(() => element.remove(), LASTS / 2); });
}

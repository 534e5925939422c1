// The drawer, and the question before an act. <dialog> does the rest: Esc closes, focus stays inside and returns.
import { toast } from "./toasts.js";

const drawer = () => document.getElementById("drawer");
let opener = null;

document.addEventListener("click", (event) => {
  const target = event.target;
  if (!(target instanceof Element)) return;
  const close = target.closest("[data-close]");
  if (close) close.closest("dialog")?.close();
  if (target instanceof HTMLDialogElement && isOutside(target, event)) target.close();
  const menu = target.closest("details.menu");
  for (const open of document.querySelectorAll("details.menu[open]")) if (open !== menu) open.open = false;
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const open of document.querySelectorAll("details.menu[open]")) {
    open.open = false;
    open.querySelector("summary").focus();
  }
});

function isOutside(dialog, event) {
  const box = dialog.getBoundingClientRect();
  return event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom;
}

// A row opens what its first link opens.
document.addEventListener("click", (event) => {
  const row = event.target.closest?.("tr[data-opens]");
  if (!row || event.target.closest("a, button, input, label, summary") || String(getSelection())) return;
  row.querySelector("a[hx-get]")?.click();
});

// By its target and not by any swap: a live update must not open it again.
document.addEventListener("htmx:before:request", (event) => {
  const context = event.detail.ctx;
  if (context?.target?.id === "drawer-body") opener = context.sourceElement;
});
document.addEventListener("htmx:after:swap", (event) => {
  const context = event.detail.ctx;
  if (context?.target?.id !== "drawer-body") return;
  const dialog = drawer();
  const title = dialog.querySelector("[data-title]")?.dataset.title;
  if (title) document.getElementById("drawer-title").textContent = title;
  if (!dialog.open) dialog.showModal();
  document.getElementById("drawer-body").scrollTop = 0;
  dialog.dispatchEvent(new Event("opened"));
});
// What was asked for and refused is told, not put in its place.
document.addEventListener("htmx:before:swap", (event) => {
  const context = event.detail.ctx;
  const status = context?.response?.status ?? 200;
  if (status < 400) return;
  event.preventDefault();
  let problem = {};
  try { problem = JSON.parse(context.text); } catch { /* an answer of a proxy, perhaps */ }
  toast("bad", problem.detail ?? `It was refused (${status}).`, problem.fix ?? "");
});
document.addEventListener("htmx:error", (event) => {
  if (event.detail.ctx) toast("bad", "Keepstep does not answer", "Try again once the page is connected.");
});
document.addEventListener("DOMContentLoaded", watch);
if (document.readyState !== "loading") watch();

function watch() {
  const dialog = drawer();
  if (!dialog || dialog.dataset.watched) return;
  dialog.dataset.watched = "";
  dialog.addEventListener("close", () => {
    if (opener?.isConnected) opener.focus();
    opener = null;
  });
}

/** Ask before an act; gives the reason ("" where none is asked for), or null when it is not to be done. */
export function ask({ title, text, yes, needsReason }) {
  const dialog = document.getElementById("confirm");
  const field = document.getElementById("confirm-reason-field");
  const reason = document.getElementById("confirm-reason");
  document.getElementById("confirm-title").textContent = title;
  document.getElementById("confirm-text").textContent = text;
  document.getElementById("confirm-yes").textContent = yes;
  field.hidden = !needsReason;
  reason.required = needsReason;
  reason.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  (needsReason ? reason : document.getElementById("confirm-yes")).focus();
  return new Promise((resolve) => {
    const form = dialog.querySelector("form");
    let answer = null;
    const submit = () => { answer = needsReason ? reason.value.trim() : ""; };
    form.addEventListener("submit", submit);
    dialog.addEventListener("close", () => {
      form.removeEventListener("submit", submit);
      resolve(needsReason && answer === "" ? null : answer);
    }, { once: true });
  });
}

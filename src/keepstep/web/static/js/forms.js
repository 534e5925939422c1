// Small manners of forms: what is not saved yet can be saved or undone; one box ticks all.
document.addEventListener("input", (event) => {
  const form = event.target.closest?.("form[data-dirty]");
  if (form) unsaved(form, true);
  const all = event.target.dataset?.all;
  if (all) for (const box of document.getElementById(all).querySelectorAll("input[name='ids[]']")) box.checked = event.target.checked;
});
document.addEventListener("reset", (event) => {
  const form = event.target.closest?.("form[data-dirty]");
  if (form) unsaved(form, false);
});
document.addEventListener("acted", (event) => {
  const form = event.target.closest?.("form[data-dirty]");
  if (!form || !event.detail.answer) return;
  unsaved(form, false);
  for (const secret of form.querySelectorAll("input[type='password']")) secret.value = "";
});

/** What is not saved yet is left alone by live updates (morphSkip in pages/layout.html). */
function unsaved(form, is) {
  form.querySelector("[data-save]").hidden = !is;
  form.toggleAttribute("data-unsaved", is);
}

document.addEventListener("change", (event) => {
  if (event.target.id === "connection") event.target.form.requestSubmit();
  if (event.target.form?.id === "run-form" && event.target.name === "mode") {
    const since = document.getElementById("run-since");
    since.disabled = event.target.value === "backfill"; // a backfill reads everything
  }
});

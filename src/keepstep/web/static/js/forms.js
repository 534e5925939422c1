// Small manners of forms: what is not saved yet can be saved or undone; one box ticks all.
document.addEventListener("input", (event) => {
  const form = event.target.closest?.("form[data-dirty]");
  if (form) form.querySelector("[data-save]").hidden = false;
  const all = event.target.dataset?.all;
  if (all) for (const box of document.getElementById(all).querySelectorAll("input[name='ids[]']")) box.checked = event.target.checked;
});
document.addEventListener("reset", (event) => {
  const form = event.target.closest?.("form[data-dirty]");
  if (form) form.querySelector("[data-save]").hidden = true;
});
document.addEventListener("acted", (event) => {
  const form = event.target.closest?.("form[data-dirty]");
  if (form && event.detail.answer) form.querySelector("[data-save]").hidden = true;
});
document.addEventListener("change", (event) => {
  if (event.target.id === "connection") event.target.form.requestSubmit();
  if (event.target.form?.id === "run-form" && event.target.name === "mode") {
    const since = document.getElementById("run-since");
    since.disabled = event.target.value === "backfill"; // a backfill reads everything
  }
});

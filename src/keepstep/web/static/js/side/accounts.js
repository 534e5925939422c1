// A new token is shown once, and leaves the page when its owner has it; a new password is typed twice.
import { toast } from "../toasts.js";

const panel = document.getElementById("new-token");
const text = document.getElementById("new-token-text");

document.addEventListener("acted", (event) => {
  const token = event.detail.answer?.token;
  if (!panel || !token) return;
  text.textContent = token;
  panel.hidden = false;
  text.focus();
});
document.getElementById("new-token-copy")?.addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(text.textContent);
    toast("good", "The token is copied.");
  } catch {
    toast("bad", "The browser does not let the page copy.", "Mark the token and copy it yourself.");
  }
});
document.getElementById("new-token-done")?.addEventListener("click", () => {
  text.textContent = "";
  panel.hidden = true;
});

document.addEventListener("input", (event) => {
  for (const field of document.querySelectorAll("[data-same-as]")) {
    if (event.target !== field && event.target.id !== field.dataset.sameAs) continue;
    const other = document.getElementById(field.dataset.sameAs);
    field.setCustomValidity(field.value && field.value !== other.value ? "The two are not the same." : "");
  }
});

// Buttons and forms that do something call the same API as everybody else, and say what became of it.
//
//   data-act="post:/api/..."   what is called          data-body='{"id": 1}'   what is sent (a form sends its fields)
//   data-done="Run {runId} is queued."  said when it went well; names in braces are members of the answer (of a list: how
//   many it has)
//   data-confirm="Title" data-confirm-text="..." [data-reason]   asked first; the reason becomes the member "reason" of
//   the body, or the one that data-reason="note" names
//   data-fields="form" [data-needs="ids"]   the fields of that form are sent, and this one must not be empty; {count} in
//   data-confirm is how many, with data-one or data-more
//   data-why="..."   it cannot be pressed now, and this is why
//
// Fields: name="entities[]" gives a list, data-type="list" one of what commas part, type=number a number, a checkbox a
// boolean; an empty one is left out, unless it says data-empty="null", or "text" for an empty text.
import { ask } from "./dialogs.js";
import { toast } from "./toasts.js";
import { learn } from "./clock.js";

document.addEventListener("click", (event) => {
  const pressed = event.target.closest?.("[aria-disabled='true']")
    ?? event.target.closest?.("label")?.querySelector("[aria-disabled='true']");
  if (pressed?.dataset.why) {
    event.preventDefault();
    event.stopPropagation();
    toast("info", pressed.textContent.trim().split(". ")[0] || pressed.getAttribute("aria-label") || "Not now", pressed.dataset.why);
    return;
  }
  const button = event.target.closest?.("button[data-act]");
  if (button) {
    event.preventDefault();
    const { fields: form, needs } = button.dataset;
    const body = form ? fields(document.getElementById(form)) : JSON.parse(button.dataset.body ?? "null");
    if (needs && !body[needs]?.length) return toast("info", "Nothing is selected.", "Tick what is meant first.");
    perform(button, body, button, needs ? body[needs].length : 0);
  }
}, true);

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.act) return;
  event.preventDefault();
  const submitter = event.submitter ?? form.querySelector("[type=submit]");
  perform(form, fields(form), submitter);
});

document.addEventListener("change", (event) => {
  const input = event.target;
  if (!input.matches?.("input[data-act][data-member]")) return;
  perform(input, { [input.dataset.member]: input.checked }).then((done) => {
    if (!done) input.checked = !input.checked;
  });
});

function fields(form) {
  const body = {};
  for (const input of form.elements) {
    if (!input.name || input.disabled) continue;
    const name = input.name.replace("[]", "");
    if (input.name.endsWith("[]")) {
      body[name] ??= [];
      if (input.checked) body[name].push(input.dataset.type === "number" ? Number(input.value) : input.value);
    } else if (input.type === "checkbox") {
      body[name] = input.checked;
    } else if (input.type === "radio") {
      if (input.checked) body[name] = input.value;
    } else if (input.value !== "" && input.dataset.type === "list") {
      body[name] = input.value.split(",").map((one) => one.trim()).filter(Boolean);
    } else if (input.value !== "") {
      body[name] = input.type === "number" || input.dataset.type === "number" ? Number(input.value) : input.value;
    } else if (input.dataset.empty === "null") {
      body[name] = null;
    } else if (input.dataset.empty === "text") {
      body[name] = "";
    }
  }
  return body;
}

async function perform(element, body, pressed = element, count = 0) {
  if (pressed?.getAttribute("aria-busy") === "true") return false;
  const { act, done, confirm, confirmText, reason } = element.dataset;
  if (confirm) {
    const given = await ask({
      title: confirm.replace("{count}", `${count} ${count === 1 ? element.dataset.one : element.dataset.more}`), text: confirmText ?? "", yes: pressed?.textContent.trim() || "Confirm", needsReason: reason !== undefined,
    });
    if (given === null) return false;
    if (reason !== undefined) body = { ...body, [reason || "reason"]: given };
  }
  pressed?.setAttribute("aria-busy", "true");
  try {
    const answer = await call(act, body);
    if (answer === null) return false;
    if (done) toast(answer.delivered === false ? "bad" : "good", filled(done, answer), answer.delivered === false ? `${answer.message} ${answer.fix}` : summary(answer));
    element.dispatchEvent(new CustomEvent("acted", { bubbles: true, detail: { act, answer } }));
    return true;
  } finally {
    pressed?.removeAttribute("aria-busy");
  }
}

/** Call the API; null when it refused, which has been said then. */
export async function call(act, body) {
  const [method, address] = [act.slice(0, act.indexOf(":")), act.slice(act.indexOf(":") + 1)];
  let response;
  try {
    response = await fetch(address, {
      method: method.toUpperCase(),
      headers: { accept: "application/json", ...(body ? { "content-type": "application/json" } : {}) },
      body: body ? JSON.stringify(body) : undefined,
    });
  } catch {
    toast("bad", "Keepstep does not answer", "Nothing was done. Try again once the page is connected.");
    return null;
  }
  learn(response);
  const answer = response.status === 204 ? {} : await response.json().catch(() => ({}));
  if (response.ok) return answer;
  if (response.status === 401) { location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`); return null; }
  toast("bad", answer.detail ?? `It was refused (${response.status}).`, answer.fix ?? "");
  document.dispatchEvent(new CustomEvent("acted", { detail: { act, answer: null } }));
  return null;
}

const filled = (words, answer) => words.replace(/\{(\w+)\}/g, (_, name) => (Array.isArray(answer[name]) ? answer[name].length : answer[name] ?? ""));

/** What a list of single results comes to: "2 requeued, 1 failed: the reason". */
function summary(answer) {
  if (!Array.isArray(answer)) return "";
  const counts = {};
  for (const one of answer) counts[one.result] = (counts[one.result] ?? 0) + 1;
  const words = Object.entries(counts).map(([result, count]) => `${count} ${result}`).join(", ");
  const failed = answer.find((one) => one.result === "failed");
  return failed ? `${words}. ${failed.reason}` : words;
}

// What every page has: menus, dialogs, acts, shortcuts, moving times. The control center brings its own parts.
import "./theme.js";
import "./dialogs.js";
import "./acts.js";
import "./shortcuts.js";
import { tick } from "./clock.js";

tick();
const icon = document.getElementById("favicon");
if (document.querySelector("[data-problem]")) icon.href = icon.dataset.bad;
if (document.getElementById("room")) import("./room.js");
if (document.querySelector("[data-side]")) import("./side/side.js");

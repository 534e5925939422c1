// Which run is open stands in the address, so that it can be shared and survives a reload.
const drawer = document.getElementById("drawer");

function keep(run) {
  const address = new URL(location.href);
  if (run) address.searchParams.set("run", run); else address.searchParams.delete("run");
  history.replaceState(history.state, "", address);
}

drawer.addEventListener("opened", () => keep(drawer.querySelector("[data-title]")?.dataset.run));
drawer.addEventListener("close", () => keep(null));
document.addEventListener("acted", () => { if (drawer.open && drawer.querySelector("[data-letter]")) drawer.close(); });

const run = new URL(location.href).searchParams.get("run");
if (/^[0-9]+$/.test(run ?? "")) {
  window.htmx.ajax("GET", `/systems/integrations/drawer/runs/${run}`, { target: "#drawer-body", swap: "innerHTML" });
}

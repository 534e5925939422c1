// The one connection for news. Unlike EventSource it begins again after any failure, and knows when the line has gone
// silent: the server says something every 15 s. Where it was is kept, so nothing is missed and nothing comes twice.
const SILENT = 40000;
const LEAST = 500;
const MOST = 10000;

export class Feed extends EventTarget {
  #url;
  #position = "";
  #tries = 0;
  #pause = 2000;
  #controller = null;
  #watchdog = null;
  #wake = null;
  state = "connecting";

  constructor(url) {
    super();
    this.#url = url;
    addEventListener("online", () => this.#hurry());
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.#hurry(); });
    this.#run();
  }

  /** The newest event that was heard of. */
  get seen() { return Number.parseInt(this.#position, 10) || 0; }

  #say(state) {
    if (this.state === state) return;
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }

  #hurry() { this.#wake?.(); }

  async #run() {
    for (;;) {
      try {
        await this.#listen();
      } catch (problem) {
        if (problem.status === 401 || problem.status === 403) this.#say("signed-out");
      }
      clearTimeout(this.#watchdog);
      if (this.state !== "signed-out") this.#say("interrupted");
      const wait = Math.min(Math.max(this.#pause, LEAST) * 1.5 ** Math.min(this.#tries, 8), MOST);
      this.#tries += 1;
      await new Promise((resolve) => { this.#wake = resolve; setTimeout(resolve, wait * (0.7 + 0.6 * Math.random())); });
      this.#wake = null;
    }
  }

  async #listen() {
    this.#controller = new AbortController();
    this.#alive();
    const headers = { accept: "text/event-stream" };
    if (this.#position) headers["last-event-id"] = this.#position;
    const response = await fetch(this.#url, { headers, signal: this.#controller.signal, cache: "no-store" });
    if (!response.ok) throw Object.assign(new Error("refused"), { status: response.status });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.#alive();
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      this.#take(blocks);
    }
  }

  #alive() {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#controller?.abort(), SILENT);
  }

  #take(blocks) {
    const lines = [];
    let placed = false;
    for (const block of blocks) {
      let data = "";
      let id = null;
      for (const line of block.split("\n")) {
        if (line.startsWith("data: ")) data = line.slice(6);
        else if (line.startsWith("id: ")) id = line.slice(4);
        else if (line.startsWith("retry: ")) this.#pause = Number(line.slice(7)) || this.#pause;
      }
      if (id !== null) {
        placed = true;
        if (data) lines.push({ ...JSON.parse(data), id: newest(id, this.#position) });
        this.#position = id;
      }
    }
    if (placed && this.state !== "live") {
      const first = this.#tries === 0 && this.state === "connecting";
      this.#tries = 0;
      this.#say("live");
      this.dispatchEvent(new CustomEvent("open", { detail: { first } }));
    }
    if (lines.length) this.dispatchEvent(new CustomEvent("lines", { detail: lines }));
  }
}

/** The id of an event: the first number of the position after it, unless the event filled a gap below. */
function newest(position, before) {
  const high = Number.parseInt(position, 10);
  return high > (Number.parseInt(before, 10) || 0) ? high : null;
}

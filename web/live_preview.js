/**
 * Live previews: after a change, only those outputs behind a node that preview are queued, and a newer change replaces what waits.
 *
 * It knows neither ComfyUI nor a page, so that it can be tested without a browser.
 */

export const QUIET = 250; // milliseconds without a change before anything is queued

/**
 * The output nodes of an API prompt that show what comes from some of its nodes, and save nothing.
 *
 * @param {Object} prompt node id -> {class_type, inputs}
 * @param {string[]} sources ids of nodes
 * @param {(type: string) => boolean} isOutput whether a class of nodes is one of outputs
 * @returns {string[]} their ids
 */
export function previewsBehind(prompt, sources, isOutput) {
  const behind = new Set(sources);
  let before = -1;
  while (behind.size > before) {
    before = behind.size;
    for (const [id, { inputs }] of Object.entries(prompt)) {
      if (Object.values(inputs).some((value) => Array.isArray(value) && behind.has(String(value[0])))) behind.add(id);
    }
  }
  // Classes do not say whether they save: by their names, and by the name of a file that they ask for.
  const previews = ({ class_type: type, inputs }) =>
    isOutput(type) && /preview|compare/i.test(type) && !("filename_prefix" in inputs);
  return [...behind].filter((id) => !sources.includes(id) && id in prompt && previews(prompt[id]));
}

export class LivePreview {
  /**
   * @param {Object} host `ask()` gives {prompt, sources} as they are now, `isOutput(type)` as above, `queue(asked, targets)` the id
   *   of a prompt that draws these nodes alone, `drop(id)` takes a prompt that has not begun out of the queue
   * @param {(state: {phase: string, seconds?: number, message?: string, picture?: Object}) => void} tell what the user should see:
   *   phase "drawing", "drawn" (seconds since the change), "nothing" (no preview behind the node), "failed" (message) or "off";
   *   `picture` is a file of the server, told with no phase
   * @param {() => number} now milliseconds
   */
  constructor(host, tell, now = () => Date.now()) {
    Object.assign(this, { host, tell, now, on: false, waiting: null, heardOf: null, early: null });
    Object.assign(this, { shown: new Set(), since: null, busy: null });
  }

  /** On draws at once; off takes back what has not begun. */
  async turn(on) {
    this.on = on;
    clearTimeout(this.timer);
    if (on) return this.draw();
    await this.busy;
    await this.#drop();
    // Whoever has ticked it again meanwhile sees what that draws.
    if (this.on) return undefined;
    return this.tell({ phase: "off" });
  }

  /** A value is moving: not yet. */
  moving() {
    clearTimeout(this.timer);
  }

  /** A value was let go. */
  settled() {
    if (!this.on) return;
    clearTimeout(this.timer);
    this.since = this.now();
    this.timer = setTimeout(() => this.draw(), QUIET);
  }

  /** Queue the previews as everything is now; a change while that is under way is taken along afterwards. */
  draw() {
    this.again = true;
    this.busy ??= this.#draw().finally(() => {
      this.busy = null;
    });
    return this.busy;
  }

  /** A node has shown its result: the server's message "executed". */
  heard({ prompt_id: prompt, node, output }) {
    const [picture] = output?.images ?? [];
    if (!this.on || !picture || !this.shown.has(String(node))) return;
    this.tell({ picture });
    this.heardOf = prompt;
    if (prompt === this.waiting) this.#drawn();
  }

  /** A prompt is over: the server's message "execution_success", "execution_error" or "execution_interrupted". */
  ended({ prompt_id: prompt, exception_message: message = "" }, wentWell) {
    if (prompt === this.waiting) this.#over(wentWell, message);
    else this.early = { prompt, wentWell, message };
  }

  async #draw() {
    while (this.again && this.on) {
      this.again = false;
      try {
        await this.#queue();
      } catch (error) {
        this.tell({ phase: "failed", message: String(error?.message ?? error) });
      }
    }
  }

  async #queue() {
    this.from = this.since ?? this.now();
    this.since = null;
    const asked = await this.host.ask();
    const targets = previewsBehind(asked.prompt.output, asked.sources, this.host.isOutput);
    if (!targets.length) return this.tell({ phase: "nothing" });
    const portraits = targets.filter((id) => !/mask/i.test(asked.prompt.output[id].class_type));
    this.shown = new Set(portraits.length ? portraits : targets);
    this.tell({ phase: "drawing" });
    await this.#drop();
    this.waiting = await this.host.queue(asked.prompt, targets);
    // What is in the server's cache is there before its answer is.
    if (this.waiting === this.heardOf) this.#drawn();
    else if (this.waiting === this.early?.prompt) this.#over(this.early.wentWell, this.early.message);
  }

  #over(wentWell, message) {
    if (wentWell) return this.#drawn();
    this.waiting = null;
    return this.tell({ phase: "failed", message });
  }

  async #drop() {
    const prompt = this.waiting;
    this.waiting = null;
    if (prompt !== null) await this.host.drop(prompt);
  }

  #drawn() {
    this.waiting = null;
    this.tell({ phase: "drawn", seconds: (this.now() - this.from) / 1000 });
  }
}

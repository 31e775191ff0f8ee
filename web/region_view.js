/**
 * Region strengths as plain DOM: a face whose regions can be clicked, and one slider a region.
 *
 * It knows nothing about ComfyUI. The value is JSON, {"eyes": 1, ...}, as the node takes it. Everything works by keyboard:
 * the sliders are ordinary ones, and the picture only saves the way to them.
 */

import { addStyle, element } from "./panel_style.js";

/** In the order of acfun_core/regions.py, with colours that stay apart on any picture. */
export const REGIONS = {
  eyes: [214, 93, 57],
  nose: [46, 110, 172],
  mouth: [200, 60, 120],
  skin: [230, 190, 120],
  hair: [110, 80, 160],
  background: [70, 110, 90],
};
const NAMES = Object.keys(REGIONS);
const MAP_STEP = 40; // grey values between two regions in a map
const [LOWEST, HIGHEST, STEP] = [0, 2, 0.05];
const [FAINT, FULL] = [0.06, 0.78]; // how much colour covers the picture at strength 0 and 2
const CANVAS = 320; // pixels of the drawing, twice what is shown

export const HEIGHT = 214;

const STYLE = `
.acfun-regions-body { display: flex; gap: 10px; flex: 1; min-height: 0; }
.acfun-regions-face { position: relative; width: 136px; height: 136px; flex: none; align-self: center; }
.acfun-regions canvas, .acfun-regions img { width: 100%; height: 100%; border-radius: 6px; background: #808080; }
.acfun-regions canvas { cursor: pointer; }
.acfun-regions img { position: absolute; inset: 0; object-fit: contain; pointer-events: none; }
.acfun-regions-face:hover img { opacity: 0; }
.acfun-regions-rows { display: grid; grid-template-columns: auto minmax(40px, 1fr) 28px; gap: 0 6px; flex: 1;
  align-items: center; align-content: space-between; min-width: 0; }
.acfun-regions-rows label { display: flex; align-items: center; gap: 6px; white-space: nowrap; padding: 2px 4px;
  border-radius: 4px; border: 1px solid transparent; }
.acfun-regions-rows label.acfun-chosen { border-color: var(--input-text); }
.acfun-regions-rows i { width: 11px; height: 11px; border-radius: 3px; border: 1px solid var(--input-text); }
.acfun-regions-rows input { width: 100%; min-width: 0; margin: 0; accent-color: #3f8fd6; cursor: pointer; }
.acfun-regions-rows output { text-align: right; font-variant-numeric: tabular-nums; }
.acfun-regions .acfun-row { align-items: center; flex-wrap: nowrap; }
.acfun-regions .acfun-row span { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.acfun-regions .acfun-row label { display: flex; align-items: center; gap: 4px; flex: none; cursor: pointer; }
.acfun-regions .acfun-row input { margin: 0; accent-color: #3f8fd6; }
.acfun-regions .acfun-row button { flex: none; }
`;

let made = 0;

/** Strengths of all regions from JSON; null if it cannot be read. Regions left out count 1. */
export function read(text) {
  try {
    const given = JSON.parse(text);
    if (given === null || typeof given !== "object" || Array.isArray(given)) return null;
    const known = Object.entries(given).every(
      ([name, value]) => name in REGIONS && typeof value === "number" && value >= LOWEST && value <= HIGHEST,
    );
    return known ? Object.fromEntries(NAMES.map((name) => [name, given[name] ?? 1])) : null;
  } catch {
    return null;
  }
}

export class RegionView {
  /**
   * @param {Object} words what to write, by name (locales/<language>/main.json, "regions")
   * @param {string} map address of the map that is shown at first
   * @param {{changed: Function, settled: Function, live: Function}} actions called while a slider moves, when it has been let go,
   *   and with true or false when live previews are wanted or not any more
   */
  constructor(words, map, actions) {
    addStyle("acfun-regions-style", STYLE);
    this.words = words;
    this.actions = actions;
    this.number = ++made;
    this.rows = {};
    this.chosen = null;
    this.picture = null;
    this.labels = null;
    this.element = element("div", "acfun-panel acfun-regions");
    this.element.setAttribute("role", "group");
    this.element.setAttribute("aria-label", words.title);
    this.element.style.minHeight = `${HEIGHT}px`;
    this.#build();
    this.value = JSON.stringify(Object.fromEntries(NAMES.map((name) => [name, 1])));
    this.show(null, map);
  }

  /** The JSON; a text that cannot be read is kept as it is until a slider moves, so that the node can say what is wrong. */
  get value() {
    return this.text;
  }

  set value(text) {
    this.text = text;
    const strengths = read(text);
    this.#say(strengths ? this.words.hint : this.words.unreadable);
    for (const name of NAMES) this.#set(name, strengths?.[name] ?? 1);
    this.#draw();
  }

  /** Show a face and the map of its regions, both by their address; without a picture the regions alone. */
  async show(picture, map) {
    const [face, regions] = await Promise.all([picture && load(picture), load(map)]).catch(() => [null, null]);
    if (!regions) return;
    this.picture = face;
    const canvas = new OffscreenCanvas(regions.naturalWidth, regions.naturalHeight);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(regions, 0, 0);
    const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
    const of = Uint8Array.from({ length: width * height }, (_, at) => Math.round(data[4 * at] / MAP_STEP));
    this.labels = { of, width, height };
    this.canvas.dataset.face = face ? "own" : "ordinary";
    this.#draw();
  }

  /** Whether live previews are wanted; setting it tells nobody. */
  get live() {
    return this.toggle.checked;
  }

  set live(on) {
    this.toggle.checked = on;
  }

  /** The portrait that was drawn last covers the regions, but under the pointer. */
  async showPortrait(address) {
    this.newest = address;
    const portrait = await load(address).catch(() => null);
    if (!portrait || !this.live || address !== this.newest) return;
    this.portrait.src = address;
    this.portrait.hidden = false;
  }

  /** What became of a live preview: its phase as web/live_preview.js tells it. */
  showLive({ phase, seconds, message }) {
    const { words } = this;
    this.element.dataset.live = phase;
    if (phase === "off") this.portrait.hidden = true;
    const said = {
      off: words.hint,
      drawing: words.live_drawing,
      drawn: words.live_drawn.replace("{s}", (seconds ?? 0).toFixed(1)),
      nothing: words.live_nothing,
      failed: words.live_failed,
    };
    this.#say(said[phase], message);
  }

  #say(text, more = "") {
    this.hint.textContent = text;
    this.hint.title = more || text;
  }

  #build() {
    const { words } = this;
    this.canvas = element("canvas");
    this.canvas.width = this.canvas.height = CANVAS;
    this.canvas.title = words.picture;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", words.picture);
    this.canvas.addEventListener("click", (event) => this.rows[this.#regionAt(event)]?.slider.focus());
    this.canvas.addEventListener("pointermove", (event) => this.#choose(this.#regionAt(event)));
    this.canvas.addEventListener("pointerleave", () => this.#choose(this.#focused()));
    this.portrait = element("img");
    this.portrait.alt = words.live_picture;
    this.portrait.hidden = true;
    const face = element("div", "acfun-regions-face");
    face.append(this.canvas, this.portrait);
    const rows = element("div", "acfun-regions-rows");
    for (const name of NAMES) rows.append(...this.#row(name));
    const body = element("div", "acfun-regions-body");
    body.append(face, rows);
    this.hint = element("span");
    this.hint.setAttribute("role", "status");
    const reset = element("button", "", words.reset);
    reset.type = "button";
    reset.title = words.reset_hint;
    reset.addEventListener("click", () => {
      this.#write(Object.fromEntries(NAMES.map((name) => [name, 1])));
      this.actions.settled();
    });
    reset.addEventListener("keydown", keepKeys);
    const foot = element("div", "acfun-row");
    foot.append(this.hint, this.#liveToggle(), reset);
    this.element.append(body, foot);
  }

  #liveToggle() {
    this.toggle = element("input");
    this.toggle.type = "checkbox";
    this.toggle.addEventListener("change", () => this.actions.live(this.live));
    this.toggle.addEventListener("keydown", keepKeys);
    const label = element("label");
    label.title = this.words.live_hint;
    label.append(this.toggle, this.words.live);
    return label;
  }

  #row(name) {
    const id = `acfun-region-${this.number}-${name}`;
    const label = element("label");
    label.htmlFor = id;
    const swatch = element("i");
    swatch.style.background = `rgb(${REGIONS[name].join(" ")})`;
    label.append(swatch, this.words[name] ?? name);
    const slider = element("input");
    Object.assign(slider, { type: "range", id, min: LOWEST, max: HIGHEST, step: STEP });
    slider.dataset.region = name;
    const shown = element("output");
    shown.htmlFor = id;
    slider.addEventListener("input", () => this.#write({ ...(read(this.text) ?? {}), [name]: Number(slider.value) }));
    slider.addEventListener("change", () => this.actions.settled());
    slider.addEventListener("focus", () => this.#choose(name));
    slider.addEventListener("blur", () => this.#choose(null));
    slider.addEventListener("keydown", keepKeys);
    this.rows[name] = { label, slider, shown };
    return [label, slider, shown];
  }

  #write(strengths) {
    this.value = JSON.stringify(Object.fromEntries(NAMES.map((name) => [name, strengths[name] ?? 1])));
    this.actions.changed();
  }

  #set(name, strength) {
    const { slider, shown } = this.rows[name];
    slider.value = String(strength);
    shown.textContent = strength.toFixed(2);
    slider.setAttribute("aria-valuetext", strength.toFixed(2));
  }

  #choose(name) {
    if (name === this.chosen) return;
    this.chosen = name;
    for (const [each, { label }] of Object.entries(this.rows)) label.classList.toggle("acfun-chosen", each === name);
    this.#draw();
  }

  #focused() {
    return NAMES.find((name) => this.rows[name].slider === document.activeElement) ?? null;
  }

  /** Where the map lies in the drawing: whole, in its middle. */
  #frame() {
    const { width, height } = this.labels;
    const scale = CANVAS / Math.max(width, height);
    const [across, down] = [width * scale, height * scale];
    return { left: (CANVAS - across) / 2, top: (CANVAS - down) / 2, across, down };
  }

  #regionAt(event) {
    if (!this.labels) return null;
    const box = this.canvas.getBoundingClientRect();
    const { left, top, across, down } = this.#frame();
    const x = (((event.clientX - box.left) / box.width) * CANVAS - left) / across;
    const y = (((event.clientY - box.top) / box.height) * CANVAS - top) / down;
    if (x < 0 || y < 0 || x >= 1 || y >= 1) return null;
    const { of, width, height } = this.labels;
    return NAMES[of[Math.floor(y * height) * width + Math.floor(x * width)]] ?? null;
  }

  #draw() {
    if (!this.labels) return;
    const context = this.canvas.getContext("2d");
    const { left, top, across, down } = this.#frame();
    context.clearRect(0, 0, CANVAS, CANVAS);
    context.imageSmoothingEnabled = true;
    if (this.picture) context.drawImage(this.picture, left, top, across, down);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.#colours(), left, top, across, down);
  }

  /** The regions in their colours, the more of it the stronger, and a line around the chosen one. */
  #colours() {
    const { of, width, height } = this.labels;
    const strengths = read(this.text) ?? {};
    const chosen = NAMES.indexOf(this.chosen);
    const image = new ImageData(width, height);
    const at = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? -1 : of[y * width + x]);
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        const region = at(x, y);
        const border = [[1, 0], [-1, 0], [0, 1], [0, -1]].some(([dx, dy]) => at(x + dx, y + dy) !== region);
        const share = (strengths[NAMES[region]] ?? 1) / HIGHEST;
        const colour = border && region === chosen ? [255, 255, 255] : REGIONS[NAMES[region]];
        const cover = border ? (region === chosen ? 1 : 0.9) : FAINT + (FULL - FAINT) * share;
        image.data.set([...colour, 255 * cover], 4 * (y * width + x));
      }
    }
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }
}

/** Keys that move a slider or press a button belong to it, not to the graph below. */
function keepKeys(event) {
  const own = ["Enter", " ", "Home", "End", "PageUp", "PageDown", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"];
  if (own.includes(event.key)) event.stopPropagation();
}

async function load(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
}

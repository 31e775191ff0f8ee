/**
 * The training panel as plain DOM: status, two loss curves, a strip of portraits, two buttons.
 *
 * It knows nothing about ComfyUI, so that it works as a DOM widget in the classic editor and in Nodes 2.0 alike.
 * The curves' colours are readable on light and on dark ground.
 */

import { addStyle, element } from "./panel_style.js";

export const RUNNING = ["preparing", "training"];

const IDLE_HEIGHT = 48;
const FULL_HEIGHT = 268;
const CHART_WIDTH = 240;
const CHART_HEIGHT = 90;
const SMOOTHING = 12; // the drawn line is the mean over the last twelfth of what there is

const STYLE = `
.acfun-status { font-weight: 600; }
.acfun-chart { position: relative; flex: 1 1 70px; min-height: 50px; border-bottom: 1px solid var(--descrip-text); }
.acfun-chart svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: hidden; }
.acfun-chart polyline, .acfun-key line { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; }
.acfun-chart .acfun-raw { stroke-width: 1; opacity: 0.35; }
.acfun-chart .acfun-grid { stroke: var(--border-color); stroke-width: 1; vector-effect: non-scaling-stroke; }
.acfun-chart span { position: absolute; right: 0; font-size: 10px; color: var(--input-text); opacity: 0.8; }
.acfun-style { stroke: #d9663a; }
.acfun-face { stroke: #3f8fd6; stroke-dasharray: 6 3; }
.acfun-chart .acfun-raw { stroke-dasharray: none; }
.acfun-key { width: 22px; height: 8px; margin-right: 5px; vertical-align: middle; }
.acfun-strip { display: flex; gap: 4px; flex: 0 0 66px; overflow-x: auto; margin: 0; padding: 2px; list-style: none; }
.acfun-strip a { display: block; position: relative; width: 60px; height: 60px; flex: none; border-radius: 4px; }
.acfun-strip img { width: 100%; height: 100%; object-fit: cover; border-radius: 4px; }
.acfun-strip span { position: absolute; left: 2px; bottom: 2px; padding: 0 4px; border-radius: 3px; font-size: 10px;
  background: rgba(0, 0, 0, 0.65); color: #fff; }
.acfun-buttons { display: flex; gap: 6px; }
.acfun-buttons button { flex: 1; }
`;

function shape(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** "{step} of {steps}" with the values filled in. */
export function fill(template, values) {
  return (template ?? "").replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** 75 -> "1 min 15 s". */
export function duration(seconds, text) {
  const whole = Math.max(1, Math.round(seconds));
  if (whole < 60) return fill(text.seconds, { s: whole });
  if (whole < 3600) return fill(text.minutes, { m: Math.floor(whole / 60), s: whole % 60 });
  return fill(text.hours, { h: Math.floor(whole / 3600), m: Math.floor((whole % 3600) / 60) });
}

/** Running mean over the last `window` values; gaps (null) are left out. */
export function smooth(values, window) {
  return values.map((_, index) => {
    const part = values.slice(Math.max(0, index + 1 - window), index + 1).filter((value) => value !== null);
    return part.length ? part.reduce((sum, value) => sum + value, 0) / part.length : null;
  });
}

const short = (value) => (value === null || value === undefined ? "–" : Number(value).toPrecision(3));

export class TrainingView {
  /**
   * @param {Object} text what to write, by name (locales/<language>/main.json)
   * @param {{stop: Function, cancel: Function, previewUrl: Function, resized: Function}} actions
   */
  constructor(text, actions) {
    addStyle("acfun-training-style", STYLE);
    this.text = text;
    this.actions = actions;
    this.state = null;
    this.element = element("div", "acfun-panel");
    this.element.setAttribute("role", "group");
    this.element.setAttribute("aria-label", text.title);
    this.#build();
    this.show(null);
  }

  get height() {
    return this.state ? FULL_HEIGHT : IDLE_HEIGHT;
  }

  #build() {
    const { text } = this;
    this.status = element("span", "acfun-status");
    this.left = element("span");
    this.announcement = element("span", "acfun-unseen");
    this.announcement.setAttribute("role", "status");
    const top = element("div", "acfun-row");
    top.append(this.status, this.left, this.announcement);

    this.chart = element("div", "acfun-chart");
    this.chart.setAttribute("role", "img");
    this.lines = shape("svg", { viewBox: `0 0 ${CHART_WIDTH} ${CHART_HEIGHT}`, preserveAspectRatio: "none" });
    this.highest = element("span");
    this.highest.style.top = "0";
    this.chart.append(this.lines, this.highest);

    this.values = {};
    this.legend = element("div", "acfun-row");
    for (const term of ["style", "face"]) {
      const key = shape("svg", { class: "acfun-key", viewBox: "0 0 22 8", "aria-hidden": "true" });
      key.append(shape("line", { class: `acfun-${term}`, x1: 0, y1: 4, x2: 22, y2: 4 }));
      const item = element("span");
      this.values[term] = element("span");
      item.append(key, this.values[term]);
      this.legend.append(item);
    }
    this.readouts = element("span");
    this.legend.append(this.readouts);
    this.notice = element("div", "acfun-row");

    this.strip = element("ul", "acfun-strip");
    this.strip.setAttribute("aria-label", text.portraits);

    this.buttons = element("div", "acfun-buttons");
    this.stopButton = this.#button(text.stop, text.stop_hint, () => this.actions.stop(this.state));
    this.cancelButton = this.#button(text.cancel, text.cancel_hint, () => this.actions.cancel(this.state));
    this.buttons.append(this.stopButton, this.cancelButton);
    this.element.append(top, this.notice, this.chart, this.legend, this.strip, this.buttons);
  }

  #button(label, hint, press) {
    const button = element("button", "", label);
    button.type = "button";
    button.title = hint;
    button.addEventListener("click", press);
    // Enter and Space belong to the button, not to the canvas below it.
    button.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") event.stopPropagation();
    });
    return button;
  }

  /** Show a state of the server (nodes/panel/state.py), or null for none yet. */
  show(state) {
    const before = this.height;
    const phaseBefore = this.state?.phase;
    this.state = state;
    const running = RUNNING.includes(state?.phase);
    for (const part of [this.chart, this.legend, this.strip]) part.hidden = !state;
    this.buttons.hidden = !running;
    this.notice.textContent = state?.notice ?? "";
    this.notice.hidden = !this.notice.textContent;
    this.element.setAttribute("aria-busy", String(running));
    this.status.textContent = state ? this.#statusLine(state) : this.text.idle;
    this.left.textContent =
      running && state.seconds_left ? fill(this.text.left, { time: duration(state.seconds_left, this.text) }) : "";
    if (state) {
      this.#drawCurves(state);
      this.#drawStrip(state);
      this.#drawReadouts(state);
      this.stopButton.disabled = state.request !== null || state.phase !== "training";
      this.cancelButton.disabled = state.request === "cancel";
      if (state.phase !== phaseBefore) this.announcement.textContent = this.status.textContent;
    }
    this.element.style.minHeight = `${this.height}px`;
    if (this.height !== before) this.actions.resized?.();
  }

  #statusLine(state) {
    if (RUNNING.includes(state.phase) && state.request) return this.text[`asked_${state.request}`];
    const values = { step: state.step, steps: state.steps, name: state.adapter_name, message: state.message, kept: state.kept_step };
    return fill(this.text[`phase_${state.phase}`] ?? state.phase, values);
  }

  #drawCurves(state) {
    const { style_loss: style, face_loss: face } = state;
    const window = Math.max(1, Math.floor(style.length / SMOOTHING));
    const curves = { style: smooth(style, window), face: smooth(face, window) };
    // Single values scatter far more than the curves: those set the scale, and what is above it is cut off.
    const heights = [...curves.style.slice(window - 1), ...curves.face.slice(window - 1)];
    const highest = 1.2 * Math.max(1e-6, ...heights.filter((value) => value !== null));
    // A training that went on where another stopped has points from there alone.
    const before = Math.max(0, state.first_step - 1);
    const points = (values) =>
      values
        .map((value, index) => {
          const step = Math.min(before + (index + 1) * state.steps_per_point, state.steps);
          return value === null ? null : [(step / state.steps) * CHART_WIDTH, CHART_HEIGHT * (1 - value / highest)];
        })
        .filter((point) => point !== null)
        .map(([x, y]) => `${x.toFixed(2)},${y.toFixed(2)}`)
        .join(" ");
    this.lines.replaceChildren();
    for (const part of [0.25, 0.5, 0.75]) {
      const y = CHART_HEIGHT * part;
      this.lines.append(shape("line", { class: "acfun-grid", x1: 0, y1: y, x2: CHART_WIDTH, y2: y }));
    }
    for (const [term, values] of [["style", style], ["face", face]]) {
      const curve = curves[term];
      this.lines.append(
        shape("polyline", { class: `acfun-${term} acfun-raw`, points: points(values) }),
        shape("polyline", { class: `acfun-${term}`, points: points(curve) }),
      );
      this.values[term].textContent = fill(this.text[`${term}_term`], { value: short(curve.at(-1)) });
    }
    this.highest.textContent = short(highest);
    this.chart.setAttribute("aria-label", `${this.values.style.textContent}, ${this.values.face.textContent}`);
  }

  #drawReadouts(state) {
    this.readouts.textContent = Object.entries(state.readouts)
      .map(([name, value]) => `${this.text[`readout_${name}`] ?? name} ${short(value)}`)
      .join(" · ");
  }

  #drawStrip(state) {
    const wanted = state.previews.map(String);
    const shown = new Map([...this.strip.children].map((item) => [item.dataset.step, item]));
    const of = this.strip.dataset.training === state.id ? shown : new Map();
    this.strip.dataset.training = state.id;
    const items = wanted.map((step) => of.get(step) ?? this.#portrait(state, step));
    const grown = wanted.at(-1) !== [...of.keys()].at(-1);
    this.strip.replaceChildren(...items);
    if (grown) this.strip.scrollLeft = this.strip.scrollWidth;
  }

  #portrait(state, step) {
    const item = element("li");
    item.dataset.step = step;
    const link = element("a");
    link.href = this.actions.previewUrl(state, step);
    link.target = "_blank";
    link.rel = "noopener";
    const image = element("img");
    image.src = link.href;
    image.alt = fill(this.text.portrait_at, { step });
    link.title = image.alt;
    const label = element("span", "", step);
    label.setAttribute("aria-hidden", "true");
    link.append(image, label);
    item.append(link);
    return item;
  }
}

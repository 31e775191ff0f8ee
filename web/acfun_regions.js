/**
 * The region strengths on ACFun Face Parts: the node's text input as a face with sliders, and live previews of what they do.
 *
 * After each run the node sends the face and the map of its regions (nodes/face_parts.py).
 */

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { putInPlace } from "./in_place.js";
import { LivePreview } from "./live_preview.js";
import { texts } from "./locale.js";
import { HEIGHT, RegionView } from "./region_view.js";

const WIDGET_TYPE = "ACFUN_REGIONS";
const MARGIN = 8;
const ORDINARY_FACE = new URL("./face_regions.png", import.meta.url).href;

let words = {};
const views = new WeakMap();
/** Live previews that are on, and by graph and id their nodes, of which undo makes new ones; for as long as the page is open. */
const previews = new Set();
const live = new Set();

const addressOf = (file) => api.apiURL(`/view?${new URLSearchParams({ ...file, rand: Math.random() })}`);

const isOutput = (type) => Boolean(globalThis.LiteGraph.registered_node_types[type]?.nodeData?.output_node);
const keyOf = (node) => `${node.graph?.id}|${node.id}`;

/** The graph as it would be queued, and where the node is in it: "3:7" is node 7 in the subgraph of node 3. */
async function ask(node) {
  const prompt = await app.graphToPrompt();
  const own = ([id, { class_type: type }]) => type === node.comfyClass && id.split(":").at(-1) === String(node.id);
  return { prompt, sources: Object.entries(prompt.output).filter(own).map(([id]) => id) };
}

/** Past app.queuePrompt, which would go on to the next seed and show errors in a dialog over the sliders. */
async function queue(prompt, targets) {
  return (await api.queuePrompt(0, prompt, { partialExecutionTargets: targets })).prompt_id;
}

function addLivePreview(node, view) {
  const preview = new LivePreview(
    { ask: () => ask(node), isOutput, queue, drop: (id) => api.deleteItem("queue", id) },
    ({ picture, ...state }) => (picture ? view.showPortrait(addressOf(picture)) : view.showLive(state)),
  );
  const { onConfigure, onRemoved } = node;
  node.onConfigure = function () {
    onConfigure?.apply(this, arguments);
    if (!live.has(keyOf(node))) return;
    previews.add(preview);
    preview.on = view.live = true;
  };
  node.onRemoved = function () {
    onRemoved?.apply(this, arguments);
    previews.delete(preview);
    preview.turn(false);
  };
  return preview;
}

function addRegions(node, name, spec) {
  const view = new RegionView(words, ORDINARY_FACE, {
    changed: () => {
      preview.moving();
      widget.callback?.(view.value);
      node.setDirtyCanvas?.(true, true);
    },
    // The editor does not notice keys in input fields: without this, undo and the saved draft would miss the change.
    settled: () => {
      app.canvas?.emitBeforeChange?.();
      app.canvas?.emitAfterChange?.();
      preview.settled();
    },
    live: (on) => {
      live[on ? "add" : "delete"](keyOf(node));
      previews[on ? "add" : "delete"](preview);
      preview.turn(on);
    },
  });
  const preview = addLivePreview(node, view);
  views.set(node, view);
  if (spec[1]?.default) view.value = spec[1].default;
  const widget = node.addDOMWidget(name, WIDGET_TYPE, view.element, {
    hideOnZoom: false,
    margin: MARGIN,
    getValue: () => view.value,
    setValue: (text) => {
      view.value = text;
    },
    getMinHeight: () => HEIGHT + 2 * MARGIN,
    getMaxHeight: () => HEIGHT + 2 * MARGIN,
  });
  const { onExecuted } = node;
  node.onExecuted = function (output) {
    onExecuted?.apply(this, arguments);
    const [face] = output?.acfun_regions ?? [];
    if (face) view.show(addressOf(face.picture), addressOf(face.map));
  };
  return { widget, minWidth: 360, minHeight: HEIGHT + 2 * MARGIN };
}

app.registerExtension({
  name: "ACFun.Regions",
  async init() {
    words = (await texts()).regions;
  },
  setup() {
    const tellAll = (event, tell) => api.addEventListener(event, ({ detail }) => previews.forEach((each) => tell(each, detail)));
    tellAll("executed", (each, detail) => each.heard(detail));
    tellAll("execution_success", (each, detail) => each.ended(detail, true));
    for (const event of ["execution_error", "execution_interrupted"]) tellAll(event, (each, detail) => each.ended(detail, false));
  },
  afterConfigureGraph() {
    putInPlace((node) => views.get(node)?.element);
  },
  getCustomWidgets() {
    return { [WIDGET_TYPE]: addRegions };
  },
});

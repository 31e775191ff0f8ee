/**
 * The live training panel on Train ACFun Style.
 *
 * The server sends its whole state with every event (nodes/panel/events.py), so a page that reloads asks once and goes on from there.
 */

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { putInPlace } from "./in_place.js";
import { texts } from "./locale.js";
import { SECONDS_OF_SILENCE, Silence } from "./silence.js";
import { RUNNING, TrainingView } from "./training_view.js";

const NODE_TYPE = "ACFunTrainStyle";
const WIDGET = "acfun_training";
const EVENT = "acfun.training";
const LOADER = { type: "ACFunLoadAdapter", widget: "adapter_name" };
const LATEST = 16;
const MARGIN = 8;

let text = {};
/** Latest state of each node that was trained from this tab: workflow and node id -> state. */
const latest = new Map();
/** Trainings that ended while their workflow was not open. */
const unseen = new Set();
const views = new WeakMap();

const rootGraph = () => app.rootGraph ?? app.graph;
const keyOf = (state) => `${state.workflow_id}|${state.node_id}`;

/** The node a state belongs to, or null if another workflow is open. "3:7" is node 7 in the subgraph of node 3. */
function nodeOf(state) {
  let graph = rootGraph();
  if (state.workflow_id && graph?.id && state.workflow_id !== graph.id) return null;
  const path = state.node_id.split(":");
  const last = path.pop();
  for (const id of path) graph = graph?.getNodeById(id)?.subgraph;
  return graph?.getNodeById(last) ?? null;
}

function remember(state) {
  latest.delete(keyOf(state));
  latest.set(keyOf(state), state);
  if (latest.size > LATEST) {
    const [oldest, old] = latest.entries().next().value;
    latest.delete(oldest);
    unseen.delete(old.id);
  }
  const view = views.get(nodeOf(state));
  view?.show(state);
  if (view || RUNNING.includes(state.phase)) unseen.delete(state.id);
  else unseen.add(state.id);
}

/** A workflow was opened: show what is running in it, and what ended while another one was open. */
function showAll() {
  for (const state of [...latest.values()]) {
    if (RUNNING.includes(state.phase) || unseen.has(state.id)) remember(state);
  }
}

/** Ask for the trainings that this tab started; what the server has forgotten, it no longer runs. */
async function recover() {
  if (!api.clientId) return;
  const answer = await api.fetchApi(`/acfun/trainings?client_id=${encodeURIComponent(api.clientId)}`).catch(() => null);
  if (!answer?.ok) return;
  const { trainings } = await answer.json();
  const known = new Set(trainings.map((state) => state.id));
  for (const state of [...latest.values()]) {
    if (RUNNING.includes(state.phase) && !known.has(state.id)) remember({ ...state, phase: "lost", request: null });
  }
  // What has ended was seen before the page was loaded anew.
  for (const state of trainings.filter((each) => RUNNING.includes(each.phase) || latest.has(keyOf(each)))) await take(state);
}

/** Events may not come, for instance to a page that was loaded anew: then the server is asked. */
const silence = new Silence(() => [...latest.values()].some((state) => RUNNING.includes(state.phase)), recover);

async function press(state, button) {
  let detail;
  try {
    const answer = await api.fetchApi(`/acfun/trainings/${state.id}/${button}`, { method: "POST" });
    const body = await answer.json();
    if (answer.ok) return remember(body.training);
    detail = body.error?.message ?? `HTTP ${answer.status}`;
  } catch (error) {
    detail = String(error);
  }
  app.extensionManager?.toast?.add({ severity: "error", summary: text.title, detail, life: 8000 });
  return recover();
}

function* allNodes(graph) {
  for (const node of graph?.nodes ?? graph?._nodes ?? []) {
    yield node;
    if (node.subgraph) yield* allNodes(node.subgraph);
  }
}

/** Let every list of adapters hold the new file, and loaders that had none to choose from choose it. */
async function offer(adapterName) {
  await app.refreshComboInNodes();
  for (const node of allNodes(rootGraph())) {
    const widget = node.widgets?.find((each) => each.type === "combo" && each.options?.values?.includes?.(adapterName));
    if (!widget) continue;
    const isLoader = node.comfyClass === LOADER.type && widget.name === LOADER.widget;
    if (isLoader && !widget.options.values.includes(widget.value)) widget.value = adapterName;
    if (globalThis.LiteGraph?.vueNodesMode) {
      // Nodes 2.0 copies a widget's options when the list of widgets changes, and only then.
      const widgets = [...node.widgets];
      node.widgets = [];
      node.widgets = widgets;
    }
    node.setDirtyCanvas?.(true, true);
  }
}

async function onTraining({ detail: state }) {
  silence.heard();
  await take(state);
}

/** A state has come, by an event or because it was asked for. */
async function take(state) {
  const fresh = latest.get(keyOf(state));
  remember(state);
  if (state.adapter_name && !(fresh?.id === state.id && fresh.adapter_name)) await offer(state.adapter_name);
}

function addPanel(node) {
  const view = new TrainingView(text, {
    stop: (state) => press(state, "stop"),
    cancel: (state) => press(state, "cancel"),
    previewUrl: (state, step) => api.apiURL(`/acfun/trainings/${state.id}/previews/${step}`),
    resized: () => {
      const [width, height] = node.computeSize();
      node.setSize([Math.max(node.size[0], width), Math.max(node.size[1], height)]);
      node.setDirtyCanvas(true, true);
    },
  });
  const widget = node.addDOMWidget(WIDGET, WIDGET, view.element, {
    hideOnZoom: false,
    serialize: false,
    margin: MARGIN,
    getMinHeight: () => view.height + 2 * MARGIN,
    getMaxHeight: () => view.height + 2 * MARGIN,
  });
  // The option keeps it out of the prompt, the property out of the saved workflow.
  widget.serialize = false;
  views.set(node, view);
}

app.registerExtension({
  name: "ACFun.TrainingPanel",
  async setup() {
    text = (await texts()).panel;
    api.addEventListener(EVENT, onTraining);
    api.addEventListener("reconnected", recover);
    setInterval(() => silence.check(), SECONDS_OF_SILENCE * 500);
    // The tab learns its own id with the first status message.
    if (api.clientId) recover();
    else api.addEventListener("status", () => recover(), { once: true });
  },
  nodeCreated(node) {
    if (node.comfyClass === NODE_TYPE) addPanel(node);
  },
  afterConfigureGraph() {
    putInPlace((node) => views.get(node)?.element);
    showAll();
  },
});

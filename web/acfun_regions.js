/**
 * The region strengths on ACFun Face Parts: the node's text input as a face with sliders.
 *
 * After each run the node sends the face and the map of its regions (nodes/options_regions.py).
 */

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { texts } from "./locale.js";
import { HEIGHT, RegionView } from "./region_view.js";

const WIDGET_TYPE = "ACFUN_REGIONS";
const MARGIN = 8;
const ORDINARY_FACE = new URL("./face_regions.png", import.meta.url).href;

let words = {};

const addressOf = (file) => api.apiURL(`/view?${new URLSearchParams({ ...file, rand: Math.random() })}`);

function addRegions(node, name, spec) {
  const view = new RegionView(words, ORDINARY_FACE, {
    changed: () => {
      widget.callback?.(view.value);
      node.setDirtyCanvas?.(true, true);
    },
    // The editor does not notice keys in input fields: without this, undo and the saved draft would miss the change.
    settled: () => {
      app.canvas?.emitBeforeChange?.();
      app.canvas?.emitAfterChange?.();
    },
  });
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
  getCustomWidgets() {
    return { [WIDGET_TYPE]: addRegions };
  },
});

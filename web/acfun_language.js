/**
 * Names and tooltips of this pack's nodes in the editor's language.
 *
 * The editor reads them from locales/ itself, but frontends such as 1.32 load their own language file afterwards and thereby drop
 * those of all packs. What is set here is what the editor would have shown, so that it does no harm where it is not needed.
 */

import { app } from "../../scripts/app.js";
import { texts } from "./locale.js";

const PREFIX = "ACFun";

let nodes = {};

app.registerExtension({
  name: "ACFun.Language",
  async init() {
    ({ nodes } = await texts());
  },
  beforeRegisterNodeDef(nodeType, definition) {
    const words = definition.name.startsWith(PREFIX) ? nodes[definition.name] : null;
    if (!words) return;
    definition.display_name = words.display_name;
    definition.description = words.description;
    for (const group of ["required", "optional"]) {
      for (const [name, spec] of Object.entries(definition.input?.[group] ?? {})) {
        if (words.inputs[name] && spec[1]) spec[1].tooltip = words.inputs[name].tooltip;
      }
    }
    definition.output_tooltips = definition.output_tooltips?.map((text, index) => words.outputs[index]?.tooltip ?? text);
  },
  nodeCreated(node) {
    const words = node.comfyClass?.startsWith(PREFIX) ? nodes[node.comfyClass] : null;
    if (!words) return;
    for (const input of node.inputs ?? []) input.localized_name = words.inputs[input.name]?.name ?? input.localized_name;
    for (const widget of node.widgets ?? []) widget.label = words.inputs[widget.name]?.name ?? widget.label;
    (node.outputs ?? []).forEach((output, index) => {
      output.localized_name = words.outputs[index]?.name ?? output.localized_name;
    });
  },
});

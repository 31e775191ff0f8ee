/**
 * Nodes 2.0 shows numbers with three decimals at most, so that a learning rate of 0.0001 reads 0 and is lost when edited.
 * Its number field takes the right count from the widget's options.
 */

import { app } from "../../scripts/app.js";

app.registerExtension({
  name: "ACFun.SmallNumbers",
  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("ACFun")) return;
    for (const widget of node.widgets ?? []) {
      if (widget.options?.precision > 3) widget.options.maxFractionDigits = widget.options.precision;
    }
  },
});

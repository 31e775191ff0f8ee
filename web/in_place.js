/**
 * Nodes 2.0 goes on showing the old node's widget when undo puts a new node with the same id in its place: what is moved there then
 * changes nothing that is queued. Here the new node's widget takes the place on the page.
 */

import { app } from "../../scripts/app.js";

/**
 * To be called when a graph was configured.
 *
 * @param {(node: Object) => HTMLElement | undefined} elementOf the panel of a node's own widget, of which a node has one
 */
export function putInPlace(elementOf) {
  const put = () => {
    for (const node of app.canvas?.graph?.nodes ?? []) {
      const own = elementOf(node);
      if (!own) continue;
      const shown = document.querySelector(`[data-node-id="${CSS.escape(String(node.id))}"] .acfun-panel`);
      if (shown && shown !== own) shown.replaceWith(own);
    }
  };
  // At once, and when the page has been drawn anew.
  put();
  requestAnimationFrame(() => requestAnimationFrame(put));
}

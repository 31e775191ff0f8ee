/**
 * What this pack's panels look like in every theme: colours come from ComfyUI's variables.
 */

const BASE = `
.acfun-panel { box-sizing: border-box; display: flex; flex-direction: column; gap: 6px; min-height: 0; overflow: hidden;
  padding: 8px; border: 1px solid var(--border-color); border-radius: 8px; background: var(--comfy-menu-bg);
  color: var(--input-text); font: 12px/1.35 Inter, Arial, sans-serif; text-align: left; }
.acfun-panel [hidden] { display: none !important; }
.acfun-row { display: flex; gap: 4px 12px; justify-content: space-between; flex-wrap: wrap; }
.acfun-panel button { padding: 4px 8px; border: 1px solid var(--border-color); border-radius: 6px; cursor: pointer;
  background: var(--comfy-input-bg); color: var(--input-text); font: inherit; font-weight: 600; }
.acfun-panel button:hover { border-color: var(--input-text); }
.acfun-panel button:disabled { opacity: 0.55; cursor: default; }
.acfun-panel :focus-visible { outline: 2px solid #3f8fd6; outline-offset: 1px; }
.acfun-unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
`;

/** Add a style sheet once, and the common one before it. */
export function addStyle(id, css) {
  for (const [name, rules] of [["acfun-panel-style", BASE], [id, css]]) {
    if (document.getElementById(name)) continue;
    const style = document.createElement("style");
    style.id = name;
    style.textContent = rules;
    document.head.append(style);
  }
}

/** A new element with a class and a text. */
export function element(tag, className = "", content = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (content) made.textContent = content;
  return made;
}

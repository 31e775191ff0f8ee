/** This pack's texts in the editor's language, asked for once. */

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

let asked = null;

async function ask() {
  const all = await (await api.fetchApi("/i18n")).json();
  const language = app.extensionManager?.setting?.get("Comfy.Locale") ?? "en";
  const [english, own] = [all.en ?? {}, all[language] ?? {}];
  return {
    /** Texts of the panel, English where a translation is missing. */
    panel: { ...english.acfun?.panel, ...own.acfun?.panel },
    /** Texts of the region strengths. */
    regions: { ...english.acfun?.regions, ...own.acfun?.regions },
    /** Node type -> names and tooltips; empty in English, where the schemas speak for themselves. */
    nodes: language === "en" ? {} : (own.nodeDefs ?? {}),
  };
}

/** @returns {Promise<{panel: Object<string, string>, regions: Object<string, string>, nodes: Object}>} */
export function texts() {
  asked ??= ask();
  return asked;
}

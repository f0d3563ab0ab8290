/** What operations are called here, and what one gets from them; the others say it themselves. */

import { state } from "./store.js";

/** @type {Record<string, [string, string]>} */
const TASKS = {
  paint: ["Step by step", ""],
  instant: ["In one pass", ""],
  animate: ["Paint a film", "Every frame painted, steady from one to the next, sound kept."],
  relight: ["Relight a photograph", "The light and the colours of another picture, region by region."],
  features: ["Feature maps", "What each layer of a network sees in a picture, place by place."],
  invert: ["Invert a layer", "A picture made anew from nothing but what one layer knows of it."],
  "invert-layers": ["Invert many layers", "The same for several layers, side by side."],
  dream: ["Dream", "What a network sees in a picture, or in noise, made stronger and stronger."],
  texture: ["Texture", "More of a texture, at any size, and seamless if you like."],
  sweep: ["Sweep", "One painting for each setting, measured and laid out on a sheet."],
  study: ["Study", "The figures of the papers, made of your own pictures."],
  tune: ["Search for settings", "Tries settings, and keeps those that come near to both pictures."],
  report: ["Report", "One page that shows all pictures of a folder, with their settings."],
  train: ["Teach a style", "A network of your own that paints in one pass."],
  export: ["Export a network", "For other programs: ONNX."],
  augment: ["Enlarge a data set", "Painted or noised copies of labelled pictures, labels kept."],
};

/** @param {string} name */
export function sayTask(name) {
  const text = name.replaceAll("-", " ");
  return TASKS[name]?.[0] ?? `${text[0].toUpperCase()}${text.slice(1)}`;
}

/** @param {string} name */
export function aboutTask(name) {
  return TASKS[name]?.[1] ?? state.operations[name]?.about ?? "";
}

/** Everything else that Impasto does. */

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import { state } from "../store.js";
import { saySize } from "./job.js";
import { aboutTask, sayTask } from "../tasks.js";

/** Groups of what a reader may look for; an operation that is in none comes last. */
const GROUPS = [
  ["Films and light", ["animate", "relight"]],
  ["See what a network sees", ["features", "invert", "invert-layers", "dream", "texture"]],
  ["Compare many settings", ["sweep", "study", "tune", "report"]],
  ["Teach and export networks", ["train", "export", "augment"]],
];

export function moreView() {
  const rest = Object.keys(state.operations).filter((each) =>
    !["paint", "instant"].includes(each) && !GROUPS.some(([, names]) => names.includes(each)));
  const groups = rest.length ? [...GROUPS, ["More", rest]] : GROUPS;
  return html`<div class="page"><h1>More to make</h1>
    ${groups.map(([title, names]) => {
      const known = /** @type {string[]} */ (names).filter((each) => each in state.operations);
      return known.length ? html`<section><h2>${title}</h2><ul class="tasks">
        ${known.map((each) => html`<li><a href="#/make/${each}"><b>${sayTask(each)}</b>
          <span>${aboutTask(each)}</span></a></li>`)}</ul></section>` : nothing;
    })}
    ${state.server ? html`<footer><p class="hint">Impasto ${state.server.version}.
      ${saySize(state.server.storage.used)} are kept, of ${saySize(state.server.storage.quota)} that
      may be. Programs use <a href="/api/v1/docs">the API</a>.</p></footer>` : nothing}</div>`;
}

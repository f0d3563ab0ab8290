/** Feature maps beside their photograph: pointing at a place in one shows it in all the others. */

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import { ref } from "../vendor/lit-html/directives/ref.js";
import { send } from "../api.js";
import { announce, complain, redraw } from "../store.js";

/** @typedef {import("../types.js").Job} Job */
/** @typedef {{channels: number[], columns: number, width: number, height: number}} Grid */

/** @type {Map<string, Record<string, Grid> | null>} by the work's id; null while it is loading */
const known = new Map();
/** @type {Map<string, HTMLImageElement | null>} pictures by their addresses */
const images = new Map();
/** Which layer and channel are looked at, and where, in shares of the width and the height. */
const look = { layer: "", channel: -1, at: /** @type {{x: number, y: number} | null} */ (null) };
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** @param {Job} job */
export function hasMaps(job) {
  return job.operation === "features" && job.results.some((each) => each.name === "maps.json");
}

/** @param {Job} job */
export function featuresView(job) {
  const find = (/** @type {string} */ name) =>
    job.results.find((each) => each.name === name)?.content ?? "";
  if (!known.has(job.id)) {
    known.set(job.id, null);
    send(find("maps.json")).then((answer) => answer.json()).then((facts) => {
      known.set(job.id, facts);
      redraw();
    }, complain);
  }
  const grids = known.get(job.id);
  if (!grids) return html`<p class="loading">Opening …</p>`;
  const layers = Object.keys(grids);
  if (!layers.includes(look.layer)) look.layer = layers[0];
  const grid = grids[look.layer];
  const sheet = loadImage(find(`${look.layer}-grid.png`));
  const photo = job.inputs.content?.[0]?.content ?? "";
  if (!grid.channels.includes(look.channel)) [look.channel] = grid.channels;
  const choose = (/** @type {any} */ event) => {
    look.layer = event.target.value;
    redraw();
  };
  const number = grid.channels.indexOf(look.channel);
  return html`<div class="features">
    <p class="layer"><label for="layer">Layer</label>
      <select id="layer" @change=${choose}>${layers.map((each) => html`
        <option ?selected=${each === look.layer}>${each}</option>`)}</select>
      <span class="hint">${grid.width} × ${grid.height} places, ${grid.channels.length} channels
        shown. Point at a place to see it in all of them.</span></p>
    <div class="seen">
      <figure><div class="spot-pane">
          <img src=${photo} alt="The photograph" ${ref((each) => whenLoaded(each))}>
          ${spot(grid)}</div>
        <figcaption>The photograph</figcaption></figure>
      <figure><div class="spot-pane" tabindex="0" role="group"
          aria-label="Channel ${look.channel} of ${look.layer}; arrow keys move the place"
          @keydown=${(/** @type {KeyboardEvent} */ event) => key(event, grid, sheet, number)}
          @pointermove=${point} @pointerdown=${point}>
          ${sheet ? html`<canvas class="map" ${ref((each) => drawMap(each, sheet, grid, number))}>
            </canvas>` : nothing}${spot(grid)}</div>
        <figcaption>Channel ${look.channel}<b>${sayValue(grid, sheet, number)}</b></figcaption></figure>
    </div>
    <ul class="maps">${sheet ? grid.channels.map((channel, each) => html`<li>
      <button type="button" class="spot-pane" aria-pressed=${channel === look.channel}
        aria-label="Channel ${channel}" @pointermove=${point} @click=${() => {
          look.channel = channel;
          redraw();
        }}><canvas class="map" ${ref((one) => drawMap(one, sheet, grid, each))}></canvas>
        ${spot(grid)}</button><span>${channel}</span></li>`) : nothing}</ul>
    <details class="all" open><summary>Gram matrix of ${look.layer}</summary>
      <p class="help">How strongly each two channels are alight in the same places, over the whole
        picture: all that Gatys’ style loss knows of it.</p>
      <img class="gram" src=${find(`${look.layer}-gram.png`)} alt="Gram matrix of ${look.layer}">
    </details>
    <details class="all"><summary>Files</summary><ul class="files">${job.results.map((each) => html`
      <li><a href=${each.content} download>${each.name}</a></li>`)}</ul></details>
  </div>`;
}

/** The frame around the place that is pointed at: what one value of the map stands for. */
function spot(/** @type {Grid} */ grid) {
  const place = ref((element) => {
    const mark = /** @type {HTMLElement | undefined} */ (element);
    if (!mark) return;
    mark.hidden = !look.at;
    if (!look.at) return;
    const [column, row] = cellOf(grid);
    Object.assign(mark.style, { left: `${(100 * column) / grid.width}%`,
      top: `${(100 * row) / grid.height}%`, width: `${100 / grid.width}%`,
      height: `${100 / grid.height}%` });
  });
  return html`<i class="spot" aria-hidden="true" ${place}></i>`;
}

/** @param {Grid} grid */
function cellOf(grid) {
  const { x, y } = look.at ?? { x: 0, y: 0 };
  return [Math.min(grid.width - 1, Math.floor(x * grid.width)),
    Math.min(grid.height - 1, Math.floor(y * grid.height))];
}

/** @param {PointerEvent} event */
function point(event) {
  const box = /** @type {Element} */ (event.currentTarget).getBoundingClientRect();
  const inside = (/** @type {number} */ share) => Math.min(0.9999, Math.max(0, share));
  look.at = { x: inside((event.clientX - box.left) / box.width),
    y: inside((event.clientY - box.top) / box.height) };
  redraw();
}

function key(
  /** @type {KeyboardEvent} */ event,
  /** @type {Grid} */ grid,
  /** @type {HTMLImageElement | null} */ sheet,
  /** @type {number} */ number,
) {
  const by = MOVES[/** @type {keyof typeof MOVES} */ (event.key)];
  if (!by) return;
  event.preventDefault();
  const [column, row] = look.at ? cellOf(grid) : [grid.width >> 1, grid.height >> 1];
  const next = [Math.min(grid.width - 1, Math.max(0, column + by[0])),
    Math.min(grid.height - 1, Math.max(0, row + by[1]))];
  look.at = { x: (next[0] + 0.5) / grid.width, y: (next[1] + 0.5) / grid.height };
  announce(`${Math.round(100 * look.at.x)} % across, ${Math.round(100 * look.at.y)} % down: ${
    sayValue(grid, sheet, number)}`);
  redraw();
}

/** @param {string} address */
function loadImage(address) {
  if (!images.has(address)) {
    images.set(address, null);
    const image = new Image();
    image.src = address;
    image.decode().then(() => {
      images.set(address, image);
      redraw();
    }, complain);
  }
  return images.get(address) ?? null;
}

/** Draw the photograph anew where its size was not known yet. @param {Element | undefined} image */
function whenLoaded(image) {
  if (image) /** @type {HTMLImageElement} */ (image).onload = redraw;
}

/** Cut a map out of the sheet of all. */
function drawMap(
  /** @type {Element | undefined} */ element,
  /** @type {HTMLImageElement} */ sheet,
  /** @type {Grid} */ grid,
  /** @type {number} */ number,
) {
  const canvas = /** @type {HTMLCanvasElement | undefined} */ (element);
  const drawn = `${sheet.src} ${number}`;
  if (!canvas || canvas.dataset.drawn === drawn) return;
  canvas.dataset.drawn = drawn;
  const { width, height } = grid;
  Object.assign(canvas, { width, height });
  const [left, top] = [(number % grid.columns) * width, Math.floor(number / grid.columns) * height];
  canvas.getContext("2d")?.drawImage(sheet, left, top, width, height, 0, 0, width, height);
}

const reader = document.createElement("canvas");

/** Say how bright a map is at the place, of what is white. */
function sayValue(
  /** @type {Grid} */ grid,
  /** @type {HTMLImageElement | null} */ sheet,
  /** @type {number} */ number,
) {
  if (!look.at || !sheet) return "";
  const [column, row] = cellOf(grid);
  const left = (number % grid.columns) * grid.width + column;
  const top = Math.floor(number / grid.columns) * grid.height + row;
  const context = reader.getContext("2d", { willReadFrequently: true });
  context?.drawImage(sheet, left, top, 1, 1, 0, 0, 1, 1);
  const value = context?.getImageData(0, 0, 1, 1).data[0] ?? 0;
  return ` ${Math.round((100 * value) / 255)} %`;
}

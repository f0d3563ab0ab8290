/**
 * Pair regions by clicks: one of the photograph, then the one of the other picture whose light it
 * is to take. What is not paired takes the light of the region of its own number.
 */

import { html, nothing, render } from "../vendor/lit-html/lit-html.js";
import { ask } from "../api.js";
import { readOption, setOption } from "../drafts.js";
import { announce, attempt } from "../store.js";

/** @typedef {import("../types.js").Draft} Draft */
/** @typedef {import("../types.js").Item} Item */
/** @typedef {{width: number, height: number, numbers: Uint8Array<ArrayBuffer>,
 *   image: HTMLImageElement}} Regions */

const TINTS = [[230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [0, 114, 178],
  [213, 94, 0], [204, 121, 167], [153, 153, 153]];

/** Look for the regions, which takes seconds, and open the dialog. */
export async function openRegions(
  /** @type {Draft} */ draft,
  /** @type {Item} */ photo,
  /** @type {Item} */ like,
) {
  const regions = readOption(draft, "regions");
  const opened = await attempt(async () => {
    const found = await ask("/regions", { json: { content: photo.source, like: like.source, regions } });
    const sides = await Promise.all([[found.content, photo], [found.like, like]].map(
      async ([map, item]) => ({ width: map.width, height: map.height,
        numbers: Uint8Array.from(atob(map.numbers), (each) => each.charCodeAt(0)),
        image: await load(item.content ?? "") })));
    return { sides, count: found.count };
  }, "Looking for regions …");
  if (opened) new RegionPairs(draft, opened.sides, opened.count).open();
}

/** @param {string} address @returns {Promise<HTMLImageElement>} */
async function load(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
}

class RegionPairs {
  /** @type {Map<number, number>} from regions of the photograph to those of the other */
  pairs = new Map();
  chosen = 0;

  constructor(/** @type {Draft} */ draft, /** @type {Regions[]} */ sides, /** @type {number} */ count) {
    this.draft = draft;
    this.sides = sides;
    this.count = count;
    for (const each of readOption(draft, "pair") ?? []) {
      const [ours, theirs] = String(each).split("=").map(Number);
      if (ours <= count && theirs <= count) this.pairs.set(ours, theirs);
    }
    this.dialog = document.createElement("dialog");
    this.dialog.className = "mask-editor";
    this.dialog.setAttribute("aria-labelledby", "regions-title");
    this.dialog.addEventListener("close", () => this.dialog.remove());
  }

  open() {
    document.body.append(this.dialog);
    this.draw();
    this.dialog.showModal();
    this.paint();
  }

  draw() {
    const names = ["The photograph", "The one it is to be like"];
    const all = Array.from({ length: this.count }, (_, each) => each + 1);
    const number = (/** @type {number} */ side, /** @type {number} */ each) => html`
      <button type="button" class="label-${((each - 1) % TINTS.length) + 1}"
        aria-pressed=${side === 0 ? this.chosen === each : this.pairs.get(this.chosen) === each}
        ?disabled=${side === 1 && !this.chosen}
        aria-label="${names[side]}: region ${each}" @click=${() => this.choose(side, each)}>
        ${each}</button>`;
    render(html`
      <h2 id="regions-title">Which region takes whose light</h2>
      <p class="hint" role="status">${this.chosen
        ? `Now choose the region whose light number ${this.chosen} is to take.`
        : "Choose a region of the photograph, by a click on it or by its number."}</p>
      <div class="label-panes">${this.sides.map((side, at) => html`<figure>
        <figcaption>${names[at]}</figcaption>
        <div class="palette" role="group" aria-label="${names[at]}: regions">
          ${all.map((each) => number(at, each))}</div>
        <div class="mask-pane"><canvas data-side=${at} width=${side.image.naturalWidth}
          height=${side.image.naturalHeight} @click=${(/** @type {any} */ event) =>
            this.choose(at, this.find(event, side))}></canvas></div></figure>`)}</div>
      <p>${[...this.pairs].map(([ours, theirs]) => html`<span class="chip">${ours} takes the light of
        ${theirs} <button type="button" aria-label="Remove ${ours} = ${theirs}" @click=${() => {
          this.pairs.delete(ours);
          this.draw();
        }}>×</button></span>`)}${this.pairs.size ? nothing
          : html`<span class="hint">Equal numbers take their light from one another.</span>`}</p>
      <div class="mask-actions"><span class="space"></span>
        <button type="button" @click=${() => this.dialog.close()}>Leave it</button>
        <button type="button" class="primary" @click=${() => this.save()}>Use these pairs</button>
      </div>`, this.dialog);
  }

  /** Return the region under the pointer; 0 beside the picture, which is fitted into its canvas. */
  find(/** @type {MouseEvent} */ event, /** @type {Regions} */ side) {
    const canvas = /** @type {HTMLCanvasElement} */ (event.target);
    const box = canvas.getBoundingClientRect();
    const scale = Math.min(box.width / canvas.width, box.height / canvas.height);
    const x = 0.5 + (event.clientX - box.left - box.width / 2) / (canvas.width * scale);
    const y = 0.5 + (event.clientY - box.top - box.height / 2) / (canvas.height * scale);
    if (x < 0 || x >= 1 || y < 0 || y >= 1) return 0;
    return side.numbers[Math.floor(y * side.height) * side.width + Math.floor(x * side.width)];
  }

  /** @param {number} side @param {number} number */
  choose(side, number) {
    if (!number) return;
    if (side === 0) this.chosen = number;
    else if (this.chosen) {
      if (number === this.chosen) this.pairs.delete(this.chosen);
      else this.pairs.set(this.chosen, number);
      announce(`Region ${this.chosen} takes the light of ${number}`);
      this.chosen = 0;
    }
    this.draw();
  }

  /** Show the pictures with their regions as tints. */
  paint() {
    for (const [at, side] of this.sides.entries()) {
      const canvas = /** @type {HTMLCanvasElement} */ (this.dialog.querySelector(`[data-side="${at}"]`));
      const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
      context.drawImage(side.image, 0, 0);
      const tint = document.createElement("canvas");
      Object.assign(tint, { width: side.width, height: side.height });
      const small = /** @type {CanvasRenderingContext2D} */ (tint.getContext("2d"));
      const pixels = small.createImageData(side.width, side.height);
      for (let each = 0; each < side.numbers.length; each++) {
        pixels.data.set([...TINTS[(side.numbers[each] - 1) % TINTS.length], 140], 4 * each);
      }
      small.putImageData(pixels, 0, 0);
      context.drawImage(tint, 0, 0, canvas.width, canvas.height);
    }
  }

  save() {
    const pairs = [...this.pairs].map(([ours, theirs]) => `${ours}=${theirs}`);
    setOption(this.draft, "pair", pairs.length ? pairs : undefined);
    this.dialog.close();
  }
}

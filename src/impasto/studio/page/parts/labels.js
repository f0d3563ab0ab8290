/**
 * The editor of label maps: a dialog with the photograph and the style side by side.
 *
 * What has one colour in both is painted (or relit) from one another. A label is a number, 0 for
 * the rest; each map is one byte a pixel, and is uploaded as a PNG in the colours of its labels.
 */

import { html, render } from "../vendor/lit-html/lit-html.js";
import { upload } from "../api.js";
import { touch } from "../drafts.js";
import { announce, attempt } from "../store.js";
import { fillLike, stampLabel } from "./brush.js";

/** @typedef {import("../types.js").Draft} Draft */
/** @typedef {import("../types.js").Item} Item */
/** @typedef {{name: string, image: HTMLImageElement, width: number, height: number,
 *   pixels: Uint8ClampedArray, map: Uint8ClampedArray<ArrayBuffer>,
 *   past: Uint8ClampedArray<ArrayBuffer>[], cursor: {x: number, y: number}}} Side */

const LONGEST = 768;
const MOST_UNDO = 20;
/** The rest, and colours that are told apart by everybody (after Okabe and Ito). */
const COLORS = [[128, 128, 128], [230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66],
  [0, 114, 178], [213, 94, 0]];
const NAMES = ["the rest", "orange", "sky blue", "green", "yellow", "blue", "vermilion"];
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Open the editor for a photograph and a style or a picture to be like. */
export async function openLabels(
  /** @type {Draft} */ draft,
  /** @type {[Item, Item]} */ items,
) {
  const known = draft.files.labels ?? [];
  const sides = await attempt(() => Promise.all(items.map((item, number) =>
    prepare(item, number ? "The style" : "The photograph", known[number]?.content))));
  if (sides) new LabelEditor(draft, sides).open();
}

/**
 * @param {Item} item @param {string} name @param {string | null | undefined} known
 * @returns {Promise<Side>}
 */
async function prepare(item, name, known) {
  const image = await load(item.content ?? "");
  const scale = Math.min(1, LONGEST / Math.max(image.naturalWidth, image.naturalHeight));
  const width = Math.max(1, Math.round(image.naturalWidth * scale));
  const height = Math.max(1, Math.round(image.naturalHeight * scale));
  const map = new Uint8ClampedArray(width * height);
  if (known) {
    const found = readPixels(await load(known), width, height);
    for (let at = 0; at < map.length; at++) map[at] = nearest(found.subarray(4 * at, 4 * at + 3));
  }
  return { name, image, width, height, pixels: readPixels(image, width, height), map, past: [],
    cursor: { x: width / 2, y: height / 2 } };
}

/** @param {string} address @returns {Promise<HTMLImageElement>} */
async function load(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
}

/** @param {HTMLImageElement} image @param {number} width @param {number} height */
function readPixels(image, width, height) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.imageSmoothingEnabled = false;
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}

/** Return the label whose colour is nearest. @param {ArrayLike<number>} color */
function nearest(color) {
  const far = COLORS.map((each) => each.reduce((sum, one, at) => sum + (one - color[at]) ** 2, 0));
  return far.indexOf(Math.min(...far));
}

class LabelEditor {
  label = 1;
  tool = "brush";
  size = 60;
  tolerance = 30;
  /** @type {Side | null} whose pointer is down */ active = null;

  constructor(/** @type {Draft} */ draft, /** @type {Side[]} */ sides) {
    this.draft = draft;
    this.sides = sides;
    this.dialog = document.createElement("dialog");
    this.dialog.className = "mask-editor";
    this.dialog.setAttribute("aria-labelledby", "labels-title");
    this.dialog.addEventListener("close", () => this.dialog.remove());
    this.dialog.addEventListener("keydown", (event) => this.key(event));
  }

  open() {
    document.body.append(this.dialog);
    this.draw();
    this.dialog.showModal();
    new ResizeObserver(() => this.fit()).observe(this.dialog);
    this.fit();
    for (const side of this.sides) this.paint(side);
    this.canvasOf(this.sides[0])?.focus();
  }

  // --- what is shown

  /** The labels that one side has and the other lacks. */
  findLacking() {
    const [ours, theirs] = this.sides.map((side) => new Set(side.map));
    return [...new Set([...ours, ...theirs])].filter((each) => ours.has(each) !== theirs.has(each));
  }

  draw() {
    const lacking = this.findLacking();
    const isNew = this.sides.every((side) => side.map.every((each) => each === 0));
    const slider = (/** @type {"size" | "tolerance"} */ key, /** @type {string} */ text,
      /** @type {number[]} */ [min, max]) => html`<label>${text}
        <input type="range" min=${min} max=${max} .value=${String(this[key])}
          @input=${(/** @type {any} */ event) => { this[key] = Number(event.target.value); }}></label>`;
    render(html`
      <h2 id="labels-title">What is painted from what</h2>
      <div class="mask-tools" role="toolbar" aria-label="Tools">
        <div class="segments" role="group" aria-label="Tool">
          ${[["brush", "Brush"], ["fill", "Fill alike"]].map(([tool, text]) => html`
            <button type="button" aria-pressed=${this.tool === tool}
              @click=${() => this.choose({ tool })}>${text}</button>`)}</div>
        <div class="palette" role="group" aria-label="Label">${COLORS.map((_, label) => html`
          <button type="button" class="label-${label}" aria-pressed=${this.label === label}
            title=${NAMES[label]} aria-label="${label}, ${NAMES[label]}"
            @click=${() => this.choose({ label })}>${label}</button>`)}</div>
        ${this.tool === "fill" ? slider("tolerance", "How unlike", [1, 120])
          : slider("size", "Size", [4, 300])}
      </div>
      <div class="label-panes">${this.sides.map((side, number) => html`<figure>
        <figcaption>${side.name}</figcaption>
        <div class="mask-pane"><canvas tabindex="0" role="application" data-side=${number}
          width=${side.width} height=${side.height}
          aria-label="${side.name}. Arrow keys move the brush, space paints, 0 to 6 choose the label."
          @pointerdown=${(/** @type {any} */ event) => this.press(event, side)}
          @pointermove=${(/** @type {any} */ event) => this.move(event, side)}
          @pointerup=${() => { this.active = null; this.draw(); }}
          @pointercancel=${() => { this.active = null; }}></canvas></div></figure>`)}</div>
      <p class="hint" role="status">${lacking.length
        ? `Paint this in both: ${lacking.map((each) => NAMES[each]).join(", ")}.`
        : "Paint the same colour over what belongs together: sky and sky, face and face."}</p>
      <div class="mask-actions">
        <button type="button" ?disabled=${!this.sides.some((each) => each.past.length)}
          @click=${() => this.undo()}>Undo</button>
        <button type="button" @click=${() => this.clear()}>Clear</button>
        <span class="space"></span>
        <button type="button" @click=${() => this.dialog.close()}>Leave it</button>
        <button type="button" class="primary" ?disabled=${lacking.length > 0 || isNew}
          @click=${() => this.save()}>Use these labels</button>
      </div>`, this.dialog);
  }

  /** @param {Side} side @returns {HTMLCanvasElement | null} */
  canvasOf(side) {
    return this.dialog.querySelector(`canvas[data-side="${this.sides.indexOf(side)}"]`);
  }

  fit() {
    for (const side of this.sides) {
      const canvas = this.canvasOf(side);
      const pane = canvas?.parentElement;
      if (!canvas || !pane) continue;
      const scale = Math.min(pane.clientWidth / side.width, pane.clientHeight / side.height);
      canvas.style.width = `${Math.floor(side.width * scale)}px`;
      canvas.style.height = `${Math.floor(side.height * scale)}px`;
    }
  }

  /** Show a picture with its labels as a tint. @param {Side} side */
  paint(side, isByKeys = false) {
    const context = this.canvasOf(side)?.getContext("2d", { willReadFrequently: true });
    if (!context) return;
    context.drawImage(side.image, 0, 0, side.width, side.height);
    const shown = context.getImageData(0, 0, side.width, side.height);
    for (let at = 0; at < side.map.length; at++) {
      if (!side.map[at]) continue;
      const color = COLORS[side.map[at]];
      for (let channel = 0; channel < 3; channel++) {
        shown.data[4 * at + channel] = 0.4 * shown.data[4 * at + channel] + 0.6 * color[channel];
      }
    }
    context.putImageData(shown, 0, 0);
    if (!isByKeys) return;
    for (const [color, more] of [["#000", 1], ["#fff", 0]]) {
      context.lineWidth = 2;
      context.strokeStyle = String(color);
      context.beginPath();
      context.arc(side.cursor.x, side.cursor.y, this.size / 2 + Number(more), 0, 2 * Math.PI);
      context.stroke();
    }
  }

  // --- changes

  /** @param {{tool?: string, label?: number}} what */
  choose(what) {
    Object.assign(this, what);
    announce(what.tool ?? NAMES[this.label]);
    this.draw();
  }

  /** @param {Side} side */
  remember(side) {
    side.past = [...side.past.slice(-MOST_UNDO + 1), side.map.slice()];
    for (const other of this.sides) if (other !== side) other.past.push(other.map.slice());
  }

  undo() {
    for (const side of this.sides) {
      side.map = side.past.pop() ?? side.map;
      this.paint(side);
    }
    this.draw();
  }

  clear() {
    this.remember(this.sides[0]);
    for (const side of this.sides) {
      side.map.fill(0);
      this.paint(side);
    }
    this.draw();
  }

  /** @param {Side} side @param {{x: number, y: number}} at */
  apply(side, at, isByKeys = false) {
    if (this.tool === "fill") {
      const mask = new Uint8ClampedArray(side.map.length);
      fillLike(mask, side.pixels, side.width, side.height, at, this.tolerance);
      for (let each = 0; each < mask.length; each++) if (mask[each]) side.map[each] = this.label;
    } else stampLabel(side.map, side.width, side.height, at, this.size, this.label);
    this.paint(side, isByKeys);
  }

  /** @param {PointerEvent} event @param {Side} side */
  find(event, side) {
    const box = /** @type {Element} */ (event.target).getBoundingClientRect();
    return { x: ((event.clientX - box.left) / box.width) * side.width,
      y: ((event.clientY - box.top) / box.height) * side.height };
  }

  /** @param {PointerEvent} event @param {Side} side */
  press(event, side) {
    /** @type {Element} */ (event.target).setPointerCapture(event.pointerId);
    this.remember(side);
    this.active = side;
    side.cursor = this.find(event, side);
    this.apply(side, side.cursor);
  }

  /** @param {PointerEvent} event @param {Side} side */
  move(event, side) {
    if (this.active !== side || this.tool === "fill") return;
    const [from, to] = [side.cursor, this.find(event, side)];
    const count = Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / Math.max(1, this.size / 12));
    for (let each = 1; each < count; each++) {
      const at = { x: from.x + ((to.x - from.x) * each) / count,
        y: from.y + ((to.y - from.y) * each) / count };
      stampLabel(side.map, side.width, side.height, at, this.size, this.label);
    }
    side.cursor = to;
    this.apply(side, to);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { key } = event;
    if ((event.ctrlKey || event.metaKey) && key.toLowerCase() === "z") {
      event.preventDefault();
      return this.undo();
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return undefined;
    const number = /** @type {HTMLElement} */ (event.target).dataset?.side;
    if (number === undefined) return undefined;
    const side = this.sides[Number(number)];
    if (key in COLORS) return this.choose({ label: Number(key) });
    if (key === "[" || key === "]") this.size = Math.min(300, Math.max(4, this.size * (key === "]" ? 1.2 : 1 / 1.2)));
    const by = STEPS[/** @type {keyof typeof STEPS} */ (key)];
    if (!by && !" []".includes(key)) return undefined;
    event.preventDefault();
    if (by) {
      const far = Math.max(2, this.size / (event.shiftKey ? 1 : 4));
      side.cursor = { x: Math.min(side.width, Math.max(0, side.cursor.x + by[0] * far)),
        y: Math.min(side.height, Math.max(0, side.cursor.y + by[1] * far)) };
    } else if (key === " ") {
      this.remember(side);
      this.apply(side, side.cursor, true);
      announce(`${NAMES[this.label]} at ${Math.round((100 * side.cursor.x) / side.width)} % across, `
        + `${Math.round((100 * side.cursor.y) / side.height)} % down`);
      this.draw();
    }
    return this.paint(side, true);
  }

  async save() {
    const saved = await attempt(async () => {
      this.draft.files.labels = await Promise.all(this.sides.map((side, number) =>
        uploadMap(side, number ? "style labels.png" : "photograph labels.png")));
      touch();
      return true;
    }, "Uploading the labels …");
    if (saved) this.dialog.close();
  }
}

/** @param {Side} side @param {string} name @returns {Promise<Item>} */
async function uploadMap({ map, width, height }, name) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(width, height);
  for (let at = 0; at < map.length; at++) image.data.set([...COLORS[map[at]], 255], 4 * at);
  context.putImageData(image, 0, 0);
  const blob = await new Promise((go) => canvas.toBlob(go, "image/png"));
  const { info, ...item } = await upload(/** @type {Blob} */ (blob), name);
  return item;
}

/**
 * The mask editor: a dialog over the photograph, for mouse, touch and keys.
 *
 * What is painted is white in the mask; it is shown as a tint over the photograph.
 */

import { html, nothing, render } from "../vendor/lit-html/lit-html.js";
import { upload } from "../api.js";
import { setOption, touch } from "../drafts.js";
import { bareName } from "../jobs.js";
import { announce, attempt } from "../store.js";
import { dab, fillLike, strokeLine } from "./brush.js";

/** @typedef {import("../types.js").Draft} Draft */
/** @typedef {import("../types.js").Item} Item */

const LONGEST = 1024; // of the mask's sides
const MOST_UNDO = 30;
const TOOLS = [["brush", "Brush", "b"], ["eraser", "Eraser", "e"], ["fill", "Fill alike", "f"]];
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Open the editor for the mask of the whole painting, or of one style. */
export async function openMask(
  /** @type {Draft} */ draft,
  /** @type {Item} */ photo,
  /** @type {number | null} */ style,
) {
  const known = style === null ? draft.files.mask?.[0] : draft.inputs.style[style].mask;
  const images = await attempt(() =>
    Promise.all([photo.content, known?.content].map((each) => each ? load(each) : null)));
  if (images?.[0]) new MaskEditor(draft, style, images[0], images[1] ?? null).open();
}

/** @param {string} address @returns {Promise<HTMLImageElement>} */
async function load(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
}

class MaskEditor {
  tool = "brush";
  size = 60;
  softness = 0.5;
  tolerance = 30;
  zoom = 1;
  shift = { x: 0, y: 0 };
  cursor = { x: 0, y: 0 };
  isByKeys = false;
  /** @type {Uint8ClampedArray<ArrayBuffer>[]} */ past = [];
  /** @type {Uint8ClampedArray<ArrayBuffer>[]} */ future = [];
  /** @type {Map<number, {x: number, y: number}>} */ fingers = new Map();
  /** @type {{x: number, y: number} | null} */ last = null;

  constructor(
    /** @type {Draft} */ draft,
    /** @type {number | null} */ style,
    /** @type {HTMLImageElement} */ photo,
    /** @type {HTMLImageElement | null} */ known,
  ) {
    Object.assign(this, { draft, style, photo });
    this.draft = draft;
    this.style = style;
    const scale = Math.min(1, LONGEST / Math.max(photo.naturalWidth, photo.naturalHeight));
    this.width = Math.max(1, Math.round(photo.naturalWidth * scale));
    this.height = Math.max(1, Math.round(photo.naturalHeight * scale));
    this.size = Math.round(Math.max(this.width, this.height) / 10);
    this.cursor = { x: this.width / 2, y: this.height / 2 };
    this.pixels = readPixels(photo, this.width, this.height);
    this.mask = new Uint8ClampedArray(this.width * this.height);
    if (known) {
      const found = readPixels(known, this.width, this.height);
      for (let at = 0; at < this.mask.length; at++) this.mask[at] = found[4 * at];
    }
    this.photo = photo;
    this.dialog = document.createElement("dialog");
    this.dialog.className = "mask-editor";
    this.dialog.setAttribute("aria-labelledby", "mask-title");
    this.dialog.addEventListener("close", () => this.dialog.remove());
    this.dialog.addEventListener("keydown", (event) => this.key(event));
  }

  open() {
    document.body.append(this.dialog);
    this.draw();
    this.canvas = /** @type {HTMLCanvasElement} */ (this.dialog.querySelector("canvas"));
    this.canvas.width = this.width;
    this.canvas.height = this.height;
    this.dialog.showModal();
    new ResizeObserver(() => this.fitPane()).observe(/** @type {Element} */ (this.canvas.parentElement));
    this.fitPane();
    this.canvas.focus();
    this.paint();
  }

  // --- what is shown

  draw() {
    const name = this.style === null ? "What is painted"
      : `Where ${bareName(this.draft.inputs.style[this.style].name)} goes`;
    const slider = (/** @type {"size" | "softness" | "tolerance"} */ key, /** @type {string} */ text,
      /** @type {number[]} */ [min, max, step]) => html`<label>${text}
        <input type="range" min=${min} max=${max} step=${step} .value=${String(this[key])}
          @input=${(/** @type {any} */ event) => {
            this[key] = Number(event.target.value);
            this.draw();
            this.paint();
          }}></label>`;
    render(html`
      <h2 id="mask-title">${name}</h2>
      <div class="mask-tools" role="toolbar" aria-label="Tools">
        <div class="segments" role="group" aria-label="Tool">${TOOLS.map(([tool, text, key]) => html`
          <button type="button" aria-pressed=${this.tool === tool} aria-keyshortcuts=${key}
            @click=${() => this.choose(tool)}>${text}</button>`)}</div>
        ${this.tool === "fill" ? slider("tolerance", "How unlike", [1, 120, 1])
          : [slider("size", "Size", [2, 400, 1]), slider("softness", "Softness", [0, 1, 0.05])]}
        <label>Feather <input type="range" min="0" max="50" step="1"
          .value=${String(this.draft.options.feather ?? 0)} @change=${(/** @type {any} */ event) =>
            setOption(this.draft, "feather", Number(event.target.value) || undefined)}></label>
      </div>
      <div class="mask-pane"><canvas tabindex="0" role="application"
        aria-label="Mask. Arrow keys move the brush, space paints, brackets change its size."
        aria-describedby="mask-help"
        @pointerdown=${(/** @type {any} */ event) => this.press(event)}
        @pointermove=${(/** @type {any} */ event) => this.move(event)}
        @pointerup=${(/** @type {any} */ event) => this.lift(event)}
        @pointercancel=${(/** @type {any} */ event) => this.lift(event)}
        @wheel=${(/** @type {any} */ event) => this.wheel(event)}></canvas></div>
      <p class="hint" id="mask-help">Two fingers or the wheel zoom. Keys: arrows move the brush
        (with Shift, farther), space paints, [ and ] its size, B, E, F the tool, Ctrl+Z undoes.</p>
      <div class="mask-actions">
        <button type="button" ?disabled=${!this.past.length} @click=${() => this.undo()}>Undo</button>
        <button type="button" ?disabled=${!this.future.length} @click=${() => this.redo()}>Redo</button>
        <button type="button" @click=${() => this.change(() => this.mask.fill(255))}>Fill all</button>
        <button type="button" @click=${() => this.change(() => this.mask.fill(0))}>Clear</button>
        <button type="button" @click=${() => this.change(() => this.invert())}>Invert</button>
        ${this.zoom > 1 ? html`<button type="button" @click=${() => {
          Object.assign(this, { zoom: 1, shift: { x: 0, y: 0 } });
          this.place();
          this.draw();
        }}>Fit</button>` : nothing}
        <span class="space"></span>
        <button type="button" @click=${() => this.dialog.close()}>Leave it</button>
        <button type="button" class="primary" @click=${() => this.save()}>Use this mask</button>
      </div>`, this.dialog);
  }

  /** Make the canvas as large as its pane lets it be. */
  fitPane() {
    const pane = this.canvas?.parentElement;
    if (!pane || !this.canvas) return;
    const scale = Math.min(pane.clientWidth / this.width, pane.clientHeight / this.height);
    this.canvas.style.width = `${Math.floor(this.width * scale)}px`;
    this.canvas.style.height = `${Math.floor(this.height * scale)}px`;
  }

  /** Show the photograph with the mask as a tint, and the brush where keys move it. */
  paint() {
    const context = this.canvas?.getContext("2d", { willReadFrequently: true });
    if (!context) return;
    context.drawImage(this.photo, 0, 0, this.width, this.height);
    const shown = context.getImageData(0, 0, this.width, this.height);
    for (let at = 0; at < this.mask.length; at++) {
      const share = 0.6 * (1 - this.mask[at] / 255); // what is kept is dimmed
      for (let channel = 0; channel < 3; channel++) {
        shown.data[4 * at + channel] *= 1 - share;
      }
      shown.data[4 * at] += (this.mask[at] / 255) * 50;
    }
    context.putImageData(shown, 0, 0);
    if (!this.isByKeys) return;
    context.lineWidth = Math.max(2, this.width / 300);
    for (const [color, more] of [["#000", 1], ["#fff", 0]]) {
      context.strokeStyle = String(color);
      context.beginPath();
      context.arc(this.cursor.x, this.cursor.y, this.size / 2 + Number(more), 0, 2 * Math.PI);
      context.stroke();
    }
  }

  place() {
    if (!this.canvas) return;
    const { x, y } = this.shift;
    this.canvas.style.transform = `translate(${x}px, ${y}px) scale(${this.zoom})`;
  }

  /** @param {string} tool */
  choose(tool) {
    this.tool = tool;
    announce(`${tool}`);
    this.draw();
  }

  // --- changes

  remember() {
    this.past = [...this.past.slice(-MOST_UNDO + 1), this.mask.slice()];
    this.future = [];
  }

  /** @param {() => unknown} act */
  change(act) {
    this.remember();
    act();
    this.draw();
    this.paint();
  }

  undo() {
    const before = this.past.pop();
    if (!before) return;
    this.future.push(this.mask);
    this.mask = before;
    this.draw();
    this.paint();
  }

  redo() {
    const next = this.future.pop();
    if (!next) return;
    this.past.push(this.mask);
    this.mask = next;
    this.draw();
    this.paint();
  }

  invert() {
    for (let at = 0; at < this.mask.length; at++) this.mask[at] = 255 - this.mask[at];
  }

  /** @param {{x: number, y: number}} at @param {{x: number, y: number} | null} from */
  apply(at, from) {
    const { width, height, size, softness } = this;
    const value = this.tool === "eraser" ? 0 : 255;
    if (this.tool === "fill") {
      fillLike(this.mask, this.pixels, width, height, at, this.tolerance);
    } else if (from) strokeLine(this.mask, width, height, from, at, { size, softness, value });
    else dab(this.mask, width, height, at, { size, softness, value });
    this.paint();
  }

  // --- mouse and touch

  /** @param {PointerEvent} event */
  find(event) {
    const box = /** @type {HTMLCanvasElement} */ (this.canvas).getBoundingClientRect();
    return { x: ((event.clientX - box.left) / box.width) * this.width,
      y: ((event.clientY - box.top) / box.height) * this.height };
  }

  /** @param {PointerEvent} event */
  press(event) {
    event.preventDefault();
    this.canvas?.setPointerCapture(event.pointerId);
    this.canvas?.focus();
    this.isByKeys = false;
    this.fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (this.fingers.size === 2 && this.last) {
      this.last = null; // the first finger's dab was the beginning of a pinch
      this.undo();
      this.future.pop();
    }
    if (this.fingers.size > 1) return;
    this.remember();
    this.last = this.find(event);
    this.apply(this.last, null);
    this.draw();
  }

  /** @param {PointerEvent} event */
  move(event) {
    const before = this.fingers.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY };
    const other = [...this.fingers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) this.pinch(before, now, other);
    else if (this.last && this.tool !== "fill") {
      const at = this.find(event);
      this.apply(at, this.last);
      this.last = at;
    }
    this.fingers.set(event.pointerId, now);
  }

  /** @param {{x: number, y: number}} before @param {{x: number, y: number}} now */
  pinch(before, now, /** @type {{x: number, y: number}} */ other) {
    const was = Math.hypot(before.x - other.x, before.y - other.y) || 1;
    const by = Math.hypot(now.x - other.x, now.y - other.y) / was;
    this.shift.x += (now.x - before.x) / 2;
    this.shift.y += (now.y - before.y) / 2;
    this.scale(by, (now.x + other.x) / 2, (now.y + other.y) / 2);
  }

  /** @param {number} by @param {number} x @param {number} y on the screen, of what stays in place */
  scale(by, x, y) {
    const next = Math.min(12, Math.max(1, this.zoom * by));
    const pane = /** @type {HTMLElement} */ (this.canvas?.parentElement).getBoundingClientRect();
    const middle = { x: pane.left + pane.width / 2, y: pane.top + pane.height / 2 };
    const ratio = next / this.zoom;
    this.shift.x = x - middle.x - (x - middle.x - this.shift.x) * ratio;
    this.shift.y = y - middle.y - (y - middle.y - this.shift.y) * ratio;
    this.zoom = next;
    if (next === 1) this.shift = { x: 0, y: 0 };
    this.place();
  }

  /** @param {PointerEvent} event */
  lift(event) {
    this.fingers.delete(event.pointerId);
    if (!this.fingers.size) this.last = null;
    this.draw();
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    event.preventDefault();
    this.scale(Math.exp(-event.deltaY / 400), event.clientX, event.clientY);
    this.draw();
  }

  // --- keys

  /** @param {KeyboardEvent} event */
  key(event) {
    const { key } = event;
    const isCommand = event.ctrlKey || event.metaKey;
    if (isCommand && key.toLowerCase() === "z") {
      event.preventDefault();
      return event.shiftKey ? this.redo() : this.undo();
    }
    if (isCommand && key.toLowerCase() === "y") {
      event.preventDefault();
      return this.redo();
    }
    if (isCommand || event.altKey) return undefined;
    const tool = TOOLS.find(([, , letter]) => letter === key.toLowerCase());
    if (tool) return this.choose(tool[0]);
    if (key === "[" || key === "]") {
      this.size = Math.min(400, Math.max(2, this.size * (key === "]" ? 1.2 : 1 / 1.2)));
      this.draw();
      return this.paint();
    }
    return event.target === this.canvas ? this.keyOnCanvas(event) : undefined;
  }

  /** @param {KeyboardEvent} event */
  keyOnCanvas(event) {
    const by = STEPS[/** @type {keyof typeof STEPS} */ (event.key)];
    if (!by && event.key !== " ") return;
    event.preventDefault();
    this.isByKeys = true;
    if (by) {
      const far = Math.max(2, this.size / (event.shiftKey ? 1 : 4));
      this.cursor.x = Math.min(this.width, Math.max(0, this.cursor.x + by[0] * far));
      this.cursor.y = Math.min(this.height, Math.max(0, this.cursor.y + by[1] * far));
      this.paint();
    } else {
      this.change(() => this.apply(this.cursor, null));
      announce(`${this.tool} at ${Math.round((100 * this.cursor.x) / this.width)} % across, `
        + `${Math.round((100 * this.cursor.y) / this.height)} % down`);
    }
  }

  // --- keeping it

  async save() {
    const saved = await attempt(async () => {
      const item = await uploadMask(this.mask, this.width, this.height);
      if (this.style === null) this.draft.files.mask = [item];
      else await this.giveStyle(this.style, item);
      touch();
      return true;
    }, "Uploading the mask …");
    if (saved) this.dialog.close();
  }

  /** Each style needs a mask where one has one: those without go everywhere. */
  async giveStyle(/** @type {number} */ style, /** @type {Item} */ item) {
    const styles = this.draft.inputs.style;
    styles[style].mask = item;
    const lacking = styles.filter((each) => !each.mask);
    if (!lacking.length) return;
    // The others go where this one does not, which is what one means by the first mask.
    const rest = this.mask.map((each) => 255 - each);
    const other = await uploadMask(rest, this.width, this.height);
    for (const each of lacking) each.mask = other;
  }
}

/** @param {HTMLImageElement} image @param {number} width @param {number} height */
function readPixels(image, width, height) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}

/** @param {Uint8ClampedArray} mask @param {number} width @param {number} height */
async function uploadMask(mask, width, height) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(width, height);
  for (let at = 0; at < mask.length; at++) {
    image.data.fill(mask[at], 4 * at, 4 * at + 3);
    image.data[4 * at + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  const blob = await new Promise((go) => canvas.toBlob(go, "image/png"));
  const { info, ...item } = await upload(/** @type {Blob} */ (blob), "mask.png");
  return item;
}

/**
 * <picture-viewer>: one picture, or two to compare; zoomed by wheel, pinch, drag and keys.
 *
 * Properties: first, second (addresses), mode (second | divided | side), what (for the alt texts).
 */

import { html, nothing, render } from "../vendor/lit-html/lit-html.js";

const MOST = 16;

export class PictureViewer extends HTMLElement {
  first = "";
  second = "";
  mode = "divided";
  what = "the picture";
  names = ["Before", "After"];
  divide = 50;
  zoom = 1;
  x = 0;
  y = 0;
  /** @type {Map<number, {x: number, y: number}>} */
  #fingers = new Map();
  #isReady = false;

  connectedCallback() {
    if (this.#isReady) return;
    this.#isReady = true;
    this.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.addEventListener("pointerdown", (event) => this.#press(event));
    this.addEventListener("pointermove", (event) => this.#move(event));
    for (const kind of ["pointerup", "pointercancel"]) {
      this.addEventListener(kind, (event) =>
        this.#fingers.delete(/** @type {PointerEvent} */ (event).pointerId));
    }
    this.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.place()).observe(this);
    this.draw();
  }

  /** Take what is to be shown. @param {Record<string, any>} given */
  show(given) {
    const isOther = given.first !== undefined && given.first !== this.first;
    Object.assign(this, given);
    if (isOther) Object.assign(this, { zoom: 1, x: 0, y: 0 });
    this.draw();
  }

  get isPair() {
    return Boolean(this.first && this.second && this.first !== this.second);
  }

  draw() {
    if (!this.#isReady) return;
    const mode = this.isPair ? this.mode : "second";
    this.dataset.mode = mode;
    const shown = this.second || this.first;
    const picture = (/** @type {string} */ src, /** @type {string} */ name, /** @type {string} */ alt) =>
      html`<div class="frame"><div class="layer ${name}">
        <img src=${src} alt=${alt} draggable="false" @load=${() => this.place()}></div></div>`;
    const [one, other] = this.names;
    const body = mode === "second"
      ? picture(shown, "second", this.what)
      : html`${picture(this.first, "first", `${this.what}: ${one.toLowerCase()}`)}
          ${picture(this.second, "second", `${this.what}: ${other.toLowerCase()}`)}`;
    render(html`
      <div class="panes" role="group" aria-label="Picture; plus, minus and the arrow keys zoom and move it"
        tabindex="0">${shown ? body : nothing}
        ${mode === "second" ? nothing : html`<span class="tag first">${one}</span>
          <span class="tag second">${other}</span>`}
        ${mode === "divided" ? html`<div class="divider" aria-hidden="true"></div>` : nothing}
      </div>
      ${mode === "divided" ? html`
        <label class="divide"><span class="visually-hidden">How much of “${one}” is shown</span>
          <input type="range" min="0" max="100" step="1" .value=${String(this.divide)}
            @input=${(/** @type {any} */ event) => {
              this.divide = Number(event.target.value);
              this.place();
            }}></label>` : nothing}`, this);
    this.place();
  }

  /** Put layers, divider and zoom where they belong. */
  place() {
    const pair = this.dataset.mode === "divided";
    for (const layer of /** @type {NodeListOf<HTMLElement>} */ (this.querySelectorAll(".layer"))) {
      layer.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.zoom})`;
      layer.classList.toggle("pixels", this.zoom > 1 && this.zoom * this.fit() >= 3);
    }
    const panes = /** @type {HTMLElement | null} */ (this.querySelector(".panes"));
    if (!panes || !pair) {
      for (const frame of /** @type {NodeListOf<HTMLElement>} */ (this.querySelectorAll(".frame"))) {
        frame.style.clipPath = "";
      }
      return;
    }
    const frames = /** @type {NodeListOf<HTMLElement>} */ (panes.querySelectorAll(".frame"));
    const box = this.#pictureBox();
    const at = box.left + (box.width * this.divide) / 100;
    frames[0].style.clipPath = `inset(0 ${panes.clientWidth - at}px 0 0)`;
    frames[1].style.clipPath = `inset(0 0 0 ${at}px)`;
    const line = /** @type {HTMLElement} */ (panes.querySelector(".divider"));
    Object.assign(line.style, { left: `${at}px`, top: `${box.top}px`, height: `${box.height}px` });
    for (const tag of /** @type {NodeListOf<HTMLElement>} */ (panes.querySelectorAll(".tag"))) {
      const inset = panes.clientHeight - box.top - box.height;
      const side = tag.classList.contains("first") ? "left" : "right";
      const away = side === "left" ? box.left : panes.clientWidth - box.left - box.width;
      Object.assign(tag.style, { bottom: `${inset + 8}px`, [side]: `${away + 8}px` });
    }
  }

  /** Where the visible part of the picture lies in the panes. */
  #pictureBox() {
    const panes = /** @type {HTMLElement} */ (this.querySelector(".panes"));
    const image = /** @type {HTMLImageElement} */ (this.querySelector("img"));
    const scale = this.fit(image) * this.zoom;
    const [width, height] = [image.naturalWidth * scale, image.naturalHeight * scale];
    const middle = { x: panes.clientWidth / 2 + this.x, y: panes.clientHeight / 2 + this.y };
    const left = Math.max(0, middle.x - width / 2);
    const top = Math.max(0, middle.y - height / 2);
    const right = Math.min(panes.clientWidth, middle.x + width / 2);
    const bottom = Math.min(panes.clientHeight, middle.y + height / 2);
    return { left, top, width: Math.max(0, right - left), height: Math.max(0, bottom - top) };
  }

  /** Pixels of the screen for one of a picture (the largest, if none is named), as it just fits. */
  fit(/** @type {HTMLImageElement | undefined} */ image = undefined) {
    const images = [...this.querySelectorAll("img")].filter((each) => each.naturalWidth);
    const found = image ?? images.sort((a, b) => b.naturalWidth - a.naturalWidth)[0];
    if (!found?.naturalWidth) return 1;
    const { offsetWidth, offsetHeight, naturalWidth, naturalHeight } = found;
    return Math.min(offsetWidth / naturalWidth, offsetHeight / naturalHeight) || 1;
  }

  /** @param {number} zoom @param {number} [x] @param {number} [y] of what stays where it is */
  zoomTo(zoom, x = 0, y = 0) {
    const next = Math.min(Math.max(zoom, 1), Math.max(MOST, MOST / this.fit()));
    const by = next / this.zoom;
    this.x = next === 1 ? 0 : x - (x - this.x) * by;
    this.y = next === 1 ? 0 : y - (y - this.y) * by;
    this.zoom = next;
    this.place();
  }

  /** One pixel of the picture for one of the screen. */
  zoomToPixels() {
    this.zoomTo(1 / this.fit());
  }

  /** A place relative to the middle of the pane that it is in. @param {MouseEvent} event */
  #find(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const pane = target.closest(".frame") ?? this.querySelector(".frame") ?? this;
    const box = pane.getBoundingClientRect();
    return { x: event.clientX - box.left - box.width / 2, y: event.clientY - box.top - box.height / 2 };
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    if (!event.ctrlKey && this.zoom === 1 && event.deltaY > 0) return; // the page scrolls
    event.preventDefault();
    const { x, y } = this.#find(event);
    this.zoomTo(this.zoom * Math.exp(-event.deltaY / 400), x, y);
  }

  /** @param {PointerEvent} event */
  #press(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    if (!target.closest(".panes")) return;
    this.#fingers.set(event.pointerId, this.#find(event));
    if (this.zoom > 1 || this.#fingers.size > 1) target.setPointerCapture(event.pointerId);
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const before = this.#fingers.get(event.pointerId);
    if (!before) return;
    const now = this.#find(event);
    const other = [...this.#fingers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const far = Math.hypot(now.x - other.x, now.y - other.y);
      const was = Math.hypot(before.x - other.x, before.y - other.y) || 1;
      this.zoomTo((this.zoom * far) / was, (now.x + other.x) / 2, (now.y + other.y) / 2);
    } else if (this.zoom > 1) {
      this.x += now.x - before.x;
      this.y += now.y - before.y;
      this.place();
    }
    this.#fingers.set(event.pointerId, now);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.target instanceof HTMLInputElement || event.ctrlKey || event.metaKey) return;
    const moves = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
    const by = moves[/** @type {keyof typeof moves} */ (event.key)];
    if (event.key === "+" || event.key === "=") this.zoomTo(this.zoom * 1.4);
    else if (event.key === "-") this.zoomTo(this.zoom / 1.4);
    else if (event.key === "0") this.zoomTo(1);
    else if (event.key === "1") this.zoomToPixels();
    else if (by && this.zoom > 1) {
      this.x += by[0];
      this.y += by[1];
      this.place();
    } else return;
    event.preventDefault();
  }
}

customElements.define("picture-viewer", PictureViewer);

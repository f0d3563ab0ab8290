/**
 * The picture as one pass paints it, while sliders move.
 *
 * One request is on its way at a time; what is asked for meanwhile waits, the last of it alone. An
 * answer to what nobody wants any more (another photograph, another style) is dropped.
 */

import { ApiError, OfflineError, send } from "./api.js";
import { isComplete, loadSchema, makeOrder } from "./drafts.js";
import { redraw, state } from "./store.js";

export const PREVIEW_SIDE = 384;
const PASSING = [409, 429, 503]; // answers that say: later
const AGAIN = 1500; // milliseconds

/** @type {{address: string, milliseconds: number, fault: string, isBusy: boolean, about: string}} */
export const preview = { address: "", milliseconds: 0, fault: "", isBusy: false, about: "" };

/** @type {AbortController | null} */
let running = null;
/** @type {{body: object, about: string, key: string} | null} */
let waiting = null;
let shown = "";
let runningAbout = ""; // the pictures that are being painted

/** Show how a draft would look; where nothing that matters has changed, nothing is done. */
export function showDraft(/** @type {import("./types.js").Draft} */ draft) {
  if (!isComplete(draft, "instant") || !draft.inputs.content?.length) return clear();
  if (!state.operations.instant.options) {
    void loadSchema("instant").then(() => showDraft(draft), tell);
    return undefined;
  }
  const { inputs, options } = makeOrder(draft, "instant");
  const about = JSON.stringify([inputs.content, inputs.style]);
  if (about !== runningAbout && running) running.abort(); // of other pictures: not wanted
  const body = {
    content: inputs.content[0],
    style: inputs.style,
    options: { ...withWeight(options), size: PREVIEW_SIDE },
    format: "jpg",
  };
  const key = JSON.stringify(body);
  if (key === shown) return undefined;
  waiting = { body, about, key };
  shown = key;
  if (!running) void work();
  return undefined;
}

/** The network's dial goes from 1.5 to 150; learnt styles have none. @param {Record<string, any>} options */
function withWeight(options) {
  const { style_weight: weight, ...rest } = options;
  const isTaken = typeof weight === "number" && !options.model;
  return isTaken ? { ...rest, style_weight: Math.min(150, Math.max(1.5, weight)) } : rest;
}

function clear() {
  waiting = null;
  shown = "";
  running?.abort();
  Object.assign(preview, { address: "", fault: "", isBusy: false, about: "" });
}

/** Try the last request again. */
export function showAgain() {
  shown = "";
}

async function work() {
  while (waiting) {
    const { body, about } = waiting;
    waiting = null;
    running = new AbortController();
    runningAbout = about;
    Object.assign(preview, { isBusy: true });
    redraw();
    const began = performance.now();
    try {
      const answer = await send("/instant", { json: body, signal: running.signal });
      const picture = await load(await answer.blob());
      // What waits now may be of other pictures: this answer would be a lie for them.
      const next = /** @type {{about: string} | null} */ (waiting);
      if (!next || next.about === about) {
        show(picture, about, performance.now() - began);
      } else URL.revokeObjectURL(picture);
    } catch (error) {
      if (!(error instanceof DOMException)) tell(error);
    }
    running = null;
  }
  preview.isBusy = false;
  redraw();
}

/** Say what went wrong; what may pass is tried again. @param {unknown} error */
function tell(error) {
  preview.fault = error instanceof Error ? error.message : String(error);
  const isOffline = error instanceof OfflineError;
  if (isOffline) preview.fault = "waiting for the server";
  if (!isOffline && !(error instanceof ApiError && PASSING.includes(error.status))) return;
  setTimeout(() => {
    shown = "";
    redraw();
  }, AGAIN);
}

/** Return the address of a picture that is decoded already, so that it appears at once. */
async function load(/** @type {Blob} */ blob) {
  const address = URL.createObjectURL(blob);
  const image = new Image();
  image.src = address;
  await image.decode();
  return address;
}

function show(/** @type {string} */ address, /** @type {string} */ about, /** @type {number} */ ms) {
  const old = preview.address;
  Object.assign(preview, { address, about, milliseconds: ms, fault: "" });
  if (old) setTimeout(() => URL.revokeObjectURL(old), 2000);
  redraw();
  const facts = { detail: { milliseconds: ms } };
  document.dispatchEvent(new CustomEvent("impasto-preview", facts));
}

/** What the page knows, in one place; whoever changes it asks for the page to be drawn anew. */

/**
 * @type {{
 *   operations: Record<string, import("./types.js").Operation>,
 *   jobs: Map<string, import("./types.js").Job>,
 *   history: Map<string, import("./types.js").Step[]>,
 *   more: string | null, isLoaded: boolean, isOnline: boolean,
 *   styles: any[], photographs: any[], recipes: any[], server: any,
 *   fault: string, note: string, busy: string,
 * }}
 */
export const state = {
  operations: {},
  jobs: new Map(),
  history: new Map(),
  more: null,
  isLoaded: false,
  isOnline: true,
  styles: [],
  photographs: [],
  recipes: [],
  server: null,
  fault: "",
  note: "",
  busy: "",
};

let draw = () => {};
let isDue = false;

/** @param {() => void} how */
export function drawBy(how) {
  draw = how;
}

/** Draw the page with the next frame, once however often this is called. */
export function redraw() {
  if (isDue) return;
  isDue = true;
  const go = () => {
    if (!isDue) return;
    isDue = false;
    draw();
  };
  requestAnimationFrame(go);
  setTimeout(go, 200); // no frames come while the tab is hidden
}

/** @param {Partial<typeof state>} changes */
export function update(changes) {
  Object.assign(state, changes);
  redraw();
}

/** Say something to those who do not see it happen. @param {string} text */
export function announce(text) {
  const place = document.getElementById("said");
  if (place) place.textContent = text;
}

/** Show what went wrong, and read it aloud. @param {unknown} error */
export function complain(error) {
  if (error instanceof DOMException && error.name === "AbortError") return;
  const text = error instanceof Error ? error.message : String(error);
  update({ fault: `${text[0]?.toUpperCase() ?? ""}${text.slice(1)}`, busy: "" });
}

/**
 * Do what may fail, and say so if it does.
 * @template T
 * @param {() => Promise<T>} act
 * @param {string} [busy] what is shown meanwhile
 * @returns {Promise<T | undefined>}
 */
export async function attempt(act, busy = "") {
  if (busy) update({ busy });
  try {
    const made = await act();
    if (busy) update({ busy: "" });
    return made;
  } catch (error) {
    complain(error);
    return undefined;
  }
}

/** Keep something in this browser. @param {string} name @param {unknown} value */
export function keep(name, value) {
  try {
    localStorage.setItem(`impasto.${name}`, JSON.stringify(value));
  } catch {
    // a private window may refuse; nothing but convenience is lost
  }
}

/** @template T @param {string} name @param {T} otherwise @returns {T} */
export function recall(name, otherwise) {
  try {
    const found = localStorage.getItem(`impasto.${name}`);
    return found === null ? otherwise : JSON.parse(found);
  } catch {
    return otherwise;
  }
}

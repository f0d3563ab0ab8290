/** Curves over steps, on a scale by ratio; the same numbers in a table. */

import { html, nothing, svg } from "../vendor/lit-html/lit-html.js";
import { redraw } from "../store.js";

const WIDTH = 320;
const HEIGHT = 150;
const SIDE = 46; // for the numbers on the left
const FOOT = 18;
/** @type {{at: number | null}} */
const pointer = { at: null };

/** Names of what is measured that have curves, in their order. */
export function findCurves(/** @type {import("../types.js").Step[]} */ steps) {
  const names = new Set(steps.flatMap((each) => Object.keys(each.measured)));
  const first = ["total", "style", "content", "tv"].filter((each) => names.has(each));
  const others = [...names].filter((each) => !first.includes(each));
  const all = [...first, ...others];
  return all.filter((name) => steps.some((each) => each.measured[name] > 0)).slice(0, 4);
}

/** @param {import("../types.js").Step[]} steps @param {string} label */
export function chart(steps, label) {
  const names = findCurves(steps);
  if (steps.length < 2 || !names.length) return nothing;
  const values = steps.flatMap((each) => names.map((name) => each.measured[name]))
    .filter((each) => each > 0);
  values.sort((a, b) => a - b);
  // A first step may be near to nothing; it should not press all others together.
  const low = Math.log10(values[Math.floor(values.length * 0.03)]);
  const high = Math.max(Math.log10(values[values.length - 1]), low + 0.01);
  const first = steps[0].number;
  const last = Math.max(steps.at(-1)?.number ?? 1, first + 1);
  const x = (/** @type {number} */ step) =>
    SIDE + ((step - first) / (last - first)) * (WIDTH - SIDE - 6);
  const y = (/** @type {number} */ value) =>
    6 + ((high - Math.max(Math.log10(value), low)) / (high - low)) * (HEIGHT - FOOT - 12);
  const curve = (/** @type {string} */ name) => steps
    .filter((each) => each.measured[name] > 0)
    .map((each) => `${x(each.number).toFixed(1)},${y(each.measured[name]).toFixed(1)}`)
    .join(" ");
  const marks = [low, (low + high) / 2, high].map((each) => 10 ** each);
  const told = steps.filter((each) => names.some((name) => name in each.measured));
  const near = pointer.at === null ? told[told.length - 1] : findNear(steps, x, pointer.at);
  const move = (/** @type {PointerEvent} */ event) => {
    const box = /** @type {Element} */ (event.currentTarget).getBoundingClientRect();
    pointer.at = ((event.clientX - box.left) / box.width) * WIDTH;
    redraw();
  };
  const leave = () => {
    pointer.at = null;
    redraw();
  };
  return html`
    <figure class="chart">
      <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label=${describe(steps, names, label)}
        @pointermove=${move} @pointerleave=${leave}>
        ${marks.map((each) => svg`
          <line class="grid" x1=${SIDE} x2=${WIDTH - 6} y1=${y(each)} y2=${y(each)}></line>
          <text class="tick" x=${SIDE - 5} y=${y(each) + 3} text-anchor="end">${say(each)}</text>`)}
        <text class="tick" x=${SIDE} y=${HEIGHT - 4}>step ${first}</text>
        <text class="tick" x=${WIDTH - 6} y=${HEIGHT - 4} text-anchor="end">${last}</text>
        ${names.map((name, number) => svg`
          <polyline class="curve curve-${number}" points=${curve(name)}></polyline>`)}
        ${pointer.at === null ? nothing : svg`
          <line class="cursor" x1=${x(near.number)} x2=${x(near.number)} y1="4" y2=${HEIGHT - FOOT}>
          </line>`}
      </svg>
      <figcaption>
        <span class="at">Step ${near.number}</span>
        ${names.map((name, number) => html`
          <span class="key"><i class="dot curve-${number}"></i>${name}
            <b>${near.measured[name] === undefined ? "–" : say(near.measured[name])}</b></span>`)}
      </figcaption>
    </figure>
    <details class="numbers"><summary>The numbers as a table</summary>${table(steps, names)}</details>`;
}

function findNear(
  /** @type {import("../types.js").Step[]} */ steps,
  /** @type {(step: number) => number} */ x,
  /** @type {number} */ at,
) {
  const far = (/** @type {import("../types.js").Step} */ each) => Math.abs(x(each.number) - at);
  return steps.reduce((best, each) => (far(each) < far(best) ? each : best));
}

/** @param {number} value */
export function say(value) {
  if (value === 0) return "0";
  const digits = Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3;
  return digits ? value.toExponential(1) : String(Number(value.toPrecision(3)));
}

function describe(
  /** @type {import("../types.js").Step[]} */ steps,
  /** @type {string[]} */ names,
  /** @type {string} */ label,
) {
  const last = steps[steps.length - 1];
  const ways = names.map((name) => {
    const from = steps.find((each) => each.measured[name] !== undefined)?.measured[name] ?? 0;
    return `${name} from ${say(from)} to ${say(last.measured[name] ?? 0)}`;
  });
  return `${label}: over ${last.number} steps, ${ways.join(", ")}`;
}

function table(/** @type {import("../types.js").Step[]} */ steps, /** @type {string[]} */ names) {
  const every = Math.ceil(steps.length / 40);
  const rows = steps.filter((_, number) => number % every === 0 || number === steps.length - 1);
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Table of losses"><table>
    <thead><tr><th scope="col">step</th>${names.map((name) => html`<th scope="col">${name}</th>`)}
    </tr></thead><tbody>${rows.map((each) => html`<tr><th scope="row">${each.number}</th>
      ${names.map((name) => html`
        <td>${each.measured[name] === undefined ? "" : say(each.measured[name])}</td>`)}</tr>`)}
    </tbody></table></div>`;
}

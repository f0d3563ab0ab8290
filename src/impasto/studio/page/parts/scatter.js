/** The pictures of a sweep or a search as points: how far each is from the photograph and the style. */

import { html, nothing, svg } from "../vendor/lit-html/lit-html.js";
import { findPicture } from "../views/results.js";
import { say } from "./chart.js";

/** @typedef {import("../types.js").Result} Result */

const WIDTH = 560;
const HEIGHT = 340;
const EDGE = { left: 58, right: 16, top: 14, bottom: 44 };
const AXES = ["content_distance", "style_distance"];
const MEASURED = ["run", ...AXES, "distance", "total_loss", "style_loss", "content_loss", "steps",
  "seconds", "front", "best", "knee"];

/**
 * Draw a table of runs as points that open their pictures; nothing where it is none.
 * @param {string[][]} rows @param {Result[]} pictures @param {Result | undefined} chosen
 * @param {(picture: Result) => void} open
 */
export function scatter(rows, pictures, chosen, open) {
  const [head = [], ...body] = rows;
  const [across, up] = AXES.map((name) => head.indexOf(name));
  const points = across < 0 || up < 0 ? [] : body.flatMap((row) => {
    const picture = findPicture(row, pictures);
    const [x, y] = [Number(row[across]), Number(row[up])];
    return picture && row[across] && row[up] ? [{ row, picture, x, y }] : [];
  });
  if (points.length < 2) return nothing;
  const [placeX, marksX] = scale(points.map((each) => each.x), EDGE.left, WIDTH - EDGE.right);
  const [placeY, marksY] = scale(points.map((each) => each.y), HEIGHT - EDGE.bottom, EDGE.top);
  const front = points.filter((each) => !points.some((other) => other !== each
    && other.x <= each.x && other.y <= each.y && (other.x < each.x || other.y < each.y)))
    .sort((a, b) => a.x - b.x);
  const at = points.find((each) => each.picture === chosen);
  const line = front.map((each) => `${placeX(each.x)},${placeY(each.y)}`).join(" ");
  return html`<section class="shelf scatter"><h2>Which picture is nearer to what</h2>
    <p class="help">Each point is a picture: farther left, nearer to the photograph; farther down,
      nearer to the style. On the line are those than which no other is nearer to both.</p>
    <div class="scatter-body"><svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="group"
        aria-label="${points.length} pictures by their distances; the table below has the numbers">
      ${marksX.map((each) => svg`<line class="grid" x1=${placeX(each)} x2=${placeX(each)}
          y1=${EDGE.top} y2=${HEIGHT - EDGE.bottom}></line>
        <text class="tick" x=${placeX(each)} y=${HEIGHT - EDGE.bottom + 16}
          text-anchor="middle">${say(each)}</text>`)}
      ${marksY.map((each) => svg`<line class="grid" x1=${EDGE.left} x2=${WIDTH - EDGE.right}
          y1=${placeY(each)} y2=${placeY(each)}></line>
        <text class="tick" x=${EDGE.left - 6} y=${placeY(each) + 4}
          text-anchor="end">${say(each)}</text>`)}
      <text class="axis" x=${(EDGE.left + WIDTH) / 2} y=${HEIGHT - 6} text-anchor="middle">
        distance from the photograph</text>
      <text class="axis" transform="translate(14 ${HEIGHT / 2}) rotate(-90)" text-anchor="middle">
        distance from the style</text>
      <polyline class="front" points=${line}></polyline>
      ${points.map((each) => svg`<g class="point ${front.includes(each) ? "best" : ""}"
        role="button" tabindex="0" aria-pressed=${each === at}
        aria-label="${sayRun(head, each.row)}: ${say(each.x)} from the photograph, ${say(each.y)} from the style"
        @click=${() => open(each.picture)}
        @keydown=${(/** @type {KeyboardEvent} */ event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          open(each.picture);
        }}><title>${sayRun(head, each.row)}</title>
        <circle class="reach" cx=${placeX(each.x)} cy=${placeY(each.y)} r="12"></circle>
        <circle class="mark" cx=${placeX(each.x)} cy=${placeY(each.y)} r="6"></circle></g>`)}
    </svg>
    ${at ? html`<div class="picked"><img src=${at.picture.thumbnail ?? at.picture.content} alt="">
      <dl>${head.map((name, number) => MEASURED.includes(name) || !at.row[number] ? nothing
        : html`<dt>${name.replaceAll("_", " ")}</dt><dd>${at.row[number]}</dd>`)}
        ${AXES.map((name) => html`<dt>${name.replaceAll("_", " ")}</dt>
          <dd>${say(Number(at.row[head.indexOf(name)]))}</dd>`)}</dl></div>`
      : html`<p class="hint picked">Click a point to see its picture and its settings.</p>`}
    </div></section>`;
}

/** What a run was varied in, in words. @param {string[]} head @param {string[]} row */
function sayRun(head, row) {
  const varied = head.flatMap((name, number) =>
    MEASURED.includes(name) || !row[number] ? [] : [`${name.replaceAll("_", " ")} ${row[number]}`]);
  return varied.join(", ") || row[0];
}

/**
 * Return what places a value between two ends, and values for the marks.
 * @param {number[]} values @param {number} from @param {number} to
 * @returns {[(value: number) => number, number[]]}
 */
function scale(values, from, to) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const margin = (most - least || Math.abs(most) || 1) * 0.06;
  const [low, high] = [least - margin, most + margin];
  const rough = (high - low) / 4;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * ([1, 2, 5, 10].find((each) => each * unit >= rough) ?? 10);
  const marks = [];
  for (let at = Math.ceil(low / step) * step; at <= high; at += step) {
    marks.push(Number(at.toPrecision(6)));
  }
  return [(value) => Math.round(10 * (from + ((value - low) / (high - low)) * (to - from))) / 10, marks];
}

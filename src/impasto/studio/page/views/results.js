/** What came of a work that made many files: a gallery to click into, tables, films. */

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import { ref } from "../vendor/lit-html/directives/ref.js";
import { send } from "../api.js";
import { scatter } from "../parts/scatter.js";
import { complain, redraw } from "../store.js";

/** @typedef {import("../types.js").Job} Job */
/** @typedef {import("../types.js").Result} Result */

/** @type {Map<string, string[][] | null>} rows of tables, by address; null while they are loading */
const tables = new Map();
/** @type {Set<string>} tables that were opened */
const unfolded = new Set();
/** @type {string} the picture that is looked at closely */
let opened = "";

/** @param {Result} result */
export function isFilm(result) {
  return /\.(mp4|webm|mov|mkv)$/i.test(result.name);
}

/** @param {Job} job */
export function gallery(job) {
  const pictures = job.results.filter((each) => each.width);
  const sheets = job.results.filter((each) =>
    each.name.endsWith(".csv") && !each.name.startsWith("runs/"));
  const main = sheets.find((each) => /^results|statistics/.test(each.name)) ?? sheets[0];
  const others = job.results.filter((each) => !each.width && !isFilm(each));
  if (pictures.length < 2 && !sheets.length) return nothing;
  const chosen = pictures.find((each) => each.content === opened) ?? findSheet(pictures);
  return html`
    ${pictures.length > 1 && chosen ? html`
      <picture-viewer ${ref((element) => /** @type {any} */ (element)?.show({
        first: chosen.content, second: chosen.content, mode: "second", what: chosen.name }))}>
      </picture-viewer>
      <div class="stage-bar"><p class="status">${chosen.name}, ${chosen.width} × ${chosen.height}</p>
        <a class="button" href=${chosen.content} download>Download</a></div>
      <section class="shelf" aria-label="Pictures"><ul class="tiles">
        ${pictures.map((each) => html`<li><button type="button" class="tile"
          aria-pressed=${each === chosen} title=${each.name} @click=${() => open(each)}>
          <img src=${each.thumbnail ?? each.content} alt="" loading="lazy">
          <span class="name">${shortName(each.name)}</span></button></li>`)}</ul></section>` : nothing}
    ${main ? html`${scatter(readTable(main), pictures, chosen, open)}
      <section class="shelf"><h2>${main.name}</h2>${table(main, pictures)}</section>` : nothing}
    ${sheets.filter((each) => each !== main).map((each) => html`<details class="all"
      @toggle=${(/** @type {any} */ event) => unfold(each, event.target.open)}>
      <summary>${each.name}</summary>${unfolded.has(each.content) ? table(each, pictures) : nothing}
      </details>`)}
    ${others.length ? html`<section class="shelf"><h2>Files</h2><ul class="files">
      ${others.map((each) => html`<li><a href=${each.content} download>${each.name}</a></li>`)}
      </ul></section>` : nothing}`;
}

/** Read a table when it is wanted. @param {Result} sheet @param {boolean} isOpen */
function unfold(sheet, isOpen) {
  if (isOpen) unfolded.add(sheet.content);
  else unfolded.delete(sheet.content);
  redraw();
}

/** Digits that nobody reads are left out. @param {string} cell */
function sayCell(cell) {
  const isLong = /^-?\d+\.\d{4,}(e[-+]?\d+)?$/.test(cell);
  return isLong ? String(Number(Number(cell).toPrecision(4))) : cell;
}

/** A sheet that shows all is the best to begin with. @param {Result[]} pictures */
function findSheet(pictures) {
  return pictures.find((each) => /sheet|figure|grid|overview/.test(each.name)) ?? pictures[0];
}

/** @param {Result} result */
function open(result) {
  opened = result.content;
  redraw();
}

/** @param {string} name */
function shortName(name) {
  return String(name.split("/").at(-1)).replace(/\.[a-z]+$/, "");
}

/** Return the rows of a table; none while they are loading. @param {Result} sheet */
export function readTable(sheet) {
  if (!tables.has(sheet.content)) {
    tables.set(sheet.content, null);
    send(sheet.content).then((answer) => answer.text()).then((text) => {
      tables.set(sheet.content, parseTable(text));
      redraw();
    }, complain);
  }
  return tables.get(sheet.content) ?? [];
}

/** Return the picture that a row is of. @param {string[]} row @param {Result[]} pictures */
export function findPicture(row, pictures) {
  return pictures.find((each) =>
    row.some((cell) => cell && (cell === each.name || cell === shortName(each.name))));
}

/** A table of what was measured; a row that has a picture opens it. */
function table(/** @type {Result} */ sheet, /** @type {Result[]} */ pictures) {
  const rows = readTable(sheet);
  if (!rows.length) return nothing;
  const [head, ...body] = rows;
  const find = (/** @type {string[]} */ row) => findPicture(row, pictures);
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Table ${sheet.name}"><table>
      <thead><tr>${head.map((each) => html`<th scope="col">${each}</th>`)}</tr></thead>
      <tbody>${body.slice(0, 200).map((row) => {
        const picture = find(row);
        return html`<tr>${row.map((cell, number) => number === 0 && picture
          ? html`<td><button type="button" class="link" @click=${() => open(picture)}>${cell}</button></td>`
          : html`<td>${sayCell(cell)}</td>`)}</tr>`;
      })}</tbody></table></div>`;
}

/** Return rows of cells; quotes may hold commas and lines. @param {string} text */
export function parseTable(text) {
  /** @type {string[][]} */
  const rows = [[]];
  let cell = "";
  let isQuoted = false;
  for (let at = 0; at < text.length; at++) {
    const sign = text[at];
    if (isQuoted && sign === '"' && text[at + 1] === '"') cell += text[at++];
    else if (sign === '"') isQuoted = !isQuoted;
    else if (isQuoted || !",\n\r".includes(sign)) cell += sign;
    else {
      if (sign !== "\r") rows[rows.length - 1].push(cell);
      if (sign !== "\r") cell = "";
      if (sign === "\n") rows.push([]);
    }
  }
  if (cell) rows[rows.length - 1].push(cell);
  return rows.filter((each) => each.some(Boolean));
}

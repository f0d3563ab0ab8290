/** All works: found again, compared, favoured, run again. */

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import { live } from "../vendor/lit-html/directives/live.js";
import { ref } from "../vendor/lit-html/directives/ref.js";
import { repeat } from "../vendor/lit-html/directives/repeat.js";
import {
  ENDED, bareName, doing, findFace, loadJob, loadMore, nameJob, removeJob, steer,
} from "../jobs.js";
import { attempt, redraw, state } from "../store.js";
import { sayTask } from "../tasks.js";
import { zoomButtons } from "./make.js";

/** @typedef {import("../types.js").Job} Job */

/** @type {string[]} */
let picked = [];
const filter = { words: "", state: "", operation: "", favourites: false };

/** Mark a work as liked, or take that back. @param {Job} job */
export function toggleFavourite(job) {
  return steer(job.id, "favourite", job.favourite ? "DELETE" : "PUT");
}

/** @param {number} seconds since 1970 */
export function sayTime(seconds) {
  const then = new Date(seconds * 1000);
  const isToday = then.toDateString() === new Date().toDateString();
  const time = then.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return isToday ? time : `${then.toLocaleDateString()} ${time}`;
}

function findWorks() {
  const words = filter.words.toLowerCase().split(/\s+/).filter(Boolean);
  return [...state.jobs.values()]
    .filter((job) => {
      const text = `${nameJob(job)} ${job.operation} ${JSON.stringify(job.options)}`.toLowerCase();
      return words.every((each) => text.includes(each))
        && (!filter.state || job.state === filter.state)
        && (!filter.operation || job.operation === filter.operation)
        && (!filter.favourites || job.favourite);
    })
    .sort((a, b) => b.created - a.created || (a.id < b.id ? 1 : -1));
}

export function historyView() {
  const works = findWorks();
  const set = (/** @type {keyof typeof filter} */ name) => (/** @type {any} */ event) => {
    const { type, checked, value } = event.target;
    Object.assign(filter, { [name]: type === "checkbox" ? checked : value });
    redraw();
  };
  const operations = [...new Set([...state.jobs.values()].map((each) => each.operation))];
  const states = ["queued", "running", "paused", ...ENDED];
  return html`<div class="page"><h1>History</h1>
    <form class="filters" role="search" @submit=${(/** @type {Event} */ event) => event.preventDefault()}>
      <label>Search <input type="search" .value=${live(filter.words)} @input=${set("words")}
        placeholder="names, options"></label>
      <label>State <select @change=${set("state")}><option value="">all</option>
        ${states.map((each) => html`<option ?selected=${filter.state === each}>${each}</option>`)}
        </select></label>
      <label>What <select @change=${set("operation")}><option value="">all</option>
        ${operations.map((each) => html`
          <option ?selected=${filter.operation === each}>${each}</option>`)}</select></label>
      <label class="check"><input type="checkbox" .checked=${live(filter.favourites)}
        @change=${set("favourites")}> favourites</label>
      ${picked.length === 2 ? html`<a class="button" href="#/compare/${picked[0]}/${picked[1]}">
        Compare the two</a>` : picked.length === 1
          ? html`<span class="hint">pick another to compare</span>` : nothing}
    </form>
    <p class="visually-hidden" role="status">${works.length} works</p>
    ${works.length ? html`<ul class="works">${repeat(works, (each) => each.id, card)}</ul>`
      : html`<p class="nothing">${state.jobs.size ? "No work is like that."
          : html`Nothing yet. <a href="#/">Paint something.</a>`}</p>`}
    ${state.more ? html`<p><button type="button" @click=${doing(loadMore)}>Older works</button></p>`
      : nothing}</div>`;
}

function card(/** @type {Job} */ job) {
  const face = findFace(job);
  const name = nameJob(job);
  const pick = () => {
    const rest = picked.filter((each) => each !== job.id);
    picked = rest.length < picked.length ? rest : [...picked.slice(-1), job.id];
    redraw();
  };
  const canCompare = job.results.some((each) => each.width);
  return html`<li class="work ${job.state}">
    <a class="face" href="#/work/${job.id}">
      ${face ? html`<img src=${face} alt="" loading="lazy">` : html`<span class="word">
        ${sayTask(job.operation)}</span>`}
      ${job.state === "running" && job.progress?.steps ? html`<progress
        aria-label="Progress of ${name}" max=${job.progress.steps} value=${job.progress.number}>
        </progress>` : nothing}
      <b>${name}</b></a>
    <p><span>${sayTask(job.operation)} · ${job.state === "done" ? sayTime(job.created) : job.state === "queued" ? "waiting" : job.state}</span></p>
    <div class="actions">
      <button type="button" class="quiet star" aria-pressed=${job.favourite}
        aria-label="Favourite: ${name}" @click=${doing(() => toggleFavourite(job))}>
        ${job.favourite ? "★" : "☆"}</button>
      ${canCompare ? html`<button type="button" class="quiet" aria-pressed=${picked.includes(job.id)}
        aria-label="Compare: ${name}" title="Compare with another" @click=${pick}>◫</button>` : nothing}
      ${ENDED.includes(job.state) ? html`
        <button type="button" class="quiet" aria-label="Run again: ${name}" title="Run again"
          @click=${doing(() => steer(job.id, "again"))}>↻</button>
        <button type="button" class="quiet" aria-label="Delete: ${name}" title="Delete"
          @click=${doing(() => confirmRemoval(job))}>✕</button>`
        : html`<button type="button" class="quiet" aria-label="Cancel: ${name}" title="Cancel"
          @click=${doing(() => steer(job.id, "cancel"))}>✕</button>`}
    </div></li>`;
}

/** Delete after asking, for it cannot be undone. @param {Job} job */
export async function confirmRemoval(job) {
  if (!confirm(`Delete “${nameJob(job)}” with its files? This cannot be undone.`)) return false;
  await removeJob(job.id);
  return true;
}

// --- two of them ---------------------------------------------------------------------------------

/** @param {string} one @param {string} other */
export function compareView(one, other) {
  const [first, second] = [state.jobs.get(one), state.jobs.get(other)];
  if (!first || !second) {
    void attempt(() => Promise.all([one, other].map(loadJob)));
    return html`<p class="loading">Opening …</p>`;
  }
  const picture = (/** @type {Job} */ job) => job.results.find((each) => each.width)?.content ?? "";
  const names = [first, second].map((each) => `${nameJob(each)}, ${sayTime(each.created)}`);
  const show = ref((element) => /** @type {any} */ (element)?.show({
    first: picture(first), second: picture(second), mode: "divided", what: "two works",
    names: names.map(bareName) }));
  const all = [...new Set([...Object.keys(first.options), ...Object.keys(second.options)])];
  const differ = all.filter((each) =>
    JSON.stringify(first.options[each]) !== JSON.stringify(second.options[each]));
  return html`<div class="page wide"><h1>Compare two works</h1>
    <div class="stage"><picture-viewer ${show}></picture-viewer>
      <div class="stage-bar">${zoomButtons(() => document.querySelector("picture-viewer"))}</div></div>
    <table class="facts"><caption>What differs</caption>
      <thead><tr><th scope="col">option</th>${[first, second].map((each, number) => html`
        <th scope="col"><a href="#/work/${each.id}">${names[number]}</a></th>`)}</tr></thead>
      <tbody>${differ.map((name) => html`<tr><th scope="row">${name}</th>
        ${[first, second].map((each) => html`<td>${sayValue(each.options[name])}</td>`)}</tr>`)}
      ${differ.length ? nothing : html`<tr><td colspan="3">no option</td></tr>`}</tbody></table></div>`;
}

/** @param {any} value */
export function sayValue(value) {
  if (value === undefined) return "default";
  return Array.isArray(value) ? value.join(", ") : String(value ?? "automatic");
}

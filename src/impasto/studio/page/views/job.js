/** One work: its picture as it grows, what is measured, what came of it. */

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import { ref } from "../vendor/lit-html/directives/ref.js";
import { draftOf, loadSchema, replaceDraft } from "../drafts.js";
import { ENDED, anew, bareName, doing, itemOf, loadHistory, loadJob, nameJob, steer } from "../jobs.js";
import { chart } from "../parts/chart.js";
import { attempt, complain, redraw, state } from "../store.js";
import { confirmRemoval, sayTime, sayValue, toggleFavourite } from "./history.js";
import { sayTask } from "../tasks.js";
import { zoomButtons } from "./make.js";
import { featuresView, hasMaps } from "./features.js";
import { gallery, isFilm } from "./results.js";
import "../parts/viewer.js";

/** @typedef {import("../types.js").Job} Job */

const FORMATS = [["png", "PNG"], ["jpg", "JPEG"], ["webp", "WebP"], ["tif", "TIFF"]];
let mode = "second";
/** @type {Set<string>} */
const asked = new Set();
anew.add(() => asked.clear());

/** @param {string} id */
export function jobView(id) {
  const job = state.jobs.get(id);
  if (!asked.has(id)) {
    asked.add(id);
    void (job ? loadHistory(id).catch(complain) : attempt(() => loadJob(id)));
  }
  if (!job) return html`<div class="page"><h1>This work</h1><p>There is none, or it was deleted.
    <a href="#/history">History</a></p></div>`;
  return html`<div class="workshop">
    <section class="stage" aria-label="Picture">${picture(job)}${hasMaps(job) ? featuresView(job) : gallery(job)}</section>
    <section class="panel" aria-label="Work">
      <header class="task"><h1>${nameJob(job)}</h1>
        <p>${sayTask(job.operation)} · ${sayTime(job.created)}</p></header>
      ${stateOf(job)}
      ${losses(job)}
      ${actions(job)}
      ${facts(job)}
    </section></div>`;
}

function picture(/** @type {Job} */ job) {
  const pictures = job.results.filter((each) => each.width);
  const made = pictures.length === 1 ? pictures[0] : null;
  const films = job.results.filter(isFilm);
  if (films.length) return html`<div class="films">${source(job)}${films.map((each) => html`
    <figure><video controls loop src=${each.content} aria-label=${each.name}></video>
      <figcaption>${each.name}</figcaption></figure>`)}</div>`;
  if (pictures.length > 1) return nothing; // the gallery shows them
  const input = Object.values(job.inputs).flat().find((each) => each.content);
  const before = job.inputs.content?.[0]?.content ?? input?.content ?? "";
  const now = made?.content ?? (job.preview ? `${job.preview}?step=${job.preview_step}` : "");
  if (!now && !before) return html`<div class="empty"><p class="large">${job.state}</p></div>`;
  const isPair = Boolean(now && job.inputs.content?.[0]);
  const show = ref((element) => loadThenShow(/** @type {any} */ (element), now, {
    first: before, mode: isPair ? mode : "second", what: nameJob(job), names: ["Photograph", "Painting"],
  }));
  const modes = [["second", "Painting"], ["divided", "Before / after"], ["side", "Side by side"]];
  return html`<picture-viewer ${show}></picture-viewer>
    <div class="stage-bar">
      ${isPair ? html`<div class="segments" role="group" aria-label="What is shown">
        ${modes.map(([name, text]) => html`<button type="button" aria-pressed=${mode === name}
          @click=${() => {
            mode = name;
            redraw();
          }}>${text}</button>`)}</div>` : nothing}
      ${zoomButtons(() => document.querySelector("picture-viewer"))}
      <p class="status">${made ? `${made.width} × ${made.height}` : job.progress && now
        ? `as it stands after step ${job.preview_step}` : "not begun"}</p></div>`;
}

/** Show a picture when it is there, and the one before until then. */
function loadThenShow(
  /** @type {any} */ viewer,
  /** @type {string} */ address,
  /** @type {Record<string, any>} */ facts,
) {
  if (!viewer) return;
  if (viewer.dataset.wanted === address) return void viewer.show(facts);
  viewer.dataset.wanted = address;
  viewer.show(facts);
  const image = new Image();
  image.src = address || facts.first;
  image.decode().then(() => {
    if (viewer.dataset.wanted === address) viewer.show({ second: address || facts.first });
  }, () => undefined);
}

/** The film that another was made from, beside it. */
function source(/** @type {Job} */ job) {
  const found = Object.values(job.inputs).flat()
    .find((each) => /\.(mp4|webm|mov|mkv|avi|gif)$/i.test(each.name) && each.content);
  return found ? html`<figure><video controls loop src=${found.content} muted
    aria-label="The source"></video><figcaption>${found.name}</figcaption></figure>` : nothing;
}

// --- how far it is -------------------------------------------------------------------------------

function stateOf(/** @type {Job} */ job) {
  const step = job.progress;
  const words = { queued: job.turn ? `waits; ${job.turn} in turn` : "waits", running: "at work",
    paused: "paused", done: `done in ${saySeconds(job.seconds)}`, failed: "failed",
    cancelled: "cancelled" };
  return html`<div class="state ${job.state}">
    <p><b>${words[job.state]}</b>
      ${job.wish === "cancel" ? " · will stop after this step" : job.wish === "pause"
        ? " · will pause after this step" : nothing}
      ${job.state === "running" && step ? html`<span class="left">${sayLeft(job.id, step)}</span>`
        : nothing}</p>
    ${job.state === "running" || job.state === "paused" ? html`
      <progress aria-label="Progress" max=${step?.steps || 1} value=${step?.steps ? step.number : 0}>
      </progress>
      ${step ? html`<p class="hint">step ${step.number}${step.steps ? ` of ${step.steps}` : ""}
        ${step.size[0] ? `· ${step.size[0]} × ${step.size[1]}` : ""} ${step.text}</p>` : nothing}`
      : nothing}
    ${job.error ? html`<p class="wrong">${job.error}</p>` : nothing}
    ${job.notes.map((each) => html`<p class="hint">${each}</p>`)}
  </div>`;
}

/** @param {number} seconds */
export function saySeconds(seconds) {
  if (seconds < 1) return "less than a second";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** Later steps are of larger pictures, so the pace of the last ones counts. */
function sayLeft(/** @type {string} */ id, /** @type {import("../types.js").Step} */ step) {
  if (!step.steps || step.number < 3) return "";
  const past = (state.history.get(id) ?? []).filter((each) => each.number >= step.number - 8);
  const first = past.find((each) => each.number < step.number);
  const pace = first ? (step.seconds - first.seconds) / (step.number - first.number)
    : step.seconds / step.number;
  const left = Math.max(pace, 0) * (step.steps - step.number);
  return `about ${saySeconds(left)} left`;
}

function losses(/** @type {Job} */ job) {
  const steps = state.history.get(job.id) ?? [];
  const drawn = chart(steps, "Losses");
  if (drawn === nothing) return nothing;
  const hasBoth = ["style", "content"].every((name) => steps.some((each) => name in each.measured));
  return html`<section class="losses"><h2>What is measured</h2>${drawn}
    ${hasBoth ? html`<p class="help"><b>Content loss</b> says how far the painting is from what the
      photograph shows; <b>style loss</b>, how far its strokes, textures and colours are from the
      style’s. Each step changes the picture so that their weighted sum, the total, falls.</p>`
      : nothing}</section>`;
}

// --- what can be done with it --------------------------------------------------------------------

function actions(/** @type {Job} */ job) {
  const isEnded = ENDED.includes(job.state);
  const again = async () => {
    const next = await steer(job.id, "again");
    location.hash = `#/work/${next.id}`;
  };
  const remove = async () => {
    if (await confirmRemoval(job)) location.hash = "#/history";
  };
  const files = job.results.length <= 4 ? job.results : [];
  return html`<div class="actions">
    ${files.map((each) => html`<a class="button ${each === files[0] ? "primary" : ""}"
      href=${each.content} download>Download ${files.length === 1 ? "" : each.name}
      ${suffix(each.name).toUpperCase()} <small>${saySize(each.size)}</small></a>`)}
    ${files.length === 1 && files[0].width ? formats(files[0]) : nothing}
    ${job.state === "running" || job.state === "queued" ? html`
      <button type="button" @click=${doing(() => steer(job.id, "pause"))}>Pause</button>
      <button type="button" class="danger" @click=${doing(() => steer(job.id, "cancel"))}>Cancel</button>`
      : nothing}
    ${job.state === "paused" ? html`
      <button type="button" class="primary" @click=${doing(() => steer(job.id, "resume"))}>Go on</button>
      <button type="button" class="danger" @click=${doing(() => steer(job.id, "cancel"))}>Cancel</button>`
      : nothing}
    <button type="button" @click=${doing(() => changeSettings(job))}>Change the settings</button>
    ${isEnded ? html`<button type="button" @click=${doing(again)}>Run again</button>
      <button type="button" class="quiet danger" @click=${doing(remove)}>Delete</button>` : nothing}
    <button type="button" class="quiet star" aria-pressed=${job.favourite}
      @click=${doing(() => toggleFavourite(job))}>${job.favourite ? "★" : "☆"} Favourite</button>
  </div>`;
}

/** The same picture in the other formats; each carries the recipe. */
function formats(/** @type {import("../types.js").Result} */ made) {
  const others = FORMATS.filter(([name]) => name !== suffix(made.name));
  return html`<p class="formats"><span>or as</span>${others.map(([name, text]) => html`
    <a href="${made.content}?to=${name}" download>${text}</a>`)}</p>`;
}

/** Prepare the same once more. @param {Job} job */
async function changeSettings(job) {
  await loadSchema(job.operation);
  const inputs = Object.fromEntries(Object.entries(job.inputs).map(([name, values]) => [
    name, values.map((_, number) => itemOf(job, name, number))]));
  replaceDraft(draftOf(job, inputs));
  const isPainter = ["paint", "instant"].includes(job.operation);
  location.hash = isPainter ? "#/" : `#/make/${job.operation}`;
}

/** @param {string} name */
function suffix(name) {
  return name.split(".").at(-1) ?? "";
}

/** @param {number} bytes */
export function saySize(bytes) {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1000))} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function facts(/** @type {Job} */ job) {
  const given = Object.entries(job.options);
  return html`<details class="all"><summary>What it is made from</summary>
    <ul class="sources">${Object.entries(job.inputs).map(([name, values]) => values.map((each) => html`
      <li>${each.thumbnail ? html`<img src=${each.thumbnail} alt="" loading="lazy">` : nothing}
        <span>${name}: ${bareName(each.name)}${each.files ? ` (${each.files} files)` : ""}</span></li>`))}
    </ul>
    <table class="facts"><caption>Options that were set</caption><tbody>
      ${given.map(([name, value]) => html`<tr><th scope="row">${name}</th><td>${sayValue(value)}</td></tr>`)}
      ${given.length ? nothing : html`<tr><td>none: all defaults</td></tr>`}
    </tbody></table></details>`;
}

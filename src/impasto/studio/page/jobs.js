/** Jobs as the server tells of them: listed, followed, steered. */

import { ask, follow, makeKey, persist } from "./api.js";
import { asItem } from "./pictures.js";
import { announce, attempt, complain, redraw, state, update } from "./store.js";

/** @typedef {import("./types.js").Job} Job */

const PAGE = 60;
export const ENDED = ["done", "failed", "cancelled"];

/** Load the newest jobs; return the event that the list is as new as. */
async function loadJobs() {
  const found = await ask(`/jobs?most=${PAGE}`);
  state.jobs = new Map(found.jobs.map((/** @type {Job} */ job) => [job.id, job]));
  update({ more: found.more, isLoaded: true });
  return found.event;
}

/** Load what follows in the history. */
export async function loadMore() {
  const found = await ask(`/jobs?most=${PAGE}&before=${state.more}`);
  for (const job of found.jobs) state.jobs.set(job.id, job);
  update({ more: found.more });
}

/** Load the jobs, and stay up to date from then on. */
export async function followJobs() {
  const event = await loadJobs();
  follow(event, take, (isThere) => {
    if (isThere && !state.isOnline) announce("The server is there again.");
    if (!isThere && state.isOnline) announce("The server does not answer; trying again.");
    if (isThere !== state.isOnline) update({ isOnline: isThere });
  });
}

/** @param {string} kind @param {any} facts */
function take(kind, facts) {
  if (kind === "job") takeJob(facts);
  else if (kind === "progress") takeProgress(facts);
  else if (kind === "preview") takePreview(facts);
  else if (kind === "deleted" && facts.job) state.jobs.delete(facts.job);
  else if (kind === "reset") void startOver();
  redraw();
}

async function startOver() {
  state.history.clear();
  await attempt(() => persist(loadJobs));
  for (const listener of anew) listener();
}

/** @type {Set<() => void>} called where everything is to be looked at anew */
export const anew = new Set();

/** @param {Job} job */
function takeJob(job) {
  const known = state.jobs.get(job.id);
  if (known && known.version > job.version) return;
  if (known && known.state !== job.state) {
    tellState(job);
    // Events tell of the last of several steps; now there are all of them.
    if (ENDED.includes(job.state) && state.history.has(job.id)) loadHistory(job.id).catch(complain);
  }
  state.jobs.set(job.id, job);
}

/** @param {Job} job */
function tellState(job) {
  const words = {
    running: "has begun",
    done: "is done",
    failed: `failed: ${job.error ?? ""}`,
    cancelled: "was cancelled",
    paused: "is paused",
    queued: "waits",
  };
  announce(`${nameJob(job)} ${words[job.state]}`);
}

/** @param {{job: string, progress?: import("./types.js").Step}} facts */
function takeProgress({ job, progress }) {
  const known = state.jobs.get(job);
  if (!known || !progress) return;
  known.progress = progress;
  const steps = state.history.get(job);
  if (steps && steps.at(-1)?.number !== progress.number) steps.push(progress);
}

/** @param {{job: string, step: number, url: string}} facts */
function takePreview({ job, step, url }) {
  const known = state.jobs.get(job);
  if (known) Object.assign(known, { preview: url, preview_step: step });
}

/** Load one job and what it has measured. @param {string} id */
export async function loadJob(id) {
  const job = await ask(`/jobs/${id}`);
  takeJob(job);
  await loadHistory(id);
  return job;
}

/** @param {string} id */
export async function loadHistory(id) {
  const { steps } = await ask(`/jobs/${id}/history`);
  state.history.set(id, steps);
  redraw();
}

/**
 * Submit a job; the same one even if the answer is lost on its way.
 * @param {object} order
 * @returns {Promise<Job>}
 */
export async function submit(order) {
  const headers = { "Idempotency-Key": makeKey() };
  const job = await persist(() => ask("/jobs", { json: order, headers }));
  takeJob(job);
  redraw();
  return job;
}

/**
 * Cancel, pause, resume, like or run a job again.
 * @param {string} id @param {"cancel" | "pause" | "resume" | "again" | "favourite"} what
 * @returns {Promise<Job>}
 */
export async function steer(id, what, method = "POST") {
  const job = await ask(`/jobs/${id}/${what}`, { method });
  takeJob(job);
  redraw();
  return job;
}

/** @param {string} id @param {string | null} before */
export async function moveJob(id, before) {
  takeJob(await ask(`/jobs/${id}/move`, { json: { before } }));
  redraw();
}

/** @param {string} id */
export async function removeJob(id) {
  await ask(`/jobs/${id}`, { method: "DELETE" });
  state.jobs.delete(id);
  redraw();
}

/** Return what a job is called. @param {Job} job */
export function nameJob(job) {
  if (job.label) return job.label;
  const names = Object.values(job.inputs).flat().map((each) => bareName(each.name));
  return names.length ? names.slice(0, 3).join(" · ") : job.operation;
}

/** @param {string} name */
export function bareName(name) {
  return name.replace(/\.[a-z0-9]{2,5}$/i, "");
}

/** Return the picture that stands for a job: what it made, what it is at, or what it is of. */
export function findFace(/** @type {Job} */ job) {
  const made = job.results.find((each) => each.thumbnail);
  if (made) return made.thumbnail;
  if (job.preview) return `${job.preview}?step=${job.preview_step}`;
  const inputs = Object.values(job.inputs).flat();
  return inputs.find((each) => each.thumbnail)?.thumbnail ?? null;
}

/** Return an input or a file of a job as an item. @param {Job} job */
export function itemOf(job, /** @type {string} */ input, /** @type {number} */ number) {
  const found = job.inputs[input][number];
  const samples = [...state.styles, ...state.photographs];
  const sample = samples.find((each) => each.sha256 && each.sha256 === found.sha256);
  if (sample) return asItem(sample);
  /** @type {import("./types.js").Source} */
  const source = found.content || found.files ? { job: job.id, input, number } : { name: found.name };
  const name = found.files ? `${found.name}, ${found.files} files` : found.name;
  return { name, source, thumbnail: found.thumbnail, content: found.content };
}

/** Do something with a job, and complain where it fails. @param {() => Promise<unknown>} act */
export function doing(act) {
  return () => act().catch(complain);
}

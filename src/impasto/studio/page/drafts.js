/** What is being prepared for each operation; it is kept in this browser, so a tab may close. */

import { ask } from "./api.js";
import { keep, recall, redraw, state } from "./store.js";

/** @typedef {import("./types.js").Draft} Draft */
/** @typedef {import("./types.js").Item} Item */

/** Operations of one workshop: they share the photograph, the styles, and options. */
export const PAINTERS = ["paint", "instant"];
/** @type {Record<string, Draft>} */
const drafts = recall("drafts", {});
/** @type {Set<() => void>} called after each change */
export const changed = new Set();

/** @param {string} operation @returns {Draft} */
function begin(operation) {
  return { operation, inputs: {}, options: {}, files: {}, recipe: "", format: "png" };
}

/** The workshop that an operation's draft lies in. @param {string} operation */
function place(operation) {
  return PAINTERS.includes(operation) ? "paint" : operation;
}

/** Return the draft of an operation. @param {string} operation @returns {Draft} */
export function findDraft(operation) {
  const at = place(operation);
  if (!drafts[at]) {
    drafts[at] = begin(operation);
    const inputs = drafts.paint?.inputs ?? {};
    for (const { name, kind, most } of state.operations[operation]?.inputs ?? []) {
      if (kind !== "picture" || !inputs[name]?.length) continue;
      drafts[at].inputs[name] = inputs[name].slice(0, most ?? undefined);
    }
  }
  return drafts[at];
}

/** Keep what was changed, and show it. */
export function touch() {
  keep("drafts", drafts);
  for (const listener of changed) listener();
  redraw();
}

/** Put a draft in the place of another. @param {Draft} draft */
export function replaceDraft(draft) {
  drafts[place(draft.operation)] = draft;
  touch();
}

/** Set an option; undefined takes it back to its default. @param {Draft} draft */
export function setOption(draft, /** @type {string} */ name, /** @type {any} */ value) {
  if (value === undefined) delete draft.options[name];
  else draft.options[name] = value;
  touch();
}

/** Return the value of an option: as it was set, of the recipe, or its default. */
export function readOption(/** @type {Draft} */ draft, /** @type {string} */ name) {
  if (name in draft.options) return draft.options[name];
  const recipe = state.recipes.find((each) => each.name === draft.recipe);
  if (recipe && draft.operation === recipe.operation && name in recipe.options) {
    return recipe.options[name];
  }
  return state.operations[draft.operation]?.options?.properties[name]?.default;
}

/** @type {Map<string, Promise<void>>} */
const loading = new Map();

/** Load the schema of an operation's options, once. @param {string} name */
export function loadSchema(name) {
  if (state.operations[name]?.options) return Promise.resolve();
  const known = loading.get(name) ?? fetchSchema(name).finally(() => loading.delete(name));
  loading.set(name, known);
  return known;
}

async function fetchSchema(/** @type {string} */ name) {
  state.operations[name] = await ask(`/operations/${name}`);
  redraw();
}

/** Return the job that a draft asks for. @param {Draft} draft */
export function makeOrder(draft, operation = draft.operation) {
  const known = state.operations[operation].options?.properties ?? {};
  /** @type {Record<string, any>} */
  const options = {};
  for (const [name, value] of Object.entries(draft.options)) {
    if (name in known) options[name] = value;
  }
  for (const [name, items] of Object.entries(draft.files)) {
    const mark = known[name]?.["x-file"];
    if (!mark || !items.length) continue;
    const sources = items.map((each) => each.source);
    options[name] = mark.several ? sources : sources[0];
  }
  if (PAINTERS.includes(operation)) fitStyles(draft, operation, options);
  const inputs = Object.fromEntries(
    Object.entries(draft.inputs).map(([name, items]) => [name, items.map((each) => each.source)]),
  );
  const recipe = operation === "paint" && draft.recipe ? { recipe: draft.recipe } : {};
  return { operation, inputs, options, ...recipe, format: draft.format };
}

/** Say of styles what each of the two painters calls otherwise: shares, scales and masks. */
function fitStyles(
  /** @type {Draft} */ draft,
  /** @type {string} */ operation,
  /** @type {Record<string, any>} */ options,
) {
  const styles = draft.inputs.style ?? [];
  const weights = styles.map((each) => each.weight ?? 1);
  if (new Set(weights).size > 1) {
    if (operation === "paint") options.style_blend = weights;
    else options.blend = weights.map(String);
  }
  if ("scale" in draft.options) {
    options.style_scale = operation === "paint" ? [draft.options.scale] : draft.options.scale;
  }
  if (styles.length > 1 && styles.some((each) => each.mask)) {
    options.style_mask = styles.map((each) => each.mask?.source);
  }
  const model = styles.find((each) => each.model)?.model;
  if (model && operation === "instant") options.model = model;
}

/** Whether there is enough to begin. @param {Draft} draft */
export function isComplete(draft, operation = draft.operation) {
  const inputs = state.operations[operation]?.inputs ?? [];
  const learnt = (draft.inputs.style ?? []).some((each) => each.model);
  if (operation === "instant" && !draft.inputs.style?.length) return false;
  if (operation === "paint" && learnt) return false;
  return inputs.every(({ name, least }) => (draft.inputs[name]?.length ?? 0) >= least);
}

/** Return the draft that would make a job once more. @param {import("./types.js").Job} job */
export function draftOf(job, /** @type {Record<string, Item[]>} */ inputs) {
  const draft = begin(job.operation);
  draft.inputs = inputs;
  draft.format = job.format;
  const known = state.operations[job.operation].options?.properties ?? {};
  for (const [name, value] of Object.entries(job.options)) {
    const mark = known[name]?.["x-file"];
    const isFile = mark && value !== null && !mark.names.includes(value);
    if (!isFile) draft.options[name] = value;
    else {
      draft.files[name] = [value].flat().map((each, number) => fileOf(job.id, name, number, each));
    }
  }
  unfitStyles(draft);
  return draft;
}

/** @returns {Item} */
function fileOf(
  /** @type {string} */ job,
  /** @type {string} */ input,
  /** @type {number} */ number,
  /** @type {string} */ name,
) {
  const at = `/api/v1/jobs/${job}/inputs/${input}/${number}`;
  const source = { job, input, number };
  return { name, source, thumbnail: `${at}/thumbnail`, content: `${at}/content` };
}

/** Undo what ``fitStyles`` does. @param {Draft} draft */
export function unfitStyles(draft) {
  const { options, inputs, files } = draft;
  if (!PAINTERS.includes(draft.operation)) return;
  const shares = options.style_blend ?? options.blend ?? [];
  (inputs.style ?? []).forEach((each, number) => {
    const share = Number(shares[number]);
    if (share >= 0 && shares.length) each.weight = share;
    each.mask = files.style_mask?.[number] ?? null;
    if (options.model) each.model = options.model;
  });
  const scale = [options.style_scale ?? []].flat();
  if (scale.length === 1) options.scale = scale[0];
  for (const name of ["blend", "style_blend", "style_scale"]) delete options[name];
  delete files.style_mask;
}

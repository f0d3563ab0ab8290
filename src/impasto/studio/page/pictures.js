/** Files that come in: chosen, dropped, pasted; a painting brings its settings along. */

import { ask, upload } from "./api.js";
import { findDraft, loadSchema, replaceDraft, touch, unfitStyles } from "./drafts.js";
import { announce, attempt, state, update } from "./store.js";

/** @typedef {import("./types.js").Item} Item */
/** @typedef {import("./types.js").Draft} Draft */

/** Put items into an input: in the place of the only one, or after the others. */
export function addItems(
  /** @type {Draft} */ draft,
  /** @type {string} */ name,
  /** @type {Item[]} */ items,
) {
  const declared = state.operations[draft.operation]?.inputs.find((each) => each.name === name);
  const most = declared?.most ?? null;
  const known = draft.inputs[name] ?? [];
  const all = most === 1 ? items.slice(-1) : [...known, ...items];
  draft.inputs[name] = most === null ? all : all.slice(0, most);
  if (name === "content") forgetMasks(draft);
  else delete draft.files.labels;
  touch();
}

/** A mask belongs to the photograph that it was painted on. @param {Draft} draft */
function forgetMasks(draft) {
  delete draft.files.mask;
  delete draft.files.labels;
  for (const each of draft.inputs.style ?? []) each.mask = null;
}

/** Take a style in or out. */
export function toggleStyle(/** @type {Draft} */ draft, /** @type {Item} */ item, isOne = false) {
  const known = draft.inputs.style ?? [];
  const key = JSON.stringify(item.source);
  const rest = known.filter((each) => JSON.stringify(each.source) !== key);
  const fitting = rest.filter((each) => (each.model ?? null) === (item.model ?? null));
  if (rest.length < known.length && !isOne) draft.inputs.style = rest;
  else draft.inputs.style = isOne ? [item] : [...fitting, item];
  if (item.model) draft.operation = "instant";
  delete draft.files.labels; // they are of the style that was there
  touch();
}

/** Upload files and put them where they belong. */
export function addFiles(
  /** @type {Draft} */ draft,
  /** @type {string} */ name,
  /** @type {FileList | File[]} */ files,
) {
  return attempt(async () => {
    for (const file of files) {
      const item = await upload(file, file.name || "pasted.png");
      if (item.info.has_recipe && name === "content" && (await restore(item))) return;
      const { info, ...plain } = item;
      addItems(draft, name, [plain]);
      announce(`${item.name} is there`);
    }
  }, `Uploading ${files.length === 1 ? files[0].name || "a picture" : `${files.length} files`} …`);
}

/** Make a folder of files, by their paths in it. @param {File[]} files @returns {Promise<Item>} */
export async function uploadFolder(files) {
  /** @type {Record<string, object>} */
  const sources = {};
  let top = "folder";
  for (const [number, file] of files.entries()) {
    const parts = (file.webkitRelativePath || file.name).split("/");
    if (parts.length > 1) top = String(parts.shift());
    if (parts.some((each) => each.startsWith("."))) continue;
    update({ busy: `Uploading ${number + 1} of ${files.length} …` });
    sources[parts.join("/")] = (await upload(file, String(parts.at(-1)))).source;
  }
  update({ busy: "" });
  return { name: top, source: { files: sources }, thumbnail: null, content: null };
}

/**
 * Take the settings of a painting, if its recipe is of a kind that has a place here.
 * @param {Item & {info: any}} item
 * @returns {Promise<boolean>}
 */
async function restore(item) {
  const found = await ask(`/uploads/${item.info.id}/recipe`);
  if (!(found.operation in state.operations)) return false;
  await loadSchema(found.operation);
  const before = findDraft(found.operation);
  /** @type {Draft} */
  const draft = { ...before, operation: found.operation, options: found.options, files: {} };
  draft.recipe = "";
  draft.inputs = { ...before.inputs };
  const missing = [];
  for (const [name, values] of Object.entries(found.inputs)) {
    const items = await Promise.all(values.map(findItem));
    missing.push(...values.filter((/** @type {any} */ _, /** @type {number} */ at) => !items[at])
      .map((/** @type {any} */ each) => each.name));
    draft.inputs[name] = items.filter((each) => each !== null);
  }
  unfitStyles(draft);
  replaceDraft(draft);
  const files = Object.values(found.files).flat();
  const lacking = [...missing, ...files].map((each) => `“${each}”`).join(", ");
  const note = `The settings of ${item.name} are restored.`;
  update({ note: lacking ? `${note} Not here, so choose again: ${lacking}.` : note });
  announce(state.note);
  location.hash = found.operation === "paint" || found.operation === "instant"
    ? "#/" : `#/make/${found.operation}`;
  return true;
}

/** Return an input that a recipe names, if it is among the uploads or the samples. */
async function findItem(
  /** @type {{name: string, upload: string | null}} */ each,
) {
  if (each.upload) {
    const info = await ask(`/uploads/${each.upload}`);
    const { thumbnail, content } = info;
    return { name: info.name, source: { upload: info.id }, thumbnail, content };
  }
  const bare = each.name.replace(/\.[a-z]+$/i, "");
  const known = [...state.styles, ...state.photographs].find((one) => one.name === bare);
  return known ? asItem(known) : null;
}

/** Return a sample or a style to choose as an item. @param {any} entry @returns {Item} */
export function asItem(entry) {
  const { name, source, thumbnail, content, model = null } = entry;
  return { name, source, thumbnail, content, model };
}

/** Return the files of a drop or a paste. @param {DataTransfer | null} data */
export function filesOf(data) {
  return [...(data?.files ?? [])];
}

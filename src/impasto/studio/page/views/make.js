/** Where something is prepared: pictures that go in, a preview, options, and the button. */

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import { ref } from "../vendor/lit-html/directives/ref.js";
import {
  PAINTERS, changed, findDraft, isComplete, loadSchema, makeOrder, readOption, touch,
} from "../drafts.js";
import { field, optionForm, sayName } from "../form.js";
import { anew, bareName, doing, submit } from "../jobs.js";
import { addFiles, addItems, asItem, filesOf, toggleStyle, uploadFolder } from "../pictures.js";
import { preview, showAgain, showDraft } from "../preview.js";
import { announce, attempt, recall, keep, redraw, state } from "../store.js";
import { aboutTask, sayTask } from "../tasks.js";
import { openLabels } from "../parts/labels.js";
import { openMask } from "../parts/mask.js";
import { openRegions } from "../parts/regions.js";
import "../parts/viewer.js";

/** @typedef {import("../types.js").Draft} Draft */
/** @typedef {import("../types.js").Input} Input */

const METHODS = [
  ["instant", "In one pass", "seconds; what the preview shows"],
  ["paint", "Step by step", "minutes; finer, all recipes"],
];
const SHOWN_ELSEWHERE = ["style_weight", "style_scale", "color", "size", "mask", "style_mask", "labels",
  "blend", "style_blend", "model", "strength"];
const SIZES = [256, 512, 1024, 2048];
let mode = recall("mode", "divided");
let isAdding = false; // the next style goes beside the one that is there
/** @type {Draft | null} */
let current = null;

changed.add(() => current && PAINTERS.includes(current.operation) && showDraft(current));
anew.add(() => {
  showAgain();
  if (current && PAINTERS.includes(current.operation)) showDraft(current);
});

/** @param {string} name */
export function makeView(name) {
  const known = state.operations[name];
  if (!known) return html`<h1>Unknown operation</h1><p><a href="#/more">All operations</a></p>`;
  const draft = findDraft(name);
  const operation = draft.operation;
  current = draft;
  if (!state.operations[operation].options) void attempt(() => loadSchema(operation));
  if (PAINTERS.includes(operation)) showDraft(draft);
  return html`<div class="workshop">
    <h1 class="visually-hidden">${PAINTERS.includes(operation) ? "Paint" : sayTask(operation)}</h1>
    ${stage(draft)}
    ${panel(draft)}
  </div>`;
}

// --- the picture ---------------------------------------------------------------------------------

function stage(/** @type {Draft} */ draft) {
  const isPainter = PAINTERS.includes(draft.operation);
  const inputs = state.operations[draft.operation].inputs;
  const first = inputs.map((each) => each.name).find((each) => draft.inputs[each]?.[0]?.content);
  const photo = first ? draft.inputs[first][0] : undefined;
  const isFilm = inputs.find((each) => each.name === first)?.kind === "film";
  const painted = isPainter ? preview.address : "";
  const show = ref((element) => /** @type {any} */ (element)?.show({
    first: photo?.content ?? "", second: painted || (photo?.content ?? ""), mode,
    what: photo ? bareName(photo.name) : "the picture", names: ["Photograph", "Preview"],
  }));
  return html`<section class="stage" aria-label="Picture">
    ${isFilm ? html`<div class="films"><figure><video controls muted loop src=${photo?.content ?? ""}
        aria-label="The film"></video><figcaption>${photo?.name}</figcaption></figure></div>`
      : photo?.content ? html`<picture-viewer ${show}></picture-viewer>
        ${stageBar(draft, Boolean(painted))}` : empty(draft, inputs)}
    <div class="shelves">
      ${inputs.filter((each) => each.kind === "picture").map((each) => shelf(draft, each))}</div>
  </section>`;
}

function stageBar(/** @type {Draft} */ draft, /** @type {boolean} */ isPair) {
  const viewer = () => /** @type {any} */ (document.querySelector("picture-viewer"));
  const choose = (/** @type {string} */ next) => () => {
    mode = next;
    keep("mode", mode);
    redraw();
  };
  const modes = [["divided", "Before / after"], ["side", "Side by side"], ["second", "Painted"]];
  return html`<div class="stage-bar">
    ${isPair ? html`<div class="segments" role="group" aria-label="What is shown">
      ${modes.map(([name, text]) => html`<button type="button" aria-pressed=${mode === name}
        @click=${choose(name)}>${text}</button>`)}</div>` : nothing}
    ${zoomButtons(viewer)}
    ${PAINTERS.includes(draft.operation) ? html`<p class="status">
      ${preview.fault ? html`<span class="wrong">${preview.fault}</span>`
        : isPair ? html`preview, ${preview.isBusy ? "painting …"
            : `${Math.round(preview.milliseconds)} ms`}`
          : preview.isBusy ? "painting a preview …" : "choose a style below"}</p>` : nothing}
  </div>`;
}

/** @param {() => any} viewer */
export function zoomButtons(viewer) {
  return html`<div class="segments" role="group" aria-label="Zoom">
    <button type="button" aria-label="Smaller" @click=${() => viewer().zoomTo(viewer().zoom / 1.4)}>−</button>
    <button type="button" @click=${() => viewer().zoomTo(1)}>Fit</button>
    <button type="button" title="One pixel of the picture for one of the screen"
      @click=${() => viewer().zoomToPixels()}>1:1</button>
    <button type="button" aria-label="Larger" @click=${() => viewer().zoomTo(viewer().zoom * 1.4)}>+</button>
  </div>`;
}

function empty(/** @type {Draft} */ draft, /** @type {Input[]} */ inputs) {
  const first = inputs.find((each) => each.kind === "picture") ?? inputs[0];
  if (first.kind !== "picture") {
    return html`<div class="empty"><p class="large">${aboutTask(draft.operation)}</p></div>`;
  }
  return html`<div class="empty">
    <p class="large">Drop a photograph here</p>
    <p>or paste one, or <label class="button">choose a file
      <input class="visually-hidden" type="file" accept="image/*" @change=${(/** @type {any} */ event) =>
        addFiles(draft, first.name, event.target.files)}></label></p>
    <p>or take one of the samples below.</p>
    <p class="hint">A painting that Impasto made brings its settings along. Nothing leaves this
      computer.</p>
  </div>`;
}

// --- shelves of pictures -------------------------------------------------------------------------

/** What an input holds, and samples to choose from. */
function shelf(/** @type {Draft} */ draft, /** @type {Input} */ input) {
  const isStyle = input.name.startsWith("style");
  const samples = isStyle ? state.styles : state.photographs;
  const chosen = draft.inputs[input.name] ?? [];
  const keyOf = (/** @type {any} */ each) => JSON.stringify(each.source);
  const keys = chosen.map(keyOf);
  const shown = samples.filter((each) => !each.model || draft.operation === "instant");
  const own = chosen.filter((each) => !shown.some((one) => keyOf(one) === keyOf(each)));
  const title = isStyle ? "Style" : input.name === "content" ? "Photograph" : sayName(input.name);
  const several = input.most !== 1;
  const press = (/** @type {any} */ item, /** @type {MouseEvent} */ event) => {
    const add = event.shiftKey || event.ctrlKey || event.metaKey || isAdding;
    isAdding = false;
    if (several && isStyle && input.name === "style") toggleStyle(draft, item, !add && chosen.length < 2);
    else if (keys.includes(keyOf(item))) {
      draft.inputs[input.name] = chosen.filter((each) => keyOf(each) !== keyOf(item));
      touch();
    } else addItems(draft, input.name, [item]);
  };
  return html`<section class="shelf" aria-labelledby="shelf-${input.name}">
    <div class="shelf-head"><h2 id="shelf-${input.name}">${title}
      ${input.least === 0 ? html`<small>optional</small>` : nothing}</h2>
      ${several && isStyle && chosen.length === 1 && chosen[0].content ? html`
        <button type="button" class="link" aria-pressed=${isAdding} title="Or hold Shift"
          @click=${() => {
            isAdding = !isAdding;
            announce(isAdding ? "The next style is added to the first" : "");
            redraw();
          }}>${isAdding ? "now choose the other" : "add another"}</button>` : nothing}</div>
    <ul class="tiles">
      <li><label class="tile add" title="${input.about}">
        <span aria-hidden="true">+</span> Your own
        <input class="visually-hidden" type="file" accept="image/*" ?multiple=${several}
          aria-label="${title}: choose a file"
          @change=${(/** @type {any} */ event) => {
            const files = [...event.target.files];
            event.target.value = "";
            return addFiles(draft, input.name, files);
          }}></label></li>
      ${[...own, ...shown.map(asItem)].map((item) => html`<li>
        <button type="button" class="tile" aria-pressed=${keys.includes(keyOf(item))}
          title=${item.name} @click=${(/** @type {MouseEvent} */ event) => press(item, event)}>
          ${item.thumbnail
            ? html`<img src=${item.thumbnail} alt="" loading="lazy">`
            : html`<span class="word">${item.model ?? ""}</span>`}
          <span class="name">${bareName(item.name)}</span></button></li>`)}
    </ul>
  </section>`;
}

// --- the panel -----------------------------------------------------------------------------------

function panel(/** @type {Draft} */ draft) {
  const operation = draft.operation;
  const known = state.operations[operation];
  const properties = known.options?.properties ?? {};
  const isPainter = PAINTERS.includes(operation);
  const main = isPainter ? SHOWN_ELSEWHERE : findFirst(properties);
  return html`<section class="panel" aria-label="Settings">
    ${isPainter ? painterOptions(draft, properties) : html`
      <header class="task"><h2>${sayTask(operation)}</h2><p>${aboutTask(operation)}</p></header>
      ${known.inputs.filter((each) => each.kind !== "picture").map((each) => otherInput(draft, each))}
      <div class="fields">${main.map((each) => field(draft, each, properties[each]))}</div>
      ${"labels" in properties && draft.inputs.like?.length === 1
        ? html`${labelRow(draft, draft.inputs.content?.[0], draft.inputs.like[0])}
          ${regionRow(draft, draft.inputs.content?.[0], draft.inputs.like[0])}` : nothing}`}
    <details class="all" ?open=${!isPainter}><summary>All options</summary>
      ${known.options ? optionForm(draft, properties, main) : html`<p>Loading …</p>`}
    </details>
    ${goBar(draft, known)}
  </section>`;
}

/** Return the options that are an operation's own: they come first. */
function findFirst(/** @type {Record<string, any>} */ properties) {
  const names = Object.keys(properties);
  const group = names.length ? properties[names[names.length - 1]]["x-group"] : "";
  const own = names.filter((each) =>
    properties[each]["x-group"] === group && each !== "labels").slice(0, 4);
  return "size" in properties && !own.includes("size") ? [...own, "size"] : own;
}

function painterOptions(
  /** @type {Draft} */ draft,
  /** @type {Record<string, any>} */ properties,
) {
  const styles = draft.inputs.style ?? [];
  const learnt = styles.some((each) => each.model);
  const choose = (/** @type {string} */ name) => () => {
    draft.operation = name;
    if (name === "paint") draft.inputs.style = styles.filter((each) => !each.model);
    touch();
  };
  return html`
    <fieldset class="methods"><legend>How it is painted</legend>
      ${METHODS.map(([name, text, about]) => html`
        <label><input type="radio" name="method" .checked=${draft.operation === name}
          @change=${choose(name)}><span><b>${text}</b> <small>${about}</small></span></label>`)}
    </fieldset>
    <div class="fields">
      ${learnt ? nothing : field(draft, "style_weight", { ...properties.style_weight,
        description: "Left: nearer the photograph. Right: nearer the style." },
        { label: "Style weight" })}
      ${field(draft, "scale", { type: "number", default: 1, exclusiveMinimum: 0, maximum: 100,
        description: "Smaller or larger strokes than the style's own." }, { label: "Size of strokes" })}
      ${draft.operation === "instant" && properties.strength
        ? field(draft, "strength", properties.strength) : nothing}
      ${properties.color ? field(draft, "color", properties.color, { label: "Colours" }) : nothing}
      ${sizeField(draft)}
      ${draft.operation === "paint" ? recipeField(draft) : nothing}
    </div>
    ${masks(draft)}`;
}

function sizeField(/** @type {Draft} */ draft) {
  const value = readOption(draft, "size") ?? "";
  const set = (/** @type {any} */ event) => {
    const size = Number(event.target.value);
    if (size >= 16) draft.options.size = Math.round(size);
    else delete draft.options.size;
    touch();
  };
  return html`<div class="field"><div class="field-head"><label for="option-size">Long side</label></div>
    <input id="option-size" type="number" min="16" max="65536" step="1" list="sizes"
      placeholder="the photograph’s own" .value=${String(value)} @change=${set}
      aria-describedby="option-size-help">
    <datalist id="sizes">${SIZES.map((each) => html`<option value=${each}></option>`)}</datalist>
    <p class="help" id="option-size-help">Of the painting, in pixels. The preview has 384.</p></div>`;
}

function recipeField(/** @type {Draft} */ draft) {
  const set = (/** @type {any} */ event) => {
    draft.recipe = event.target.value;
    touch();
  };
  const chosen = state.recipes.find((each) => each.name === draft.recipe);
  return html`<div class="field"><div class="field-head"><label for="recipe">Recipe</label></div>
    <select id="recipe" @change=${set} aria-describedby="recipe-help">
      ${state.recipes.map((each) => {
        const value = each.name === "default" ? "" : each.name;
        return html`<option value=${value} ?selected=${value === draft.recipe}>${each.name}</option>`;
      })}</select>
    <p class="help" id="recipe-help">${chosen?.about ?? "The defaults of all options."}</p></div>`;
}

/** Which style goes where, and how much of each. */
function masks(/** @type {Draft} */ draft) {
  const photo = draft.inputs.content?.[0];
  const styles = draft.inputs.style ?? [];
  if (!photo || !styles.length) return nothing;
  const whole = draft.files.mask?.[0];
  const weigh = (/** @type {any} */ each) => (/** @type {any} */ event) => {
    each.weight = Number(event.target.value);
    touch();
  };
  return html`<section class="masks" aria-labelledby="masks-title">
    <h3 id="masks-title">Where it is painted</h3>
    <p class="mask-row"><span>${whole ? "in the mask" : "everywhere"}</span>
      <button type="button" @click=${() => openMask(draft, photo, null)}>
        ${whole ? "Change the mask" : "Paint a mask"}</button>
      ${whole ? html`<button type="button" class="quiet" @click=${() => {
        delete draft.files.mask;
        touch();
      }}>Remove</button>` : nothing}</p>
    ${draft.operation === "paint" && styles.length === 1 ? labelRow(draft, photo, styles[0]) : nothing}
    ${styles.length > 1 ? styles.map((each, number) => html`
      <div class="mask-row style-row">
        ${each.thumbnail ? html`<img src=${each.thumbnail} alt="">` : nothing}
        <label>${bareName(each.name)}, share
          <input type="range" min="0" max="2" step="0.05" .value=${String(each.weight ?? 1)}
            @input=${weigh(each)}></label>
        ${each.model ? nothing : html`<button type="button"
          aria-label="Mask of ${bareName(each.name)}"
          @click=${() => openMask(draft, photo, number)}>${each.mask ? "Its mask" : "Mask"}</button>`}
        ${each.mask ? html`<button type="button" class="quiet"
          aria-label="Remove the masks of styles" @click=${() => {
            for (const one of styles) one.mask = null;
            touch();
          }}>×</button>` : nothing}
      </div>`) : nothing}
  </section>`;
}

/** Regions that are found, and paired by clicks. */
function regionRow(
  /** @type {Draft} */ draft,
  /** @type {import("../types.js").Item | undefined} */ photo,
  /** @type {import("../types.js").Item} */ like,
) {
  if (!photo?.content || draft.files.labels?.length) return nothing;
  const count = (readOption(draft, "pair") ?? []).length;
  return html`<p class="mask-row"><span>${count ? `${count} regions paired by hand`
      : "regions found by themselves"}</span>
    <button type="button" @click=${() => openRegions(draft, photo, like)}>Pair regions</button></p>`;
}

/** What of the photograph is painted, or relit, from what of the other picture. */
function labelRow(
  /** @type {Draft} */ draft,
  /** @type {import("../types.js").Item | undefined} */ photo,
  /** @type {import("../types.js").Item} */ other,
) {
  if (!photo?.content || !other.content) return nothing;
  const isSet = Boolean(draft.files.labels?.length);
  return html`<p class="mask-row"><span>${isSet ? "what is labelled alike, from one another"
      : "from all of the other picture"}</span>
    <button type="button" @click=${() => openLabels(draft, [photo, other])}>
      ${isSet ? "Change the labels" : "Paint labels"}</button>
    ${isSet ? html`<button type="button" class="quiet" @click=${() => {
      delete draft.files.labels;
      touch();
    }}>Remove</button>` : nothing}</p>`;
}

/** An input that is no picture: a word, a model, a folder. */
function otherInput(/** @type {Draft} */ draft, /** @type {Input} */ input) {
  const id = `input-${input.name}`;
  const items = draft.inputs[input.name] ?? [];
  const put = (/** @type {any[]} */ next) => {
    draft.inputs[input.name] = next;
    touch();
  };
  const isFolder = ["folder", "labelled set"].includes(input.kind);
  const takeFolder = (/** @type {any} */ event) =>
    attempt(async () => put([await uploadFolder([...event.target.files])]));
  const folders = [...state.jobs.values()].filter((each) => each.state === "done"
    && state.operations[each.operation]?.output === "folder");
  const names = (/** @type {any} */ event) => put(event.target.value.split(/[,\n]/)
    .map((/** @type {string} */ each) => each.trim()).filter(Boolean).slice(0, input.most ?? undefined)
    .map((/** @type {string} */ name) => ({ name, source: { name }, thumbnail: null, content: null })));
  return html`<div class="field"><div class="field-head"><label for=${id}>${sayName(input.name)}
      ${input.least === 0 ? html`<small>optional</small>` : nothing}</label></div>
    ${input.kind === "name" ? html`<input id=${id} type="text" aria-describedby="${id}-help"
        .value=${items.map((each) => each.name).join(", ")} @change=${names}>`
      : isFolder ? html`
        <input id=${id} type="file" webkitdirectory multiple aria-describedby="${id}-help"
          @change=${takeFolder}>
        ${folders.length ? html`<select aria-label="Or what a work has made"
          @change=${(/** @type {any} */ event) => event.target.value && put([{
            name: "what a work has made", source: { job: event.target.value, result: null },
            thumbnail: null, content: null }])}>
          <option value="">or what a work has made …</option>
          ${folders.map((each) => html`<option value=${each.id}>${each.operation},
            ${new Date(each.created * 1000).toLocaleString()}</option>`)}</select>` : nothing}`
        : html`<input id=${id} type="file" ?multiple=${input.most !== 1}
            accept=${input.kind === "film" ? "video/*,image/gif" : nothing}
            aria-describedby="${id}-help" @change=${(/** @type {any} */ event) =>
              addFiles(draft, input.name, event.target.files)}>`}
    ${input.kind === "name" ? nothing : items.map((each) => html`<p class="chip">
      ${each.thumbnail ? html`<img src=${each.thumbnail} alt="">` : nothing}
      <span>${each.name}${each.about ? html`<small>${each.about}</small>` : nothing}</span>
      <button type="button" aria-label="Remove ${each.name}"
        @click=${() => put(items.filter((one) => one !== each))}>×</button></p>`)}
    <p class="help" id="${id}-help">${input.about}</p></div>`;
}

function goBar(/** @type {Draft} */ draft, /** @type {any} */ known) {
  const ready = isComplete(draft);
  const go = async () => {
    const job = await submit(makeOrder(draft));
    location.hash = `#/work/${job.id}`;
  };
  const format = (/** @type {any} */ event) => {
    draft.format = event.target.value;
    touch();
  };
  const lacking = known.inputs.filter((/** @type {Input} */ each) =>
    (draft.inputs[each.name]?.length ?? 0) < each.least);
  const verb = PAINTERS.includes(draft.operation) ? "Paint" : "Begin";
  return html`<div class="go">
    ${known.output === "picture" ? html`<label class="format"><span class="visually-hidden">Format</span>
      <select @change=${format}>${["png", "jpg", "webp", "tif"].map((each) => html`
        <option value=${each} ?selected=${each === draft.format}>${each.toUpperCase()}</option>`)}
      </select></label>` : nothing}
    <button type="button" class="primary" ?disabled=${!ready || !known.options}
      @click=${doing(go)}>${verb}</button>
    ${ready ? nothing : html`<p class="hint">${lacking.length
      ? `Still missing: ${lacking.map((/** @type {Input} */ each) => each.about).join("; ")}.`
      : "Choose a style."}</p>`}
  </div>`;
}

/** Take what is dropped or pasted anywhere: a photograph first, then styles. */
export function takeDrop(/** @type {any} */ event) {
  const files = filesOf(event.dataTransfer ?? event.clipboardData);
  if (!files.length) return;
  event.preventDefault();
  const draft = current ?? findDraft("paint");
  const shelfOf = /** @type {HTMLElement} */ (event.target)?.closest?.(".shelf");
  const named = shelfOf?.getAttribute("aria-labelledby")?.replace("shelf-", "");
  const inputs = state.operations[draft.operation].inputs.filter((each) => each.kind === "picture");
  const free = inputs.find((each) => !draft.inputs[each.name]?.length) ?? inputs[0];
  void addFiles(draft, named ?? free?.name ?? "content", files);
}

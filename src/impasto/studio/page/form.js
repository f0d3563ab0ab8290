/** Controls made from an operation's schema: grouped, searchable, each with its help. */

import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { live } from "./vendor/lit-html/directives/live.js";
import { upload } from "./api.js";
import { readOption, setOption, touch } from "./drafts.js";
import { attempt, redraw } from "./store.js";

/** @typedef {import("./types.js").Draft} Draft */

/** Scales that go by ratio: what is between is found faster. */
const BY_RATIO = { style_weight: [1, 1000], tv_weight: [0.1, 100], scale: [0.25, 4] };
let sought = "";

/** @param {string} name */
export function sayName(name) {
  const text = name.replaceAll("_", " ").replace(/^tv /, "TV ");
  return text[0].toUpperCase() + text.slice(1);
}

/** Return the part of a schema that says what a value is, and whether it may be left out. */
function read(/** @type {any} */ property) {
  const parts = property.anyOf?.filter((/** @type {any} */ each) => each.type !== "null");
  const isOptional = Boolean(property.anyOf && parts.length < property.anyOf.length);
  return { kind: parts?.length === 1 ? parts[0] : property, isOptional };
}

/**
 * All options of an operation but those that are shown elsewhere.
 * @param {Draft} draft @param {Record<string, any>} properties @param {string[]} [elsewhere]
 */
export function optionForm(draft, properties, elsewhere = []) {
  const words = sought.toLowerCase().split(/\s+/).filter(Boolean);
  /** @type {Map<string, string[]>} */
  const groups = new Map();
  for (const [name, property] of Object.entries(properties)) {
    const text = `${name.replaceAll("_", " ")} ${name} ${property.description ?? ""}`.toLowerCase();
    if (elsewhere.includes(name) || !words.every((each) => text.includes(each))) continue;
    const group = (property["x-group"] ?? "Options").replace(/\.$/, "");
    groups.set(group, [...(groups.get(group) ?? []), name]);
  }
  const count = [...groups.values()].flat().length;
  return html`
    <div class="search">
      <label for="seek">Search the options</label>
      <input id="seek" type="search" .value=${live(sought)} autocomplete="off"
        @input=${(/** @type {any} */ event) => { sought = event.target.value; redraw(); }}>
      <p class="hint" role="status">${words.length ? `${count} found` : nothing}</p>
    </div>
    ${[...groups].reverse().map(([group, names]) => html`
      <details class="group" ?open=${words.length > 0}>
        <summary>${group} ${countChanged(draft, names)}</summary>
        ${names.map((name) => field(draft, name, properties[name]))}
      </details>`)}`;
}

function countChanged(/** @type {Draft} */ draft, /** @type {string[]} */ names) {
  const count = names.filter((each) => each in draft.options || draft.files[each]?.length).length;
  return count ? html`<span class="count">${count} changed</span>` : nothing;
}

/** One option with its label, help and, where it was changed, the way back. */
export function field(
  /** @type {Draft} */ draft,
  /** @type {string} */ name,
  /** @type {any} */ property,
  /** @type {{label?: string, help?: boolean}} */ { label = sayName(name), help = true } = {},
) {
  const id = `option-${name}`;
  const isSet = name in draft.options || Boolean(draft.files[name]?.length);
  const reset = () => {
    delete draft.files[name];
    setOption(draft, name, undefined);
    document.getElementById(id)?.focus();
  };
  return html`
    <div class="field ${isSet ? "is-set" : ""}">
      <div class="field-head">
        <label for=${id}>${label}</label>
        ${isSet
          ? html`<button type="button" class="reset" title="Back to the default"
              aria-label="${label}: back to the default" @click=${reset}>↺</button>`
          : nothing}
      </div>
      ${control(draft, name, property, id, help)}
      ${help ? html`<p class="help" id="${id}-help">${property.description}</p>` : nothing}
    </div>`;
}

function control(
  /** @type {Draft} */ draft,
  /** @type {string} */ name,
  /** @type {any} */ property,
  /** @type {string} */ id,
  /** @type {boolean} */ help,
) {
  const { kind, isOptional } = read(property);
  const value = readOption(draft, name) ?? property.default;
  const set = (/** @type {any} */ next) => setOption(draft, name, next);
  const about = help ? `${id}-help` : nothing;
  if (property["x-file"]) return fileControl(draft, name, property["x-file"], id, about);
  if (kind.enum) {
    const find = (/** @type {string} */ text) =>
      kind.enum.find((/** @type {any} */ each) => String(each) === text) ?? null;
    return html`<select id=${id} aria-describedby=${about}
      @change=${(/** @type {any} */ event) => set(find(event.target.value))}>
      ${isOptional ? html`<option value="" ?selected=${value == null}>automatic</option>` : nothing}
      ${kind.enum.map((/** @type {any} */ each) => html`<option value=${each}
        ?selected=${each === value}>${String(each).replaceAll("_", " ")}</option>`)}
    </select>`;
  }
  if (kind.type === "boolean") {
    return html`<input id=${id} type="checkbox" class="switch" aria-describedby=${about}
      .checked=${live(Boolean(value))}
      @change=${(/** @type {any} */ event) => set(event.target.checked)}>`;
  }
  if (kind.type === "number" || kind.type === "integer") {
    return numberControl(kind, isOptional, name, value, set, id, about);
  }
  if (kind.type === "array") return listControl(kind, value, set, id, about);
  return html`<input id=${id} type="text" aria-describedby=${about} autocomplete="off"
    .value=${live(value ?? "")} placeholder=${isOptional ? "automatic" : ""}
    @change=${(/** @type {any} */ event) => set(event.target.value || undefined)}>`;
}

/** A slider where the range is known, beside a field for any number. */
function numberControl(
  /** @type {any} */ kind,
  /** @type {boolean} */ isOptional,
  /** @type {string} */ name,
  /** @type {any} */ value,
  /** @type {(next: any) => void} */ set,
  /** @type {string} */ id,
  /** @type {any} */ about,
) {
  const least = kind.minimum ?? kind.exclusiveMinimum;
  const most = kind.maximum ?? kind.exclusiveMaximum;
  const ratio = BY_RATIO[/** @type {keyof typeof BY_RATIO} */ (name)];
  const isWhole = kind.type === "integer";
  const hasSlider = ratio || (least !== undefined && most !== undefined && most - least <= 20);
  const type = (/** @type {any} */ event) => {
    const text = event.target.value;
    if (text === "") return set(isOptional ? null : undefined);
    if (Number.isFinite(Number(text))) set(Number(text));
    return undefined;
  };
  const box = html`<input id=${hasSlider ? `${id}-number` : id} type="number"
    step=${isWhole ? 1 : "any"} min=${least ?? nothing} max=${most ?? nothing}
    aria-label=${hasSlider ? `${sayName(name)} as a number` : nothing}
    aria-describedby=${about} placeholder=${isOptional ? "automatic" : ""}
    .value=${live(value == null ? "" : String(round(value)))} @change=${type}>`;
  if (!hasSlider) return box;
  const shown = value ?? (ratio ? 15 : (least + most) / 2);
  const slide = ratio
    ? { min: Math.log(ratio[0]), max: Math.log(ratio[1]), step: 0.01, at: Math.log(shown || 0.001) }
    : { min: least, max: most, step: isWhole ? 1 : (most - least) / 200, at: shown };
  const move = (/** @type {any} */ event) => {
    const at = Number(event.target.value);
    set(ratio ? round(Math.exp(at), 3) : round(at));
  };
  return html`<div class="slide">
    <input id=${id} type="range" min=${slide.min} max=${slide.max} step=${slide.step}
      aria-describedby=${about} aria-valuetext=${String(round(shown))}
      .value=${live(String(slide.at))} @input=${move}>${box}</div>`;
}

/** @param {number} value @param {number} [digits] of significance */
export function round(value, digits = 5) {
  return Number(Number(value).toPrecision(digits));
}

/** A line each: names may hold commas. */
function listControl(
  /** @type {any} */ kind,
  /** @type {any} */ value,
  /** @type {(next: any) => void} */ set,
  /** @type {string} */ id,
  /** @type {any} */ about,
) {
  const items = kind.items ?? kind.prefixItems?.[0] ?? {};
  const isNumber = items.type === "number" || items.type === "integer";
  const text = (value ?? []).join(isNumber ? ", " : "\n");
  const take = (/** @type {any} */ event) => {
    const words = event.target.value.split(isNumber ? /[\s,;]+/ : /\n/);
    const found = words.map((/** @type {string} */ each) => each.trim()).filter(Boolean);
    set(isNumber ? found.map(Number).filter(Number.isFinite) : found);
  };
  if (isNumber) {
    return html`<input id=${id} type="text" inputmode="decimal" aria-describedby=${about}
      .value=${live(text)} placeholder="numbers, with commas" @change=${take}>`;
  }
  return html`<textarea id=${id} rows=${Math.min(6, Math.max(1, (value ?? []).length))}
    aria-describedby=${about} placeholder="one a line" spellcheck="false"
    .value=${live(text)} @change=${take}></textarea>`;
}

/** A file, or one of the words that stand for none. */
function fileControl(
  /** @type {Draft} */ draft,
  /** @type {string} */ name,
  /** @type {{kind: string, names: string[], several: boolean}} */ mark,
  /** @type {string} */ id,
  /** @type {any} */ about,
) {
  const items = draft.files[name] ?? [];
  const value = readOption(draft, name);
  const take = (/** @type {any} */ event) => {
    const files = [...event.target.files];
    event.target.value = "";
    return attempt(async () => {
      for (const file of files) {
        const { info, ...item } = await upload(file, file.name);
        draft.files[name] = mark.several ? [...(draft.files[name] ?? []), item] : [item];
      }
      touch();
    }, "Uploading …");
  };
  return html`
    ${mark.names.length
      ? html`<select id=${id} aria-describedby=${about} ?disabled=${items.length > 0}
          @change=${(/** @type {any} */ event) =>
            setOption(draft, name, event.target.value || undefined)}>
          <option value="" ?selected=${!value}>none</option>
          ${mark.names.map((each) => html`
            <option value=${each} ?selected=${each === value}>${each}</option>`)}
        </select>`
      : nothing}
    ${items.map((each, number) => html`<p class="chip">${each.name}
      <button type="button" aria-label="Remove ${each.name}" @click=${() => {
        items.splice(number, 1);
        touch();
      }}>×</button></p>`)}
    <input id=${mark.names.length ? `${id}-file` : id} type="file" aria-describedby=${about}
      aria-label=${mark.names.length ? `${sayName(name)}: a file` : nothing}
      ?multiple=${mark.several} accept=${mark.kind === "picture" ? "image/*" : nothing}
      @change=${take}>`;
}

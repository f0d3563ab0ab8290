/** The studio: its frame, and which view is shown. */

import { html, nothing, render } from "./vendor/lit-html/lit-html.js";
import { ask, persist } from "./api.js";
import { followJobs } from "./jobs.js";
import { attempt, complain, drawBy, keep, recall, redraw, state, update } from "./store.js";
import { cameraView, leaveCamera } from "./views/camera.js";
import { compareView, historyView } from "./views/history.js";
import { jobView } from "./views/job.js";
import { makeView, takeDrop } from "./views/make.js";
import { moreView } from "./views/more.js";

/** @type {[RegExp, (...parts: string[]) => unknown, string, string][]} view, title, of the menu */
const VIEWS = [
  [/^\/?$/, () => makeView("paint"), "Paint", "paint"],
  [/^\/camera$/, cameraView, "Camera", "camera"],
  [/^\/more$/, moreView, "More", "more"],
  [/^\/make\/([a-z-]+)$/, makeView, "Make", "more"],
  [/^\/history$/, historyView, "History", "history"],
  [/^\/work\/([0-9a-f]+)$/, jobView, "Work", "history"],
  [/^\/compare\/([0-9a-f]+)\/([0-9a-f]+)$/, compareView, "Compare", "history"],
];
const MENU = [["paint", "#/", "Paint"], ["camera", "#/camera", "Camera"],
  ["more", "#/more", "More"], ["history", "#/history", "History"]];
const THEMES = ["auto", "light", "dark"];
let theme = recall("theme", "auto");

function setTheme(/** @type {string} */ next) {
  theme = next;
  document.documentElement.dataset.theme = theme;
  keep("theme", theme);
  redraw();
}

function findView() {
  const path = location.hash.replace(/^#/, "");
  for (const [pattern, view, title, menu] of VIEWS) {
    const found = path.match(pattern);
    if (found) return { body: () => view(...found.slice(1)), title, menu };
  }
  return { body: () => html`<h1>There is nothing here</h1><p><a href="#/">Paint</a></p>`,
    title: "Nothing", menu: "" };
}

function draw() {
  const { body, title, menu } = findView();
  document.title = `${title} · Impasto`;
  if (menu !== "camera") leaveCamera();
  const busy = [...state.jobs.values()].filter((each) => each.state === "running");
  const waiting = [...state.jobs.values()].filter((each) => each.state === "queued").length;
  render(html`
    <header>
      <a class="brand" href="#/"><img src="/studio/icon.svg" alt="" width="26" height="26">
        Impasto</a>
      <nav aria-label="Views">
        ${MENU.map(([name, href, text]) => html`
          <a href=${href} aria-current=${name === menu ? "page" : nothing}>${text}</a>`)}
      </nav>
      ${busy.length ? html`<a class="at-work" href="#/work/${busy[0].id}">
          <i class="pulse"></i>${sayProgress(busy[0])}${waiting ? ` · ${waiting} waiting` : ""}</a>`
        : nothing}
      <button type="button" class="quiet theme" aria-label="Colours: ${theme}"
        title="Colours: ${theme}"
        @click=${() => setTheme(THEMES[(THEMES.indexOf(theme) + 1) % 3])}>
        ${{ auto: "◐", light: "☀", dark: "☾" }[theme]}</button>
    </header>
    ${bars()}
    <main id="main" tabindex="-1" data-view=${menu}>${state.isLoaded ? body()
      : html`<p class="loading">Opening …</p>`}</main>`, root);
}

function sayProgress(/** @type {import("./types.js").Job} */ job) {
  const step = job.progress;
  return step?.steps ? `${Math.floor((100 * step.number) / step.steps)} %` : "working";
}

function bars() {
  const close = (/** @type {"fault" | "note"} */ name) => () => update({ [name]: "" });
  return html`
    <div class="bars">
      ${state.isOnline ? nothing : html`<p class="bar offline">
        The server does not answer. What it was doing goes on when it is served again;
        this page finds it by itself.</p>`}
      <div role="alert">${state.fault ? html`<p class="bar fault">${state.fault}
        <button type="button" class="quiet" @click=${close("fault")}>Close</button></p>`
        : nothing}</div>
      ${state.note ? html`<p class="bar note">${state.note}
        <button type="button" class="quiet" @click=${close("note")}>Close</button></p>` : nothing}
      ${state.busy ? html`<p class="bar busy">${state.busy}</p>` : nothing}
    </div>`;
}

async function open() {
  const [operations, styles, photographs, recipes, server] = await persist(() => Promise.all([
    ask("/operations"), ask("/styles"), ask("/photographs"), ask("/recipes"), ask(""),
  ]));
  state.operations = Object.fromEntries(
    operations.operations.map((/** @type {any} */ each) => [each.name, each]),
  );
  Object.assign(state, { styles: styles.styles, photographs: photographs.photographs,
    recipes: recipes.recipes, server });
  await followJobs();
  redraw();
}

const root = /** @type {HTMLElement} */ (document.getElementById("app"));
root.replaceChildren();
setTheme(theme);
drawBy(draw);
redraw();
addEventListener("hashchange", () => {
  update({ fault: "" });
  draw();
  document.getElementById("main")?.focus({ preventScroll: true });
  scrollTo(0, 0);
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", takeDrop);
addEventListener("paste", takeDrop);
addEventListener("unhandledrejection", (event) => complain(event.reason));
document.querySelector(".skip")?.addEventListener("click", (event) => {
  event.preventDefault(); // the part after # is the view's
  document.getElementById("main")?.focus();
});
await attempt(open);

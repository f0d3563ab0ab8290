/** The camera's picture, painted as it comes. */

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import { ref } from "../vendor/lit-html/directives/ref.js";
import { API, upload } from "../api.js";
import { findDraft, loadSchema, makeOrder } from "../drafts.js";
import { field } from "../form.js";
import { bareName } from "../jobs.js";
import { addItems, asItem, toggleStyle } from "../pictures.js";
import { announce, attempt, complain, redraw, state } from "../store.js";

const WIDTH = 384;
const AHEAD = 2; // frames on their way: one is painted while the next one travels

/** A camera, its connection, and what is shown. */
const live = {
  /** @type {MediaStream | null} */ stream: null,
  /** @type {WebSocket | null} */ socket: null,
  /** @type {HTMLVideoElement | null} */ video: null,
  /** @type {HTMLCanvasElement | null} */ canvas: null,
  /** @type {MediaRecorder | null} */ recorder: null,
  /** @type {number[]} when frames that are on their way were taken */ sent: [],
  /** @type {number[]} when the last answers came */ came: [],
  latency: 0, fault: "", settings: "", isRecording: false,
};
const shrinker = document.createElement("canvas");
let told = 0;

export function cameraView() {
  const draft = findDraft("camera-view"); // kept apart: its styles are those of one pass
  draft.operation = "instant";
  void attempt(() => loadSchema("instant"));
  const properties = state.operations.instant.options?.properties ?? {};
  const canUse = Boolean(navigator.mediaDevices?.getUserMedia);
  if (live.socket) sendSettings();
  return html`<div class="workshop"><h1 class="visually-hidden">Camera</h1>
    <section class="stage" aria-label="Camera">
      <div class="camera">
        <canvas aria-label="The painted picture of the camera" role="img"
          ${ref((each) => { live.canvas = /** @type {any} */ (each) ?? null; })}></canvas>
        ${live.stream ? nothing : html`<div class="empty"><p class="large">Your camera, painted live</p>
          ${canUse ? html`<p><button type="button" class="primary" @click=${start}>
              Start the camera</button></p>`
            : html`<p>This browser gives its camera to pages on this computer and to those served by
              TLS alone (<code>impasto serve --certificate --key</code>). A picture can be taken:</p>
              <p><label class="button">Take a picture<input class="visually-hidden" type="file"
                accept="image/*" capture="environment" @change=${takePicture}></label></p>`}
          <p class="hint">Its pictures go to your own server and are not kept.</p></div>`}
      </div>
      <div class="stage-bar">
        ${live.stream ? html`
          <button type="button" @click=${stop}>Stop</button>
          <button type="button" @click=${() => void snapshot()}>Take a snapshot</button>
          <button type="button" aria-pressed=${live.isRecording} @click=${record}>
            ${live.isRecording ? "Stop recording" : "Record"}</button>
          <p class="status">${countFrames()} frames a second · ${Math.round(live.latency)} ms</p>`
          : nothing}
        ${live.fault ? html`<p class="wrong" role="alert">${live.fault}</p>` : nothing}
      </div>
      <section class="shelf" aria-labelledby="shelf-live"><h2 id="shelf-live">Style</h2>
        <ul class="tiles">${state.styles.map(asItem).map((item) => {
          const isChosen = (draft.inputs.style ?? []).some((each) =>
            JSON.stringify(each.source) === JSON.stringify(item.source));
          return html`<li><button type="button" class="tile" aria-pressed=${isChosen}
            @click=${() => toggleStyle(draft, item, true)}>
            ${item.thumbnail ? html`<img src=${item.thumbnail} alt="">`
              : html`<span class="word">${item.model ?? ""}</span>`}
            <span class="name">${bareName(item.name)}</span></button></li>`;
        })}</ul></section>
    </section>
    <section class="panel" aria-label="Settings"><header class="task"><h2>Camera</h2>
      <p>Each picture is painted in one pass; the newest one first, and none waits.</p></header>
      <div class="fields">
      ${["style_weight", "strength", "color"].map((each) => properties[each]
        ? field(draft, each, properties[each]) : nothing)}</div></section></div>`;
}

async function start() {
  const draft = findDraft("camera-view");
  if (!draft.inputs.style?.length && state.styles.length) {
    draft.inputs.style = [asItem(state.styles[0])];
  }
  try {
    live.stream = await navigator.mediaDevices.getUserMedia({
      video: { width: { ideal: 640 }, height: { ideal: 480 } }, audio: false });
  } catch (error) {
    live.fault = "the camera was not given; allow it in the browser's address bar";
    redraw();
    return;
  }
  live.video = document.createElement("video");
  Object.assign(live.video, { srcObject: live.stream, muted: true, playsInline: true });
  await live.video.play();
  live.fault = "";
  connect();
  redraw();
}

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}${API}/live`);
  socket.binaryType = "blob";
  live.socket = socket;
  live.settings = "";
  live.sent = [];
  socket.onopen = () => {
    sendSettings();
    for (let each = 0; each < AHEAD; each++) void sendFrame();
  };
  socket.onmessage = (event) => void take(event.data);
  socket.onclose = () => {
    if (live.socket !== socket) return;
    live.socket = null;
    if (live.stream) setTimeout(() => live.stream && connect(), 1000); // the server starts anew
  };
}

function sendSettings() {
  const { inputs, options } = makeOrder(findDraft("camera-view"), "instant");
  const text = JSON.stringify({ style: inputs.style ?? [], options, format: "jpg" });
  if (text === live.settings || live.socket?.readyState !== WebSocket.OPEN) return;
  live.settings = text;
  live.socket.send(text);
}

async function sendFrame() {
  const { video, socket } = live;
  if (!video || socket?.readyState !== WebSocket.OPEN) return;
  const taken = performance.now();
  shrinker.width = WIDTH;
  shrinker.height = Math.round((WIDTH * video.videoHeight) / video.videoWidth);
  shrinker.getContext("2d")?.drawImage(video, 0, 0, shrinker.width, shrinker.height);
  const blob = await new Promise((go) => shrinker.toBlob(go, "image/jpeg", 0.85));
  if (!blob || live.socket !== socket || socket.readyState !== WebSocket.OPEN) return;
  live.sent.push(taken);
  socket.send(/** @type {Blob} */ (blob));
}

/** Show a painted frame and send the next one. @param {Blob | string} data */
async function take(data) {
  const taken = live.sent.shift();
  void sendFrame();
  if (typeof data === "string") {
    live.fault = JSON.parse(data).error;
    redraw();
    return;
  }
  const image = await createImageBitmap(data);
  const canvas = live.canvas;
  if (!canvas || !live.stream) return;
  if (canvas.width !== image.width || canvas.height !== image.height) {
    Object.assign(canvas, { width: image.width, height: image.height });
  }
  canvas.getContext("2d")?.drawImage(image, 0, 0);
  image.close();
  const now = performance.now();
  live.came = [...live.came.filter((each) => now - each < 2000), now];
  if (taken) live.latency = 0.8 * (live.latency || now - taken) + 0.2 * (now - taken);
  document.dispatchEvent(new CustomEvent("impasto-frame", { detail: { milliseconds: taken ? now - taken : 0 } }));
  live.fault = "";
  if (now - told > 500) {
    told = now;
    redraw();
  }
}

function countFrames() {
  const [first] = live.came;
  const last = live.came.at(-1) ?? 0;
  if (live.came.length < 2) return 0;
  return Number((((live.came.length - 1) * 1000) / (last - first)).toFixed(1));
}

function stop() {
  if (live.isRecording) record();
  const { socket, stream } = live;
  Object.assign(live, { stream: null, socket: null, video: null, came: [], latency: 0 });
  stream?.getTracks().forEach((each) => each.stop());
  socket?.close();
  redraw();
}

/** Give the camera back when another view is shown. */
export function leaveCamera() {
  if (live.stream) stop();
}

/** Save what is shown, and make it a photograph to paint. */
async function snapshot() {
  const blob = await new Promise((go) => live.canvas?.toBlob(go, "image/png"));
  if (blob) save(/** @type {Blob} */ (blob), "snapshot.png");
  announce("The snapshot is saved");
}

function record() {
  if (live.isRecording) return live.recorder?.stop();
  const stream = live.canvas?.captureStream();
  if (!stream || typeof MediaRecorder === "undefined") {
    return complain("this browser cannot record");
  }
  /** @type {Blob[]} */
  const pieces = [];
  live.recorder = new MediaRecorder(stream);
  live.recorder.ondataavailable = (event) => pieces.push(event.data);
  live.recorder.onstop = () => {
    live.isRecording = false;
    const kind = live.recorder?.mimeType ?? "video/webm";
    save(new Blob(pieces, { type: kind }), kind.includes("mp4") ? "camera.mp4" : "camera.webm");
    redraw();
  };
  live.recorder.start();
  live.isRecording = true;
  redraw();
}

/** @param {Blob} blob @param {string} name */
function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function takePicture(/** @type {any} */ event) {
  return attempt(async () => {
    const { info, ...item } = await upload(event.target.files[0], "camera.jpg");
    addItems(findDraft("paint"), "content", [item]);
    location.hash = "#/";
  }, "Uploading …");
}

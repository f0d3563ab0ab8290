/** The server's API: requests, errors as one line, uploads, and the stream of events. */

export const API = "/api/v1";

/** An answer that says what was wrong. */
export class ApiError extends Error {
  /** @param {number} status @param {string} text */
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** The server could not be reached. */
export class OfflineError extends Error {}

/**
 * Send a request; return the answer, or throw what was wrong in one line.
 * @param {string} path below the API's address, or a whole path
 * @param {{method?: string, json?: object, body?: Blob, headers?: Record<string, string>,
 *   signal?: AbortSignal}} [given]
 */
export async function send(path, { method, json, body, headers = {}, signal } = {}) {
  const address = path.startsWith("/api") ? path : `${API}${path}`;
  const sent = { ...headers };
  if (json) sent["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(address, {
      method: method ?? (json ? "POST" : "GET"),
      body: json ? JSON.stringify(json) : body,
      headers: sent,
      signal,
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new OfflineError("the server does not answer; is 'impasto serve' still running?");
  }
  if (!answer.ok) throw new ApiError(answer.status, await readFault(answer));
  return answer;
}

/** @param {Response} answer */
async function readFault(answer) {
  const text = await answer.text();
  if (answer.status === 401) {
    return "this browser is not let in any more; open the link that 'impasto serve' prints";
  }
  try {
    return JSON.parse(text).error;
  } catch {
    return text.trim() || `the server answered ${answer.status}`;
  }
}

/** @param {string} path @param {Parameters<typeof send>[1]} [given] @returns {Promise<any>} */
export async function ask(path, given) {
  const answer = await send(path, given);
  return answer.status === 204 ? null : answer.json();
}

/**
 * Upload a file; return it as an item.
 * @param {Blob} file @param {string} name
 * @returns {Promise<import("./types.js").Item & {info: any}>}
 */
export async function upload(file, name) {
  const info = await ask(`/uploads?name=${encodeURIComponent(name.slice(-200) || "picture")}`, {
    method: "PUT",
    body: file,
    headers: { "Content-Type": "application/octet-stream" },
  });
  const { id, thumbnail, content } = info;
  const about = info.seconds == null ? ""
    : `${info.width} × ${info.height}, ${Number(info.seconds.toFixed(1))} s`;
  return { name: info.name, source: { upload: id }, thumbnail, content, about, info };
}

/** Return a key that makes a request, sent again, the same one. */
export function makeKey() {
  return [...crypto.getRandomValues(new Uint8Array(12))]
    .map((each) => each.toString(16).padStart(2, "0"))
    .join("");
}

/**
 * Do something again while the server cannot be reached: it may be starting anew.
 * @template T
 * @param {() => Promise<T>} act
 * @returns {Promise<T>}
 */
export async function persist(act, tries = 20) {
  for (let number = 1; ; number++) {
    try {
      return await act();
    } catch (error) {
      if (!(error instanceof OfflineError) || number === tries) throw error;
      await new Promise((go) => setTimeout(go, 500));
    }
  }
}

/**
 * Follow what happens on the server, also over its restarts.
 * @param {string} after the event to begin after
 * @param {(kind: string, facts: any) => void} take
 * @param {(isThere: boolean) => void} notice
 */
export function follow(after, take, notice) {
  let last = after;
  const open = () => {
    const events = new EventSource(`${API}/events?after=${encodeURIComponent(last)}`);
    events.onopen = () => notice(true);
    events.onerror = () => {
      events.close(); // the browser's own tries end at the first refusal
      notice(false);
      setTimeout(open, 1000);
    };
    for (const kind of ["job", "queue", "progress", "preview", "deleted", "reset"]) {
      events.addEventListener(kind, (event) => {
        last = event.lastEventId || last;
        take(kind, JSON.parse(event.data));
      });
    }
  };
  open();
}

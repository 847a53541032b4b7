// The client of the server. Addresses are relative to the page, so that it works below any path of a proxy.

import { hmacMd5 } from "./hmac-md5.js";

/** An error response, with the sentence of the server. */
export class ServerError extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

/** After how many seconds a read without a response is given up. */
const SILENT_SECONDS = 60;

/** After how many seconds to read the clock again, because computers sleep and clocks are set. */
const CLOCK_SECONDS = 60;

/** The clock of the server: an X-Timestamp, and the time since it was received by a monotonic clock. */
export class Clock {
  /** Reads the time of the server. */
  static async read() {
    const sentAt = performance.now();
    const response = await fetched("web_asset_store.xml", { cache: "no-store" });
    const clock = new Clock();
    clock.receivedAt = performance.now();
    clock.roundTrip = (clock.receivedAt - sentAt) / 1000;
    clock.timestamp = Number(response.headers.get("X-Timestamp") ?? NaN);
    clock.browserTime = Date.now() / 1000;
    return clock;
  }

  /** The server's time now, in whole seconds. */
  now() {
    // Without X-Timestamp, the clock of the browser is the best guess.
    const then = Number.isNaN(this.timestamp) ? this.browserTime : this.timestamp;
    return Math.floor(then + (performance.now() - this.receivedAt) / 1000);
  }

  /** Whether it was read long ago, even if the computer slept in between. */
  isOld() {
    const ago = Math.max(Math.abs(Date.now() / 1000 - this.browserTime), (performance.now() - this.receivedAt) / 1000);
    return ago > CLOCK_SECONDS;
  }

  /** By how many seconds the browser's clock is ahead, to within a second, because X-Timestamp has whole seconds. */
  ahead() {
    return this.browserTime - this.roundTrip / 2 - (this.timestamp + 0.5);
  }
}

/** The server, with a key. The key is stored only in this object. */
export class Server {
  #key;
  #pageKey;

  constructor(key, clock) {
    this.#key = key;
    // See assetstore/auth/status_tokens.py.
    this.#pageKey = hmacMd5(key, "status page");
    this.clock = clock;
    this.overview = null;
  }

  /** Returns the key, to copy it. */
  reveal() {
    return this.#key;
  }

  /** Returns a part of the page's data. */
  async data(part, parameters = {}) {
    return (await this.#request("GET", `data/${part}`, parameters)).json();
  }

  /** Restores an entry of the trash; with `replace`, even if a file with its name exists. */
  async restore(entry, replace) {
    const choice = replace ? { replace: "yes" } : {};
    await this.#request("POST", "restore", { place: entry.place, entry: entry.entry, ...choice });
  }

  /** Restores some of a selection of the trash; the result has the cursor of the next call. */
  async restoreAll(selection) {
    return (await this.#request("POST", "restore-all", selection)).json();
  }

  /** Returns the thumbnail of an entry of the trash, as a Blob. */
  async trashThumbnail({ place, entry }) {
    return (await this.#request("GET", "trash-thumbnail", { place, entry })).blob();
  }

  /** Has the server do something with a list of pairs: of a folder and a name, or an entry of the trash. */
  async change(path, pairs) {
    const body = JSON.stringify(pairs);
    return (await this.#request("POST", path, { digest: hmacMd5("", body) }, body)).json();
  }

  /** Returns the groups of an original's metadata. */
  async metadata(place, name) {
    await this.#updateClock();
    return (await checked(await fetched(`getmetadata?${this.#reading(place, name, { dt: "json" })}`))).json();
  }

  /** Returns the address of a thumbnail. */
  thumbnail(place, name, scale) {
    return `fileget?${this.#reading(place, name, { type: "T", scale })}`;
  }

  /** Returns the address of an original. */
  original(place, name) {
    return `fileget?${this.#reading(place, name, { downloadname: name, view: 0 })}`;
  }

  /** Returns the address of the viewer for a picture, null if the server has none. */
  viewer(place, name) {
    if (!this.overview.has_viewer) {
      return null;
    }
    const { coll } = this.#collection(place);
    const token = this.overview.needs_key_to_read ? `?${new URLSearchParams({ token: this.token(name) })}` : "";
    return `view/${encodeURIComponent(coll ? `${coll}/${name}` : name)}${token}`;
  }

  /** Returns the address of the viewer for several pictures, null if the server has none. */
  viewerOfSeveral(files) {
    if (!this.overview.has_viewer) {
      return null;
    }
    const query = new URLSearchParams();
    for (const { place, name } of files) {
      const { coll } = this.#collection(place);
      query.append("names", coll ? `${coll}/${name}` : name);
      if (this.overview.needs_key_to_read) {
        query.append("token", this.token(name));
      }
    }
    return `view?${query}`;
  }

  /** Tests the key, as Specify does. */
  async testKey(base = "") {
    await this.#updateClock();
    const random = String(Math.floor(Math.random() * 1e9));
    return fetched(`${base}testkey?${new URLSearchParams({ random, token: this.token(random) })}`, { cache: "no-store" });
  }

  /**
   * Uploads a file; `progress` is called with the number of bytes that were sent, and `signal` aborts the upload. Resolves
   * when the file is stored. Uses XMLHttpRequest, because fetch does not report progress.
   */
  async upload(file, place, name, { progress, signal }) {
    await this.#updateClock();
    const form = new FormData();
    const fields = { type: "O", store: name, ...this.#collection(place), token: this.token(name) };
    Object.entries(fields).forEach(([field, value]) => form.append(field, value));
    form.append("file", file);
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      const fail = (status, sentence) => {
        const fault = new ServerError(status, sentence);
        fault.retryAfter = Number(request.getResponseHeader("Retry-After")) || 0;
        reject(fault);
      };
      request.open("POST", "fileupload");
      request.upload.addEventListener("progress", (event) => progress(event.loaded));
      request.addEventListener("load", () => {
        if (request.status === 200) {
          resolve();
        } else {
          fail(request.status, request.responseText || `The server responded with status ${request.status}.`);
        }
      });
      request.addEventListener("error", () => fail(0, "The connection was interrupted."));
      request.addEventListener("abort", () => fail(0, "The upload was cancelled."));
      signal.addEventListener("abort", () => request.abort());
      if (signal.aborted) {
        fail(0, "The upload was cancelled.");
      } else {
        request.send(form);
      }
    });
  }

  /** Reads the clock of the server again. */
  async readClock() {
    this.clock = await Clock.read();
  }

  /** Returns a token for a store name, with the current time. */
  token(name) {
    const timestamp = this.clock.now();
    return `${hmacMd5(this.#key, `${timestamp}${name}`)}:${timestamp}`;
  }

  async #updateClock() {
    if (this.clock.isOld()) {
      await this.readClock();
    }
  }

  async #request(method, path, parameters, body = null) {
    await this.#updateClock();
    const query = Object.entries(parameters).map((pair) => pair.map(encodeURIComponent).join("="));
    const target = `status/${path}${query.length ? "?" : ""}${query.join("&")}`;
    const timestamp = this.clock.now();
    const token = `${hmacMd5(this.#pageKey, `${timestamp}${method} /${target}`)}:${timestamp}`;
    return checked(await fetched(target, { method, headers: { "X-Status-Token": token }, body, cache: "no-store" }));
  }

  #collection(place) {
    const found = this.overview.collections.find((collection) => collection.place === place);
    return found?.name ? { coll: found.name } : {};
  }

  #reading(place, name, others) {
    const token = this.overview.needs_key_to_read ? { token: this.token(name) } : {};
    return new URLSearchParams({ filename: name, ...this.#collection(place), ...others, ...token });
  }
}

async function fetched(address, options = {}) {
  try {
    // A connection may be dead without notice. Changes may take long, and are not repeated.
    const limit = options.method === "POST" ? {} : { signal: AbortSignal.timeout(SILENT_SECONDS * 1000) };
    return await fetch(address, { ...limit, ...options });
  } catch {
    throw new ServerError(0, "The server does not respond.");
  }
}

async function checked(response) {
  if (!response.ok) {
    throw new ServerError(response.status, (await response.text()).trim() || `The server responded with status ${response.status}.`);
  }
  return response;
}

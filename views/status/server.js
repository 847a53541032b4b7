// Talks to the server. Addresses are relative to the page, so that it works below any path of a proxy.

import { hmacMd5 } from "./hmac-md5.js";

/** A refusal or a fault, with the server's sentence. */
export class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

/** After so many seconds the clock is asked again: computers sleep, and clocks are set. */
const CLOCK_SECONDS = 60;

/** The server's clock: its X-Timestamp at a moment, and how long ago that was by a clock that nobody sets. */
export class Clock {
  /** Asks the server for its time. */
  static async read() {
    const asked = performance.now();
    const answer = await fetched("web_asset_store.xml", { cache: "no-store" });
    const clock = new Clock();
    clock.heard = performance.now();
    clock.roundTrip = (clock.heard - asked) / 1000;
    clock.timestamp = Number(answer.headers.get("X-Timestamp") ?? NaN);
    clock.browserTime = Date.now() / 1000;
    return clock;
  }

  /** The server's time now, in whole seconds. */
  now() {
    // Without X-Timestamp, the browser's own is the best guess.
    const then = Number.isNaN(this.timestamp) ? this.browserTime : this.timestamp;
    return Math.floor(then + (performance.now() - this.heard) / 1000);
  }

  /** Whether it was asked long ago, also if the computer slept in between. */
  isOld() {
    const ago = Math.max(Math.abs(Date.now() / 1000 - this.browserTime), (performance.now() - this.heard) / 1000);
    return ago > CLOCK_SECONDS;
  }

  /** By how many seconds the browser's clock is ahead; X-Timestamp has whole seconds only, so up to one is not known. */
  ahead() {
    return this.browserTime - this.roundTrip / 2 - (this.timestamp + 0.5);
  }
}

/** The server, for whoever has the key. The key is in here only, and goes when this goes. */
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

  /** Returns a part of the page's data. */
  async data(part, parameters = {}) {
    return (await this.#ask("GET", `data/${part}`, parameters)).json();
  }

  /** Brings an entry of the trash back; `replace` also over a file of that name. */
  async restore(entry, replace) {
    const choice = replace ? { replace: "yes" } : {};
    await this.#ask("POST", "restore", { place: entry.place, entry: entry.entry, ...choice });
  }

  /** Deletes an original. */
  async remove(place, name) {
    await this.#lookAtClock();
    const form = new URLSearchParams({ ...this.#collection(place), filename: name, token: this.token(name) });
    await checked(await fetched("filedelete", { method: "POST", body: form }));
  }

  /** Returns the groups of an original's metadata. */
  async metadata(place, name) {
    await this.#lookAtClock();
    return (await checked(await fetched(`getmetadata?${this.#reading(place, name, { dt: "json" })}`))).json();
  }

  /** Returns the address of a thumbnail. */
  thumbnail(place, name, scale) {
    return `fileget?${this.#reading(place, name, { type: "T", scale })}`;
  }

  /** Returns the address of an original. */
  original(place, name) {
    return `fileget?${this.#reading(place, name, { downloadname: name })}`;
  }

  /** Asks whether the key is right, as Specify does. */
  async testKey(base = "") {
    await this.#lookAtClock();
    const random = String(Math.floor(Math.random() * 1e9));
    return fetched(`${base}testkey?${new URLSearchParams({ random, token: this.token(random) })}`, { cache: "no-store" });
  }

  /**
   * Uploads a file; `progress` hears the share that is sent, from 0 to 1. Resolves when it is stored.
   * XMLHttpRequest, because fetch says nothing of the progress.
   */
  async upload(file, place, name, progress) {
    await this.#lookAtClock();
    const form = new FormData();
    const fields = { type: "O", store: name, ...this.#collection(place), token: this.token(name) };
    Object.entries(fields).forEach(([field, value]) => form.append(field, value));
    form.append("file", file);
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", "fileupload");
      request.upload.addEventListener("progress", (event) => progress(event.loaded / Math.max(event.total, 1)));
      request.addEventListener("load", () => {
        if (request.status === 200) {
          resolve();
        } else {
          reject(new Refused(request.status, request.responseText || `The server answered ${request.status}.`));
        }
      });
      request.addEventListener("error", () => reject(new Refused(0, "The connection was cut off; nothing was stored.")));
      request.send(form);
    });
  }

  /** Returns the token of a store name, for now. */
  token(name) {
    const timestamp = this.clock.now();
    return `${hmacMd5(this.#key, `${timestamp}${name}`)}:${timestamp}`;
  }

  async #lookAtClock() {
    if (this.clock.isOld()) {
      this.clock = await Clock.read();
    }
  }

  async #ask(method, path, parameters) {
    await this.#lookAtClock();
    const query = Object.entries(parameters).map((pair) => pair.map(encodeURIComponent).join("="));
    const target = `status/${path}${query.length ? "?" : ""}${query.join("&")}`;
    const timestamp = this.clock.now();
    const token = `${hmacMd5(this.#pageKey, `${timestamp}${method} /${target}`)}:${timestamp}`;
    return checked(await fetched(target, { method, headers: { "X-Status-Token": token }, cache: "no-store" }));
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
    return await fetch(address, options);
  } catch {
    throw new Refused(0, "The server does not answer.");
  }
}

async function checked(answer) {
  if (!answer.ok) {
    throw new Refused(answer.status, (await answer.text()).trim() || `The server answered ${answer.status}.`);
  }
  return answer;
}

// The queue of uploads. Files are sent one after the other, so that each has the full bandwidth, and a token that is
// made when its turn comes. A computer may sleep in between: what failed because of the connection is sent again.

import { existing } from "./upload-names.js";

export const WAITING = "waiting";
export const SENDING = "sending";
export const STORED = "stored";
export const FAILED = "failed";
export const EXISTS = "exists";
export const SKIPPED = "skipped";

/** Pauses before further attempts, in seconds: about five minutes together. */
const PAUSES = [1, 2, 5, 10, 20, 30, 30, 30, 30, 30, 30, 30, 30];
const DEFAULT_PAUSE = 10;

/** Statuses of responses after which a later attempt may succeed; 0 is no response. */
const TEMPORARY = new Set([0, 429, 502, 503, 504]);

/** After how many seconds without progress an attempt is given up: while sending, and while the server stores the file. */
const STALLED = 60;
const STALLED_AT_END = 600;

/** Over how many milliseconds the speed is measured. */
const SPEED_WINDOW = 10_000;

/** A file to upload. */
export class Item {
  constructor(file) {
    this.file = file;
    this.name = file.name;
    this.reset();
  }

  reset() {
    Object.assign(this, { state: WAITING, sent: 0, message: "", mayReplace: false, isCancelled: false, hasRenewed: false });
  }
}

/** The files and their states; `changed` is called with an item, or null if it concerns the whole queue. */
export class Queue {
  #server;
  #changed;
  #ending = null;
  #current = null;
  #attempt = null;
  #samples = [];

  constructor(server, changed) {
    this.#server = server;
    this.#changed = changed;
    this.items = [];
  }

  get isRunning() {
    return this.#ending !== null;
  }

  get current() {
    return this.#current;
  }

  /** Returns the items in one of these states. */
  in(...states) {
    return this.items.filter((item) => states.includes(item.state));
  }

  add(files) {
    this.items.push(...Array.from(files, (file) => new Item(file)));
    this.#changed(null);
  }

  /** Removes items that are not being sent. */
  remove(items) {
    const gone = new Set(items);
    this.items = this.items.filter((item) => !gone.has(item) || item.state === SENDING);
    this.#changed(null);
  }

  /** Stops after aborting the current upload, which waits again. */
  stop() {
    this.#ending?.abort();
  }

  /** Aborts the upload of an item and skips it; the next one follows. */
  cancel(item) {
    if (item === this.#current) {
      item.isCancelled = true;
      this.#attempt?.abort();
    }
  }

  /** Sends everything that waits to a collection folder. */
  async run(place) {
    if (this.isRunning) {
      return;
    }
    this.#ending = new AbortController();
    this.#samples = [];
    const { signal } = this.#ending;
    try {
      for (let item = this.#next(); item && !signal.aborted; item = this.#next()) {
        this.#current = item;
        await this.#send(item, place, signal);
        this.#changed(item);
      }
    } finally {
      this.#ending = this.#current = null;
      this.#changed(null);
    }
  }

  /** Returns the files and bytes of everything that is not skipped, what is done of it, the speed, and the time left. */
  totals() {
    const wanted = this.items.filter(({ state }) => state !== SKIPPED);
    const size = wanted.reduce((sum, { file }) => sum + file.size, 0);
    const sent = wanted.reduce((sum, { state, sent: part, file }) => sum + (state === STORED ? file.size : part), 0);
    const open = this.in(WAITING, SENDING).reduce((sum, { file, sent: part }) => sum + file.size - part, 0);
    const now = performance.now();
    if (this.isRunning) {
      this.#samples = [...this.#samples.filter(({ time }) => now - time < SPEED_WINDOW), { time: now, sent }];
    }
    const [first] = this.#samples;
    const speed = first && now - first.time > 1500 ? Math.max(0, (1000 * (sent - first.sent)) / (now - first.time)) : null;
    const stored = wanted.filter(({ state }) => state === STORED).length;
    return { files: wanted.length, stored, size, sent, speed, seconds: speed ? open / speed : null };
  }

  #next() {
    return this.items.find(({ state }) => state === WAITING);
  }

  async #send(item, place, signal) {
    item.state = SENDING;
    for (let attempt = 0; ; attempt += 1) {
      try {
        this.#attempt = new AbortController();
        // Another person may have uploaded a file of this name after the names were checked.
        const taken = item.mayReplace ? [] : existing(this.#server, place, [item.name]);
        if ((await unlessAborted(taken, signal, this.#attempt.signal)).size) {
          item.state = EXISTS;
          return;
        }
        await this.#transfer(item, place, signal);
        item.state = STORED;
        item.message = "";
        return;
      } catch (fault) {
        item.sent = 0;
        if (item.isCancelled) {
          Object.assign(item, { state: SKIPPED, message: "" });
          return;
        }
        const pause = signal.aborted ? null : await this.#pauseAfter(item, fault, attempt);
        if (pause === null) {
          Object.assign(item, signal.aborted ? { state: WAITING, message: "" } : { state: FAILED, message: fault.message });
          return;
        }
        item.message = `${fault.message} Trying again …`;
        this.#changed(item);
        this.#attempt = new AbortController();
        await waited(pause, signal, this.#attempt.signal);
        if (item.isCancelled) {
          Object.assign(item, { state: SKIPPED, message: "" });
          return;
        }
      }
    }
  }

  /** The seconds to wait before the next attempt; null if there is none. */
  async #pauseAfter(item, fault, attempt) {
    if (fault.status === 403 && !item.hasRenewed) {
      item.hasRenewed = true;
      // The computer may have slept, or a clock was set: the token is made again with the time of the server.
      await this.#server.readClock().catch(() => {});
      return 0;
    }
    const status = fault.status ?? 0; // the connection may also break within a response
    if (!TEMPORARY.has(status) || attempt >= PAUSES.length) {
      return null;
    }
    return status === 0 ? PAUSES[attempt] : fault.retryAfter || DEFAULT_PAUSE;
  }

  async #transfer(item, place, signal) {
    const attempt = (this.#attempt = new AbortController());
    const abort = () => attempt.abort();
    signal.addEventListener("abort", abort);
    // Timers stop while the computer sleeps, so only seconds in which it is awake count.
    let silent = 0;
    let isStalled = false;
    const watch = setInterval(() => {
      silent += 1;
      isStalled = silent > (item.sent < item.file.size ? STALLED : STALLED_AT_END);
      if (isStalled) {
        abort();
      }
    }, 1000);
    const progress = (sent) => {
      silent = 0;
      item.sent = Math.min(sent, item.file.size);
      // If the connection breaks now, the file may be stored all the same; the next attempt then replaces it.
      item.mayReplace ||= item.sent >= item.file.size;
      this.#changed(item);
    };
    try {
      await this.#server.upload(item.file, place, item.name, { progress, signal: attempt.signal });
    } catch (fault) {
      if (isStalled) {
        Object.assign(fault, { status: 0, message: "The connection stalled." });
      }
      throw fault;
    } finally {
      clearInterval(watch);
      signal.removeEventListener("abort", abort);
    }
  }
}

/** Returns what a promise resolves to, or rejects as soon as a signal is aborted. */
function unlessAborted(promise, ...signals) {
  return new Promise((resolve, reject) => {
    signals.forEach((signal) => signal.addEventListener("abort", () => reject(new Error("The upload was cancelled."))));
    Promise.resolve(promise).then(resolve, reject);
  });
}

/** Waits some seconds, until the connection is back, or until it is aborted. */
function waited(seconds, ...signals) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      window.removeEventListener("online", done);
      signals.forEach((signal) => signal.removeEventListener("abort", done));
      resolve();
    };
    const timer = setTimeout(done, seconds * 1000);
    window.addEventListener("online", done);
    signals.forEach((signal) => signal.addEventListener("abort", done));
  });
}

// Manual uploads: files that are dropped or chosen go into one queue. A page of the list is shown at a time.

import { bytes, count, counted, duration, element, notice } from "./elements.js";
import { collectionChoice } from "./files.js";
import { existing, rename, uniqueName } from "./upload-names.js";
import { EXISTS, FAILED, Queue, SENDING, SKIPPED, STORED, WAITING } from "./upload-queue.js";

const ROWS = 50;
const WORDS = { waiting: "Waiting", stored: "Stored", failed: "Failed", exists: "Name exists", skipped: "Skipped" };

let running = null;

/** Returns whether files are being uploaded, so that the page must not be locked. */
export function isUploading() {
  return running !== null;
}

// The browser asks for confirmation before it leaves the page during an upload.
window.addEventListener("beforeunload", (event) => running && event.preventDefault());

/** Returns the section. */
export function upload({ server, place, details }) {
  const folder = collectionChoice(server, "upload-collection", false);
  const queue = new Queue(server, (item) => view.changed(item));
  const view = new View(server, queue, () => folder.chosen().place, details);
  const chooser = element("input", { type: "file", id: "chooser", multiple: true, change: () => { queue.add(chooser.files); chooser.value = ""; } });
  place.replaceChildren(
    element("p", {}, "A file is stored under its store name, which the record in Specify contains. To upload the file of an"
      + " existing record, use the store name of that record."),
    dropZone(chooser, (files) => queue.add(files)), folder.label ?? "", view.place);
  return { refresh: async () => {} };
}

function dropZone(chooser, take) {
  const zone = element("label", { class: "drop", for: "chooser" },
    element("strong", {}, "Drop files here, or choose them"), chooser);
  const isOver = (shown) => (event) => { event.preventDefault(); zone.classList.toggle("over", shown); };
  zone.addEventListener("dragenter", isOver(true));
  zone.addEventListener("dragover", isOver(true));
  zone.addEventListener("dragleave", isOver(false));
  zone.addEventListener("drop", (event) => { isOver(false)(event); take(event.dataTransfer.files); });
  return zone;
}

/** The queue on the page. */
class View {
  constructor(server, queue, folder, details) {
    Object.assign(this, { server, queue, folder, details, first: 0, rows: new Map() });
    this.bar = element("progress", { max: 1, value: 0, "aria-label": "Progress of all uploads" });
    this.state = element("p", { class: "queue-state" });
    this.news = element("p", { class: "hidden", role: "status" });
    this.actions = element("p", { class: "row" });
    this.question = element("div", { role: "alert" });
    this.filter = element("select", { id: "upload-filter", change: () => { this.first = 0; this.#list(); } });
    this.pager = element("span", { class: "row pager" });
    this.list = element("ul", { class: "uploads" });
    this.place = element("article", { class: "card", hidden: true },
      element("h3", {}, "Queue"), this.bar, this.state, this.news, this.question, this.actions,
      element("div", { class: "row bar" }, element("label", { for: "upload-filter" }, "Show"), this.filter, this.pager),
      this.list);
  }

  /** Shows a change of an item; null: of the whole queue. */
  changed(item) {
    this.place.hidden = !this.queue.items.length;
    this.#totals();
    if (item && item.state === SENDING && this.lastState?.item === item && this.lastState.state === SENDING) {
      this.#refill(item); // only its progress
      return;
    }
    this.lastState = { item, state: item?.state };
    this.#buttons();
    this.#filters();
    if (!item || (this.filter.value && !this.list.contains(document.activeElement))) {
      this.#list();
    } else {
      this.#refill(item);
    }
  }

  async start() {
    if (running) {
      return;
    }
    const place = this.folder();
    running = this.queue;
    this.question.replaceChildren();
    try {
      if (await this.#ask(place)) {
        return;
      }
      const ticks = setInterval(() => this.#totals(), 1000);
      await this.queue.run(place);
      clearInterval(ticks);
    } catch (fault) {
      this.question.replaceChildren(notice("error", fault.message));
    } finally {
      running = null;
      this.changed(null);
      this.news.textContent = this.state.textContent;
    }
    if (this.queue.in(EXISTS).length) {
      this.queue.in(EXISTS).forEach((item) => item.reset());
      this.changed(null);
      await this.#ask(place).catch((fault) => this.question.replaceChildren(notice("error", fault.message)));
    }
  }

  /** Asks once what to do with all names that are taken, by stored files or twice in the queue; false if there are none. */
  async #ask(place) {
    const waiting = this.queue.in(WAITING).filter(({ mayReplace }) => !mayReplace);
    const nameless = waiting.filter(({ name }) => !name);
    if (nameless.length) {
      nameless.forEach((item) => Object.assign(item, { state: FAILED, message: "Enter a store name." }));
    }
    const named = waiting.filter(({ name }) => name);
    const stored = await existing(this.server, place, named.map(({ name }) => name));
    const seen = new Set();
    const duplicates = named.filter(({ name }) => stored.has(name) || seen.size === seen.add(name).size);
    if (!duplicates.length) {
      return false;
    }
    const taken = new Set(this.queue.items.map(({ name }) => name));
    const answer = (act) => async () => {
      this.question.replaceChildren();
      try {
        await act();
      } catch (fault) {
        this.question.replaceChildren(notice("error", fault.message));
        return;
      }
      this.changed(null);
      this.start();
    };
    const set = (change) => answer(async () => duplicates.forEach((item) => Object.assign(item, change)));
    const button = (text, act, kind = "quiet") => element("button", { type: "button", class: kind, click: act }, text);
    const old = this.server.overview.trash_days ? "the current files go to the trash" : "the current files are lost";
    const names = duplicates.slice(0, 5).map(({ name }) => name).join(", ") + (duplicates.length > 5 ? ", …" : "");
    const verb = duplicates.length === 1 ? "has a name that is" : "have names that are";
    this.question.replaceChildren(notice("warning",
      `${counted(duplicates.length, "file")} of ${count(named.length)} ${verb} already in use: ${names}. Replace: ${old}.`
        + " Keep both: the new files get names such as name-2.jpg."),
    element("p", { class: "row" },
      button("Keep both", answer(() => rename(this.server, place, duplicates, taken)), ""),
      button("Skip", set({ state: SKIPPED })),
      button("Cancel", () => { this.question.replaceChildren(); this.changed(null); }),
      button(duplicates.length === 1 ? "Replace it" : "Replace all", set({ mayReplace: true }), "danger")));
    this.#buttons();
    this.question.querySelector("button").focus();
    return true;
  }

  #totals() {
    const { files, stored, size, sent, speed, seconds } = this.queue.totals();
    const share = size ? sent / size : stored / Math.max(files, 1);
    this.bar.value = share;
    const failed = this.queue.in(FAILED).length;
    const facts = [`${count(stored)} of ${counted(files, "file")} stored`, `${Math.floor(100 * share)}%`, `${bytes(sent)} of ${bytes(size)}`];
    if (this.queue.isRunning && speed !== null) {
      facts.push(`${bytes(speed)}/s`, seconds === null ? "waiting" : `about ${duration(seconds)} left`);
    }
    if (failed) {
      facts.push(`${count(failed)} failed`);
    }
    this.state.textContent = facts.join(" · ");
  }

  #buttons() {
    const { queue } = this;
    const waiting = queue.in(WAITING);
    const failed = queue.in(FAILED);
    const finished = queue.in(STORED, SKIPPED);
    const button = (text, kind, act) => element("button", { type: "button", class: kind, click: act }, text);
    const again = () => { failed.forEach((item) => item.reset()); this.changed(null); this.start(); };
    const unique = () => { waiting.forEach((item) => { item.name = uniqueName(item.file.name); }); this.changed(null); };
    this.actions.hidden = this.question.hasChildNodes(); // it has buttons of its own
    this.actions.replaceChildren(...[
      !queue.isRunning && waiting.length ? button(`Upload ${counted(waiting.length, "file")}`, "", () => this.start()) : null,
      queue.isRunning ? button("Stop", "danger", () => queue.stop()) : null,
      !queue.isRunning && failed.length ? button(`Retry ${count(failed.length)} failed`, "", again) : null,
      !queue.isRunning && waiting.length > 1 ? button("New unique names for all", "quiet", unique) : null,
      finished.length ? button("Clear finished", "quiet", () => queue.remove(finished)) : null,
      !queue.isRunning && waiting.length ? button("Clear all", "quiet", () => queue.remove(queue.items)) : null,
    ].filter(Boolean));
  }

  #filters() {
    const chosen = this.filter.value;
    const numbers = new Map([WAITING, FAILED, STORED, SKIPPED].map((state) => [state, this.queue.in(state).length]));
    this.filter.replaceChildren(
      element("option", { value: "" }, `All (${count(this.queue.items.length)})`),
      ...[...numbers].filter(([state, number]) => number || state === chosen)
        .map(([state, number]) => element("option", { value: state, selected: state === chosen }, `${WORDS[state]} (${count(number)})`)));
  }

  #list() {
    const shown = this.filter.value ? this.queue.in(this.filter.value) : this.queue.items;
    this.first = Math.max(0, Math.min(this.first, shown.length - 1 - ((shown.length - 1) % ROWS)));
    const some = shown.slice(this.first, this.first + ROWS);
    this.rows = new Map(some.map((item) => [item, element("li", { class: "upload" })]));
    some.forEach((item) => this.#refill(item));
    this.list.replaceChildren(...this.rows.values());
    const go = (by) => () => { this.first += by; this.#list(); };
    this.pager.replaceChildren(...(shown.length <= ROWS ? [] : [
      element("span", {}, `${count(this.first + 1)}–${count(this.first + some.length)} of ${count(shown.length)}`),
      element("button", { type: "button", class: "quiet", disabled: !this.first, click: go(-ROWS) }, "Previous"),
      element("button", { type: "button", class: "quiet", disabled: this.first + ROWS >= shown.length, click: go(ROWS) }, "Next"),
    ]));
  }

  #refill(item) {
    const row = this.rows.get(item);
    if (!row) {
      return;
    }
    const isOpen = item.state === WAITING || item.state === FAILED;
    const key = `${item.state} ${item.name} ${item.message} ${running !== null}`;
    if (row.key !== key) {
      row.key = key;
      row.status = element("span", { class: `fine status ${item.state}` });
      row.replaceChildren(isOpen && !running ? this.#nameField(item) : this.#name(item),
        element("span", { class: "fine" }, bytes(item.file.size)), row.status, this.#rowButtons(item, isOpen));
    }
    row.status.textContent = item.state === SENDING
      ? item.message || `${Math.floor((100 * item.sent) / Math.max(item.file.size, 1))}%`
      : item.state === FAILED ? item.message : WORDS[item.state];
  }

  #name(item) {
    const from = item.name === item.file.name ? "" : element("span", { class: "fine" }, ` from ${item.file.name}`);
    return element("span", {}, element("span", { class: "name" }, item.name), from);
  }

  #nameField(item) {
    return element("input", {
      value: item.name, maxlength: 255, autocapitalize: "none", spellcheck: "false", "aria-label": `Store name of ${item.file.name}`,
      input: (event) => { item.name = event.target.value.trim(); },
      change: () => { if (item.state === FAILED) { item.reset(); this.changed(item); } },
    });
  }

  #rowButtons(item, isOpen) {
    const button = (text, label, act) => element("button", { type: "button", class: "quiet", "aria-label": label, click: act }, text);
    if (item.state === STORED) {
      return element("span", { class: "row" }, button("Show it", `Show ${item.name}`, () => this.#show(item)));
    }
    if (item.state === SENDING) {
      return element("span", { class: "row" }, button("Cancel", `Cancel ${item.name}`, () => this.queue.cancel(item)));
    }
    return element("span", { class: "row" },
      isOpen && !running ? button("New unique name", `New unique name for ${item.file.name}`, () => { item.name = uniqueName(item.file.name); this.changed(item); }) : "",
      button("✕", `Do not upload ${item.file.name}`, () => this.queue.remove([item])));
  }

  async #show(item) {
    const { originals: [original] } = await this.server.data("originals", { place: this.folder(), name: item.name });
    if (original) {
      this.details(this.server, original);
    }
  }
}

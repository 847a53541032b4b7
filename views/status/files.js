// Files: all originals as a gallery or a list, in pages, sorted and filtered. The address has the state of the list, so
// that the back button works; the section follows the address.

import { bytes, count, counted, dateTime, element, latestOnly, notice } from "./elements.js";
import { FileActions } from "./file-actions.js";
import { FileFilters, collectionChoice } from "./file-filters.js";
import { FileList } from "./file-list.js";
import { details } from "./file-view.js";

export { collectionChoice, details };

/** After how many milliseconds to look again while the server reads its folders. */
const POLL_MS = 2000;

/** How many files can be selected at once; the server accepts no more in one archive. */
const MOST_SELECTED = 10000;

/** Returns the section. */
export function files({ server, place }) {
  const section = new Files(server);
  place.replaceChildren(...section.parts);
  return { refresh: () => section.refresh() };
}

class Files {
  #begin = latestOnly();
  #timer = 0;
  #page = { rows: [], first: null, before: null, after: null };
  #total = null;
  #refreshedAt;
  #start;

  constructor(server) {
    this.server = server;
    this.filters = new FileFilters(server, (state, isTyping) => this.#go(state, isTyping));
    this.list = new FileList(server, {
      open: (row) => this.#view(row),
      selected: () => this.actions.show(this.list.selected(), this.#total?.files ?? 0),
      remove: () => this.actions.remove(this.list.selected()),
    });
    this.actions = new FileActions(server, {
      most: MOST_SELECTED,
      changed: () => this.#reload(),
      clear: () => this.list.clearSelection(),
      selectAll: () => this.#everything(),
      selectMore: (rows) => this.list.select(rows),
    });
    this.summary = element("p", { class: "fine", role: "status" });
    this.freshness = element("p", { class: "fine" });
    this.pages = element("nav", { class: "pages", "aria-label": "Pages of the list" });
    this.fault = element("div");
    const head = element("div", { class: "list-head" }, this.summary, this.filters.viewChoice);
    this.parts = [this.filters.form, this.fault, head, this.list.element, this.pages, this.freshness, this.actions.bar];
  }

  /** Shows the list that the address describes. */
  async refresh() {
    const before = this.#start;
    await this.#load();
    if (before !== undefined && before !== this.#start) {
      this.list.focusFirst();
    }
  }

  async #reload(parameters = {}) {
    try {
      await this.#load(parameters);
    } catch (fault) {
      this.fault.replaceChildren(notice("error", fault.message));
    }
  }

  /** Loads a page, shows it, and then the total, which may take a little longer. */
  async #load(parameters = {}) {
    const isLatest = this.#begin();
    const state = this.filters.read();
    const chosen = this.filters.parameters(state);
    const report = await this.server.data("files", { ...chosen, ...(state.start ? { start: state.start } : {}), ...parameters });
    if (!isLatest()) {
      return;
    }
    this.#start = state.start;
    this.#show(state, report);
    const total = await this.server.data("files-total", { ...chosen, ...(report.first ? { first: report.first } : {}) });
    if (isLatest()) {
      this.#total = total;
      this.summary.replaceChildren(summary(report, total, this.filters.isFiltered(state)));
      this.actions.show(this.list.selected(), total.files);
    }
  }

  #show(state, report) {
    this.fault.replaceChildren();
    this.#page = report;
    this.list.show(report.rows, state.view);
    this.#showFreshness(report.state);
    this.#showPages(state, report);
    if (report.state.as_of !== this.#refreshedAt) {
      this.#refreshedAt = report.state.as_of;
      this.filters.updateTypes().catch(() => {}); // the list works without the choice of types
    }
    clearTimeout(this.#timer);
    if (report.state.is_reading || !report.state.is_current) {
      this.#timer = setTimeout(() => this.list.element.checkVisibility() && this.#reload(), POLL_MS);
    }
  }

  #showFreshness({ as_of: asOf, is_current: isCurrent, is_reading: isReading, files_read: number, fault }) {
    const again = element("button", { type: "button", class: "link", click: () => this.#reload({ refresh: "yes" }) }, "Read the folders again");
    if (fault) {
      this.freshness.replaceChildren(notice("error", fault), again);
    } else if (asOf === null) {
      this.freshness.replaceChildren(`The folders are being read for the first time: ${counted(number, "file")} so far.`);
    } else if (isReading) {
      this.freshness.replaceChildren(`The folders are being read: ${counted(number, "file")} so far.`);
    } else {
      const copied = ["Files that were copied in or removed by hand are considered as of ", dateTime(asOf), ". "];
      this.freshness.replaceChildren(...(isCurrent ? [] : ["Recent changes are being added. "]), ...copied, again);
    }
  }

  #showPages(state, { before, after }) {
    const link = (label, start, isThere) => isThere
      ? element("a", { class: "button quiet", href: this.filters.address({ ...state, start }) }, label)
      : element("span", { class: "button quiet", "aria-disabled": "true" }, label);
    this.pages.hidden = !before && !after;
    this.pages.replaceChildren(link("First page", null, before), link("Previous page", before, before), link("Next page", after, after));
  }

  #go(state, isTyping) {
    const address = this.filters.address(state);
    if (address === window.location.hash) {
      this.#reload();
    } else if (isTyping) {
      window.history.replaceState(null, "", address);
      this.#reload();
    } else {
      window.location.hash = address; // main.js refreshes the section
    }
  }

  #view(row) {
    details(this.server, row, () => this.#reload(), {
      largest: this.#page.largest_thumbnail,
      position: (shown) => this.#position(shown),
      next: (shown) => this.#neighbour(shown, 1),
      previous: (shown) => this.#neighbour(shown, -1),
      closed: (shown) => this.list.focus(shown),
    });
  }

  #position(shown) {
    const index = this.#index(shown);
    return index < 0 || !this.#total ? "" : `${count(this.#total.files_before + index + 1)} of ${count(this.#total.files)}`;
  }

  #index(shown) {
    return this.#page.rows.findIndex(({ place, name }) => place === shown.place && name === shown.name);
  }

  /** The file after or before another one, on the next page if necessary; null at the end. */
  async #neighbour(shown, step) {
    const rows = this.#page.rows;
    const index = this.#index(shown);
    if (index >= 0 && rows[index + step]) {
      return rows[index + step];
    }
    const start = step > 0 ? this.#page.after : this.#page.before;
    if (index < 0 || !start) {
      return null;
    }
    window.history.replaceState(null, "", this.filters.address({ ...this.filters.read(), start }));
    await this.#reload();
    return this.#page.rows.at(step > 0 ? 0 : -1) ?? null;
  }

  /** Yields all files of the list, a part at a time. */
  async *#everything() {
    const chosen = this.filters.parameters(this.filters.read());
    let start = null;
    do {
      const report = await this.server.data("files", { ...chosen, most: 1000, ...(start ? { start } : {}) });
      yield report.rows;
      start = report.after;
    } while (start);
  }
}

function summary({ rows, state }, { files: number, bytes: size, files_before: before }, isFiltered) {
  if (!rows.length) {
    if (state.as_of === null) {
      return "No files found yet.";
    }
    return isFiltered ? "No files found. Try fewer filters or a shorter part of the name." : "There are no files yet.";
  }
  const shown = rows.length < number ? `${count(before + 1)}–${count(before + rows.length)} of ` : "";
  return `${shown}${counted(number, "file")} with ${bytes(size)}.`;
}

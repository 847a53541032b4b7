// The trash: deleted and replaced files by day, and restoring them. One page of one day is shown at a time, so the
// document stays small however many files there are.

import { bytes, count, counted, dateTime, element, latestOnly, notice, showMessage } from "./elements.js";
import { collectionChoice } from "./files.js";
import { dayName, days } from "./trash-days.js";
import { Pictures } from "./trash-pictures.js";
import { restoreEntries, restoreSelection } from "./trash-restore.js";

/** Returns the section. */
export function trash({ server, place }) {
  const filter = filterForm(server, () => find());
  const found = element("div");
  const pictures = new Pictures(server);
  place.replaceChildren(filter.form, found);

  const begin = latestOnly();
  async function refresh() {
    const isLatest = begin();
    const selection = filter.selection();
    const report = await server.data("trash", selection);
    if (isLatest()) {
      pictures.clear();
      found.replaceChildren(...shown(report, selection));
    }
  }

  function find() {
    refresh().catch((fault) => { found.replaceChildren(notice("error", fault.message)); });
  }

  function shown(report, selection) {
    if (!report.number) {
      return [nothing(report.days, filter)];
    }
    const all = days(report.quarters);
    const list = all.map((day) => new Day(day, { server, pictures, selection, changed: find, trashDays: report.days }));
    list.forEach((day) => { day.others = list.filter((other) => other !== day); });
    list[0].open(firstPage(report, all[0].number));
    const whole = filter.isUsed() ? "Restore all that are found" : "Restore everything";
    return [
      element("div", { class: "row spread whole" },
        element("p", {}, `${counted(report.number, "file")} with ${bytes(report.bytes)}. ${retention(report.days)}`),
        element("button", { type: "button", class: "quiet", click: () => restoreSelection(server, selection, find) }, whole)),
      ...list.map((day) => day.section),
    ];
  }
  return { refresh };
}

/** Returns the first page of the newest day, with which the report begins. */
function firstPage({ entries, following }, number) {
  return { entries: entries.slice(0, number), following: number > entries.length ? following : null };
}

function retention(trashDays) {
  return trashDays
    ? `Each is deleted permanently after ${counted(trashDays, "day")}.`
    : "The trash is disabled (TRASH_DAYS is 0), so nothing is added to it.";
}

function nothing(trashDays, filter) {
  if (filter.isUsed()) {
    return notice("info", "No files in the trash match. ",
      element("button", { type: "button", class: "link", click: filter.clear }, "Show the whole trash"));
  }
  return notice("info", trashDays
    ? `The trash is empty. Deleted and replaced files stay here for ${counted(trashDays, "day")}, and can be restored.`
    : "The trash is disabled (TRASH_DAYS is 0): deleted and replaced files are lost at once.");
}

function filterForm(server, find) {
  const part = element("input", { type: "search", id: "trash-search", autocapitalize: "none", spellcheck: "false" });
  const since = element("input", { type: "datetime-local", id: "trash-since" });
  const until = element("input", { type: "datetime-local", id: "trash-until" });
  const folder = collectionChoice(server, "trash-collection");
  const labelled = (text, field) => element("div", {}, element("label", { for: field.id }, text), field);
  const form = element("form", { class: "search", role: "search", submit: (event) => { event.preventDefault(); find(); } },
    labelled("Part of the store name", part), folder.label, labelled("Removed from", since), labelled("Removed until", until),
    element("button", {}, "Search"));
  // The fields have the time of this computer. The minute of the end is included.
  const seconds = (field, more) => (field.value ? new Date(field.value).getTime() / 1000 + more : "");
  const selection = () => {
    const wanted = { search: part.value.trim(), since: seconds(since, 0), until: seconds(until, 60) };
    return { ...Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== "")), ...folder.chosen() };
  };
  return {
    form,
    selection,
    isUsed: () => Object.keys(selection()).length > 0,
    clear: () => { form.reset(); find(); },
  };
}

/** A day of the trash, of which a page is shown when it is open. */
class Day {
  constructor({ begin, end, number, bytes: size }, { server, pictures, selection, changed, trashDays }) {
    Object.assign(this, { server, pictures, changed, trashDays, others: [], cursors: [null], selected: new Map() });
    const since = Math.max(begin, selection.since ?? 0);
    this.selection = { ...selection, since, until: Math.min(end, selection.until ?? Infinity) };
    this.number = number;
    const name = dayName(begin);
    this.toggle = element("button", { type: "button", class: "link", "aria-expanded": "false", click: () => this.#toggle() }, name);
    const all = element("button", {
      type: "button", class: "quiet", "aria-label": `Restore all of ${name}`,
      click: () => restoreSelection(server, this.selection, changed),
    }, "Restore all");
    this.content = element("div", { hidden: true });
    this.section = element("section", { class: "card day", "aria-label": name },
      element("div", { class: "row spread" },
        element("h3", {}, this.toggle, " ", element("span", { class: "fine" }, `${counted(number, "file")}, ${bytes(size)}`)), all),
      this.content);
    this.latest = latestOnly();
  }

  /** Shows the first page; *report* if it was already requested. */
  open(report = null) {
    this.others.forEach((day) => day.close());
    this.cursors = [null];
    this.content.hidden = false;
    this.toggle.setAttribute("aria-expanded", "true");
    if (report) {
      this.#show(report);
    } else {
      this.#load();
    }
  }

  /** Removes the page from the document. */
  close() {
    this.latest();
    this.content.replaceChildren();
    this.content.hidden = true;
    this.selected.clear();
    this.toggle.setAttribute("aria-expanded", "false");
  }

  #toggle() {
    if (this.content.hidden) {
      this.open();
    } else {
      this.close();
    }
  }

  async #load() {
    const isLatest = this.latest();
    const after = this.cursors.at(-1);
    try {
      const report = await this.server.data("trash", { ...this.selection, ...(after ? { after } : {}) });
      if (isLatest()) {
        this.#show(report);
      }
    } catch (fault) {
      this.content.replaceChildren(notice("error", fault.message));
    }
  }

  #show({ entries, following }) {
    this.pictures.clear();
    const boxes = entries.map((entry) => this.#box(entry));
    const everything = element("input", {
      type: "checkbox", id: "trash-page", checked: entries.every((entry) => this.selected.has(entry.entry)),
      change: () => boxes.forEach((box) => { box.checked = everything.checked; box.dispatchEvent(new Event("change")); }),
    });
    this.summary = element("span", { class: "fine", role: "status" });
    this.act = element("button", {
      type: "button", click: () => restoreEntries(this.server, [...this.selected.values()], this.trashDays, this.changed),
    }, "Restore selected");
    this.content.replaceChildren(
      element("div", { class: "row bar" },
        element("label", { class: "row", for: everything.id }, everything, "Select this page"), this.summary, this.act,
        this.#pager(entries.length, following)),
      element("ul", { class: "entries" }, entries.map((entry, i) => this.#row(entry, boxes[i]))));
    this.#summarise();
  }

  #pager(shown, following) {
    if (this.cursors.length === 1 && !following) {
      return null;
    }
    const first = (this.cursors.length - 1) * 100;
    const go = (change) => () => { change(); this.#load(); };
    return element("span", { class: "row pager" },
      element("span", {}, `${count(first + 1)}–${count(first + shown)} of ${count(this.number)}`),
      element("button", { type: "button", class: "quiet", disabled: this.cursors.length === 1, click: go(() => this.cursors.pop()) }, "Previous"),
      element("button", { type: "button", class: "quiet", disabled: !following, click: go(() => this.cursors.push(following)) }, "Next"));
  }

  #box(entry) {
    const box = element("input", {
      type: "checkbox", "aria-label": `Select ${entry.name}`, checked: this.selected.has(entry.entry),
      change: () => {
        if (box.checked) {
          this.selected.set(entry.entry, entry);
        } else {
          this.selected.delete(entry.entry);
        }
        this.#summarise();
      },
    });
    return box;
  }

  #summarise() {
    const chosen = [...this.selected.values()];
    const size = chosen.reduce((sum, entry) => sum + entry.size, 0);
    this.summary.textContent = chosen.length ? `${count(chosen.length)} selected, ${bytes(size)}` : "None selected";
    this.act.disabled = !chosen.length;
  }

  #row(entry, box) {
    const facts = [entry.reason, " ", dateTime(entry.time), ` · ${bytes(entry.size)}`, entry.place ? ` · ${entry.place}` : ""];
    return element("li", { class: "entry" }, box, this.pictures.of(entry),
      element("div", {}, element("span", { class: "name" }, entry.name), element("span", { class: "fine" }, facts)),
      entry.exists && !this.trashDays ? element("span", { class: "fine" }, "A file with this name exists.") : this.#restoring(entry));
  }

  #restoring(entry) {
    const [label, whole] = entry.exists ? ["Restore and replace", "Restore and replace the current file"] : ["Restore", "Restore"];
    const act = async () => {
      try {
        await this.server.restore(entry, entry.exists);
        showMessage(entry.exists ? `${entry.name} was restored. The file that it replaced is in the trash.` : `${entry.name} was restored.`);
      } catch (fault) {
        showMessage(`${entry.name} was not restored. ${fault.message}`);
      }
      this.changed();
    };
    return element("button", { type: "button", class: "quiet", "aria-label": `${whole}: ${entry.name}`, click: act }, label);
  }
}

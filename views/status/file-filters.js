// The search field, filters and sort order of the list of files, and their form in the address:
// #files?search=fish&sort=name-asc

import { count, element } from "./elements.js";

const ORDERS = {
  "date-desc": "Newest first",
  "date-asc": "Oldest first",
  "name-asc": "Name, A to Z",
  "name-desc": "Name, Z to A",
  "size-desc": "Largest first",
  "size-asc": "Smallest first",
  "type-asc": "Type",
};
const DEFAULTS = { search: "", place: "*", type: "", since: "", until: "", without: "", changed: "", sort: "date-desc", view: "gallery", start: "" };
const GROUPS = { "image/": "All images", "video/": "All videos", "audio/": "All audio", "text/": "All text" };
const TYPING_MS = 150;

/** Returns a selection of collections with its label; none if all collections share one folder. */
export function collectionChoice(server, id, allowsAll = true) {
  const { collections } = server.overview;
  if (collections.length < 2) {
    return { label: null, chosen: () => (allowsAll ? {} : { place: collections[0].place }) };
  }
  const select = element("select", { id },
    allowsAll ? element("option", { value: "" }, "All") : null,
    collections.map(({ place, name }, i) => element("option", { value: i + 1 }, name || place)));
  const label = element("div", {}, element("label", { for: id }, "Collection"), select);
  return { label, select, chosen: () => (select.value ? { place: collections[select.value - 1].place } : {}) };
}

/** The form. `changed` is called with the new state, and whether it changes while a person types. */
export class FileFilters {
  constructor(server, changed) {
    this.server = server;
    this.changed = changed;
    this.folder = collectionChoice(server, "search-collection");
    this.search = element("input", { type: "search", id: "search", autocapitalize: "none", spellcheck: "false", input: () => this.#type() });
    this.type = element("select", { id: "search-type" });
    this.sort = element("select", { id: "search-sort" }, Object.entries(ORDERS).map(([value, label]) => element("option", { value }, label)));
    this.since = element("input", { type: "date", id: "search-since" });
    this.until = element("input", { type: "date", id: "search-until" });
    this.without = element("input", { type: "checkbox", id: "search-without" });
    this.stale = element("input", { type: "checkbox", id: "search-changed" });
    this.views = ["gallery", "list"].map((view) =>
      element("button", { type: "button", class: "quiet", "aria-pressed": "false", "data-view": view, click: () => this.#apply({ view }) },
        view === "gallery" ? "Gallery" : "List"));
    this.viewChoice = element("div", { class: "views", role: "group", "aria-label": "View" }, this.views);
    this.more = element("details", { class: "more" }, element("summary", {}, "More filters"), this.#moreFilters());
    this.form = this.#makeForm();
    this.#showTypes([]);
    [this.folder.select, this.type, this.sort, this.since, this.until, this.without, this.stale]
      .forEach((control) => control?.addEventListener("change", () => this.#apply({})));
  }

  #makeForm() {
    const field = (label, control) => element("div", {}, element("label", { for: control.id }, label), control);
    return element("form", { class: "filters", role: "search", submit: (event) => { event.preventDefault(); this.#apply({}); } },
      element("div", { class: "search" },
        field("Part of the name", this.search), this.folder.label, field("Type", this.type), field("Order", this.sort),
        element("button", {}, "Search")),
      this.more);
  }

  #moreFilters() {
    const field = (label, control) => element("div", {}, element("label", { for: control.id }, label), control);
    const box = (label, control) => element("label", { class: "box", for: control.id }, control, label);
    return element("div", { class: "search" },
      field("Changed from", this.since), field("Changed until", this.until),
      element("div", { class: "boxes" }, box("Without thumbnail", this.without), box("Changed since verified", this.stale)),
      element("button", { type: "button", class: "quiet", click: () => this.changed({ ...DEFAULTS, view: this.read().view }, false) }, "Reset"));
  }

  /** Loads the media types that occur. */
  async updateTypes() {
    const { types } = await this.server.data("files-types");
    this.#showTypes(types);
  }

  #showTypes(types) {
    const chosen = this.read().type;
    const option = (value, label, number) => element("option", { value, selected: value === chosen }, number ? `${label} (${count(number)})` : label);
    const groups = Object.entries(GROUPS)
      .map(([prefix, label]) => [prefix, label, types.filter(({ type }) => type.startsWith(prefix))])
      .filter(([prefix, , found]) => found.length > 1 || prefix === chosen)
      .map(([prefix, label, found]) => option(prefix, label, found.reduce((sum, { files }) => sum + files, 0)));
    const isKnown = !chosen || chosen.endsWith("/") || types.some(({ type }) => type === chosen);
    this.type.replaceChildren(option("", "All"), ...groups, ...types.map(({ type, files }) => option(type, type, files)),
      ...(isKnown ? [] : [option(chosen, chosen)]));
  }

  /** Returns the state in the address, and shows it in the form. */
  read() {
    const given = new URLSearchParams(window.location.hash.split("?")[1] ?? "");
    const state = Object.fromEntries(Object.entries(DEFAULTS).map(([name, value]) => [name, given.get(name) ?? value]));
    state.sort = Object.hasOwn(ORDERS, state.sort) ? state.sort : DEFAULTS.sort;
    this.#fill(state);
    return state;
  }

  #fill(state) {
    if (this.search.value.trim() !== state.search) {
      this.search.value = state.search;
    }
    if (this.folder.select) {
      const index = this.server.overview.collections.findIndex(({ place }) => place === state.place);
      this.folder.select.value = index < 0 ? "" : index + 1;
    }
    this.type.value = state.type;
    this.sort.value = state.sort;
    [this.since.value, this.until.value] = [state.since, state.until];
    [this.without.checked, this.stale.checked] = [state.without === "yes", state.changed === "yes"];
    this.more.open ||= Boolean(state.since || state.until || state.without || state.changed);
    this.views.forEach((button) => button.setAttribute("aria-pressed", button.dataset.view === state.view));
  }

  /** Returns whether the state has any filter. */
  isFiltered(state) {
    return ["search", "place", "type", "since", "until", "without", "changed"].some((name) => state[name] !== DEFAULTS[name]);
  }

  /** Returns the hash of the address for a state. */
  address(state) {
    const others = Object.entries(state).filter(([name, value]) => value && value !== DEFAULTS[name]);
    const query = new URLSearchParams(others).toString();
    return query ? `#files?${query}` : "#files";
  }

  /** Returns the parameters of a request for a state. */
  parameters(state) {
    const [sort, direction] = state.sort.split("-");
    const midnight = (day, ahead) => new Date(`${day}T00:00:00`).setDate(new Date(`${day}T00:00:00`).getDate() + ahead) / 1000;
    const all = {
      search: state.search,
      type: state.type,
      since: isDay(state.since) && String(midnight(state.since, 0)),
      until: isDay(state.until) && String(midnight(state.until, 1)),
      without_thumbnail: state.without,
      changed: state.changed,
      descending: direction === "desc" && "yes",
    };
    const place = state.place === DEFAULTS.place ? {} : { place: state.place };
    return { sort, ...place, ...Object.fromEntries(Object.entries(all).filter(([, value]) => value)) };
  }

  #type() {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.#apply({}, true), TYPING_MS);
  }

  #apply(changes, isTyping = false) {
    clearTimeout(this.typing);
    const chosen = {
      search: this.search.value.trim(),
      place: this.folder.chosen().place ?? DEFAULTS.place,
      type: this.type.value,
      sort: this.sort.value,
      since: this.since.value,
      until: this.until.value,
      without: this.without.checked ? "yes" : "",
      changed: this.stale.checked ? "yes" : "",
      view: this.views.find((button) => button.getAttribute("aria-pressed") === "true")?.dataset.view ?? DEFAULTS.view,
    };
    this.changed({ ...chosen, ...changes, start: "" }, isTyping);
  }
}

function isDay(text) {
  return /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(new Date(text).getTime());
}

// The files of a page as a gallery or a list, and the selection, which stays when the page changes.
//
// It is a list box with several selectable options (the pattern "Listbox" of the WAI-ARIA Authoring Practices): arrow keys move,
// Enter opens, Space selects, Shift selects a range, Ctrl+A selects the page, Escape clears the selection.

import { bytes, dateTime, element } from "./elements.js";

const HINT = "Arrow keys move. Enter opens a file. Space selects it, and with Shift a range.";

/** Returns a thumbnail, or the extension if there is none. Its alternative text is empty: the name is next to it. */
export function picture(server, { place, name, has_thumbnail: hasThumbnail, has_failed: hasFailed }, scale) {
  const extension = name.includes(".") ? name.slice(name.lastIndexOf(".") + 1).slice(0, 8) : "file";
  const instead = () => element("span", { class: "picture none", "aria-hidden": "true" }, extension);
  if (!hasThumbnail || hasFailed) {
    return instead();
  }
  const image = element("img", { class: "picture", alt: "", loading: "lazy", decoding: "async", error: () => image.replaceWith(instead()) });
  image.src = server.thumbnail(place, name, scale);
  return image;
}

const key = ({ place, name }) => `${place}\n${name}`;

/** The list. `on` has functions: open(row), selected(), remove(). */
export class FileList {
  #rows = [];
  #tiles = [];
  #current = 0;
  #anchor = 0;
  #selected = new Map();
  #content = "";

  constructor(server, on) {
    this.server = server;
    this.on = on;
    this.options = element("ul", {
      class: "gallery", role: "listbox", "aria-label": "Files", "aria-multiselectable": "true", "aria-describedby": "files-hint",
      click: (event) => this.#click(event), keydown: (event) => this.#key(event),
      mousedown: (event) => event.shiftKey && event.preventDefault(), // no selection of text
    });
    this.element = element("div", {}, this.options, element("p", { id: "files-hint", class: "hidden" }, HINT));
  }

  /** Shows a page. */
  show(rows, view) {
    const content = JSON.stringify([rows, view]);
    if (content === this.#content) {
      return;
    }
    this.#content = content;
    const hasFocus = this.options.contains(document.activeElement);
    const isSame = rows.length === this.#rows.length && rows.every((row, i) => key(row) === key(this.#rows[i]));
    this.options.className = view === "list" ? "file-rows" : "gallery";
    if (!isSame) {
      [this.#current, this.#anchor] = [0, 0];
    }
    this.#rows = rows;
    this.#tiles = rows.map((row, i) => this.#tile(row, i));
    rows.filter((row) => this.#selected.has(key(row))).forEach((row) => this.#selected.set(key(row), row));
    this.options.replaceChildren(...this.#tiles);
    this.options.hidden = rows.length === 0;
    if (hasFocus) {
      this.#tiles[this.#current]?.focus();
    }
  }

  /** Returns the selected files, also those of other pages. */
  selected() {
    return [...this.#selected.values()];
  }

  clearSelection() {
    this.#selected.clear();
    this.#showSelection();
  }

  /** Adds files to the selection. */
  select(rows) {
    rows.forEach((row) => this.#selected.set(key(row), row));
    this.#showSelection();
  }

  /** Moves the focus to a file if it is on this page. */
  focus(row) {
    const index = this.#rows.findIndex((other) => key(other) === key(row));
    if (index >= 0) {
      this.#move(index);
    }
  }

  /** Moves the focus to the first file, after the page has changed. */
  focusFirst() {
    if (this.#tiles.length) {
      this.#move(0);
    }
    this.element.scrollIntoView({ block: "start" });
  }

  #tile(row, index) {
    const { name, size, time, original_name: original, is_changed: isChanged } = row;
    return element("li", {
      class: "tile", role: "option", tabindex: index === this.#current ? 0 : -1, "data-index": index,
      "aria-selected": String(this.#selected.has(key(row))),
    },
      element("span", { class: "check", "aria-hidden": "true", title: "Select" }),
      picture(this.server, row, 200),
      element("span", { class: "name" }, name),
      original && original !== name ? element("span", { class: "fine original" }, original) : "",
      element("span", { class: "fine" }, bytes(size), " · ", dateTime(time)),
      isChanged ? element("span", { class: "mark warning" }, "Changed since verified") : "");
  }

  #click(event) {
    const tile = event.target.closest(".tile");
    if (!tile) {
      return;
    }
    const index = Number(tile.dataset.index);
    const isCheck = event.target.classList.contains("check");
    if (event.shiftKey) {
      this.#selectRange(index);
    } else if (isCheck || event.ctrlKey || event.metaKey) {
      this.#toggle(index);
    } else {
      this.#move(index);
      this.on.open(this.#rows[index]);
      return;
    }
    this.#move(index);
  }

  #key(event) {
    const columns = this.#columns();
    const last = this.#tiles.length - 1;
    const at = this.#current;
    const moves = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + columns, ArrowUp: at - columns, Home: 0, End: last };
    if (event.key in moves && !event.altKey) {
      const index = Math.min(last, Math.max(0, moves[event.key]));
      if (event.shiftKey) {
        this.#selectRange(index);
      }
      this.#move(index);
    } else if (event.key === "Enter") {
      this.on.open(this.#rows[at]);
    } else if (event.key === " ") {
      (event.shiftKey ? this.#selectRange(at) : this.#toggle(at));
    } else if (event.key === "a" && (event.ctrlKey || event.metaKey)) {
      this.select(this.#rows);
    } else if (event.key === "Escape" && this.#selected.size) {
      this.clearSelection();
    } else if (event.key === "Delete" && this.#selected.size) {
      this.on.remove();
    } else {
      return;
    }
    event.preventDefault();
  }

  #columns() {
    const top = this.#tiles[0]?.offsetTop;
    const number = this.#tiles.findIndex((tile) => tile.offsetTop !== top);
    return number < 0 ? this.#tiles.length : number;
  }

  #move(index) {
    this.#tiles[this.#current]?.setAttribute("tabindex", -1);
    this.#current = index;
    const tile = this.#tiles[index];
    tile?.setAttribute("tabindex", 0);
    tile?.focus();
    tile?.scrollIntoView({ block: "nearest" });
  }

  #toggle(index) {
    const row = this.#rows[index];
    if (!this.#selected.delete(key(row))) {
      this.#selected.set(key(row), row);
    }
    this.#anchor = index;
    this.#showSelection();
  }

  #selectRange(index) {
    const [from, to] = [this.#anchor, index].sort((a, b) => a - b);
    this.select(this.#rows.slice(from, to + 1));
  }

  #showSelection() {
    this.#tiles.forEach((tile, i) => tile.setAttribute("aria-selected", String(this.#selected.has(key(this.#rows[i])))));
    this.on.selected();
  }
}

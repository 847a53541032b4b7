// One file in a dialog: a picture that fits the screen, metadata, download and delete, and the files before and after it.

import { bytes, count, dateTime, element, notice } from "./elements.js";
import { removeFiles } from "./file-actions.js";
import { picture } from "./file-list.js";

/** Sizes to request, so that few different ones are made; the largest one is limited by the server. */
const SIZES = [400, 800, 1200, 1600, 2400, 4000];

/** Shows an original. `changed` is called after it was deleted or restored; `around` has the list that contains it. */
export function details(server, original, changed = () => {}, around = {}) {
  new FileView(server, changed, around).show(original);
}

class FileView {
  constructor(server, changed, around) {
    this.server = server;
    this.changed = changed;
    this.around = around;
    this.dialog = document.getElementById("details");
    this.dialog.className = "file-view";
    this.isMoving = false;
    const move = (label, text, step) => element("button", { type: "button", class: "quiet", "aria-label": label, click: () => this.#move(step) }, text);
    this.previous = around.previous ? move("Previous file", "‹", "previous") : null;
    this.next = around.next ? move("Next file", "›", "next") : null;
    const keys = (event) => this.#key(event);
    this.dialog.addEventListener("keydown", keys);
    this.dialog.addEventListener("close", () => {
      this.dialog.removeEventListener("keydown", keys);
      around.closed?.(this.original);
    }, { once: true });
  }

  show(original) {
    this.original = original;
    const { place, name, size, time, type, original_name: local } = original;
    const metadata = element("div", { class: "metadata" }, element("p", { class: "fine" }, "Reading the metadata …"));
    const focused = document.activeElement;
    this.dialog.replaceChildren(
      element("div", { class: "row spread" },
        element("h2", { id: "details-heading" }, name),
        element("span", { class: "fine position", role: "status" }, this.around.position?.(original) ?? ""),
        this.previous ?? "", this.next ?? "",
        element("button", { type: "button", class: "quiet", "aria-label": "Close", click: () => this.dialog.close() }, "✕")),
      element("div", { class: "view" },
        this.#picture(original),
        element("div", { class: "facts" },
          element("dl", { class: "pairs" },
            local && local !== name ? [element("dt", {}, "Original name"), element("dd", {}, local)] : null,
            element("dt", {}, "Size"), element("dd", {}, `${bytes(size)} (${count(size)} bytes)`),
            element("dt", {}, "Changed"), element("dd", {}, dateTime(time)),
            element("dt", {}, "Type"), element("dd", {}, type),
            place ? [element("dt", {}, "Folder"), element("dd", {}, place)] : null),
          element("p", { class: "row actions" },
            original.has_thumbnail && this.server.viewer(place, name)
              ? element("button", { type: "button", click: () => this.#zoom() }, "Zoom")
              : null,
            element("button", { type: "button", click: () => this.#download() }, "Download"),
            element("button", { type: "button", class: "danger", click: () => this.#remove() }, "Delete")),
          element("h3", {}, "Metadata"),
          metadata)));
    if (!this.dialog.open) {
      this.dialog.showModal();
    } else if (focused && this.dialog.contains(focused)) {
      focused.focus();
    }
    showMetadata(this.server, original, metadata);
  }

  /** The cached small thumbnail at once, and then one that fits the screen. */
  #picture(original) {
    const { place, name, has_thumbnail: hasThumbnail } = original;
    const box = element("div", { class: "large" }, picture(this.server, { ...original, has_failed: false }, 200));
    if (hasThumbnail) {
      const needed = Math.max(window.innerWidth, window.innerHeight) * Math.min(window.devicePixelRatio, 2) * 0.7;
      const most = this.around.largest ?? SIZES.at(-1);
      const scale = Math.min(most, SIZES.find((size) => size >= needed) ?? SIZES.at(-1));
      const large = element("img", { class: "picture", alt: "", decoding: "async", load: () => box.replaceChildren(large) });
      large.src = this.server.thumbnail(place, name, scale);
    }
    return box;
  }

  async #move(step) {
    if (this.isMoving || !this.around[step]) {
      return;
    }
    this.isMoving = true;
    try {
      const other = await this.around[step](this.original);
      if (other && this.dialog.open) {
        this.show(other);
      }
    } finally {
      this.isMoving = false;
    }
  }

  #key(event) {
    const step = { ArrowLeft: "previous", ArrowRight: "next" }[event.key];
    if (step && !event.altKey && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      this.#move(step);
    }
  }

  #download() {
    const { place, name } = this.original;
    // The address is created now, because its token is valid only for a short time.
    element("a", { href: this.server.original(place, name), download: name }).click();
  }

  #zoom() {
    const { place, name } = this.original;
    window.open(this.server.viewer(place, name), "_blank", "noopener");
  }

  async #remove() {
    const removed = removeFiles(this.server, [this.original], this.changed);
    this.dialog.close();
    await removed;
  }
}

async function showMetadata(server, { place, name }, into) {
  try {
    const groups = await server.metadata(place, name);
    into.replaceChildren(...(groups.length ? groups.map(group) : [element("p", { class: "fine" }, "The file has no metadata.")]));
  } catch (fault) {
    into.replaceChildren(notice("error", fault.message));
  }
}

function group({ Name: name, Fields: fields }) {
  const rows = Object.entries(fields).map(([tag, text]) => [element("dt", {}, tag), element("dd", {}, text)]);
  return element("details", { open: name === "Image" || name === "EXIF" },
    element("summary", {}, `${name} (${count(Object.keys(fields).length)})`),
    element("dl", { class: "pairs" }, rows));
}

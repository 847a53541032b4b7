// What can be done with selected files: open in the viewer, download as one zip archive, delete, and undo.

import { bytes, count, counted, element, showMessage } from "./elements.js";

/** How many files to delete or restore in one request. */
const AT_ONCE = 100;

/** How many pictures the viewer shows together. */
const MOST_IN_VIEWER = 20;

/** Deletes files, and offers to undo it. `changed` is called when the list has changed. */
export async function removeFiles(server, files, changed, progress = () => {}) {
  const what = files.length === 1 ? files[0].name : counted(files.length, "file");
  const hasTrash = server.overview.trash_days > 0;
  if (!hasTrash && !window.confirm(`Delete ${what} permanently? There is no trash (TRASH_DAYS is 0).`)) {
    return false;
  }
  const deleted = [];
  const failed = [];
  try {
    for (let i = 0; i < files.length; i += AT_ONCE) {
      progress(`Deleting files: ${count(i)} of ${count(files.length)} …`);
      const part = files.slice(i, i + AT_ONCE).map(({ place, name }) => [place, name]);
      const report = await server.change("delete", part);
      deleted.push(...report.deleted);
      failed.push(...report.failed);
    }
  } catch (fault) {
    failed.push({ reason: fault.message });
  }
  progress("");
  changed();
  const done = files.length === 1 && deleted.length ? files[0].name : counted(deleted.length, "file");
  const where = hasTrash ? `${deleted.length === 1 ? "is" : "are"} in the trash.` : `${deleted.length === 1 ? "was" : "were"} deleted.`;
  const text = [deleted.length ? `${done} ${where}` : "", failures(failed, files.length - deleted.length, "deleted")].filter(Boolean).join(" ");
  const entries = deleted.filter(({ entry }) => entry);
  if (entries.length) {
    showMessage(text, "Undo", () => undo(server, entries, changed));
  } else {
    showMessage(text);
  }
  return true;
}

async function undo(server, entries, changed) {
  let restored = 0;
  const failed = [];
  try {
    for (let i = 0; i < entries.length; i += AT_ONCE) {
      const report = await server.change("undelete", entries.slice(i, i + AT_ONCE).map(({ place, entry }) => [place, entry]));
      restored += report.restored;
      failed.push(...report.failed);
    }
  } catch (fault) {
    failed.push({ reason: fault.message });
  }
  changed();
  const what = entries.length === 1 ? entries[0].name : counted(restored, "file");
  const done = restored ? `${what} ${restored === 1 ? "was" : "were"} restored.` : "";
  showMessage([done, failures(failed, entries.length - restored, "restored")].filter(Boolean).join(" "));
}

function failures(failed, number, done) {
  if (!number) {
    return "";
  }
  const which = failed.length === 1 && failed[0].name ? failed[0].name : counted(number, "file");
  return `${which} ${number === 1 ? "was" : "were"} not ${done}. ${failed[0]?.reason ?? ""}`.trim();
}

/** Downloads files as one zip archive, which the server makes while it sends it. */
async function downloadZip(server, files) {
  const { ticket } = await server.change("zip", files.map(({ place, name }) => [place, name]));
  element("a", { href: `status/zip?ticket=${encodeURIComponent(ticket)}`, download: "" }).click();
}

/** The bar for the selection. `on` has most, changed(), clear(), selectAll() (yields rows), selectMore(rows). */
export class FileActions {
  #files = [];

  constructor(server, on) {
    this.server = server;
    this.on = on;
    this.text = element("span", { class: "name" });
    this.progress = element("span", { class: "fine", role: "status" });
    this.viewer = element("button", { type: "button", hidden: true, click: () => this.#view() }, "Open in viewer");
    this.zip = element("button", { type: "button", click: () => this.#download() }, "Download as zip");
    this.delete = element("button", { type: "button", class: "danger", click: () => this.remove(this.#files) }, "Delete");
    this.all = element("button", { type: "button", class: "quiet", click: () => this.#selectAll() });
    this.clear = element("button", { type: "button", class: "quiet", click: () => on.clear() }, "Clear selection");
    this.bar = element("div", { class: "selection", role: "region", "aria-label": "Selected files", hidden: true },
      this.text, this.viewer, this.zip, this.delete, this.all, this.clear, this.progress);
  }

  /** Shows the selection; `total` is the number of files in the list. */
  show(files, total) {
    this.#files = files;
    const size = files.reduce((sum, file) => sum + file.size, 0);
    this.bar.hidden = files.length === 0;
    this.text.textContent = `${counted(files.length, "file")} selected, ${bytes(size)}`;
    this.all.hidden = total <= files.length || total > this.on.most;
    this.all.textContent = `Select all ${count(total)}`;
    this.zip.disabled = files.length > this.on.most;
    const canBeViewed = files.every(({ has_thumbnail: hasThumbnail }) => hasThumbnail);
    this.viewer.hidden = !(this.server.overview.has_viewer && canBeViewed && files.length > 1 && files.length <= MOST_IN_VIEWER);
  }

  /** Deletes files and clears the selection. */
  async remove(files) {
    const changed = () => { this.on.clear(); this.on.changed(); };
    await this.#busy(() => removeFiles(this.server, files, changed, (text) => { this.progress.textContent = text; }));
  }

  #view() {
    // The address is created now, because its tokens are valid only for a short time.
    window.open(this.server.viewerOfSeveral(this.#files), "_blank", "noopener");
  }

  async #download() {
    await this.#busy(() => downloadZip(this.server, this.#files));
  }

  async #selectAll() {
    await this.#busy(async () => {
      for await (const rows of this.on.selectAll()) {
        this.on.selectMore(rows);
      }
    });
  }

  async #busy(work) {
    const buttons = [this.viewer, this.zip, this.delete, this.all, this.clear];
    buttons.forEach((button) => { button.disabled = true; });
    try {
      await work();
    } catch (fault) {
      showMessage(fault.message);
    }
    buttons.forEach((button) => { button.disabled = false; });
  }
}

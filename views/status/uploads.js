// Manual uploads: files that are dropped or chosen, each with a store name and its progress.

import { bytes, counted, element, notice } from "./elements.js";
import { collectionChoice } from "./files.js";

/** Returns the section. */
export function upload({ server, place, details, stayAwake }) {
  const waiting = [];
  const list = element("ul", { class: "uploads" });
  const folder = collectionChoice(server, "upload-collection", false);
  const chooser = element("input", { type: "file", id: "chooser", multiple: true, change: () => { take(chooser.files); chooser.value = ""; } });
  const start = element("button", { type: "button", disabled: true, click: () => sendAll() }, "Upload");
  const zone = dropZone(chooser, take);
  place.replaceChildren(
    element("p", {}, "A file is stored under its store name, which the record in Specify contains. To upload the file of an"
      + " existing record, use the store name of that record."),
    zone, folder.label ?? "", list, element("p", {}, start));

  function take(files) {
    for (const file of files) {
      const item = new Item(server, file, () => folder.chosen().place, details, stayAwake);
      item.remove.addEventListener("click", () => { waiting.splice(waiting.indexOf(item), 1); item.row.remove(); update(); });
      waiting.push(item);
      list.append(item.row);
    }
    update();
  }

  function update() {
    const number = waiting.filter((item) => item.isWaiting).length;
    start.disabled = number === 0;
    start.textContent = number ? `Upload ${counted(number, "file")}` : "Upload";
  }

  // One after the other, so that each has the full bandwidth, and a new token.
  async function sendAll() {
    start.disabled = true;
    for (const item of waiting.filter(({ isWaiting }) => isWaiting)) {
      await item.send(false);
    }
    update();
  }
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

let number = 0;
let sending = 0;

// The browser asks for confirmation before it leaves the page during an upload.
window.addEventListener("beforeunload", (event) => sending && event.preventDefault());

/** A file to upload. */
class Item {
  constructor(server, file, placeNow, details, stayAwake) {
    this.stayAwake = stayAwake;
    this.isWaiting = true;
    this.server = server;
    this.file = file;
    this.placeNow = placeNow;
    this.details = details;
    number += 1;
    const id = `store-name-${number}`;
    this.name = element("input", { id, value: file.name, maxlength: 255, autocapitalize: "none", spellcheck: "false" });
    this.unique = element("button", { type: "button", class: "quiet", click: () => { this.name.value = uniqueName(file.name); } }, "New unique name");
    this.remove = element("button", { type: "button", class: "quiet", "aria-label": `Do not upload ${file.name}` }, "✕");
    this.progress = element("progress", { max: 100, value: 0, hidden: true, "aria-label": `Progress of ${file.name}` });
    this.result = element("div", { role: "status" });
    this.row = element("li", { class: "card" },
      element("div", { class: "row spread" }, element("strong", { class: "name" }, file.name), element("span", { class: "fine" }, bytes(file.size)), this.remove),
      element("div", { class: "row" }, element("label", { for: id }, "Store name"), this.name, this.unique),
      this.progress,
      this.result);
  }

  /** Uploads the file. If its name exists and may not be replaced, asks first. */
  async send(mayReplace) {
    const place = this.placeNow();
    const name = this.name.value.trim();
    try {
      if (!name) {
        throw new Error("Enter a store name.");
      }
      if (!mayReplace && (await this.server.data("originals", { place, name })).originals.length) {
        this.ask();
        return;
      }
      this.isWaiting = false;
      [this.name, this.unique, this.remove].forEach((control) => { control.disabled = true; });
      this.progress.hidden = false;
      this.result.replaceChildren();
      await this.transfer(place, name);
      this.progress.value = 100;
      await this.succeed(place, name);
    } catch (fault) {
      this.isWaiting = true;
      [this.name, this.unique, this.remove].forEach((control) => { control.disabled = false; });
      this.progress.hidden = true;
      this.result.replaceChildren(notice("error", fault.message));
    }
  }

  async transfer(place, name) {
    sending += 1;
    try {
      await this.server.upload(this.file, place, name, (share) => {
        this.progress.value = 100 * share;
        this.stayAwake(); // a long upload must not be interrupted because the page seems inactive
      });
    } finally {
      sending -= 1;
    }
  }

  ask() {
    const replaced = this.server.overview.trash_days ? " The old file goes to the trash." : " The old file will be lost.";
    const replace = element("button", { type: "button", class: "danger", click: () => this.send(true) }, "Replace it");
    this.result.replaceChildren(notice("warning", "A file with this name exists. Change the name, or replace the file.", replaced, " ", replace));
  }

  async succeed(place, name) {
    const { originals: [original] } = await this.server.data("originals", { place, name });
    const show = element("button", { type: "button", class: "link", click: () => this.details(this.server, original) }, "Show it");
    this.result.replaceChildren(notice("ok", `Stored as ${name}. `, original ? show : ""));
  }
}

/** A UUID with the file's extension, as Specify 7 names files. */
function uniqueName(local) {
  const random = crypto.getRandomValues(new Uint8Array(16));
  random[6] = (random[6] & 0x0f) | 0x40;
  random[8] = (random[8] & 0x3f) | 0x80;
  const digits = Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const parts = [[0, 8], [8, 12], [12, 16], [16, 20], [20, 32]].map(([from, to]) => digits.slice(from, to));
  return parts.join("-") + (local.includes(".") ? local.slice(local.lastIndexOf(".")) : "");
}

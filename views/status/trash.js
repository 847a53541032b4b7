// The trash: deleted and replaced files, and restoring them.

import { bytes, counted, dateTime, element, latestOnly, notice, showMessage, table } from "./elements.js";

/** Returns the section. */
export function trash({ server, place }) {
  const field = element("input", { type: "search", id: "trash-search", autocapitalize: "none", spellcheck: "false" });
  const found = element("div");
  place.replaceChildren(
    element("form", { class: "search", role: "search", submit: (event) => { event.preventDefault(); find(); } },
      element("div", {}, element("label", { for: "trash-search" }, "Part of the store name"), field),
      element("button", {}, "Search")),
    found);

  const begin = latestOnly();
  async function refresh() {
    const isLatest = begin();
    const part = field.value.trim();
    const report = await server.data("trash", part ? { search: part } : {});
    if (!isLatest()) {
      return;
    }
    found.replaceChildren(element("p", { class: "fine" }, summary(report)), report.entries.length ? entries(report) : "");
  }

  function find() {
    refresh().catch((fault) => { found.replaceChildren(notice("error", fault.message)); });
  }

  function entries(report) {
    const rows = report.entries.map((entry) => [
      entry.name,
      entry.place || "–",
      entry.reason,
      dateTime(entry.time),
      bytes(entry.size),
      element("span", {}, report.days || !entry.exists ? restoring(entry) : "A file with this name exists."),
    ]);
    return element("article", { class: "card" }, table("Trash", ["Name", "Folder", "Reason", "Removed", "Size", "Restore"], rows));
  }

  function restoring(entry) {
    const label = entry.exists ? "Restore and replace" : "Restore";
    const act = async () => {
      try {
        await server.restore(entry, entry.exists);
        showMessage(entry.exists ? `${entry.name} was restored. The file that it replaced is in the trash.` : `${entry.name} was restored.`);
      } catch (fault) {
        showMessage(`${entry.name} was not restored. ${fault.message}`);
      }
      find();
    };
    return element("button", { type: "button", class: "quiet", "aria-label": `${label}: ${entry.name}`, click: act }, label);
  }
  return { refresh };
}

function summary({ entries, number, bytes: size, days }) {
  const retention = days ? `Files are removed permanently after ${counted(days, "day")}.` : "The trash is disabled (TRASH_DAYS is 0).";
  if (!number) {
    return `No files found. ${retention}`;
  }
  const shown = entries.length < number ? `, the latest ${entries.length} shown` : "";
  return `${counted(number, "file")} with ${bytes(size)}${shown}. ${retention}`;
}

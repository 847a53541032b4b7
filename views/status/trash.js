// The trash: what was deleted or replaced, and the way back.

import { bytes, counted, element, moment, notice, table, tell, turns } from "./elements.js";

/** Returns the part. */
export function trash({ server, place }) {
  const field = element("input", { type: "search", id: "trash-search", autocapitalize: "none", spellcheck: "false" });
  const found = element("div");
  place.replaceChildren(
    element("form", { class: "search", role: "search", submit: (event) => { event.preventDefault(); find(); } },
      element("div", {}, element("label", { for: "trash-search" }, "Part of the store name"), field),
      element("button", {}, "Search")),
    found);

  const begin = turns();
  async function refresh() {
    const isLatest = begin();
    const part = field.value.trim();
    const told = await server.data("trash", part ? { search: part } : {});
    if (!isLatest()) {
      return;
    }
    found.replaceChildren(element("p", { class: "fine" }, summary(told)), told.entries.length ? entries(told) : "");
  }

  function find() {
    refresh().catch((fault) => { found.replaceChildren(notice("error", fault.message)); });
  }

  function entries(told) {
    const rows = told.entries.map((entry) => [
      entry.name,
      entry.place || "–",
      entry.reason,
      moment(entry.time),
      bytes(entry.size),
      element("span", {}, told.days || !entry.exists ? restoring(entry) : "There is a file of that name."),
    ]);
    return element("article", { class: "card" }, table("Trash", ["Name", "Folder", "Why", "When", "Size", "Way back"], rows));
  }

  function restoring(entry) {
    const label = entry.exists ? "Restore over today’s" : "Restore";
    const act = async () => {
      try {
        await server.restore(entry, entry.exists);
        tell(entry.exists ? `${entry.name} is back; today’s went to the trash.` : `${entry.name} is back.`);
      } catch (fault) {
        tell(`${entry.name} was not restored. ${fault.message}`);
      }
      find();
    };
    return element("button", { type: "button", class: "quiet", "aria-label": `${label}: ${entry.name}`, click: act }, label);
  }
  return { refresh };
}

function summary({ entries, number, bytes: size, days }) {
  const kept = days ? `Files stay here for ${counted(days, "day")}.` : "The trash is switched off (TRASH_DAYS is 0).";
  if (!number) {
    return `There is nothing here. ${kept}`;
  }
  const shown = entries.length < number ? `, the latest ${entries.length} shown` : "";
  return `${counted(number, "file")} with ${bytes(size)}${shown}. ${kept}`;
}

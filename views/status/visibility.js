// Visibility: how many files are public, whether that is up to date, and why a file is public or not.

import { count, counted, dateTime, duration, element, latestOnly, notice, table } from "./elements.js";

/** Returns the section. */
export function visibility({ place, server }) {
  const field = element("input", { type: "search", id: "visibility-name", autocapitalize: "none", spellcheck: "false" });
  const found = element("div");
  place.replaceChildren(
    element("form", { class: "search", role: "search", submit: (event) => { event.preventDefault(); find(); } },
      element("div", {}, element("label", { for: "visibility-name" }, "Store name"), field),
      element("button", {}, "Explain")),
    found);

  const begin = latestOnly();
  async function refresh() {
    const isLatest = begin();
    const name = field.value.trim();
    const report = await server.data("visibility", name ? { name } : {});
    if (isLatest()) {
      found.replaceChildren(...(report.enabled ? shown(report) : [notice("info", "VISIBILITY is not set, so the same rules apply to all files.")]));
    }
  }

  function find() {
    refresh().catch((fault) => { found.replaceChildren(notice("error", fault.message)); });
  }
  return { refresh, isLive: true };
}

function shown(report) {
  const figure = (value, label) => element("div", { class: "figure" }, element("strong", {}, count(value)), element("span", {}, label));
  return [
    report.explained ? explained(report.explained) : "",
    state(report),
    element("div", { class: "figures" },
      figure(report.public, "public"), figure(report.private, "private"), figure(report.unknown, "without a complete record")),
    ...report.problems.map((problem) => notice("warning", problem)),
    changes(report.changes),
  ].filter((part) => part !== "");
}

function state({ age, fault, is_current: isCurrent, source }) {
  if (age === null) {
    return notice("warning", `The visibility was never read, so no file is public. ${fault}`.trim());
  }
  const read = `read from ${source} ${duration(age)} ago.`;
  return isCurrent
    ? notice("ok", `The state was ${read}`)
    : notice("warning", `${fault || "Reading the visibility is overdue."} Files keep the state that was ${read}`);
}

function explained({ name, file, records }) {
  const reasons = records.map((record) => element("li", {}, `Record ${record.identifier}: ${described(record)}`));
  return element("article", { class: "card" }, element("h3", {}, name), element("p", {}, sentence(file)), element("ul", {}, reasons));
}

function sentence(file) {
  if (!file) {
    return "Private, because nothing is known of it.";
  }
  const word = file.is_public ? "Public" : "Private";
  if (!file.is_known) {
    return `${word}. It has no complete record, so its last state counts.`;
  }
  return file.next_change ? `${word} until ${file.next_change}.` : `${word}.`;
}

function described({ embargoes, is_complete: isComplete, is_public: isPublic }) {
  const parts = [isPublic ? "public" : "not public"];
  if (!isComplete) {
    parts.push("its specimen is missing");
  }
  embargoes.forEach(([start, end]) => parts.push(`embargo ${start ? `from ${start} ` : ""}until ${end ?? "further notice"}`));
  return parts.join(", ");
}

function changes(list) {
  if (!list.length) {
    return element("p", { class: "fine" }, "No file has become public or private since the first reading.");
  }
  const hasFolders = list.some((change) => change.place);
  const columns = ["Time", "Now", "Name", "Folder"].slice(0, hasFolders ? 4 : 3);
  const rows = list.map((change) => [dateTime(change.time), change.state, change.name, change.place || "–"].slice(0, columns.length));
  return element("article", { class: "card" },
    element("h3", {}, counted(list.length, "latest change")),
    table("Latest changes", columns, rows));
}

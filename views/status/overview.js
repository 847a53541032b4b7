// The overview: health, versions, render queue, verification.

import { bytes, count, counted, element, mark, moment, notice, table } from "./elements.js";

const TITLES = {
  store: "Store",
  space: "Space",
  journal: "Journal",
  tools: "Tools",
  rendering: "Render workers",
  verification: "Verification",
};

const MEANINGS = {
  changed: "the bytes are not those that were stored",
  missing: "the journal knows it, but there is no file",
  unknown: "there is a file that the journal does not know",
  unnoted: "it was deleted or replaced without a note in the journal",
  empty: "the file has no bytes",
  unreadable: "the file cannot be read",
  misnamed: "the bytes are not what the extension says",
};

/** Returns the part; it is looked at again and again while it is shown. */
export function overview({ server, place }) {
  async function refresh() {
    const told = await server.data("overview");
    server.overview = told;
    place.replaceChildren(
      notice(told.ready ? "ok" : "error", told.ready ? "The server can do its work." : "The server cannot do all of its work."),
      element("div", { class: "cards" }, health(told.checks), rendering(told.rendering), versions(told)),
      verification(told.verification),
    );
  }
  return { refresh, isLive: true };
}

function health(checks) {
  const rows = Object.entries(checks).map(([name, check]) => [
    element("dt", {}, mark(check.status), " ", TITLES[name] ?? name),
    element("dd", {}, check.reason),
  ]);
  return element("article", { class: "card wide" }, element("h3", {}, "Health"), element("dl", { class: "checks" }, rows));
}

function rendering({ busy, most, waiting, most_waiting: mostWaiting }) {
  const gauge = (label, value, max) =>
    element("div", { class: "gauge" },
      element("span", {}, label),
      element("meter", { min: 0, max, value, "aria-label": label }, String(value)),
      element("span", {}, `${count(value)} of ${count(max)}`));
  return element("article", { class: "card" },
    element("h3", {}, "Render queue"),
    gauge("Workers busy", busy, most),
    gauge("Requests waiting", waiting, mostWaiting),
    element("p", { class: "fine" }, waiting === 0 ? "Nobody waits for a thumbnail." : "Thumbnails are being made."));
}

function versions({ versions: found, most_upload_bytes: most, trash_days: days }) {
  const rows = Object.entries(found).map(([name, version]) => [
    element("dt", {}, name),
    element("dd", {}, version === null ? "not installed" : version || "installed"),
  ]);
  return element("article", { class: "card" },
    element("h3", {}, "Versions"),
    element("dl", { class: "pairs" }, rows),
    element("p", { class: "fine" },
      `Uploads: ${most === null ? "of any size" : `up to ${bytes(most)}`}. `,
      days ? `Trash: kept for ${counted(days, "day")}.` : "Trash: switched off."));
}

function verification({ days, last, findings, fault }) {
  const plan = days
    ? `The server reads every original within ${counted(days, "day")} (VERIFY_DAYS).`
    : "The server does not verify by itself (VERIFY_DAYS is 0); manage.py verify does it when you ask.";
  return element("article", { class: "card" },
    element("h3", {}, "Verification"),
    fault ? notice("error", fault) : element("p", {}, lastRun(last)),
    element("p", { class: "fine" }, plan),
    findings.length ? findingsTable(findings) : null);
}

function lastRun(last) {
  if (last === null) {
    return "No original has been compared with its checksum yet.";
  }
  if (last.ended === null) {
    return element("span", {}, "A verification is under way since ", moment(last.began), ".");
  }
  const { files, bytes: size, findings } = last.summary;
  const found = Object.entries(findings).map(([kind, number]) => `${count(number)} ${kind}`).join(", ");
  return element("span", {}, "The last one ended ", moment(last.ended),
    ` and read ${counted(files, "file")} with ${bytes(size)}: ${found || "nothing wrong"}.`);
}

function findingsTable(findings) {
  const rows = findings.map(({ place, name, time, finding }) => [
    name,
    place || "–",
    finding.split(" ").map((kind) => `${kind}: ${MEANINGS[kind] ?? "?"}`).join("; "),
    moment(time),
  ]);
  return element("details", {},
    element("summary", {}, `What was found (${count(findings.length)})`),
    table("Findings of the verification", ["Name", "Folder", "Finding", "When"], rows));
}

// The overview: health, storage, render queue, versions, verification, and the values for Specify.

import { bytes, count, counted, dateTime, element, mark, notice, table } from "./elements.js";
import { specifyValues } from "./specify.js";
import { figures } from "./storage.js";

const TITLES = { rendering: "Render workers", space: "Free space", store: "Storage" };

/** Returns the section, which is refreshed regularly while it is shown. */
export function overview({ server, place }) {
  const values = specifyValues(server);
  const live = element("div");
  place.replaceChildren(live, values);
  async function refresh() {
    const [report, survey] = await Promise.all([server.data("overview"), server.data("storage")]);
    server.overview = report;
    const isOpen = live.querySelector("details")?.open ?? false;
    live.replaceChildren(
      verdict(report.checks),
      survey.ready ? figures(survey) : notice("info", survey.fault ?? "The server is counting its files."),
      element("div", { class: "cards" }, health(report.checks), rendering(report.rendering), versions(report)),
      verification(report.verification),
    );
    live.querySelector("details")?.toggleAttribute("open", isOpen);
  }
  return { refresh, isLive: true };
}

function title(name) {
  return TITLES[name] ?? name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");
}

/** The state of the server in one sentence: the worst result of all checks. */
function verdict(checks) {
  const of = (status) => Object.entries(checks).filter(([, check]) => check.status === status)
    .map(([name, { reason }]) => `${title(name)}: ${reason}`).join(" ");
  if (of("error")) {
    return notice("error", `The server is not working normally. ${of("error")}`);
  }
  return of("warning")
    ? notice("warning", `The server is working, but something needs attention. ${of("warning")}`)
    : notice("ok", "The server is working normally.");
}

function health(checks) {
  const rows = Object.entries(checks).map(([name, check]) => [
    element("dt", {}, mark(check.status), " ", title(name)),
    element("dd", {}, check.reason),
  ]);
  return element("article", { class: "card wide" }, element("h3", {}, "Health"), element("dl", { class: "checks" }, rows));
}

function rendering({ busy, most, waiting, most_waiting: mostWaiting, in_background: inBackground }) {
  const gauge = (label, value, max) =>
    element("div", { class: "gauge" },
      element("span", {}, label),
      element("meter", { min: 0, max, value, "aria-label": label }, String(value)),
      element("span", {}, `${count(value)} of ${count(max)}`));
  return element("article", { class: "card" },
    element("h3", {}, "Render queue"),
    gauge("Workers busy", busy, most),
    gauge("Requests waiting", waiting, mostWaiting),
    element("p", { class: "fine" },
      waiting === 0 ? "No thumbnails waiting." : `${counted(waiting, "request")} for thumbnails in progress or waiting.`,
      inBackground === 0 ? "" : ` ${counted(inBackground, "job")} in the background.`));
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
      days ? `Files stay in the trash for ${counted(days, "day")}.` : "The trash is disabled."));
}

function verification({ command, days, last, findings, meanings, fault }) {
  const plan = days
    ? `The server verifies each original at least every ${counted(days, "day")} (VERIFY_DAYS).`
    : `Regular verification is disabled (VERIFY_DAYS is 0). To verify originals, run ${command}.`;
  return element("article", { class: "card" },
    element("h3", {}, "Verification"),
    fault ? notice("error", fault) : element("p", {}, lastRun(last)),
    element("p", { class: "fine" }, plan),
    findings.length ? findingsTable(findings, meanings) : null);
}

function lastRun(last) {
  if (last === null) {
    return "No verification has been run yet.";
  }
  if (last.ended === null) {
    return element("span", {}, "A verification has been running since ", dateTime(last.began), ".");
  }
  const { files, bytes: size, findings } = last.summary;
  const found = Object.entries(findings).map(([kind, number]) => `${count(number)} ${kind}`).join(", ");
  return element("span", {}, "The last verification ended ", dateTime(last.ended),
    ` and read ${counted(files, "file")} with ${bytes(size)}: ${found || "no errors"}.`);
}

function findingsTable(findings, meanings) {
  const rows = findings.map(({ place, name, time, finding }) => [
    name,
    place || "–",
    finding.split(" ").map((kind) => `${kind}: ${meanings[kind] ?? "?"}`).join("; "),
    dateTime(time),
  ]);
  return element("details", {},
    element("summary", {}, `Findings (${count(findings.length)})`),
    table("Findings of the verification", ["Name", "Folder", "Finding", "Time"], rows));
}

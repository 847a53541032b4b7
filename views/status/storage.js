// Storage: its size, its growth, and when the disk will be full.

import { bytes, count, counted, dateTime, element, notice, table } from "./elements.js";
import { barChart, forecastChart, onWidthChange } from "./plot.js";

const RETRY_SECONDS = 2;
const WEEK = 7 * 86400;

/** Returns the section. It requests the data again while the server is still counting. */
export function storage({ server, place }) {
  let timer = 0;
  let last = null;
  const draw = () => last && place.replaceChildren(...shown(last, server.overview.collections));
  onWidthChange(draw);
  async function refresh() {
    clearTimeout(timer);
    const report = await server.data("storage");
    if (report.ready) {
      last = report;
      draw();
      return;
    }
    place.replaceChildren(
      report.fault ? notice("error", report.fault) : notice("info", "The server is counting its files. This takes a few seconds or minutes."));
    if (!place.closest("section").hidden) {
      timer = setTimeout(() => refresh().catch((fault) => place.replaceChildren(notice("error", fault.message))), RETRY_SECONDS * 1000);
    }
  }
  return { refresh };
}

/** Returns the size of the store, and what was uploaded since it was counted. */
export function figures(report) {
  const figure = (value, label) => element("div", { class: "figure" }, element("strong", {}, value), element("span", {}, label));
  const { uploads, bytes: size } = report.since;
  const since = uploads ? `; since then, ${counted(uploads, "upload")} with ${bytes(size)}` : "";
  return element("div", {},
    element("div", { class: "figures" },
      figure(bytes(report.bytes), counted(report.files, "original")),
      figure(bytes(report.trash_bytes), "in the trash"),
      report.room === null ? null : figure(bytes(report.room), "free for uploads"),
      figure(...untilFull(report))),
    element("p", { class: "fine as-of" }, "As of ", dateTime(report.time), `${since}.`));
}

function shown(report, collections) {
  return [
    figures(report),
    element("article", { class: "card" }, element("h3", {}, "Use and forecast"),
      report.files || report.months.length ? forecastChart(report) : "", forecastText(report)),
    element("article", { class: "card" }, element("h3", {}, "Uploads by month"),
      report.months.length ? [barChart(report.months), monthsTable(report.months)] : element("p", { class: "fine" }, "No uploads yet.")),
    report.places.length > 1 ? placesTable(report.places, collections) : null,
  ].filter(Boolean);
}

function untilFull({ daily, days_until_full: days }) {
  if (days !== null) {
    return days > 3650 ? ["over 10 years", "until the disk is full"] : [counted(Math.floor(days), "day"), "until the disk is full"];
  }
  return daily === null ? ["–", "no forecast yet"] : ["–", "the store does not grow"];
}

function forecastText({ daily, days_until_full: days, history_since: since }) {
  if (daily === null) {
    const begins = since === null ? [" There is no history yet."] : [" It begins ", dateTime(since), ", so there is a forecast from ",
      dateTime(since + WEEK), " on."];
    return element("p", { class: "fine" }, "A forecast needs at least a week of history.", begins);
  }
  const rate = `Over the last 90 days the store grew by ${bytes(daily * 30)} a month.`;
  if (days === null) {
    return element("p", { class: "fine" }, rate);
  }
  const day = new Date(Date.now() + days * 86400000);
  const when = days > 3650 ? "" : ` At this rate, the disk is full in ${day.toLocaleString("en", { month: "long", year: "numeric" })}.`;
  return element("p", { class: "fine" }, rate + when);
}

function monthsTable(months) {
  const rows = [...months].reverse().map(({ month, uploads, stored, freed }) => [month, count(uploads), bytes(stored), bytes(freed)]);
  return element("details", {},
    element("summary", {}, "As a table"),
    table("Uploads by month", ["Month", "Uploads", "Stored", "Permanently deleted"], rows));
}

function placesTable(places, collections) {
  const name = (place) => collections.find((collection) => collection.place === place)?.name || place || "all";
  const rows = places.map(({ place, files, bytes: size }) => [name(place), place || "–", count(files), bytes(size)]);
  return element("article", { class: "card" },
    element("h3", {}, "Collections"),
    table("Originals by collection", ["Collection", "Folder", "Originals", "Bytes"], rows));
}

// Storage: how much there is, how it grew, when the disk will be full.

import { bytes, count, counted, element, notice, table } from "./elements.js";
import { barChart, forecastChart, onOtherWidth } from "./plot.js";

const AGAIN_SECONDS = 2;

/** Returns the part. The server may still be counting; then it is asked again. */
export function storage({ server, place }) {
  let timer = 0;
  let last = null;
  const draw = () => last && place.replaceChildren(...shown(last, server.overview.collections));
  onOtherWidth(draw);
  async function refresh() {
    clearTimeout(timer);
    const told = await server.data("storage");
    if (told.ready) {
      last = told;
      draw();
      return;
    }
    place.replaceChildren(
      told.fault ? notice("error", told.fault) : notice("info", "The server is counting its files; this takes a moment."));
    if (!place.closest("section").hidden) {
      timer = setTimeout(() => refresh().catch((fault) => place.replaceChildren(notice("error", fault.message))), AGAIN_SECONDS * 1000);
    }
  }
  return { refresh };
}

function shown(told, collections) {
  const figure = (value, label) => element("div", { class: "figure" }, element("strong", {}, value), element("span", {}, label));
  return [
    element("div", { class: "figures" },
      figure(bytes(told.bytes), counted(told.files, "original")),
      figure(bytes(told.trash_bytes), "in the trash"),
      told.room === null ? null : figure(bytes(told.room), "can still be stored"),
      figure(...untilFull(told))),
    element("article", { class: "card" }, element("h3", {}, "Use and forecast"), forecastChart(told), forecastText(told)),
    element("article", { class: "card" }, element("h3", {}, "Uploads by month"), barChart(told.months), monthsTable(told.months)),
    told.places.length > 1 ? placesTable(told.places, collections) : null,
  ].filter(Boolean);
}

function untilFull({ daily, days_until_full: days }) {
  if (days !== null) {
    return days > 3650 ? ["over 10 years", "until the disk is full"] : [counted(Math.floor(days), "day"), "until the disk is full"];
  }
  return daily === null ? ["–", "no forecast yet"] : ["–", "the store does not grow"];
}

function forecastText({ daily, days_until_full: days }) {
  if (daily === null) {
    return element("p", { class: "fine" }, "A forecast needs a week of the journal.");
  }
  const rate = `Over the last 90 days the store grew by ${bytes(daily * 30)} a month.`;
  if (days === null) {
    return element("p", { class: "fine" }, rate);
  }
  const day = new Date(Date.now() + days * 86400000);
  const when = days > 3650 ? "" : ` If that goes on, the disk is full in ${day.toLocaleString("en", { month: "long", year: "numeric" })}.`;
  return element("p", { class: "fine" }, rate + when);
}

function monthsTable(months) {
  const rows = [...months].reverse().map(({ month, uploads, stored, freed }) => [month, count(uploads), bytes(stored), bytes(freed)]);
  return element("details", {},
    element("summary", {}, "As a table"),
    table("Uploads by month", ["Month", "Uploads", "Stored", "Left for good"], rows));
}

function placesTable(places, collections) {
  const name = (place) => collections.find((collection) => collection.place === place)?.name || place || "all";
  const rows = places.map(({ place, files, bytes: size }) => [name(place), place || "–", count(files), bytes(size)]);
  return element("article", { class: "card" },
    element("h3", {}, "Collections"),
    table("Originals by collection", ["Collection", "Folder", "Originals", "Bytes"], rows));
}

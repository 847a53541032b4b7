// Two charts, as SVG. Their colours and fonts are in page.css. Their data is also shown as a table or as text.

import { bytes, count, drawn } from "./elements.js";

const HEIGHT = 220;
const EDGE = { left: 64, right: 12, top: 14, bottom: 26 };
const PAST_MONTHS = 12;
const FUTURE_MONTHS = 12;
/** Below this many bytes, the labels of an axis would be the same. */
const SMALLEST = 900;
/** Of the 24 months, at least the last six are shown. */
const LATEST_FIRST = 18;

/** The width in units of the drawing; smaller on a phone, so that the text has the same size. */
const isNarrow = window.matchMedia("(max-width: 44rem)");
const width = () => (isNarrow.matches ? 360 : 640);

/** Calls *redraw* when the page becomes wide or narrow, so that charts must be redrawn. */
export function onWidthChange(redraw) {
  isNarrow.addEventListener("change", redraw);
}

/** Returns a chart of the size of the store at the end of each month, a forecast, and the available space. */
export function forecastChart({ bytes: size, trash_bytes: trash, room, months, daily }) {
  const now = new Date();
  const used = size + trash;
  const past = history(used, months, now);
  const futureMonths = daily === null ? 0 : FUTURE_MONTHS;
  const monthly = Math.max(0, (daily ?? 0) * 30.4);
  const ahead = Array.from({ length: futureMonths + 1 }, (_, i) => used + monthly * i);
  const full = room === null ? null : used + room;
  const future = full === null ? ahead : ahead.map((value) => Math.min(value, full));
  // A limit far above the other values is not shown, because they would be too small to see.
  const tallest = Math.max(...past, ...future, SMALLEST);
  const showsLimit = full !== null && full < tallest * 6;
  const top = roundedUp(showsLimit ? full * 1.04 : tallest * 1.04);
  const x = scaleX(past.length + futureMonths - 1);
  const y = (value) => HEIGHT - EDGE.bottom - (value / top) * (HEIGHT - EDGE.top - EDGE.bottom);
  const today = past.length - 1;
  const pastPoints = past.map((value, i) => [x(i), y(value)]);
  const label = `The store has ${bytes(used)} including the trash`
    + (full === null ? "." : `; its capacity is ${bytes(full)}.`)
    + (daily === null ? "" : ` In a year it will have ${bytes(future.at(-1))}.`);
  return frame(label, top, [
    drawn("path", { class: "area", d: `${line(pastPoints)}L${x(today)} ${y(0)}L${x(0)} ${y(0)}Z` }),
    drawn("path", { class: "line", d: line(pastPoints) }),
    daily === null ? "" : drawn("path", { class: "line future", d: line(future.map((value, i) => [x(today + i), y(value)])) }),
    showsLimit ? drawn("line", { class: "limit", x1: EDGE.left, x2: width() - EDGE.right, y1: y(full), y2: y(full) }) : "",
    showsLimit ? text("full", width() - EDGE.right, y(full) - 5, "end", "limit-label") : "",
    drawn("line", { class: "today", x1: x(today), x2: x(today), y1: EDGE.top, y2: HEIGHT - EDGE.bottom }),
    futureMonths ? text("today", x(today) + 4, EDGE.top + 8, "start") : "",
    monthLabels(past.length + futureMonths, (i) => monthName(addMonths(now, i - today)), x, true),
  ]);
}

/** Returns a bar chart of the uploaded bytes in each of the last 24 months. */
export function barChart(months) {
  const now = new Date();
  const byMonth = new Map(months.map((month) => [month.month, month]));
  const shown = Array.from({ length: 24 }, (_, i) => addMonths(now, i - 23));
  const earliest = shown.findIndex((date) => byMonth.has(key(date)));
  const first = earliest < 0 ? LATEST_FIRST : Math.min(LATEST_FIRST, earliest);
  const bars = shown.slice(first).map((date) => ({ date, ...(byMonth.get(key(date)) ?? { stored: 0, uploads: 0 }) }));
  const most = Math.max(...bars.map((bar) => bar.stored), 0);
  const top = roundedUp(Math.max(most, SMALLEST) * 1.04);
  const step = (width() - EDGE.left - EDGE.right) / bars.length;
  const y = (value) => HEIGHT - EDGE.bottom - (value / top) * (HEIGHT - EDGE.top - EDGE.bottom);
  const x = (i) => EDGE.left + step * i;
  const label = `Bytes of uploads in the last ${bars.length} months, at most ${bytes(most)} in a month.`;
  return frame(label, top, [
    bars.map((bar, i) => drawn("rect",
      { class: "bar", x: x(i) + step * 0.14, y: y(bar.stored), width: step * 0.72, height: y(0) - y(bar.stored), rx: 2 },
      drawn("title", {}, `${key(bar.date)}: ${count(bar.uploads)} uploads, ${bytes(bar.stored)}`))),
    monthLabels(bars.length, (i) => monthName(bars[i].date), (i) => x(i) + step / 2, false),
  ]);
}

/** The size of the store at the end of each month, as far as the journal goes back; the last value is today’s. */
function history(used, months, now) {
  const byMonth = new Map(months.map((month) => [month.month, month.stored - month.freed]));
  const values = [used];
  for (let i = 0; i < PAST_MONTHS; i += 1) {
    values.unshift(Math.max(0, values[0] - (byMonth.get(key(addMonths(now, -i))) ?? 0)));
  }
  const first = months.findIndex(({ stored, freed }) => stored || freed);
  const known = first < 0 ? 0 : monthsBetween(months[first].month, key(now)) + 1;
  return values.slice(-Math.max(2, known + 1));
}

/** From `2026-02` to `2026-11` are 9 months. */
function monthsBetween(one, other) {
  const number = (month) => 12 * Number(month.slice(0, 4)) + Number(month.slice(5));
  return number(other) - number(one);
}

function frame(label, top, content) {
  const y = (share) => HEIGHT - EDGE.bottom - share * (HEIGHT - EDGE.top - EDGE.bottom);
  const grid = [0, 0.25, 0.5, 0.75, 1].map((share) => [
    drawn("line", { class: "grid", x1: EDGE.left, x2: width() - EDGE.right, y1: y(share), y2: y(share) }),
    text(bytes(top * share), EDGE.left - 7, y(share) + 4, "end"),
  ]);
  return drawn("svg", { class: "plot", viewBox: `0 0 ${width()} ${HEIGHT}`, role: "img", "aria-label": label },
    grid.flat(), content.flat(2).filter(Boolean));
}

/** A round number that is not smaller than the value, and whose quarters are round, too. */
function roundedUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10].find((step) => step * power >= value * 0.9999);
}

function monthLabels(number, name, x, reachesEdges) {
  const anchorOf = (i) => {
    if (!reachesEdges) {
      return "middle";
    }
    return i === 0 ? "start" : i === number - 1 ? "end" : "middle";
  };
  const every = Math.ceil(number / (width() / 100));
  return Array.from({ length: number }, (_, i) => i)
    .filter((i) => i % every === 0)
    .map((i) => text(name(i), x(i), HEIGHT - 8, anchorOf(i)));
}

function text(content, x, y, anchor, kind = "") {
  return drawn("text", { x, y, "text-anchor": anchor, class: kind }, content);
}

function line(points) {
  return points.map(([x, y], i) => `${i === 0 ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
}

function scaleX(steps) {
  return (i) => EDGE.left + (i / steps) * (width() - EDGE.left - EDGE.right);
}

/** The first day of a month, some months later, in UTC as in the journal. */
function addMonths(date, months) {
  return new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + months, 1));
}

function key(date) {
  return date.toISOString().slice(0, 7);
}

function monthName(date) {
  const name = date.toLocaleString("en", { month: "short", timeZone: "UTC" });
  return `${name} ${String(date.getUTCFullYear()).slice(2)}`;
}

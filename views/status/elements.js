// Builds the elements of the page. Data from the server is inserted as text, never as markup, which the policy of the
// page (Trusted Types) also prevents.

/** Returns an element: `element("p", { class: "fine" }, "text", other)`. Functions become event listeners. */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function drawn(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      made.addEventListener(name, value);
    } else if (value === true) {
      made.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      made.setAttribute(name, value);
    }
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** Returns a table whose rows are shown as cards on a phone. Cells are strings or elements. */
export function table(caption, headings, rows) {
  const cells = (row) => row.map((cell, i) => element("td", { "data-label": headings[i] }, cell));
  return element(
    "table",
    {},
    element("caption", { class: "hidden" }, caption),
    element("thead", {}, element("tr", {}, headings.map((heading) => element("th", { scope: "col" }, heading)))),
    element("tbody", {}, rows.map((row) => element("tr", {}, cells(row)))),
  );
}

const WORDS = { ok: "OK", warning: "Warning", error: "Error", unchecked: "Not checked" };

/** Returns a mark for "ok", "warning" or "error", in words as well as in colour. */
export function mark(status) {
  return element("span", { class: `mark ${status}` }, WORDS[status] ?? status);
}

/** Returns a message with a status. */
export function notice(status, ...text) {
  return element("p", { class: `notice ${status}` }, ...text);
}

/** Returns a number of bytes in a readable unit: `3.2 GB`. */
export function bytes(number) {
  const units = ["bytes", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  while (Math.abs(number) >= 999.5 && unit < units.length - 1) {
    number /= 1000;
    unit += 1;
  }
  if (number === 1 && unit === 0) {
    return "1 byte";
  }
  const digits = unit === 0 || Math.abs(number) >= 100 ? 0 : 1;
  return `${number.toLocaleString("en", { maximumFractionDigits: digits })} ${units[unit]}`;
}

/** Returns a whole number with commas. */
export function count(number) {
  return Number(number).toLocaleString("en");
}

/** Returns `1 file`, `2 files`. */
export function counted(number, thing, things = `${thing}s`) {
  return `${count(number)} ${number === 1 ? thing : things}`;
}

/** Returns a timestamp (seconds since 1970) as local date and time. */
export function dateTime(seconds) {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) {
    return "?";
  }
  const two = (number) => String(number).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return element("time", { datetime: date.toISOString() }, `${day} ${two(date.getHours())}:${two(date.getMinutes())}`);
}

/** Returns a number of seconds in words. */
export function duration(seconds) {
  const whole = Math.round(Math.abs(seconds));
  if (whole < 120) {
    return counted(whole, "second");
  }
  return whole < 7200 ? `${Math.round(whole / 60)} minutes` : `${Math.round(whole / 3600)} hours`;
}

/** Returns a function to call before each request. Its result says whether that request is still the latest. */
export function latestOnly() {
  let latest = 0;
  return () => {
    latest += 1;
    const mine = latest;
    return () => mine === latest;
  };
}

let messageTimer = 0;

/** Shows a message at the bottom of the page, with a button if *label* is given. */
export function showMessage(text, label, act) {
  const place = document.getElementById("news");
  clearTimeout(messageTimer);
  const close = () => place.replaceChildren();
  const undo = label ? element("button", { type: "button", click: () => { close(); act(); } }, label) : null;
  const dismiss = element("button", { type: "button", class: "quiet", "aria-label": "Dismiss", click: close }, "✕");
  place.replaceChildren(element("div", {}, element("span", {}, text), undo, dismiss));
  undo?.focus();
  if (!label) {
    messageTimer = setTimeout(close, 12000);
  }
}

// The page: asks for the key, then shows one section at a time, by the hash of the address.

import { activity } from "./activity.js";
import { connection } from "./connection.js";
import { notice } from "./elements.js";
import { details, files } from "./files.js";
import { overview } from "./overview.js";
import { Clock, Server } from "./server.js";
import { storage } from "./storage.js";
import { trash } from "./trash.js";
import { isUploading, upload } from "./uploads.js";
import { visibility } from "./visibility.js";

const PARTS = { overview, storage, files, upload, trash, visibility, activity, connection };
const REFRESH_SECONDS = 10;
const IDLE_SECONDS = 30 * 60;

const byId = (id) => document.getElementById(id);
let server = null;
let shown = null;
const opened = {};
let idleTimer = 0;

function lock() {
  // Reloading removes the key from memory.
  window.location.replace(window.location.pathname);
}

function stayAwake() {
  clearTimeout(idleTimer);
  // Uploads go on, also after the computer slept.
  idleTimer = setTimeout(() => (isUploading() ? stayAwake() : lock()), IDLE_SECONDS * 1000);
}

/** Shows a section and refreshes it. */
async function show(name, takesFocus) {
  shown = name;
  for (const other of Object.keys(PARTS)) {
    byId(other).hidden = other !== name;
  }
  for (const link of document.querySelectorAll("#parts a")) {
    if (link.hash === `#${name}`) {
      link.setAttribute("aria-current", "page");
    } else {
      link.removeAttribute("aria-current");
    }
  }
  if (takesFocus) {
    byId(`${name}-heading`).focus();
  }
  await fill(name);
}

async function fill(name) {
  const place = byId(name).querySelector(".content");
  try {
    if (!(name in opened)) {
      opened[name] = PARTS[name]({ server, place, details });
    }
    await opened[name].refresh();
    place.querySelectorAll(":scope > .fault").forEach((old) => old.remove());
  } catch (fault) {
    place.querySelectorAll(":scope > .fault").forEach((old) => old.remove());
    const shownFault = notice("error", fault.message);
    shownFault.classList.add("fault");
    place.prepend(shownFault);
  }
}

async function open(event) {
  event.preventDefault();
  const field = byId("key");
  byId("open").disabled = true;
  byId("key-answer").replaceChildren();
  try {
    server = await unlocked(field.value, await Clock.read());
  } catch (fault) {
    explain(fault);
    field.select();
    return;
  } finally {
    byId("open").disabled = false;
  }
  field.value = "";
  byId("sign-in").hidden = true;
  byId("connection").hidden = true;
  byId("parts").hidden = byId("lock").hidden = false;
  byId("visibility-link").hidden = !server.overview.has_visibility;
  Object.keys(opened).forEach((name) => delete opened[name]);
  stayAwake();
  ["pointerdown", "keydown"].forEach((kind) => document.addEventListener(kind, stayAwake));
  await show(wanted(), true);
}

/** Returns the server with its first data. A pasted key often has blanks around it, which are part of very few keys. */
async function unlocked(typed, clock) {
  const candidates = [...new Set([typed.trim(), typed])].filter(Boolean);
  for (const [i, key] of candidates.entries()) {
    try {
      const candidate = new Server(key, clock);
      candidate.overview = await candidate.data("overview");
      return candidate;
    } catch (fault) {
      if (fault.status !== 403 || i + 1 === candidates.length) {
        throw fault;
      }
    }
  }
  throw new Error("Enter the key.");
}

function explain(fault) {
  const hint =
    fault.status === 403 && fault.message.includes("not the key")
      ? "Enter the value of KEY or ATTACHMENT_KEY of this server: the preference attachment.key in Specify 6, the setting"
        + " ASSET_SERVER_KEY in Specify 7. Case and quotation marks matter. A key that the server generated is in"
        + " the file .asset-server/key in the attachment folder."
      : "";
  byId("key-answer").replaceChildren(notice("error", `${fault.message} ${hint}`.trim()));
}

function wanted() {
  const name = window.location.hash.slice(1).split("?")[0];
  return Object.hasOwn(PARTS, name) ? name : "overview";
}

async function refresh() {
  if (server && shown && opened[shown]?.isLive && document.visibilityState === "visible") {
    await fill(shown);
  }
}

const isPrivate = window.location.protocol === "https:" || /^(localhost|127\.[0-9.]+|\[::1\])$/.test(window.location.hostname);
byId("insecure").hidden = isPrivate;
byId("key-form").addEventListener("submit", open);
byId("lock").addEventListener("click", lock);
byId("check-without-key").addEventListener("click", () => show("connection", true));
// A section changes the part of the hash after the question mark itself, and then also the focus.
window.addEventListener("hashchange", () => server && show(wanted(), wanted() !== shown || !window.location.hash.includes("?")));
setInterval(refresh, REFRESH_SECONDS * 1000);
byId("open").disabled = false;
byId("key").focus();

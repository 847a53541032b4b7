// The connection check: tests from this browser what Specify requires.

import { advertisedUrls, XML } from "./advertised.js";
import { duration, element, latestOnly, mark } from "./elements.js";
import { Clock } from "./server.js";

const SMALL_SKEW = 5;
const DEFAULT_TOLERANCE = 150;

/** Returns the section. Without a key (`server` is null), some checks are skipped. */
export function connection({ server, place }) {
  const list = element("ol", { class: "steps" });
  place.replaceChildren(
    element("p", {}, "Checks what Specify requires, from this browser. Run it on a curator’s computer, too."),
    list,
    element("p", {}, element("button", { type: "button", click: () => refresh() }, "Check again")));

  const begin = latestOnly();
  async function refresh() {
    const isLatest = begin();
    list.replaceChildren();
    for await (const step of steps(server)) {
      if (!isLatest()) {
        return;
      }
      list.append(shown(step));
    }
    list.append(element("li", { class: "fine", role: "status" }, "Check complete. Not checked: whether Specify is configured to use this"
      + " address and key, and whether large uploads get through."));
  }
  return { refresh };
}

function shown({ status, title, text, remedy }) {
  return element("li", { class: `step ${status}` },
    element("div", {}, mark(status), " ", element("strong", {}, title)),
    element("p", {}, text),
    remedy ? element("p", { class: "remedy" }, remedy) : null);
}

const step = (status, title, text, remedy = "") => ({ status, title, text, remedy });
const unchecked = (title, reason) => step("unchecked", title, reason);

async function* steps(server) {
  const base = new URL(".", window.location.href).href;
  yield scheme();
  let clock;
  let urls;
  try {
    clock = await Clock.read();
    urls = await advertisedUrls();
  } catch (fault) {
    yield step("error", "Addresses", `The addresses of the server cannot be read: ${fault.message}`,
      `A proxy between this browser and the server blocks or changes ${base}${XML}.`);
    yield await key(server);
    yield await uploads();
    yield unchecked("Clock, advertised address", "The addresses cannot be read.");
    return;
  }
  const advertised = (urls.read ?? "").replace(/fileget$/, "");
  yield address(base, advertised);
  yield time(clock, server?.overview.time_tolerance);
  yield await key(server);
  yield await uploads();
  if (advertised !== base) {
    yield await reach(server, advertised);
  }
}

function scheme() {
  if (window.location.protocol === "https:") {
    return step("ok", "Encryption", "This page was loaded over HTTPS.");
  }
  return step("warning", "Encryption", "This page was loaded over HTTP: others in the network can read files and tokens.",
    "That may be acceptable on an internal network. On the internet, use HTTPS, for example with nginx in front. If"
    + " Specify 7 uses HTTPS, this server must use it, too, because browsers block mixed content.");
}

function address(base, advertised) {
  const title = "Address";
  if (advertised === base) {
    return step("ok", title, `The server advertises the address that this browser uses, ${base}.`);
  }
  const found = `The server advertises ${advertised}, but this browser uses ${base}.`;
  const remedy = "Set SERVER_NAME and SERVER_PORT, or PUBLIC_URL, to an address that clients can reach, and restart the"
    + " server and Specify. If clients can reach both addresses, ignore this warning.";
  if (window.location.protocol === "https:" && advertised.startsWith("http:")) {
    return step("error", title, `${found} Browsers block HTTP addresses on HTTPS pages, so Specify 7 shows no attachments.`, remedy);
  }
  return step("warning", title, found, remedy);
}

function time(clock, tolerance) {
  const title = "Clock";
  if (Number.isNaN(clock.timestamp)) {
    return step("error", title, "The response has no X-Timestamp header: Specify 7 does not start, and Specify 6 fails.",
      "A proxy removes the header. Configure it to pass X-Timestamp.");
  }
  const ahead = clock.ahead();
  const size = Math.abs(ahead);
  // A slow connection makes the difference uncertain.
  if (size < SMALL_SKEW + clock.roundTrip) {
    return step("ok", title, "This computer’s clock and the server’s agree.");
  }
  const found = `This computer’s clock is ${duration(ahead)} ${ahead > 0 ? "ahead of" : "behind"} the server’s.`;
  const remedy = "Synchronize both clocks by NTP.";
  const limit = tolerance === undefined ? DEFAULT_TOLERANCE : tolerance;
  if (limit !== null && size >= limit) {
    return step("error", title, `${found} Tokens made with this clock are rejected: the difference must be less than ${limit} seconds`
      + " (TIME_TOLERANCE). Specify reads the server’s time when it starts, and fails if a clock is changed later.", remedy);
  }
  return step("warning", title, `${found} This is within the tolerance.`, remedy);
}

async function key(server) {
  const title = "Key";
  if (!server) {
    return unchecked(title, "No key was entered.");
  }
  try {
    const response = await server.testKey();
    return response.ok
      ? step("ok", title, "The server accepts a token made with the key.")
      : step("error", title, `The server rejects a token made with the key: ${await response.text()}`);
  } catch (fault) {
    return step("error", title, fault.message);
  }
}

async function uploads() {
  const title = "Uploads from web pages";
  let response;
  try {
    response = await fetch("fileupload", { method: "OPTIONS", redirect: "manual" });
  } catch {
    return step("error", title, "The preflight request that browsers send before an upload gets no response.");
  }
  if (response.type === "opaqueredirect") {
    return step("error", title, "Uploads are redirected to another address, and clients do not follow the redirect.",
      "Configure the proxy to forward /fileupload to this server, without a redirect.");
  }
  const allowed = response.headers.get("Access-Control-Allow-Origin");
  if (!response.ok) {
    return step("error", title, `The preflight request that browsers send before an upload (OPTIONS) gets status ${response.status}.`,
      "Configure the proxy to forward OPTIONS requests.");
  }
  if (allowed !== "*") {
    const why = allowed === null ? "is missing" : `is “${allowed}” instead of “*”`;
    return step("error", title, `The header Access-Control-Allow-Origin ${why}, so browsers block all responses for Specify 7.`,
      "The server sends the header once. The proxy must neither remove it nor add another.");
  }
  return step("ok", title, "Pages of Specify 7 on another address can upload and read files (CORS).");
}

/** Tests the advertised address, as a page of Specify 7 would use it. */
async function reach(server, advertised) {
  const title = "Advertised address";
  const remedy = "Set SERVER_NAME and SERVER_PORT, or PUBLIC_URL, to an address at which all computers reach this server.";
  let response;
  try {
    response = server ? await server.testKey(advertised) : await fetch(`${advertised}${XML}`, { cache: "no-store" });
  } catch {
    return step("error", title, `This browser cannot reach ${advertised}, or may not read its responses. Specify has the`
      + " same problem.", remedy);
  }
  if (!response.ok) {
    const cause = server ? "it is not this server, or it has another key" : "it is not this server";
    return step("error", title, `${advertised} responds with status ${response.status}: ${cause}.`, remedy);
  }
  return server
    ? step("ok", title, `A server with this key responds at ${advertised}.`)
    : step("ok", title, `An asset server responds at ${advertised}. Whether it has the same key was not checked.`);
}

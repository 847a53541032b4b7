// The connection check: what Specify would find, from this very browser.

import { duration, element, mark, turns } from "./elements.js";
import { Clock } from "./server.js";

const XML = "web_asset_store.xml";
const SMALL_SKEW = 5;
const DEFAULT_TOLERANCE = 150;

/** Returns the part. Without a key (`server` is null) it does what can be done. */
export function connection({ server, place }) {
  const list = element("ol", { class: "steps" });
  place.replaceChildren(
    element("p", {}, "What Specify needs, tried from this browser. Try it on a curator’s computer, too."),
    list,
    element("p", {}, element("button", { type: "button", click: () => refresh() }, "Check again")));

  const begin = turns();
  async function refresh() {
    const isLatest = begin();
    list.replaceChildren();
    for await (const step of steps(server)) {
      if (!isLatest()) {
        return;
      }
      list.append(shown(step));
    }
    list.append(element("li", { class: "fine", role: "status" }, "That was all."));
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
      `Something between this browser and the server does not pass on ${base}${XML} as it is.`);
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
    return step("ok", "Encryption", "This page came over https.");
  }
  return step("warning", "Encryption", "This page came over http: files and tokens can be read on the way.",
    "Inside one building that may do. On the open internet, put nginx with https in front. If Specify 7 is on https, this"
    + " server must be, too: browsers refuse the mixture.");
}

/** Reads the XML as a document; there is no other way that the policy of the page lets through. */
function advertisedUrls() {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", XML);
    request.responseType = "document";
    request.addEventListener("error", () => reject(new Error("no answer.")));
    request.addEventListener("load", () => {
      const found = request.responseXML?.querySelectorAll("urls > url") ?? [];
      if (request.status !== 200 || !found.length) {
        reject(new Error(`status ${request.status}, and not the expected XML.`));
      } else {
        resolve(Object.fromEntries(Array.from(found, (url) => [url.getAttribute("type"), url.textContent])));
      }
    });
    request.send();
  });
}

function address(base, advertised) {
  const title = "Address";
  if (advertised === base) {
    return step("ok", title, `Specify is told the address that this browser uses, ${base}.`);
  }
  const told = `Specify is told ${advertised}, but this browser uses ${base}.`;
  const remedy = "Set SERVER_NAME and SERVER_PORT, or PUBLIC_URL, to what clients can reach, and restart the server and"
    + " Specify. If both addresses lead here on purpose, all is well.";
  if (window.location.protocol === "https:" && advertised.startsWith("http:")) {
    return step("error", title, `${told} A page on https may not use addresses on http: Specify 7 shows no attachments.`, remedy);
  }
  return step("warning", title, told, remedy);
}

function time(clock, tolerance) {
  const title = "Clock";
  if (Number.isNaN(clock.timestamp)) {
    return step("error", title, "The answer has no X-Timestamp: Specify 7 does not start, Specify 6 fails.",
      "A proxy takes the header away; let it pass X-Timestamp on.");
  }
  const ahead = clock.ahead();
  const size = Math.abs(ahead);
  // A slow connection makes the difference uncertain.
  if (size < SMALL_SKEW + clock.roundTrip) {
    return step("ok", title, "This computer’s clock and the server’s agree.");
  }
  const told = `This computer’s clock is ${duration(ahead)} ${ahead > 0 ? "ahead of" : "behind"} the server’s.`;
  const remedy = "Find out which of them is wrong, and let both take their time from the network (NTP).";
  const limit = tolerance === undefined ? DEFAULT_TOLERANCE : tolerance;
  if (limit !== null && size >= limit) {
    return step("error", title, `${told} Tokens made by this clock are refused: only fewer than ${limit} seconds are allowed`
      + " (TIME_TOLERANCE). Specify asks for the server’s time when it starts, and fails when a clock is set later.", remedy);
  }
  return step("warning", title, `${told} That is still allowed.`, remedy);
}

async function key(server) {
  const title = "Key";
  if (!server) {
    return step("warning", title, "Not tried, because no key was typed.");
  }
  try {
    const answer = await server.testKey();
    return answer.ok
      ? step("ok", title, "The server accepts a token made with the key.")
      : step("error", title, `The server refuses a token made with the key: ${await answer.text()}`);
  } catch (fault) {
    return step("error", title, fault.message);
  }
}

async function uploads() {
  const title = "Uploads from web pages";
  let answer;
  try {
    answer = await fetch("fileupload", { method: "OPTIONS", redirect: "manual" });
  } catch {
    return step("error", title, "The question that browsers ask before an upload gets no answer.");
  }
  if (answer.type === "opaqueredirect") {
    return step("error", title, "Uploads are sent on to another address, where clients do not follow.",
      "Let the proxy answer /fileupload itself, without a redirect.");
  }
  const allowed = answer.headers.get("Access-Control-Allow-Origin");
  if (!answer.ok) {
    return step("error", title, `The question that browsers ask before an upload (OPTIONS) gets ${answer.status}.`,
      "Let the proxy pass on requests of the method OPTIONS.");
  }
  if (allowed !== "*") {
    const why = allowed === null ? "is missing" : `is “${allowed}” instead of “*”`;
    return step("error", title, `The header Access-Control-Allow-Origin ${why}: browsers hide every answer from Specify 7.`,
      "The server sends it once; the proxy must neither take it away nor add another.");
  }
  return step("ok", title, "Pages of Specify 7 on another address may upload and read (CORS).");
}

/** Tries the address that Specify is told, as a page of Specify 7 would. */
async function reach(server, advertised) {
  const title = "The address that Specify is told";
  const remedy = "Set SERVER_NAME and SERVER_PORT, or PUBLIC_URL, to an address that leads here from every computer.";
  let answer;
  try {
    answer = server ? await server.testKey(advertised) : await fetch(`${advertised}${XML}`, { cache: "no-store" });
  } catch {
    return step("error", title, `This browser does not reach ${advertised}, or may not read its answers. Specify would find`
      + " nothing there, either.", remedy);
  }
  if (!answer.ok) {
    return step("error", title, `${advertised} answers, but with ${answer.status}: it is not this server, or has another key.`, remedy);
  }
  return step("ok", title, `${advertised} leads to a server with this key.`);
}

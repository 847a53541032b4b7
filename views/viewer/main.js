// The viewer: puts its parts together.

import { adjustments } from "./adjustments.js";
import { count, element } from "./elements.js";
import { information } from "./information.js";
import { keys } from "./keys.js";
import { strip } from "./pages.js";
import { picture } from "./picture.js";
import * as server from "./server.js";

// OpenSeadragon empties elements by `innerHTML = ""`; no other markup may be inserted.
globalThis.trustedTypes?.createPolicy("default", { createHTML: (text) => (text === "" ? "" : null) });

const $ = (id) => document.getElementById(id);

/** After how many milliseconds to say that a picture is being prepared, and how often to request its progress. */
const PROGRESS_MS = 700;

const panel = information();
const view = picture($("picture"), {
  changed: (percent) => { $("scale").textContent = `${percent < 10 ? percent.toFixed(1) : Math.round(percent)} %`; },
  shown: () => {
    opening.isShown = true;
    message();
    if (canvases.length > 1) {
      pages.load();
    }
  },
  failed,
  refused: (fault) => opening.again?.(fault),
});
const adjust = adjustments($("adjustments"), $("adjust"), view.adjust);

let canvases = [];
let current = 0;
let pages = null;
let opening = {};

const actions = {
  ...view,
  adjust: adjust.toggle,
  inform: () => panel.toggle(),
  download: () => $("download").click(),
  fullScreen: () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()),
  previous: () => go(current - 1),
  next: () => go(current + 1),
  left: () => view.move(-0.1, 0),
  right: () => view.move(0.1, 0),
  up: () => view.move(0, -0.1),
  down: () => view.move(0, 0.1),
  close() {
    if (!$("adjustments").hidden) {
      adjust.toggle();
    } else if (!$("information").hidden) {
      panel.toggle();
    }
  },
};

/** Shows a message over the picture, or none. */
function message(...content) {
  $("message").replaceChildren(...content);
  $("message").hidden = content.length === 0;
}

function busy(text, share) {
  message(element("p", {}, text), element("progress", share === undefined ? {} : { max: 1, value: share }));
}

function waiting(fault) {
  busy(`${fault.message} It is tried again.`);
}

function failed(fault, isShown) {
  const text = fault?.message ?? "The picture cannot be shown.";
  opening.isShown = true; // so that no progress is shown instead
  if (isShown) {
    message(element("p", {}, `A part of the picture is missing. ${text}`), retry());
    return;
  }
  const download = element("a", { class: "button", href: $("download").href, download: $("download").download }, "Download the file");
  const isTemporary = !fault || fault.status === 0 || fault.status >= 500;
  message(element("h2", {}, "The picture cannot be shown"), element("p", {}, text),
    element("p", { class: "row" }, isTemporary ? retry() : null, fault?.status === 404 ? null : download));
}

function retry() {
  return element("button", { type: "button", click: () => (canvases.length ? show(current) : begin()) }, "Try again");
}

/** Opens a page if there is such a page. */
function go(number) {
  if (number >= 1 && number <= canvases.length && number !== current) {
    show(number);
  }
}

async function show(number) {
  current = number;
  const mine = { isShown: false };
  opening = mine;
  const canvas = canvases[number - 1];
  const { width, height } = canvas;
  const facts = (canvas.metadata ?? commonFacts).map(({ label, value }) => [label.en[0], value.none[0]]);
  const isSeveral = canvases.length > 1;
  const summary = (canvas.summary ?? commonSummary)?.en[0];
  const what = canvas.rendering ? "picture" : "page";
  $("facts").textContent = [
    ...(isSeveral ? [`${what} ${number} of ${canvases.length}`] : []), // first, because phones cut the line off
    ...facts.slice(1, 3).map(([, text]) => text.replace(/ \(.*/, "")),
    `${count(width)} × ${count(height)} pixels`,
    ...(summary ? [summary] : []),
  ].join(" · ");
  if (canvas.rendering) {
    changeFile(facts[0][1], canvas);
  }
  panel.show([...facts.slice(0, 3), ["Pixels", `${count(width)} × ${count(height)}`], ...facts.slice(3), ...(summary ? [["Pages", summary]] : [])]);
  pages.mark(number);
  history.replaceState(null, "", isSeveral ? `#page=${number}` : location.href);
  message();
  const service = server.local(canvas.items[0].items[0].body.service[0].id);
  watch(service, mine);
  try {
    const info = await server.information(service, waiting);
    if (opening === mine) {
      mine.again = onlyOnce((fault) => reopen(info, service, mine, fault));
      view.open(info, service);
    }
  } catch (fault) {
    if (opening === mine) {
      failed(fault, false);
    }
  }
}

/** Has the links lead to the file of a canvas, which has its own in a manifest of several files. */
function changeFile(name, { rendering, seeAlso }) {
  $("name").textContent = name;
  $("download").href = `${server.local(rendering[0].id)}&${new URLSearchParams({ downloadname: name })}`;
  $("download").download = name;
  panel.changeFile(server.local(seeAlso[0].id));
}

/** Opens a picture again, when it is prepared, of which the server has refused parts because too many requests wait. */
async function reopen(info, service, mine, fault) {
  if (fault) {
    waiting(fault);
    await pause((fault.seconds || 1) * 1000);
  }
  for (let found = await server.progress(service); isBeingPrepared(found) && opening === mine; found = await server.progress(service)) {
    showProgress(found);
    await pause(PROGRESS_MS);
  }
  if (opening === mine) {
    view.openAgain(info, service);
  }
}

/** Returns a function that does nothing while its last call is not complete. */
function onlyOnce(work) {
  let isRunning = false;
  return async (...given) => {
    if (!isRunning) {
      isRunning = true;
      await work(...given);
      isRunning = false;
    }
  };
}

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

const isBeingPrepared = (found) => found?.state === "being made" || found?.state === "waiting";

function showProgress(found) {
  if (found?.state === "being made") {
    busy(`Preparing the picture for zooming: ${Math.floor(found.progress * 100)} %`, found.progress);
  } else {
    busy(found?.state === "waiting" ? "Waiting for other pictures to be prepared …" : "Loading the picture …");
  }
}

/** Shows how far the picture is prepared, until it is visible. */
async function watch(service, mine) {
  const isOpening = () => opening === mine && !mine.isShown;
  await pause(PROGRESS_MS);
  while (isOpening()) {
    const found = await server.progress(service);
    if (!isOpening()) {
      return;
    }
    showProgress(found);
    await pause(PROGRESS_MS);
  }
}

let commonFacts = [];
let commonSummary;

async function begin() {
  const mine = { isShown: false };
  opening = mine;
  const timer = setTimeout(() => busy("Loading the picture …"), PROGRESS_MS);
  try {
    const manifest = await server.manifest(waiting);
    clearTimeout(timer);
    commonFacts = manifest.metadata;
    commonSummary = manifest.summary;
    canvases = manifest.items;
    pages = strip($("pages"), canvases, go);
    $("tools").hidden = false;
    const asked = Number(/^#page=(\d+)$/.exec(location.hash)?.[1] ?? document.body.dataset.page);
    show(asked >= 1 && asked <= canvases.length ? asked : 1);
  } catch (fault) {
    clearTimeout(timer);
    failed(fault, false);
  }
}

for (const button of document.querySelectorAll("[data-act]")) {
  button.addEventListener("click", () => actions[button.dataset.act]());
}
$("full-screen").hidden = !document.fullscreenEnabled;
document.addEventListener("fullscreenchange", () => $("full-screen").setAttribute("aria-pressed", String(Boolean(document.fullscreenElement))));
keys(actions, $("keys"));
begin();

// Activity: what happened to originals, and what was refused.

import { bytes, element, mark, moment, notice, table, turns } from "./elements.js";

const FEW = 20;

/** Returns the part. */
export function activity({ server, place }) {
  const choice = element("select", { id: "operation", change: () => refresh() }, element("option", { value: "" }, "everything"));
  const events = element("div");
  const refusals = element("div");
  place.replaceChildren(
    element("article", { class: "card" },
      element("h3", {}, "Changes"),
      element("p", { class: "row" }, element("label", { for: "operation" }, "Show"), choice,
        element("button", { type: "button", class: "quiet", click: () => refresh() }, "Refresh")),
      events),
    element("article", { class: "card" }, element("h3", {}, "Refusals and faults"), refusals));

  const begin = turns();
  async function refresh() {
    const isLatest = begin();
    const told = await server.data("activity", choice.value ? { operation: choice.value } : {});
    if (!isLatest()) {
      return;
    }
    if (choice.options.length === 1) {
      choice.append(...told.operations.map((name) => element("option", { value: name }, name)));
    }
    showSome(events, told.events, (some) => (some.length ? eventsTable(some) : element("p", {}, "Nothing yet.")));
    showSome(refusals, told.refusals, refusalsShown);
  }
  return { refresh };
}

/** Shows the latest of a list, and all of them on request. */
function showSome(into, all, shown) {
  into.replaceChildren(shown(all.slice(0, FEW)));
  if (all.length > FEW) {
    const more = element("button", { type: "button", class: "link", click: () => into.replaceChildren(shown(all)) }, `Show all ${all.length}`);
    into.append(element("p", {}, more));
  }
}

function eventsTable(events) {
  const rows = events.map((event) => [
    moment(event.time),
    event.operation,
    event.name,
    event.collection || event.place || "–",
    event.size === null ? "–" : bytes(event.size),
    event.client,
  ]);
  return table("The latest changes", ["When", "What", "Name", "Collection", "Size", "Who"], rows);
}

function refusalsShown(refusals) {
  const scope = element("p", { class: "fine" }, "Since the server process that answers here was started, 50 of each"
    + " kind. The log has all of them.");
  if (!refusals.length) {
    return element("div", {}, notice("ok", "Nothing was refused."), scope);
  }
  const rows = refusals.map((refusal) => [
    moment(refusal.time),
    element("span", {}, mark(refusal.status >= 500 ? "error" : "warning"), ` ${refusal.status}`),
    refusal.sentence || "–",
    `${refusal.method} ${refusal.path}`,
    refusal.name || "–",
    refusal.client,
    element("code", {}, refusal.request_id),
  ]);
  const headings = ["When", "Status", "Reason", "Request", "Name", "Who", "In the log"];
  return element("div", {}, table("Refusals and faults", headings, rows), scope);
}

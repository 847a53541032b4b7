// Activity: changes to originals, and error responses.

import { bytes, dateTime, element, latestOnly, mark, notice, table } from "./elements.js";

const FEW = 20;

/** Returns the section. */
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
    element("article", { class: "card" }, element("h3", {}, "Errors"), refusals));

  const begin = latestOnly();
  async function refresh() {
    const isLatest = begin();
    const report = await server.data("activity", choice.value ? { operation: choice.value } : {});
    if (!isLatest()) {
      return;
    }
    if (choice.options.length === 1) {
      choice.append(...report.operations.map((name) => element("option", { value: name }, name)));
    }
    showSome(events, report.events, (some) => (some.length ? eventsTable(some) : element("p", {}, "No changes yet.")));
    showSome(refusals, report.refusals, refusalsShown);
  }
  return { refresh };
}

/** Shows the first entries of a list, and all of them on request. */
function showSome(into, all, shown) {
  into.replaceChildren(shown(all.slice(0, FEW)));
  if (all.length > FEW) {
    const more = element("button", { type: "button", class: "link", click: () => into.replaceChildren(shown(all)) }, `Show all ${all.length}`);
    into.append(element("p", {}, more));
  }
}

function eventsTable(events) {
  const rows = events.map((event) => [
    dateTime(event.time),
    event.operation,
    event.name,
    event.collection || event.place || "–",
    event.size === null ? "–" : bytes(event.size),
    event.client,
  ]);
  return table("The latest changes", ["Time", "Operation", "Name", "Collection", "Size", "Client"], rows);
}

function refusalsShown(refusals) {
  const scope = element("p", { class: "fine" }, "The last 50 errors of each status since the start of the server process"
    + " that sent this list. The log has all of them.");
  if (!refusals.length) {
    return element("div", {}, notice("ok", "No errors."), scope);
  }
  const rows = refusals.map((refusal) => [
    dateTime(refusal.time),
    element("span", {}, mark(refusal.status >= 500 ? "error" : "warning"), ` ${refusal.status}`),
    refusal.sentence || "–",
    `${refusal.method} ${refusal.path}`,
    refusal.name || "–",
    refusal.client,
    element("code", {}, refusal.request_id),
  ]);
  const headings = ["Time", "Status", "Reason", "Request", "Name", "Client", "Request ID"];
  return element("div", {}, table("Errors", headings, rows), scope);
}

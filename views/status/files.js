// Files: search by store name, thumbnails, metadata, download, delete and undo.

import { bytes, count, dateTime, element, latestOnly, notice, showMessage } from "./elements.js";

/** Returns the section. */
export function files({ server, place }) {
  const field = element("input", { type: "search", id: "search", autocapitalize: "none", spellcheck: "false" });
  const folder = collectionChoice(server, "search-collection");
  const result = element("p", { class: "fine", role: "status" });
  const gallery = element("ul", { class: "gallery" });
  place.replaceChildren(
    element("form", { class: "search", role: "search", submit: (event) => { event.preventDefault(); find(); } },
      element("div", {}, element("label", { for: "search" }, "Part of the store name"), field),
      folder.label,
      element("button", {}, "Search")),
    result,
    gallery);

  const begin = latestOnly();
  async function refresh() {
    const isLatest = begin();
    const part = field.value.trim();
    result.textContent = "Searching …";
    const report = await server.data("originals", { ...(part ? { search: part } : {}), ...folder.chosen() });
    if (!isLatest()) {
      return;
    }
    result.textContent = summary(part, report);
    gallery.replaceChildren(...report.originals.map((original) => tile(server, original, find)));
  }

  function find() {
    refresh().catch((fault) => { result.replaceChildren(notice("error", fault.message)); });
  }
  return { refresh };
}

/** Returns a selection of collections with its label; none if all collections share one folder. */
export function collectionChoice(server, id, allowsAll = true) {
  const { collections } = server.overview;
  if (collections.length < 2) {
    return { label: null, chosen: () => (allowsAll ? {} : { place: collections[0].place }) };
  }
  const select = element("select", { id },
    allowsAll ? element("option", { value: "" }, "all") : null,
    collections.map(({ place, name }, i) => element("option", { value: i + 1 }, name || place)));
  const label = element("div", {}, element("label", { for: id }, "Collection"), select);
  return { label, chosen: () => (select.value ? { place: collections[select.value - 1].place } : {}) };
}

function summary(part, { originals, is_all: isAll }) {
  const number = originals.length;
  if (!part) {
    return number ? "The latest uploads." : "There are no recent uploads. To find files that were copied in by hand, use the search.";
  }
  if (!number) {
    return isAll ? "No file found." : "No file found within the time limit. Enter a longer part of the name.";
  }
  return isAll ? `${count(number)} found.` : `The first ${count(number)} files. To see others, enter a longer part of the name.`;
}

function tile(server, original, changed) {
  const { name, size, time } = original;
  return element("li", {},
    element("button", { type: "button", class: "tile", click: () => details(server, original, changed) },
      picture(server, original, 200),
      element("span", { class: "name" }, name),
      element("span", { class: "fine" }, bytes(size), " · ", dateTime(time))));
}

/** A thumbnail, or the extension if there is none. */
function picture(server, { place, name, has_thumbnail: hasThumbnail }, scale) {
  const extension = name.includes(".") ? name.slice(name.lastIndexOf(".") + 1).slice(0, 8) : "file";
  const instead = () => element("span", { class: "picture none", "aria-hidden": "true" }, extension);
  if (!hasThumbnail) {
    return instead();
  }
  // The alternative text is empty, because the name is next to the image.
  const image = element("img", { class: "picture", alt: "", loading: "lazy", error: () => image.replaceWith(instead()) });
  image.src = server.thumbnail(place, name, scale);
  return image;
}

/** Shows an original in a dialog; `changed` is called after it was deleted or restored. */
export function details(server, original, changed = () => {}) {
  const dialog = document.getElementById("details");
  const { place, name, size, time, type } = original;
  const metadata = element("div", { class: "metadata" }, element("p", { class: "fine" }, "Reading the metadata …"));
  const close = () => dialog.close();
  const remove = async () => {
    if (!server.overview.trash_days && !window.confirm(`Delete ${name} permanently? There is no trash (TRASH_DAYS is 0).`)) {
      return;
    }
    close();
    await removed(server, original, changed);
  };
  dialog.replaceChildren(
    element("div", { class: "row spread" },
      element("h2", { id: "details-heading" }, name),
      element("button", { type: "button", class: "quiet", "aria-label": "Close", click: close }, "✕")),
    picture(server, original, 400),
    element("dl", { class: "pairs" },
      element("dt", {}, "Size"), element("dd", {}, `${bytes(size)} (${count(size)} bytes)`),
      element("dt", {}, "Changed"), element("dd", {}, dateTime(time)),
      element("dt", {}, "Type"), element("dd", {}, type),
      place ? [element("dt", {}, "Folder"), element("dd", {}, place)] : null),
    element("p", { class: "row" },
      element("button", { type: "button", click: () => download(server, original) }, "Download"),
      element("button", { type: "button", class: "danger", click: remove }, "Delete")),
    element("h3", {}, "Metadata"),
    metadata);
  dialog.showModal();
  showMetadata(server, original, metadata);
}

async function showMetadata(server, { place, name }, into) {
  try {
    const groups = await server.metadata(place, name);
    into.replaceChildren(...(groups.length ? groups.map(group) : [element("p", { class: "fine" }, "The file has no metadata.")]));
  } catch (fault) {
    into.replaceChildren(notice("error", fault.message));
  }
}

function group({ Name: name, Fields: fields }) {
  const rows = Object.entries(fields).map(([tag, text]) => [element("dt", {}, tag), element("dd", {}, text)]);
  return element("details", { open: name === "Image" || name === "EXIF" },
    element("summary", {}, `${name} (${count(Object.keys(fields).length)})`),
    element("dl", { class: "pairs" }, rows));
}

function download(server, { place, name }) {
  // The address is created now, because its token is valid only for a short time.
  element("a", { href: server.original(place, name), download: name }).click();
}

async function removed(server, original, changed) {
  const { place, name } = original;
  try {
    await server.remove(place, name);
  } catch (fault) {
    showMessage(`${name} was not deleted. ${fault.message}`);
    return;
  }
  changed();
  if (server.overview.trash_days) {
    showMessage(`${name} is in the trash.`, "Undo", () => undoDelete(server, original, changed));
  } else {
    showMessage(`${name} was deleted.`);
  }
}

async function undoDelete(server, { place, name }, changed) {
  try {
    const report = await server.data("trash", { place, name });
    const entry = report.entries.find(({ reason }) => reason === "deleted");
    if (!entry) {
      throw new Error("It is no longer in the trash.");
    }
    await server.restore(entry, false);
    showMessage(`${name} was restored.`);
  } catch (fault) {
    showMessage(`${name} was not restored. ${fault.message}`);
  }
  changed();
}

// The panel with what is known about the file, and its metadata.

import { count, element, pairs } from "./elements.js";
import { metadata } from "./server.js";

const $ = (id) => document.getElementById(id);

/** Lets people open the panel; returns its functions. */
export function information() {
  let address = document.body.dataset.metadata;
  let isRead = false;

  function toggle(isOpen = $("information").hidden) {
    $("information").hidden = !isOpen;
    $("show-information").setAttribute("aria-expanded", String(isOpen));
    if (isOpen) {
      $("hide-information").focus();
      read();
    } else {
      $("show-information").focus();
    }
  }

  async function read() {
    if (isRead) {
      return;
    }
    isRead = true;
    $("metadata").replaceChildren(element("p", { class: "fine" }, "Reading the metadata …"));
    const asked = address;
    let content;
    try {
      const groups = await metadata(asked);
      const none = element("p", { class: "fine" }, "The file has no metadata.");
      content = groups.length ? groups.map(group) : [none];
    } catch (fault) {
      content = [element("p", { class: "fine" }, fault.message)];
      isRead = isRead && asked !== address;
    }
    if (asked === address) {
      $("metadata").replaceChildren(...content);
    }
  }

  $("show-information").addEventListener("click", () => toggle());
  $("hide-information").addEventListener("click", () => toggle(false));
  return {
    toggle,
    /** Shows the facts of the file in the panel. */
    show: (rows) => $("file").replaceChildren(...pairs(rows)),
    /** Has the metadata of another file shown. */
    changeFile(other) {
      if (other !== address) {
        address = other;
        isRead = false;
        if (!$("information").hidden) {
          read();
        }
      }
    },
  };
}

function group({ Name: name, Fields: fields }) {
  return element("details", { open: name === "Image" || name === "EXIF" },
    element("summary", {}, `${name} (${count(Object.keys(fields).length)})`),
    element("dl", {}, pairs(Object.entries(fields))));
}

// Copying text, for example the values for Specify.

import { element } from "./elements.js";

/** Copies a text to the clipboard. */
async function copy(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // Browsers have no clipboard for pages that were loaded over HTTP.
  const field = element("textarea", { class: "hidden", "aria-hidden": "true", readonly: true });
  field.value = text;
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  if (!isCopied) {
    throw new Error("The browser does not allow copying.");
  }
}

/** Returns a button that copies a text; `text` is a function, so that the document does not contain the text. */
export function copyButton(what, text) {
  let timer = 0;
  const show = (said) => {
    button.textContent = said;
    news.textContent = said === "Copy" ? "" : `${what}: ${said.toLowerCase()}`;
  };
  const act = async () => {
    clearTimeout(timer);
    try {
      await copy(text());
      show("Copied");
    } catch {
      show("Not copied: select the text");
    }
    button.focus();
    timer = setTimeout(() => show("Copy"), 4000);
  };
  const button = element("button", { type: "button", class: "quiet copy", "aria-label": `Copy ${what}`, click: act }, "Copy");
  const news = element("span", { class: "hidden", role: "status" });
  return element("span", {}, button, news);
}

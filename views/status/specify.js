// The values to enter in Specify, with buttons that copy them.

import { advertisedUrls, XML } from "./advertised.js";
import { copyButton } from "./copy.js";
import { element, notice } from "./elements.js";

/** Returns the card. */
export function specifyValues(server) {
  const content = element("div", {}, element("p", { class: "fine" }, "Reading the address …"));
  show(server, content);
  return element("article", { class: "card" }, element("h3", {}, "Enter these values in Specify"), content);
}

async function show(server, content) {
  try {
    const url = (await advertisedUrls()).read.replace(/fileget$/, XML);
    const key = () => server.reveal();
    content.replaceChildren(element("dl", { class: "values" },
      value("Specify 6: attachment.url", "Specify 7: ASSET_SERVER_URL", url, copyButton("the address", () => url)),
      value("Specify 6: attachment.key", "Specify 7: ASSET_SERVER_KEY", "the key of this page", copyButton("the key", key))));
  } catch (fault) {
    content.replaceChildren(notice("warning", `The address cannot be read: ${fault.message}`));
  }
}

function value(name6, name7, shown, button) {
  return [
    element("dt", {}, name6, element("br"), name7),
    element("dd", {}, element("code", {}, shown), button),
  ];
}

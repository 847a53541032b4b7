// The addresses that the server advertises to Specify.

/** The address of the XML with them. */
export const XML = "web_asset_store.xml";

/** Reads the XML as a document, because the policy of the page (Trusted Types) allows no other parser. */
export function advertisedUrls() {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", XML);
    request.responseType = "document";
    request.addEventListener("error", () => reject(new Error("no response.")));
    request.addEventListener("load", () => {
      const found = request.responseXML?.querySelectorAll("urls > url") ?? [];
      if (request.status !== 200 || !found.length) {
        reject(new Error(`status ${request.status}, without the expected XML.`));
      } else {
        resolve(Object.fromEntries(Array.from(found, (url) => [url.getAttribute("type"), url.textContent])));
      }
    });
    request.send();
  });
}

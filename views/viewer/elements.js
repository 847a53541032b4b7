// Builds the elements of the page. Data from the server is inserted as text, never as markup.

/** Returns an element: `element("p", { class: "fine" }, "text", other)`. Functions become event listeners. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      made.addEventListener(name, value);
    } else if (value !== false && value !== null && value !== undefined) {
      made.setAttribute(name, value === true ? "" : value);
    }
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

/** Returns the terms and descriptions of a list. */
export function pairs(rows) {
  return rows.flatMap(([term, text]) => [element("dt", {}, term), element("dd", {}, text)]);
}

/** Returns a whole number with commas. */
export function count(number) {
  return Number(number).toLocaleString("en");
}

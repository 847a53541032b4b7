// The strip with the pages of a picture, or with several pictures.

import { element } from "./elements.js";
import { local } from "./server.js";

/** How many small pictures to load at a time: the page that is shown goes first. */
const AT_ONCE = 2;

/** Shows the strip in *place* if there are several pages; `chosen` is called with the number of a page, from 1. */
export function strip(place, canvases, chosen) {
  const buttons = canvases.map((canvas, i) => {
    const label = canvas.label.none[0];
    const title = canvas.rendering ? label : `Page ${label}`; // in a manifest of several files, it is a name
    const [{ width, height }] = canvas.thumbnail;
    return element("button", { type: "button", "aria-label": title, title, click: () => chosen(i + 1) },
      element("img", { width, height, alt: "" }),
      element("span", {}, label));
  });
  place.replaceChildren(...buttons);
  place.hidden = canvases.length < 2;

  const waiting = [];
  let loading = 0;
  function load() {
    while (loading < AT_ONCE && waiting.length) {
      const button = waiting.shift();
      const image = button.querySelector("img");
      const done = () => { loading -= 1; load(); };
      loading += 1;
      image.addEventListener("load", done, { once: true });
      image.addEventListener("error", done, { once: true });
      image.src = local(canvases[buttons.indexOf(button)].thumbnail[0].id);
    }
  }
  const observer = new IntersectionObserver((entries) => {
    for (const { target } of entries.filter(({ isIntersecting }) => isIntersecting)) {
      observer.unobserve(target);
      waiting.push(target);
    }
    load();
  }, { root: place, rootMargin: "0px 200px" });

  return {
    /** Begins to load the small pictures; further calls do nothing. */
    load: () => buttons.filter((button) => !button.querySelector("img").src).forEach((button) => observer.observe(button)),
    /** Marks the page that is shown. */
    mark(number) {
      place.querySelector("[aria-current]")?.removeAttribute("aria-current");
      buttons[number - 1].setAttribute("aria-current", "page");
      buttons[number - 1].scrollIntoView({ block: "nearest", inline: "center" });
    },
  };
}

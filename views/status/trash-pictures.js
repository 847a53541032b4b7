// Thumbnails of files in the trash. The server renders each on demand, so they are requested when they become visible,
// a few at a time. They are drawn on a canvas, because an <img> cannot send the token of the page.

import { element } from "./elements.js";

const AT_A_TIME = 3;
const SIDE = 56;

/** The thumbnails of one list. */
export class Pictures {
  #server;
  #wanted = [];
  #running = 0;
  #observer;

  constructor(server) {
    this.#server = server;
    this.#observer = new IntersectionObserver((seen) => this.#see(seen), { rootMargin: "200px" });
  }

  /** Returns the place of an entry's thumbnail. It has the extension of the name until there is one. */
  of(entry) {
    const extension = entry.name.includes(".") ? entry.name.slice(entry.name.lastIndexOf(".") + 1).slice(0, 5) : "file";
    const place = element("span", { class: "trash-picture", "aria-hidden": "true" }, extension);
    if (entry.has_thumbnail) {
      place.entry = entry;
      this.#observer.observe(place);
    }
    return place;
  }

  /** Forgets the thumbnails of the previous list. */
  clear() {
    this.#observer.disconnect();
    this.#wanted = [];
  }

  #see(seen) {
    for (const { isIntersecting, target } of seen) {
      if (isIntersecting) {
        this.#observer.unobserve(target);
        this.#wanted.push(target);
      }
    }
    this.#next();
  }

  #next() {
    while (this.#running < AT_A_TIME && this.#wanted.length) {
      const place = this.#wanted.shift();
      this.#running += 1;
      this.#draw(place).finally(() => { this.#running -= 1; this.#next(); });
    }
  }

  async #draw(place) {
    try {
      const picture = await createImageBitmap(await this.#server.trashThumbnail(place.entry));
      const scale = Math.min(1, (2 * SIDE) / Math.max(picture.width, picture.height));
      const canvas = element("canvas", { width: Math.round(picture.width * scale), height: Math.round(picture.height * scale) });
      canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
      picture.close();
      place.replaceChildren(canvas);
    } catch {
      place.title = "No preview"; // the extension stays
    }
  }
}

// The keyboard.

import { element } from "./elements.js";

const KEYS = {
  "+": "zoomIn", "=": "zoomIn", "-": "zoomOut", "_": "zoomOut", 0: "whole", Home: "whole", 1: "actualSize",
  r: "rotateRight", R: "rotateLeft", b: "adjust", f: "fullScreen", i: "inform", d: "download",
  PageUp: "previous", PageDown: "next", ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down",
  Escape: "close",
};

const HELP = [
  ["+ −", "Zoom in, zoom out"],
  ["0", "Whole picture"],
  ["1", "Actual size"],
  ["← ↑ → ↓", "Move"],
  ["R, Shift+R", "Rotate to the right, to the left"],
  ["Page Up, Page Down", "Previous page, next page"],
  ["B", "Brightness and contrast"],
  ["F", "Full screen"],
  ["I", "Information"],
  ["D", "Download"],
];

/** Calls the functions of *actions* by their names when their keys are pressed, and lists the keys in *list*. */
export function keys(actions, list) {
  list.replaceChildren(...HELP.flatMap(([key, text]) => [element("dt", {}, element("kbd", {}, key)), element("dd", {}, text)]));
  addEventListener("keydown", (event) => {
    const action = KEYS[event.key];
    const isField = event.target instanceof HTMLInputElement;
    if (!action || event.ctrlKey || event.metaKey || event.altKey || (isField && action !== "close")) {
      return;
    }
    event.preventDefault();
    actions[action]();
  });
}

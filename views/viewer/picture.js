// The picture itself: OpenSeadragon, without its buttons.

/* global OpenSeadragon */

import { reason } from "./server.js";

const FACTOR = 1.5;

/** Shows pictures in *place*. `changed` is called with the scale in percent; `shown` when the first part of a picture
 * is visible; `failed` with a Fault if a part cannot be loaded, and whether any part of the picture is visible;
 * `refused` if a part was not loaded because the server is busy, or can be loaded now. */
export function picture(place, { changed, shown, failed, refused }) {
  const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const viewer = OpenSeadragon({
    element: place,
    drawer: "canvas",
    showNavigationControl: false,
    showNavigator: matchMedia("(min-width: 45rem)").matches,
    navigatorPosition: "TOP_RIGHT",
    navigatorSizeRatio: 0.15,
    navigatorDisplayRegionColor: "#7fd3dd",
    viewportMargins: { left: 8, right: 8, top: 8, bottom: 72 }, // so that the tools cover nothing of the whole picture
    imageLoaderLimit: 4, // browsers send six requests at a time, and others wait
    animationTime: isStill ? 0 : 0.5,
    visibilityRatio: 0.3,
    minZoomImageRatio: 0.7,
    maxZoomPixelRatio: 8,
    zoomPerScroll: 1.25,
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
    gestureSettingsPen: { clickToZoom: false, dblClickToZoom: true },
    tileRetryMax: 1,
    tileRetryDelay: 1500,
    timeout: 120000,
  });
  let filter = "";
  let isShown = false;
  let isWhole = true;

  const perScreenPixel = () => 1 / (window.devicePixelRatio || 1);
  const item = () => viewer.world.getItemAt(0);
  const scale = () => item()?.viewportToImageZoom(viewer.viewport.getZoom(true)) / perScreenPixel();
  const applyFilter = () => { viewer.drawer.canvas.style.filter = filter; };

  viewer.addHandler("canvas-key", (event) => { event.preventDefaultAction = true; });
  viewer.addHandler("open", applyFilter);
  viewer.addHandler("tile-drawn", () => {
    if (!isShown) {
      isShown = true;
      shown();
    }
  });
  viewer.addHandler("open-failed", () => failed(null, false));
  viewer.addHandler("tile-load-failed", async ({ tile, message }) => {
    if (message === "Image load aborted") {
      return; // it is no longer needed
    }
    const fault = await reason(tile.getUrl());
    if (fault && fault.status !== 503) {
      failed(fault, isShown);
    } else {
      refused(fault);
    }
  });
  for (const event of ["zoom", "resize", "open", "update-viewport"]) {
    viewer.addHandler(event, () => {
      const percent = scale() * 100;
      if (percent) {
        changed(percent);
        const isPart = viewer.viewport.getZoom(true) > viewer.viewport.getHomeZoom() * 1.05;
        viewer.navigator?.element.classList.toggle("needed", isShown && isPart);
      }
    });
  }

  viewer.addHandler("zoom", ({ zoom }) => { isWhole = Math.abs(zoom / viewer.viewport.getHomeZoom() - 1) < 0.01; });
  viewer.addHandler("open", () => { isWhole = true; });
  // A picture that is shown whole stays so in a window of another size, where OpenSeadragon would keep its scale.
  viewer.addHandler("resize", () => {
    const wasWhole = isWhole;
    viewer.addOnceHandler("after-resize", () => wasWhole && viewer.viewport.goHome(true));
  });

  return {
    /** Opens a page by the content of its info.json, and the address under which its parts are. */
    open(info, service) {
      isShown = false;
      viewer.viewport?.setRotation(0, true);
      viewer.open({ ...info, id: service, "@id": service });
    },
    /** Opens the same page again, because OpenSeadragon never requests a part again that failed. */
    openAgain(info, service) {
      const [bounds, degrees] = [viewer.viewport?.getBounds(), viewer.viewport?.getRotation()];
      viewer.addOnceHandler("open", () => {
        if (bounds) {
          viewer.viewport.setRotation(degrees, true);
          viewer.viewport.fitBounds(bounds, true);
        }
      });
      this.open(info, service);
    },
    zoomIn: () => viewer.viewport.zoomBy(FACTOR).applyConstraints(),
    zoomOut: () => viewer.viewport.zoomBy(1 / FACTOR).applyConstraints(),
    whole: () => viewer.viewport.goHome(),
    actualSize: () => viewer.viewport.zoomTo(item().imageToViewportZoom(perScreenPixel())).applyConstraints(),
    rotateLeft: () => viewer.viewport.rotateBy(-90),
    rotateRight: () => viewer.viewport.rotateBy(90),
    /** Moves by parts of what is visible, to the right and down as seen on the screen. */
    move(x, y) {
      const bounds = viewer.viewport.getBoundsNoRotate();
      const step = new OpenSeadragon.Point(x * bounds.width, y * bounds.height);
      viewer.viewport.panBy(step.rotate(-viewer.viewport.getRotation())).applyConstraints();
    },
    /** Sets the CSS filter of the picture. */
    adjust(text) {
      filter = text;
      if (viewer.drawer) {
        applyFilter();
      }
    },
  };
}

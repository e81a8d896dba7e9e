// @ts-check
// The pictures of a case: one with all masks, or two side by side whose slices follow each other.

import { element } from "../dom.js";
import { inPlane } from "../planes.js";
import { SliceCanvas } from "../slice_viewer.js";
import { LAYERS, lettersOf } from "./state.js";

/** @import { DecodedMask, Overlay, Placing, Windows } from "../types.js" */
/** @import { Layer, Letter, OpenCase, State } from "./types.js" */

/**
 * @typedef {object} Hooks
 * @property {(k: number) => void} turned hears which slice of the original image is shown
 * @property {(context: CanvasRenderingContext2D, place: Placing, k: number, letters: Letter[]) => void} paint
 */

/**
 * What each picture shows.
 * @param {State} state
 * @returns {[Layer[], Layer[]]}
 */
function layersOf(state) {
  if (state.view !== "side") return [LAYERS, []];
  return state.b
    ? [
        ["reference", "A"],
        ["reference", "B"],
      ]
    : [["reference"], ["reference", "A"]];
}

export class Pictures {
  /**
   * @param {HTMLElement} root
   * @param {Windows} windows
   * @param {Hooks} hooks
   */
  constructor(root, windows, hooks) {
    this.hooks = hooks;
    /** @type {OpenCase | null} */
    this.loaded = null;
    this.setting = false;
    this.plane = "axial";
    this.panes = [0, 1].map(() => {
      const view = new SliceCanvas(root, windows);
      const caption = element("p", { className: "cx-caption" });
      const frame = element("div", { className: "cx-pane" }, caption, view.stage);
      return { view, caption, frame, letters: /** @type {Letter[]} */ ([]) };
    });
    this.box = element("div", { className: "cx-pictures" }, ...this.panes.map(({ frame }) => frame));
    this.panes.forEach((pane, n) => {
      pane.view.onslice = (slice) => this.turned(this.panes[1 - n].view, slice);
      pane.view.onlook = (view) => this.panes[1 - n].view.follow(view);
      pane.view.paint = (context, place) => {
        if (this.isAxial) hooks.paint(context, place, this.first + pane.view.slice, pane.letters);
      };
    });
  }

  /** Prompts are drawn, and slices counted, in this plane alone. */
  get isAxial() {
    return this.plane === "axial";
  }

  /** Voxel index of the first stored slice. */
  get first() {
    return this.loaded?.voxel[2][0] ?? 0;
  }

  /** Voxel index of the slice in view. */
  get k() {
    return this.first + this.panes[0].view.slice;
  }

  /**
   * The other picture follows.
   * @param {SliceCanvas} other
   * @param {number} slice
   */
  turned(other, slice) {
    other.go(slice);
    if (!this.setting && this.isAxial) this.hooks.turned(this.first + slice);
  }

  /** @param {number} k voxel index */
  go(k) {
    if (this.isAxial) this.panes[0].view.go(k - this.first);
  }

  /** @param {string} window */
  useWindow(window) {
    for (const { view } of this.panes) view.change({ window });
  }

  redraw() {
    for (const { view } of this.panes) view.redraw();
  }

  /**
   * Show a case on the slice that is chosen, as far as it is stored.
   * @param {OpenCase} loaded
   * @param {DecodedMask[]} masks
   * @param {Overlay[]} overlays
   * @param {State} state
   */
  show(loaded, masks, overlays, state) {
    this.loaded = loaded;
    this.plane = state.plane;
    const side = state.view === "side";
    const layers = layersOf(state);
    const chosen = state.slice === null ? loaded.start : state.slice - this.first;
    this.box.classList.toggle("cx-side", side);
    this.setting = true;
    this.panes.forEach((pane, n) => {
      const { view, caption, frame } = pane;
      pane.letters = lettersOf(state).filter((letter) => layers[n].includes(letter));
      frame.hidden = n === 1 && !side;
      caption.hidden = !side;
      caption.textContent = pane.letters.join(" and ") || "reference";
      view.window = state.window;
      view.overlays = overlays.filter(({ name }) => layers[n].some((layer) => layer === name));
      const title = side ? `${loaded.title}, ${caption.textContent}` : loaded.title;
      const seen = inPlane({ ...loaded, title, masks: masks.map((mask) => ({ ...mask })) }, state.plane);
      view.set(seen, this.isAxial ? chosen : seen.start);
    });
    this.setting = false;
  }
}

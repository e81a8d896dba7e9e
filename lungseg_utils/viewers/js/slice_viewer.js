// @ts-check
// One axial slice of a CT volume with mask overlays on a 2-D canvas, without a framework: works inline in a built book
// (also from file://), in JupyterLab and in voila. Three frames: pixel (column, row) of the stored crop, whole numbers
// at pixel centers; voxel (i, j, k) of the original image; canvas pixels.

import { decodeCase } from "./decode.js";
import { choice, element, minus, swatch } from "./dom.js";
import { abgr, strokeOnRim } from "./palette.js";
import { EDGES, PLANES, inPlane } from "./planes.js";

/** @import { DecodedCase, Frame, Gesture, Grid, Levels, Overlay } from "./types.js" */
/** @import { Pair, Palette, Placing, StoredCase, Windows } from "./types.js" */

/** @type {Gesture["phase"][]} */
const PHASES = ["down", "move", "up", "cancel", "leave"];
const MOST_ZOOM = 12;
const HU_PER_PIXEL = 4; // of a drag that changes the CT window

/**
 * Gray value (0 to 255) of every stored level.
 * @param {Pair} window lowest and highest HU that are told apart
 * @param {Levels} levels
 */
export function windowTable([low, high], { lowest, step, count }) {
  const table = new Uint8ClampedArray(count);
  for (let n = 0; n < count; n++) table[n] = (255 * (lowest + n * step - low)) / (high - low);
  return table;
}

/**
 * Edges between inside and outside of one slice of a mask: [x0, y0, x1, y1, ...] in pixel corners, straight runs
 * joined.
 * @param {Uint8Array} mask
 * @param {number} start of the slice in the mask
 * @param {number} rows
 * @param {number} columns
 */
export function outline(mask, start, rows, columns) {
  /** @type {number[]} */
  const runs = [];
  const inside = (/** @type {number} */ row, /** @type {number} */ column) =>
    row >= 0 && column >= 0 && row < rows && column < columns ? mask[start + row * columns + column] : 0;
  walk(
    rows,
    columns,
    (y, x) => inside(y - 1, x) !== inside(y, x),
    (y, from, to) => runs.push(from, y, to, y),
  );
  walk(
    columns,
    rows,
    (x, y) => inside(y, x - 1) !== inside(y, x),
    (x, from, to) => runs.push(x, from, x, to),
  );
  return runs;
}

/**
 * Find the runs along grid lines on which the two sides differ.
 * @param {number} lines
 * @param {number} length
 * @param {(line: number, at: number) => boolean} differs
 * @param {(line: number, from: number, to: number) => void} found
 */
function walk(lines, length, differs, found) {
  for (let line = 0; line <= lines; line++) {
    let from = -1;
    for (let at = 0; at <= length; at++) {
      const edge = at < length && differs(line, at);
      if (edge && from < 0) from = at;
      if (!edge && from >= 0) {
        found(line, from, at);
        from = -1;
      }
    }
  }
}

/**
 * Largest centered rectangle of the slice's true proportions (mm) inside width x height canvas pixels.
 * @param {Pick<Grid, "rows" | "columns" | "spacing">} grid
 * @param {number} width
 * @param {number} height
 * @returns {Frame}
 */
export function fit({ rows, columns, spacing }, width, height) {
  const scale = Math.min(width / (columns * spacing[0]), height / (rows * spacing[1]));
  const drawn = [columns * spacing[0] * scale, rows * spacing[1] * scale];
  return { left: (width - drawn[0]) / 2, top: (height - drawn[1]) / 2, width: drawn[0], height: drawn[1], scale };
}

/**
 * A frame enlarged around the point of the slice that stands in the middle, as far as no edge of the slice leaves the
 * edge of the canvas.
 * @param {Frame} frame
 * @param {number} zoom 1 or more
 * @param {Pair} middle fractions of the slice's width and height
 * @param {number} width of the canvas
 * @param {number} height of the canvas
 * @returns {Frame}
 */
export function enlarge(frame, zoom, middle, width, height) {
  if (zoom === 1) return frame;
  const drawn = [frame.width * zoom, frame.height * zoom];
  const place = (/** @type {number} */ axis, /** @type {number} */ size) => {
    const free = size - drawn[axis];
    return free > 0 ? free / 2 : Math.min(0, Math.max(free, size / 2 - middle[axis] * drawn[axis]));
  };
  const [left, top] = [place(0, width), place(1, height)];
  return { left, top, width: drawn[0], height: drawn[1], scale: frame.scale * zoom };
}

/**
 * Canvas position to continuous pixel (column, row); null outside the slice.
 * @param {Frame} frame
 * @param {Pick<Grid, "rows" | "columns">} grid
 * @param {number} x
 * @param {number} y
 * @returns {Pair | null}
 */
export function toPixel(frame, { rows, columns }, x, y) {
  const column = ((x - frame.left) / frame.width) * columns - 0.5;
  const row = ((y - frame.top) / frame.height) * rows - 0.5;
  const inside = column >= -0.5 && row >= -0.5 && column < columns - 0.5 && row < rows - 0.5;
  return inside ? [column, row] : null;
}

/**
 * Continuous pixel (column, row) to canvas position.
 * @param {Frame} frame
 * @param {Pick<Grid, "rows" | "columns">} grid
 * @param {number} column
 * @param {number} row
 * @returns {Pair}
 */
export function toCanvas(frame, { rows, columns }, column, row) {
  return [frame.left + ((column + 0.5) / columns) * frame.width, frame.top + ((row + 0.5) / rows) * frame.height];
}

/**
 * Continuous voxel (i, j, k) of the original image at a pixel of a stored slice.
 * @param {Pick<Grid, "voxel" | "axes">} grid
 * @param {number} column
 * @param {number} row
 * @param {number} slice
 */
export function toVoxel({ voxel, axes = [0, 1, 2] }, column, row, slice) {
  const ijk = [0, 0, 0];
  [column, row, slice].forEach((n, at) => (ijk[axes[at]] = voxel[axes[at]][0] + n * voxel[axes[at]][1]));
  return ijk;
}

/**
 * Inverse of `toVoxel`: [column, row, slice].
 * @param {Pick<Grid, "voxel" | "axes">} grid
 * @param {number[]} ijk
 */
export function fromVoxel({ voxel, axes = [0, 1, 2] }, ijk) {
  return axes.map((axis) => (ijk[axis] - voxel[axis][0]) / voxel[axis][1]);
}

/**
 * Whole slices that a wheel movement asks for; a mouse notch is one, small trackpad movements add up in `state`.
 * @param {{ rest: number }} state
 * @param {number} deltaY
 * @param {number} deltaMode
 */
export function wheelSteps(state, deltaY, deltaMode) {
  if (deltaMode !== 0 || Math.abs(deltaY) >= 50) {
    state.rest = 0;
    return Math.sign(deltaY);
  }
  state.rest = Math.sign(state.rest) === -Math.sign(deltaY) ? deltaY : state.rest + deltaY;
  const steps = Math.trunc(state.rest / 30);
  state.rest -= steps * 30;
  return steps;
}

/**
 * The look of one mask for each name, each in a color of its own.
 * @param {string[]} names
 * @param {Palette} palette
 * @returns {Overlay[]}
 */
export function overlaysFor(names, palette) {
  return names.map((name, n) => ({ name, color: palette[n % palette.length], shown: true, filled: false, opacity: 1 }));
}

/**
 * Controls of one overlay; `changed()` is called after each change of it.
 * @param {Overlay} overlay
 * @param {() => void} changed
 */
export function overlayControls(overlay, changed) {
  const title = overlay.title ?? overlay.name;
  const change = (/** @type {Partial<Overlay>} */ changes) => {
    Object.assign(overlay, changes);
    changed();
  };
  const toggle = element("input", {
    type: "checkbox",
    checked: overlay.shown,
    onchange: () => change({ shown: toggle.checked }),
  });
  const style = element(
    "select",
    { "aria-label": `${title}: drawn as`, onchange: () => change({ filled: style.value === "fill" }) },
    element("option", { value: "outline" }, "outline"),
    element("option", { value: "fill" }, "fill"),
  );
  style.value = overlay.filled ? "fill" : "outline";
  const opacity = element("input", { type: "range", min: 10, max: 100, value: overlay.opacity * 100 });
  opacity.oninput = () => change({ opacity: Number(opacity.value) / 100 });
  const label = element("label", {}, toggle, swatch(overlay.color), title);
  const strength = element("label", { className: "lv-opacity" }, "opacity", opacity);
  return element("div", { className: "lv-overlay", role: "group", "aria-label": title }, label, style, strength);
}

/**
 * The choice of the CT window; `select` gets its name.
 * @param {Windows} windows
 * @param {(name: string) => void} select
 * @param {string} selected
 */
export function windowChoice(windows, select, selected = "lung") {
  const names = Object.keys(windows);
  return choice("CT window", names, names.indexOf(selected), (n) => select(names[n]));
}

/**
 * The choice of the plane; `select` gets its name.
 * @param {(plane: string) => void} select
 * @param {string} selected
 */
export function planeChoice(select, selected = "axial") {
  return choice("Plane", PLANES, PLANES.indexOf(selected), (n) => select(PLANES[n]));
}

/**
 * The drawing area of a canvas.
 * @param {HTMLCanvasElement} canvas
 */
function context2d(canvas) {
  return /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
}

/**
 * One slice with overlays and a slider below it, as `stage`. Hooks for tools on top: `onpointer` returns true to take a
 * gesture over; `paint` draws; `onslice` hears of every turn, `onlook` of a new zoom or CT window.
 */
export class SliceCanvas {
  /** @type {Overlay[]} */
  overlays = [];
  slice = 0;
  window = "lung";
  /** @type {Pair | null} */
  hover = null;
  /** @type {{ x: number, slice: number } | null} */
  dragged = null;
  /** @type {Pair | null} lowest and highest HU, where a drag has changed those of the chosen window */
  dragWindow = null;
  /** @type {((dx: number, dy: number) => void) | null} what a mouse that is held down does */
  holding = null;
  zoom = 1;
  /** @type {Pair} */
  middle = [0.5, 0.5];
  /** @type {((context: CanvasRenderingContext2D, place: Placing) => void) | null} */
  paint = null;
  /** @type {((gesture: Gesture) => boolean) | null} */
  onpointer = null;
  /** @type {((slice: number) => void) | null} */
  onslice = null;
  /** @type {((view: SliceCanvas) => void) | null} hears of a new zoom, place or CT window */
  onlook = null;
  /** @type {DecodedCase | undefined} */
  case;
  milliseconds = 0;
  asked = false;

  /**
   * @param {HTMLElement} root
   * @param {Windows} windows
   */
  constructor(root, windows) {
    this.root = root;
    this.windows = windows;
    this.life = new AbortController();
    this.canvas = element("canvas", { tabIndex: 0, role: "img" });
    this.slider = element("input", { type: "range", min: 0, step: 1, "aria-label": "Slice" });
    this.slider.oninput = () => this.go(Number(this.slider.value));
    this.strip = element("canvas", { className: "lv-strip", "aria-hidden": "true" });
    this.where = element("span", { className: "lv-where" });
    this.value = element("span", { className: "lv-value" });
    const status = element("div", { className: "lv-status" }, this.where, this.value, this.tools());
    const slices = element("div", { className: "lv-slices" }, this.strip, this.slider);
    this.stage = element("div", { className: "lv-stage" }, this.canvas, status, slices);
    /** @type {Frame} */
    this.frame = { left: 0, top: 0, width: 0, height: 0, scale: 0 };
    this.drawn = false;
    this.listen();
    this.resized = new ResizeObserver(() => this.redraw());
    this.resized.observe(this.canvas);
  }

  /** Stop listening to the window, which would keep a canvas that was taken off the page. */
  dispose() {
    this.life.abort();
    this.resized.disconnect();
  }

  listen() {
    // JupyterLab would move between cells on arrow keys.
    const guard = (/** @type {KeyboardEvent} */ event) =>
      this.root.toggleAttribute("data-lm-suppress-shortcuts", !event.ctrlKey && !event.metaKey);
    window.addEventListener("keydown", guard, { capture: true, signal: this.life.signal });
    this.stage.addEventListener("keydown", (event) => this.key(event));
    for (const phase of PHASES) {
      const act = (/** @type {Event} */ event) => this.pointer(phase, /** @type {PointerEvent} */ (event));
      this.canvas.addEventListener(`pointer${phase}`, act);
    }
    // the right button is for the CT window
    this.canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    this.listenToWheel();
  }

  /** Zoom and full screen, for a pointer and for a keyboard. */
  tools() {
    const tool = (/** @type {string} */ text, /** @type {string} */ title, /** @type {() => void} */ onclick) =>
      element("button", { type: "button", title, onclick, "aria-label": title }, text);
    const tools = [
      tool("\u2212", "Zoom out", () => this.magnify(1 / 1.5)),
      tool("+", "Zoom in", () => this.magnify(1.5)),
      tool("\u2922", "Full screen", () => this.fillScreen()),
    ];
    return element("span", { className: "lv-tools" }, ...tools);
  }

  async fillScreen() {
    if (document.fullscreenElement) await document.exitFullscreen();
    else await this.stage.requestFullscreen();
  }

  /**
   * @param {number} factor
   * @param {Pair} [at] fractions of the slice that stay where they are
   */
  magnify(factor, at) {
    const zoom = Math.min(MOST_ZOOM, Math.max(1, this.zoom * factor));
    const kept = (/** @type {0 | 1} */ axis) => {
      const [fixed, now] = [at?.[axis] ?? this.middle[axis], this.middle[axis]];
      return fixed + ((now - fixed) * this.zoom) / zoom;
    };
    this.middle = [kept(0), kept(1)];
    this.zoom = zoom;
    this.looked();
  }

  looked() {
    this.redraw();
    this.describe();
    this.onlook?.(this);
  }

  /**
   * Take zoom, place and CT window of another canvas.
   * @param {SliceCanvas} other
   */
  follow({ zoom, middle, dragWindow }) {
    Object.assign(this, { zoom, middle, dragWindow });
    this.redraw();
    this.describe();
  }

  /** The lowest and highest HU that are told apart now. */
  get shownWindow() {
    return this.dragWindow ?? this.windows[this.window];
  }

  listenToWheel() {
    const wheel = { rest: 0, passedAt: -1e9 };
    const passed = (/** @type {WheelEvent} */ event) => {
      if (!event.defaultPrevented) wheel.passedAt = event.timeStamp;
    };
    // A page already being scrolled goes on scrolling when the canvas comes under a resting pointer.
    window.addEventListener("wheel", passed, { passive: true, signal: this.life.signal });
    const turn = (/** @type {WheelEvent} */ event) => {
      if (event.ctrlKey && event.deltaY) {
        event.preventDefault();
        this.magnify(Math.exp(-event.deltaY / 300), this.fractionAt(event));
        return;
      }
      const scrolling = !this.root.contains(document.activeElement) && event.timeStamp - wheel.passedAt < 300;
      const end = event.deltaY > 0 ? 0 : (this.case?.slices ?? 1) - 1;
      if (event.ctrlKey || !event.deltaY || this.slice === end || scrolling) return;
      event.preventDefault();
      this.go(this.slice - wheelSteps(wheel, event.deltaY, event.deltaMode));
    };
    this.canvas.addEventListener("wheel", turn, { passive: false });
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const last = this.case ? this.case.slices - 1 : 0;
    /** @type {Record<string, number>} */
    const steps = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 5, PageDown: -5 };
    Object.assign(steps, { Home: -last, End: last });
    if (["+", "-", "0"].includes(event.key) && !event.ctrlKey && !event.metaKey) {
      event.stopPropagation();
      this.magnify({ "+": 1.5, "-": 1 / 1.5 }[event.key] ?? 0);
    }
    if (!(event.key in steps) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.go(this.slice + steps[event.key]);
  }

  /**
   * @param {Gesture["phase"]} phase
   * @param {PointerEvent} event
   */
  pointer(phase, event) {
    if (this.hold(phase, event)) return;
    const box = this.canvas.getBoundingClientRect();
    const pixel = this.case ? this.pixelAt(this.case, event, box) : null;
    const ijk = this.case && pixel ? toVoxel(this.case, ...pixel, this.slice) : null;
    if (this.onpointer?.({ phase, ijk, event })) return;
    if (event.pointerType === "touch") this.drag(phase, event, box.width);
    this.hover = phase === "leave" ? null : pixel;
    this.describe();
  }

  /**
   * @param {DecodedCase} shown
   * @param {PointerEvent} event
   * @param {DOMRect} box of the canvas on the screen
   */
  pixelAt(shown, event, box) {
    const ratio = this.canvas.width / box.width;
    return toPixel(this.frame, shown, (event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio);
  }

  /**
   * Fractions of the slice's width and height under a pointer.
   * @param {MouseEvent} event
   * @returns {Pair}
   */
  fractionAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const ratio = this.canvas.width / box.width;
    const { left, top, width, height } = this.frame;
    return [((event.clientX - box.left) * ratio - left) / width, ((event.clientY - box.top) * ratio - top) / height];
  }

  /**
   * A mouse that is held down: the right button, or the left one where no tool wants it, changes the CT window; with
   * Shift it moves an enlarged slice. Returns whether it does.
   * @param {Gesture["phase"]} phase
   * @param {PointerEvent} event
   */
  hold(phase, event) {
    if (phase === "down" && event.pointerType === "mouse") {
      if (event.shiftKey && this.zoom > 1) this.holding = (dx, dy) => this.move(dx, dy);
      else if (event.button === 2 || (event.button === 0 && !this.onpointer)) {
        this.holding = (dx, dy) => this.changeWindow(dx, dy);
      } else return false;
      this.canvas.setPointerCapture(event.pointerId);
      return false; // a click is no drag yet
    }
    if (!this.holding) return false;
    if (phase === "move") this.holding(event.movementX, event.movementY);
    else this.holding = null;
    return phase === "move";
  }

  /**
   * @param {number} dx pixels of the page
   * @param {number} dy
   */
  move(dx, dy) {
    const ratio = window.devicePixelRatio || 1;
    const clamp = (/** @type {number} */ n) => Math.min(1, Math.max(0, n));
    const { width, height } = this.frame;
    this.middle = [clamp(this.middle[0] - (dx * ratio) / width), clamp(this.middle[1] - (dy * ratio) / height)];
    this.looked();
  }

  /**
   * Sideways the width of the window, up and down its level.
   * @param {number} dx
   * @param {number} dy
   */
  changeWindow(dx, dy) {
    if (!dx && !dy) return;
    const [low, high] = this.shownWindow;
    const width = Math.max(20, high - low + dx * HU_PER_PIXEL);
    const level = (low + high) / 2 + dy * HU_PER_PIXEL;
    this.dragWindow = [level - width / 2, level + width / 2];
    this.looked();
  }

  /**
   * A finger drawn sideways turns slices; up and down scrolls the page.
   * @param {Gesture["phase"]} phase
   * @param {PointerEvent} event
   * @param {number} width of the canvas on the screen
   */
  drag(phase, event, width) {
    if (phase === "down") this.dragged = { x: event.clientX, slice: this.slice };
    if (phase === "move" && this.dragged && this.case) {
      const perSlice = Math.max(4, width / this.case.slices);
      this.go(this.dragged.slice + Math.round((event.clientX - this.dragged.x) / perSlice));
    }
    if (phase === "up" || phase === "cancel") this.dragged = null;
  }

  /**
   * Show a decoded case, from this slice on.
   * @param {DecodedCase} shown
   * @param {number} slice
   */
  set(shown, slice = shown.start) {
    this.case = shown;
    this.slider.max = String(shown.slices - 1);
    const plane = shown.plane ?? "axial";
    const name = `${plane[0].toUpperCase()}${plane.slice(1)} CT slice of ${shown.title}`;
    this.canvas.setAttribute("aria-label", `${name}, arrow keys change the slice, plus and minus the size`);
    this.pixels = new ImageData(shown.columns, shown.rows);
    this.buffer = element("canvas", { width: shown.columns, height: shown.rows });
    this.slice = -1;
    this.go(slice);
    this.redraw();
  }

  /** @param {number} slice */
  go(slice) {
    if (!this.case) return;
    const wanted = Math.max(0, Math.min(this.case.slices - 1, slice));
    const turned = wanted !== this.slice;
    this.slice = wanted;
    this.slider.value = String(this.slice);
    this.describe();
    this.redraw();
    if (turned) this.onslice?.(this.slice);
  }

  /** @param {{ window: string }} changes */
  change(changes) {
    Object.assign(this, changes, { dragWindow: null });
    this.looked();
  }

  describe() {
    if (!this.case) return;
    const { levels, lowest, step, columns, rows } = this.case;
    this.where.textContent = sliceText(this.case, this.slice);
    this.slider.setAttribute("aria-valuetext", this.where.textContent);
    const [column, row] = (this.hover ?? [0, 0]).map(Math.round);
    const level = levels[(this.slice * rows + row) * columns + column];
    const [low, high] = this.shownWindow;
    const changed = this.dragWindow ? `W ${minus(high - low)} L ${minus((low + high) / 2)}` : "";
    this.value.textContent = this.hover && !this.holding ? `${minus(lowest + level * step)} HU` : changed;
  }

  /** Draw once before the next frame. */
  redraw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      if (this.case) this.draw(this.case);
    });
  }

  /** @param {DecodedCase} shown */
  draw(shown) {
    const begin = performance.now();
    const ratio = window.devicePixelRatio || 1;
    for (const canvas of [this.canvas, this.strip]) resize(canvas, ratio);
    const context = context2d(this.canvas);
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    const { width, height } = this.canvas;
    this.frame = enlarge(fit(shown, width, height), this.zoom, this.middle, width, height);
    this.drawSlice(context, shown);
    const seen = this.overlays.filter((overlay) => overlay.shown);
    seen.sort((a, b) => Number(b.filled) - Number(a.filled)); // lines on top
    for (const overlay of seen) this.drawOverlay(context, shown, overlay, ratio);
    this.drawMarks(context, ratio, EDGES[shown.plane ?? "axial"]);
    this.drawStrip(context2d(this.strip), shown);
    this.paint?.(context, (ijk) => {
      const [column, row] = fromVoxel(shown, ijk);
      return toCanvas(this.frame, shown, column, row);
    });
    this.root.dataset.slice = String(this.slice);
    this.milliseconds = performance.now() - begin;
    this.drawn = true;
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {DecodedCase} shown
   */
  drawSlice(context, shown) {
    const { levels } = shown;
    const gray = windowTable(this.shownWindow, shown);
    this.stamp(context, true, (n) => 0xff000000 | (gray[levels[n]] * 0x010101));
  }

  /**
   * Color each voxel of the slice by its place in the arrays (as ABGR), and draw it in its true proportions.
   * @param {CanvasRenderingContext2D} context
   * @param {boolean} smooth
   * @param {(place: number) => number} colorOf
   */
  stamp(context, smooth, colorOf) {
    if (!this.pixels || !this.buffer) return;
    const { left, top, width, height } = this.frame;
    const target = new Uint32Array(this.pixels.data.buffer);
    const start = this.slice * target.length;
    for (let n = 0; n < target.length; n++) target[n] = colorOf(start + n);
    context2d(this.buffer).putImageData(this.pixels, 0, 0);
    context.imageSmoothingEnabled = smooth;
    context.drawImage(this.buffer, left, top, width, height);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {DecodedCase} shown
   * @param {Overlay} overlay
   * @param {number} ratio canvas pixels for each pixel of the page
   */
  drawOverlay(context, shown, overlay, ratio) {
    const mask = shown.masks.find((item) => item.name === overlay.name);
    if (!mask) return;
    context.save();
    context.globalAlpha = overlay.opacity * (overlay.filled ? 0.6 : 1);
    if (overlay.filled) this.drawFill(context, overlay.color, mask.array);
    else this.drawOutline(context, shown, overlay.color, mask.array, ratio);
    context.restore();
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {string} color
   * @param {Uint8Array} mask
   */
  drawFill(context, color, mask) {
    const paint = abgr(color);
    this.stamp(context, false, (n) => (mask[n] ? paint : 0));
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {DecodedCase} shown
   * @param {string} color
   * @param {Uint8Array} mask
   * @param {number} ratio
   */
  drawOutline(context, { rows, columns }, color, mask, ratio) {
    const { left, top, width, height } = this.frame;
    const edges = outline(mask, this.slice * rows * columns, rows, columns);
    context.beginPath();
    for (let n = 0; n < edges.length; n += 4) {
      context.moveTo(left + (edges[n] / columns) * width, top + (edges[n + 1] / rows) * height);
      context.lineTo(left + (edges[n + 2] / columns) * width, top + (edges[n + 3] / rows) * height);
    }
    context.lineCap = "square";
    strokeOnRim(context, color, 2 * ratio);
  }

  /**
   * Sides of the patient and a bar of 20 mm.
   * @param {CanvasRenderingContext2D} context
   * @param {number} ratio
   * @param {string[]} edges what is at the left, right, upper and lower one
   */
  drawMarks(context, ratio, [left, right, top, bottom]) {
    const { width, height } = this.canvas;
    const pad = 9 * ratio;
    context.save();
    context.font = `600 ${12 * ratio}px system-ui, sans-serif`;
    Object.assign(context, { fillStyle: "#fff", strokeStyle: "#000", lineWidth: 3 * ratio });
    Object.assign(context, { textBaseline: "middle", lineJoin: "round" });
    write(context, left, pad, height / 2, "left");
    write(context, right, width - pad, height / 2, "right");
    write(context, top, width / 2, pad + 4 * ratio, "center");
    write(context, bottom, width / 2, height - pad - 4 * ratio, "center");
    write(context, "20 mm", pad, height - pad - 13 * ratio, "left");
    const bar = 20 * this.frame.scale;
    context.fillStyle = "#000";
    context.fillRect(pad - ratio, height - pad - 4 * ratio, bar + 2 * ratio, 5 * ratio);
    context.fillStyle = "#fff";
    context.fillRect(pad, height - pad - 3 * ratio, bar, 3 * ratio);
    context.restore();
  }

  /**
   * Above the slider: the slices that each mask reaches.
   * @param {CanvasRenderingContext2D} context
   * @param {DecodedCase} shown
   */
  drawStrip(context, { slices, rows, columns, masks }) {
    const { width, height } = context.canvas;
    context.clearRect(0, 0, width, height);
    const band = height / Math.max(1, this.overlays.length);
    const [size, pitch] = [rows * columns, width / slices];
    this.overlays.forEach((overlay, n) => {
      const mask = masks.find((item) => item.name === overlay.name);
      if (!mask || !overlay.shown) return;
      const reaches = (/** @type {number} */ s) => mask.array.subarray(s * size, (s + 1) * size).includes(1);
      mask.used ??= Array.from({ length: slices }, (_, s) => reaches(s));
      context.fillStyle = overlay.color;
      mask.used.forEach((used, s) => {
        if (used) context.fillRect(s * pitch, n * band, Math.max(1, pitch), band * 0.75);
      });
    });
  }
}

/**
 * Which slice of the original image is shown; of an axial one with its height.
 * @param {DecodedCase} shown
 * @param {number} slice
 */
function sliceText(shown, slice) {
  const axis = shown.axes?.[2] ?? 2;
  const number = toVoxel(shown, 0, 0, slice)[axis] + 1;
  if (axis !== 2) return `${shown.plane === "coronal" ? "Coronal" : "Sagittal"} slice ${number} of ${shown.size[axis]}`;
  return `Slice ${number} of ${shown.total} \u00b7 z ${minus(shown.z[0] + slice * shown.z[1], 1)} mm`;
}

/**
 * As many pixels as the screen has for this canvas.
 * @param {HTMLCanvasElement} canvas
 * @param {number} ratio
 */
function resize(canvas, ratio) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((n) => Math.max(1, Math.round(n * ratio)));
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} x
 * @param {number} y
 * @param {CanvasTextAlign} textAlign
 */
function write(context, text, x, y, textAlign) {
  context.textAlign = textAlign;
  context.strokeText(text, x, y);
  context.fillText(text, x, y);
}

/** A choice of stored cases, a canvas, and controls of what is drawn, built into `root`. */
export class SliceViewer {
  /**
   * @param {HTMLElement} root
   * @param {{ cases: StoredCase[], palette: Palette, windows: Windows }} data
   */
  constructor(root, data) {
    this.root = root;
    this.data = data;
    /** @type {Map<number, Promise<DecodedCase>>} */
    this.decoded = new Map();
    this.wanted = 0;
    this.plane = "axial";
    /** @type {DecodedCase | undefined} as it is stored */
    this.shown = undefined;
    this.view = new SliceCanvas(root, data.windows);
    const names = data.cases.flatMap((item) => (item.masks ?? []).map((mask) => mask.name));
    this.view.overlays = overlaysFor([...new Set(names)], data.palette);
    this.facts = element("div", { className: "lv-facts" });
    this.withheld = element("p", { className: "lv-withheld", hidden: true });
    this.note = element("p", { className: "lv-note" });
    this.body = element("div", { className: "lv-body" }, this.view.stage, this.panel());
    this.ui = element("div", { className: "lv-ui" }, this.head(), this.facts, this.withheld, this.body);
    this.root.append(this.ui);
    this.ready = this.show(0);
  }

  head() {
    const titles = this.data.cases.map((item) => item.title);
    if (titles.length === 1) return element("p", { className: "lv-title" }, titles[0]);
    return choice("Case", titles, 0, (n) => this.show(n));
  }

  panel() {
    const { view } = this;
    return element(
      "div",
      { className: "lv-panel" },
      planeChoice((plane) => this.turn(plane)),
      windowChoice(view.windows, (window) => view.change({ window })),
      ...view.overlays.map((overlay) => overlayControls(overlay, () => view.redraw())),
      this.note,
    );
  }

  /** @param {number} index */
  async show(index) {
    const stored = this.data.cases[index];
    this.wanted = index;
    const facts = Object.entries(stored.facts);
    this.facts.replaceChildren(
      ...facts.map(([name, value]) => element("span", {}, `${name} `, element("b", {}, value))),
    );
    this.withheld.hidden = !stored.withheld;
    this.withheld.textContent = stored.withheld ?? "";
    this.body.hidden = Boolean(stored.withheld);
    if (stored.withheld) return;
    const decoding = this.decoded.get(index) ?? decodeCase(stored);
    this.decoded.set(index, decoding);
    const shown = await decoding;
    if (this.wanted !== index) return;
    this.note.textContent = shown.note;
    this.shown = shown;
    this.turn(this.plane);
  }

  /**
   * Show the case in this plane.
   * @param {string} plane
   */
  turn(plane) {
    this.plane = plane;
    if (this.shown) this.view.set(inPlane(this.shown, plane));
  }
}

/** Bring every new viewer of this document to life. */
export function mountAll() {
  for (const root of document.querySelectorAll(".lungseg-viewer:not([data-mounted])")) {
    if (root instanceof HTMLElement) mount(root);
  }
}

/** @param {HTMLElement} root */
function mount(root) {
  root.dataset.mounted = "";
  const data = JSON.parse(root.querySelector("script.lv-data")?.textContent ?? "");
  const viewer = new SliceViewer(root, data);
  Object.assign(root, { sliceViewer: viewer });
  viewer.ready
    .then(() => root.querySelector(".lv-fallback")?.remove())
    .catch((problem) => {
      viewer.ui.remove();
      console.error("slice viewer:", problem);
    });
}

if (typeof document !== "undefined") mountAll();

// @ts-check
// Prompts on a SliceCanvas: how all pages paint them, and tools to draw them: boxes by dragging, clicks, and a cross
// that keys move. What becomes of a drawn prompt is its owner's business. All places are voxels of the original image.

import { hues, strokeOnRim } from "./palette.js";

/** @import { Click, DecodedCase, DrawnPrompts, Gesture, Pair, Palette, Placing, PlaneBox, Prompt } from "./types.js" */
/** @import { SliceCanvas } from "./slice_viewer.js" */

export const TOOLS = ["box", "click inside", "click outside"];
const [BOX, CLICK_INSIDE] = [0, 1];
const DASH = 5; // of a box, in pixels of the page; as long as the gaps, so that two boxes on one place can alternate

/**
 * The colors of a prompt, and whether its dashes fall into the gaps of another prompt's.
 * @typedef {{ line: string, inside: string, outside: string, shifted?: boolean }} PromptColors
 */

/**
 * The part of a prompt on slice `index`: boxes dashed, lines drawn through, clicks as circles with a plus (inside) or a
 * minus (outside).
 * @param {CanvasRenderingContext2D} context
 * @param {Placing} place
 * @param {DrawnPrompts} drawn
 * @param {number} index
 * @param {PromptColors} colors
 */
export function paintPrompt(context, place, { prompts, lines }, index, colors) {
  const unit = window.devicePixelRatio || 1;
  context.save();
  context.lineDashOffset = colors.shifted ? DASH * unit : 0;
  const here = prompts.flatMap((prompt) => prompt.slices).filter((item) => item.index === index);
  for (const { box } of here) {
    if (box) paintBox(context, place, box, index, colors.line, [DASH * unit, DASH * unit]);
  }
  for (const line of lines.filter((item) => item.index === index)) {
    paintLine(context, place([...line.from, index]), place([...line.to, index]), colors.line);
  }
  for (const click of here.flatMap((item) => item.points)) {
    paintClick(context, place([click.i, click.j, index]), click, colors);
  }
  context.restore();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Placing} place
 * @param {PlaneBox} box
 * @param {number} index
 * @param {string} color
 * @param {number[]} dash
 */
function paintBox(context, place, [iMin, iMax, jMin, jMax], index, color, dash = []) {
  const [x0, y0] = place([iMax - 0.5, jMax - 0.5, index]);
  const [x1, y1] = place([iMin - 0.5, jMin - 0.5, index]);
  context.beginPath();
  context.rect(x0, y0, x1 - x0, y1 - y0);
  strokeOnRim(context, color, 2 * (window.devicePixelRatio || 1), dash);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Pair} from
 * @param {Pair} to
 * @param {string} color
 */
function paintLine(context, from, to, color) {
  context.beginPath();
  context.moveTo(...from);
  context.lineTo(...to);
  strokeOnRim(context, color, 2 * (window.devicePixelRatio || 1));
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Pair} place
 * @param {Click} click
 * @param {PromptColors} colors
 */
function paintClick(context, [x, y], { inside }, colors) {
  const unit = window.devicePixelRatio || 1;
  context.beginPath();
  context.moveTo(x + 7 * unit, y);
  context.arc(x, y, 7 * unit, 0, 2 * Math.PI);
  addCross(context, [x, y], 3.5 * unit, inside);
  strokeOnRim(context, inside ? colors.inside : colors.outside, 1.5 * unit);
}

/**
 * A plus, or a minus where it is not `upright` as well.
 * @param {CanvasRenderingContext2D} context
 * @param {Pair} place
 * @param {number} arm
 * @param {boolean} upright
 */
function addCross(context, [x, y], arm, upright) {
  context.moveTo(x - arm, y);
  context.lineTo(x + arm, y);
  if (!upright) return;
  context.moveTo(x, y - arm);
  context.lineTo(x, y + arm);
}

/**
 * @param {Pair} from
 * @param {Pair} to
 * @returns {PlaneBox} both voxels are inside
 */
export function boxBetween(from, to) {
  return [
    Math.min(from[0], to[0]),
    Math.max(from[0], to[0]) + 1,
    Math.min(from[1], to[1]),
    Math.max(from[1], to[1]) + 1,
  ];
}

/**
 * What a page does with what is drawn, and `prompts()`, which gives what `paint` shows.
 * @typedef {object} Hooks
 * @property {(from: Pair, to: Pair, index: number) => unknown} onbox both voxels are inside the box
 * @property {(voxel: Pair, index: number, inside: boolean) => unknown} onclick
 * @property {(event: KeyboardEvent) => unknown} onundo
 * @property {(text: string) => void} onsay
 * @property {() => Prompt[]} prompts
 */

export class PromptTools {
  tool = BOX;
  /** @type {Pair | null} */
  cursor = null;
  /** @type {Pair | null} */
  corner = null;
  /** @type {{ from: Pair, to: Pair } | null} */
  pressed = null;

  /**
   * @param {SliceCanvas} view
   * @param {Palette} palette
   * @param {Hooks} hooks
   */
  constructor(view, palette, hooks) {
    this.view = view;
    this.hooks = hooks;
    const { green, vermilion, yellow } = hues(palette);
    this.colors = { line: "#fff", inside: green, outside: vermilion, cursor: yellow };
    view.canvas.classList.add("lp-canvas");
    view.onpointer = (gesture) => this.pointer(gesture);
    view.stage.addEventListener("keydown", (event) => this.key(event), true);
  }

  /** @param {Partial<Pick<PromptTools, "tool" | "cursor" | "corner">>} changes */
  change(changes) {
    Object.assign(this, changes);
    this.view.redraw();
  }

  /** The case that is drawn on. */
  get shown() {
    return /** @type {DecodedCase} */ (this.view.case);
  }

  /** The slice that is shown, as the original image counts it. */
  get index() {
    return this.view.slice + this.shown.voxel[2][0];
  }

  /**
   * Whether a gesture is taken over.
   * @param {Gesture} gesture
   */
  pointer({ phase, ijk, event }) {
    if (event.button > 0) return false;
    /** @type {Pair | null} */
    const at = ijk && [Math.round(ijk[0]), Math.round(ijk[1])];
    if (phase === "down" && at) this.press(at, event.pointerId);
    if (phase === "move" && this.pressed) this.pull(at);
    if (phase === "up" && this.pressed) this.release(this.pressed);
    if (phase === "cancel") {
      this.pressed = null;
      this.view.redraw();
    }
    return Boolean(this.pressed) && phase !== "leave";
  }

  /**
   * @param {Pair} at
   * @param {number} pointer
   */
  press(at, pointer) {
    this.view.canvas.focus({ preventScroll: true });
    this.view.canvas.setPointerCapture(pointer);
    this.pressed = { from: at, to: at };
  }

  /** @param {Pair | null} at */
  pull(at) {
    if (at && this.pressed) this.pressed.to = at;
    this.view.redraw();
  }

  /** @param {{ from: Pair, to: Pair }} pressed */
  release({ from, to }) {
    this.pressed = null;
    this.commit(from, to);
  }

  /**
   * @param {Pair} from
   * @param {Pair} to
   */
  commit(from, to) {
    if (this.tool === BOX) this.hooks.onbox(from, to, this.index);
    else this.hooks.onclick(to, this.index, this.tool === CLICK_INSIDE);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    /** @type {Record<string, Pair>} */
    const steps = { ArrowUp: [0, 1], ArrowDown: [0, -1], ArrowLeft: [1, 0], ArrowRight: [-1, 0] };
    if (event.shiftKey && event.key in steps) this.moveCursor(steps[event.key], event.altKey ? 10 : 1);
    else if (event.key === "Enter" && event.target === this.view.canvas) this.enter();
    else if (event.key === "Backspace") this.hooks.onundo(event);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /**
   * @param {Pair} direction
   * @param {number} step
   */
  moveCursor([di, dj], step) {
    const { size } = this.shown;
    const [i, j] = this.cursor ?? this.middle();
    const keep = (/** @type {number} */ value, /** @type {number} */ count) => Math.min(Math.max(value, 0), count - 1);
    /** @type {Pair} */
    const cursor = [keep(i + di * step, size[0]), keep(j + dj * step, size[1])];
    this.change({ cursor });
    this.hooks.onsay(`Cross at column ${cursor[0]}, row ${cursor[1]}.`);
  }

  /** @returns {Pair} */
  middle() {
    const { voxel, columns, rows } = this.shown;
    return [voxel[0][0] + voxel[0][1] * Math.floor(columns / 2), voxel[1][0] + voxel[1][1] * Math.floor(rows / 2)];
  }

  /** Set a click, or one corner of a box and then the other. */
  enter() {
    const place = this.cursor ?? this.middle();
    if (this.tool !== BOX) {
      this.commit(place, place);
    } else if (this.corner) {
      const from = this.corner;
      this.corner = null;
      this.commit(from, place);
    } else {
      this.change({ corner: place, cursor: place });
      this.hooks.onsay("One corner is set. Move the cross to the other one and press Enter.");
    }
  }

  /**
   * The prompt on this slice, what is being drawn, and the keyboard's cross.
   * @param {CanvasRenderingContext2D} context
   * @param {Placing} place
   */
  paint(context, place) {
    const { index, colors } = this;
    paintPrompt(context, place, { prompts: this.hooks.prompts(), lines: [] }, index, colors);
    const [from, to] = this.pressed ? [this.pressed.from, this.pressed.to] : [this.corner, this.cursor];
    if (this.tool === BOX && from && to) paintBox(context, place, boxBetween(from, to), index, colors.line);
    if (!this.cursor) return;
    const unit = window.devicePixelRatio || 1;
    context.beginPath();
    addCross(context, place([...this.cursor, index]), 9 * unit, true);
    strokeOnRim(context, colors.cursor, 2 * unit);
  }
}

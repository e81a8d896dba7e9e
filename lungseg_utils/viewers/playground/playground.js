// @ts-check
// The playground's pictures in a notebook or in voila: shows a case and the masks of models, and hands on what is
// drawn. State and numbers are Python's; `widget.py` describes what goes to and fro. The canvas is that of
// slice_viewer.js, drawing on it that of prompt_tools.js.

import { decodeCase, decodeMask, inflate } from "../js/decode.js";
import { choice, element, reason } from "../js/dom.js";
import { abgr } from "../js/palette.js";
import { PromptTools, TOOLS } from "../js/prompt_tools.js";
import { SliceCanvas, overlayControls, windowChoice } from "../js/slice_viewer.js";

/** @import { DecodedCase, DecodedMask, Look, Overlay, Prompt, Triple, Windows } from "../js/types.js" */

/**
 * What anywidget gives: traits of `PromptCanvas`, and a way to send messages.
 * @typedef {object} Model
 * @property {(name: string) => any} get
 * @property {(name: string, value: any) => void} set
 * @property {() => void} save_changes
 * @property {(message: object) => void} send
 * @property {(event: string, act: () => void) => void} on
 */

/**
 * @typedef {{ first: number, count: number }} Planes the slices from the first to the last one that holds anything
 * @typedef {Planes & { bytes: string, draws: number }} StoredSpread
 * @typedef {{ name: string, bits: string, spread: StoredSpread | null } & Planes} StoredAnswer
 * @typedef {{ counts: Uint8Array, colors: Uint32Array }} Spread
 * @typedef {Overlay & { title: string, spread?: Spread | null }} ModelLook
 * @typedef {{ array: Uint8Array, used: boolean[] } & Planes} Placed
 * @typedef {DecodedMask & Partial<Planes>} ShownMask
 */

/**
 * @typedef {object} Pane
 * @property {SliceCanvas} view
 * @property {PromptTools} tools
 * @property {HTMLElement} caption
 * @property {HTMLElement} figure
 * @property {ModelLook[]} looks
 */

const PATIENCE_MS = 8000; // until a person is told that the kernel has not even heard of what was drawn
const LAYOUTS = ["overlaid", "side by side"];
const SIDE_BY_SIDE = 1;
const MOST_ALPHA = 190; // of a voxel that all draws hold
/** @type {Look} */
const FIRST_LOOK = { shown: true, filled: false, opacity: 1 };

/**
 * Colors (ABGR) by count: the more of the draws hold a voxel, the less of the CT shines through.
 * @param {string} color
 * @param {number} draws
 */
export function spreadColors(color, draws) {
  return Uint32Array.from({ length: draws + 1 }, (_, n) => abgr(color, Math.round((MOST_ALPHA * n) / draws)));
}

/**
 * Planes of bytes as an array (slices, rows, columns) that is empty elsewhere, and which slices they are. The array of
 * an older mask is used again, since a whole CT takes too long to empty.
 * @param {Planes} planes
 * @param {Uint8Array} values
 * @param {Triple} shape
 * @param {(Planes & { array: Uint8Array }) | null} old
 * @returns {Placed}
 */
export function placed({ first, count }, values, [slices, rows, columns], old = null) {
  const size = rows * columns;
  const array = old?.array ?? new Uint8Array(slices * size);
  if (old) array.fill(0, old.first * size, (old.first + old.count) * size);
  array.set(values, first * size);
  const reaches = (/** @type {number} */ slice) => array.subarray(slice * size, (slice + 1) * size).includes(1);
  const used = Array.from({ length: slices }, (_, s) => s >= first && s < first + count && reaches(s));
  return { array, first, count, used };
}

export class Playground {
  /** @type {Pane[]} */
  pool = [];
  /** @type {Pane[]} */
  panes = [];
  /** @type {Prompt[]} */
  prompts = [];
  layout = 0;
  window = "lung";
  tool = 0;
  patience = PATIENCE_MS;
  /** @type {number | null} */
  slice = null;
  /** @type {{ id: string, timer: ReturnType<typeof setTimeout> } | null} */
  waiting = null;
  /** @type {Promise<void>} */
  work = Promise.resolve();
  /** @type {(DecodedCase & { masks: ShownMask[] }) | null} */
  shown = null;
  /** @type {Map<string, ModelLook>} */
  looks = new Map();

  /**
   * @param {Model} model
   * @param {HTMLElement} root
   */
  constructor(model, root) {
    this.model = model;
    this.root = root;
    root.classList.add("lungseg-viewer", "lungseg-prompting", "lungseg-playground");
    root.dataset.mounted = ""; // no viewer of stored cases is to be built in here
    this.palette = model.get("palette");
    /** @type {Windows} */
    this.windows = model.get("windows");
    this.reference = {
      name: "reference",
      color: this.palette[0],
      shown: false,
      filled: false,
      opacity: 1,
      missing: false,
    };
    this.pictures = element("div", { className: "pg-pictures" });
    this.layoutChoice = choice("Models", LAYOUTS, 0, (n) => this.arrange(n));
    this.overlays = element("div", { className: "pg-overlays" });
    this.message = element("p", { className: "lp-message", role: "status", "aria-live": "polite" });
    const tools = element(
      "div",
      { className: "pg-tools" },
      choice("Draw", TOOLS, 0, (tool) => this.useTool(tool)),
      windowChoice(this.windows, (window) => this.useWindow(window)),
      this.layoutChoice,
    );
    root.append(element("div", { className: "lv-ui" }, tools, this.message, this.pictures, this.overlays));
    this.listen();
    this.enqueue(() => this.takeCase());
  }

  listen() {
    const { model } = this;
    /** @type {(name: string, take: () => void | Promise<void>) => void} */
    const on = (name, take) => model.on(`change:${name}`, () => this.enqueue(take));
    on("case", () => this.takeCase());
    on("models", () => this.takeModels());
    on("answers", () => this.takeAnswers());
    on("answered", () => this.count());
    on("prompts", () => this.takePrompts());
    on("message", () => this.takeMessage());
    on("slice", () => this.go(model.get("slice")));
    model.on("change:heard", () => this.heard());
  }

  /**
   * One after the other, since unpacking takes a moment.
   * @param {() => void | Promise<void>} step
   */
  enqueue(step) {
    this.work = this.work.then(step).catch((problem) => {
      this.say(`The picture could not be updated: ${reason(problem)}`, true);
      console.error("playground:", problem);
    });
  }

  /** @param {number} tool */
  useTool(tool) {
    this.tool = tool;
    for (const { tools } of this.panes) tools.change({ tool, corner: null });
  }

  /** @param {string} window */
  useWindow(window) {
    this.window = window;
    for (const { view } of this.panes) view.change({ window });
  }

  async takeCase() {
    const stored = this.model.get("case");
    if (!stored.ct) return;
    this.shown = await decodeCase(stored);
    this.slice = null; // opens where the case says
    this.reference.missing = !this.shown.masks.length;
    this.takePrompts();
    this.takeModels();
    await this.takeAnswers();
    this.takeMessage();
  }

  takeModels() {
    if (!this.shown) return;
    /** @type {{ name: string, title: string, color: string }[]} */
    const models = this.model.get("models");
    const old = this.looks;
    this.looks = new Map(models.map((item) => [item.name, { ...FIRST_LOOK, ...old.get(item.name), ...item }]));
    this.layoutChoice.hidden = models.length < 2;
    this.showControls();
    this.arrange(this.layout);
  }

  /**
   * The reference, if there is one, and these looks.
   * @param {ModelLook[]} looks
   * @returns {Overlay[]}
   */
  layers(looks) {
    return this.reference.missing ? looks : [this.reference, ...looks];
  }

  showControls() {
    const layers = this.layers([...this.looks.values()]);
    this.overlays.replaceChildren(...layers.map((layer) => overlayControls(layer, () => this.relook())));
  }

  /** After a change of what is shown: Python is told whether the reference was seen. */
  relook() {
    this.redraw();
    if (this.model.get("shows_reference") === this.reference.shown) return;
    this.model.set("shows_reference", this.reference.shown);
    this.model.save_changes();
  }

  redraw() {
    for (const { view } of this.panes) view.redraw();
  }

  /** @param {number} layout */
  arrange(layout) {
    this.layout = layout;
    if (!this.shown) return;
    const looks = [...this.looks.values()];
    const groups = layout === SIDE_BY_SIDE && looks.length > 1 ? looks.map((look) => [look]) : [looks];
    while (this.pool.length < groups.length) this.pool.push(this.newPane());
    this.panes = this.pool.slice(0, groups.length);
    this.pictures.replaceChildren(...this.panes.map(({ figure }) => figure));
    this.pictures.classList.toggle("pg-side", groups.length > 1);
    const { shown, slice } = this;
    this.panes.forEach((pane, n) => {
      pane.looks = groups[n];
      pane.caption.textContent = groups.length > 1 ? groups[n][0].title : "";
      pane.view.overlays = this.layers(groups[n]);
      pane.view.window = this.window;
      pane.tools.tool = this.tool;
      pane.view.set(shown, slice ?? shown.start);
    });
  }

  /** @returns {Pane} */
  newPane() {
    const view = new SliceCanvas(this.root, this.windows);
    const tools = new PromptTools(view, this.palette, {
      onbox: (from, to, index) => this.send({ kind: "box", from, to, index }),
      onclick: (place, index, inside) => this.send({ kind: "click", place, index, inside }),
      onundo: (event) => this.send({ kind: event.shiftKey ? "redo" : "undo" }),
      onsay: (text) => this.say(text),
      prompts: () => this.prompts,
    });
    const caption = element("figcaption", { className: "pg-caption" });
    const figure = element("figure", { className: "pg-pane" }, view.stage, caption);
    /** @type {Pane} */
    const pane = { view, tools, caption, figure, looks: [] };
    view.paint = (context, place) => {
      for (const look of pane.looks) paintSpread(view, context, look);
      tools.paint(context, place);
    };
    view.onslice = (slice) => this.turned(slice);
    return pane;
  }

  /**
   * One pane was turned: the others follow, and Python hears of it.
   * @param {number} slice
   */
  turned(slice) {
    if (slice === this.slice) return;
    this.slice = slice;
    for (const { view } of this.panes) if (view.case) view.go(slice);
    this.model.set("slice", slice);
    this.model.save_changes();
  }

  /** @param {number} slice */
  go(slice) {
    if (this.shown) this.panes[0].view.go(slice);
  }

  count() {
    this.root.dataset.answers = this.model.get("answered");
  }

  takePrompts() {
    this.prompts = this.model.get("prompts");
    this.redraw();
  }

  async takeAnswers() {
    const { shown } = this;
    if (!shown) return;
    /** @type {StoredAnswer[]} */
    const answers = this.model.get("answers");
    const reference = shown.masks.filter(({ name }) => name === "reference");
    /** @type {Triple} */
    const shape = [shown.slices, shown.rows, shown.columns];
    /** @type {ShownMask[]} */
    const masks = [];
    for (const answer of answers) {
      const { array } = await decodeMask(answer, [answer.count, shown.rows, shown.columns]);
      const old = shown.masks.find(({ name }) => name === answer.name);
      masks.push({ name: answer.name, ...placed(answer, array, shape, isPlaced(old) ? old : null) });
    }
    shown.masks = [...reference, ...masks];
    for (const look of this.looks.values()) {
      await this.takeSpread(look, answers.find(({ name }) => name === look.name)?.spread ?? null, shape);
    }
    this.redraw();
  }

  /**
   * @param {ModelLook} look
   * @param {StoredSpread | null} spread
   * @param {Triple} shape
   */
  async takeSpread(look, spread, shape) {
    const changed = Boolean(look.spread) !== Boolean(spread);
    look.spread = spread && {
      counts: placed(spread, await inflate(spread.bytes), shape).array,
      colors: spreadColors(look.color, spread.draws),
    };
    if (!changed) return;
    this.showControls();
  }

  takeMessage() {
    const { text, problem } = this.model.get("message");
    this.say(text, problem);
  }

  /**
   * @param {string} text
   * @param {boolean} problem
   */
  say(text, problem = false) {
    this.message.textContent = text;
    this.message.classList.toggle("lp-problem", problem);
  }

  /**
   * Hand a gesture to Python; if nobody takes it, say so, and leave the picture as it is.
   * @param {object} gesture
   */
  send(gesture) {
    const id = Math.random().toString(36).slice(2);
    this.stopWaiting();
    this.waiting = { id, timer: setTimeout(() => this.unheard(), this.patience) };
    try {
      this.model.send({ ...gesture, id });
    } catch (problem) {
      console.warn("playground:", problem);
      this.unheard();
    }
  }

  heard() {
    if (this.model.get("heard") === this.waiting?.id) this.stopWaiting();
  }

  stopWaiting() {
    if (this.waiting) clearTimeout(this.waiting.timer);
    this.waiting = null;
  }

  unheard() {
    this.stopWaiting();
    const advice = "If it was, run the notebook again; what was saved can be replayed.";
    this.say(`The kernel does not answer: it is busy, or it was restarted. ${advice}`, true);
  }

  /** The picture is taken off the page. */
  dispose() {
    this.stopWaiting();
    for (const { view } of this.pool) view.dispose();
  }
}

/**
 * In how many draws each voxel is inside, as a veil over the CT.
 * @param {SliceCanvas} view
 * @param {CanvasRenderingContext2D} context
 * @param {ModelLook} look
 */
function paintSpread(view, context, { spread, shown, opacity }) {
  if (!spread || !shown) return;
  const { counts, colors } = spread;
  context.save();
  context.globalAlpha = opacity;
  view.stamp(context, false, (n) => colors[counts[n]]);
  context.restore();
}

/**
 * @param {ShownMask | undefined} mask
 * @returns {mask is ShownMask & Planes}
 */
const isPlaced = (mask) => mask?.first !== undefined && mask.count !== undefined;

export default {
  /** @param {{ model: Model, el: HTMLElement }} place */
  render({ model, el }) {
    const playground = new Playground(model, el);
    Object.assign(el, { playground });
    return () => playground.dispose();
  },
};

// The playground's pictures in a notebook or in voila: shows a case and what models said of it, and hands on what is drawn. State and
// numbers are Python's; `widget.py` describes what goes to and fro. The canvas is that of slice_viewer.js, drawing on it that of
// prompt_tools.js; anywidget gets the three files as one module.

import {
  COLORS,
  SliceCanvas,
  choice,
  decodeCase,
  decodeMask,
  element,
  inflate,
  overlayControls,
  windowChoice,
} from "../js/slice_viewer.js";
import { PromptTools, TOOLS } from "../js/prompt_tools.js";

const PATIENCE_MS = 8000; // until a person is told that the kernel has not even heard of what was drawn
const LAYOUTS = ["overlaid", "side by side"];

/** Colors (ABGR) by count: the more of the draws hold a voxel, the less of the CT shines through. */
export function spreadColors(color, draws) {
  const [red, green, blue] = [1, 3, 5].map((n) => parseInt(color.slice(n, n + 2), 16));
  return Uint32Array.from(
    { length: draws + 1 },
    (_, n) => ((Math.round((190 * n) / draws) << 24) | (blue << 16) | (green << 8) | red) >>> 0,
  );
}

/** Planes of bytes as an array (slices, rows, columns) that is empty elsewhere, and which slices they are. */
export function placed({ first, count }, values, [slices, rows, columns], old = null) {
  const size = rows * columns;
  const array = old?.array ?? new Uint8Array(slices * size);
  if (old) array.fill(0, old.first * size, (old.first + old.count) * size); // a whole CT takes too long to empty
  array.set(values, first * size);
  const used = Array.from(
    { length: slices },
    (_, s) =>
      s >= first && s < first + count && values.subarray((s - first) * size, (s - first + 1) * size).includes(1),
  );
  return { array, first, count, used };
}

export class Playground {
  constructor(model, root) {
    Object.assign(this, {
      model,
      root,
      pool: [],
      panes: [],
      prompts: [],
      layout: 0,
      window: "lung",
      tool: 0,
      patience: PATIENCE_MS,
      slice: null,
      waiting: null,
      work: Promise.resolve(),
    });
    root.classList.add("lungseg-viewer", "lungseg-prompting", "lungseg-playground");
    root.dataset.mounted = ""; // no viewer of stored cases is to be built in here
    this.reference = { name: "reference", color: COLORS[0], shown: false, filled: false, opacity: 1 };
    this.looks = new Map();
    this.build();
    this.listen();
    this.then(() => this.takeCase());
  }

  build() {
    this.pictures = element("div", { className: "pg-pictures" });
    this.layoutChoice = choice("Models", LAYOUTS, 0, (n) => this.arrange(n));
    this.overlays = element("div", { className: "pg-overlays" });
    this.message = element("p", { className: "lp-message", role: "status", "aria-live": "polite" });
    const tools = element(
      "div",
      { className: "pg-tools" },
      choice("Draw", TOOLS, 0, (n) =>
        this.panes.forEach(({ tools }) => tools.change({ tool: (this.tool = n), corner: null })),
      ),
      windowChoice((window) => this.panes.forEach(({ view }) => view.change({ window: (this.window = window) }))),
      this.layoutChoice,
    );
    this.root.append(element("div", { className: "lv-ui" }, tools, this.message, this.pictures, this.overlays));
  }

  listen() {
    const { model } = this;
    const on = (name, take) => model.on(`change:${name}`, () => this.then(() => take()));
    on("case", () => this.takeCase());
    on("models", () => this.takeModels());
    on("answers", () => this.takeAnswers());
    on("answered", () => (this.root.dataset.answers = model.get("answered")));
    on("prompts", () => this.takePrompts());
    on("message", () => this.takeMessage());
    model.on("change:heard", () => this.heard());
    on("slice", () => this.go(model.get("slice")));
  }

  /** One after the other, since unpacking takes a moment. */
  then(step) {
    this.work = this.work.then(step).catch((problem) => {
      this.say(`The picture could not be updated: ${problem.message}`, true);
      console.error("playground:", problem);
    });
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
    this.models = this.model.get("models");
    const old = this.looks;
    this.looks = new Map(
      this.models.map((item) => [
        item.name,
        { ...item, ...(old.get(item.name) ?? { shown: true, filled: true, opacity: 0.7 }), color: item.color },
      ]),
    );
    this.layoutChoice.hidden = this.models.length < 2;
    this.showControls();
    this.arrange(this.layout);
  }

  showControls() {
    const layers = this.reference.missing ? [...this.looks.values()] : [this.reference, ...this.looks.values()];
    this.overlays.replaceChildren(...layers.map((layer) => overlayControls(layer, () => this.relook())));
  }

  /** After a change of what is shown: Python is told whether the reference was seen. */
  relook() {
    this.panes.forEach(({ view }) => view.redraw());
    if (this.model.get("shows_reference") === this.reference.shown) return;
    this.model.set("shows_reference", this.reference.shown);
    this.model.save_changes();
  }

  arrange(layout) {
    this.layout = layout;
    const looks = [...this.looks.values()];
    const groups = layout === 1 && looks.length > 1 ? looks.map((look) => [look]) : [looks];
    while (this.pool.length < groups.length) this.pool.push(this.newPane());
    this.panes = this.pool.slice(0, groups.length);
    this.pictures.replaceChildren(...this.panes.map(({ figure }) => figure));
    this.pictures.classList.toggle("pg-side", groups.length > 1);
    const slice = this.slice ?? this.shown.start;
    this.panes.forEach((pane, n) => {
      pane.looks = groups[n];
      pane.caption.textContent = groups.length > 1 ? groups[n][0].title : "";
      pane.view.overlays = this.reference.missing ? groups[n] : [this.reference, ...groups[n]];
      pane.view.window = this.window;
      pane.tools.tool = this.tool;
      pane.view.set(this.shown, slice);
    });
  }

  newPane() {
    const view = new SliceCanvas(this.root);
    const caption = element("figcaption", { className: "pg-caption" });
    const tools = new PromptTools(view, {
      onbox: (from, to, k) => this.send({ kind: "box", from, to, index: k }),
      onclick: (place, k, inside) => this.send({ kind: "click", place, index: k, inside }),
      onundo: (event) => this.send({ kind: event.shiftKey ? "redo" : "undo" }),
      onsay: (text) => this.say(text),
      prompts: () => this.prompts,
    });
    const pane = {
      view,
      tools,
      caption,
      looks: [],
      figure: element("figure", { className: "pg-pane" }, view.stage, caption),
    };
    view.paint = (context, place) => {
      for (const look of pane.looks) this.paintSpread(view, context, look);
      tools.paint(context, place);
    };
    view.onslice = (slice) => this.turned(slice);
    return pane;
  }

  paintSpread(view, context, look) {
    if (!look.spread || !look.shown) return;
    const { counts, colors } = look.spread;
    context.save();
    context.globalAlpha = look.opacity;
    view.stamp(context, false, (n) => colors[counts[n]]);
    context.restore();
  }

  /** One pane was turned: the others follow, and Python hears of it. */
  turned(slice) {
    if (slice === this.slice) return;
    this.slice = slice;
    for (const { view } of this.panes) if (view.case) view.go(slice);
    this.model.set("slice", slice);
    this.model.save_changes();
  }

  go(slice) {
    if (this.shown) this.panes[0].view.go(slice);
  }

  takePrompts() {
    this.prompts = this.model.get("prompts");
    this.panes.forEach(({ view }) => view.redraw());
  }

  async takeAnswers() {
    if (!this.shown) return;
    const { slices, rows, columns } = this.shown;
    const shape = [slices, rows, columns];
    const answers = this.model.get("answers");
    const masks = this.shown.masks.filter(({ name }) => name === "reference");
    for (const { name, first, count, bits } of answers) {
      const { array } = await decodeMask({ name, bits }, [count, rows, columns]);
      const old = this.shown.masks.find((mask) => mask.name === name);
      masks.push({ name, ...placed({ first, count }, array, shape, old) });
    }
    this.shown.masks = masks;
    for (const look of this.looks.values())
      await this.takeSpread(look, answers.find(({ name }) => name === look.name)?.spread, shape);
    this.panes.forEach(({ view }) => view.redraw());
  }

  async takeSpread(look, spread, shape) {
    const changed = Boolean(look.spread) !== Boolean(spread);
    const counts = spread && placed(spread, await inflate(spread.bytes), shape).array;
    look.spread = spread && { counts, colors: spreadColors(look.color, spread.draws) };
    if (!changed) return;
    look.filled = !spread; // counts fill the picture by themselves
    this.showControls();
  }

  takeMessage() {
    const { text, problem } = this.model.get("message");
    this.say(text, problem);
  }

  say(text, problem = false) {
    this.message.textContent = text;
    this.message.classList.toggle("lp-problem", problem);
  }

  /** Hand a gesture to Python; if nobody takes it, say so, and leave the picture as it is. */
  send(gesture) {
    const id = Math.random().toString(36).slice(2);
    clearTimeout(this.waiting?.timer);
    this.waiting = { id, timer: setTimeout(() => this.unheard(), this.patience) };
    try {
      this.model.send({ ...gesture, id });
    } catch (problem) {
      console.warn("playground:", problem);
      this.unheard();
    }
  }

  heard() {
    if (this.model.get("heard") !== this.waiting?.id) return;
    clearTimeout(this.waiting.timer);
    this.waiting = null;
  }

  /** The picture is taken off the page. */
  dispose() {
    clearTimeout(this.waiting?.timer);
    for (const { view } of this.pool) view.dispose();
  }

  unheard() {
    clearTimeout(this.waiting?.timer);
    this.say(
      "The kernel does not answer: it is busy, or it was restarted. If it was, run the notebook again; what was saved can be replayed.",
      true,
    );
  }
}

export default {
  render({ model, el }) {
    el.playground = new Playground(model, el);
    return () => el.playground.dispose();
  },
};

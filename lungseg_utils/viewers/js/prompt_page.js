// The page "Prompt it yourself": a case or the reader's own CT, tools to draw a prompt, and a network that answers in the page.
// The canvas is that of slice_viewer.js, drawing on it that of prompt_tools.js, what is asked of the network that of promptable.js; here
// stand only state and controls.

import { Asker, canBeAsked, dice, merge, trivialAnswer } from "./promptable.js";
import {
  SliceCanvas,
  choice,
  decodeCase,
  element,
  loadJson,
  minus,
  overlayControls,
  windowChoice,
} from "./slice_viewer.js";
import { UnusableFile, readCase } from "./nifti.js";
import { PromptTools, TOOLS } from "./prompt_tools.js";

const BALL_MM = 31; // diameter of the trivial answer to one click, as in models/trivial.py
const OVERLAYS = [
  { name: "reference", color: "#56b4e9", shown: true, filled: false, opacity: 1 },
  { name: "answer", title: "answer", color: "#e69f00", shown: true, filled: true, opacity: 0.7 },
  { name: "trivial", title: "ellipse or ball", color: "#cc79a7", shown: false, filled: false, opacity: 1 },
];

/** A network of onnxruntime as promptable.js wants it. */
async function loadNetwork(runtime, folder, view) {
  const options = { executionProviders: ["wasm"] };
  const [encoder, decoder] = await Promise.all(
    ["encoder", "decoder"].map((name) =>
      runtime.InferenceSession.create(new URL(`${name}.onnx`, folder).href, options),
    ),
  );
  const tensor = (type, data, shape) => new runtime.Tensor(type, data, shape);
  return {
    view,
    encode: async (picture) =>
      (await encoder.run({ picture: tensor("float32", picture, [1, 1, view.canvas, view.canvas]) })).embedding,
    decode: async (embedding, positions, labels) => {
      const tokens = {
        positions: tensor("float32", Float32Array.from(positions), [1, labels.length, 2]),
        labels: tensor("int32", Int32Array.from(labels), [1, labels.length]),
      };
      return (await decoder.run({ embedding, ...tokens })).logits.data;
    },
  };
}

const number = (value, digits = 3) => (value === null || value === undefined ? "–" : minus(value, digits));
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)];

export class PromptPage {
  constructor(root) {
    this.root = root;
    this.data = new URL(root.dataset.lungsegData, document.baseURI);
    this.runtimeFolder = new URL(root.dataset.lungsegRuntime, document.baseURI).href;
    Object.assign(this, {
      prompts: [],
      history: [],
      networks: new Map(),
      asker: null,
      times: [],
      follow: false,
      asked: 0,
    });
    root.classList.add("lungseg-viewer");
    this.ready = this.start();
  }

  async start() {
    if (typeof WebAssembly === "undefined")
      throw new UnusableFile("This browser has no WebAssembly, which the network runs on.");
    this.index = await loadJson(new URL("index.json", this.data));
    if (!this.index.networks.length)
      throw new UnusableFile("This edition has no network that is small enough to run in a page.");
    this.build();
    this.listen();
    this.entry = this.index.networks[0];
    const there = this.index.cases.filter((item) => item.file);
    if (!there.length) throw new UnusableFile("This edition holds no case whose images may be passed on.");
    await this.openCase(this.index.cases.indexOf(there.find((item) => item.title.includes("median")) ?? there[0]));
    this.root.querySelector(".lp-fallback")?.remove();
  }

  build() {
    this.view = new SliceCanvas(this.root);
    this.view.overlays = OVERLAYS.map((overlay) => ({ ...overlay }));
    this.tools = new PromptTools(this.view, {
      onbox: (from, to, index) => this.addBox(from, to, index),
      onclick: (voxel, index, inside) => this.addClick(voxel, index, inside),
      onundo: () => this.undo(),
      onsay: (text) => this.say(text),
      prompts: () => this.prompts,
    });
    this.view.paint = (context, place) => this.tools.paint(context, place);
    this.view.onslice = () => this.describe();
    const option = (text, value) => element("option", { value }, text);
    this.caseSelect = element("select", {
      "aria-label": "Case",
      onchange: () => this.openCase(+this.caseSelect.value),
    });
    this.caseSelect.append(...this.caseGroups(option));
    this.networkSelect = element("select", {
      "aria-label": "Network",
      onchange: () => this.useNetwork(+this.networkSelect.value),
    });
    this.networkSelect.append(
      ...this.index.networks.map((item, n) => option(`${item.title} (${item.megabytes} MB)`, n)),
    );
    const left = this.index.left_out.map((title) => option(`${title}: sees whole slices, too large for a page`, ""));
    this.networkSelect.append(...left.map((item) => Object.assign(item, { disabled: true })));
    this.file = element("input", {
      type: "file",
      accept: ".nii,.gz",
      "aria-label": "Your own CT, a NIfTI file",
      onchange: () => this.openFile(this.file.files[0]),
    });
    this.rungSelect = element("select", {
      "aria-label": "Rung of the prompt ladder",
      onchange: () => this.useRung(this.rungSelect.value),
    });
    this.rungSelect.append(
      option("choose a rung", ""),
      ...Object.entries(this.index.rungs).map(([name, title]) => option(title, name)),
    );
    this.followBox = element("input", { type: "checkbox", onchange: () => this.setFollow(this.followBox.checked) });
    this.undoButton = element("button", { type: "button", onclick: () => this.undo() }, "Undo");
    this.clearButton = element("button", { type: "button", onclick: () => this.clear() }, "Clear");
    this.message = element("p", { className: "lp-message", role: "status", "aria-live": "polite" });
    this.table = element("table", { className: "lp-scores" });
    this.time = element("p", { className: "lv-note lp-time" });
    this.note = element("p", { className: "lv-note" });
    const labeled = (text, control) => element("label", { className: "lp-field" }, element("span", {}, text), control);
    const head = element(
      "div",
      { className: "lp-head" },
      labeled("Case", this.caseSelect),
      labeled("Network", this.networkSelect),
      labeled("Or your own CT", this.file),
    );
    const panel = element(
      "div",
      { className: "lv-panel" },
      choice("Draw", TOOLS, 0, (n) => this.tools.change({ tool: n, corner: null })),
      element("label", { className: "lp-follow" }, this.followBox, "follow the lesion through the slices"),
      element("div", { className: "lp-buttons" }, this.undoButton, this.clearButton),
      labeled("What the benchmark's prompters did here", this.rungSelect),
      this.table,
      this.time,
      windowChoice((window) => this.view.change({ window })),
      ...this.view.overlays.map((overlay) => overlayControls(overlay, () => this.view.redraw())),
      this.note,
    );
    this.ui = element(
      "div",
      { className: "lv-ui" },
      head,
      this.message,
      element("div", { className: "lv-body" }, this.view.stage, panel),
    );
    this.root.append(this.ui);
  }

  caseGroups(option) {
    const groups = new Map();
    this.index.cases.forEach((item, n) => {
      const name = `${item.dataset}${item.phantom ? " (phantoms)" : " (real CT)"}`;
      if (!groups.has(name)) groups.set(name, element("optgroup", { label: name }));
      const entry = option(item.withheld ? `${item.title}: not redistributable, not in this edition` : item.title, n);
      entry.disabled = Boolean(item.withheld);
      groups.get(name).append(entry);
    });
    return groups.values();
  }

  listen() {
    // the network is larger than all else on the page, so it is fetched when somebody turns to the picture
    for (const approach of ["pointerenter", "focus"]) {
      this.view.canvas.addEventListener(approach, () => this.load(this.entry).catch((problem) => this.fail(problem)), {
        once: true,
      });
    }
    const stop = (event) => event.preventDefault();
    this.view.canvas.addEventListener("dragover", stop);
    this.view.canvas.addEventListener("drop", (event) => {
      stop(event);
      if (event.dataTransfer.files.length) this.openFile(event.dataTransfer.files[0]);
    });
  }

  say(text, problem = false) {
    this.message.textContent = text;
    this.message.classList.toggle("lp-problem", problem);
  }

  async openCase(index) {
    const entry = this.index.cases[index];
    this.say("Loading the case …");
    const stored = await loadJson(new URL(entry.file, this.data));
    this.caseSelect.value = index;
    this.take(await decodeCase(stored), entry.phantom ? "A phantom: computer-generated, no patient." : "A real CT.");
    this.say("Draw a box around the tumor.");
  }

  async openFile(file) {
    if (!file) return;
    this.say(`Reading ${file.name} …`);
    try {
      const own = await readCase(await file.arrayBuffer(), file.name);
      this.take(own, own.note || "Your own file: it stays in this page.");
      this.say("Draw a box around a tumor. There is no reference, so no Dice.");
    } catch (problem) {
      if (!(problem instanceof UnusableFile) && !(problem instanceof RangeError)) throw problem;
      this.say(
        problem instanceof RangeError
          ? `${file.name} does not fit into this page's memory.`
          : `${file.name}: ${problem.message}`,
        true,
      );
    }
  }

  take(shown, note) {
    const size = shown.slices * shown.rows * shown.columns;
    for (const name of ["answer", "trivial"]) shown.masks.push({ name, array: new Uint8Array(size) });
    this.note.textContent = note;
    this.rungSelect.parentElement.hidden = !shown.prompts; // of a reader's own CT there are none
    this.view.set(shown, shown.start);
    this.tools.change({ corner: null, cursor: null });
    Object.assign(this, { asker: null, prompts: [], history: [], times: [] });
    return this.answer();
  }

  useNetwork(index) {
    this.entry = this.index.networks[index];
    Object.assign(this, { asker: null, times: [] });
    return this.answer();
  }

  /** The network of an entry, fetched once. */
  load(entry) {
    if (!this.networks.has(entry)) {
      const loading = this.runtimeReady().then((runtime) =>
        loadNetwork(runtime, new URL(`${entry.folder}/`, this.data), entry.view),
      );
      loading.catch(() => this.networks.delete(entry)); // the next question tries again
      this.networks.set(entry, loading);
    }
    return this.networks.get(entry);
  }

  async runtimeReady() {
    if (!this.runtime) {
      this.runtime = await import(new URL("ort.wasm.min.mjs", this.runtimeFolder).href);
      Object.assign(this.runtime.env.wasm, { numThreads: 1, wasmPaths: this.runtimeFolder });
      this.runtime.env.logLevel = "error";
    }
    return this.runtime;
  }

  /** What asks the chosen network about the case that is shown. */
  async readyToAsk() {
    if (!this.asker) {
      const { entry, view } = this;
      this.say(`Loading ${entry.title} …`);
      const asker = new Asker(await this.load(entry), view.case);
      if (entry === this.entry && asker.volume === view.case) this.asker = asker;
      return asker;
    }
    return this.asker;
  }

  fail(problem) {
    this.say(`The network failed: ${problem.message}`, true);
    console.error("prompt page:", problem);
  }

  /** The reader's own prompt, begun anew where a rung of the benchmark is shown. */
  own() {
    const mine = this.prompts.length === 1 && this.prompts[0].mine;
    return mine
      ? structuredClone(this.prompts[0])
      : { mine: true, lesion_id: 1, find_ends: this.follow, box_3d: null, slices: [] };
  }

  edit(update) {
    const prompt = this.own();
    update(prompt);
    this.rungSelect.value = "";
    this.set([prompt]);
  }

  set(prompts) {
    this.history.push(this.prompts);
    this.prompts = prompts;
    return this.answer();
  }

  hintOf(prompt, index) {
    let hint = prompt.slices.find((item) => item.index === index);
    if (!hint) prompt.slices.push((hint = { index, box: null, points: [] }));
    return hint;
  }

  addBox(a, b, index) {
    const side = (axis) => [Math.min(a[axis], b[axis]), Math.max(a[axis], b[axis]) + 1];
    const box = [...side(0), ...side(1)];
    if (box[1] - box[0] < 2 || box[3] - box[2] < 2)
      return this.say("That box is smaller than two voxels; drag over the tumor.", true);
    return this.edit((prompt) => Object.assign(this.hintOf(prompt, index), { box }));
  }

  addClick([i, j], index, inside) {
    return this.edit((prompt) => this.hintOf(prompt, index).points.push({ i, j, inside }));
  }

  setFollow(follow) {
    this.follow = follow;
    if (this.prompts.length) this.edit((prompt) => Object.assign(prompt, { find_ends: follow }));
  }

  undo() {
    if (!this.history.length) return this.say("There is nothing to undo.");
    this.prompts = this.history.pop();
    this.tools.corner = null;
    return this.answer();
  }

  clear() {
    this.rungSelect.value = "";
    return this.set([]);
  }

  useRung(name) {
    if (!name) return this.clear();
    const prompts = this.view.case.prompts[name];
    const answered = this.set(prompts);
    const slices = prompts.flatMap((prompt) => prompt.slices.map((hint) => hint.index));
    if (slices.length) this.view.go(slices[Math.floor((slices.length - 1) / 2)] - this.view.case.voxel[2][0]);
    return answered;
  }

  /** Ask the network; an answer that comes after a newer question is dropped. */
  async answer() {
    const turn = ++this.asked;
    const { prompts } = this;
    let [found, took] = [new Map(), 0];
    try {
      const asker = prompts.length ? await this.readyToAsk() : null;
      const begin = performance.now();
      for (const prompt of prompts) found = merge(found, await asker.prompt(prompt, () => turn === this.asked));
      took = performance.now() - begin;
    } catch (problem) {
      return this.fail(problem);
    }
    if (turn === this.asked) this.show(found, took);
  }

  show(found, took) {
    this.put("answer", found);
    this.put("trivial", this.trivial());
    if (this.prompts.length)
      this.say(found.size ? "" : "Clicks outside alone say nothing: add a click inside, or a box.");
    if (found.size === 1) this.times.push(took);
    const typical =
      this.times.length > 1
        ? ` · one slice: median of ${this.times.length} answers ${median(this.times).toFixed(0)} ms`
        : "";
    this.time.textContent = found.size
      ? `${found.size} ${found.size === 1 ? "slice" : "slices"} answered in ${took.toFixed(0)} ms${typical}`
      : "";
    this.undoButton.disabled = !this.history.length;
    this.describe();
    this.view.redraw();
    this.root.dataset.answers = (+this.root.dataset.answers || 0) + 1;
  }

  trivial() {
    const { case: shown } = this.view;
    const asked = this.prompts.filter((prompt) => prompt.slices.some(canBeAsked));
    return asked.reduce((found, prompt) => merge(found, trivialAnswer(shown, prompt, BALL_MM)), new Map());
  }

  maskOf(name) {
    return this.view.case.masks.find((mask) => mask.name === name);
  }

  put(name, found) {
    const mask = this.maskOf(name);
    const { rows, columns } = this.view.case;
    mask.array.fill(0);
    for (const [slice, part] of found) mask.array.set(part, slice * rows * columns);
    mask.used = undefined;
  }

  /** Dice of a mask against the reference on the slice shown, and over all slices; null without a reference. */
  scores(name) {
    const [reference, mask] = [this.maskOf("reference"), this.maskOf(name)];
    if (!reference) return { slice: null, volume: null };
    const size = this.view.case.rows * this.view.case.columns;
    const on = (array) => array.subarray(this.view.slice * size, (this.view.slice + 1) * size);
    return { slice: dice([[on(mask.array), on(reference.array)]]), volume: dice([[mask.array, reference.array]]) };
  }

  describe() {
    if (!this.view.case || !this.maskOf("answer")) return;
    const asked = this.prompts.length > 0;
    const whole = asked && this.prompts.every((prompt) => !prompt.mine || prompt.find_ends);
    const [answer, trivial] = ["answer", "trivial"].map((name) => (asked ? this.scores(name) : {}));
    const row = (title, values, tag = "td") =>
      element("tr", {}, element("th", { scope: "row" }, title), ...values.map((value) => element(tag, {}, value)));
    const rows = [
      row("Dice", ["this slice", "3-D"], "th"),
      row("network", [number(answer.slice), whole ? number(answer.volume) : "–"]),
      row("ellipse or ball", [number(trivial.slice), whole ? number(trivial.volume) : "–"]),
    ];
    const told = this.rungSelect.value && this.view.case.scores?.[this.entry?.experiment]?.[this.rungSelect.value];
    if (Number.isFinite(told)) rows.push(row("in this book's tables", ["", number(told)]));
    this.table.replaceChildren(...rows);
    this.table.classList.toggle("lp-hidden", !this.maskOf("reference"));
    Object.assign(this.root.dataset, {
      dice: number(answer.volume),
      sliceDice: number(answer.slice),
      trivialDice: number(trivial.volume),
    });
  }
}

/** Bring every prompting place of this document to life. */
export function mountAll() {
  for (const root of document.querySelectorAll(".lungseg-prompting:not([data-mounted])")) {
    root.dataset.mounted = "";
    root.promptPage = new PromptPage(root);
    root.promptPage.ready.catch((problem) => {
      const text =
        problem instanceof UnusableFile ? problem.message : `The page could not load what it needs: ${problem.message}`;
      root.querySelector(".lp-fallback")?.remove();
      root.append(element("p", { className: "lp-message lp-problem", role: "alert" }, text));
      if (!(problem instanceof UnusableFile)) console.error("prompt page:", problem);
    });
  }
}

if (typeof document !== "undefined") mountAll();

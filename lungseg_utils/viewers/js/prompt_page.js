// @ts-check
// The page "Prompt it yourself": a case or the reader's own CT, tools to draw a prompt, and a network that answers in
// the page. The canvas is that of slice_viewer.js, drawing on it that of prompt_tools.js, what is asked of the network
// that of promptable.js; here stand only state and controls.

import { decodeCase, loadJson } from "./decode.js";
import { choice, element, minus, reason } from "./dom.js";
import { UnusableFile, readCase } from "./nifti.js";
import { OwnSlices } from "./own_slices.js";
import { hues } from "./palette.js";
import { PromptTools, TOOLS, boxBetween } from "./prompt_tools.js";
import { CannotAnswer, CaseSession, canBeAsked, dice, merge } from "./promptable.js";
import { SliceCanvas, overlayControls, windowChoice } from "./slice_viewer.js";
import { trivialPrediction } from "./trivial.js";
import { WholeSliceSession, filesOf } from "./whole_slice.js";

/** @import { DecodedCase, DecodedMask, Overlay, Pair, Palette, Prompt, SlicePrompt, Windows } from "./types.js" */
/** @import { MaskBySlice, Network, Propagation, ViewRule } from "./promptable.js" */
/** @import { BoxNetwork, WholeSliceRule } from "./whole_slice.js" */

/**
 * A network that can be asked, and a case to ask about, as viewers/prompt_page.py writes them.
 * @typedef {{ title: string, experiment: string, decoder: string, megabytes: number }} AnyEntry
 * @typedef {AnyEntry & { kind: "window", encoder: string, view: ViewRule }} WindowEntry
 * @typedef {{ encoder: string, encoder_megabytes: number, seen: Record<string, string> }} OfWholeSlices
 *   `seen`: what its training had to do with a data set, by the title of that
 * @typedef {AnyEntry & OfWholeSlices & { kind: "whole slice", view: WholeSliceRule }} WholeSliceEntry
 * @typedef {WindowEntry | WholeSliceEntry} NetworkEntry
 * @typedef {{ title: string, dataset: string, phantom: boolean, file?: string, withheld?: string }} CaseEntry
 */

/**
 * @typedef {object} Index
 * @property {NetworkEntry[]} networks
 * @property {string[]} left_out titles of networks that are too large for a page
 * @property {CaseEntry[]} cases
 * @property {Record<string, string>} settings titles by name
 * @property {Propagation} propagation
 * @property {number} ball_mm diameter of the trivial baseline for one click
 * @property {Palette} palette
 * @property {Windows} windows
 */

/**
 * What is shown: a case of the book with the benchmark's prompts and scores, or a reader's own CT without.
 * @typedef {DecodedCase & {
 *   prompts?: Record<string, Prompt[]>,
 *   scores?: Record<string, Record<string, number>>,
 *   embeddings?: Record<string, { folder: string, slices: number[] }>,
 *   dataset?: string,
 * }} ShownCase
 */

/**
 * Dice on the slice that is shown, and over all slices.
 * @typedef {{ slice: number | null, volume: number | null }} Scores
 */

const ENCODER_BY_DECODER = 20; // how many times as long it takes, in a page, at most
const NO_CASE =
  "This edition holds no case whose images may be passed on. One that is made after make data holds LIDC-IDRI-0001.";
const NO_EMBEDDINGS = "This book does not hold what the network sees of this case. Choose another case, or network.";

/** What keeps the page from working in this edition or in this browser, in words for its reader. */
export class CannotRun extends Error {}

/**
 * @param {any} runtime
 * @param {URL} address
 */
const openNetwork = (runtime, address) =>
  runtime.InferenceSession.create(address.href, { executionProviders: ["wasm"] });

/**
 * A network of onnxruntime as promptable.js wants it.
 * @param {any} runtime
 * @param {URL} data
 * @param {WindowEntry} entry
 * @returns {Promise<Network>}
 */
async function loadNetwork(runtime, data, { encoder: picturesTo, decoder: promptsTo, view }) {
  const open = (/** @type {string} */ name) => openNetwork(runtime, new URL(name, data));
  const [encoder, decoder] = await Promise.all([open(picturesTo), open(promptsTo)]);
  const { canvas } = view;
  return {
    view,
    encode: async (picture) => {
      const input = new runtime.Tensor("float32", picture, [1, 1, canvas, canvas]);
      return (await encoder.run({ picture: input })).embedding;
    },
    decode: async (embedding, positions, labels) => {
      const tokens = {
        positions: new runtime.Tensor("float32", Float32Array.from(positions), [1, labels.length, 2]),
        labels: new runtime.Tensor("int32", Int32Array.from(labels), [1, labels.length]),
      };
      return (await decoder.run({ embedding, ...tokens })).logits.data;
    },
  };
}

/**
 * A network of onnxruntime as whole_slice.js wants it.
 * @param {any} runtime
 * @param {URL} data
 * @param {WholeSliceEntry} entry
 * @returns {Promise<BoxNetwork>}
 */
async function loadBoxNetwork(runtime, data, { decoder: path, view }) {
  const decoder = await openNetwork(runtime, new URL(path, data));
  return {
    view,
    decode: async (embedding, box, cells) => {
      const inputs = {
        embedding: new runtime.Tensor("float32", embedding, [1, 256, 64, 64]),
        box: new runtime.Tensor("float32", Float32Array.from(box), [1, 4]),
        cells: new runtime.Tensor("int64", BigInt64Array.from(cells, BigInt), [cells.length]),
      };
      return (await decoder.run(inputs)).logits.data;
    },
  };
}

/**
 * Seconds that the encoder will take for a slice, by those of the decoder on this computer.
 * @param {BoxNetwork} network
 */
async function encoderSeconds(network) {
  const [embedding, cells] = [new Float32Array(256 * 64 * 64), Array.from({ length: 64 * 64 }, (_, n) => n)];
  await network.decode(embedding, [64, 64, 128, 128], cells); // the first call is slower
  const begin = performance.now();
  await network.decode(embedding, [64, 64, 128, 128], cells);
  return Math.max(1, Math.round((ENCODER_BY_DECODER * (performance.now() - begin)) / 1000));
}

/**
 * @param {number | null | undefined} value
 * @param {number} digits
 */
const number = (value, digits = 3) => (value === null || value === undefined ? "–" : minus(value, digits));

/**
 * The middle value; of an even number of values the mean of the two in the middle.
 * @param {number[]} values
 */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * @param {Palette} palette
 * @returns {Overlay[]}
 */
function overlaysOf(palette) {
  const { skyBlue, orange, purple } = hues(palette);
  return [
    { name: "reference", color: skyBlue, shown: true, filled: false, opacity: 1 },
    { name: "prediction", title: "prediction", color: orange, shown: true, filled: true, opacity: 0.7 },
    { name: "trivial", title: "ellipse or ball", color: purple, shown: false, filled: false, opacity: 1 },
  ];
}

/**
 * @param {string} text
 * @param {string | number} value
 */
const option = (text, value) => element("option", { value }, text);

/**
 * @param {string} text
 * @param {HTMLElement} control
 */
const labeled = (text, control) => element("label", { className: "lp-field" }, element("span", {}, text), control);

/**
 * The cases by data set.
 * @param {CaseEntry[]} cases
 */
function caseGroups(cases) {
  /** @type {Map<string, HTMLOptGroupElement>} */
  const groups = new Map();
  cases.forEach((item, n) => {
    const name = `${item.dataset}${item.phantom ? " (phantoms)" : " (real CT)"}`;
    const group = groups.get(name) ?? element("optgroup", { label: name });
    groups.set(name, group);
    const entry = option(item.withheld ? `${item.title}: not redistributable, not in this edition` : item.title, n);
    entry.disabled = Boolean(item.withheld);
    group.append(entry);
  });
  return groups.values();
}

/**
 * Networks to choose, and those that are too large to be chosen.
 * @param {Index} index
 */
function networkOptions({ networks, left_out: leftOut }) {
  const offered = networks.map((item, n) => option(`${item.title} (${item.megabytes} MB)`, n));
  const others = leftOut.map((title) => option(`${title}: sees whole slices, too large for a page`, ""));
  for (const item of others) item.disabled = true;
  return [...offered, ...others];
}

/** The controls of the page by what they are for; `page` does what they ask for. */
class Controls {
  /**
   * @param {PromptPage} page
   * @param {Index} index
   */
  constructor(page, index) {
    this.cases = element("select", { "aria-label": "Case" });
    this.cases.onchange = () => page.openCase(Number(this.cases.value));
    this.cases.append(...caseGroups(index.cases));
    this.networks = element("select", { "aria-label": "Network" });
    this.networks.onchange = () => page.useNetwork(Number(this.networks.value));
    this.networks.append(...networkOptions(index));
    this.file = element("input", { type: "file", accept: ".nii,.gz", "aria-label": "Your own CT, a NIfTI file" });
    this.file.onchange = () => page.openFile(this.file.files?.[0]);
    this.settings = element("select", { "aria-label": "Prompt setting" });
    this.settings.onchange = () => page.useSetting(this.settings.value);
    this.settings.append(option("choose a prompt setting", ""));
    this.settings.append(...Object.entries(index.settings).map(([name, title]) => option(title, name)));
    this.follow = element("input", { type: "checkbox" });
    this.follow.onchange = () => page.setFollow(this.follow.checked);
    this.undo = element("button", { type: "button", onclick: () => page.undo() }, "Undo");
    this.clear = element("button", { type: "button", onclick: () => page.clear() }, "Clear");
    this.message = element("p", { className: "lp-message", role: "status", "aria-live": "polite" });
    this.table = element("table", { className: "lp-scores" });
    this.time = element("p", { className: "lv-note lp-time" });
    this.note = element("p", { className: "lv-note" });
    this.about = element("p", { className: "lv-note lp-about" });
    this.bar = element("progress", { max: 1, value: 0, "aria-label": "Encoding the slice" });
    const cancel = element("button", { type: "button", onclick: () => page.ownSlices?.cancel() }, "Cancel");
    this.progress = element("div", { className: "lp-progress lp-buttons", hidden: true }, this.bar, cancel);
    this.timer = 0;
  }

  /**
   * Show how far a slice is, by the seconds that are expected; null when none is encoded.
   * @param {number | null} seconds
   */
  showProgress(seconds) {
    window.clearInterval(this.timer);
    this.progress.hidden = seconds === null;
    const begin = performance.now();
    const step = () => (this.bar.value = Math.min(0.97, (performance.now() - begin) / 1000 / (seconds ?? 1)));
    if (seconds !== null) this.timer = window.setInterval(step, 100);
    step();
  }

  /** What stands above the picture. */
  head() {
    return element(
      "div",
      { className: "lp-head" },
      labeled("Case", this.cases),
      labeled("Network", this.networks),
      labeled("Or your own CT", this.file),
      this.about,
    );
  }

  /**
   * What stands beside the picture.
   * @param {SliceCanvas} view
   * @param {PromptTools} tools
   */
  panel(view, tools) {
    return element(
      "div",
      { className: "lv-panel" },
      choice("Draw", TOOLS, 0, (tool) => tools.change({ tool, corner: null })),
      element("label", { className: "lp-follow" }, this.follow, "follow the lesion through the slices"),
      element("div", { className: "lp-buttons" }, this.undo, this.clear),
      labeled("What the benchmark's prompters did here", this.settings),
      this.table,
      this.time,
      windowChoice(view.windows, (window) => view.change({ window })),
      ...view.overlays.map((overlay) => overlayControls(overlay, () => view.redraw())),
      this.note,
    );
  }

  /**
   * @param {string} text
   * @param {boolean} problem
   */
  say(text, problem = false) {
    this.message.textContent = text;
    this.message.classList.toggle("lp-problem", problem);
  }
}

/** The page with its data: what is shown, what was drawn on it, and the network that is asked. */
export class PromptPage {
  /** @type {Prompt[]} */
  prompts = [];
  /** @type {Prompt[][]} */
  history = [];
  /** @type {CaseSession | null} */
  session = null;
  /** @type {number[]} */
  times = [];
  /** @type {OwnSlices | null} */
  ownSlices = null;
  /** @type {number | undefined} that a slice of an own CT is expected to take */
  seconds;
  follow = false;
  asked = 0;

  /**
   * @param {HTMLElement} root
   * @param {Index} index
   */
  constructor(root, index) {
    this.root = root;
    this.index = index;
    this.data = new URL(root.dataset.lungsegData ?? "", document.baseURI);
    this.runtimeFolder = new URL(root.dataset.lungsegRuntime ?? "", document.baseURI).href;
    /** @type {Map<NetworkEntry, Promise<Network | BoxNetwork>>} */
    this.networks = new Map();
    this.entry = index.networks[0];
    this.view = new SliceCanvas(root, index.windows);
    this.view.overlays = overlaysOf(index.palette);
    this.tools = new PromptTools(this.view, index.palette, {
      onbox: (from, to, k) => this.addBox(from, to, k),
      onclick: (voxel, k, inside) => this.addClick(voxel, k, inside),
      onundo: () => this.undo(),
      onsay: (text) => this.controls.say(text),
      prompts: () => this.prompts,
    });
    this.controls = new Controls(this, index);
    const body = element("div", { className: "lv-body" }, this.view.stage, this.controls.panel(this.view, this.tools));
    root.append(
      element("div", { className: "lv-ui" }, this.controls.head(), this.controls.message, this.controls.progress, body),
    );
    this.listen();
  }

  /** The case that is shown. */
  get shown() {
    return /** @type {ShownCase} */ (this.view.case);
  }

  listen() {
    const { view, tools } = this;
    view.paint = (context, place) => tools.paint(context, place);
    view.onslice = () => this.describe();
    // The network is larger than all else on the page, so it is fetched when somebody turns to the picture.
    const approach = () => this.load(this.entry).catch((problem) => this.fail(problem));
    view.canvas.addEventListener("pointerenter", approach, { once: true });
    view.canvas.addEventListener("focus", approach, { once: true });
    view.canvas.addEventListener("dragover", (event) => event.preventDefault());
    view.canvas.addEventListener("drop", (event) => {
      event.preventDefault();
      this.openFile(event.dataTransfer?.files[0]);
    });
  }

  /** Show a case to begin with: the first median one, of whole slices the first that is there. */
  async openFirst() {
    const there = this.index.cases.filter((item) => item.file);
    if (!there.length) throw new CannotRun(NO_CASE);
    const middle = this.entry.kind === "window" ? there.find((item) => item.title.includes("median")) : null;
    await this.openCase(this.index.cases.indexOf(middle ?? there[0]));
  }

  /** @param {number} index */
  async openCase(index) {
    const entry = this.index.cases[index];
    if (!entry.file) return;
    this.controls.say("Loading the case …");
    const stored = await loadJson(new URL(entry.file, this.data));
    this.controls.cases.value = String(index);
    const shown = { ...(await decodeCase(stored)), dataset: entry.dataset };
    await this.take(shown, entry.phantom ? "A phantom: computer-generated, no patient." : "A real CT.");
    this.controls.say("Draw a box around the tumor.");
  }

  /** @param {File | undefined} file */
  async openFile(file) {
    if (!file) return;
    this.controls.say(`Reading ${file.name} …`);
    try {
      const own = await readCase(await file.arrayBuffer(), file.name);
      await this.take(own, own.note || "Your own file: it stays in this page.");
      await this.sayHowLong();
    } catch (problem) {
      if (problem instanceof RangeError) this.controls.say(`${file.name} does not fit into this page's memory.`, true);
      else if (problem instanceof UnusableFile) this.controls.say(`${file.name}: ${problem.message}`, true);
      else throw problem;
    }
  }

  /** What a reader's own CT takes, before anything is drawn on it. */
  async sayHowLong() {
    const { entry, shown } = this;
    const begin = "Draw a box around a tumor. There is no reference, so no Dice.";
    if (entry.kind === "window" || shown.prompts) {
      this.controls.say(begin);
      return;
    }
    this.controls.say(`Loading ${entry.title} …`);
    const network = /** @type {BoxNetwork} */ (await this.load(entry));
    this.seconds ??= await encoderSeconds(network);
    if (entry !== this.entry || shown !== this.shown) return;
    const fetched = `The image encoder, ${entry.encoder_megabytes} MB, is fetched with the first box.`;
    this.controls.say(`${begin} Each slice takes about ${this.seconds} s on this computer. ${fetched}`);
  }

  /**
   * @param {ShownCase} shown
   * @param {string} note
   */
  take(shown, note) {
    this.dropOwnSlices();
    const size = shown.slices * shown.rows * shown.columns;
    for (const name of ["prediction", "trivial"]) shown.masks.push({ name, array: new Uint8Array(size) });
    this.controls.note.textContent = note;
    const settings = /** @type {HTMLElement} */ (this.controls.settings.parentElement);
    settings.hidden = !shown.prompts; // of a reader's own CT there are none
    this.view.set(shown, shown.start);
    this.tools.change({ corner: null, cursor: null });
    Object.assign(this, { session: null, prompts: [], history: [], times: [] });
    this.controls.about.textContent = aboutNetwork(this.entry, shown.dataset);
    return this.answer();
  }

  dropOwnSlices() {
    this.ownSlices?.cancel();
    this.ownSlices = null;
  }

  /** @param {number} index */
  async useNetwork(index) {
    this.dropOwnSlices();
    this.entry = this.index.networks[index];
    this.session = null;
    this.times = [];
    this.controls.about.textContent = aboutNetwork(this.entry, this.shown.dataset);
    if (!this.shown.prompts && !this.prompts.length) await this.sayHowLong();
    return this.answer();
  }

  /**
   * The network of an entry, fetched once.
   * @param {NetworkEntry} entry
   */
  load(entry) {
    const known = this.networks.get(entry);
    if (known) return known;
    const loading = this.runtimeReady().then((runtime) =>
      entry.kind === "window" ? loadNetwork(runtime, this.data, entry) : loadBoxNetwork(runtime, this.data, entry),
    );
    loading.catch(() => this.networks.delete(entry)); // the next question tries again
    this.networks.set(entry, loading);
    return loading;
  }

  async runtimeReady() {
    const runtime = await import(new URL("ort.wasm.min.mjs", this.runtimeFolder).href);
    Object.assign(runtime.env.wasm, { numThreads: 1, wasmPaths: this.runtimeFolder });
    runtime.env.logLevel = "error";
    return runtime;
  }

  /** What asks the chosen network about the case that is shown. */
  async readyToAsk() {
    if (this.session) return this.session;
    const { entry, shown, index } = this;
    this.controls.say(`Loading ${entry.title} …`);
    const session = this.sessionOf(await this.load(entry), entry, shown, index.propagation);
    if (entry === this.entry && shown === this.shown) this.session = session;
    return session;
  }

  /**
   * @param {Network | BoxNetwork} network
   * @param {NetworkEntry} entry
   * @param {ShownCase} shown
   * @param {Propagation} propagation
   */
  sessionOf(network, entry, shown, propagation) {
    if (entry.kind === "window") return new CaseSession(/** @type {Network} */ (network), shown, propagation);
    return new WholeSliceSession(/** @type {BoxNetwork} */ (network), shown, propagation, this.sourceOf(entry, shown));
  }

  /**
   * Where embeddings come from: files of the book, and of a reader's own CT the encoder in this page.
   * @param {WholeSliceEntry} entry
   * @param {ShownCase} shown
   */
  sourceOf(entry, shown) {
    const stored = shown.embeddings?.[entry.experiment];
    if (stored) return filesOf(new URL(`${stored.folder}/`, this.data), stored.slices);
    if (shown.prompts) throw new CannotAnswer(NO_EMBEDDINGS);
    const addresses = { runtime: this.runtimeFolder, encoder: new URL(entry.encoder, this.data).href };
    this.ownSlices = new OwnSlices(shown, entry.view, addresses, (index) => this.tellOfSlice(index));
    return this.ownSlices;
  }

  /** @param {number | null} index of the slice that is encoded */
  tellOfSlice(index) {
    if (index !== null) this.controls.say(`Encoding slice ${index + 1}: about ${this.seconds ?? 5} s …`);
    this.controls.showProgress(index === null ? null : (this.seconds ?? 5));
  }

  /** @param {unknown} problem */
  fail(problem) {
    if (problem instanceof CannotAnswer) {
      this.controls.say(problem.message, true);
      this.show(new Map(), 0);
      return;
    }
    this.controls.say(`The network failed: ${reason(problem)}`, true);
    console.error("prompt page:", problem);
  }

  /**
   * The reader's own prompt, begun anew where a prompt setting of the benchmark is shown.
   * @returns {Prompt}
   */
  own() {
    const [first] = this.prompts;
    if (this.prompts.length === 1 && first.mine) return structuredClone(first);
    return { mine: true, lesion_id: 1, find_ends: this.follow, box_3d: null, slices: [] };
  }

  /** @param {(prompt: Prompt) => void} update */
  edit(update) {
    const prompt = this.own();
    update(prompt);
    this.controls.settings.value = "";
    return this.set([prompt]);
  }

  /** @param {Prompt[]} prompts */
  set(prompts) {
    this.history.push(this.prompts);
    this.prompts = prompts;
    return this.answer();
  }

  /**
   * @param {Pair} from
   * @param {Pair} to
   * @param {number} index
   */
  addBox(from, to, index) {
    const box = boxBetween(from, to);
    if (box[1] - box[0] < 2 || box[3] - box[2] < 2) {
      this.controls.say("That box is smaller than two voxels; drag over the tumor.", true);
      return;
    }
    this.edit((prompt) => Object.assign(slicePromptOf(prompt, index), { box }));
  }

  /**
   * @param {Pair} voxel
   * @param {number} index
   * @param {boolean} inside
   */
  addClick([i, j], index, inside) {
    this.edit((prompt) => slicePromptOf(prompt, index).points.push({ i, j, inside }));
  }

  /** @param {boolean} follow */
  setFollow(follow) {
    this.follow = follow;
    if (this.prompts.length) this.edit((prompt) => Object.assign(prompt, { find_ends: follow }));
  }

  undo() {
    const before = this.history.pop();
    if (!before) {
      this.controls.say("There is nothing to undo.");
      return;
    }
    this.prompts = before;
    this.tools.corner = null;
    this.answer();
  }

  clear() {
    this.controls.settings.value = "";
    return this.set([]);
  }

  /** @param {string} name */
  useSetting(name) {
    const prompts = name ? (this.shown.prompts?.[name] ?? []) : [];
    const answered = name ? this.set(prompts) : this.clear();
    const slices = prompts.flatMap((prompt) => prompt.slices.map(({ index }) => index));
    if (slices.length) this.view.go(slices[(slices.length - 1) >> 1] - this.shown.voxel[2][0]);
    return answered;
  }

  /** Ask the network; an answer that comes after a newer question is dropped. */
  async answer() {
    this.asked += 1;
    const turn = this.asked;
    const answer = await this.ask(() => turn === this.asked).catch(
      (problem) => turn === this.asked && this.fail(problem),
    );
    if (answer && turn === this.asked) this.show(answer.found, answer.took);
  }

  /**
   * The masks that the network gives to the prompts, and how many milliseconds it took.
   * @param {() => boolean} isWanted
   */
  async ask(isWanted) {
    const session = this.prompts.length ? await this.readyToAsk() : null;
    const begin = performance.now();
    /** @type {MaskBySlice} */
    let found = new Map();
    for (const prompt of this.prompts) {
      if (session) found = merge(found, await session.prompt(prompt, isWanted));
    }
    return { found, took: performance.now() - begin };
  }

  /**
   * @param {MaskBySlice} found
   * @param {number} took milliseconds
   */
  show(found, took) {
    this.put("prediction", found);
    this.put("trivial", this.trivial());
    if (found.size) this.controls.say(endOf(this.session?.unseen ?? []));
    if (found.size === 1) this.times.push(took);
    this.controls.time.textContent = found.size ? this.timeText(found.size, took) : "";
    this.controls.undo.disabled = !this.history.length;
    this.describe();
    this.view.redraw();
    this.root.dataset.answers = String((Number(this.root.dataset.answers) || 0) + 1);
  }

  /**
   * @param {number} slices
   * @param {number} took milliseconds
   */
  timeText(slices, took) {
    const typical = `one slice: median of ${this.times.length} predictions ${median(this.times).toFixed(0)} ms`;
    const now = `${slices} ${slices === 1 ? "slice" : "slices"} predicted in ${took.toFixed(0)} ms`;
    return this.times.length > 1 ? `${now} · ${typical}` : now;
  }

  trivial() {
    const asked = this.prompts.filter((prompt) => prompt.slices.some(canBeAsked));
    const masks = asked.map((prompt) => trivialPrediction(this.shown, prompt, this.index.ball_mm));
    return masks.reduce(merge, new Map());
  }

  /**
   * @param {string} name
   * @returns {DecodedMask | undefined}
   */
  maskOf(name) {
    return this.shown.masks.find((mask) => mask.name === name);
  }

  /**
   * @param {string} name
   * @param {MaskBySlice} found
   */
  put(name, found) {
    const mask = this.maskOf(name);
    if (!mask) return;
    const { rows, columns } = this.shown;
    mask.array.fill(0);
    for (const [slice, part] of found) mask.array.set(part, slice * rows * columns);
    mask.used = undefined;
  }

  /**
   * Dice of a mask against the reference; null without a reference, or where both are empty.
   * @param {string} name
   * @returns {Scores}
   */
  scores(name) {
    const [reference, mask] = [this.maskOf("reference"), this.maskOf(name)];
    if (!reference || !mask) return { slice: null, volume: null };
    const size = this.shown.rows * this.shown.columns;
    const on = (/** @type {Uint8Array} */ array) =>
      array.subarray(this.view.slice * size, (this.view.slice + 1) * size);
    return { slice: dice(on(mask.array), on(reference.array)), volume: dice(mask.array, reference.array) };
  }

  /** The table of scores. A prompt on single slices has no score in 3-D. */
  describe() {
    if (!this.view.case || !this.maskOf("prediction")) return;
    const asked = this.prompts.length > 0;
    const whole = asked && this.prompts.every((prompt) => !prompt.mine || prompt.find_ends);
    const [prediction, trivial] = ["prediction", "trivial"].map((name) => (asked ? this.scores(name) : null));
    const cells = (/** @type {Scores | null} */ scores) => [
      number(scores?.slice),
      whole ? number(scores?.volume) : "–",
    ];
    const rows = [
      tableRow("Dice", ["this slice", "3-D"], "th"),
      tableRow("network", cells(prediction)),
      tableRow("ellipse or ball", cells(trivial)),
    ];
    const inTables = this.shown.scores?.[this.entry.experiment]?.[this.controls.settings.value];
    if (Number.isFinite(inTables)) rows.push(tableRow("in this book's tables", ["", number(inTables)]));
    this.controls.table.replaceChildren(...rows);
    this.controls.table.classList.toggle("lp-hidden", !this.maskOf("reference"));
    const told = { dice: prediction?.volume, sliceDice: prediction?.slice, trivialDice: trivial?.volume };
    for (const [name, value] of Object.entries(told)) this.root.dataset[name] = number(value);
  }
}

/**
 * What the reader must know of a network, and of its training where the case is from a data set.
 * @param {NetworkEntry} entry
 * @param {string | undefined} dataset
 */
function aboutNetwork(entry, dataset) {
  if (entry.kind === "window") return "A small network with weights of this project: neither SAM nor MedSAM.";
  const seen = dataset ? entry.seen[dataset] : "";
  const trained = seen ? ` ${dataset} in its training: ${seen}.` : "";
  return `The published model with its published weights. It takes boxes only.${trained} It is no medical device.`;
}

/**
 * Where a lesion was followed no further, because the book holds no embedding there.
 * @param {number[]} unseen slices of the image
 */
function endOf(unseen) {
  if (!unseen.length) return "";
  const where = unseen.map((index) => index + 1).join(" and ");
  return `The lesion was followed up to slice ${where}, which this book holds no embedding of: it may go on there.`;
}

/**
 * The part of a prompt on a slice, begun if there is none.
 * @param {Prompt} prompt
 * @param {number} index
 * @returns {SlicePrompt}
 */
function slicePromptOf(prompt, index) {
  const known = prompt.slices.find((item) => item.index === index);
  if (known) return known;
  /** @type {SlicePrompt} */
  const begun = { index, box: null, points: [] };
  prompt.slices.push(begun);
  return begun;
}

/**
 * @param {string} title
 * @param {string[]} values
 * @param {"td" | "th"} tag
 */
function tableRow(title, values, tag = "td") {
  const cells = values.map((value) => element(tag, {}, value));
  return element("tr", {}, element("th", { scope: "row" }, title), ...cells);
}

/** @param {HTMLElement} root */
async function start(root) {
  root.classList.add("lungseg-viewer");
  if (typeof WebAssembly === "undefined") {
    throw new CannotRun("This browser has no WebAssembly, which the network runs on.");
  }
  /** @type {Index} */
  const index = await loadJson(new URL("index.json", new URL(root.dataset.lungsegData ?? "", document.baseURI)));
  if (!index.networks.length) throw new CannotRun("This edition has no network that is small enough to run in a page.");
  const page = new PromptPage(root, index);
  Object.assign(root, { promptPage: page });
  await page.openFirst();
  root.querySelector(".lp-fallback")?.remove();
}

/**
 * Bring a prompting place to life; what keeps it from that is said in its place.
 * @param {HTMLElement} root
 */
async function mount(root) {
  root.dataset.mounted = "";
  try {
    await start(root);
  } catch (problem) {
    const known = problem instanceof CannotRun;
    const text = known ? problem.message : `The page could not load what it needs: ${reason(problem)}`;
    root.querySelector(".lp-fallback")?.remove();
    root.append(element("p", { className: "lp-message lp-problem", role: "alert" }, text));
    if (!known) console.error("prompt page:", problem);
  }
}

if (typeof document !== "undefined") {
  for (const root of document.querySelectorAll(".lungseg-prompting:not([data-mounted])")) {
    if (root instanceof HTMLElement) mount(root);
  }
}

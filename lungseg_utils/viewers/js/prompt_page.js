// @ts-check
// The page "Prompt it yourself": a case or the reader's own CT, tools to draw a prompt, and a network that answers in
// the page. The canvas is that of slice_viewer.js, drawing on it that of prompt_tools.js, what is asked of the network
// that of promptable.js; here stand only state and controls.

import { decodeCase, loadJson } from "./decode.js";
import { element, minus, reason } from "./dom.js";
import { UnusableFile, maskFile, readCase } from "./nifti.js";
import { OwnSlices } from "./own_slices.js";
import { hues } from "./palette.js";
import { Controls, tableRow } from "./prompt_controls.js";
import { formatLink, parseLink } from "./prompt_link.js";
import { PromptTools, boxBetween } from "./prompt_tools.js";
import { CannotAnswer, CaseSession, canBeAsked, dice, merge } from "./promptable.js";
import { SliceCanvas } from "./slice_viewer.js";
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
const READER = "another reader"; // as prompt_page.py names the outline
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
  const { skyBlue, orange, purple, green } = hues(palette);
  return [
    { name: "reference", color: skyBlue, shown: false, filled: false, opacity: 1 },
    { name: "prediction", title: "prediction", color: orange, shown: true, filled: false, opacity: 1 },
    { name: "trivial", title: "ellipse or ball", color: purple, shown: false, filled: false, opacity: 1 },
    { name: READER, color: green, shown: false, filled: false, opacity: 1 },
  ];
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
  /** Whether the case that is shown has got its first answer: until then nobody sees the reference. */
  revealed = false;
  /** Where the answer ends because the book holds no embedding there, in words. */
  end = "";
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
    const { message, progress } = this.controls;
    this.body = element("div", { className: "lv-body" }, this.view.stage, this.controls.panel(this.view, this.tools));
    root.append(element("div", { className: "lv-ui" }, this.controls.head(), message, progress, this.body));
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
    const linked = parseLink(location.hash, this.index);
    if (typeof linked === "string") {
      this.refuse(linked);
      return;
    }
    if (linked) {
      this.entry = this.index.networks[linked.network];
      this.controls.networks.value = String(linked.network);
      await this.openCase(linked.case);
      if (linked.prompt) await this.openPrompt(linked.prompt);
      return;
    }
    const middle = this.entry.kind === "window" ? there.find((item) => item.title.includes("median")) : null;
    await this.openCase(this.index.cases.indexOf(middle ?? there[0]));
  }

  /**
   * Say why a link shows nothing; never another patient.
   * @param {string} text
   */
  refuse(text) {
    this.controls.say(text, true);
    this.controls.cases.value = "";
    this.body.hidden = true;
  }

  /**
   * A prompt of a link, on its slice.
   * @param {Prompt} prompt
   */
  openPrompt(prompt) {
    this.follow = prompt.find_ends;
    this.controls.follow.checked = this.follow;
    this.view.go(prompt.slices[0].index - this.shown.voxel[2][0]);
    return this.set([prompt]);
  }

  /** Put the address of what is shown into the clipboard, and into the address bar. */
  async copyLink() {
    const network = this.index.networks.indexOf(this.entry);
    const [prompt] = this.prompts.filter(({ mine }) => mine);
    const link = formatLink(this.index, { case: Number(this.controls.cases.value), network, prompt: prompt ?? null });
    history.replaceState(null, "", link);
    try {
      await navigator.clipboard.writeText(location.href);
      this.controls.say("The link is in the clipboard. It opens this case with this prompt.");
    } catch (problem) {
      this.controls.say(`The link is in the address bar; this browser copies nothing here (${reason(problem)}).`);
    }
  }

  /** Save the prediction as a gzipped NIfTI file on the grid of the scan. */
  async saveMask() {
    const mask = this.maskOf("prediction");
    if (!mask?.array.includes(1)) {
      this.controls.say("There is no prediction to save. Draw a box first.", true);
      return;
    }
    const address = URL.createObjectURL(await maskFile(this.shown, mask.array));
    const name = this.shown.title.replace(/\.nii(\.gz)?$/, "").replace(/[^\w.-]+/g, "_");
    element("a", { href: address, download: `${name}_prediction.nii.gz` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
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
    const isDoubtful = Boolean(shown.note) && !shown.prompts;
    const begin = `${isDoubtful ? `${shown.note} ` : ""}Draw a box around a tumor. There is no reference, so no Dice.`;
    if (entry.kind === "window" || shown.prompts) {
      this.controls.say(begin, isDoubtful);
      return;
    }
    this.controls.say(`Loading ${entry.title} …`);
    const network = /** @type {BoxNetwork} */ (await this.load(entry));
    const adapter = await /** @type {any} */ (navigator).gpu?.requestAdapter();
    this.seconds ??= adapter ? 1 : await encoderSeconds(network);
    if (entry !== this.entry || shown !== this.shown) return;
    const where = adapter ? "this computer's graphics processor" : "this computer";
    const fetched = `The image encoder, ${entry.encoder_megabytes} MB, is fetched with the first box.`;
    this.controls.say(`${begin} Each slice takes about ${this.seconds} s on ${where}. ${fetched}`, isDoubtful);
  }

  /**
   * @param {ShownCase} shown
   * @param {string} note
   */
  take(shown, note) {
    this.dropOwnSlices();
    const size = shown.slices * shown.rows * shown.columns;
    this.body.hidden = false;
    this.controls.link.disabled = !shown.prompts; // a reader's own CT is in no book
    for (const name of ["prediction", "trivial", "tight"]) shown.masks.push({ name, array: new Uint8Array(size) });
    this.controls.note.textContent = note;
    const settings = /** @type {HTMLElement} */ (this.controls.settings.parentElement);
    settings.hidden = !shown.prompts; // of a reader's own CT there are none
    this.view.set(shown, shown.start);
    this.tools.change({ corner: null, cursor: null });
    Object.assign(this, { session: null, prompts: [], history: [], times: [], revealed: false });
    this.showReference(false);
    this.controls.about.textContent = aboutNetwork(this.entry, shown.dataset);
    return this.answer();
  }

  /**
   * Show the reference, or keep it from a reader who has not tried yet.
   * @param {boolean} shown
   */
  showReference(shown) {
    const overlayOf = (/** @type {string} */ name) => this.view.overlays.find((item) => item.name === name);
    Object.assign(overlayOf("reference") ?? {}, { shown });
    Object.assign(overlayOf(READER) ?? {}, { shown: false });
    const hidden = shown ? [] : ["reference", READER];
    const here = (/** @type {Overlay} */ { name }) => Boolean(this.maskOf(name)) && !hidden.includes(name);
    this.controls.showOverlays(this.view, here);
    this.controls.hint.hidden = shown || !this.maskOf("reference");
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
    if (!this.shown) return; // a link that could not be followed opened no case
    this.controls.about.textContent = aboutNetwork(this.entry, this.shown.dataset);
    if (!this.shown.prompts && !this.prompts.length) await this.sayHowLong();
    await this.answer();
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
    this.ownSlices = new OwnSlices(shown, entry.view, addresses, (index, took) => this.tellOfSlice(index, took));
    return this.ownSlices;
  }

  /**
   * @param {number | null} index of the slice that is encoded
   * @param {number} [took] seconds of the slice that was encoded
   */
  tellOfSlice(index, took) {
    if (took !== undefined) this.seconds = Math.max(1, Math.ceil(took));
    if (index !== null) this.controls.say(`Encoding slice ${index + 1}: about ${this.seconds ?? 5} s …`);
    this.controls.showProgress(index === null ? null : (this.seconds ?? 5));
  }

  /** @param {unknown} problem */
  fail(problem) {
    if (problem instanceof CannotAnswer) {
      this.controls.say(problem.message, true);
      this.show(new Map(), 0, false);
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
    if (!answer || turn !== this.asked) return;
    this.show(answer.found, answer.took);
    await this.compare(() => turn === this.asked).catch((problem) => turn === this.asked && this.fail(problem));
  }

  /**
   * What the network makes of the box that is cut from the reference, where the reader's own prompt was.
   * @param {() => boolean} isWanted
   */
  async compare(isWanted) {
    const wanted = this.session ? this.tightPrompts() : [];
    if (!wanted.length || !this.session) return;
    /** @type {MaskBySlice} */
    let found = new Map();
    for (const prompt of wanted) found = merge(found, await this.session.prompt(prompt, isWanted));
    if (!isWanted()) return;
    this.put("tight", found);
    this.describe();
    this.controls.say(this.verdict());
    this.root.dataset.compared = this.root.dataset.answers;
  }

  /** @returns {Prompt[]} boxes of the benchmark on the slices that the reader prompted; none without a reference */
  tightPrompts() {
    const [own] = this.prompts;
    const stored = this.shown.prompts;
    if (!stored || this.prompts.length !== 1 || !own.mine) return [];
    if (own.find_ends) return stored.box_one_slice ?? [];
    const asked = new Set(own.slices.map(({ index }) => index));
    const boxed = (stored.box_every_slice ?? []).map((prompt) => ({
      ...prompt,
      slices: prompt.slices.filter(({ index }) => asked.has(index)),
    }));
    return boxed.filter(({ slices }) => slices.length);
  }

  /** The scores of an answer in one sentence, which is also read aloud. */
  verdict() {
    if (!this.prompts.length) return "";
    if (!this.maskOf("prediction")?.array.includes(1)) return "The model predicts nothing for this prompt.";
    const { end } = this;
    const scores = Object.entries(this.compared()).filter(([, { slice }]) => slice !== null);
    if (!scores.length) return end;
    const said = scores.map(([name, { slice }]) => `${name} ${number(slice, 2)}`).join(" · ");
    return `${end ? `${end} ` : ""}Dice on this slice: ${said}.`;
  }

  /** Scores by who drew: the reader with the network, and what stands for comparison; what is not there is left out. */
  compared() {
    const tight = this.maskOf("tight")?.array.includes(1);
    /** @type {Record<string, Scores>} */
    const scores = { you: this.scores("prediction"), "ellipse or ball": this.scores("trivial") };
    if (tight) scores["box from the reference"] = this.scores("tight");
    if (this.maskOf(READER)) scores[READER] = this.scores(READER);
    return scores;
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
   * @param {boolean} isAnswer of a network, and not what is left where it cannot be asked
   */
  show(found, took, isAnswer = this.prompts.length > 0) {
    this.put("prediction", found);
    this.put("trivial", this.trivial());
    this.put("tight", new Map());
    if (isAnswer && !this.revealed) {
      this.revealed = true;
      this.showReference(true);
    }
    this.end = endOf(this.session?.unseen ?? []);
    if (isAnswer) this.controls.say(this.verdict());
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
    const scores = asked ? this.compared() : {};
    const rows = Object.entries(scores).map(([name, { slice, volume }]) =>
      tableRow(name, [number(slice), whole ? number(volume) : "–"]),
    );
    rows.unshift(tableRow("Dice", ["this slice", "3-D"], "th"));
    const inTables = this.shown.scores?.[this.entry.experiment]?.[this.controls.settings.value];
    if (Number.isFinite(inTables)) rows.push(tableRow("in this book's tables", ["", number(inTables)]));
    this.controls.table.replaceChildren(...rows);
    this.controls.table.classList.toggle("lp-hidden", !asked || !this.maskOf("reference"));
    const { you, "ellipse or ball": trivial } = scores;
    const told = { dice: you?.volume, sliceDice: you?.slice, trivialDice: trivial?.volume };
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

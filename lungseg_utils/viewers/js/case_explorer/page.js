// @ts-check
// The page "Look at any case": one CT, its reference and one or two predictions, chosen from the files that
// case_explorer.py wrote. Slices are drawn by slice_viewer.js; NiiVue is loaded when its button is pressed.

import { loadJson } from "../decode.js";
import { choice, element, reason } from "../dom.js";
import { hues } from "../palette.js";
import { overlayControls, planeChoice, windowChoice } from "../slice_viewer.js";
import { Choices, button } from "./choices.js";
import { CaseFiles, maskOf, reachesOut } from "./files.js";
import { Space } from "./niivue.js";
import { Pictures } from "./pictures.js";
import { PromptPanel, paintPrompts } from "./prompts.js";
import {
  FIELDS,
  LAYERS,
  VIEWS,
  cohortOf,
  firstState,
  formatState,
  keyOf,
  lettersOf,
  nearestPrediction,
  parseState,
  splitKey,
} from "./state.js";
import { remarks, valueTable } from "./values.js";

/** @import { DecodedMask, Overlay } from "../types.js" */
/** @import { Index, Layer, LoadedCase, OpenCase, State } from "./types.js" */

const DATA = new URL("../../../data/cases/", import.meta.url);

/**
 * Items by their keys.
 * @template {{ key: string }} Item
 * @param {Item[]} items
 * @returns {Record<string, Item>}
 */
const byKey = (items) => Object.fromEntries(items.map((item) => [item.key, item]));

export class CaseExplorer {
  /** @type {LoadedCase | null} */
  loaded = null;
  /** @type {Overlay[]} */
  overlays = [];
  /** @type {Space | null} */
  space = null;
  /** @type {object | null} */
  wanted = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  waiting;

  /**
   * @param {HTMLElement} root
   * @param {Index} index
   */
  constructor(root, index) {
    this.root = root;
    this.index = index;
    this.state = firstState(index);
    this.files = new CaseFiles(DATA);
    this.methods = byKey(index.methods);
    this.settings = byKey(index.settings);
    this.choices = new Choices(index, this.settings, (changes) => this.choose(changes));
    this.pictures = new Pictures(root, index.windows, {
      turned: (k) => this.turned(k),
      paint: (context, place, k, letters) => {
        const { state: now, loaded } = this;
        if (!now.prompts || !loaded || loaded.withheld !== undefined) return;
        paintPrompts(context, place, k, { state: now, letters, prompts: loaded.prompts, palette: index.palette });
      },
    });
    this.promptPanel = new PromptPanel(this.settings, index.palette, {
      toggle: (prompts) => this.look({ prompts }),
      go: (k) => this.pictures.go(k),
    });
    this.message = element("p", { className: "cx-message", role: "status" });
    this.withheld = element("p", { className: "lv-withheld", hidden: true });
    this.values = element("div", { className: "cx-values" });
    this.controls = element("div", { className: "lv-panel cx-controls" });
    this.spaceButton = button("3D and multiplanar", () => this.openSpace(!this.state.space), {
      "aria-expanded": "false",
    });
    const { box } = this.pictures;
    const side = element("div", { className: "cx-choices" }, ...this.choices.bars, this.choices.kind, this.controls);
    this.body = element("div", { className: "cx-body" }, box, this.withheld, side, this.values, this.spaceButton);
    this.pictured = [box, this.values, this.spaceButton, this.controls, this.choices.kind];
    this.spaceFrame = element("div", { className: "cx-space", hidden: true });
    this.build();
    window.addEventListener("hashchange", () => this.restore());
    this.ready = this.open(parseState(location.hash, index));
    if (location.hash) this.ready.then(() => root.scrollIntoView());
  }

  build() {
    const parts = [this.message, this.body, this.spaceFrame];
    this.root.style.setProperty("--cx-warning", hues(this.index.palette).vermilion);
    this.root.append(element("div", { className: "lv-ui" }, ...parts));
  }

  /** The canvases, for whoever looks at the page from outside. */
  get panes() {
    return this.pictures.panes.map(({ view }) => view);
  }

  get cohort() {
    return cohortOf(this.index, this.state);
  }

  /**
   * What a prediction is called: its method, its prompt, and whether it is the control of that prompt.
   * @param {string} key
   */
  nameOf(key) {
    const [method, setting] = splitKey(key);
    const name = `${this.methods[method].title}, ${this.settings[setting].title}`;
    if (!this.methods[method].automatic || setting === "none") return name;
    return `${name} (the control: its prediction without a prompt, where it touches the prompt, cut to its box)`;
  }

  /**
   * Another data set keeps the predictions as far as it has them; another case opens on its own slice.
   * @param {Partial<State>} changes
   */
  choose(changes) {
    const before = this.state;
    const state = { ...before, ...changes };
    this.state = state;
    if (state.cohort !== before.cohort) {
      state.case = changes.case ?? this.cohort.cases[0].id;
      state.a = nearestPrediction(this.cohort, state.a);
      if (state.b) state.b = nearestPrediction(this.cohort, state.b);
    }
    if (state.case !== before.case || state.cohort !== before.cohort) state.slice = null;
    this.say("");
    this.keep();
    this.ready = this.show();
  }

  /**
   * A change of the look of what is loaded.
   * @param {Partial<State>} changes
   */
  look(changes) {
    Object.assign(this.state, changes);
    this.pictures.redraw();
    this.space?.looks(this.overlays);
    this.keep();
  }

  /** The address follows a little later: browsers allow no more than a few changes of it a second. */
  keep() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => history.replaceState(null, "", `#${formatState(this.state)}`), 250);
  }

  restore() {
    const found = parseState(location.hash, this.index);
    if (!found.isElsewhere && formatState(found.state) === formatState(this.state)) return;
    this.ready = this.open(found);
  }

  /**
   * Show what an address says. If this book does not hold the case or the prediction, nothing is shown, and never
   * another patient.
   * @param {ReturnType<typeof parseState>} found
   */
  async open({ state, unknown, isElsewhere }) {
    this.state = state;
    this.say(unknown.join(" "));
    if (!isElsewhere) {
      await this.show();
      return;
    }
    this.wanted = {};
    this.choices.show(state);
    this.say(`${unknown.join(" ")} Nothing is shown. Choose a case, or go to the next one.`);
    this.hidePictures();
  }

  hidePictures() {
    for (const part of [...this.pictured, this.withheld, this.spaceFrame]) part.hidden = true;
    delete this.root.dataset.shown;
  }

  /** @param {string} text */
  say(text) {
    this.message.textContent = text;
  }

  /** Load what is chosen and show it, unless something else was chosen meanwhile. */
  async show() {
    const { cohort, state } = this;
    const wanted = {};
    this.wanted = wanted;
    this.choices.show(state);
    try {
      const loaded = await this.files.load(cohort.key, state.case, state.field);
      const masks = loaded.withheld === undefined ? await this.masksOf(loaded) : [];
      if (this.wanted === wanted) this.display(loaded, masks);
    } catch (problem) {
      if (this.wanted === wanted) this.fail(problem);
    }
  }

  /** @param {unknown} problem */
  fail(problem) {
    console.warn("case explorer:", problem);
    const advice = "Choose another case, or load the page again.";
    this.say(`The file of case ${this.state.case} could not be loaded (${reason(problem)}). ${advice}`);
    this.hidePictures();
  }

  /**
   * The masks that are shown, the reference first.
   * @param {OpenCase} loaded
   */
  masksOf(loaded) {
    const predictions = lettersOf(this.state).map((letter) => maskOf(loaded, keyOf(this.state, letter), letter));
    return Promise.all([maskOf(loaded, "reference", "reference"), ...predictions]);
  }

  /**
   * @param {LoadedCase} loaded
   * @param {DecodedMask[]} masks
   */
  display(loaded, masks) {
    this.loaded = loaded;
    const isWithheld = loaded.withheld !== undefined;
    this.values.hidden = this.choices.kind.hidden = false;
    this.withheld.hidden = !isWithheld;
    this.withheld.textContent = loaded.withheld ?? "";
    for (const part of [this.pictures.box, this.controls, this.spaceButton]) part.hidden = isWithheld;
    this.describeValues(loaded);
    this.spaceFrame.hidden = isWithheld || !this.state.space;
    this.root.dataset.case = loaded.title;
    if (loaded.withheld !== undefined) return;
    this.showPictures(loaded, masks);
    this.buildControls(loaded);
    this.fillSpace(loaded, masks);
    this.root.dataset.shown = formatState({ ...this.state, slice: null, space: false });
    this.firstPicture();
  }

  /** For whoever measures: when the first picture stood, in milliseconds since the page was asked for. */
  firstPicture() {
    if (this.root.dataset.firstPicture) return;
    const note = () => (this.root.dataset.firstPicture ??= String(Math.round(performance.now())));
    requestAnimationFrame(() => requestAnimationFrame(note));
  }

  /**
   * @param {OpenCase} loaded
   * @param {DecodedMask[]} masks
   */
  showPictures(loaded, masks) {
    const { state, index } = this;
    this.overlays = masks.map(({ name }) => {
      const layer = /** @type {Layer} */ (name);
      return Object.assign(state.looks[layer], { name, color: index.palette[LAYERS.indexOf(layer)] });
    });
    this.pictures.show(loaded, masks, this.overlays, state);
    if (state.slice !== null) state.slice = this.pictures.k;
  }

  /** @param {number} k voxel index of the slice that is shown now */
  turned(k) {
    this.state.slice = k;
    this.promptPanel.describe(k);
    this.keep();
  }

  /** @param {LoadedCase} loaded */
  describeValues(loaded) {
    const shown = {
      loaded,
      state: this.state,
      cohort: this.cohort,
      metrics: this.index.metrics,
      nameOf: (/** @type {string} */ key) => this.nameOf(key),
    };
    const notes = remarks(shown).map((text) => element("p", { className: "lv-note" }, text));
    this.values.replaceChildren(valueTable(shown), ...notes);
  }

  /** @param {OpenCase} loaded */
  buildControls(loaded) {
    const { view, field, window } = this.state;
    const layout = choice("Layout", ["overlaid", "side by side"], VIEWS.indexOf(view), (n) =>
      this.choose({ view: VIEWS[n] }),
    );
    const parts = ["around the reference", "all predictions"];
    const part = choice("Part of the scan", parts, FIELDS.indexOf(field), (n) => this.choose({ field: FIELDS[n] }));
    this.promptPanel.fill(this.state, loaded);
    this.promptPanel.describe(this.pictures.k);
    keepingFocus(this.controls, [
      layout,
      ...(reachesOut(loaded) ? [part] : []),
      planeChoice((plane) => this.choose({ plane }), this.state.plane),
      windowChoice(this.index.windows, (name) => this.useWindow(name), window),
      ...this.overlays.map((overlay) => overlayControls(overlay, () => this.look({}))),
      this.promptPanel.box,
      element("p", { className: "lv-note" }, loaded.note),
    ]);
  }

  /** @param {string} window */
  useWindow(window) {
    this.state.window = window;
    this.pictures.useWindow(window);
    this.space?.window(this.index.windows[window]);
    this.keep();
  }

  /** @param {boolean} space */
  openSpace(space) {
    this.state.space = space;
    this.keep();
    this.ready = this.show();
  }

  /**
   * @param {OpenCase} loaded
   * @param {DecodedMask[]} masks
   */
  async fillSpace(loaded, masks) {
    const { space: isOpen, window } = this.state;
    this.spaceButton.setAttribute("aria-expanded", String(isOpen));
    this.spaceButton.textContent = isOpen ? "Close 3D and multiplanar" : "3D and multiplanar";
    if (!isOpen) return;
    try {
      this.space ??= await Space.open(this.spaceFrame, this.index.palette);
      await this.space.fill(loaded, masks, this.index.windows[window], this.overlays);
    } catch (problem) {
      console.warn("case explorer:", problem);
      const text = `The 3-D view cannot be shown here (${reason(problem)}). It needs WebGL 2.`;
      this.spaceFrame.replaceChildren(element("p", { className: "lv-note" }, text));
      this.space = null;
    }
  }
}

/**
 * Put new controls in the place of others; the focus comes back to the control that stands where the focused one stood.
 * @param {HTMLElement} parent
 * @param {HTMLElement[]} children
 */
function keepingFocus(parent, children) {
  const controls = () => [...parent.querySelectorAll("input, select, button")];
  const at = document.activeElement ? controls().indexOf(document.activeElement) : -1;
  parent.replaceChildren(...children);
  const now = controls()[at];
  if (now instanceof HTMLElement) now.focus();
}

/**
 * Bring the page to life.
 * @param {HTMLElement} root
 */
export async function mount(root) {
  try {
    const index = await loadJson(new URL("index.json", DATA));
    root.replaceChildren();
    const explorer = new CaseExplorer(root, index);
    Object.assign(root, { caseExplorer: explorer });
    await explorer.ready;
  } catch (problem) {
    console.warn("case explorer:", problem);
    const text = `The list of cases could not be loaded (${reason(problem)}).`;
    const why = "This edition of the book may have been built without its cases.";
    root.replaceChildren(element("p", { className: "lv-withheld", role: "alert" }, `${text} ${why}`));
  }
}

if (typeof document !== "undefined") {
  for (const root of document.querySelectorAll(".case-explorer")) if (root instanceof HTMLElement) mount(root);
}

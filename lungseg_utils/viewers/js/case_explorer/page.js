// The page "Look at any case": one CT, its reference and one or two answers, chosen from the files that case_explorer.py wrote.
// What is chosen stands in the address, so that a case can be linked. Slices are drawn by slice_viewer.js; NiiVue is loaded when its
// button is pressed, and is given the arrays that are there already.
import {
  COLORS,
  SliceCanvas,
  WINDOWS,
  choice,
  decodeCase,
  decodeMask,
  element,
  loadJson,
  overlayControls,
} from "../slice_viewer.js";

const DATA = new URL("../../../data/cases/", import.meta.url);
const NIIVUE = new URL("../../../vendor/niivue/index.js", import.meta.url);
const KEPT_FILES = 6; // in memory, so that going back to a case is quick
const LAYERS = ["reference", "A", "B"];
const PROMPT_COLORS = { A: COLORS[4], B: COLORS[3] };

// --- what is chosen, and the address ---------------------------------------------------------------------------------

const plainLook = () => ({ shown: true, filled: false, opacity: 1 });

/** What a page without an address shows. `a` and `b` are keys of answers, `slice` is a voxel index or null for the case's own start. */
export function firstState(index) {
  const cohort = index.cohorts[0];
  return {
    cohort: cohort.key,
    case: cohort.cases[0].id,
    a: nearestAnswer(cohort, ""),
    b: "",
    view: "over",
    field: "near",
    window: "lung",
    slice: null,
    looks: Object.fromEntries(LAYERS.map((name) => [name, plainLook()])),
    prompts: true,
    space: false,
  };
}

/** Method and rung of an answer's key. */
export function splitKey(key) {
  const at = key.lastIndexOf("/");
  return [key.slice(0, at), key.slice(at + 1)];
}

/** The rungs that a method was asked with on a data set, as keys of answers. */
export const answersOf = (cohort, method) => Object.keys(cohort.dsc).filter((key) => splitKey(key)[0] === method);

/** The answer of a data set that is nearest to a wanted one: itself, the same method told nothing, with its first rung, the first method. */
export function nearestAnswer(cohort, key) {
  if (key in cohort.dsc) return key;
  const keys = Object.keys(cohort.dsc);
  const [method] = splitKey(key);
  const own = answersOf(cohort, method).length ? method : splitKey(keys[0])[0];
  return `${own}/none` in cohort.dsc ? `${own}/none` : answersOf(cohort, own)[0];
}

const lookText = (look) =>
  `${look.shown ? "" : "hidden-"}${look.filled ? "fill" : "outline"}-${Math.round(look.opacity * 100)}`;

function lookOf(text) {
  const found = /^(hidden-)?(fill|outline)-(\d{2,3})$/.exec(text);
  const percent = found ? Number(found[3]) : 0;
  return percent >= 10 && percent <= 100
    ? { shown: !found[1], filled: found[2] === "fill", opacity: percent / 100 }
    : null;
}

/** The address's part behind "#": all that differs from a plain view of the case. */
export function formatState(state) {
  const parts = { data: state.cohort, case: state.case, a: state.a };
  if (state.b) parts.b = state.b;
  if (state.view !== "over") parts.view = state.view;
  if (state.field !== "near") parts.field = state.field;
  if (state.window !== "lung") parts.window = state.window;
  if (state.slice !== null) parts.slice = state.slice + 1; // as it is written below the picture
  for (const name of LAYERS)
    if (lookText(state.looks[name]) !== lookText(plainLook())) parts[name] = lookText(state.looks[name]);
  if (!state.prompts) parts.prompts = "off";
  if (state.space) parts.space = "on";
  return Object.entries(parts)
    .map(([name, value]) => `${name}=${encodeURIComponent(value).replaceAll("%2F", "/")}`)
    .join("&");
}

/** Undo `formatState`: the state, and a sentence for each part that this book does not hold. */
export function parseState(hash, index) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const state = firstState(index);
  const unknown = [];
  const take = (name, found, set) => {
    if (!given.has(name)) return;
    const value = found(given.get(name));
    if (value === null) unknown.push(`This book does not hold ${name} = ${given.get(name)}.`);
    else set(value);
  };
  const among = (values) => (text) => (values.includes(text) ? text : null);
  take("data", among(index.cohorts.map((cohort) => cohort.key)), (value) => (state.cohort = value));
  const cohort = cohortOf(index, state);
  state.case = cohort.cases[0].id;
  take("case", among(cohort.cases.map((item) => item.id)), (value) => (state.case = value));
  state.a = nearestAnswer(cohort, state.a);
  for (const name of ["a", "b"]) take(name, among(Object.keys(cohort.dsc)), (value) => (state[name] = value));
  take("view", among(["over", "side"]), (value) => (state.view = value));
  take("field", among(["near", "all"]), (value) => (state.field = value));
  take("window", among(Object.keys(WINDOWS)), (value) => (state.window = value));
  take(
    "slice",
    (text) => (/^[1-9]\d*$/.test(text) ? Number(text) - 1 : null),
    (value) => (state.slice = value),
  );
  for (const name of LAYERS) take(name, lookOf, (value) => (state.looks[name] = value));
  take("prompts", among(["off"]), () => (state.prompts = false));
  take("space", among(["on"]), () => (state.space = true));
  return { state, unknown };
}

export const cohortOf = (index, state) => index.cohorts.find((cohort) => cohort.key === state.cohort);

// --- numbers ---------------------------------------------------------------------------------------------------------

/** Cases of the lowest, middle and highest DSC of an answer; null for real patients, who are not ranked. */
export function ranking(cohort, key) {
  const scores = cohort.dsc[key] ?? [];
  const ranked = cohort.cases.map((item, n) => [item.id, scores[n]]).filter(([, score]) => typeof score === "number");
  if (!cohort.phantom || !ranked.length) return null;
  ranked.sort((x, y) => x[1] - y[1]); // stable: of equals the first one in the order of cases
  const at = (n) => ranked[n][0];
  return { worst: at(0), median: at(Math.floor((ranked.length - 1) / 2)), best: at(ranked.length - 1) };
}

const SHOWN = {
  dsc: ["DSC", (value) => value.toFixed(3)],
  nsd_2mm: ["NSD at 2 mm", (value) => value.toFixed(3)],
  nsd_3mm: ["NSD at 3 mm", (value) => value.toFixed(3)],
  hd95: ["HD95", (value) => `${value.toFixed(1)} mm`],
  prediction_volume: ["Volume of prediction", (value) => `${value.toFixed(2)} ml`],
  reference_volume: ["Volume of reference", (value) => `${value.toFixed(2)} ml`],
};

/** A value with its unit, or in words why there is none. */
export function metricText(metric, values) {
  const value = values[metric];
  if (value === "infinite") return "infinite: the prediction is empty";
  if (typeof value === "number") return SHOWN[metric][1](value);
  if (values.not_asked) return "not asked about this case";
  if (values.reference_volume > 0) return "undefined: no surface is left to judge";
  return values.prediction_volume > 0 ? "undefined: the reference is empty" : "undefined: both masks are empty";
}

/** Voxel indices k of the slices that a prompt, or the line it was made from, lies on. */
export function promptSlices({ prompts, lines }) {
  const found = [...prompts.flatMap((prompt) => prompt.slices), ...lines].map((item) => item.index);
  return [...new Set(found)].sort((x, y) => x - y);
}

/** The slice to go to: the nearest one of a prompt; from one of its own slices the next one, round and round. */
export function nextPromptSlice(slices, current) {
  const at = slices.indexOf(current);
  if (at >= 0) return slices[(at + 1) % slices.length];
  return slices.reduce((best, k) => (Math.abs(k - current) < Math.abs(best - current) ? k : best));
}

/** "on slice 5", "on slices 5 to 9", "on 3 slices from 5 to 9": counted from one, as below the picture. */
export function slicesText(slices) {
  const [first, last] = [slices[0] + 1, slices.at(-1) + 1];
  if (slices.length === 1) return `on slice ${first}`;
  return slices.length === last - first + 1
    ? `on slices ${first} to ${last}`
    : `on ${slices.length} slices from ${first} to ${last}`;
}

// --- NIfTI -----------------------------------------------------------------------------------------------------------

/** A stored volume as NIfTI-1 in memory: `values` (slices, rows, columns) are int16 or uint8. Heights are true; x and y start at the
 * image's first voxel. The stored order, columns first, is NIfTI's; columns run to the patient's left and rows to the back. */
export function niftiBuffer({ slices, rows, columns, spacing, voxel, z }, values) {
  const buffer = new ArrayBuffer(352 + values.byteLength);
  const view = new DataView(buffer);
  const int16 = (at, ...numbers) => numbers.forEach((number, n) => view.setInt16(at + 2 * n, number, true));
  const float32 = (at, ...numbers) => numbers.forEach((number, n) => view.setFloat32(at + 4 * n, number, true));
  view.setInt32(0, 348, true);
  int16(40, 3, columns, rows, slices, 1, 1, 1, 1);
  int16(70, values.BYTES_PER_ELEMENT === 2 ? 4 : 2, 8 * values.BYTES_PER_ELEMENT); // type and its bits
  float32(76, 1, spacing[0], spacing[1], z[1]);
  float32(108, 352, 1, 0); // where voxels begin; slope and intercept
  view.setUint8(123, 2); // mm
  int16(252, 0, 1); // the affine stands in the three rows below
  const start = [0, 1].map((axis) => (voxel[axis][0] * spacing[axis]) / Math.abs(voxel[axis][1]));
  float32(280, -spacing[0], 0, 0, start[0], 0, -spacing[1], 0, start[1], 0, 0, z[1], z[0]);
  [0x6e, 0x2b, 0x31, 0].forEach((letter, n) => view.setUint8(344 + n, letter)); // n+1
  new values.constructor(buffer, 352).set(values);
  return buffer;
}

/** Stored levels as HU. */
export const levelsToHu = ({ levels, lowest, step }) => Int16Array.from(levels, (level) => lowest + level * step);

// --- drawing of prompts ----------------------------------------------------------------------------------------------

/** A stroke on a dark rim, for white tissue; both are dashed alike, so that boxes of two colors on one place are both seen. */
function strokeTwice(context, color, width, dash = []) {
  context.setLineDash(dash);
  for (const [style, wide] of [
    ["#000b", width * 2],
    [color, width],
  ]) {
    Object.assign(context, { strokeStyle: style, lineWidth: wide });
    context.stroke();
  }
}

/** Boxes dashed, lines drawn through, clicks as circles with a plus (inside) or a minus (outside), all in one color. */
function paintPrompt(context, place, { prompts, lines }, k, color) {
  const unit = window.devicePixelRatio || 1;
  const hints = prompts.flatMap((prompt) => prompt.slices).filter((hint) => hint.index === k);
  context.save();
  context.lineDashOffset = color === PROMPT_COLORS.A ? 0 : 5 * unit;
  for (const { box } of hints.filter((hint) => hint.box)) {
    const [x0, y0] = place([box[1] - 0.5, box[3] - 0.5, k]);
    const [x1, y1] = place([box[0] - 0.5, box[2] - 0.5, k]);
    context.beginPath();
    context.rect(x0, y0, x1 - x0, y1 - y0);
    strokeTwice(context, color, 2 * unit, [5 * unit, 5 * unit]);
  }
  for (const line of lines.filter((item) => item.index === k)) {
    context.beginPath();
    context.moveTo(...place([...line.from, k]));
    context.lineTo(...place([...line.to, k]));
    strokeTwice(context, color, 2 * unit);
  }
  for (const point of hints.flatMap((hint) => hint.points))
    paintClick(context, place([point.i, point.j, k]), point.inside, color, unit);
  context.restore();
}

function paintClick(context, [x, y], inside, color, unit) {
  const arm = 3.5 * unit;
  context.beginPath();
  context.moveTo(x + 7 * unit, y);
  context.arc(x, y, 7 * unit, 0, 2 * Math.PI);
  context.moveTo(x - arm, y);
  context.lineTo(x + arm, y);
  if (inside) {
    context.moveTo(x, y - arm);
    context.lineTo(x, y + arm);
  }
  strokeTwice(context, color, 1.5 * unit);
}

// --- the page --------------------------------------------------------------------------------------------------------

/** A case as it was stored, with its CT decoded; masks are decoded when they are shown, since there may be hundreds. */
async function unpack(stored) {
  if (stored.withheld) return stored;
  const decoded = await decodeCase({ ...stored, masks: [] });
  return { ...decoded, packed: new Map(stored.masks.map((mask) => [mask.name, mask])), unpacked: new Map() };
}

/** Does any answer lie beyond the picture around the reference? Then there is a second one. */
const reachesOut = (near) => Object.values(near.outside_ml ?? {}).some((volume) => volume > 0);

function fill(select, options, value) {
  select.replaceChildren(...options.map(([key, label]) => element("option", { value: key }, label)));
  select.value = value;
}

const button = (label, onclick, properties = {}) =>
  element("button", { type: "button", className: "cx-button", onclick, ...properties }, label);

const field = (label, control) => element("label", { className: "cx-field" }, element("span", {}, label), control);

export class CaseExplorer {
  constructor(root, index) {
    const { state, unknown } = parseState(location.hash, index);
    Object.assign(this, { root, index, state, files: new Map(), space: null });
    this.methods = Object.fromEntries(index.methods.map((method) => [method.key, method]));
    this.rungs = Object.fromEntries(index.rungs.map((rung) => [rung.key, rung]));
    this.panes = [new SliceCanvas(root), new SliceCanvas(root)];
    this.link();
    this.build();
    window.addEventListener("hashchange", () => this.restore());
    this.say(unknown.join(" "));
    this.ready = this.show();
  }

  /** The other picture follows, and the address with them. */
  link() {
    this.panes.forEach((pane, n) => {
      pane.onslice = (slice) => {
        this.panes[1 - n].go(slice);
        if (!pane.case || this.setting) return;
        this.state.slice = pane.case.voxel[2][0] + slice;
        this.describePrompts();
        this.keep();
      };
      pane.paint = (context, place) => this.paint(pane, context, place);
    });
  }

  build() {
    const select = (label, onchange) =>
      element("select", { "aria-label": label, onchange: (event) => onchange(event.target.value) });
    this.selects = {
      cohort: select("Data set", (cohort) => this.choose({ cohort })),
      case: select("Case", (name) => this.choose({ case: name })),
    };
    for (const name of ["a", "b"]) {
      this.selects[`${name}Method`] = select(`Method of ${name.toUpperCase()}`, (method) =>
        this.chooseMethod(name, method),
      );
      this.selects[`${name}Rung`] = select(`Prompt of ${name.toUpperCase()}`, (key) => this.choose({ [name]: key }));
    }
    this.message = element("p", { className: "cx-message", role: "status" });
    this.kind = element("p", { className: "cx-kind" });
    this.withheld = element("p", { className: "lv-withheld", hidden: true });
    this.pictures = element("div", { className: "cx-pictures" }, ...this.panes.map((pane) => this.framed(pane)));
    this.values = element("div", { className: "cx-values" });
    this.controls = element("div", { className: "lv-panel cx-controls" });
    this.spaceButton = button("3D and multiplanar", () => this.openSpace(!this.state.space), {
      "aria-expanded": "false",
    });
    this.body = element("div", { className: "cx-body" }, this.pictures, this.values, this.spaceButton, this.controls);
    this.spaceFrame = element("div", { className: "cx-space", hidden: true });
    this.ui = element(
      "div",
      { className: "lv-ui" },
      this.caseBar(),
      this.answerBar(),
      this.message,
      this.kind,
      this.withheld,
      this.body,
      this.spaceFrame,
    );
    this.root.append(this.ui);
  }

  framed(pane) {
    pane.caption = element("p", { className: "cx-caption" });
    return element("div", { className: "cx-pane" }, pane.caption, pane.stage);
  }

  caseBar() {
    const step = (label, by) => button(label, () => this.step(by));
    this.rank = element("div", { className: "cx-rank", role: "group", "aria-label": "Cases by the DSC of A" });
    return element(
      "div",
      { className: "cx-bar" },
      field("Data set", this.selects.cohort),
      field("Case", this.selects.case),
      element("div", { className: "cx-steps" }, step("\u2039 Previous", -1), step("Next \u203a", 1)),
      this.rank,
    );
  }

  answerBar() {
    const answer = (name) => {
      const swatch = element("i", { className: "lv-swatch" });
      swatch.style.background = COLORS[LAYERS.indexOf(name.toUpperCase())];
      const legend = element("legend", {}, swatch, ` Prediction ${name.toUpperCase()}`);
      return element(
        "fieldset",
        { className: "cx-answer" },
        legend,
        this.selects[`${name}Method`],
        this.selects[`${name}Rung`],
      );
    };
    return element("div", { className: "cx-bar cx-answers" }, answer("a"), answer("b"));
  }

  get cohort() {
    return cohortOf(this.index, this.state);
  }

  /** The names of what is shown: "A", and "B" if one is chosen. */
  get letters() {
    return this.state.b ? ["A", "B"] : ["A"];
  }

  keyOf(letter) {
    return this.state[letter.toLowerCase()];
  }

  nameOf(key) {
    const [method, rung] = splitKey(key);
    const control = this.methods[method].automatic && rung !== "none";
    const how = control
      ? " (the control: its answer without a prompt, kept where it touches the prompt and cut to its box)"
      : "";
    return `${this.methods[method].title}, ${this.rungs[rung].title}${how}`;
  }

  choose(changes) {
    const before = this.state;
    this.state = { ...before, ...changes };
    if (this.state.cohort !== before.cohort) {
      this.state.case = changes.case ?? this.cohort.cases[0].id;
      this.state.a = nearestAnswer(this.cohort, this.state.a);
      if (this.state.b) this.state.b = nearestAnswer(this.cohort, this.state.b);
    }
    if (this.state.case !== before.case || this.state.cohort !== before.cohort) this.state.slice = null;
    this.say("");
    this.keep();
    return this.show();
  }

  chooseMethod(name, method) {
    if (!method) return this.choose({ b: "" });
    const rung = splitKey(this.state[name] || this.state.a)[1];
    return this.choose({ [name]: nearestAnswer(this.cohort, `${method}/${rung}`) });
  }

  step(by) {
    const { cases } = this.cohort;
    const at = cases.findIndex((item) => item.id === this.state.case);
    return this.choose({ case: cases[(at + by + cases.length) % cases.length].id });
  }

  /** The address follows a little later: browsers allow no more than a few changes of it a second. */
  keep() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => history.replaceState(null, "", `#${formatState(this.state)}`), 250);
  }

  restore() {
    const { state, unknown } = parseState(location.hash, this.index);
    if (formatState(state) === formatState(this.state)) return;
    this.state = state;
    this.say(unknown.join(" "));
    this.show();
  }

  say(text) {
    this.message.textContent = text;
  }

  async show() {
    const { cohort, state } = this;
    const wanted = {};
    this.wanted = wanted;
    this.describeChoices();
    try {
      const loaded = await this.load(cohort.key, state.case, state.field);
      const masks = loaded.withheld ? [] : await this.masksOf(loaded);
      if (this.wanted === wanted) this.display(loaded, masks);
    } catch (problem) {
      if (this.wanted === wanted) this.fail(problem);
    }
  }

  fail(problem) {
    console.warn("case explorer:", problem);
    this.say(
      `The file of case ${this.state.case} could not be loaded (${problem.message}). Choose another case, or load the page again.`,
    );
    this.body.hidden = true;
  }

  /** A case around its reference, or around all predictions: a second file, where there is one. */
  async load(cohort, name, field) {
    const near = await this.keepFile([cohort, `${name}.json`]);
    if (field === "near" || !reachesOut(near)) return near;
    return { ...near, ...(await this.keepFile([cohort, `${name}.all.json`])) };
  }

  /** A file, its CT decoded and its masks as they are stored. The last few are kept. */
  keepFile(parts) {
    const path = parts.map(encodeURIComponent).join("/");
    const kept = this.files.get(path) ?? loadJson(new URL(path, DATA)).then(unpack);
    kept.catch(() => this.files.delete(path));
    this.files.delete(path);
    this.files.set(path, kept);
    if (this.files.size > KEPT_FILES) this.files.delete(this.files.keys().next().value);
    return kept;
  }

  masksOf(loaded) {
    const layers = [["reference", "reference"], ...this.letters.map((letter) => [letter, this.keyOf(letter)])];
    return Promise.all(
      layers.map(async ([name, key]) => {
        if (!loaded.unpacked.has(key)) loaded.unpacked.set(key, decodeMask(loaded.packed.get(key), loaded.shape));
        return { name, array: (await loaded.unpacked.get(key)).array };
      }),
    );
  }

  display(loaded, masks) {
    this.loaded = loaded;
    this.body.hidden = false;
    this.withheld.hidden = !loaded.withheld;
    this.withheld.textContent = loaded.withheld ?? "";
    this.pictures.hidden = this.controls.hidden = this.spaceButton.hidden = Boolean(loaded.withheld);
    this.describeValues();
    this.spaceFrame.hidden = Boolean(loaded.withheld) || !this.state.space;
    this.root.dataset.case = loaded.title;
    if (loaded.withheld) return;
    this.setPanes(masks);
    this.buildControls();
    this.fillSpace(masks);
    this.root.dataset.shown = formatState({ ...this.state, slice: null, space: false });
    this.firstPicture();
  }

  /** For whoever measures: when the first picture stood, in milliseconds since the page was asked for. */
  firstPicture() {
    if (this.root.dataset.firstPicture) return;
    requestAnimationFrame(() =>
      requestAnimationFrame(() => (this.root.dataset.firstPicture ??= Math.round(performance.now()))),
    );
  }

  setPanes(masks) {
    const { state, loaded, panes } = this;
    const side = state.view === "side";
    const layers = side
      ? state.b
        ? [
            ["reference", "A"],
            ["reference", "B"],
          ]
        : [["reference"], ["reference", "A"]]
      : [LAYERS, []];
    const first = loaded.voxel[2][0];
    const slice = state.slice === null ? loaded.start : Math.max(0, Math.min(loaded.slices - 1, state.slice - first));
    this.pictures.classList.toggle("cx-side", side);
    this.overlays = masks.map(({ name }) =>
      Object.assign(state.looks[name], { name, color: COLORS[LAYERS.indexOf(name)] }),
    );
    this.setting = true;
    panes.forEach((pane, n) => {
      pane.letters = this.letters.filter((letter) => layers[n].includes(letter));
      pane.stage.parentElement.hidden = n === 1 && !side;
      pane.caption.hidden = !side;
      pane.caption.textContent = pane.letters.join(" and ") || "reference";
      pane.window = state.window;
      pane.overlays = this.overlays.filter((overlay) => layers[n].includes(overlay.name));
      const title = side ? `${loaded.title}, ${pane.caption.textContent}` : loaded.title;
      pane.set({ ...loaded, title, masks: masks.map((mask) => ({ ...mask })) }, slice);
    });
    this.setting = false;
    if (state.slice !== null) state.slice = first + slice;
  }

  redraw() {
    for (const pane of this.panes) pane.redraw();
    this.space?.looks(this.overlays);
    this.keep();
  }

  paint(pane, context, place) {
    if (!this.state.prompts || !this.loaded?.prompts) return;
    const k = pane.case.voxel[2][0] + pane.slice;
    const seen = new Set();
    for (const letter of pane.letters) {
      const rung = splitKey(this.keyOf(letter))[1];
      if (!seen.has(rung)) paintPrompt(context, place, this.loaded.prompts[rung], k, PROMPT_COLORS[letter]);
      seen.add(rung);
    }
  }

  // --- words around the picture ---

  describeChoices() {
    const { state, index, cohort, selects } = this;
    fill(
      selects.cohort,
      index.cohorts.map((item) => [item.key, item.title]),
      state.cohort,
    );
    fill(
      selects.case,
      cohort.cases.map(({ id, patient }) => [id, patient === id ? id : `${id} (patient ${patient})`]),
      state.case,
    );
    const methods = index.methods
      .filter((method) => answersOf(cohort, method.key).length)
      .map((method) => [method.key, method.title]);
    for (const name of ["a", "b"]) {
      const chosen = splitKey(state[name])[0];
      const rungs = answersOf(cohort, chosen).map((key) => [key, this.rungs[splitKey(key)[1]].title]);
      fill(selects[`${name}Method`], name === "b" ? [["", "none"], ...methods] : methods, chosen);
      fill(selects[`${name}Rung`], rungs, state[name]);
      selects[`${name}Rung`].hidden = !rungs.length;
    }
    const at = cohort.cases.findIndex((item) => item.id === state.case) + 1;
    const place = `Case ${at} of ${cohort.cases.length}.`;
    this.kind.textContent = cohort.phantom
      ? `Phantom result: a computer drew this CT, and its scores say nothing about patients. ${place}`
      : `Real patient. Real cases are few: they are not ranked and not averaged. ${place}`;
    this.describeRanking();
  }

  /** Buttons are kept, so that the one in use stays in focus. */
  describeRanking() {
    const found = ranking(this.cohort, this.state.a);
    this.rank.hidden = !found;
    if (!found) return;
    const labels = { worst: "Worst", median: "Median", best: "Best" };
    if (!this.rank.childElementCount) {
      const make = (name) =>
        button(labels[name], () => this.choose({ case: ranking(this.cohort, this.state.a)[name] }), {
          "data-rank": name,
        });
      this.rank.append(...Object.keys(labels).map(make), element("span", {}, "by the DSC of A"));
    }
    for (const item of this.rank.querySelectorAll("button"))
      item.setAttribute("aria-pressed", found[item.dataset.rank] === this.state.case);
  }

  describeValues() {
    const { loaded, letters } = this;
    const values = letters.map((letter) => loaded.values[this.keyOf(letter)]);
    const cell = (text) => element("td", {}, text);
    const rows = Object.entries(SHOWN).map(([metric, [label]]) => {
      const shared = metric === "reference_volume";
      const cells = (shared ? values.slice(0, 1) : values).map((of) => cell(metricText(metric, of)));
      if (shared) cells[0].colSpan = letters.length;
      return element("tr", {}, element("th", { scope: "row" }, label), ...cells);
    });
    const onPaper = (text) => element("span", { className: "cx-paper" }, text); // where the controls that say it are not printed
    const heads = letters.map((letter) =>
      element("th", { scope: "col" }, letter, onPaper(`: ${this.nameOf(this.keyOf(letter))}`)),
    );
    const caption = [
      this.cohort.phantom ? "Phantom results" : "Results on this patient",
      onPaper(`, ${this.cohort.title}, ${this.state.case}`),
    ];
    const head = element("thead", {}, element("tr", {}, element("td", {}), ...heads));
    const table = element("table", {}, element("caption", {}, ...caption), head, element("tbody", {}, ...rows));
    this.values.replaceChildren(
      table,
      ...this.remarks(values).map((text) => element("p", { className: "lv-note" }, text)),
    );
  }

  remarks(values) {
    const { loaded, letters, cohort } = this;
    const reader =
      loaded.reference === "reference" || cohort.target.includes(loaded.reference) ? "" : ` (${loaded.reference})`;
    return [
      ...letters
        .filter((_, n) => values[n].not_asked)
        .map((letter) => `${letter} was not asked about this case: only one fold of it was run.`),
      ...letters
        .filter((_, n) => values[n].failed)
        .map((letter) => `${letter} failed on this case, which is scored as an empty prediction.`),
      ...this.outside(),
      ...letters.map((letter) => `${letter}: ${this.nameOf(this.keyOf(letter))}.`),
      `Reference: ${cohort.target}${reader}.`,
      loaded.cut ? "The lesion reaches an end of the scan, and may have been cut there." : "",
      Object.entries(loaded.facts)
        .map(([name, value]) => `${name}: ${value}`)
        .join(", "),
    ].filter(Boolean);
  }

  /** What of the answers in view the picture around the reference does not show. */
  outside() {
    const { loaded, letters, state } = this;
    if (state.field === "all" || loaded.withheld) return [];
    const volumes = letters
      .map((letter) => [letter, loaded.outside_ml[this.keyOf(letter)]])
      .filter(([, volume]) => volume > 0);
    const text = (volume) => (volume < 0.01 ? "Less than 0.01 ml" : `${volume.toFixed(2)} ml`);
    return volumes.map(
      ([letter, volume]) => `${text(volume)} of ${letter} lie outside this picture: see \u201call answers\u201d.`,
    );
  }

  buildControls() {
    const { state } = this;
    const views = ["over", "side"];
    const names = Object.keys(WINDOWS);
    const setWindow = (n) => {
      state.window = names[n];
      for (const pane of this.panes) pane.change({ window: state.window });
      this.space?.window(WINDOWS[state.window]);
      this.keep();
    };
    const fields = ["near", "all"];
    const field = choice(
      "Part of the scan",
      ["around the reference", "all answers"],
      fields.indexOf(state.field),
      (n) => this.choose({ field: fields[n] }),
    );
    this.promptBox = element("div", { className: "cx-prompts" });
    this.keepingFocus(this.controls, () =>
      this.controls.replaceChildren(
        choice("Layout", ["overlaid", "side by side"], views.indexOf(state.view), (n) =>
          this.choose({ view: views[n] }),
        ),
        ...(reachesOut(this.loaded) ? [field] : []),
        choice("CT window", names, names.indexOf(state.window), setWindow),
        ...this.overlays.map((overlay) => overlayControls(overlay, () => this.redraw())),
        this.promptBox,
        element("p", { className: "lv-note" }, this.loaded.note),
      ),
    );
    this.buildPrompts();
  }

  /** Run `rebuild`, and bring the focus back to the control that stands where the focused one stood. */
  keepingFocus(parent, rebuild) {
    const controls = () => [...parent.querySelectorAll("input, select, button")];
    const at = controls().indexOf(document.activeElement);
    rebuild();
    if (at >= 0) controls()[at]?.focus();
  }

  buildPrompts() {
    const toggle = element("input", { type: "checkbox", checked: this.state.prompts });
    toggle.onchange = () => {
      this.state.prompts = toggle.checked;
      this.redraw();
    };
    this.promptLines = [];
    const groups = this.promptGroups().map(({ rung, letters }) => this.promptGroup(this.rungs[rung], letters));
    this.promptBox.replaceChildren(element("label", {}, toggle, "draw what the model was told"), ...groups);
    this.describePrompts();
  }

  /** Each rung once, with the letters that were asked with it. */
  promptGroups() {
    const groups = new Map();
    for (const letter of this.letters) {
      const rung = splitKey(this.keyOf(letter))[1];
      groups.set(rung, [...(groups.get(rung) ?? []), letter]);
    }
    return [...groups].map(([rung, letters]) => ({ rung, letters }));
  }

  promptGroup({ key, title, leaks, note }, letters) {
    const slices = promptSlices(this.loaded.prompts[key]);
    const swatch = element("i", { className: "lv-swatch", hidden: !slices.length });
    swatch.style.background = PROMPT_COLORS[letters[0]];
    const head = element("p", {}, swatch, ` Prompt of ${letters.join(" and ")}: ${title}. Gives away: ${leaks}.`);
    const empty = this.loaded.values[this.keyOf(letters[0])].reference_volume === 0;
    const where = element("p", { className: "lv-note" });
    const parts = [head, note && element("p", { className: "lv-note" }, note), where].filter(Boolean);
    if (slices.length) {
      const go = button("", () => this.panes[0].go(nextPromptSlice(slices, this.slice) - this.loaded.voxel[2][0]));
      this.promptLines.push({ slices, where, go });
      parts.push(go);
    } else if (key !== "detector_box") {
      where.textContent =
        key === "none"
          ? "Nothing was told, so nothing is drawn."
          : empty
            ? "The reference is empty, so nothing was pointed at."
            : "";
    }
    return element("div", { className: "cx-prompt" }, ...parts);
  }

  /** Voxel index of the slice in view. */
  get slice() {
    return this.loaded.voxel[2][0] + this.panes[0].slice;
  }

  describePrompts() {
    for (const { slices, where, go } of this.promptLines ?? []) {
      const here = slices.includes(this.slice);
      where.textContent = `Given ${slicesText(slices)}; ${here ? "drawn on this one" : "not on this one"}.`;
      go.textContent =
        here && slices.length === 1
          ? `Slice ${slices[0] + 1} is in view`
          : `Go to slice ${nextPromptSlice(slices, this.slice) + 1}`;
    }
  }

  // --- NiiVue ---

  async openSpace(open) {
    this.state.space = open;
    this.keep();
    await this.show();
  }

  async fillSpace(masks) {
    this.spaceButton.setAttribute("aria-expanded", this.state.space);
    this.spaceButton.textContent = this.state.space ? "Close 3D and multiplanar" : "3D and multiplanar";
    if (!this.state.space) return;
    try {
      this.space ??= await Space.open(this.spaceFrame);
      await this.space.fill(this.loaded, masks, WINDOWS[this.state.window], this.overlays);
    } catch (problem) {
      console.warn("case explorer:", problem);
      this.spaceFrame.replaceChildren(
        element(
          "p",
          { className: "lv-note" },
          `The 3-D view cannot be shown here (${problem.message}). It needs WebGL 2.`,
        ),
      );
      this.space = null;
    }
  }
}

/** NiiVue in a frame: three planes with one crosshair, and the masks in space. */
class Space {
  static async open(frame) {
    frame.replaceChildren(element("p", { className: "lv-note", role: "status" }, "The 3-D view is being loaded\u2026"));
    const niivue = await import(NIIVUE);
    const canvas = element("canvas", {
      "aria-label": "Axial, coronal and sagittal plane, and the masks in space",
      role: "img",
      tabIndex: 0,
    });
    const note =
      "Click or drag in a plane to move the crosshair. Drag the masks to turn them; the CT round them is cut open. " +
      "The controls above hide and fade masks here too.";
    frame.replaceChildren(
      element("div", { className: "cx-space-stage" }, canvas),
      element("p", { className: "lv-note" }, note),
    );
    const view = new niivue.Niivue({
      isRadiologicalConvention: true,
      multiplanarShowRender: niivue.SHOW_RENDER.ALWAYS,
      show3Dcrosshair: true,
      crosshairColor: [0.94, 0.89, 0.26, 0.8],
      crosshairWidth: 0.3,
      crosshairGap: 8,
      scrollRequiresFocus: true, // else the page cannot be scrolled past it
      dragAndDropEnabled: false,
      logLevel: "error",
      loadingText: "",
    });
    await view.attachToCanvas(canvas);
    view.setClipPlane([0, 270, 0]); // the front half of the CT would hide the masks, which are not cut
    return new Space(niivue, view);
  }

  constructor(niivue, view) {
    Object.assign(this, { niivue, view });
  }

  /** Show a case: its CT in this window, and its masks in these looks. */
  async fill(shown, masks, window, overlays) {
    const { view, niivue } = this;
    this.wanted = shown;
    const image = (values, name, color, from, to) =>
      niivue.NVImage.new(niftiBuffer(shown, values), `${name}.nii`, color, 1, null, from, to);
    for (const { name, color } of overlays) view.addColormap(`lungseg-${name}`, rampTo(color));
    const volumes = [await image(levelsToHu(shown), "ct", "gray", ...windowEnds(window))];
    for (const { name, array } of masks) volumes.push(await image(array, name, `lungseg-${name}`, 0.5, 1));
    if (this.wanted !== shown) return; // another case was chosen meanwhile
    while (view.volumes.length) view.removeVolume(view.volumes[0]);
    for (const volume of volumes) view.addVolume(volume);
    this.looks(overlays);
    this.center(shown, masks[0].array);
  }

  looks(overlays) {
    overlays.forEach(({ shown, opacity }, n) => this.view.setOpacity(n + 1, shown ? opacity * 0.5 : 0));
  }

  window(window) {
    const [volume] = this.view.volumes;
    [volume.cal_min, volume.cal_max] = windowEnds(window);
    this.view.updateGLVolume();
  }

  /** The crosshair where the reference is, else in the middle. */
  center({ slices, rows, columns, start }, reference) {
    const size = rows * columns;
    const inside = [];
    reference.subarray(start * size, (start + 1) * size).forEach((value, n) => value && inside.push(n));
    const at = inside.length ? inside[inside.length >> 1] : (rows >> 1) * columns + (columns >> 1);
    this.view.scene.crosshairPos = this.view.vox2frac([at % columns, Math.floor(at / columns), start]);
    this.view.drawScene();
  }
}

const windowEnds = ({ level, width }) => [level - width / 2, level + width / 2];

const rampTo = (color) => {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return { R: [red, red], G: [green, green], B: [blue, blue], A: [0, 255], I: [0, 255] };
};

/** Bring the page to life. */
export async function mount(root) {
  try {
    const index = await loadJson(new URL("index.json", DATA));
    root.replaceChildren();
    root.caseExplorer = new CaseExplorer(root, index);
    await root.caseExplorer.ready;
  } catch (problem) {
    console.warn("case explorer:", problem);
    const text = `The list of cases could not be loaded (${problem.message}). This edition of the book may have been built without its cases.`;
    root.replaceChildren(element("p", { className: "lv-withheld", role: "alert" }, text));
  }
}

if (typeof document !== "undefined") for (const root of document.querySelectorAll(".case-explorer")) mount(root);

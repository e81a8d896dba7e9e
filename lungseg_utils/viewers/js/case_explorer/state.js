// @ts-check
// What is chosen on the page of all cases, and the address that says it, so that a case can be linked.

import { PLANES } from "../planes.js";

/** @import { Look } from "../types.js" */
/** @import { Cohort, Index, Layer, Letter, State } from "./types.js" */

/** @type {Layer[]} */
export const LAYERS = ["reference", "A", "B"];
export const VIEWS = ["over", "side"];
export const FIELDS = ["near", "all"];

/** @returns {Look} */
const plainLook = () => ({ shown: true, filled: false, opacity: 1 });

/**
 * What a page without an address shows.
 * @param {Index} index
 * @returns {State}
 */
export function firstState(index) {
  const cohort = index.cohorts[0];
  return {
    cohort: cohort.key,
    case: cohort.cases[0].id,
    a: nearestPrediction(cohort, ""),
    b: "",
    view: "over",
    field: "near",
    window: "lung",
    plane: "axial",
    slice: null,
    looks: { reference: plainLook(), A: plainLook(), B: plainLook() },
    prompts: true,
    space: false,
  };
}

/**
 * The data set that is chosen.
 * @param {Index} index
 * @param {Pick<State, "cohort">} state
 */
export function cohortOf(index, state) {
  const found = index.cohorts.find((cohort) => cohort.key === state.cohort);
  if (!found) throw new Error(`There is no data set ${state.cohort}.`);
  return found;
}

/**
 * The names of what is shown: "A", and "B" if one is chosen.
 * @param {Pick<State, "b">} state
 * @returns {Letter[]}
 */
export const lettersOf = ({ b }) => (b ? ["A", "B"] : ["A"]);

/**
 * Key of the prediction that a letter stands for.
 * @param {Pick<State, "a" | "b">} state
 * @param {Letter} letter
 */
export const keyOf = (state, letter) => (letter === "A" ? state.a : state.b);

/**
 * Method and prompt setting of a prediction's key.
 * @param {string} key
 * @returns {[string, string]}
 */
export function splitKey(key) {
  const at = key.lastIndexOf("/");
  return [key.slice(0, at), key.slice(at + 1)];
}

/**
 * The prompt settings that a method was asked with on a data set, as keys of predictions.
 * @param {Pick<Cohort, "dsc">} cohort
 * @param {string} method
 */
export const predictionsOf = (cohort, method) => Object.keys(cohort.dsc).filter((key) => splitKey(key)[0] === method);

/**
 * The prediction of a data set that is nearest to a wanted one: itself, the same method without a prompt, with its
 * first prompt setting, the first method.
 * @param {Pick<Cohort, "dsc">} cohort
 * @param {string} key
 */
export function nearestPrediction(cohort, key) {
  if (key in cohort.dsc) return key;
  const keys = Object.keys(cohort.dsc);
  const [method] = splitKey(key);
  const own = predictionsOf(cohort, method).length ? method : splitKey(keys[0])[0];
  return `${own}/none` in cohort.dsc ? `${own}/none` : predictionsOf(cohort, own)[0];
}

/** @param {Look} look */
function lookText({ shown, filled, opacity }) {
  return `${shown ? "" : "hidden-"}${filled ? "fill" : "outline"}-${Math.round(opacity * 100)}`;
}

/**
 * Undo `lookText`.
 * @param {string} text
 * @returns {Look | null}
 */
function lookOf(text) {
  const found = /^(hidden-)?(fill|outline)-(\d{2,3})$/.exec(text);
  const percent = found ? Number(found[3]) : 0;
  if (!found || percent < 10 || percent > 100) return null;
  return { shown: !found[1], filled: found[2] === "fill", opacity: percent / 100 };
}

/**
 * The address's part behind "#": all that differs from a plain view of the case.
 * @param {State} state
 */
export function formatState(state) {
  /** @type {Record<string, string | number>} */
  const parts = { data: state.cohort, case: state.case, a: state.a };
  if (state.b) parts.b = state.b;
  if (state.view !== "over") parts.view = state.view;
  if (state.field !== "near") parts.field = state.field;
  if (state.window !== "lung") parts.window = state.window;
  if (state.plane !== "axial") parts.plane = state.plane;
  if (state.slice !== null) parts.slice = state.slice + 1; // as it is written below the picture
  for (const name of LAYERS) {
    const text = lookText(state.looks[name]);
    if (text !== lookText(plainLook())) parts[name] = text;
  }
  if (!state.prompts) parts.prompts = "off";
  if (state.space) parts.space = "on";
  const written = Object.entries(parts).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  return written.join("&").replaceAll("%2F", "/");
}

/**
 * A reader of values that takes the listed ones only.
 * @param {string[]} values
 */
const among = (values) => (/** @type {string} */ text) => (values.includes(text) ? text : null);

/**
 * A slice as it is written below the picture, as a voxel index.
 * @param {string} text
 */
const sliceOf = (text) => (/^[1-9]\d*$/.test(text) ? Number(text) - 1 : null);

const SUBJECTS = ["data", "case", "a", "b"]; // parts of an address that say what is shown, and not how

/**
 * Undo `formatState`: the state, a sentence for each part that this book does not hold, and whether such a part says
 * what is shown: then nothing may be shown in its place.
 * @param {string} hash
 * @param {Index} index
 */
export function parseState(hash, index) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const state = firstState(index);
  /** @type {string[]} */
  const unknown = [];
  let isElsewhere = false;
  /**
   * The value of a part of the address, or else what stands there without it.
   * @template Value
   * @param {string} name
   * @param {(text: string) => Value | null} read
   * @param {Value} otherwise
   */
  const take = (name, read, otherwise) => {
    const text = given.get(name);
    if (text === null) return otherwise;
    const value = read(text);
    if (value === null) {
      unknown.push(`This book does not hold ${name} = ${text}.`);
      isElsewhere ||= SUBJECTS.includes(name);
    }
    return value ?? otherwise;
  };
  state.cohort = take("data", among(index.cohorts.map((cohort) => cohort.key)), state.cohort);
  const cohort = cohortOf(index, state);
  const [cases, predictions] = [cohort.cases.map((item) => item.id), Object.keys(cohort.dsc)];
  state.case = take("case", among(cases), cases[0]);
  state.a = take("a", among(predictions), nearestPrediction(cohort, state.a));
  state.b = take("b", among(predictions), state.b);
  state.view = take("view", among(VIEWS), state.view);
  state.field = take("field", among(FIELDS), state.field);
  state.window = take("window", among(Object.keys(index.windows)), state.window);
  state.plane = take("plane", among(PLANES), state.plane);
  state.slice = take("slice", sliceOf, state.slice);
  for (const name of LAYERS) state.looks[name] = take(name, lookOf, state.looks[name]);
  state.prompts = take("prompts", among(["off"]), "on") === "on";
  state.space = take("space", among(["on"]), "off") === "on";
  return { state, unknown, isElsewhere };
}

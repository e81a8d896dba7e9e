// @ts-check
// Numbers beside the picture of a case, and remarks on them.

import { element } from "../dom.js";
import { keyOf, lettersOf } from "./state.js";

/** @import { Cohort, LoadedCase, Metric, State, Values } from "./types.js" */

/**
 * What a page says of the predictions that are shown.
 * @typedef {object} Shown
 * @property {LoadedCase} loaded
 * @property {State} state
 * @property {Cohort} cohort
 * @property {Metric[]} metrics
 * @property {(key: string) => string} nameOf a prediction
 */

const FEW = 10; // real patients that are shown one by one

/**
 * Whether a data set has so few real patients that each is shown and none is ranked.
 * @param {Pick<Cohort, "phantom" | "cases">} cohort
 */
export const isOneByOne = ({ phantom, cases }) => !phantom && cases.length < FEW;

/**
 * Cases of the lowest, middle and highest DSC of a prediction; null for a few real patients, who are not ranked.
 * @param {Pick<Cohort, "phantom" | "cases" | "dsc">} cohort
 * @param {string} key
 */
export function ranking(cohort, key) {
  const scores = cohort.dsc[key] ?? [];
  const ranked = cohort.cases.flatMap(({ id }, n) => {
    const score = scores[n];
    return typeof score === "number" ? [{ id, score }] : [];
  });
  if (isOneByOne(cohort) || !ranked.length) return null;
  ranked.sort((x, y) => x.score - y.score); // stable: of equals the first one in the order of cases
  const [worst, median, best] = [0, (ranked.length - 1) >> 1, ranked.length - 1].map((n) => ranked[n].id);
  return { worst, median, best };
}

/**
 * A value with its unit, or in words why there is none.
 * @param {Metric} metric
 * @param {Values} values
 */
export function metricText(metric, values) {
  const value = values[metric.key];
  if (value === "infinite") return "infinite: the prediction is empty";
  const unit = metric.unit === "1" ? "" : ` ${metric.unit}`;
  if (typeof value === "number") return value.toFixed(metric.digits) + unit;
  if (values.not_asked) return "not asked about this case";
  if (Number(values.reference_volume) > 0) return "undefined: no surface is left to judge";
  const empty = Number(values.prediction_volume) > 0 ? "the reference is" : "both masks are";
  return `undefined: ${empty} empty`;
}

/**
 * A table with one column for each prediction. What controls say that are not printed stands in it on paper.
 * @param {Shown} shown
 */
export function valueTable({ loaded, state, cohort, metrics, nameOf }) {
  const letters = lettersOf(state);
  const onPaper = (/** @type {string} */ text) => element("span", { className: "cx-paper" }, text);
  const heads = letters.map((letter) =>
    element("th", { scope: "col" }, letter, onPaper(`: ${nameOf(keyOf(state, letter))}`)),
  );
  const title = cohort.phantom ? "Phantom results" : "Results on this patient";
  const caption = element("caption", {}, title, onPaper(`, ${cohort.title}, ${state.case}`));
  const values = letters.map((letter) => loaded.values[keyOf(state, letter)]);
  const rows = metrics.map((metric) => {
    return element("tr", {}, element("th", { scope: "row" }, metric.title), ...cellsOf(metric, values));
  });
  const head = element("thead", {}, element("tr", {}, element("td"), ...heads));
  return element("table", {}, caption, head, element("tbody", {}, ...rows));
}

/**
 * One cell for each prediction; the reference is the same for all of them.
 * @param {Metric} metric
 * @param {Values[]} values
 */
function cellsOf(metric, values) {
  if (metric.key !== "reference_volume") return values.map((of) => element("td", {}, metricText(metric, of)));
  return [element("td", { colSpan: values.length }, metricText(metric, values[0]))];
}

/**
 * What has to be known of the values.
 * @param {Shown} shown
 */
export function remarks(shown) {
  const { loaded, state, cohort, nameOf } = shown;
  const letters = lettersOf(state);
  const having = (/** @type {"not_asked" | "failed"} */ mark) =>
    letters.filter((letter) => loaded.values[keyOf(state, letter)][mark]);
  const isNamed = loaded.reference === "reference" || cohort.target.includes(loaded.reference);
  const reader = isNamed ? "" : ` (${loaded.reference})`;
  const facts = Object.entries(loaded.facts).map(([name, value]) => `${name}: ${value}`);
  return [
    ...having("not_asked").map((letter) => `${letter} was not asked about this case: only one fold of it was run.`),
    ...having("failed").map((letter) => `${letter} failed on this case, which is scored as an empty prediction.`),
    ...beyond(shown),
    ...letters.map((letter) => `${letter}: ${nameOf(keyOf(state, letter))}.`),
    `Reference: ${cohort.target}${reader}.`,
    loaded.cut ? "The lesion reaches an end of the scan, and may have been cut there." : "",
    facts.join(", "),
  ].filter(Boolean);
}

/**
 * What of the predictions in view the picture around the reference does not show.
 * @param {Shown} shown
 */
function beyond({ loaded, state }) {
  if (state.field === "all" || !("outside_ml" in loaded)) return [];
  return lettersOf(state).flatMap((letter) => {
    const volume = loaded.outside_ml[keyOf(state, letter)];
    if (!(volume > 0)) return [];
    const text = volume < 0.01 ? "Less than 0.01 ml" : `${volume.toFixed(2)} ml`;
    return [`${text} of ${letter} lie outside this picture: see \u201call predictions\u201d.`];
  });
}

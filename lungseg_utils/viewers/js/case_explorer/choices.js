// @ts-check
// What can be chosen above the picture: data set, case, and one or two predictions.

import { element, swatch } from "../dom.js";
import { LAYERS, predictionsOf, cohortOf, nearestPrediction, splitKey } from "./state.js";
import { isOneByOne, ranking } from "./values.js";

/** @import { Palette } from "../types.js" */
/** @import { Cohort, Index, Letter, PromptSetting, State } from "./types.js" */

const RANKS = /** @type {const} */ ({ worst: "Worst", median: "Median", best: "Best" });

/**
 * A button of the page.
 * @param {string} label
 * @param {() => void} onclick
 * @param {Record<string, any>} properties
 */
export function button(label, onclick, properties = {}) {
  return element("button", { type: "button", className: "cx-button", onclick, ...properties }, label);
}

/**
 * @param {string} label
 * @param {(value: string) => void} choose
 */
function choiceOf(label, choose) {
  const select = element("select", { "aria-label": label });
  select.onchange = () => choose(select.value);
  return select;
}

/**
 * @param {HTMLSelectElement} select
 * @param {string[][]} options pairs of value and label
 * @param {string} value
 */
function fill(select, options, value) {
  select.replaceChildren(...options.map(([key, label]) => element("option", { value: key }, label)));
  select.value = value;
}

/**
 * @param {string} label
 * @param {HTMLElement} control
 */
const field = (label, control) => element("label", { className: "cx-field" }, element("span", {}, label), control);

/** @param {Cohort} cohort */
function kindOf(cohort) {
  if (cohort.phantom) return "Phantom result: a computer drew this CT, and its scores say nothing about patients.";
  return isOneByOne(cohort)
    ? "Real patient. Real cases are few: they are not ranked and not averaged."
    : "Real patient.";
}

/** Lists of methods, and of the prompts that a method was asked with, for one prediction. */
class PredictionChoice {
  /**
   * @param {Letter} letter
   * @param {(key: string) => void} choose
   */
  constructor(letter, choose) {
    this.letter = letter;
    this.method = choiceOf(`Method of ${letter}`, (method) => choose(this.keyFor(method)));
    this.setting = choiceOf(`Prompt of ${letter}`, choose);
    /** @type {(method: string) => string} */
    this.keyFor = () => "";
  }

  /** @param {Palette} palette */
  fieldset(palette) {
    const square = swatch(palette[LAYERS.indexOf(this.letter)]);
    const legend = element("legend", {}, square, ` Prediction ${this.letter}`);
    return element("fieldset", { className: "cx-prediction" }, legend, this.method, this.setting);
  }

  /**
   * @param {Cohort} cohort
   * @param {string} key of the prediction, or nothing
   * @param {string} wanted key of a prediction whose prompt another method should have
   * @param {string[][]} methods
   * @param {Record<string, PromptSetting>} settings
   */
  show(cohort, key, wanted, methods, settings) {
    const [chosen] = splitKey(key);
    this.keyFor = (method) => method && nearestPrediction(cohort, `${method}/${splitKey(wanted)[1]}`);
    const keys = predictionsOf(cohort, chosen);
    fill(this.method, methods, chosen);
    fill(
      this.setting,
      keys.map((item) => [item, settings[splitKey(item)[1]].title]),
      key,
    );
    this.setting.hidden = !keys.length;
  }
}

/** All choices above the picture; `choose` hears of changes of the state. */
export class Choices {
  /**
   * @param {Index} index
   * @param {Record<string, PromptSetting>} settings
   * @param {(changes: Partial<State>) => void} choose
   */
  constructor(index, settings, choose) {
    this.index = index;
    this.settings = settings;
    this.choose = choose;
    this.state = /** @type {State | null} */ (null);
    this.cohort = choiceOf("Data set", (cohort) => choose({ cohort }));
    this.case = choiceOf("Case", (name) => choose({ case: name }));
    this.a = new PredictionChoice("A", (a) => choose({ a }));
    this.b = new PredictionChoice("B", (b) => choose({ b }));
    this.rank = element("div", {
      className: "cx-rank",
      role: "group",
      "aria-label": "Cases by the DSC of A",
      hidden: true,
    });
    this.kind = element("p", { className: "cx-kind" });
    this.bars = [this.caseBar(), this.predictionBar()];
  }

  caseBar() {
    const step = (/** @type {string} */ label, /** @type {number} */ by) => button(label, () => this.step(by));
    const steps = element("div", { className: "cx-steps" }, step("\u2039 Previous", -1), step("Next \u203a", 1));
    const cohort = field("Data set", this.cohort);
    return element("div", { className: "cx-bar" }, cohort, field("Case", this.case), steps, this.rank);
  }

  predictionBar() {
    const { palette } = this.index;
    return element("div", { className: "cx-bar cx-predictions" }, this.a.fieldset(palette), this.b.fieldset(palette));
  }

  /**
   * The next case or the one before, round and round.
   * @param {number} by
   */
  step(by) {
    if (!this.state) return;
    const { cases } = cohortOf(this.index, this.state);
    const at = cases.findIndex((item) => item.id === this.state?.case);
    this.choose({ case: cases[(at + by + cases.length) % cases.length].id });
  }

  /** @param {State} state */
  show(state) {
    this.state = state;
    const { index, settings } = this;
    const cohort = cohortOf(index, state);
    const cases = cohort.cases.map(({ id, patient }) => [id, patient === id ? id : `${id} (patient ${patient})`]);
    const cohorts = index.cohorts.map((item) => [item.key, item.title]);
    fill(this.cohort, cohorts, state.cohort);
    fill(this.case, cases, state.case);
    const here = index.methods.filter((method) => predictionsOf(cohort, method.key).length);
    const methods = here.map((method) => [method.key, method.title]);
    this.a.show(cohort, state.a, state.a, methods, settings);
    this.b.show(cohort, state.b, state.b || state.a, [["", "none"], ...methods], settings);
    const at = cohort.cases.findIndex((item) => item.id === state.case) + 1;
    this.kind.textContent = `${kindOf(cohort)} Case ${at} of ${cohort.cases.length}.`;
    this.showRanking(ranking(cohort, state.a), state.case);
  }

  /**
   * Buttons are kept, so that the one in use stays in focus.
   * @param {ReturnType<typeof ranking>} found
   * @param {string} current id of the case that is shown
   */
  showRanking(found, current) {
    this.rank.hidden = !found;
    if (!found) return;
    const names = /** @type {(keyof typeof RANKS)[]} */ (Object.keys(RANKS));
    const buttons = [...this.rank.querySelectorAll("button")];
    if (!buttons.length) {
      buttons.push(...names.map((name) => button(RANKS[name], () => undefined)));
      this.rank.append(...buttons, element("span", {}, "by the DSC of A"));
    }
    buttons.forEach((item, n) => {
      const id = found[names[n]];
      item.onclick = () => this.choose({ case: id });
      item.setAttribute("aria-pressed", String(id === current));
    });
  }
}

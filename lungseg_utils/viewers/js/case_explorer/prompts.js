// @ts-check
// The prompts of the predictions that are shown: where they lie, and what they give away.

import { element, swatch } from "../dom.js";
import { hues } from "../palette.js";
import { paintPrompt } from "../prompt_tools.js";
import { keyOf, lettersOf, splitKey } from "./state.js";

/** @import { DrawnPrompts, Line, Palette, Placing, SlicePrompt } from "../types.js" */
/** @import { Letter, OpenCase, PromptSetting, State } from "./types.js" */

/**
 * Voxel indices k of the slices that a prompt, or the line it was made from, lies on.
 * @param {{ prompts: { slices: Pick<SlicePrompt, "index">[] }[], lines: Pick<Line, "index">[] }} drawn
 */
export function promptSlices({ prompts, lines }) {
  const found = [...prompts.flatMap((prompt) => prompt.slices), ...lines].map((item) => item.index);
  return [...new Set(found)].sort((x, y) => x - y);
}

/**
 * The slice to go to: the nearest one of a prompt; from one of its own slices the next one, round and round.
 * @param {number[]} slices
 * @param {number} current
 */
export function nextPromptSlice(slices, current) {
  const at = slices.indexOf(current);
  if (at >= 0) return slices[(at + 1) % slices.length];
  return slices.reduce((best, k) => (Math.abs(k - current) < Math.abs(best - current) ? k : best));
}

/**
 * "on slice 5", "on slices 5 to 9", "on 3 slices from 5 to 9": counted from one, as below the picture.
 * @param {number[]} slices
 */
export function slicesText(slices) {
  const [first, last] = [slices[0] + 1, slices[slices.length - 1] + 1];
  if (slices.length === 1) return `on slice ${first}`;
  if (slices.length === last - first + 1) return `on slices ${first} to ${last}`;
  return `on ${slices.length} slices from ${first} to ${last}`;
}

/**
 * The color of each prediction's prompt, told apart from those of the masks.
 * @param {Palette} palette
 * @returns {Record<Letter, string>}
 */
function promptColors(palette) {
  const { yellow, purple } = hues(palette);
  return { A: yellow, B: purple };
}

/**
 * Each prompt setting once, with the letters of the predictions that were asked with it.
 * @param {State} state
 * @param {Letter[]} letters
 */
function settingsOf(state, letters) {
  /** @type {Map<string, Letter[]>} */
  const groups = new Map();
  for (const letter of letters) {
    const setting = splitKey(keyOf(state, letter))[1];
    groups.set(setting, [...(groups.get(setting) ?? []), letter]);
  }
  return [...groups];
}

/**
 * Paint the prompts of these letters on slice k. Two prompts on one place alternate in their dashes.
 * @param {CanvasRenderingContext2D} context
 * @param {Placing} place
 * @param {number} k
 * @param {{ state: State, letters: Letter[], prompts: Record<string, DrawnPrompts>, palette: Palette }} shown
 */
export function paintPrompts(context, place, k, { state, letters, prompts, palette }) {
  const colors = promptColors(palette);
  for (const [setting, [letter]] of settingsOf(state, letters)) {
    const color = colors[letter];
    const look = { line: color, inside: color, outside: color, shifted: letter === "B" };
    paintPrompt(context, place, prompts[setting], k, look);
  }
}

/**
 * What the page does for the panel.
 * @typedef {{ toggle: (shown: boolean) => void, go: (k: number) => void }} Hooks
 */

/** A description of each prompt, and a button that leads to its slices. */
export class PromptPanel {
  /**
   * @param {Record<string, PromptSetting>} settings
   * @param {Palette} palette
   * @param {Hooks} hooks
   */
  constructor(settings, palette, hooks) {
    this.settings = settings;
    this.colors = promptColors(palette);
    this.hooks = hooks;
    this.box = element("div", { className: "cx-prompts" });
    /** @type {{ slices: number[], where: HTMLElement, go: HTMLElement }[]} */
    this.lines = [];
    this.k = 0;
  }

  /**
   * @param {State} state
   * @param {OpenCase} loaded
   */
  fill(state, loaded) {
    const toggle = element("input", { type: "checkbox", checked: state.prompts });
    toggle.onchange = () => this.hooks.toggle(toggle.checked);
    this.lines = [];
    const groups = settingsOf(state, lettersOf(state)).map(([setting, letters]) => {
      const isEmpty = loaded.values[keyOf(state, letters[0])].reference_volume === 0;
      return this.group(this.settings[setting], letters, loaded.prompts[setting], isEmpty);
    });
    this.box.replaceChildren(element("label", {}, toggle, "draw the prompt"), ...groups);
  }

  /**
   * @param {PromptSetting} setting
   * @param {Letter[]} letters
   * @param {DrawnPrompts} drawn
   * @param {boolean} isEmpty whether there is no reference to make a prompt from
   */
  group({ key, title, leaks, note }, letters, drawn, isEmpty) {
    const slices = promptSlices(drawn);
    const text = ` Prompt of ${letters.join(" and ")}: ${title}. Gives away: ${leaks}.`;
    const group = element("div", { className: "cx-prompt" });
    group.append(element("p", {}, swatch(this.colors[letters[0]], { hidden: !slices.length }), text));
    if (note) group.append(element("p", { className: "lv-note" }, note));
    const where = element("p", { className: "lv-note" });
    group.append(where);
    if (slices.length) {
      const step = () => this.hooks.go(nextPromptSlice(slices, this.k));
      const go = element("button", { type: "button", className: "cx-button", onclick: step });
      this.lines.push({ slices, where, go });
      group.append(go);
    } else {
      where.textContent = nothingDrawn(key, isEmpty);
    }
    return group;
  }

  /**
   * Tell whether the prompts lie on the slice that is shown.
   * @param {number} k
   */
  describe(k) {
    this.k = k;
    for (const { slices, where, go } of this.lines) {
      const here = slices.includes(k);
      where.textContent = `Given ${slicesText(slices)}; ${here ? "drawn on this one" : "not on this one"}.`;
      const isOnly = here && slices.length === 1;
      go.textContent = isOnly ? `Slice ${slices[0] + 1} is in view` : `Go to slice ${nextPromptSlice(slices, k) + 1}`;
    }
  }
}

/**
 * Why no prompt is drawn; of a detector's boxes the note of their prompt setting says it.
 * @param {string} setting
 * @param {boolean} isEmpty
 */
function nothingDrawn(setting, isEmpty) {
  if (setting === "detector_box") return "";
  if (setting === "none") return "No prompt was given.";
  return isEmpty ? "The reference is empty, so nothing was pointed at." : "";
}

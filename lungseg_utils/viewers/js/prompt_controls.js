// @ts-check
// What stands above and beside the picture of the page "Draw a box yourself": choices, buttons, scores.

import { choice, element } from "./dom.js";
import { TOOLS } from "./prompt_tools.js";
import { overlayControls, windowChoice } from "./slice_viewer.js";

/** @import { PromptTools } from "./prompt_tools.js" */
/** @import { CaseEntry, Index, PromptPage } from "./prompt_page.js" */
/** @import { SliceCanvas } from "./slice_viewer.js" */
/** @import { Overlay } from "./types.js" */

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

/**
 * @param {string} title
 * @param {string[]} values
 * @param {"td" | "th"} tag
 */
export function tableRow(title, values, tag = "td") {
  const cells = values.map((value) => element(tag, {}, value));
  return element("tr", {}, element("th", { scope: "row" }, title), ...cells);
}

/** The controls of the page by what they are for; `page` does what they ask for. */
export class Controls {
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
    this.link = element("button", { type: "button", onclick: () => page.copyLink() }, "Copy link");
    this.save = element("button", { type: "button", onclick: () => page.saveMask() }, "Save mask");
    this.overlays = element("div", { className: "lp-overlays" });
    this.hint = element("p", { className: "lv-note" }, "The reference is shown after your first box.");
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
      element("div", { className: "lp-buttons" }, this.undo, this.clear, this.link, this.save),
      labeled("What the benchmark's prompters did here", this.settings),
      this.table,
      this.time,
      windowChoice(view.windows, (window) => view.change({ window })),
      this.overlays,
      this.hint,
      this.note,
    );
  }

  /**
   * Controls of the masks that may be seen.
   * @param {SliceCanvas} view
   * @param {(overlay: Overlay) => boolean} isSeen
   */
  showOverlays(view, isSeen) {
    const seen = view.overlays.filter(isSeen);
    this.overlays.replaceChildren(...seen.map((overlay) => overlayControls(overlay, () => view.redraw())));
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

// @ts-check
// Elements of a page, and numbers in its text.

/**
 * An element with properties (or attributes, where a name has a dash) and children.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} properties
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role" || key === "for") node.setAttribute(key, value);
    else Object.assign(node, { [key]: value });
  }
  node.append(...children);
  return node;
}

/**
 * Radio buttons as one bar; `select` gets the chosen index, also of a choice that is made again.
 * @param {string} legend
 * @param {string[]} labels
 * @param {number} selected
 * @param {(index: number) => void} select
 */
export function choice(legend, labels, selected, select) {
  const name = `lungseg-${Math.random().toString(36).slice(2)}`;
  const buttons = labels.map((label, n) => {
    const input = element("input", { type: "radio", name, checked: n === selected, onclick: () => select(n) });
    return element("label", {}, input, element("span", {}, label));
  });
  return element("fieldset", { className: "lv-choice" }, element("legend", {}, legend), element("div", {}, ...buttons));
}

/**
 * A small square of a color.
 * @param {string} color
 * @param {Record<string, any>} properties
 */
export function swatch(color, properties = {}) {
  const square = element("i", { className: "lv-swatch", ...properties });
  square.style.background = color;
  return square;
}

/**
 * A number with a true minus sign.
 * @param {number} number
 * @param {number} digits
 */
export const minus = (number, digits = 0) =>
  (Number(number.toFixed(digits)) + 0).toFixed(digits).replace("-", "\u2212");

/**
 * What was thrown, in words.
 * @param {unknown} problem
 */
export const reason = (problem) => (problem instanceof Error ? problem.message : String(problem));

// @ts-check
// An address of the page "Draw a box yourself" that says case, network and prompt.

/** @import { Prompt, SlicePrompt } from "./types.js" */
/** @import { Index } from "./prompt_page.js" */

/**
 * What a link opens: places in the index, and a prompt that was drawn.
 * @typedef {{ case: number, network: number, prompt: Prompt | null }} Linked
 */

/** @param {string | undefined} file of a case */
const nameOf = (file) => (file ?? "").replace(/\.json$/, "");

/**
 * The part of an address behind "#".
 * @param {Index} index
 * @param {Linked} linked
 */
export function formatLink(index, { case: at, network, prompt }) {
  const parts = new URLSearchParams({
    case: nameOf(index.cases[at].file),
    network: index.networks[network].experiment,
  });
  if (prompt) parts.set("prompt", JSON.stringify({ follow: prompt.find_ends, slices: prompt.slices }));
  return `#${parts}`;
}

/**
 * Undo `formatLink`; null without an address, and a sentence for a link that this book cannot follow.
 * @param {string} hash
 * @param {Index} index
 * @returns {Linked | string | null}
 */
export function parseLink(hash, index) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const [name, network, prompt] = ["case", "network", "prompt"].map((key) => given.get(key));
  if (name === null) return null;
  const found = index.cases.findIndex((item) => item.file && nameOf(item.file) === name);
  if (found < 0) return `This book does not hold the case ${name}. Choose another case.`;
  const asked = network === null ? 0 : index.networks.findIndex((item) => item.experiment === network);
  if (asked < 0) return `This book does not hold the network ${network}. Choose a case and a network.`;
  const drawn = prompt === null ? null : promptOf(prompt);
  if (drawn === undefined) return "The prompt in this link cannot be read. Choose a case and draw a box.";
  return { case: found, network: asked, prompt: drawn };
}

/**
 * @param {string} text
 * @returns {Prompt | undefined}
 */
function promptOf(text) {
  try {
    const { follow, slices } = JSON.parse(text);
    const isGood = Array.isArray(slices) && slices.length > 0 && slices.every(isSlicePrompt);
    return isGood ? { mine: true, lesion_id: 1, find_ends: follow === true, box_3d: null, slices } : undefined;
  } catch (problem) {
    if (problem instanceof SyntaxError) return undefined;
    throw problem;
  }
}

/**
 * @param {SlicePrompt} item
 * @returns {boolean}
 */
function isSlicePrompt({ index, box, points }) {
  const areNumbers = (/** @type {unknown[]} */ values) => values.every(Number.isFinite);
  const isBox = box === null || (Array.isArray(box) && box.length === 4 && areNumbers(box));
  return Number.isInteger(index) && isBox && Array.isArray(points) && points.every(({ i, j }) => areNumbers([i, j]));
}

// @ts-check
// Colors of masks and prompts. They come from Python with the data (reporting/style.py), as "#rrggbb".

/** @import { Palette, Triple } from "./types.js" */

const RIM = "#000a";

/**
 * The colors by name.
 * @param {Palette} palette
 */
export function hues([skyBlue, orange, green, purple, yellow, vermilion, blue]) {
  return { skyBlue, orange, green, purple, yellow, vermilion, blue };
}

/**
 * Red, green and blue, 0 to 255.
 * @param {string} color
 * @returns {Triple}
 */
export function channels(color) {
  const at = (/** @type {number} */ n) => parseInt(color.slice(n, n + 2), 16);
  return [at(1), at(3), at(5)];
}

/**
 * A color as a canvas stores it on little-endian machines: alpha, blue, green, red.
 * @param {string} color
 * @param {number} alpha 0 to 255
 */
export function abgr(color, alpha = 255) {
  const [red, green, blue] = channels(color);
  return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/**
 * Stroke the current path on a dark rim, which keeps it visible on white tissue. Both are dashed alike, so that two
 * dashed lines on one place are both seen.
 * @param {CanvasRenderingContext2D} context
 * @param {string} color
 * @param {number} width
 * @param {number[]} dash
 */
export function strokeOnRim(context, color, width, dash = []) {
  context.setLineDash(dash);
  context.strokeStyle = RIM;
  context.lineWidth = 2 * width;
  context.stroke();
  context.strokeStyle = color;
  context.lineWidth = width;
  context.stroke();
}

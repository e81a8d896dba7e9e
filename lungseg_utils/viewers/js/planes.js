// @ts-check
// The coronal and the sagittal plane of a stored case: the same voxels in another order, so that all that draws axial
// slices draws these too.

/** @import { DecodedCase, DecodedMask, Pair, Triple } from "./types.js" */

export const PLANES = ["axial", "coronal", "sagittal"];

/** What stands at the left, right, upper and lower edge of a picture. */
export const EDGES = /** @type {Record<string, string[]>} */ ({
  axial: ["R", "L", "A", "P"],
  coronal: ["R", "L", "H", "F"],
  sagittal: ["A", "P", "H", "F"],
});

/**
 * An array (slices, rows, columns) as one of `dims`, whose voxel (slice, row, column) is found at `place`.
 * @template {Uint8Array | Uint16Array} Values
 * @param {Values} array
 * @param {Triple} dims
 * @param {(slice: number, row: number, column: number) => number} place in `array`
 * @returns {Values}
 */
function reorder(array, [slices, rows, columns], place) {
  const result = /** @type {Values} */ (new /** @type {any} */ (array.constructor)(array.length));
  for (let slice = 0, n = 0; slice < slices; slice++) {
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) result[n++] = array[place(slice, row, column)];
    }
  }
  return result;
}

/**
 * The slice on which a mask is largest, else the middle one.
 * @param {DecodedMask | undefined} mask
 * @param {number} slices
 * @param {number} size voxels of a slice
 */
function largest(mask, slices, size) {
  let [best, most] = [slices >> 1, 0];
  for (let slice = 0; mask && slice < slices; slice++) {
    const area = mask.array.subarray(slice * size, (slice + 1) * size).reduce((sum, value) => sum + value, 0);
    if (area > most) [best, most] = [slice, area];
  }
  return best;
}

/**
 * A case in one of `PLANES`. The patient's head is at the top, the front of the chest at the left of a sagittal
 * picture. The masks of the result are copies.
 * @template {DecodedCase} Shown
 * @param {Shown} shown axial, as it is stored
 * @param {string} plane
 * @returns {Shown}
 */
export function inPlane(shown, plane) {
  if (plane === "axial") return shown;
  const { slices, rows, columns, spacing, voxel, z } = shown;
  const height = (/** @type {number} */ row) => (z[1] > 0 ? slices - 1 - row : row);
  /** @type {Pair} */
  const fromTop = z[1] > 0 ? [voxel[2][0] + (slices - 1) * voxel[2][1], -voxel[2][1]] : voxel[2];
  const isCoronal = plane === "coronal";
  /** @type {Triple} */
  const dims = isCoronal ? [rows, slices, columns] : [columns, slices, rows];
  const place = (/** @type {number} */ slice, /** @type {number} */ row, /** @type {number} */ column) =>
    (height(row) * rows + (isCoronal ? slice : column)) * columns + (isCoronal ? column : slice);
  const masks = shown.masks.map(({ name, array }) => ({ name, array: reorder(array, dims, place) }));
  return {
    ...shown,
    slices: dims[0],
    rows: dims[1],
    columns: dims[2],
    spacing: [isCoronal ? spacing[0] : spacing[1], Math.abs(z[1])],
    voxel: [voxel[0], voxel[1], fromTop],
    axes: isCoronal ? [0, 2, 1] : [1, 2, 0],
    plane,
    levels: reorder(shown.levels, dims, place),
    masks,
    start: largest(masks[0], dims[0], dims[1] * dims[2]),
  };
}

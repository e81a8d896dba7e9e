// @ts-check
// What a rule that looks at no voxel answers, as models/trivial.py does: ellipses in boxes, an ellipsoid on a single
// box, balls around clicks.

import { merge, roundHalfEven } from "./promptable.js";

/** @import { Click, Grid, Pair, PlaneBox, Prompt, SlicePrompt, Triple } from "./types.js" */
/** @import { MaskBySlice } from "./promptable.js" */

/**
 * Masks by stored slice.
 * @param {Grid} volume
 * @param {Prompt} prompt
 * @param {number} diameterMm of a ball around one click
 * @returns {MaskBySlice}
 */
export function trivialPrediction(volume, prompt, diameterMm) {
  if (prompt.box_3d) return ellipsoidIn(volume, prompt.box_3d);
  /** @type {MaskBySlice} */
  let found = new Map();
  let boxed = false;
  for (const { index, box } of prompt.slices) {
    if (!box) continue;
    boxed = true;
    found = merge(found, prompt.find_ends ? ellipsoidOn(volume, index, box) : ellipseIn(volume, index, box));
  }
  return boxed ? found : ballsAround(volume, prompt.slices, diameterMm);
}

/**
 * @param {Grid} volume
 * @param {[Triple, Triple]} corners
 */
function ellipsoidIn(volume, [low, high]) {
  const center = low.map((value, axis) => (value + high[axis] - 1) / 2);
  const radii = low.map((value, axis) => (high[axis] - value) / 2);
  return fill(volume, center, radii, [low[2], high[2] - 1]);
}

/**
 * @param {Grid} volume
 * @param {number} index
 * @param {PlaneBox} box
 */
function ellipseIn(volume, index, box) {
  return fill(volume, [...centerOf(box), index], [...radiiOf(box), 1], [index, index]);
}

/**
 * Along z the half axis is the mean of the other two, in mm; the outermost slices are cut as models/trivial.py cuts its
 * cuboid.
 * @param {Grid} volume
 * @param {number} index
 * @param {PlaneBox} box
 */
function ellipsoidOn(volume, index, box) {
  const radii = radiiOf(box);
  const radiusMm = (radii[0] * volume.spacing[0] + radii[1] * volume.spacing[1]) / 2;
  const slices = radiusMm / Math.abs(volume.z[1]);
  const reach = roundHalfEven(slices);
  return fill(volume, [...centerOf(box), index], [...radii, slices], [index - reach, index + reach]);
}

/**
 * @param {PlaneBox} box
 * @returns {Pair}
 */
const centerOf = ([iMin, iMax, jMin, jMax]) => [(iMin + iMax - 1) / 2, (jMin + jMax - 1) / 2];

/**
 * @param {PlaneBox} box
 * @returns {Pair}
 */
const radiiOf = ([iMin, iMax, jMin, jMax]) => [(iMax - iMin) / 2, (jMax - jMin) / 2];

/**
 * The union of what each slice's clicks inside span, without the balls around clicks outside.
 * @param {Grid} volume
 * @param {SlicePrompt[]} slicePrompts
 * @param {number} diameterMm
 */
function ballsAround(volume, slicePrompts, diameterMm) {
  /** @type {MaskBySlice} */
  let found = new Map();
  for (const { index, points } of slicePrompts) {
    const inside = points.filter((point) => point.inside);
    if (inside.length) found = merge(found, spanned(volume, inside, index, diameterMm));
  }
  for (const { index, points } of slicePrompts) {
    for (const { i, j } of points.filter((point) => !point.inside))
      takeAway(found, ball(volume, [i, j, index], diameterMm));
  }
  return found;
}

/**
 * The ball that clicks on one slice span.
 * @param {Grid} volume
 * @param {Click[]} points
 * @param {number} index
 * @param {number} diameterMm of a ball around one click
 */
function spanned(volume, points, index, diameterMm) {
  if (points.length === 1) return ball(volume, [points[0].i, points[0].j, index], diameterMm);
  const [dx, dy] = volume.spacing;
  let [longest, first, last] = [-1, points[0], points[0]];
  for (const a of points) {
    for (const b of points) {
      const length = Math.hypot((a.i - b.i) * dx, (a.j - b.j) * dy);
      if (length > longest) [longest, first, last] = [length, a, b];
    }
  }
  return ball(volume, [(first.i + last.i) / 2, (first.j + last.j) / 2, index], longest + (dx + dy) / 2);
}

/**
 * @param {Grid} volume
 * @param {number[]} center
 * @param {number} diameterMm
 */
function ball(volume, center, diameterMm) {
  const spacing = [...volume.spacing, Math.abs(volume.z[1])];
  const radii = spacing.map((step) => diameterMm / 2 / step);
  return fill(volume, center, radii, [-Infinity, Infinity]);
}

/**
 * Empty masks where others are filled.
 * @param {MaskBySlice} masks
 * @param {MaskBySlice} others
 */
function takeAway(masks, others) {
  for (const [slice, other] of others) {
    const mask = masks.get(slice);
    if (mask)
      masks.set(
        slice,
        mask.map((value, n) => (other[n] ? 0 : value)),
      );
  }
}

/**
 * Voxels whose centers lie in an ellipsoid (center and half axes in voxels), on slices `first` to `last` of the image.
 * @param {Grid} volume
 * @param {number[]} center
 * @param {number[]} radii
 * @param {Pair} ends
 * @returns {MaskBySlice}
 */
function fill(volume, center, radii, [first, last]) {
  const found = new Map();
  const [[i0, di], [j0, dj], [k0]] = volume.voxel;
  const low = Math.max(first - k0, Math.ceil(center[2] - radii[2] - k0), 0);
  const high = Math.min(last - k0, Math.floor(center[2] + radii[2] - k0), volume.slices - 1);
  for (let slice = low; slice <= high; slice++) {
    const mask = new Uint8Array(volume.rows * volume.columns);
    const z = (slice + k0 - center[2]) / radii[2];
    for (let n = 0; n < mask.length; n++) {
      const x = (i0 + di * (n % volume.columns) - center[0]) / radii[0];
      const y = (j0 + dj * Math.floor(n / volume.columns) - center[1]) / radii[1];
      if (x * x + y * y + z * z <= 1) mask[n] = 1;
    }
    found.set(slice, mask);
  }
  return found;
}

// @ts-check
// A promptable network asked as lungseg_utils.networks asks it, without Python: what it sees of a slice, how its answer
// is put back, and how a lesion is followed from slice to slice. Same frames and rules as geometry.py,
// networks/promptable.py and networks/propagation.py, which a test holds side by side. No DOM: `Network` is whatever
// runs encoder and decoder. Masks of a slice hold one byte for each stored pixel (rows * columns).

/** @import { Click, Grid, Levels, Pair, PlaneBox, Prompt, SlicePrompt } from "./types.js" */

/**
 * @typedef {Grid & Levels & { levels: Uint16Array }} Volume levels (slices, rows, columns)
 * @typedef {Map<number, Uint8Array>} MaskBySlice by stored slice
 * @typedef {{ iMin: number, iMax: number, jMin: number, jMax: number, rows: number, columns: number }} View
 *   a half-open rectangle of voxels; it may reach beyond the image
 * @typedef {{ positions: number[], labels: number[] }} Tokens
 */

/**
 * How a network looks at a slice (`View` of networks/promptable.py), and its threshold of probability.
 * @typedef {object} ViewRule
 * @property {number} canvas pixels of a side of its picture
 * @property {Pair} window_hu
 * @property {number} field_mm least side of the rectangle around a box
 * @property {number} field_margin side of the rectangle by the side of the box
 * @property {number} point_field_mm least side of the rectangle around clicks
 * @property {number} threshold
 */

/** What a network cannot be asked, in words for the reader. */
export class CannotAnswer extends Error {}

/**
 * @typedef {object} Network
 * @property {ViewRule} view
 * @property {(picture: Float32Array) => Promise<any>} encode gives an embedding
 * @property {(embedding: any, positions: number[], labels: number[]) => Promise<Float32Array>} decode gives logits
 */

/**
 * How a lesion is followed, from the constants of networks/propagation.py.
 * @typedef {{ grow: number, least_area: number, reach_mm: number }} Propagation
 */

const AIR_HU = -1024;
const MOST_EMBEDDINGS = 64; // of one case: a few megabytes

/**
 * The rectangle that the network sees for the prompt on a slice.
 * @param {Pick<ViewRule, "field_mm" | "field_margin" | "point_field_mm">} rule
 * @param {SlicePrompt} slicePrompt
 * @param {Pair} spacing
 * @returns {View}
 */
export function windowFor(rule, { box, points }, spacing) {
  const [iMin, iMax, jMin, jMax] = box ?? boxOfPoints(points);
  const least = box ? rule.field_mm : rule.point_field_mm;
  const side = Math.max(least, rule.field_margin * Math.max((iMax - iMin) * spacing[0], (jMax - jMin) * spacing[1]));
  const [columns, rows] = spacing.map((mm) => Math.max(1, roundHalfEven(side / mm)));
  const [i, j] = [Math.floor((iMin + iMax - columns) / 2), Math.floor((jMin + jMax - rows) / 2)];
  return { iMin: i, iMax: i + columns, jMin: j, jMax: j + rows, rows, columns };
}

/**
 * As Python rounds.
 * @param {number} value
 */
export function roundHalfEven(value) {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 ? floor + 1 : floor;
}

/**
 * Tight box of the clicks inside the lesion.
 * @param {Click[]} points
 * @returns {PlaneBox}
 */
export function boxOfPoints(points) {
  const inside = points.filter((point) => point.inside);
  const [is, js] = [inside.map((p) => p.i), inside.map((p) => p.j)];
  return [Math.min(...is), Math.max(...is) + 1, Math.min(...js), Math.max(...js) + 1];
}

/**
 * Prompt tokens as in `prompt_tokens`: positions (x, y, x, y, ...) in canvas pixels counted from edges, and labels.
 * @param {SlicePrompt} slicePrompt
 * @param {View} view
 * @param {number} canvas
 * @returns {Tokens}
 */
export function promptTokens({ box, points }, view, canvas) {
  const [x, y] = [canvas / view.columns, canvas / view.rows];
  /** @type {Tokens} */
  const { positions, labels } = { positions: [], labels: [] };
  if (box) {
    const [iMin, iMax, jMin, jMax] = box;
    positions.push((view.iMax - iMax) * x, (view.jMax - jMax) * y, (view.iMax - iMin) * x, (view.jMax - jMin) * y);
    labels.push(2, 3);
  }
  for (const point of points) {
    positions.push((view.iMax - point.i - 0.5) * x, (view.jMax - point.j - 0.5) * y);
    labels.push(point.inside ? 1 : 0);
  }
  if (!box) {
    // The encoder of prompts is told that no box follows.
    positions.push(0, 0);
    labels.push(-1);
  }
  return { positions, labels };
}

/**
 * What lies in the rectangle on a stored slice, in [0, 1] of the network's HU window, resized to canvas x canvas.
 * @param {Volume} volume
 * @param {Pick<ViewRule, "canvas" | "window_hu">} rule
 * @param {View} view
 * @param {number} slice
 */
export function pictureOf(volume, rule, view, slice) {
  const [low, high] = rule.window_hu;
  const { levels, lowest, step } = volume;
  const start = slice * volume.rows * volume.columns;
  const plane = new Float32Array(view.rows * view.columns);
  placesOf(volume, view).forEach((place, n) => {
    const hu = place < 0 ? AIR_HU : lowest + step * levels[start + place];
    plane[n] = (Math.min(Math.max(hu, low), high) - low) / (high - low);
  });
  return resample(plane, view.rows, view.columns, rule.canvas, rule.canvas);
}

/**
 * For each pixel of a rectangle its place among the pixels of a stored slice; -1 beyond it.
 * @param {Grid} grid
 * @param {View} view
 */
function placesOf({ rows, columns, voxel }, view) {
  const places = new Int32Array(view.rows * view.columns).fill(-1);
  for (let row = 0, n = 0; row < view.rows; row++) {
    const y = (view.jMax - 1 - row - voxel[1][0]) / voxel[1][1];
    for (let column = 0; column < view.columns; column++, n++) {
      const x = (view.iMax - 1 - column - voxel[0][0]) / voxel[0][1];
      if (y >= 0 && y < rows && x >= 0 && x < columns) places[n] = y * columns + x;
    }
  }
  return places;
}

/**
 * As geometry.resample for two axes: averages where an axis gets coarser, straight lines between centers where it gets
 * finer.
 * @param {Float32Array} plane
 * @param {number} rows
 * @param {number} columns
 * @param {number} newRows
 * @param {number} newColumns
 */
export function resample(plane, rows, columns, newRows, newColumns) {
  const narrow = new Float32Array(rows * newColumns);
  const across = axisWeights(columns, newColumns);
  for (let row = 0; row < rows; row++) {
    across.forEach((taps, column) => {
      let sum = 0;
      for (const [at, weight] of taps) sum += weight * plane[row * columns + at];
      narrow[row * newColumns + column] = sum;
    });
  }
  const result = new Float32Array(newRows * newColumns);
  axisWeights(rows, newRows).forEach((taps, row) => {
    for (const [at, weight] of taps) {
      const [to, from] = [row * newColumns, at * newColumns];
      for (let column = 0; column < newColumns; column++) result[to + column] += weight * narrow[from + column];
    }
  });
  return result;
}

/**
 * For each new place along an axis the old places that it takes from, with weights that sum to one.
 * @param {number} countIn
 * @param {number} countOut
 * @returns {Pair[][]}
 */
function axisWeights(countIn, countOut) {
  return Array.from({ length: countOut }, (_, n) => {
    const taps = countOut < countIn ? covered(n, countIn / countOut, countIn) : between(n, countIn, countOut);
    const total = taps.reduce((sum, [, weight]) => sum + weight, 0);
    return taps.map(([at, weight]) => [at, weight / total]);
  });
}

/**
 * @param {number} n
 * @param {number} size
 * @param {number} count
 * @returns {Pair[]}
 */
export function covered(n, size, count) {
  const [low, high] = [n * size, (n + 1) * size];
  /** @type {Pair[]} */
  const taps = [];
  for (let at = Math.floor(low); at < Math.min(count, Math.ceil(high)); at++) {
    taps.push([at, Math.min(high, at + 1) - Math.max(low, at)]);
  }
  return taps.filter(([, weight]) => weight > 0);
}

/**
 * @param {number} n
 * @param {number} countIn
 * @param {number} countOut
 * @returns {Pair[]}
 */
export function between(n, countIn, countOut) {
  const center = Math.min(Math.max(((n + 0.5) * countIn) / countOut - 0.5, 0), countIn - 1);
  const at = Math.floor(center);
  const rest = center - at;
  if (rest === 0) return [[at, 1]];
  return [
    [at, 1 - rest],
    [at + 1, rest],
  ];
}

/**
 * Logits of a square picture of the rectangle to a mask of the stored slice: put back as a probability, then compared
 * with the threshold.
 * @param {Grid} volume
 * @param {Pick<ViewRule, "threshold">} rule
 * @param {View} view
 * @param {Float32Array} logits
 */
export function putBack(volume, rule, view, logits) {
  const side = Math.round(Math.sqrt(logits.length));
  const picture = Float32Array.from(logits, (logit) => 1 / (1 + Math.exp(-logit)));
  const plane = resample(picture, side, side, view.rows, view.columns);
  const mask = new Uint8Array(volume.rows * volume.columns);
  placesOf(volume, view).forEach((place, n) => {
    if (place >= 0 && plane[n] > rule.threshold) mask[place] = 1;
  });
  return mask;
}

/**
 * Box of a mask of a stored slice in voxels, each side moved outwards by `grow` of its length, inside the image; null
 * if it is empty.
 * @param {Pick<Grid, "columns" | "voxel" | "size">} volume
 * @param {Uint8Array} mask
 * @param {number} grow
 * @returns {PlaneBox | null}
 */
export function boxOfMask({ columns, voxel, size }, mask, grow = 0) {
  let [left, right, top, bottom] = [Infinity, -1, Infinity, -1];
  for (let n = 0; n < mask.length; n++) {
    if (!mask[n]) continue;
    const [row, column] = [Math.floor(n / columns), n % columns];
    [left, right] = [Math.min(left, column), Math.max(right, column)];
    [top, bottom] = [Math.min(top, row), Math.max(bottom, row)];
  }
  if (right < 0) return null;
  const [[i0, di], [j0, dj]] = voxel;
  const ofI = grown(i0 + di * right, i0 + di * left, size[0], grow);
  const ofJ = grown(j0 + dj * bottom, j0 + dj * top, size[1], grow);
  return [...ofI, ...ofJ];
}

/**
 * @param {number} first voxel of a side
 * @param {number} last voxel of a side
 * @param {number} count of voxels along that axis
 * @param {number} grow
 * @returns {Pair} half-open
 */
function grown(first, last, count, grow) {
  const more = Math.ceil(grow * (last + 1 - first));
  return [Math.max(0, first - more), Math.min(count, last + 1 + more)];
}

/**
 * Nothing outside of the box counts.
 * @param {Pick<Grid, "columns" | "voxel">} volume
 * @param {Uint8Array} mask
 * @param {PlaneBox} box
 */
export function keepInside({ columns, voxel }, mask, [iMin, iMax, jMin, jMax]) {
  return mask.map((value, n) => {
    if (!value) return 0;
    const i = voxel[0][0] + voxel[0][1] * (n % columns);
    const j = voxel[1][0] + voxel[1][1] * Math.floor(n / columns);
    return i >= iMin && i < iMax && j >= jMin && j < jMax ? 1 : 0;
  });
}

/**
 * Union of masks by slice.
 * @param {MaskBySlice} one
 * @param {MaskBySlice} other
 * @returns {MaskBySlice}
 */
export function merge(one, other) {
  const result = new Map(one);
  for (const [slice, mask] of other) {
    const known = result.get(slice);
    result.set(slice, known ? known.map((value, n) => value | mask[n]) : mask);
  }
  return result;
}

/** @param {Uint8Array} mask */
const area = (mask) => mask.reduce((sum, value) => sum + value, 0);

/**
 * Whether a network can answer the prompt on a slice: clicks outside alone say nothing.
 * @param {SlicePrompt} slicePrompt
 */
export const canBeAsked = ({ box, points }) => Boolean(box) || points.some((point) => point.inside);

/**
 * Dice of two masks; null where both are empty.
 * @param {Uint8Array} one
 * @param {Uint8Array} other
 */
export function dice(one, other) {
  let [both, total] = [0, 0];
  for (let n = 0; n < one.length; n++) {
    both += one[n] & other[n];
    total += one[n] + other[n];
  }
  return total ? (2 * both) / total : null;
}

/**
 * One network asked about one volume. Embeddings of rectangles that were seen are kept, so that a further prompt on
 * them costs the decoder only.
 */
export class CaseSession {
  /**
   * @param {Network} network
   * @param {Volume} volume
   * @param {Propagation} propagation
   * @param {number} kept embeddings at most
   */
  constructor(network, volume, propagation, kept = MOST_EMBEDDINGS) {
    this.network = network;
    this.volume = volume;
    this.propagation = propagation;
    this.kept = kept;
    /** @type {Map<string, any>} */
    this.embeddings = new Map();
    this.offset = volume.voxel[2][0]; // of the first stored slice in the image
    /** @type {number[]} slices of the image that a lesion was not followed to, because nothing is known of them */
    this.unseen = [];
  }

  /**
   * What keeps the network from answering a prompt, in words; "" if nothing does.
   * @param {Pick<Prompt, "slices">} prompt
   * @returns {string}
   */
  refusal({ slices }) {
    return slices.length && !slices.some(canBeAsked)
      ? "Clicks outside alone say nothing: add a click inside, or a box."
      : "";
  }

  /**
   * Whether the network can be asked about a stored slice.
   * @param {number} slice
   */
  sees(slice) {
    return slice >= 0 && slice < this.volume.slices;
  }

  /**
   * Mask of one prompted slice.
   * @param {SlicePrompt} slicePrompt
   */
  async slice(slicePrompt) {
    const { network, volume } = this;
    const view = windowFor(network.view, slicePrompt, volume.spacing);
    const { positions, labels } = promptTokens(slicePrompt, view, network.view.canvas);
    const embedding = await this.embedding(view, slicePrompt.index - this.offset);
    return putBack(volume, network.view, view, await network.decode(embedding, positions, labels));
  }

  /**
   * @param {View} view
   * @param {number} slice
   */
  embedding(view, slice) {
    const { network, volume } = this;
    const place = [view.iMin, view.iMax, view.jMin, view.jMax, slice].join();
    return this.keep(place, () => network.encode(pictureOf(volume, network.view, view, slice)));
  }

  /**
   * An embedding by its place: the one that is kept, else a new one.
   * @param {string} place
   * @param {() => Promise<any>} make
   */
  async keep(place, make) {
    const { embeddings } = this;
    const known = embeddings.get(place) ?? (await make());
    embeddings.delete(place); // the youngest stand last
    embeddings.set(place, known);
    const [oldest] = embeddings.keys();
    if (embeddings.size > this.kept) embeddings.delete(oldest);
    return known;
  }

  /**
   * Masks of one prompt; `watch(done)` hears of each slice and ends it by false.
   * @param {Pick<Prompt, "find_ends" | "slices">} prompt
   * @param {(done: number) => boolean} watch
   */
  async prompt({ find_ends: findEnds, slices }, watch = () => true) {
    this.unseen = [];
    const refusal = this.refusal({ slices });
    if (refusal) throw new CannotAnswer(refusal);
    /** @type {MaskBySlice} */
    let masks = new Map();
    const clicks = new Map(slices.filter(({ points }) => points.length).map(({ index, points }) => [index, points]));
    for (const seed of slices.filter(canBeAsked)) {
      const alone = async () => new Map([[seed.index - this.offset, await this.slice(seed)]]);
      masks = merge(masks, findEnds ? await this.follow(seed, clicks, watch) : await alone());
      if (!watch(masks.size)) break;
    }
    return masks;
  }

  /**
   * From one prompted slice outwards, by the rule of networks/propagation.py.
   * @param {SlicePrompt} seed
   * @param {Map<number, Click[]>} clicks by slice of the image
   * @param {(done: number) => boolean} watch
   */
  async follow(seed, clicks, watch) {
    const { volume, propagation, offset } = this;
    const start = seed.index - offset;
    const first = await this.insideItsBox(seed);
    /** @type {MaskBySlice} */
    const found = new Map([[start, first]]);
    const least = Math.max(propagation.least_area * area(first), 1);
    const step = Math.abs(volume.z[1]);
    for (const direction of area(first) ? [1, -1] : []) {
      let mask = first;
      for (let n = 1; n * step <= propagation.reach_mm; n++) {
        const slice = start + n * direction;
        if (slice < 0 || slice >= volume.slices || !watch(found.size)) break;
        if (!this.sees(slice)) {
          this.unseen.push(slice + offset);
          break;
        }
        const box = boxOfMask(volume, mask, propagation.grow);
        mask = await this.insideItsBox({ index: slice + offset, box, points: clicks.get(slice + offset) ?? [] });
        if (area(mask) < least) break;
        found.set(slice, mask);
      }
    }
    return found;
  }

  /**
   * What a network says beyond the box that it was given does not count.
   * @param {SlicePrompt} slicePrompt
   */
  async insideItsBox(slicePrompt) {
    const mask = await this.slice(slicePrompt);
    return slicePrompt.box ? keepInside(this.volume, mask, slicePrompt.box) : mask;
  }
}

// @ts-check
// A network that sees whole slices, asked by boxes, as networks/litemedsam.py asks it: the slice lies in the upper
// left of a square picture, a box counts in whole pixels, and logits go back to the slice by straight lines. What the
// encoder says of a slice does not depend on the box, so it may come from anywhere: `Source`. No DOM.

import { CaseSession, between, covered, roundHalfEven } from "./promptable.js";

/** @import { Grid, Pair, PlaneBox, Prompt, SlicePrompt } from "./types.js" */
/** @import { Propagation, Volume } from "./promptable.js" */

/**
 * @typedef {{ canvas: number, window_hu: Pair, threshold: number }} WholeSliceRule
 * @typedef {{ top: number, left: number, rows: number, columns: number }} CellRange places of an embedding
 */

/**
 * @typedef {object} BoxNetwork
 * @property {WholeSliceRule} view
 * @property {(embedding: Float32Array, box: number[], cells: number[]) => Promise<Float32Array>} decode gives the 4 x 4
 *   logits of each of the cells, one after the other
 */

/**
 * Where embeddings of slices of the image come from.
 * @typedef {object} Source
 * @property {(index: number) => boolean} has
 * @property {(index: number) => Promise<Float32Array>} get
 * @property {(index: number) => string} lack why there is none, in words
 */

const CHANNELS = 256;
const GRID = 64; // places of an embedding along a side
const TILE = 4; // logits of a place along a side
const LARGEST_BYTE_SHIFT = 24; // an int8 is read back from a byte by shifting it to the left end of 32 bits
const MOST_EMBEDDINGS = 24; // of one case: 100 megabytes

/**
 * Rows and columns of the picture that a slice fills.
 * @param {WholeSliceRule} rule
 * @param {Pick<Grid, "size">} grid
 */
export function sidesOf({ canvas }, { size: [nx, ny] }) {
  const scale = canvas / Math.max(nx, ny);
  return { rows: Math.floor(ny * scale + 0.5), columns: Math.floor(nx * scale + 0.5) };
}

/**
 * A box in whole pixels of the picture, rounded down: x and y of two corners.
 * @param {WholeSliceRule} rule
 * @param {Pick<Grid, "size">} grid
 * @param {PlaneBox} box
 */
export function boxPixels({ canvas }, { size: [nx, ny] }, [iMin, iMax, jMin, jMax]) {
  const scale = canvas / Math.max(nx, ny);
  return [nx - iMax, ny - jMax, nx - iMin, ny - jMin].map((edge) => Math.floor(edge * scale));
}

/**
 * The places of an embedding that the stored pixels take logits from.
 * @param {WholeSliceRule} rule
 * @param {Grid} grid
 * @returns {CellRange}
 */
export function cellsOf(rule, grid) {
  const { rows, columns } = tapsOf(rule, grid);
  const cells = (/** @type {Pair[][]} */ taps) => taps.flat().map(([at]) => Math.floor(at / TILE));
  const [ofRows, ofColumns] = [cells(rows), cells(columns)];
  const [top, left] = [Math.min(...ofRows), Math.min(...ofColumns)];
  return { top, left, rows: Math.max(...ofRows) - top + 1, columns: Math.max(...ofColumns) - left + 1 };
}

/**
 * Their numbers, row after row.
 * @param {CellRange} range
 */
export function cellNumbers({ top, left, rows, columns }) {
  return Array.from(
    { length: rows * columns },
    (_, n) => (top + Math.floor(n / columns)) * GRID + left + (n % columns),
  );
}

/**
 * For each stored row and column the rows and columns of logits that it lies between, with weights.
 * @param {WholeSliceRule} rule
 * @param {Grid} grid
 */
function tapsOf(rule, grid) {
  const [nx, ny] = grid.size;
  const sides = sidesOf(rule, grid);
  const along = (/** @type {number} */ count, /** @type {Pair} */ [first, step], /** @type {Pair} */ [filled, size]) =>
    Array.from({ length: count }, (_, n) => between(size - 1 - (first + n * step), filled, size));
  return {
    rows: along(grid.rows, grid.voxel[1], [sides.rows, ny]),
    columns: along(grid.columns, grid.voxel[0], [sides.columns, nx]),
  };
}

/**
 * Logits of places to a mask of the stored slice.
 * @param {WholeSliceRule} rule
 * @param {Grid} grid
 * @param {CellRange} range
 * @param {Float32Array} tiles 4 x 4 logits of each place of the range
 */
export function putTilesBack(rule, grid, range, tiles) {
  const { rows, columns } = tapsOf(rule, grid);
  const at = (/** @type {number} */ y, /** @type {number} */ x) => {
    const cell = (Math.floor(y / TILE) - range.top) * range.columns + Math.floor(x / TILE) - range.left;
    return tiles[cell * TILE * TILE + (y % TILE) * TILE + (x % TILE)];
  };
  const mask = new Uint8Array(grid.rows * grid.columns);
  const least = Math.log(rule.threshold / (1 - rule.threshold));
  rows.forEach((ofRow, row) => {
    columns.forEach((ofColumn, column) => {
      let logit = 0;
      for (const [y, share] of ofRow) for (const [x, part] of ofColumn) logit += share * part * at(y, x);
      if (logit > least) mask[row * grid.columns + column] = 1;
    });
  });
  return mask;
}

/**
 * An embedding as `onnx_litemedsam.to_bytes` stores it, once it is unzipped: a scale for each channel, then bytes.
 * @param {Uint8Array} bytes
 */
export function unpackEmbedding(bytes) {
  const scales = new DataView(bytes.buffer, bytes.byteOffset);
  const places = GRID * GRID;
  const values = new Float32Array(CHANNELS * places);
  for (let channel = 0, n = 0; channel < CHANNELS; channel++) {
    const scale = scales.getFloat32(4 * channel, true);
    for (const end = n + places; n < end; n++) {
      values[n] = scale * ((bytes[4 * CHANNELS + n] << LARGEST_BYTE_SHIFT) >> LARGEST_BYTE_SHIFT);
    }
  }
  return values;
}

/**
 * What the encoder sees of a stored slice: 8 bit, resized by areas, stretched to [0, 1], zeros at the right and below.
 * @param {Volume} volume of whole slices
 * @param {WholeSliceRule} rule
 * @param {number} slice
 */
export function wholePicture(volume, rule, slice) {
  const [low, high] = rule.window_hu;
  const { levels, lowest, step, rows, columns } = volume;
  const [start, sides] = [slice * rows * columns, sidesOf(rule, volume)];
  const gray = Uint8Array.from({ length: rows * columns }, (_, n) => {
    const hu = Math.min(Math.max(lowest + step * levels[start + n], low), high);
    return Math.floor(((hu - low) / (high - low)) * 255);
  });
  const small = resizeByAreas(gray, [rows, columns], [sides.rows, sides.columns]);
  const [least, most] = small.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [255, 0]);
  const picture = new Float32Array(rule.canvas * rule.canvas);
  small.forEach((value, n) => {
    const at = Math.floor(n / sides.columns) * rule.canvas + (n % sides.columns);
    picture[at] = (value - least) / Math.max(most - least, 1e-8);
  });
  return picture;
}

/**
 * As OpenCV's INTER_AREA for 8 bit: areas where a picture gets smaller, its own straight lines where it gets larger.
 * @param {Uint8Array} gray
 * @param {Pair} shape rows and columns
 * @param {Pair} wanted rows and columns
 */
function resizeByAreas(gray, [rows, columns], [newRows, newColumns]) {
  const halved = rows === 2 * newRows && columns === 2 * newColumns;
  const round = halved ? (/** @type {number} */ value) => Math.floor(value + 0.5) : roundHalfEven;
  const smaller = newRows <= rows && newColumns <= columns;
  const taps = (/** @type {number} */ count, /** @type {number} */ wanted) =>
    Array.from({ length: wanted }, (_, n) => (smaller ? shares(n, count / wanted, count) : line(n, wanted, count)));
  const [ofRows, ofColumns] = [taps(rows, newRows), taps(columns, newColumns)];
  const result = new Uint8Array(newRows * newColumns);
  ofRows.forEach((down, row) => {
    ofColumns.forEach((across, column) => {
      let sum = 0;
      for (const [y, share] of down) for (const [x, part] of across) sum += share * part * gray[y * columns + x];
      result[row * newColumns + column] = round(sum);
    });
  });
  return result;
}

/**
 * @param {number} n
 * @param {number} size
 * @param {number} count
 * @returns {Pair[]}
 */
function shares(n, size, count) {
  return covered(n, size, count).map(([at, weight]) => [at, weight / size]);
}

/**
 * @param {number} n
 * @param {number} wanted
 * @param {number} count
 * @returns {Pair[]}
 */
function line(n, wanted, count) {
  const at = Math.floor((n * count) / wanted);
  const over = n + 1 - ((at + 1) * wanted) / count;
  const rest = over <= 0 ? 0 : over - Math.floor(over);
  return [
    [at, 1 - rest],
    [Math.min(at + 1, count - 1), rest],
  ];
}

/**
 * A file of this book that was gzipped.
 * @param {URL} address
 */
export async function loadEmbedding(address) {
  const response = await fetch(address);
  if (!response.ok || !response.body) throw new Error(`${response.status} ${response.statusText} ${address}`);
  const unzipped = response.body.pipeThrough(new DecompressionStream("gzip"));
  return unpackEmbedding(new Uint8Array(await new Response(unzipped).arrayBuffer()));
}

/**
 * Embeddings that were made beforehand, one file for each slice.
 * @param {URL} folder
 * @param {number[]} slices
 * @returns {Source}
 */
export function filesOf(folder, slices) {
  const [first, last] = [slices[0], slices[slices.length - 1]];
  return {
    has: (index) => slices.includes(index),
    get: (index) => loadEmbedding(new URL(`${index}.bin`, folder)),
    lack: (index) =>
      `This book holds what the network sees of slices ${first + 1} to ${last + 1}, not of slice ${index + 1}.`,
  };
}

/** One network of whole slices asked about one volume. */
export class WholeSliceSession extends CaseSession {
  /**
   * @param {BoxNetwork} network
   * @param {Volume} volume
   * @param {Propagation} propagation
   * @param {Source} source
   */
  constructor(network, volume, propagation, source) {
    super(/** @type {any} */ (network), volume, propagation, MOST_EMBEDDINGS);
    this.boxNetwork = network;
    this.source = source;
    this.cells = cellsOf(network.view, volume);
    this.numbers = cellNumbers(this.cells);
  }

  /**
   * @override
   * @param {Pick<Prompt, "slices">} prompt
   */
  refusal({ slices }) {
    if (slices.some(({ points }) => points.length)) return "This network takes boxes only: draw a box.";
    const unseen = slices.find(({ index }) => !this.source.has(index));
    return unseen ? this.source.lack(unseen.index) : "";
  }

  /**
   * @override
   * @param {number} slice
   */
  sees(slice) {
    return this.source.has(slice + this.offset);
  }

  /**
   * @override
   * @param {SlicePrompt} slicePrompt
   */
  async slice({ index, box }) {
    const { boxNetwork, volume, source, cells, numbers } = this;
    const corners = boxPixels(boxNetwork.view, volume, /** @type {PlaneBox} */ (box));
    const embedding = await this.keep(String(index), () => source.get(index));
    return putTilesBack(boxNetwork.view, volume, cells, await boxNetwork.decode(embedding, corners, numbers));
  }
}

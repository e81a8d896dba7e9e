// @ts-check
// A reader's own CT from a NIfTI-1 file, in the form of a decoded case of slice_viewer.js. Axes are brought into RAS+
// order by exchange and reversal only, as geometry.to_ras does.

/** @import { DecodedCase, Pair, Triple } from "./types.js" */

/**
 * @typedef {[number, number, number, number]} Row
 * @typedef {[Row, Row, Row]} Affine from stored voxels to RAS+ mm
 * @typedef {{ axis: number, backwards: boolean, step: number }} Axis a stored axis, and the mm between its voxels
 * @typedef {(at: number) => number} Read a number at a byte of the header
 */

/**
 * @typedef {object} Header
 * @property {boolean} little whether the least byte of a number stands first
 * @property {(view: DataView, at: number, little: boolean) => number} get a value of the file's type
 * @property {number} size of a value in bytes
 * @property {Triple} shape
 * @property {number} start of the values
 * @property {number} slope
 * @property {number} intercept
 * @property {Affine} affine
 */

/**
 * How a value of each NIfTI type is read, and its bytes.
 * @type {Record<number, [Header["get"], number]>}
 */
const TYPES = {
  2: [(view, at) => view.getUint8(at), 1],
  4: [(view, at, little) => view.getInt16(at, little), 2],
  8: [(view, at, little) => view.getInt32(at, little), 4],
  16: [(view, at, little) => view.getFloat32(at, little), 4],
  64: [(view, at, little) => view.getFloat64(at, little), 8],
  256: [(view, at) => view.getInt8(at), 1],
  512: [(view, at, little) => view.getUint16(at, little), 2],
  768: [(view, at, little) => view.getUint32(at, little), 4],
};
const [LOWEST_HU, HIGHEST_HU] = [-1024, 3071];
const MOST_VOXELS = 400e6;

const HEADER_BYTES = 352;

/** What is wrong with a file, in words for its reader. */
export class UnusableFile extends Error {}

/**
 * The bytes of a file, unpacked if they are gzipped.
 * @param {ArrayBuffer} buffer
 */
export async function unpacked(buffer) {
  const bytes = new Uint8Array(buffer, 0, Math.min(2, buffer.byteLength));
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return buffer;
  try {
    return await new Response(new Blob([buffer]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  } catch {
    throw new UnusableFile("The file is gzipped, but it cannot be unpacked: it is cut off or damaged.");
  }
}

/**
 * Geometry and type of values of a NIfTI-1 file.
 * @param {ArrayBuffer} buffer
 * @returns {Header}
 */
export function readHeader(buffer) {
  if (buffer.byteLength < 352) throw new UnusableFile("The file is too short for a NIfTI-1 file.");
  const view = new DataView(buffer);
  const little = view.getInt32(0, true) === 348;
  if (!little && view.getInt32(0, false) !== 348) throw new UnusableFile("This is no NIfTI-1 file (.nii or .nii.gz).");
  if (String.fromCharCode(view.getUint8(344), view.getUint8(345)) !== "n+") {
    throw new UnusableFile("Image and header must be in one file (.nii).");
  }
  /** @type {Read} */
  const int16 = (at) => view.getInt16(at, little);
  /** @type {Read} */
  const float32 = (at) => view.getFloat32(at, little);
  const shape = shapeOf(int16);
  const type = TYPES[int16(70)];
  if (!type) throw new UnusableFile(`Values of NIfTI type ${int16(70)} are not read; use 16-bit integers.`);
  const [get, size] = type;
  const count = shape[0] * shape[1] * shape[2];
  if (count > MOST_VOXELS) throw new UnusableFile(`${shape.join(" × ")} voxels are too many for a page.`);
  const start = Math.round(float32(108));
  if (start < 352 || start + count * size > buffer.byteLength) {
    throw new UnusableFile("The file ends before its last voxel.");
  }
  const [slope, intercept] = scaleOf(float32);
  return { little, get, size, shape, start, slope, intercept, affine: affineOf(int16, float32) };
}

/**
 * @param {Read} int16
 * @returns {Triple}
 */
function shapeOf(int16) {
  const axes = int16(40);
  const further = [4, 5, 6, 7].filter((n) => n <= axes && int16(40 + 2 * n) > 1);
  if (axes < 3 || further.length) throw new UnusableFile("The file does not hold one volume of three axes.");
  return [Math.max(1, int16(42)), Math.max(1, int16(44)), Math.max(1, int16(46))];
}

/**
 * Slope and intercept; a slope of 0 means that values are not scaled.
 * @param {Read} float32
 * @returns {Pair}
 */
function scaleOf(float32) {
  const [slope, intercept] = [float32(112), float32(116)];
  if (!Number.isFinite(slope) || slope === 0) return [1, 0];
  return [slope, Number.isFinite(intercept) ? intercept : 0];
}

/**
 * The sform, else the affine that the qform describes.
 * @param {Read} int16
 * @param {Read} float32
 * @returns {Affine}
 */
function affineOf(int16, float32) {
  if (int16(254) > 0) {
    /** @type {(at: number) => Row} */
    const row = (at) => [float32(at), float32(at + 4), float32(at + 8), float32(at + 12)];
    return [row(280), row(296), row(312)];
  }
  if (int16(252) <= 0) {
    throw new UnusableFile("The file does not say how its axes lie in the patient (neither sform nor qform).");
  }
  const [dx, dy, dz] = [80, 84, 88].map((at) => Math.abs(float32(at)) || 1);
  const side = float32(76) < 0 ? -1 : 1;
  const [b, c, d] = [256, 260, 264].map(float32);
  const a = Math.sqrt(Math.max(0, 1 - b * b - c * c - d * d));
  /** @type {(x: number, y: number, z: number, at: number) => Row} */
  const row = (x, y, z, at) => [x * dx, y * dy, z * dz * side, float32(at)];
  return [
    row(a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c), 268),
    row(2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b), 272),
    row(2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c, 276),
  ];
}

/**
 * For each RAS axis the stored axis that runs along it, and whether it runs backwards.
 * @param {Affine | number[][]} affine
 * @returns {Axis[]}
 */
export function orientation(affine) {
  const lengths = [0, 1, 2].map((axis) => Math.hypot(affine[0][axis], affine[1][axis], affine[2][axis]));
  if (lengths.some((length) => !(length > 0))) throw new UnusableFile("The axes of the file do not span a volume.");
  const pairs = [0, 1, 2].flatMap((world) =>
    lengths.map((length, axis) => ({ world, axis, share: Math.abs(affine[world][axis]) / length })),
  );
  const free = new Set([0, 1, 2]);
  /** @type {Axis[]} */
  const found = [];
  for (const { world, axis } of pairs.sort((x, y) => y.share - x.share)) {
    if (found[world] || !free.has(axis)) continue;
    found[world] = { axis, backwards: affine[world][axis] < 0, step: lengths[axis] };
    free.delete(axis);
  }
  return found;
}

/**
 * A decoded case from the bytes of a .nii or .nii.gz file; UnusableFile says what is wrong with it. Values are rounded
 * to whole HU.
 * @param {ArrayBuffer} buffer
 * @param {string} title
 * @returns {Promise<DecodedCase>}
 */
export async function readCase(buffer, title) {
  const bytes = await unpacked(buffer);
  const header = readHeader(bytes);
  const axes = orientation(header.affine);
  const [nx, ny, nz] = axes.map(({ axis }) => header.shape[axis]);
  const { levels, least } = takeLevels(bytes, header, axes, [nx, ny, nz]);
  const [first, second] = heights(header, axes[2]);
  return {
    title,
    levels,
    slices: nz,
    rows: ny,
    columns: nx,
    total: nz,
    size: [nx, ny, nz],
    spacing: [axes[0].step, axes[1].step],
    voxel: [
      [nx - 1, -1],
      [ny - 1, -1],
      [0, 1],
    ],
    z: [first, second - first],
    affine: affineInOrder(header, axes),
    lowest: LOWEST_HU,
    step: 1,
    count: HIGHEST_HU - LOWEST_HU + 1,
    masks: [],
    facts: {},
    start: Math.floor(nz / 2),
    note:
      least >= 0 ? "No value lies below 0: these do not look like Hounsfield units, so predictions will be wrong." : "",
  };
}

/**
 * Levels (slices, rows, columns), seen the radiological way, and the least value.
 * @param {ArrayBuffer} bytes
 * @param {Header} header
 * @param {Axis[]} axes
 * @param {Triple} shape along the RAS axes
 */
function takeLevels(bytes, { little, get, size, shape, start, slope, intercept }, axes, [nx, ny, nz]) {
  const values = new DataView(bytes, start);
  const strides = [1, shape[0], shape[0] * shape[1]];
  const walk = axes.map(({ axis, backwards }) => ({
    first: backwards ? (shape[axis] - 1) * strides[axis] : 0,
    step: backwards ? -strides[axis] : strides[axis],
  }));
  const levels = new Uint16Array(nx * ny * nz);
  let least = Infinity;
  for (let k = 0, n = 0; k < nz; k++) {
    for (let j = ny - 1; j >= 0; j--) {
      const line = walk[2].first + k * walk[2].step + walk[1].first + j * walk[1].step + walk[0].first;
      for (let i = nx - 1; i >= 0; i--, n++) {
        const hu = slope * get(values, (line + i * walk[0].step) * size, little) + intercept;
        if (hu < least) least = hu;
        levels[n] = Math.min(Math.max(Math.round(hu), LOWEST_HU), HIGHEST_HU) - LOWEST_HU || 0;
      }
    }
  }
  return { levels, least };
}

/**
 * World z of the first and the second slice at the first voxel of the others.
 * @param {Header} header
 * @param {Axis} axis
 * @returns {Pair}
 */
function heights({ affine, shape }, { axis, backwards }) {
  const z = (/** @type {number} */ index) => affine[2][3] + affine[2][axis] * index;
  return backwards ? [z(shape[axis] - 1), z(shape[axis] - 2)] : [z(0), z(1)];
}

/**
 * The affine of the axes in RAS+ order.
 * @param {Header} header
 * @param {Axis[]} axes
 * @returns {Affine}
 */
function affineInOrder({ affine, shape }, axes) {
  /** @type {(world: Row) => Row} */
  const row = (world) => {
    const origin = axes.reduce(
      (sum, { axis, backwards }) => sum + (backwards ? world[axis] * (shape[axis] - 1) : 0),
      world[3],
    );
    const [x, y, z] = axes.map(({ axis, backwards }) => (backwards ? -world[axis] : world[axis]));
    return [x, y, z, origin];
  };
  return [row(affine[0]), row(affine[1]), row(affine[2])];
}

/**
 * A volume as NIfTI-1 in memory.
 * @param {Triple} shape
 * @param {number[][]} affine three rows, from voxels to RAS+ mm
 * @param {Int16Array | Uint8Array} values the first axis runs fastest
 */
export function niftiBuffer(shape, affine, values) {
  const buffer = new ArrayBuffer(HEADER_BYTES + values.byteLength);
  const view = new DataView(buffer);
  /** @type {(at: number, ...numbers: number[]) => void} */
  const int16 = (at, ...numbers) => numbers.forEach((number, n) => view.setInt16(at + 2 * n, number, true));
  /** @type {(at: number, ...numbers: number[]) => void} */
  const float32 = (at, ...numbers) => numbers.forEach((number, n) => view.setFloat32(at + 4 * n, number, true));
  view.setInt32(0, 348, true);
  int16(40, 3, ...shape, 1, 1, 1, 1);
  int16(70, values.BYTES_PER_ELEMENT === 2 ? 4 : 2, 8 * values.BYTES_PER_ELEMENT); // type and its bits
  float32(76, 1, ...[0, 1, 2].map((axis) => Math.hypot(...affine.map((row) => row[axis]))));
  float32(108, HEADER_BYTES, 1, 0); // where voxels begin; slope and intercept
  view.setUint8(123, 2); // mm
  int16(252, 0, 1); // the affine stands in the three rows below
  affine.forEach((row, n) => float32(280 + 16 * n, ...row));
  [0x6e, 0x2b, 0x31, 0].forEach((letter, n) => view.setUint8(344 + n, letter)); // n+1
  const stored = new Uint8Array(buffer, HEADER_BYTES);
  stored.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  return buffer;
}

/**
 * A mask of a case as a gzipped NIfTI-1 file on the grid of the whole scan, axes in RAS+ order. UnusableFile if the
 * case does not say where its grid lies.
 * @param {DecodedCase} shown
 * @param {Uint8Array} mask (slices, rows, columns)
 */
export function maskFile({ size, affine, voxel, slices, rows, columns }, mask) {
  if (!affine) throw new UnusableFile("The case does not say where its voxels lie.");
  const whole = new Uint8Array(size[0] * size[1] * size[2]);
  const [i, j, k] = voxel;
  for (let slice = 0, n = 0; slice < slices; slice++) {
    for (let row = 0; row < rows; row++) {
      const line = ((k[0] + slice * k[1]) * size[1] + j[0] + row * j[1]) * size[0] + i[0];
      for (let column = 0; column < columns; column++, n++) if (mask[n]) whole[line + column * i[1]] = 1;
    }
  }
  const stream = new Blob([niftiBuffer(size, affine, whole)]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Response(stream).blob();
}

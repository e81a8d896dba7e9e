// A reader's own CT from a NIfTI-1 file, in the form of a decoded case of slice_viewer.js. Axes are brought into RAS+ order by
// exchange and reversal only, as geometry.to_ras does.

const TYPES = {
  2: ["Uint8", 1],
  4: ["Int16", 2],
  8: ["Int32", 4],
  16: ["Float32", 4],
  64: ["Float64", 8],
  256: ["Int8", 1],
  512: ["Uint16", 2],
  768: ["Uint32", 4],
};
const [LOWEST_HU, HIGHEST_HU] = [-1024, 3071];
const MOST_VOXELS = 400e6;

/** What is wrong with a file, in words for its reader. */
export class UnusableFile extends Error {}

/** The bytes of a file, unpacked if they are gzipped. */
export async function unpacked(buffer) {
  const bytes = new Uint8Array(buffer, 0, Math.min(2, buffer.byteLength));
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return buffer;
  try {
    return await new Response(new Blob([buffer]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  } catch {
    throw new UnusableFile("The file is gzipped, but it cannot be unpacked: it is cut off or damaged.");
  }
}

/** Geometry and type of values of a NIfTI-1 file: shape, affine (rows of three, RAS+ mm), scale, and where its values begin. */
export function readHeader(buffer) {
  if (buffer.byteLength < 352) throw new UnusableFile("The file is too short for a NIfTI-1 file.");
  const view = new DataView(buffer);
  const little = view.getInt32(0, true) === 348;
  if (!little && view.getInt32(0, false) !== 348) throw new UnusableFile("This is no NIfTI-1 file (.nii or .nii.gz).");
  if (String.fromCharCode(view.getUint8(344), view.getUint8(345)) !== "n+")
    throw new UnusableFile("Image and header must be in one file (.nii).");
  const int16 = (at) => view.getInt16(at, little);
  const float32 = (at) => view.getFloat32(at, little);
  const shape = [1, 2, 3].map((n) => Math.max(1, int16(40 + 2 * n)));
  const further = [4, 5, 6, 7].filter((n) => n <= int16(40) && int16(40 + 2 * n) > 1);
  if (int16(40) < 3 || further.length) throw new UnusableFile("The file does not hold one volume of three axes.");
  const [type, size] = TYPES[int16(70)] ?? [];
  if (!type) throw new UnusableFile(`Values of NIfTI type ${int16(70)} are not read; use 16-bit integers.`);
  const count = shape[0] * shape[1] * shape[2];
  if (count > MOST_VOXELS) throw new UnusableFile(`${shape.join(" × ")} voxels are too many for a page.`);
  const start = Math.round(float32(108));
  if (start < 352 || start + count * size > buffer.byteLength)
    throw new UnusableFile("The file ends before its last voxel.");
  const slope = float32(112);
  const scaled = Number.isFinite(slope) && slope !== 0;
  return {
    little,
    type,
    size,
    shape,
    count,
    start,
    slope: scaled ? slope : 1,
    intercept: scaled && Number.isFinite(float32(116)) ? float32(116) : 0,
    affine: affineOf(int16, float32),
  };
}

function affineOf(int16, float32) {
  if (int16(254) > 0) return [0, 1, 2].map((row) => [0, 1, 2, 3].map((column) => float32(280 + 16 * row + 4 * column)));
  const steps = [1, 2, 3].map((n) => Math.abs(float32(76 + 4 * n)) || 1);
  if (int16(252) <= 0)
    throw new UnusableFile("The file does not say how its axes lie in the patient (neither sform nor qform).");
  const [b, c, d] = [256, 260, 264].map(float32);
  const a = Math.sqrt(Math.max(0, 1 - b * b - c * c - d * d));
  const turn = [
    [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
    [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
    [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
  ];
  const side = float32(76) < 0 ? -1 : 1;
  return turn.map((row, n) => [row[0] * steps[0], row[1] * steps[1], row[2] * steps[2] * side, float32(268 + 4 * n)]);
}

/** For each RAS axis the stored axis that runs along it, and whether it runs backwards. */
export function orientation(affine) {
  const lengths = [0, 1, 2].map((axis) => Math.hypot(affine[0][axis], affine[1][axis], affine[2][axis]));
  if (lengths.some((length) => !(length > 0))) throw new UnusableFile("The axes of the file do not span a volume.");
  const free = new Set([0, 1, 2]);
  const found = [null, null, null];
  const pairs = [0, 1, 2].flatMap((world) =>
    [0, 1, 2].map((axis) => [Math.abs(affine[world][axis]) / lengths[axis], world, axis]),
  );
  for (const [, world, axis] of pairs.sort((x, y) => y[0] - x[0])) {
    if (found[world] || !free.has(axis)) continue;
    found[world] = { axis, backwards: affine[world][axis] < 0, step: lengths[axis] };
    free.delete(axis);
  }
  return found;
}

/** A decoded case from the bytes of a .nii or .nii.gz file; UnusableFile says what is wrong with it. Values are rounded to whole HU. */
export async function readCase(buffer, title) {
  const bytes = await unpacked(buffer);
  const header = readHeader(bytes);
  const axes = orientation(header.affine);
  const [nx, ny, nz] = axes.map(({ axis }) => header.shape[axis]);
  const [levels, least] = takeLevels(bytes, header, axes, [nx, ny, nz]);
  const ends = heights(header, axes[2]);
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
    z: [ends[0], ends[1] - ends[0]],
    lowest: LOWEST_HU,
    step: 1,
    count: HIGHEST_HU - LOWEST_HU + 1,
    masks: [],
    facts: {},
    start: Math.floor(nz / 2),
    note: least >= 0 ? "No value lies below 0: these do not look like Hounsfield units, so answers will be wrong." : "",
  };
}

/** Levels (slices, rows, columns), seen the radiological way, and the least value. */
function takeLevels(bytes, { little, type, size, shape, start, slope, intercept }, axes, [nx, ny, nz]) {
  const values = new DataView(bytes, start);
  const get = values[`get${type}`].bind(values);
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
        const hu = slope * get((line + i * walk[0].step) * size, little) + intercept;
        if (hu < least) least = hu;
        levels[n] = Math.min(Math.max(Math.round(hu), LOWEST_HU), HIGHEST_HU) - LOWEST_HU || 0;
      }
    }
  }
  return [levels, least];
}

/** World z of the first and the second slice at the first voxel of the others. */
function heights({ affine, shape }, { axis, backwards }) {
  const z = (index) => affine[2][3] + affine[2][axis] * index;
  return backwards ? [z(shape[axis] - 1), z(shape[axis] - 2)] : [z(0), z(1)];
}

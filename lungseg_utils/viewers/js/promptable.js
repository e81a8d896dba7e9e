// A promptable network asked as lungseg_utils.networks asks it, without Python: what it sees of a slice, how its answer is put back,
// and how a lesion is followed from slice to slice. Same frames and rules as geometry.py, networks/promptable.py and
// networks/propagation.py, which a test holds side by side. No DOM and no import: `network` is whatever runs encoder and decoder.
//
// A volume is a decoded case of slice_viewer.js: `levels` (slices, rows, columns) with HU = lowest + level * step, and `voxel`. A hint
// is { index, box: [i_min, i_max, j_min, j_max] (half-open) or null, points: [{ i, j, inside }] }, in voxels of the original image. Masks
// of a slice are Uint8Array (rows * columns) of the stored pixels.

const AIR_HU = -1024;
export const PROPAGATION = { grow: 0.05, leastArea: 0.1, reachMm: 150 };

/** The half-open rectangle of voxels that the network sees for a hint; it may reach beyond the image. */
export function windowFor(view, hint, spacing) {
  const [iMin, iMax, jMin, jMax] = hint.box ?? boxOfPoints(hint.points);
  const least = hint.box ? view.field_mm : view.point_field_mm;
  const side = Math.max(least, view.field_margin * Math.max((iMax - iMin) * spacing[0], (jMax - jMin) * spacing[1]));
  const [columns, rows] = spacing.map((mm) => Math.max(1, roundHalfEven(side / mm)));
  const [i, j] = [Math.floor((iMin + iMax - columns) / 2), Math.floor((jMin + jMax - rows) / 2)];
  return { iMin: i, iMax: i + columns, jMin: j, jMax: j + rows, rows, columns };
}

function roundHalfEven(value) {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 ? floor + 1 : floor;
}

/** Tight box of the clicks inside the lesion. */
export function boxOfPoints(points) {
  const inside = points.filter((point) => point.inside);
  const [is, js] = [inside.map((p) => p.i), inside.map((p) => p.j)];
  return [Math.min(...is), Math.max(...is) + 1, Math.min(...js), Math.max(...js) + 1];
}

/** Prompt tokens as in `prompt_tokens`: positions (x, y, x, y, ...) in canvas pixels counted from edges, and labels. */
export function promptTokens(hint, window, canvas) {
  const [x, y] = [canvas / window.columns, canvas / window.rows];
  const [positions, labels] = [[], []];
  if (hint.box) {
    const [iMin, iMax, jMin, jMax] = hint.box;
    positions.push(
      (window.iMax - iMax) * x,
      (window.jMax - jMax) * y,
      (window.iMax - iMin) * x,
      (window.jMax - jMin) * y,
    );
    labels.push(2, 3);
  }
  for (const point of hint.points ?? []) {
    positions.push((window.iMax - point.i - 0.5) * x, (window.jMax - point.j - 0.5) * y);
    labels.push(point.inside ? 1 : 0);
  }
  if (!hint.box) {
    // the encoder of prompts is told that no box follows
    positions.push(0, 0);
    labels.push(-1);
  }
  return { positions, labels };
}

/** What lies in the window on a stored slice, in [0, 1] of the network's HU window, resized to canvas x canvas. */
export function pictureOf(volume, view, window, slice) {
  const [low, high] = view.window_hu;
  const { levels, lowest, step, rows, columns } = volume;
  const plane = new Float32Array(window.rows * window.columns);
  for (let row = 0, n = 0; row < window.rows; row++) {
    const y = storedRow(volume, window.jMax - 1 - row);
    for (let column = 0; column < window.columns; column++, n++) {
      const x = storedColumn(volume, window.iMax - 1 - column);
      const inside = y >= 0 && y < rows && x >= 0 && x < columns;
      const hu = inside ? lowest + step * levels[(slice * rows + y) * columns + x] : AIR_HU;
      plane[n] = (Math.min(Math.max(hu, low), high) - low) / (high - low);
    }
  }
  return resample(plane, window.rows, window.columns, view.canvas, view.canvas);
}

const storedColumn = ({ voxel }, i) => (i - voxel[0][0]) / voxel[0][1];
const storedRow = ({ voxel }, j) => (j - voxel[1][0]) / voxel[1][1];

/** As geometry.resample for two axes: averages where an axis gets coarser, straight lines between centers where it gets finer. */
export function resample(plane, rows, columns, newRows, newColumns) {
  const across = axisWeights(columns, newColumns);
  const down = axisWeights(rows, newRows);
  const narrow = new Float32Array(rows * newColumns);
  for (let row = 0; row < rows; row++) {
    across.forEach((taps, column) => {
      let sum = 0;
      for (const [at, weight] of taps) sum += weight * plane[row * columns + at];
      narrow[row * newColumns + column] = sum;
    });
  }
  const result = new Float32Array(newRows * newColumns);
  down.forEach((taps, row) => {
    for (const [at, weight] of taps) {
      for (let column = 0; column < newColumns; column++)
        result[row * newColumns + column] += weight * narrow[at * newColumns + column];
    }
  });
  return result;
}

/** For each new place along an axis the old places that it takes from, with weights that sum to one. */
function axisWeights(countIn, countOut) {
  return Array.from({ length: countOut }, (_, n) => {
    const taps = countOut < countIn ? covered(n, countIn / countOut, countIn) : between(n, countIn, countOut);
    const total = taps.reduce((sum, [, weight]) => sum + weight, 0);
    return taps.map(([at, weight]) => [at, weight / total]);
  });
}

function covered(n, size, count) {
  const [low, high] = [n * size, (n + 1) * size];
  const taps = [];
  for (let at = Math.floor(low); at < Math.min(count, Math.ceil(high)); at++)
    taps.push([at, Math.min(high, at + 1) - Math.max(low, at)]);
  return taps.filter(([, weight]) => weight > 0);
}

function between(n, countIn, countOut) {
  const center = Math.min(Math.max(((n + 0.5) * countIn) / countOut - 0.5, 0), countIn - 1);
  const at = Math.floor(center);
  const rest = center - at;
  return rest > 0
    ? [
        [at, 1 - rest],
        [at + 1, rest],
      ]
    : [[at, 1]];
}

/** Logits of a square picture of the window to a mask of the stored slice: put back as a probability, then compared with the threshold. */
export function putBack(volume, view, window, logits) {
  const side = Math.round(Math.sqrt(logits.length));
  const picture = Float32Array.from(logits, (logit) => 1 / (1 + Math.exp(-logit)));
  const plane = resample(picture, side, side, window.rows, window.columns);
  const mask = new Uint8Array(volume.rows * volume.columns);
  for (let row = 0, n = 0; row < window.rows; row++) {
    const y = storedRow(volume, window.jMax - 1 - row);
    for (let column = 0; column < window.columns; column++, n++) {
      const x = storedColumn(volume, window.iMax - 1 - column);
      if (plane[n] > view.threshold && y >= 0 && y < volume.rows && x >= 0 && x < volume.columns)
        mask[y * volume.columns + x] = 1;
    }
  }
  return mask;
}

/** Box of a mask of a stored slice in voxels, each side moved outwards by `grow` of its length, inside the image; null if it is empty. */
export function boxOfMask(volume, mask, grow = 0) {
  let [left, right, top, bottom] = [Infinity, -1, Infinity, -1];
  for (let n = 0; n < mask.length; n++) {
    if (!mask[n]) continue;
    const [row, column] = [Math.floor(n / volume.columns), n % volume.columns];
    [left, right, top, bottom] = [
      Math.min(left, column),
      Math.max(right, column),
      Math.min(top, row),
      Math.max(bottom, row),
    ];
  }
  if (right < 0) return null;
  const [[i0, di], [j0, dj]] = volume.voxel;
  const sides = [
    [i0 + di * right, i0 + di * left, volume.size[0]],
    [j0 + dj * bottom, j0 + dj * top, volume.size[1]],
  ];
  return sides.flatMap(([first, last, count]) => {
    const more = Math.ceil(grow * (last + 1 - first));
    return [Math.max(0, first - more), Math.min(count, last + 1 + more)];
  });
}

/** Nothing outside of the box counts. */
export function keepInside(volume, mask, [iMin, iMax, jMin, jMax]) {
  return mask.map((value, n) => {
    if (!value) return 0;
    const i = volume.voxel[0][0] + volume.voxel[0][1] * (n % volume.columns);
    const j = volume.voxel[1][0] + volume.voxel[1][1] * Math.floor(n / volume.columns);
    return i >= iMin && i < iMax && j >= jMin && j < jMax ? 1 : 0;
  });
}

/** What a rule that looks at no voxel answers, as models/trivial.py does: ellipses in boxes, an ellipsoid on a single box, balls around
 * clicks. `diameterMm` is that of a ball around one click. Masks by stored slice. */
export function trivialAnswer(volume, prompt, diameterMm) {
  const boxes = prompt.slices.filter((hint) => hint.box);
  if (prompt.box_3d) return ellipsoidIn(volume, prompt.box_3d);
  if (!boxes.length) return ballsAround(volume, prompt.slices, diameterMm);
  return boxes.reduce(
    (found, hint) => merge(found, prompt.find_ends ? ellipsoidOn(volume, hint) : ellipseIn(volume, hint)),
    new Map(),
  );
}

function ellipsoidIn(volume, [low, high]) {
  const center = low.map((value, axis) => (value + high[axis] - 1) / 2);
  const radii = low.map((value, axis) => (high[axis] - value) / 2);
  return fill(volume, center, radii, [low[2], high[2] - 1]);
}

function ellipseIn(volume, { index, box: [iMin, iMax, jMin, jMax] }) {
  return fill(
    volume,
    [(iMin + iMax - 1) / 2, (jMin + jMax - 1) / 2, index],
    [(iMax - iMin) / 2, (jMax - jMin) / 2, 1],
    [index, index],
  );
}

/** Along z the half axis is the mean of the other two, in mm, and the outermost slices are cut as models/trivial.py cuts its cuboid. */
function ellipsoidOn(volume, { index, box: [iMin, iMax, jMin, jMax] }) {
  const radiusMm = ((iMax - iMin) * volume.spacing[0] + (jMax - jMin) * volume.spacing[1]) / 4;
  const slices = radiusMm / Math.abs(volume.z[1]);
  const reach = roundHalfEven(slices);
  const radii = [(iMax - iMin) / 2, (jMax - jMin) / 2, slices];
  return fill(volume, [(iMin + iMax - 1) / 2, (jMin + jMax - 1) / 2, index], radii, [index - reach, index + reach]);
}

function ballsAround(volume, hints, diameterMm) {
  const spacing = [...volume.spacing, Math.abs(volume.z[1])];
  const ball = (center, mm) =>
    fill(
      volume,
      center,
      spacing.map((step) => mm / 2 / step),
      [-Infinity, Infinity],
    );
  let found = new Map();
  for (const { index, points } of hints) {
    const inside = points.filter((point) => point.inside);
    if (inside.length) found = merge(found, ball(...spanned(inside, index, volume.spacing, diameterMm)));
  }
  for (const { index, points } of hints) {
    for (const point of points.filter((p) => !p.inside)) {
      for (const [slice, mask] of ball([point.i, point.j, index], diameterMm)) {
        found.get(slice)?.forEach((value, n, all) => value && mask[n] && (all[n] = 0));
      }
    }
  }
  return found;
}

/** Center and diameter in mm of the ball that clicks on one slice span. */
function spanned(points, index, spacing, diameterMm) {
  if (points.length === 1) return [[points[0].i, points[0].j, index], diameterMm];
  let [longest, ends] = [-1, null];
  for (const a of points) {
    for (const b of points) {
      const length = Math.hypot((a.i - b.i) * spacing[0], (a.j - b.j) * spacing[1]);
      if (length > longest) [longest, ends] = [length, [a, b]];
    }
  }
  const [a, b] = ends;
  return [[(a.i + b.i) / 2, (a.j + b.j) / 2, index], longest + (spacing[0] + spacing[1]) / 2];
}

/** Voxels whose centers lie in an ellipsoid (center and half axes in voxels), on slices `first` to `last` of the image. */
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

/** Union of masks by slice. */
export function merge(one, other) {
  const result = new Map(one);
  for (const [slice, mask] of other) result.set(slice, unite(result.get(slice), mask));
  return result;
}

const area = (mask) => mask.reduce((sum, value) => sum + value, 0);
export const canBeAsked = (hint) => Boolean(hint.box) || hint.points.some((point) => point.inside);

/** Dice of two masks, sums taken over all their slices; null where both are empty. */
export function dice(pairs) {
  let [both, total] = [0, 0];
  for (const [a, b] of pairs) {
    for (let n = 0; n < a.length; n++) {
      both += a[n] & b[n];
      total += a[n] + b[n];
    }
  }
  return total ? (2 * both) / total : null;
}

export class Asker {
  /** Asks one network about one volume. `network`: { view, encode(picture) and decode(embedding, positions, labels), both promises };
   * embeddings of windows that were seen are kept, up to `kept` of them, so that a further prompt on them costs the decoder only. */
  constructor(network, volume, kept = 64) {
    Object.assign(this, { network, volume, kept, embeddings: new Map() });
  }

  /** Mask of one prompted slice. */
  async slice(hint) {
    const { network, volume } = this;
    const window = windowFor(network.view, hint, volume.spacing);
    const stored = hint.index - volume.voxel[2][0];
    const { positions, labels } = promptTokens(hint, window, network.view.canvas);
    const logits = await network.decode(await this.embedding(window, stored), positions, labels);
    return putBack(volume, network.view, window, logits);
  }

  async embedding(window, stored) {
    const place = [window.iMin, window.iMax, window.jMin, window.jMax, stored].join();
    const known =
      this.embeddings.get(place) ??
      (await this.network.encode(pictureOf(this.volume, this.network.view, window, stored)));
    this.embeddings.delete(place); // the youngest stand last
    this.embeddings.set(place, known);
    if (this.embeddings.size > this.kept) this.embeddings.delete(this.embeddings.keys().next().value);
    return known;
  }

  /** Masks by stored slice of one prompt { find_ends, slices: [hint, ...] }; `watch(done)` hears of each slice and ends it by false. */
  async prompt({ find_ends: findEnds, slices }, watch = () => true) {
    const masks = new Map();
    const clicks = new Map(slices.filter((hint) => hint.points.length).map((hint) => [hint.index, hint.points]));
    for (const seed of slices.filter(canBeAsked)) {
      const found = findEnds
        ? await this.follow(seed, clicks, watch)
        : [[seed.index - this.volume.voxel[2][0], await this.slice(seed)]];
      for (const [slice, mask] of found) masks.set(slice, unite(masks.get(slice), mask));
      if (!watch(masks.size)) break;
    }
    return masks;
  }

  /** From one prompted slice outwards, by the rule of networks/propagation.py. */
  async follow(seed, clicks, watch) {
    const { volume } = this;
    const ask = async (hint) => (hint.box ? keepInside(volume, await this.slice(hint), hint.box) : this.slice(hint));
    const [start, offset] = [seed.index - volume.voxel[2][0], volume.voxel[2][0]];
    const first = await ask(seed);
    const found = [[start, first]];
    const least = PROPAGATION.leastArea * area(first);
    for (const direction of area(first) ? [1, -1] : []) {
      let mask = first;
      for (let slice = start + direction; slice >= 0 && slice < volume.slices; slice += direction) {
        if (Math.abs(slice - start) * Math.abs(volume.z[1]) > PROPAGATION.reachMm || !watch(found.length)) break;
        const box = boxOfMask(volume, mask, PROPAGATION.grow);
        mask = await ask({ index: slice + offset, box, points: clicks.get(slice + offset) ?? [] });
        if (!area(mask) || area(mask) < least) break;
        found.push([slice, mask]);
      }
    }
    return found;
  }
}

const unite = (one, other) => (one ? one.map((value, n) => value | other[n]) : other);

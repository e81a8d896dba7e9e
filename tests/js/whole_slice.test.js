// @ts-check
// Unit tests of asking a network of whole slices, without a browser: node --test tests/js
import assert from "node:assert/strict";
import { test } from "node:test";

import { CannotAnswer } from "../../lungseg_utils/viewers/js/promptable.js";
import {
  WholeSliceSession,
  boxPixels,
  cellNumbers,
  cellsOf,
  putTilesBack,
  sidesOf,
  unpackEmbedding,
  wholePicture,
} from "../../lungseg_utils/viewers/js/whole_slice.js";

/** @type {any} */
const rule = { canvas: 256, window_hu: [-160, 240], threshold: 0.5 };
const propagation = { grow: 0.05, least_area: 0.1, reach_mm: 150 };

/**
 * Stored columns and rows of an image of some size: those of the first voxels and onwards, seen the radiological way.
 * @param {number[]} size
 * @param {number[]} first voxel of the first pixel
 * @param {number[]} count columns and rows
 * @returns {any}
 */
const grid = (size, first, [columns, rows]) => ({
  size,
  rows,
  columns,
  slices: size[2],
  levels: new Uint16Array(0),
  lowest: -1024,
  step: 4,
  spacing: [1, 1],
  z: [0, 1],
  voxel: [
    [first[0], -1],
    [first[1], -1],
    [0, 1],
  ],
});
const whole = grid([512, 512, 9], [511, 511], [512, 512]);

test("the longest side of a slice fills the picture", () => {
  assert.deepEqual(sidesOf(rule, grid([512, 512, 1], [0, 0], [1, 1])), { rows: 256, columns: 256 });
  assert.deepEqual(sidesOf(rule, grid([300, 401, 1], [0, 0], [1, 1])), { rows: 256, columns: 192 });
});

test("a box counts in whole pixels of the picture, rounded down", () => {
  assert.deepEqual(boxPixels(rule, whole, [101, 111, 200, 221]), [200, 145, 205, 156]);
});

test("only the places that the stored pixels take logits from are asked for", () => {
  assert.deepEqual(cellsOf(rule, whole), { top: 0, left: 0, rows: 64, columns: 64 });
  const range = cellsOf(rule, grid([512, 512, 1], [511 - 80, 511 - 160], [16, 8]));
  assert.deepEqual(range, { top: 19, left: 9, rows: 3, columns: 4 });
  assert.deepEqual(cellNumbers({ top: 1, left: 2, rows: 2, columns: 3 }), [66, 67, 68, 130, 131, 132]);
});

test("logits come back by straight lines between the centers of pixels", () => {
  const stored = grid([512, 512, 1], [511 - 80, 511 - 160], [16, 8]);
  const range = cellsOf(rule, stored);
  const tiles = Float32Array.from({ length: range.rows * range.columns * 16 }, (_, n) => {
    const x = (range.left + (Math.floor(n / 16) % range.columns)) * 4 + (n % 4);
    return x + 0.5 - 44.2; // a straight slope, which changes its sign at column 88.4 of the slice
  });
  const mask = putTilesBack(rule, stored, range, tiles);
  assert.deepEqual([...mask.slice(0, 16)], [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]);
});

test("an embedding comes back from a byte a value", () => {
  const bytes = new Uint8Array(1024 + 256 * 4096);
  new DataView(bytes.buffer).setFloat32(4, 0.5, true);
  bytes.set([2, 254, 129], 1024 + 4096);
  assert.deepEqual([...unpackEmbedding(bytes).slice(4095, 4100)], [0, 1, -1, -63.5, 0]);
});

/**
 * @param {number[]} size
 * @param {(n: number) => number} huOf
 * @param {number} canvas
 */
function pictureOf([nx, ny], huOf, canvas) {
  const levels = Uint16Array.from({ length: nx * ny }, (_, n) => huOf(n) + 1024);
  const volume = { ...grid([nx, ny, 1], [nx - 1, ny - 1], [nx, ny]), levels, step: 1 };
  return [...wholePicture(volume, { ...rule, canvas, window_hu: [0, 255] }, 0)];
}

test("a picture is rounded to 8 bit, stretched to its own range, and padded by zeros", () => {
  assert.deepEqual(
    pictureOf([2, 1], (n) => [50, 150][n], 2),
    [0, 1, 0, 0],
  );
  // means of four pixels: halves are rounded upwards, as OpenCV does where it halves a picture
  const halved = pictureOf([4, 2], (n) => [0, 0, 2, 2, 0, 2, 2, 4][n], 2);
  assert.deepEqual(halved, [0, 1, 0, 0]);
});

test("a picture that gets smaller by another factor is averaged by areas", () => {
  const found = pictureOf([3, 1], (n) => [0, 90, 240][n], 2);
  assert.deepEqual(found, [0, 1, 0, 0]); // (0 + 90 / 2) / 1.5 and (90 / 2 + 240) / 1.5
});

/** A network that finds what lies inside the box it is given, on slices 3 to 6, of which a book holds 3 to 5. */
function session() {
  /** @type {any} */
  const asked = { got: [], decoded: 0 };
  /** @type {any} */
  const network = {
    view: rule,
    decode: async (embedding, [left, top, right, bottom], cells) => {
      asked.decoded += 1;
      return Float32Array.from({ length: cells.length * 16 }, (_, n) => {
        const cell = cells[Math.floor(n / 16)];
        const [x, y] = [(cell % 64) * 4 + (n % 4), Math.floor(cell / 64) * 4 + (Math.floor(n / 4) % 4)];
        return embedding[0] && x >= left && x < right && y >= top && y < bottom ? 9 : -9;
      });
    },
  };
  const source = {
    has: (index) => index >= 3 && index <= 5,
    get: async (index) => {
      asked.got.push(index);
      return Float32Array.of(1);
    },
    lack: (index) => `nothing is known of slice ${index}`,
  };
  return { asked, session: new WholeSliceSession(network, whole, propagation, source) };
}

const seed = { index: 4, box: /** @type {any} */ ([100, 120, 200, 220]), points: [] };

test("a box on one slice is answered, and its embedding is fetched once", async () => {
  const { asked, session: asking } = session();
  const found = await asking.prompt({ find_ends: false, slices: [seed] });
  await asking.prompt({ find_ends: false, slices: [seed] });
  assert.deepEqual([[...found.keys()], asked.got, asked.decoded], [[4], [4], 2]);
  assert.equal(
    found.get(4)?.reduce((sum, value) => sum + value, 0),
    400,
  );
});

test("a lesion is followed no further than slices are known, and the session says where", async () => {
  const { session: asking } = session();
  const found = await asking.prompt({ find_ends: true, slices: [seed] });
  assert.deepEqual([...found.keys()].sort(), [3, 4, 5]);
  assert.deepEqual(asking.unseen, [6, 2]);
});

test("clicks and unknown slices are refused in words", async () => {
  const { asked, session: asking } = session();
  const click = { ...seed, points: [{ i: 1, j: 1, inside: true }] };
  const refused = (slices) => asking.prompt({ find_ends: false, slices });
  await assert.rejects(
    refused([click]),
    (problem) => problem instanceof CannotAnswer && /boxes only/.test(problem.message),
  );
  await assert.rejects(refused([seed, { ...seed, index: 7 }]), /nothing is known of slice 7/);
  assert.equal(asked.decoded, 0);
});

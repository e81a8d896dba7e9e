// @ts-check
// Unit tests of asking a network about a volume, without a browser: node --test tests/js
import assert from "node:assert/strict";
import { test } from "node:test";

import { median } from "../../lungseg_utils/viewers/js/prompt_page.js";
import {
  CaseSession,
  boxOfMask,
  boxOfPoints,
  canBeAsked,
  dice,
  keepInside,
  merge,
  pictureOf,
  promptTokens,
  putBack,
  resample,
  roundHalfEven,
  windowFor,
} from "../../lungseg_utils/viewers/js/promptable.js";

/** @type {any} */
const rule = { canvas: 8, window_hu: [-1000, 0], field_mm: 8, field_margin: 2, point_field_mm: 4, threshold: 0.5 };
const propagation = { grow: 0.05, least_area: 0.1, reach_mm: 150 };

/**
 * A volume of 1 mm voxels whose pixel (column, row) of slice s is voxel (x - 1 - column, y - 1 - row, s + first).
 * @param {{ size?: number[], first?: number, levelOf?: (i: number, j: number, k: number) => number }} changes
 * @returns {any}
 */
function volume({ size = [10, 10, 7], first = 0, levelOf = () => 0 } = {}) {
  const [columns, rows, slices] = size;
  const levels = new Uint16Array(slices * rows * columns);
  for (let n = 0; n < levels.length; n++) {
    const [column, row] = [n % columns, Math.floor(n / columns) % rows];
    levels[n] = levelOf(columns - 1 - column, rows - 1 - row, Math.floor(n / (rows * columns)) + first);
  }
  const voxel = [
    [columns - 1, -1],
    [rows - 1, -1],
    [first, 1],
  ];
  return { slices, rows, columns, levels, size, spacing: [1, 1], voxel, z: [0, 1], lowest: -1000, step: 1 };
}

const mask = (text) => Uint8Array.from(text.replaceAll(/\s/g, ""), Number);
const on = (index, box, points = []) => ({ index, box, points });

test("halves are rounded to even numbers, as in Python", () => {
  assert.deepEqual(
    [0.5, 1.5, 2.5, -0.5, -1.5, 1.4, 1.6].map((value) => roundHalfEven(value) + 0),
    [0, 2, 2, 0, -2, 1, 2],
  );
});

test("the rectangle around a box is twice its longer side, at least 8 mm, and centered on it", () => {
  assert.deepEqual(windowFor(rule, on(0, [2, 8, 4, 6]), [1, 1]), {
    iMin: -1,
    iMax: 11,
    jMin: -1,
    jMax: 11,
    rows: 12,
    columns: 12,
  });
  const small = windowFor(rule, on(0, [4, 6, 4, 6]), [2, 1]);
  assert.deepEqual([small.columns, small.rows], [4, 8]);
});

test("clicks inside make a tight box", () => {
  const points = [
    { i: 3, j: 5, inside: true },
    { i: 1, j: 9, inside: true },
    { i: 0, j: 0, inside: false },
  ];
  assert.deepEqual(boxOfPoints(points), [1, 4, 5, 10]);
  assert.ok(canBeAsked(on(0, null, points)));
  assert.ok(!canBeAsked(on(0, null, points.slice(2))));
  assert.ok(canBeAsked(on(0, [0, 1, 0, 1])));
});

test("tokens count from the upper left corner of the picture, and without a box the encoder is told so", () => {
  const view = { iMin: 0, iMax: 4, jMin: 0, jMax: 4, rows: 4, columns: 4 };
  assert.deepEqual(promptTokens(on(0, [1, 3, 0, 2]), view, 8), { positions: [2, 4, 6, 8], labels: [2, 3] });
  const clicks = [
    { i: 3, j: 3, inside: true },
    { i: 0, j: 1, inside: false },
  ];
  assert.deepEqual(promptTokens(on(0, null, clicks), view, 8), { positions: [1, 1, 7, 5, 0, 0], labels: [1, 0, -1] });
});

test("a picture shows the rectangle in the HU window, and air beyond the image", () => {
  const shown = volume({ size: [2, 2, 2], levelOf: (i, j, k) => (k === 1 ? 250 * (i + 2 * j + 1) : 0) });
  const view = { iMin: 0, iMax: 4, jMin: 0, jMax: 2, rows: 2, columns: 4 };
  const picture = pictureOf(shown, { ...rule, canvas: 4 }, view, 1);
  assert.deepEqual([...picture.slice(0, 4)], [0, 0, 1, 0.75]);
  assert.deepEqual([...picture.slice(12)], [0, 0, 0.5, 0.25]);
});

test("an axis that gets coarser is averaged, one that gets finer is joined by straight lines", () => {
  assert.deepEqual([...resample(Float32Array.of(0, 4, 8, 12), 1, 4, 1, 2)], [2, 10]);
  assert.deepEqual([...resample(Float32Array.of(0, 3, 6), 3, 1, 1, 1)], [3]);
  assert.deepEqual([...resample(Float32Array.of(0, 4), 1, 2, 1, 4)], [0, 1, 3, 4]);
});

test("logits come back to the pixels that the rectangle covers", () => {
  const shown = volume({ size: [4, 4, 1] });
  const view = { iMin: 2, iMax: 6, jMin: 0, jMax: 4, rows: 4, columns: 4 };
  const logits = Float32Array.from(mask("1111 0011 0000 0001"), (value) => (value ? 5 : -5));
  assert.deepEqual(putBack(shown, rule, view, logits), mask("1100 1100 0000 0100"));
});

test("the box of a mask is in voxels, grows by a share of its sides, and ends at the image", () => {
  const shown = volume({ size: [4, 4, 1] });
  assert.deepEqual(boxOfMask(shown, mask("0000 0100 0110 0000")), [1, 3, 1, 3]);
  assert.deepEqual(boxOfMask(shown, mask("1000 0100 0000 0000"), 0.5), [1, 4, 1, 4]);
  assert.equal(boxOfMask(shown, new Uint8Array(16)), null);
  assert.deepEqual(keepInside(shown, mask("1111 1111 1111 1111"), [0, 1, 1, 3]), mask("0000 0001 0001 0000"));
});

test("masks of slices are united", () => {
  const found = merge(
    new Map([[1, mask("100")]]),
    new Map([
      [1, mask("001")],
      [2, mask("010")],
    ]),
  );
  assert.deepEqual(
    [...found],
    [
      [1, mask("101")],
      [2, mask("010")],
    ],
  );
});

test("Dice of two masks, and of nothing", () => {
  assert.equal(dice(mask("1100"), mask("0110")), 0.5);
  assert.equal(dice(mask("0000"), mask("0110")), 0);
  assert.equal(dice(mask("0000"), mask("0000")), null);
});

const unscaled = { ...rule, canvas: 12, field_mm: 12, field_margin: 0 }; // its pictures are never resized

/** A network that answers with what is dense; it counts what it was asked. */
function dense(view) {
  const asked = { encoded: 0, decoded: 0, prompts: [] };
  const network = {
    view,
    encode: async (picture) => {
      asked.encoded += 1;
      return picture;
    },
    decode: async (picture, positions, labels) => {
      asked.decoded += 1;
      asked.prompts.push({ positions, labels });
      return Float32Array.from(picture, (value) => (value > 0.5 ? 9 : -9));
    },
  };
  return { network, asked };
}

const ball = (i, j, k) => ((i - 5) ** 2 + (j - 5) ** 2 + (k - 13) ** 2 <= 6 ? 1000 : 0);
const areas = (found) => [...found].map(([slice, part]) => [slice, part.reduce((sum, value) => sum + value, 0)]);
const seed = on(13, [3, 8, 3, 8]);

test("a prompt on one slice is answered there, and a picture that was seen is not encoded again", async () => {
  const { network, asked } = dense(unscaled);
  const session = new CaseSession(network, volume({ first: 10, levelOf: ball }), propagation);
  const found = await session.prompt({
    find_ends: false,
    slices: [seed, on(14, null, [{ i: 0, j: 0, inside: false }])],
  });
  assert.deepEqual(areas(found), [[3, 21]]);
  await session.prompt({ find_ends: false, slices: [{ ...seed, points: [{ i: 5, j: 5, inside: true }] }] });
  assert.deepEqual([asked.encoded, asked.decoded], [1, 2]);
  assert.deepEqual(asked.prompts[1].labels, [2, 3, 1]);
});

test("only the youngest pictures are kept", async () => {
  const { network, asked } = dense(unscaled);
  const session = new CaseSession(network, volume({ first: 10, levelOf: ball }), propagation, 1);
  for (const index of [13, 14, 13]) await session.slice({ ...seed, index });
  assert.equal(asked.encoded, 3);
  assert.equal(session.embeddings.size, 1);
});

test("a lesion is followed until its mask is empty, and a click on the way is told", async () => {
  const { network, asked } = dense(unscaled);
  const session = new CaseSession(network, volume({ first: 10, levelOf: ball }), propagation);
  const click = on(14, null, [{ i: 9, j: 9, inside: false }]);
  const found = await session.prompt({ find_ends: true, slices: [seed, click] });
  assert.deepEqual(areas(new Map([...found].sort())), [
    [1, 9],
    [2, 21],
    [3, 21],
    [4, 21],
    [5, 9],
  ]);
  assert.deepEqual(
    asked.prompts.map(({ labels }) => labels.length),
    [2, 3, 2, 2, 2, 2, 2],
  );
});

test("a lesion is followed no further than the rule says", async () => {
  const follow = async (changes, watch) => {
    const { network } = dense(unscaled);
    const session = new CaseSession(network, volume({ first: 10, levelOf: ball }), { ...propagation, ...changes });
    return [...(await session.prompt({ find_ends: true, slices: [seed] }, watch)).keys()].sort();
  };
  assert.deepEqual(await follow({ reach_mm: 1 }), [2, 3, 4]);
  assert.deepEqual(await follow({ least_area: 0.6 }), [2, 3, 4]);
  assert.deepEqual(await follow({}, (done) => done < 2), [3, 4]);
});

test("the median of an even number of values is the mean of the two in the middle", () => {
  assert.equal(median([5, 1, 3]), 3);
  assert.equal(median([4, 1, 3, 100]), 3.5);
  assert.equal(median([7]), 7);
});

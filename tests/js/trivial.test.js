// @ts-check
// Unit tests of the answers that look at no voxel, without a browser: node --test tests/js
import assert from "node:assert/strict";
import { test } from "node:test";

import { trivialPrediction } from "../../lungseg_utils/viewers/js/trivial.js";

// 9 x 9 x 9 voxels of 1 x 1 x 2 mm. All that is drawn here is symmetric: directions of columns and rows do not matter.
/** @type {any} */
const grid = {
  slices: 9,
  rows: 9,
  columns: 9,
  size: [9, 9, 9],
  spacing: [1, 1],
  z: [0, 2],
  voxel: [
    [8, -1],
    [8, -1],
    [0, 1],
  ],
};
const prompt = (slices, changes = {}) => ({ lesion_id: 1, find_ends: false, box_3d: null, slices, ...changes });
const boxed = (index, box) => ({ index, box, points: [] });
const clicked = (index, ...points) => ({
  index,
  box: null,
  points: points.map(([i, j, inside = true]) => ({ i, j, inside })),
});

/** Area on each slice that holds anything, from low to high. */
function areas(found) {
  const counted = [...found].map(([slice, mask]) => [slice, mask.reduce((sum, value) => sum + value, 0)]);
  return counted.filter(([, area]) => area).sort(([a], [b]) => a - b);
}

test("a box on a slice holds the ellipse that touches its sides", () => {
  // radii of 1.5 and 2.5 voxels around (4, 4): 5 of the middle line, 3 x 2 beside it, 1 x 2 at the sides within 1.5
  assert.deepEqual(areas(trivialPrediction(grid, prompt([boxed(4, [3, 6, 2, 7])]), 4)), [[4, 11]]);
  const two = prompt([boxed(4, [3, 6, 3, 6]), boxed(5, [3, 6, 3, 6])]);
  assert.deepEqual(areas(trivialPrediction(grid, two, 4)), [
    [4, 9],
    [5, 9],
  ]);
});

test("a lesion to be followed from one box is an ellipsoid as thick in mm as it is wide", () => {
  // radius 2.5 mm, slices of 2 mm: one slice further on both sides, with a radius of 1.5 mm there
  assert.deepEqual(areas(trivialPrediction(grid, prompt([boxed(4, [2, 7, 2, 7])], { find_ends: true }), 4)), [
    [3, 9],
    [4, 21],
    [5, 9],
  ]);
});

test("a box in 3-D holds the ellipsoid that touches its sides", () => {
  const cuboid = [
    [3, 3, 3],
    [6, 6, 6],
  ];
  assert.deepEqual(areas(trivialPrediction(grid, prompt([], { box_3d: cuboid }), 4)), [
    [3, 5],
    [4, 9],
    [5, 5],
  ]);
});

test("one click is a ball of the given diameter", () => {
  assert.deepEqual(areas(trivialPrediction(grid, prompt([clicked(4, [4, 4])]), 4)), [
    [3, 1],
    [4, 13],
    [5, 1],
  ]);
});

test("two clicks on a slice are the ends of a ball, and its pixels are counted in", () => {
  // 2 mm apart and a pixel of 1 mm: a diameter of 3 mm around (4, 4)
  assert.deepEqual(areas(trivialPrediction(grid, prompt([clicked(4, [3, 4], [5, 4])]), 4)), [[4, 9]]);
});

test("a click outside takes its ball away", () => {
  const taken = trivialPrediction(grid, prompt([clicked(4, [4, 4], [4, 7, false])]), 4);
  assert.deepEqual(areas(taken), [
    [3, 1],
    [4, 11], // 13 but for those 1 and 2 mm away
    [5, 1],
  ]);
  assert.deepEqual(areas(trivialPrediction(grid, prompt([clicked(4, [4, 4, false])]), 4)), []);
});

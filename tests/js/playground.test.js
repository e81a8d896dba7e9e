// Unit tests of the playground's arithmetic, and of drawing on a canvas, without a browser: node --test tests/js
import assert from "node:assert/strict";
import { test } from "node:test";

import { placed, spreadColors } from "../../lungseg_utils/viewers/playground/playground.js";
import { PromptTools } from "../../lungseg_utils/viewers/js/prompt_tools.js";
import { fit, toCanvas, toPixel, toVoxel } from "../../lungseg_utils/viewers/js/slice_viewer.js";

test("planes of a mask come to their slices, and all else is empty", () => {
  const shape = [4, 1, 2];
  const mask = placed({ first: 1, count: 2 }, Uint8Array.of(1, 0, 0, 0), shape);
  assert.deepEqual([...mask.array], [0, 0, 1, 0, 0, 0, 0, 0]);
  assert.deepEqual(mask.used, [false, true, false, false]);
  assert.deepEqual([...placed({ first: 0, count: 0 }, new Uint8Array(0), [1, 1, 2]).array], [0, 0]);
});

test("a newer mask takes the place of the older one in the same array", () => {
  const shape = [4, 1, 2];
  const older = placed({ first: 1, count: 2 }, Uint8Array.of(1, 1, 1, 1), shape);
  const newer = placed({ first: 2, count: 2 }, Uint8Array.of(0, 1, 1, 0), shape, older);
  assert.equal(newer.array, older.array);
  assert.deepEqual([...newer.array], [0, 0, 0, 0, 0, 1, 1, 0]);
  assert.deepEqual(newer.used, [false, false, true, true]);
  assert.deepEqual([...placed({ first: 0, count: 0 }, new Uint8Array(0), shape, newer).array], Array(8).fill(0));
});

test("a voxel that more draws hold hides more of the CT, one that none holds nothing", () => {
  const colors = spreadColors("#e69f00", 4);
  assert.equal(colors[0] >>> 24, 0);
  assert.deepEqual(
    [...colors].map((color) => color >>> 24),
    [0, 48, 95, 143, 190],
  );
  assert.equal(colors[4] & 0xffffff, 0x009fe6);
});

/** A canvas of 100 x 80 pixels over a volume whose voxels are not cubes, as prompt_tools.js sees it. */
function drawn({ size = [96, 90, 24], spacing = [2.25, 1.8] } = {}) {
  const shown = {
    rows: size[1],
    columns: size[0],
    spacing,
    size,
    voxel: [
      [size[0] - 1, -1],
      [size[1] - 1, -1],
      [0, 1],
    ],
  };
  const said = [];
  const canvas = { classList: { add() {} }, focus() {}, setPointerCapture() {} };
  const view = { canvas, stage: { addEventListener() {} }, redraw() {}, slice: 7, case: shown };
  const tools = new PromptTools(view, {
    onbox: (from, to, index) => said.push({ from, to, index }),
    onclick: (voxel, index, inside) => said.push({ voxel, index, inside }),
    onundo: () => said.push("undo"),
    onsay() {},
    prompts: () => [],
  });
  const frame = fit(shown, 100, 80);
  const gesture = (phase, x, y) => {
    const pixel = toPixel(frame, shown, x, y);
    tools.pointer({ phase, ijk: pixel && toVoxel(shown, ...pixel, 7), event: { button: 0, pointerId: 1 } });
  };
  return { tools, gesture, said, at: (i, j) => toCanvas(frame, shown, size[0] - 1 - i, size[1] - 1 - j) };
}

test("a drag from one voxel to another is a box with both inside, on the slice that is shown", () => {
  const { gesture, said, at } = drawn();
  gesture("down", ...at(70, 60));
  gesture("move", ...at(50, 20));
  gesture("up", ...at(50, 20));
  assert.deepEqual(said, [{ from: [70, 60], to: [50, 20], index: 7 }]);
});

test("anywhere within a voxel is that voxel, also where voxels are not square", () => {
  for (const spacing of [
    [2.25, 1.8],
    [0.7, 0.7],
    [1, 3],
  ]) {
    const { tools, gesture, said, at } = drawn({ spacing });
    tools.tool = 1;
    const [[x0, y0], [x1, y1]] = [at(41, 31), at(40, 30)]; // neighbors along both axes
    const [dx, dy] = [(x1 - x0) / 2, (y1 - y0) / 2];
    for (const [u, v] of [
      [0, 0],
      [0.96, 0],
      [-0.96, 0.96],
      [0, -0.96],
    ]) {
      gesture("down", x1 + u * dx, y1 + v * dy);
      gesture("up", x1 + u * dx, y1 + v * dy);
    }
    assert.deepEqual(said, Array(4).fill({ voxel: [40, 30], index: 7, inside: true }));
  }
});

test("outside the slice nothing begins; a drag that leaves it ends where it was inside last", () => {
  const { gesture, said, at } = drawn();
  gesture("down", -5, -5);
  gesture("up", -5, -5);
  gesture("down", ...at(30, 30));
  gesture("move", ...at(10, 12));
  gesture("move", 500, 500);
  gesture("up", 500, 500);
  assert.deepEqual(said, [{ from: [30, 30], to: [10, 12], index: 7 }]);
});

test("a gesture that the system takes away draws nothing", () => {
  const { gesture, said, at } = drawn();
  gesture("down", ...at(30, 30));
  gesture("cancel", ...at(20, 20));
  gesture("up", ...at(20, 20));
  assert.deepEqual(said, []);
});

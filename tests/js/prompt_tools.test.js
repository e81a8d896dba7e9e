// @ts-check
// Unit tests of drawing prompts on a canvas and of painting them, without a browser: node --test tests/js
import assert from "node:assert/strict";
import { test } from "node:test";

import { PromptTools, boxBetween, paintPrompt } from "../../lungseg_utils/viewers/js/prompt_tools.js";
import { fit, toCanvas, toPixel, toVoxel } from "../../lungseg_utils/viewers/js/slice_viewer.js";

const PALETTE = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00", "#0072b2"];

/** A canvas of 100 x 80 pixels over a volume whose voxels are not cubes, as prompt_tools.js sees it. */
function drawn({ size = [96, 90, 24], spacing = [2.25, 1.8] } = {}) {
  /** @type {any} */
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
  /** @type {any} */
  const view = { canvas, stage: { addEventListener() {} }, redraw() {}, slice: 7, case: shown };
  const tools = new PromptTools(view, PALETTE, {
    onbox: (from, to, index) => said.push({ from, to, index }),
    onclick: (voxel, index, inside) => said.push({ voxel, index, inside }),
    onundo: () => said.push("undo"),
    onsay() {},
    prompts: () => [],
  });
  const frame = fit(shown, 100, 80);
  /** @type {any} */
  const event = { button: 0, pointerId: 1 };
  const gesture = (phase, x, y) => {
    const pixel = toPixel(frame, shown, x, y);
    tools.pointer({ phase, ijk: pixel && toVoxel(shown, ...pixel, 7), event });
  };
  return { tools, gesture, said, canvas, at: (i, j) => toCanvas(frame, shown, size[0] - 1 - i, size[1] - 1 - j) };
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

/** @type {(name: string, changes?: object) => any} */
const key = (name, changes = {}) => ({ key: name, preventDefault() {}, stopPropagation() {}, ...changes });

test("keys move a cross within the image, and Enter sets one corner of a box and then the other", () => {
  const { tools, said, canvas } = drawn();
  tools.key(key("Enter", { target: canvas }));
  assert.deepEqual(said, []);
  tools.key(key("ArrowLeft", { shiftKey: true, altKey: true }));
  tools.key(key("ArrowUp", { shiftKey: true }));
  tools.key(key("Enter", { target: canvas }));
  assert.deepEqual(said, [{ from: [47, 44], to: [57, 45], index: 7 }]);
  for (let n = 0; n < 9; n++) tools.key(key("ArrowUp", { shiftKey: true, altKey: true }));
  assert.deepEqual(tools.cursor, [57, 89]);
  tools.tool = 2;
  tools.key(key("Enter", { target: canvas }));
  assert.deepEqual(said[1], { voxel: [57, 89], index: 7, inside: false });
  tools.key(key("Backspace"));
  assert.equal(said[2], "undo");
});

test("keys that are not its own go on to others", () => {
  const { tools, said } = drawn();
  const event = key("ArrowUp", { preventDefault: () => assert.fail("taken") });
  tools.key(event);
  tools.key(key("Enter", { target: {}, preventDefault: () => assert.fail("taken") }));
  assert.deepEqual(said, []);
});

test("both voxels are inside a box, whichever comes first", () => {
  assert.deepEqual(boxBetween([5, 2], [3, 9]), [3, 6, 2, 10]);
  assert.deepEqual(boxBetween([4, 4], [4, 4]), [4, 5, 4, 5]);
});

/**
 * What is stroked on a canvas: paths with their color and dash, rims left out.
 * @returns {any}
 */
function recorder() {
  const strokes = [];
  let path = [];
  const note =
    (name) =>
    (...numbers) =>
      path.push([name, ...numbers]);
  return {
    strokes,
    save() {},
    restore() {},
    beginPath: () => (path = []),
    rect: note("rect"),
    arc: note("arc"),
    moveTo: note("move"),
    lineTo: note("line"),
    setLineDash(dash) {
      this.dash = dash;
    },
    stroke() {
      if (this.strokeStyle !== "#000a") strokes.push({ color: this.strokeStyle, dash: this.dash, path });
    },
  };
}

/** @type {any[]} */
const slices = [
  { index: 3, box: [2, 6, 1, 4], points: [{ i: 3, j: 2, inside: true }] },
  { index: 4, box: null, points: [{ i: 9, j: 9, inside: false }] },
];
const prompts = [{ lesion_id: 1, find_ends: false, box_3d: null, slices }];
/** @type {any[]} */
const lines = [{ index: 4, from: [1, 1], to: [5, 1] }];
const colors = { line: "line", inside: "inside", outside: "outside" };

test("a prompt is painted on its slices only: boxes around voxels, lines, clicks with a plus or a minus", (context) => {
  Object.assign(globalThis, { window: { devicePixelRatio: 1 } });
  context.after(() => Reflect.deleteProperty(globalThis, "window"));
  const painted = (index) => {
    const canvas = recorder();
    paintPrompt(canvas, ([i, j]) => [100 - i, 100 - j], { prompts, lines }, index, colors);
    return canvas.strokes;
  };
  const [box, plus] = painted(3);
  assert.deepEqual(box, { color: "line", dash: [5, 5], path: [["rect", 94.5, 96.5, 4, 3]] });
  assert.equal(plus.color, "inside");
  assert.equal(plus.path.filter(([name]) => name === "line").length, 2);
  const [line, minus] = painted(4);
  assert.deepEqual(line.path, [
    ["move", 99, 99],
    ["line", 95, 99],
  ]);
  assert.deepEqual(line.dash, []);
  assert.equal(minus.color, "outside");
  assert.equal(minus.path.filter(([name]) => name === "line").length, 1);
  assert.deepEqual(painted(5), []);
});

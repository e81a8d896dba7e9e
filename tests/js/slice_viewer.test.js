// @ts-check
// Unit tests of the viewer's arithmetic, without a browser: node --test tests/js
import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

import { decodeCase, restoreLevels, unpackBits } from "../../lungseg_utils/viewers/js/decode.js";
import { minus } from "../../lungseg_utils/viewers/js/dom.js";
import { EDGES, inPlane } from "../../lungseg_utils/viewers/js/planes.js";
import { abgr, channels, hues, strokeOnRim } from "../../lungseg_utils/viewers/js/palette.js";
import {
  SliceCanvas,
  enlarge,
  fit,
  fromVoxel,
  outline,
  overlaysFor,
  toCanvas,
  toPixel,
  toVoxel,
  wheelSteps,
  windowTable,
} from "../../lungseg_utils/viewers/js/slice_viewer.js";

const levels = { lowest: -1024, step: 4, count: 1025 };
/** @type {import("../../lungseg_utils/viewers/js/types.js").Windows} */
const WINDOWS = { lung: [-1350, 150], mediastinum: [-160, 240], bone: [-500, 1300] };
const grayAt = (window, hu) => windowTable(WINDOWS[window], levels)[(hu - levels.lowest) / levels.step];

test("a number below zero has a true minus sign, and what is rounded to zero has none", () => {
  assert.equal(minus(-1024), "\u22121024");
  assert.equal(minus(-0.26, 1), "\u22120.3");
  assert.equal(minus(-0.4), "0");
  assert.equal(minus(NaN), "NaN");
});

test("a window maps its center to middle gray and its ends to black and white", () => {
  assert.equal(grayAt("mediastinum", 40), 128); // 127.5, rounded to even
  assert.equal(grayAt("mediastinum", -160), 0);
  assert.equal(grayAt("mediastinum", 240), 255);
  assert.equal(grayAt("lung", -600), 128);
  assert.equal(grayAt("bone", 400), 128);
});

test("outside a window everything is black or white", () => {
  assert.equal(grayAt("mediastinum", -1000), 0);
  assert.equal(grayAt("mediastinum", 1000), 255);
  assert.equal(grayAt("lung", 152), 255);
});

test("bits come most significant first, and padding is dropped", () => {
  assert.deepEqual([...unpackBits(Uint8Array.of(0b10110000, 0b01000000), 10)], [1, 0, 1, 1, 0, 0, 0, 0, 0, 1]);
  assert.equal(unpackBits(new Uint8Array(0), 0).length, 0);
});

// Rows [300, 299, 301] and [5, 5, 700]: differences 300, -1, 2 and 5, 0, 695; zigzag 600, 1, 4 and 10, 0, 1390.
test("levels are restored from zigzag differences in two byte planes, afresh on each row", () => {
  const codes = [600, 1, 4, 10, 0, 1390];
  const bytes = Uint8Array.from([...codes.map((code) => code & 255), ...codes.map((code) => code >> 8)]);
  assert.deepEqual([...restoreLevels(bytes, 3)], [300, 299, 301, 5, 5, 700]);
});

const edgesOf = (mask, rows, columns, start = 0) => {
  const runs = outline(Uint8Array.from(mask), start, rows, columns);
  return Array.from({ length: runs.length / 4 }, (_, n) => runs.slice(4 * n, 4 * n + 4).join(" ")).sort();
};

test("one voxel has four edges", () => {
  assert.deepEqual(edgesOf([0, 0, 0, 0, 1, 0, 0, 0, 0], 3, 3), ["1 1 1 2", "1 1 2 1", "1 2 2 2", "2 1 2 2"]);
});

test("straight runs are joined, and a mask at the rim is closed there", () => {
  assert.deepEqual(edgesOf([1, 1, 1, 1], 2, 2), ["0 0 0 2", "0 0 2 0", "0 2 2 2", "2 0 2 2"]);
});

test("a hole has an outline of its own", () => {
  assert.equal(edgesOf([1, 1, 1, 1, 0, 1, 1, 1, 1], 3, 3).length, 8);
});

test("the outline of an empty slice is empty, and other slices do not matter", () => {
  assert.deepEqual(edgesOf([1, 1, 1, 1, 0, 0, 0, 0], 2, 2, 4), []);
});

// 4 columns of 2 mm and 2 rows of 1 mm are 8 mm by 2 mm; in 400 x 400 canvas pixels the scale is 50 per mm.
/** @type {any} */
const slice = {
  rows: 2,
  columns: 4,
  spacing: [2, 1],
  voxel: [
    [13, -1],
    [21, -1],
    [30, 1],
  ],
};

test("voxels that are not square keep their proportions", () => {
  assert.deepEqual(fit(slice, 400, 400), { left: 0, top: 150, width: 400, height: 100, scale: 50 });
});

test("canvas and pixel are inverse, and beside the slice there is no pixel", () => {
  const frame = fit(slice, 400, 400);
  assert.deepEqual(toPixel(frame, slice, 50, 175), [0, 0]);
  assert.deepEqual(toPixel(frame, slice, 350, 225), [3, 1]);
  assert.deepEqual(toCanvas(frame, slice, 3, 1), [350, 225]);
  assert.equal(toPixel(frame, slice, 50, 149), null);
  assert.equal(toPixel(frame, slice, 50, 250), null);
});

// Radiological view: columns run towards lower i, rows towards lower j; slices upwards.
test("pixel and voxel are inverse, and count from the original image", () => {
  assert.deepEqual(toVoxel(slice, 0, 0, 0), [13, 21, 30]);
  assert.deepEqual(toVoxel(slice, 3, 1, 5), [10, 20, 35]);
  assert.deepEqual(fromVoxel(slice, [10, 20, 35]), [3, 1, 5]);
});

test("a mouse notch is one slice, trackpad movements add up, and turning round starts afresh", () => {
  const state = { rest: 0 };
  assert.equal(wheelSteps(state, 120, 0), 1);
  assert.equal(wheelSteps(state, -3, 1), -1);
  assert.deepEqual(
    [12, 12, 12].map((delta) => wheelSteps(state, delta, 0)),
    [0, 0, 1],
  );
  for (const delta of [20, -12]) wheelSteps(state, delta, 0);
  assert.equal(state.rest, -12);
});

test("a stored case is decoded", async () => {
  const pack = (bytes) => gzipSync(Uint8Array.from(bytes)).toString("base64");
  /** @type {any} */
  const stored = {
    title: "case",
    shape: [1, 2, 2],
    ct: pack([2, 2, 4, 0, 0, 0, 0, 0]),
    masks: [{ name: "reference", bits: pack([0b01100000]) }],
  };
  const decoded = await decodeCase(stored);
  assert.deepEqual([...decoded.levels], [1, 2, 2, 2]);
  assert.deepEqual([...decoded.masks[0].array], [0, 1, 1, 0]);
  assert.deepEqual([decoded.slices, decoded.rows, decoded.columns], [1, 2, 2]);
});

test("a color is taken apart once, for channels and for pixels of a canvas", () => {
  assert.deepEqual(channels("#e69f00"), [0xe6, 0x9f, 0x00]);
  assert.equal(abgr("#e69f00"), 0xff009fe6);
  assert.equal(abgr("#e69f00", 0), 0x00009fe6);
});

test("colors of a palette have names, and masks take them in turn", () => {
  const palette = ["#000001", "#000002", "#000003", "#000004", "#000005", "#000006", "#000007"];
  assert.equal(hues(palette).skyBlue, palette[0]);
  assert.equal(hues(palette).blue, palette[6]);
  const names = Array.from({ length: 8 }, (_, n) => `mask ${n}`);
  assert.deepEqual(
    overlaysFor(names, palette).map(({ color }) => color),
    [...palette, palette[0]],
  );
});

test("a stroke has a dark rim twice as wide, dashed alike", () => {
  const strokes = [];
  /** @type {any} */
  const context = {
    dash: [],
    setLineDash(dash) {
      this.dash = dash;
    },
    stroke() {
      strokes.push([this.strokeStyle, this.lineWidth, this.dash]);
    },
  };
  strokeOnRim(context, "#fff", 3, [5, 5]);
  assert.deepEqual(strokes, [
    ["#000a", 6, [5, 5]],
    ["#fff", 3, [5, 5]],
  ]);
});

test("a canvas that was taken off the page no longer listens to the window", (context) => {
  const heard = new Map();
  /** @type {() => any} */
  const blank = () => ({ style: {}, append() {}, setAttribute() {}, addEventListener() {} });
  const page = {
    document: { createElement: blank },
    window: { addEventListener: (type, _act, { signal }) => heard.set(type, signal) },
    ResizeObserver: class {
      observe() {}
      disconnect() {
        heard.delete("resize");
      }
    },
  };
  Object.assign(globalThis, page);
  context.after(() => Object.keys(page).forEach((name) => delete globalThis[name]));
  heard.set("resize");
  const canvas = new SliceCanvas(blank(), WINDOWS);
  assert.deepEqual(
    [...heard.values()].map((signal) => signal?.aborted),
    [undefined, false, false],
  );
  canvas.dispose();
  assert.deepEqual(
    [...heard.values()].map((signal) => signal.aborted),
    [true, true],
  );
});

test("an enlarged slice keeps the middle, and its edges stay outside of the canvas", () => {
  const frame = fit({ rows: 10, columns: 20, spacing: [1, 1] }, 200, 200);
  assert.deepEqual(enlarge(frame, 1, [0, 0], 200, 200), frame);
  const twice = enlarge(frame, 2, [0.25, 0.5], 200, 200);
  assert.deepEqual([twice.left, twice.top, twice.width, twice.height, twice.scale], [0, 0, 400, 200, 20]);
  assert.equal(enlarge(frame, 2, [0, 0.5], 200, 200).left, 0);
  assert.equal(enlarge(frame, 2, [1, 0.5], 200, 200).left, -200);
  assert.equal(enlarge(frame, 1.5, [0.5, 0.5], 200, 200).top, 25);
});

/**
 * 2 slices of 3 rows and 4 columns, each voxel with another value; heights rise by 5 mm a slice.
 * @returns {import("../../lungseg_utils/viewers/js/types.js").DecodedCase}
 */
const volume = () => ({
  ...{ title: "", facts: {}, note: "", total: 2, start: 0, lowest: 0, step: 1, count: 24 },
  ...{ slices: 2, rows: 3, columns: 4, size: [4, 3, 2], spacing: [1, 2], z: [-10, 5] },
  voxel: [
    [3, -1],
    [0, 1],
    [0, 1],
  ],
  levels: Uint16Array.from({ length: 24 }, (_, n) => n),
  masks: [{ name: "reference", array: Uint8Array.from({ length: 24 }, (_, n) => Number(n === 6 || n === 18)) }],
});

test("coronal and sagittal slices hold the voxels of the axial ones, the head at the top", () => {
  assert.equal(inPlane(volume(), "axial").levels[5], 5);
  const coronal = inPlane(volume(), "coronal");
  assert.deepEqual([coronal.slices, coronal.rows, coronal.columns, coronal.spacing], [3, 2, 4, [1, 5]]);
  assert.deepEqual([...coronal.levels.subarray(8, 16)], [16, 17, 18, 19, 4, 5, 6, 7]);
  assert.equal(coronal.start, 1);
  const sagittal = inPlane(volume(), "sagittal");
  assert.deepEqual([sagittal.slices, sagittal.rows, sagittal.columns, sagittal.spacing], [4, 2, 3, [2, 5]]);
  assert.deepEqual([...sagittal.levels.subarray(12, 18)], [14, 18, 22, 2, 6, 10]); // column 2: front to back
  assert.equal(sagittal.start, 2);
  assert.deepEqual([EDGES.coronal, EDGES.sagittal].map(String), ["R,L,H,F", "A,P,H,F"]);
});

test("a voxel is the same one in all planes, also where heights fall from slice to slice", () => {
  /** @type {import("../../lungseg_utils/viewers/js/types.js").Pair[]} */
  const heights = [
    [-10, 5],
    [10, -5],
  ];
  for (const z of heights) {
    for (const plane of ["axial", "coronal", "sagittal"]) {
      const seen = inPlane({ ...volume(), z }, plane);
      for (let n = 0; n < 24; n++) {
        const [number, rest] = [Math.floor(n / (seen.rows * seen.columns)), n % (seen.rows * seen.columns)];
        const [i, j, k] = toVoxel(seen, rest % seen.columns, Math.floor(rest / seen.columns), number);
        assert.equal(seen.levels[n], k * 12 + j * 4 + (3 - i));
        assert.ok(fromVoxel(seen, [i, j, k])[2] === number);
      }
    }
  }
});

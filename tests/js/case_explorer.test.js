// @ts-check
// Unit tests of the case explorer's arithmetic, without a browser: node --test tests/js
import assert from "node:assert/strict";
import { test } from "node:test";

import { levelsToHu, storedBuffer } from "../../lungseg_utils/viewers/js/case_explorer/niivue.js";
import { nextPromptSlice, promptSlices, slicesText } from "../../lungseg_utils/viewers/js/case_explorer/prompts.js";
import {
  predictionsOf,
  firstState,
  formatState,
  nearestPrediction,
  parseState,
  splitKey,
} from "../../lungseg_utils/viewers/js/case_explorer/state.js";
import { metricText, ranking } from "../../lungseg_utils/viewers/js/case_explorer/values.js";

/** @type {any} */
const cohort = {
  key: "phantom_a",
  phantom: true,
  cases: ["one", "two", "three", "four"].map((id) => ({ id, patient: id })),
  dsc: {
    "net/click": [0.2, 0.2, 0.2, 0.2],
    "net/none": [0.5, 0.9, null, 0.1],
    "ellipse/box_one_slice": [null, null, null, null],
  },
};
/** @type {any} */
const real = { key: "real & few", phantom: false, cases: [{ id: "p 1/2", patient: "p" }], dsc: { "net/none": [0.5] } };
/** @type {any} */
const index = { cohorts: [cohort, real], methods: [], settings: [], windows: { lung: [-1350, 150], bone: [0, 1] } };

test("an address shows what was chosen when it was made", () => {
  const states = [
    {},
    { b: "net/click", view: "side", window: "bone", slice: 17, field: "all" },
    { cohort: "real & few", case: "p 1/2", prompts: false, space: true },
    { case: "three", a: "ellipse/box_one_slice" },
    {
      looks: {
        reference: { shown: false, filled: false, opacity: 1 },
        A: { shown: true, filled: true, opacity: 0.6 },
        B: { shown: true, filled: false, opacity: 0.1 },
      },
    },
  ];
  for (const changes of states) {
    const state = { ...firstState(index), ...changes };
    assert.deepEqual(parseState(`#${formatState(state)}`, index), { state, unknown: [], isElsewhere: false });
  }
});

test("a plain view has a short address, with slices counted as on the page", () => {
  assert.equal(formatState(firstState(index)), "data=phantom_a&case=one&a=net/none");
  assert.match(formatState({ ...firstState(index), slice: 0 }), /&slice=1$/);
});

test("an empty address is the first case", () => {
  assert.deepEqual(parseState("", index), { state: firstState(index), unknown: [], isElsewhere: false });
});

test("what the book does not hold is named, and the rest of the address holds", () => {
  const { state, unknown } = parseState(
    "#data=phantom_a&case=five&a=net/none&b=no/where&slice=0&window=bone&A=fill-5&x=y",
    index,
  );
  assert.deepEqual([state.case, state.b, state.slice, state.window], ["one", "", null, "bone"]);
  assert.deepEqual(
    unknown.map((text) => text.match(/hold (.*) = /)[1]),
    ["case", "b", "slice", "A"],
  );
});

test("a case of another data set is not taken", () => {
  assert.equal(parseState("#data=phantom_a&case=p 1/2", index).unknown.length, 1);
});

test("a prediction is a method and a prompt setting", () => {
  assert.deepEqual(splitKey("net/with/slash/click"), ["net/with/slash", "click"]);
  assert.deepEqual(predictionsOf(cohort, "net"), ["net/click", "net/none"]);
});

test("a prediction that is not there is replaced by one of the same method, else by the first", () => {
  assert.equal(nearestPrediction(cohort, "net/click"), "net/click");
  assert.equal(nearestPrediction(real, "net/click"), "net/none");
  assert.equal(nearestPrediction(real, "ellipse/box_one_slice"), "net/none");
  assert.equal(nearestPrediction(cohort, "net/box_3d"), "net/none");
  assert.equal(nearestPrediction(cohort, "ellipse/click"), "ellipse/box_one_slice");
});

// defined: 0.1 (four), 0.5 (one), 0.9 (two)
test("worst, median and best by DSC; a case without a value is none of them", () => {
  assert.deepEqual(ranking(cohort, "net/none"), { worst: "four", median: "one", best: "two" });
});

test("of equals the first stands first, and of an even number the lower one is the median", () => {
  assert.deepEqual(ranking(cohort, "net/click"), { worst: "one", median: "two", best: "four" });
});

test("real patients are not ranked, nor cases without any value", () => {
  assert.equal(ranking(real, "net/none"), null);
  const many = Array.from({ length: 10 }, (_, n) => ({ id: `p${n}`, patient: `p${n}` }));
  const scores = { "net/none": many.map((_, n) => n / 10) };
  assert.deepEqual(ranking({ phantom: false, cases: many, dsc: scores }, "net/none"), {
    worst: "p0",
    median: "p4",
    best: "p9",
  });
  assert.equal(ranking(cohort, "ellipse/box_one_slice"), null);
});

test("values have units, and those that do not exist are told in words", () => {
  const dsc = { key: "dsc", title: "DSC", unit: "1", digits: 3 };
  const hd95 = { key: "hd95", title: "HD95", unit: "mm", digits: 1 };
  const volume = { key: "reference_volume", title: "reference", unit: "ml", digits: 2 };
  const values = { dsc: 0.81234, hd95: 3.14, prediction_volume: 1.005, reference_volume: 12 };
  assert.equal(metricText(dsc, values), "0.812");
  assert.equal(metricText(hd95, values), "3.1 mm");
  assert.equal(metricText(volume, values), "12.00 ml");
  assert.equal(metricText(hd95, { ...values, hd95: "infinite" }), "infinite: the prediction is empty");
  assert.equal(metricText(hd95, { ...values, hd95: null }), "undefined: no surface is left to judge");
  assert.equal(
    metricText(dsc, { dsc: null, prediction_volume: 2, reference_volume: 0 }),
    "undefined: the reference is empty",
  );
  assert.equal(
    metricText(dsc, { dsc: null, prediction_volume: 0, reference_volume: 0 }),
    "undefined: both masks are empty",
  );
});

test("the slices of a prompt, and the next one to look at", () => {
  const slices = promptSlices({
    prompts: [{ slices: [{ index: 9 }, { index: 5 }] }, { slices: [{ index: 5 }] }],
    lines: [{ index: 7 }],
  });
  assert.deepEqual(slices, [5, 7, 9]);
  assert.deepEqual(
    [0, 5, 6, 9, 30].map((k) => nextPromptSlice(slices, k)),
    [5, 7, 5, 5, 9],
  );
  assert.equal(slicesText([4]), "on slice 5");
  assert.equal(slicesText([4, 5, 6]), "on slices 5 to 7");
  assert.equal(slicesText([4, 6]), "on 2 slices from 5 to 7");
});

// 2 slices of 1 row and 3 columns. The first pixel is voxel (13, 21, 30), with 2 x 2 pixels of 1 x 0.5 mm averaged.
/** @type {any} */
const shown = {
  slices: 2,
  rows: 1,
  columns: 3,
  spacing: [2, 1],
  voxel: [
    [13.5, -2],
    [21.5, -2],
    [30, 1],
  ],
  z: [-100.5, 3],
};

test("a volume becomes a NIfTI file whose affine leads from pixels to the patient", () => {
  const buffer = storedBuffer(shown, Int16Array.of(-1000, 0, 40, 100, 3071, -1));
  const view = new DataView(buffer);
  assert.equal(buffer.byteLength, 352 + 12);
  assert.equal(view.getInt32(0, true), 348);
  assert.deepEqual(
    [0, 1, 2, 3].map((n) => view.getInt16(40 + 2 * n, true)),
    [3, 3, 1, 2],
  );
  assert.deepEqual([view.getInt16(70, true), view.getInt16(72, true)], [4, 16]);
  assert.deepEqual(
    [1, 2, 3].map((n) => view.getFloat32(76 + 4 * n, true)),
    [2, 1, 3],
  );
  assert.equal(view.getFloat32(108, true), 352);
  assert.equal(view.getInt16(254, true), 1);
  const row = (at) => [0, 1, 2, 3].map((n) => view.getFloat32(at + 4 * n, true));
  assert.deepEqual(
    [row(280), row(296), row(312)],
    [
      [-2, 0, 0, 13.5],
      [0, -1, 0, 10.75],
      [0, 0, 3, -100.5],
    ],
  );
  assert.equal(String.fromCharCode(...new Uint8Array(buffer, 344, 3)), "n+1");
  assert.deepEqual([...new Int16Array(buffer, 352)], [-1000, 0, 40, 100, 3071, -1]);
});

test("a mask is stored as bytes", () => {
  const view = new DataView(storedBuffer(shown, Uint8Array.of(0, 1, 0, 1, 0, 1)));
  assert.deepEqual([view.getInt16(70, true), view.getInt16(72, true), view.byteLength], [2, 8, 358]);
});

test("levels become HU", () => {
  assert.deepEqual([...levelsToHu({ levels: Uint16Array.of(0, 256, 1023), lowest: -1024, step: 4 })], [-1024, 0, 3068]);
});

test("an address of a case or a prediction that is not here shows nothing in its place", () => {
  for (const part of ["data=other", "case=nobody", "a=nothing/none", "b=nothing/none"]) {
    assert.ok(parseState(`#${part}`, index).isElsewhere, part);
  }
  for (const part of ["window=liver", "plane=oblique", "slice=0"]) {
    const { isElsewhere, unknown } = parseState(`#${part}`, index);
    assert.deepEqual([isElsewhere, unknown.length], [false, 1], part);
  }
});

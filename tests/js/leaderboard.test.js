// @ts-check
// Unit tests of the table of results, without a browser: node --test tests/js
import assert from "node:assert/strict";
import { test } from "node:test";

import {
  compareCells,
  csvText,
  matches,
  numberOf,
  numericColumns,
  searched,
} from "../../lungseg_utils/viewers/js/leaderboard.js";

test("a number is what a cell begins with, true minus signs and infinity included", () => {
  assert.equal(numberOf("0.81 [0.7, 0.9]"), 0.81);
  assert.equal(numberOf("\u22121.5 mm"), -1.5);
  assert.equal(numberOf("-2"), -2);
  assert.equal(numberOf("\u221e (empty)"), Infinity);
  for (const cell of ["", "\u2013", "U-Net 3", "n = 4"]) assert.ok(Number.isNaN(numberOf(cell)), cell);
});

test("a column is of numbers if most of its cells that say anything are", () => {
  const rows = [
    ["a", "0.5", "\u2013", "1"],
    ["b", "\u2013", "", "x"],
    ["c", "0.7", "\u2013", "y"],
  ];
  assert.deepEqual(numericColumns({ columns: ["name", "DSC", "none", "mixed"], rows }), [false, true, false, false]);
});

test("numbers are ordered by value, words by alphabet, and cells without a number come first", () => {
  const sorted = (cells, numeric) => [...cells].sort((a, b) => compareCells(a, b, numeric));
  assert.deepEqual(sorted(["10", "9", "\u2013", "\u22121", "\u221e", "\u221e"], true), [
    "\u2013",
    "\u22121",
    "9",
    "10",
    "\u221e",
    "\u221e",
  ]);
  assert.deepEqual(sorted(["b", "10", "a"], false), ["10", "a", "b"]);
  assert.equal(compareCells("\u2013", "x", true), 0);
});

test("a row is shown if it has the chosen values and all words, each in any cell", () => {
  const cells = ["MedSAM, fine-tuned", "phantom", "0.91"];
  const filter = (words, ...chosen) => ({ words, chosen: new Map(chosen) });
  assert.ok(matches(cells, filter("")));
  assert.ok(matches(cells, filter("phantom medsam")));
  assert.ok(!matches(cells, filter("phantom unet")));
  assert.ok(matches(cells, filter("", [1, "phantom"], [0, ""])));
  assert.ok(!matches(cells, filter("", [1, "real"])));
});

test("marks, spaces and case do not matter to a search", () => {
  assert.equal(searched("U-Net + prompt"), searched("unet PROMPT"));
  const cells = ["U-Net (100 epochs)", "box on one slice", "0.79"];
  const filter = (words) => ({ words, chosen: new Map() });
  for (const words of ["unet", "u-net", "UNET one-slice", "0.79"]) assert.ok(matches(cells, filter(words)), words);
  assert.ok(!matches(cells, filter("nnunet")));
});

test("cells with a comma, a quotation mark or a line's end are quoted", () => {
  const rows = [
    ["a", "b"],
    ["x, y", 'say "no"'],
    ["two\nlines", ""],
  ];
  assert.equal(csvText(rows), 'a,b\r\n"x, y","say ""no"""\r\n"two\nlines",\r\n');
});

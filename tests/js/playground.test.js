// @ts-check
// Unit tests of the playground's arithmetic, without a browser: node --test tests/js
import assert from "node:assert/strict";
import { test } from "node:test";

import { Playground, placed, spreadColors } from "../../lungseg_utils/viewers/playground/playground.js";

test("planes of a mask come to their slices, and all else is empty", () => {
  /** @type {[number, number, number]} */
  const shape = [4, 1, 2];
  const mask = placed({ first: 1, count: 2 }, Uint8Array.of(1, 0, 0, 0), shape);
  assert.deepEqual([...mask.array], [0, 0, 1, 0, 0, 0, 0, 0]);
  assert.deepEqual(mask.used, [false, true, false, false]);
  assert.deepEqual([...placed({ first: 0, count: 0 }, new Uint8Array(0), [1, 1, 2]).array], [0, 0]);
});

test("a newer mask takes the place of the older one in the same array", () => {
  /** @type {[number, number, number]} */
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

test("steps are done one after the other, a failed one is told, and no playground is a thenable", async (context) => {
  const playground = Object.create(Playground.prototype);
  const [done, said] = [[], []];
  Object.assign(playground, { work: Promise.resolve(), say: (text) => said.push(text) });
  context.mock.method(console, "error", () => {});
  playground.enqueue(async () => {
    await new Promise((resolve) => setTimeout(resolve, 5));
    done.push("slow");
  });
  playground.enqueue(() => {
    throw new Error("broken");
  });
  playground.enqueue(() => done.push("last"));
  await playground.work;
  assert.deepEqual(done, ["slow", "last"]);
  assert.deepEqual(said, ["The picture could not be updated: broken"]);
  assert.equal(await playground, playground);
});

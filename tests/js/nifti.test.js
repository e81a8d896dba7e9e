// @ts-check
// Unit tests of the NIfTI reader: node --test tests/js
import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

import { UnusableFile, orientation, readCase, readHeader } from "../../lungseg_utils/viewers/js/nifti.js";

/**
 * A file of 2 x 3 x 2 voxels with values 0 to 11 in stored order, changed by `edit`.
 * @param {{ little?: boolean, edit?: (view: DataView) => void }} changes
 */
function file({ little = true, edit = () => {} } = {}) {
  const view = new DataView(new ArrayBuffer(352 + 24));
  view.setInt32(0, 348, little);
  [3, 2, 3, 2, 1, 1, 1, 1].forEach((n, at) => view.setInt16(40 + 2 * at, n, little));
  view.setInt16(70, 4, little);
  [1, 2, 3, 4].forEach((n, at) => view.setFloat32(76 + 4 * at, n, little));
  view.setFloat32(108, 352, little);
  view.setInt16(254, 1, little);
  [
    [2, 0, 0, -10],
    [0, 3, 0, -20],
    [0, 0, 4, -30],
  ]
    .flat()
    .forEach((n, at) => view.setFloat32(280 + 4 * at, n, little));
  [..."n+1"].forEach((letter, at) => view.setUint8(344 + at, letter.charCodeAt(0)));
  for (let n = 0; n < 12; n++) view.setInt16(352 + 2 * n, n, little);
  edit(view);
  return view.buffer;
}

const hu = ({ levels, lowest }) => Array.from(levels, (level) => level + lowest);

test("rows run from front to back and columns from right to left of a RAS volume", async () => {
  const read = await readCase(file(), "x");
  assert.deepEqual(read.size, [2, 3, 2]);
  assert.deepEqual(read.spacing, [2, 3]);
  assert.deepEqual(read.z, [-30, 4]);
  // first pixel: i = 1, j = 2, k = 0, stored at 1 + 2 * 2 = 5
  assert.deepEqual(hu(read), [5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6]);
  assert.deepEqual(read.voxel, [
    [1, -1],
    [2, -1],
    [0, 1],
  ]);
});

test("a reversed and exchanged axis gives the same picture", async () => {
  const swapped = file({
    edit: (view) => {
      // stored axes: first runs to the left (-x), second upwards (z), third backwards (-y)
      [2, 2, 3].forEach((n, at) => view.setInt16(42 + 2 * at, n, true));
      [
        [-2, 0, 0, -8],
        [0, 0, -3, -14],
        [0, 4, 0, -30],
      ]
        .flat()
        .forEach((n, at) => view.setFloat32(280 + 4 * at, n, true));
      for (let i = 0; i < 2; i++)
        for (let j = 0; j < 3; j++)
          for (let k = 0; k < 2; k++) {
            view.setInt16(352 + 2 * (1 - i + 2 * k + 4 * (2 - j)), i + 2 * j + 6 * k, true);
          }
    },
  });
  const [one, other] = [await readCase(file(), "x"), await readCase(swapped, "x")];
  assert.deepEqual(hu(other), hu(one));
  assert.deepEqual(other.z, one.z);
  assert.deepEqual(other.spacing, one.spacing);
});

test("gzip, the other byte order, scale and a qform are understood", async () => {
  const packed = gzipSync(Buffer.from(file()));
  assert.deepEqual(
    hu(await readCase(packed.buffer.slice(packed.byteOffset, packed.byteOffset + packed.length), "x")),
    hu(await readCase(file(), "x")),
  );
  assert.deepEqual(hu(await readCase(file({ little: false }), "x")), hu(await readCase(file(), "x")));
  const scale = (view) => {
    view.setFloat32(112, 2, true);
    view.setFloat32(116, -1000, true);
  };
  const scaled = await readCase(file({ edit: scale }), "x");
  assert.equal(hu(scaled)[0], -990);
  const qform = (view) => {
    view.setInt16(254, 0, true);
    view.setInt16(252, 1, true);
    view.setFloat32(264, 1, true); // half a turn about z: x and y run the other way
    [5, 6, 7].forEach((n, at) => view.setFloat32(268 + 4 * at, n, true));
  };
  assert.deepEqual(
    readHeader(file({ edit: qform })).affine.map((row) => row.map((v) => Math.round(v * 1e6) / 1e6 + 0)),
    [
      [-2, 0, 0, 5],
      [0, -3, 0, 6],
      [0, 0, 4, 7],
    ],
  );
  assert.deepEqual(hu(await readCase(file({ edit: qform }), "x")).slice(0, 6), [0, 1, 2, 3, 4, 5]);
});

test("values that cannot be Hounsfield units are remarked on", async () => {
  assert.match((await readCase(file(), "x")).note, /do not look like Hounsfield units/);
  assert.equal((await readCase(file({ edit: (view) => view.setInt16(352, -900, true) }), "x")).note, "");
});

test("what is wrong with a file is said", async () => {
  const refused = async (edit, text) =>
    assert.rejects(
      readCase(file({ edit }), "x"),
      (problem) => problem instanceof UnusableFile && text.test(problem.message),
    );
  await refused((view) => view.setInt32(0, 5, true), /no NIfTI-1/);
  await refused((view) => view.setUint8(345, 105), /in one file/);
  await refused((view) => view.setInt16(70, 128, true), /type 128/);
  const inTime = (view) => {
    view.setInt16(40, 4, true);
    view.setInt16(48, 2, true);
  };
  await refused(inTime, /one volume/);
  await refused((view) => view.setInt16(42, 900, true), /before its last voxel/);
  await refused((view) => view.setInt16(254, 0, true), /neither sform nor qform/);
  await assert.rejects(readCase(new ArrayBuffer(10), "x"), /too short/);
  await assert.rejects(readCase(Uint8Array.from([0x1f, 0x8b, 8, 0, 1]).buffer, "x"), /cannot be unpacked/);
  assert.throws(
    () =>
      orientation([
        [0, 0, 0],
        [0, 1, 0],
        [0, 0, 1],
      ]),
    /do not span/,
  );
});

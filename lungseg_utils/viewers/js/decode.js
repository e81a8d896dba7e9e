// @ts-check
// Cases as Python stores them (slice_viewer.embed) become arrays.

/** @import { DecodedCase, DecodedMask, StoredCase, StoredMask, Triple } from "./types.js" */

/**
 * Bits, most significant first, to `count` bytes of 0 or 1.
 * @param {Uint8Array} bytes
 * @param {number} count
 */
export function unpackBits(bytes, count) {
  const result = new Uint8Array(count);
  for (let n = 0; n < count; n++) result[n] = (bytes[n >> 3] >> (7 - (n & 7))) & 1;
  return result;
}

/**
 * Undo the stored form: all low bytes, then all high bytes, of zigzag-coded differences along each row.
 * @param {Uint8Array} bytes
 * @param {number} columns
 */
export function restoreLevels(bytes, columns) {
  const count = bytes.length / 2;
  const levels = new Uint16Array(count);
  for (let n = 0, previous = 0; n < count; n++) {
    if (n % columns === 0) previous = 0;
    const code = bytes[n] | (bytes[count + n] << 8);
    previous += (code >> 1) ^ -(code & 1);
    levels[n] = previous;
  }
  return levels;
}

/**
 * Bytes that were gzipped and written as base64.
 * @param {string} base64
 */
export async function inflate(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * One mask as embedded in a case of this shape, now an array (slices, rows, columns).
 * @param {StoredMask} mask
 * @param {Triple} shape
 * @returns {Promise<DecodedMask>}
 */
export async function decodeMask({ name, bits }, [slices, rows, columns]) {
  return { name, array: unpackBits(await inflate(bits), slices * rows * columns) };
}

/**
 * A case as embedded, its `levels` and `masks` now arrays (slices, rows, columns).
 * @template {StoredCase} Stored
 * @param {Stored} stored
 * @returns {Promise<Omit<Stored, "masks"> & DecodedCase>}
 */
export async function decodeCase(stored) {
  const [slices, rows, columns] = stored.shape;
  const decoding = Promise.all(stored.masks.map((mask) => decodeMask(mask, stored.shape)));
  const [levels, masks] = await Promise.all([inflate(stored.ct), decoding]);
  return { ...stored, slices, rows, columns, levels: restoreLevels(levels, columns), masks };
}

/**
 * A JSON file of the book.
 * @param {URL} address
 * @returns {Promise<any>}
 */
export async function loadJson(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${response.status} ${response.statusText} ${address}`);
  return response.json();
}

// @ts-check
// The files of cases, loaded one by one.

import { decodeCase, decodeMask, loadJson } from "../decode.js";

/** @import { DecodedMask } from "../types.js" */
/** @import { LoadedCase, OpenCase, StoredOpenCase, WithheldCase } from "./types.js" */

const KEPT_FILES = 6; // in memory, so that going back to a case is quick

/**
 * A case as it was stored, with its CT decoded; masks are decoded when they are shown.
 * @param {StoredOpenCase | WithheldCase} stored
 * @returns {Promise<LoadedCase>}
 */
async function unpack(stored) {
  if (stored.withheld !== undefined) return stored;
  const decoded = await decodeCase({ ...stored, masks: [] });
  return { ...decoded, packed: new Map(stored.masks.map((mask) => [mask.name, mask])), unpacked: new Map() };
}

/**
 * Whether any prediction lies beyond the picture around the reference. Then there is a second file.
 * @param {LoadedCase} near
 */
export function reachesOut(near) {
  return near.withheld === undefined && Object.values(near.outside_ml).some((volume) => volume > 0);
}

/**
 * A mask of a case by the key that it is stored by, under the name that it is shown by; decoded once.
 * @param {OpenCase} loaded
 * @param {string} key
 * @param {string} name
 * @returns {Promise<DecodedMask>}
 */
export async function maskOf({ packed, unpacked, shape }, key, name) {
  const stored = packed.get(key);
  if (!stored) throw new Error(`The file lacks the mask ${key}.`);
  const decoding = unpacked.get(key) ?? decodeMask(stored, shape);
  unpacked.set(key, decoding);
  return { name, array: (await decoding).array };
}

/** Files of a folder; the last few are kept. */
export class CaseFiles {
  /** @param {URL} folder */
  constructor(folder) {
    this.folder = folder;
    /** @type {Map<string, Promise<LoadedCase>>} */
    this.kept = new Map();
  }

  /**
   * A case around its reference, or around all predictions: a second file, where there is one.
   * @param {string} cohort
   * @param {string} name
   * @param {string} field "near" or "all"
   * @returns {Promise<LoadedCase>}
   */
  async load(cohort, name, field) {
    const near = await this.file(cohort, `${name}.json`);
    if (field === "near" || !reachesOut(near)) return near;
    return { ...near, .../** @type {OpenCase} */ (await this.file(cohort, `${name}.all.json`)) };
  }

  /**
   * @param {string} cohort
   * @param {string} name
   */
  file(cohort, name) {
    const path = [cohort, name].map(encodeURIComponent).join("/");
    const loading = this.kept.get(path) ?? loadJson(new URL(path, this.folder)).then(unpack);
    loading.catch(() => this.kept.delete(path));
    this.kept.delete(path); // the youngest stand last
    this.kept.set(path, loading);
    const [oldest] = this.kept.keys();
    if (this.kept.size > KEPT_FILES) this.kept.delete(oldest);
    return loading;
  }
}

// @ts-check
// Embeddings of a reader's own CT, made in the page: each slice when it is asked about, by a worker that can be ended.

import { CannotAnswer } from "./promptable.js";
import { wholePicture } from "./whole_slice.js";

/** @import { Source, WholeSliceRule } from "./whole_slice.js" */
/** @import { Volume } from "./promptable.js" */

const CANCELLED = "Cancelled. Draw a box to begin again.";

/**
 * Hears of the slice that is encoded; null when none is any more, and then how many seconds it took, if it ended well.
 * @typedef {(index: number | null, seconds?: number) => void} Told
 */

/** @implements {Source} */
export class OwnSlices {
  /**
   * @param {Volume} volume
   * @param {WholeSliceRule} rule
   * @param {{ runtime: string, encoder: string }} addresses
   * @param {Told} tell
   */
  constructor(volume, rule, addresses, tell) {
    this.volume = volume;
    this.rule = rule;
    this.addresses = addresses;
    this.tell = tell;
    /** @type {Worker | null} */
    this.worker = null;
    /** @type {"webgpu" | "wasm" | null} what the encoder runs on; null before the first slice */
    this.by = null;
    /** @type {Promise<any>} what the worker does comes one after the other */
    this.last = Promise.resolve();
    /** @type {Map<number, Promise<Float32Array>>} by slice of the image */
    this.waiting = new Map();
    this.cancelled = 0; // times
    /** @type {((problem: Error) => void) | null} */
    this.end = null;
  }

  has() {
    return true;
  }

  lack() {
    return "";
  }

  /**
   * @param {number} index
   * @returns {Promise<Float32Array>}
   */
  get(index) {
    const known = this.waiting.get(index);
    if (known) return known;
    const { cancelled } = this;
    const turn = this.last
      .catch(() => null)
      .then(() => {
        if (cancelled !== this.cancelled) throw new CannotAnswer(CANCELLED); // while it waited
        return this.encode(index);
      });
    this.last = turn;
    this.waiting.set(index, turn);
    turn.catch(() => null).finally(() => this.waiting.delete(index));
    return turn;
  }

  /**
   * @param {number} index
   * @returns {Promise<Float32Array>}
   */
  async encode(index) {
    this.tell(index);
    /** @type {number | undefined} */
    let seconds;
    try {
      const worker = this.worker ?? (await this.begin());
      const picture = wholePicture(this.volume, this.rule, index - this.volume.voxel[2][0]);
      const begin = performance.now();
      const { embedding } = await this.ask(worker, { picture });
      seconds = (performance.now() - begin) / 1000;
      return embedding;
    } finally {
      this.tell(null, seconds);
    }
  }

  async begin() {
    this.worker = new Worker(new URL("encoder_worker.js", import.meta.url), { type: "module" });
    this.by = (await this.ask(this.worker, { open: this.addresses })).by;
    return this.worker;
  }

  /**
   * @param {Worker} worker
   * @param {any} question
   * @returns {Promise<any>}
   */
  ask(worker, question) {
    return new Promise((resolve, reject) => {
      this.end = reject;
      worker.onmessage = ({ data }) => (data.problem ? reject(new Error(data.problem)) : resolve(data));
      worker.onerror = (event) => reject(new Error(event.message || "the worker could not start"));
      worker.postMessage(question);
    });
  }

  /** End what runs; the next slice begins anew. */
  cancel() {
    this.cancelled += 1;
    this.worker?.terminate();
    this.worker = null;
    this.end?.(new CannotAnswer(CANCELLED));
  }
}

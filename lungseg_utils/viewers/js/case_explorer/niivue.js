// @ts-check
// Three planes and the masks in space, by NiiVue: it is loaded when it is asked for, and gets the arrays that are in
// the page.

import { element } from "../dom.js";
import { niftiBuffer } from "../nifti.js";
import { channels, hues } from "../palette.js";

/** @import { DecodedCase, DecodedMask, Grid, Overlay, Pair, Palette } from "../types.js" */

const NIIVUE = new URL("../../../vendor/niivue/index.js", import.meta.url);

/**
 * A stored volume as NIfTI-1 in memory. Heights are true; x and y start at the image's first voxel. The stored order,
 * columns first, is NIfTI's; columns run to the patient's left and rows to the back.
 * @param {Pick<Grid, "slices" | "rows" | "columns" | "spacing" | "voxel" | "z">} grid
 * @param {Int16Array | Uint8Array} values (slices, rows, columns)
 */
export function storedBuffer({ slices, rows, columns, spacing, voxel, z }, values) {
  const [x, y] = [0, 1].map((axis) => (voxel[axis][0] * spacing[axis]) / Math.abs(voxel[axis][1]));
  const affine = [
    [-spacing[0], 0, 0, x],
    [0, -spacing[1], 0, y],
    [0, 0, z[1], z[0]],
  ];
  return niftiBuffer([columns, rows, slices], affine, values);
}

/**
 * Stored levels as HU.
 * @param {Pick<DecodedCase, "levels" | "lowest" | "step">} shown
 */
export const levelsToHu = ({ levels, lowest, step }) => Int16Array.from(levels, (level) => lowest + level * step);

/**
 * A color map of NiiVue from nothing to a color.
 * @param {string} color
 */
function rampTo(color) {
  const [red, green, blue] = channels(color);
  return { R: [red, red], G: [green, green], B: [blue, blue], A: [0, 255], I: [0, 255] };
}

/**
 * Whether a case is a slab, whose planes across the slices are low strips: they get a row, else they are tiny.
 * @param {Pick<Grid, "slices" | "rows" | "columns" | "spacing" | "z">} grid
 */
const isThin = ({ slices, rows, columns, spacing, z }) =>
  slices * Math.abs(z[1]) < Math.min(rows * spacing[1], columns * spacing[0]) / 2;

/** NiiVue in a frame: three planes with one crosshair, and the masks in space. */
export class Space {
  /**
   * @param {HTMLElement} frame
   * @param {Palette} palette
   */
  static async open(frame, palette) {
    frame.replaceChildren(element("p", { className: "lv-note", role: "status" }, "The 3-D view is being loaded\u2026"));
    const niivue = await import(NIIVUE.href);
    const label = "Axial, coronal and sagittal plane, and the masks in space";
    const canvas = element("canvas", { "aria-label": label, role: "img", tabIndex: 0 });
    const note =
      "Click or drag in a plane to move the crosshair. Drag the masks to turn them; the CT round them is cut open. " +
      "The controls above hide and fade masks here too.";
    const stage = element("div", { className: "cx-space-stage" }, canvas);
    frame.replaceChildren(stage, element("p", { className: "lv-note" }, note));
    const view = new niivue.Niivue({
      isRadiologicalConvention: true,
      multiplanarShowRender: niivue.SHOW_RENDER.ALWAYS,
      show3Dcrosshair: true,
      crosshairColor: [...channels(hues(palette).yellow).map((value) => value / 255), 0.8],
      crosshairWidth: 0.3,
      crosshairGap: 8,
      scrollRequiresFocus: true, // else the page cannot be scrolled past it
      dragAndDropEnabled: false,
      logLevel: "error",
      loadingText: "",
    });
    await view.attachToCanvas(canvas);
    view.setClipPlane([0, 270, 0]); // the front half of the CT would hide the masks, which are not cut
    return new Space(niivue, view);
  }

  /**
   * @param {any} niivue the module
   * @param {any} view its canvas
   */
  constructor(niivue, view) {
    this.niivue = niivue;
    this.view = view;
    /** @type {DecodedCase | null} */
    this.wanted = null;
  }

  /**
   * Show a case: its CT in this window, and its masks in these looks.
   * @param {DecodedCase} shown
   * @param {DecodedMask[]} masks the reference first
   * @param {Pair} window
   * @param {Overlay[]} overlays
   */
  async fill(shown, masks, window, overlays) {
    const { view, niivue } = this;
    this.wanted = shown;
    /** @type {(values: Int16Array | Uint8Array, name: string, color: string, ends: Pair) => Promise<any>} */
    const image = (values, name, color, [from, to]) =>
      niivue.NVImage.new(storedBuffer(shown, values), `${name}.nii`, color, 1, null, from, to);
    for (const { name, color } of overlays) view.addColormap(`lungseg-${name}`, rampTo(color));
    const volumes = [await image(levelsToHu(shown), "ct", "gray", window)];
    for (const { name, array } of masks) volumes.push(await image(array, name, `lungseg-${name}`, [0.5, 1]));
    if (this.wanted !== shown) return; // another case was chosen meanwhile
    while (view.volumes.length) view.removeVolume(view.volumes[0]);
    for (const volume of volumes) view.addVolume(volume);
    view.setMultiplanarLayout(isThin(shown) ? niivue.MULTIPLANAR_TYPE.ROW : niivue.MULTIPLANAR_TYPE.AUTO);
    this.looks(overlays);
    this.center(shown, masks[0].array);
  }

  /** @param {Overlay[]} overlays */
  looks(overlays) {
    overlays.forEach(({ shown, opacity }, n) => this.view.setOpacity(n + 1, shown ? opacity * 0.5 : 0));
  }

  /** @param {Pair} window */
  window(window) {
    const [volume] = this.view.volumes;
    [volume.cal_min, volume.cal_max] = window;
    this.view.updateGLVolume();
  }

  /**
   * The crosshair where the reference is, else in the middle.
   * @param {DecodedCase} shown
   * @param {Uint8Array} reference
   */
  center({ rows, columns, start }, reference) {
    const size = rows * columns;
    const plane = reference.subarray(start * size, (start + 1) * size);
    const inside = [...plane.keys()].filter((n) => plane[n]);
    const at = inside.length ? inside[inside.length >> 1] : (rows >> 1) * columns + (columns >> 1);
    this.view.scene.crosshairPos = this.view.vox2frac([at % columns, Math.floor(at / columns), start]);
    this.view.drawScene();
  }
}

// Shapes of the data that Python writes for the scripts, and of what the scripts make of them. Types only: no page loads this file.

/** Half-open: [i_min, i_max, j_min, j_max] in voxels of the original image. */
export type PlaneBox = [number, number, number, number];
/** One number for each axis: of a volume (i, j, k), or of a slice (i, j) or (column, row). */
export type Triple = [number, number, number];
export type Pair = [number, number];
/** Okabe and Ito's seven colors as "#rrggbb", in the order of reporting/style.py. */
export type Palette = string[];

export interface Click {
  i: number;
  j: number;
  inside: boolean;
}

/** What was said on one axial slice; `index` counts slices of the original image. */
export interface SlicePrompt {
  index: number;
  box: PlaneBox | null;
  points: Click[];
}

/** As `prompts.json_form` writes a prompt; `mine` marks what a reader drew. */
export interface Prompt {
  lesion_id: number;
  find_ends: boolean;
  box_3d: [Triple, Triple] | null;
  slices: SlicePrompt[];
  mine?: boolean;
}

/** A line that a reader of a CT would draw, from voxel to voxel of one slice. */
export interface Line {
  index: number;
  from: Pair;
  to: Pair;
}

/** Prompts, and the lines that they were made from. */
export interface DrawnPrompts {
  prompts: Prompt[];
  lines: Line[];
}

export interface StoredMask {
  name: string;
  bits: string;
}

/** Where stored voxels lie; an array (slices, rows, columns) is seen the radiological way. */
export interface Grid {
  slices: number;
  rows: number;
  columns: number;
  /** Of the original image, along i, j and k. */
  size: Triple;
  /** Millimeters between columns and between rows. */
  spacing: Pair;
  /** For each of i, j, k: the voxel of the first pixel, and the step to the next one. */
  voxel: [Pair, Pair, Pair];
  /** Height in mm of the first slice, and the step to the next one. */
  z: Pair;
  /** Three rows, from voxels of the original image to RAS+ mm. */
  affine?: number[][];
  /** Which of i, j and k columns, rows and slices run along; without it they do in this order. */
  axes?: Triple;
}

/** HU of level n is lowest + n * step. */
export interface Levels {
  lowest: number;
  step: number;
  count: number;
}

/** What `slice_viewer.embed` writes of a case; of one that may not be redistributed only the first three. */
export interface StoredCase extends Omit<Grid, "slices" | "rows" | "columns">, Levels {
  title: string;
  facts: Record<string, string>;
  withheld?: string;
  shape: Triple;
  total: number;
  ct: string;
  masks: StoredMask[];
  start: number;
  note: string;
}

export interface DecodedMask {
  name: string;
  array: Uint8Array;
  /** For each slice whether the mask reaches it. */
  used?: boolean[];
}

export interface DecodedCase extends Grid, Levels {
  /** One of `PLANES`; without it axial. */
  plane?: string;
  title: string;
  facts: Record<string, string>;
  total: number;
  levels: Uint16Array;
  masks: DecodedMask[];
  start: number;
  note: string;
}

/** How a mask looks. */
export interface Look {
  shown: boolean;
  filled: boolean;
  opacity: number;
}

export interface Overlay extends Look {
  name: string;
  title?: string;
  color: string;
}

/** Where a slice stands on its canvas, in canvas pixels; `scale` is pixels for each mm. */
export interface Frame {
  left: number;
  top: number;
  width: number;
  height: number;
  scale: number;
}

/** Canvas pixels of a voxel of the original image. */
export type Placing = (ijk: number[]) => Pair;

export interface Gesture {
  phase: "down" | "move" | "up" | "cancel" | "leave";
  /** Continuous voxel of the original image; null beside the slice. */
  ijk: number[] | null;
  event: PointerEvent;
}

/** CT windows by name: the lowest and the highest HU that are told apart. They come from Python with the data. */
export type Windows = Record<string, Pair>;

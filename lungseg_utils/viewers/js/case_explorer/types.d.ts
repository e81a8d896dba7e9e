// Shapes of what case_explorer.py writes for the page of all cases, and of what is chosen there. Types only.

import type {
  DecodedCase,
  DecodedMask,
  DrawnPrompts,
  Look,
  Palette,
  StoredCase,
  StoredMask,
  Windows,
} from "../types.js";

export type Letter = "A" | "B";
export type Layer = "reference" | Letter;

export interface Method {
  key: string;
  title: string;
  /** Asked with a prompt, it is the control. */
  automatic: boolean;
}

export interface PromptSetting {
  key: string;
  title: string;
  leaks: string;
  note: string;
}

export interface Cohort {
  key: string;
  title: string;
  target: string;
  phantom: boolean;
  cases: { id: string; patient: string }[];
  /** By key of a prediction, in the order of the cases. */
  dsc: Record<string, (number | string | null)[]>;
}

/** A metric that is shown of each case; the unit "1" is none. */
export interface Metric {
  key: string;
  title: string;
  unit: string;
  digits: number;
}

export interface Index {
  metrics: Metric[];
  methods: Method[];
  settings: PromptSetting[];
  cohorts: Cohort[];
  palette: Palette;
  windows: Windows;
}

/** What is chosen; `a` and `b` are keys of predictions, `slice` is a voxel index or null for the case's own start. */
export interface State {
  cohort: string;
  case: string;
  a: string;
  b: string;
  view: string;
  field: string;
  window: string;
  plane: string;
  slice: number | null;
  looks: Record<Layer, Look>;
  prompts: boolean;
  space: boolean;
}

/** Values of one prediction by metric; null is undefined. */
export interface Values {
  [metric: string]: number | string | boolean | null | undefined;
  failed?: boolean;
  not_asked?: boolean;
}

/** What is known of every case, also of one that may not be shown. */
export interface CaseText {
  title: string;
  facts: Record<string, string>;
  cut: boolean;
  reference: string;
  values: Record<string, Values>;
}

export interface WithheldCase extends CaseText {
  withheld: string;
}

/** What only the file of a case has, and not that of all predictions to it. */
export interface CasePrompts {
  prompts: Record<string, DrawnPrompts>;
  outside_ml: Record<string, number>;
}

export type StoredOpenCase = StoredCase & CaseText & CasePrompts & { withheld?: undefined };

/** A case whose CT is decoded; of its masks, of which there may be hundreds, those that were shown. */
export type OpenCase = Omit<StoredOpenCase, "masks"> &
  DecodedCase & { packed: Map<string, StoredMask>; unpacked: Map<string, Promise<DecodedMask>> };

export type LoadedCase = WithheldCase | OpenCase;

// One axial slice of a CT volume with mask overlays on a 2-D canvas. No framework and no import, so that the same text
// works inline in a built book (also from file://), in JupyterLab and in voila. Three frames: pixel (column, row) of the
// stored crop, whole numbers at pixel centers; voxel (i, j, k) of the original image; canvas pixels.

export const WINDOWS = {
  lung: { level: -600, width: 1500 },
  mediastinum: { level: 40, width: 400 },
  bone: { level: 400, width: 1800 },
};

// Okabe and Ito's palette in an order that keeps neighbors apart for all common kinds of color vision.
export const COLORS = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00", "#0072b2"];

/** Gray value (0 to 255) of every stored level; level n stands for lowest + n * step HU. */
export function windowTable({ level, width }, { lowest, step, count }) {
  const table = new Uint8ClampedArray(count);
  for (let n = 0; n < count; n++) table[n] = (255 * (lowest + n * step - level + width / 2)) / width;
  return table;
}

/** Bits, most significant first, to `count` bytes of 0 or 1. */
export function unpackBits(bytes, count) {
  const result = new Uint8Array(count);
  for (let n = 0; n < count; n++) result[n] = (bytes[n >> 3] >> (7 - (n & 7))) & 1;
  return result;
}

/** Undo the stored form: all low bytes, then all high bytes, of zigzag-coded differences along each row. */
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

/** Edges between inside and outside of one slice of a mask: [x0, y0, x1, y1, ...] in pixel corners, straight runs joined. */
export function outline(mask, start, rows, columns) {
  const inside = (row, column) =>
    row >= 0 && column >= 0 && row < rows && column < columns ? mask[start + row * columns + column] : 0;
  const runs = [];
  const walk = (lines, length, differs, push) => {
    for (let line = 0; line <= lines; line++) {
      for (let at = 0, from = -1; at <= length; at++) {
        const edge = at < length && differs(line, at);
        if (edge && from < 0) from = at;
        if (!edge && from >= 0) {
          push(line, from, at);
          from = -1;
        }
      }
    }
  };
  walk(
    rows,
    columns,
    (y, x) => inside(y - 1, x) !== inside(y, x),
    (y, a, b) => runs.push(a, y, b, y),
  );
  walk(
    columns,
    rows,
    (x, y) => inside(y, x - 1) !== inside(y, x),
    (x, a, b) => runs.push(x, a, x, b),
  );
  return runs;
}

/** Largest centered rectangle of the slice's true proportions (mm) inside width x height canvas pixels. */
export function fit({ rows, columns, spacing }, width, height) {
  const scale = Math.min(width / (columns * spacing[0]), height / (rows * spacing[1]));
  const drawn = [columns * spacing[0] * scale, rows * spacing[1] * scale];
  return { left: (width - drawn[0]) / 2, top: (height - drawn[1]) / 2, width: drawn[0], height: drawn[1], scale };
}

/** Canvas position to continuous pixel (column, row); null outside the slice. */
export function toPixel(frame, { rows, columns }, x, y) {
  const column = ((x - frame.left) / frame.width) * columns - 0.5;
  const row = ((y - frame.top) / frame.height) * rows - 0.5;
  const inside = column >= -0.5 && row >= -0.5 && column < columns - 0.5 && row < rows - 0.5;
  return inside ? [column, row] : null;
}

/** Continuous pixel (column, row) to canvas position. */
export function toCanvas(frame, { rows, columns }, column, row) {
  return [frame.left + ((column + 0.5) / columns) * frame.width, frame.top + ((row + 0.5) / rows) * frame.height];
}

/** Continuous voxel (i, j, k) of the original image at a pixel of a stored slice; `voxel` holds [start, step] per axis. */
export function toVoxel({ voxel }, column, row, slice) {
  return [column, row, slice].map((n, axis) => voxel[axis][0] + n * voxel[axis][1]);
}

/** Inverse of `toVoxel`: [column, row, slice]. */
export function fromVoxel({ voxel }, ijk) {
  return ijk.map((n, axis) => (n - voxel[axis][0]) / voxel[axis][1]);
}

/** Whole slices that a wheel movement asks for; a mouse notch is one, small trackpad movements add up in `state`. */
export function wheelSteps(state, deltaY, deltaMode) {
  if (deltaMode !== 0 || Math.abs(deltaY) >= 50) {
    state.rest = 0;
    return Math.sign(deltaY);
  }
  state.rest = Math.sign(state.rest) === -Math.sign(deltaY) ? deltaY : state.rest + deltaY;
  const steps = Math.trunc(state.rest / 30);
  state.rest -= steps * 30;
  return steps;
}

/** Bytes that were gzipped and written as base64. */
export async function inflate(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** One mask as embedded in a case of this shape, now an array (slices, rows, columns). */
export async function decodeMask({ name, bits }, [slices, rows, columns]) {
  return { name, array: unpackBits(await inflate(bits), slices * rows * columns) };
}

/** A case as embedded, its `levels` and `masks` now arrays (slices, rows, columns). */
export async function decodeCase(stored) {
  const [slices, rows, columns] = stored.shape;
  const masks = stored.masks.map((mask) => decodeMask(mask, stored.shape));
  const [levels, ...decoded] = await Promise.all([inflate(stored.ct), ...masks]);
  return { ...stored, slices, rows, columns, levels: restoreLevels(levels, columns), masks: decoded };
}

/** A JSON file of the book. */
export async function loadJson(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText} ${address}`);
  return answer.json();
}

/** An element with properties (or attributes, where a name has a dash) and children. */
export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role" || key === "for") node.setAttribute(key, value);
    else node[key] = value;
  }
  node.append(...children);
  return node;
}

/** Radio buttons as one bar; `select` gets the chosen index. */
export function choice(legend, labels, selected, select) {
  const name = `lungseg-${Math.random().toString(36).slice(2)}`;
  const buttons = labels.map((label, n) => {
    const input = element("input", { type: "radio", name, checked: n === selected, onchange: () => select(n) });
    return element("label", {}, input, element("span", {}, label));
  });
  return element("fieldset", { className: "lv-choice" }, element("legend", {}, legend), element("div", {}, ...buttons));
}

/** A number with a true minus sign. */
export const minus = (number, digits = 0) =>
  (Number(number.toFixed(digits)) + 0).toFixed(digits).replace("-", "\u2212");

/** The look of one mask per name, each in a color of its own. */
export function overlaysFor(names) {
  return names.map((name, n) => ({
    name,
    color: COLORS[n % COLORS.length],
    shown: true,
    filled: false,
    opacity: 1,
  }));
}

/** Controls of one overlay; `changed()` is called after each change of it. */
export function overlayControls(overlay, changed) {
  const title = overlay.title ?? overlay.name;
  const change = (changes) => {
    Object.assign(overlay, changes);
    changed();
  };
  const toggle = element("input", {
    type: "checkbox",
    checked: overlay.shown,
    onchange: () => change({ shown: toggle.checked }),
  });
  const swatch = element("i", { className: "lv-swatch" });
  swatch.style.background = overlay.color;
  const style = element(
    "select",
    { "aria-label": `${title}: drawn as`, onchange: () => change({ filled: style.value === "fill" }) },
    element("option", { value: "outline" }, "outline"),
    element("option", { value: "fill" }, "fill"),
  );
  style.value = overlay.filled ? "fill" : "outline";
  const opacity = element("input", { type: "range", min: 10, max: 100, value: overlay.opacity * 100 });
  opacity.oninput = () => change({ opacity: opacity.value / 100 });
  const label = element("label", {}, toggle, swatch, title);
  const strength = element("label", { className: "lv-opacity" }, "opacity", opacity);
  return element("div", { className: "lv-overlay", role: "group", "aria-label": title }, label, style, strength);
}

/** The choice of the CT window; `select` gets its name. */
export function windowChoice(select) {
  const names = Object.keys(WINDOWS);
  return choice("CT window", names, 0, (n) => select(names[n]));
}

export class SliceCanvas {
  /** One slice with overlays and a slider below it, as `this.stage`. Three hooks for tools on top: `onpointer({ phase, ijk, event })`,
   * in voxels of the original image, returns true to take the gesture over; `paint(context, place)` draws, place(ijk) gives canvas
   * pixels; `onslice(slice)` hears of every turn. */
  constructor(root) {
    Object.assign(this, {
      root,
      overlays: [],
      slice: 0,
      window: "lung",
      hover: null,
      paint: null,
      onpointer: null,
      onslice: null,
    });
    this.life = new AbortController();
    this.canvas = element("canvas", { tabIndex: 0, role: "img" });
    this.slider = element("input", {
      type: "range",
      min: 0,
      step: 1,
      "aria-label": "Slice",
      oninput: () => this.go(+this.slider.value),
    });
    this.strip = element("canvas", { className: "lv-strip", "aria-hidden": "true" });
    this.where = element("span", { className: "lv-where" });
    this.value = element("span", { className: "lv-value" });
    const status = element("div", { className: "lv-status" }, this.where, this.value);
    this.stage = element(
      "div",
      { className: "lv-stage" },
      this.canvas,
      status,
      element("div", { className: "lv-slices" }, this.strip, this.slider),
    );
    // JupyterLab would move between cells on arrow keys
    const guard = (event) => this.root.toggleAttribute("data-lm-suppress-shortcuts", !event.ctrlKey && !event.metaKey);
    window.addEventListener("keydown", guard, { capture: true, signal: this.life.signal });
    this.listen();
    this.resized = new ResizeObserver(() => this.redraw());
    this.resized.observe(this.canvas);
  }

  /** Stop listening to the window, which would keep a canvas that was taken off the page. */
  dispose() {
    this.life.abort();
    this.resized.disconnect();
  }

  listen() {
    const wheel = { rest: 0, passedAt: -1e9 };
    const passed = (event) => {
      if (!event.defaultPrevented) wheel.passedAt = event.timeStamp;
    };
    // A page already being scrolled goes on scrolling when the canvas comes under a resting pointer.
    window.addEventListener("wheel", passed, { passive: true, signal: this.life.signal });
    const turn = (event) => {
      const focused = this.root.contains(document.activeElement);
      const end = event.deltaY > 0 ? 0 : (this.case?.slices ?? 1) - 1;
      if (event.ctrlKey || !event.deltaY || this.slice === end || (!focused && event.timeStamp - wheel.passedAt < 300))
        return;
      event.preventDefault();
      this.go(this.slice - wheelSteps(wheel, event.deltaY, event.deltaMode));
    };
    this.canvas.addEventListener("wheel", turn, { passive: false });
    this.stage.addEventListener("keydown", (event) => this.key(event));
    for (const phase of ["down", "move", "up", "cancel", "leave"]) {
      this.canvas.addEventListener(`pointer${phase}`, (event) => this.pointer(phase, event));
    }
  }

  key(event) {
    const last = this.case ? this.case.slices - 1 : 0;
    const steps = {
      ArrowUp: 1,
      ArrowRight: 1,
      ArrowDown: -1,
      ArrowLeft: -1,
      PageUp: 5,
      PageDown: -5,
      Home: -last,
      End: last,
    };
    if (!(event.key in steps) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.go(this.slice + steps[event.key]);
  }

  pointer(phase, event) {
    const box = this.canvas.getBoundingClientRect();
    const ratio = this.canvas.width / box.width;
    const pixel =
      this.case &&
      toPixel(this.frame, this.case, (event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio);
    const ijk = pixel && toVoxel(this.case, ...pixel, this.slice);
    if (this.onpointer?.({ phase, ijk, event })) return;
    if (event.pointerType === "touch") this.drag(phase, event, box.width);
    this.hover = phase === "leave" ? null : pixel;
    this.describe();
  }

  /** A finger drawn sideways turns slices; up and down scrolls the page. */
  drag(phase, event, width) {
    if (phase === "down") this.dragged = { x: event.clientX, slice: this.slice };
    if (phase === "move" && this.dragged) {
      const perSlice = Math.max(4, width / this.case.slices);
      this.go(this.dragged.slice + Math.round((event.clientX - this.dragged.x) / perSlice));
    }
    if (phase === "up" || phase === "cancel") this.dragged = null;
  }

  /** Show a decoded case, from this slice on. */
  set(shown, slice = shown.start) {
    this.case = shown;
    this.slider.max = shown.slices - 1;
    this.canvas.setAttribute("aria-label", `Axial CT slice of ${shown.title}, arrow keys change the slice`);
    this.pixels = new ImageData(shown.columns, shown.rows);
    this.buffer = element("canvas", { width: shown.columns, height: shown.rows });
    this.slice = -1;
    this.go(slice);
    this.redraw();
  }

  go(slice) {
    if (!this.case) return;
    const wanted = Math.max(0, Math.min(this.case.slices - 1, slice));
    const turned = wanted !== this.slice;
    this.slice = wanted;
    this.slider.value = this.slice;
    this.describe();
    this.redraw();
    if (turned) this.onslice?.(this.slice);
  }

  change(changes) {
    Object.assign(this, changes);
    this.redraw();
  }

  describe() {
    if (!this.case) return;
    const { levels, lowest, step, columns, rows, z, total } = this.case;
    const [, , k] = toVoxel(this.case, 0, 0, this.slice);
    this.where.textContent = `Slice ${k + 1} of ${total} \u00b7 z ${minus(z[0] + this.slice * z[1], 1)} mm`;
    this.slider.setAttribute("aria-valuetext", this.where.textContent);
    const [column, row] = (this.hover ?? [0, 0]).map(Math.round);
    const level = levels[(this.slice * rows + row) * columns + column];
    this.value.textContent = this.hover ? `${minus(lowest + level * step)} HU` : "";
  }

  /** Draw once before the next frame. */
  redraw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      if (this.case) this.draw();
    });
  }

  draw() {
    const begin = performance.now();
    const ratio = window.devicePixelRatio || 1;
    for (const canvas of [this.canvas, this.strip]) {
      const size = [canvas.clientWidth, canvas.clientHeight].map((n) => Math.max(1, Math.round(n * ratio)));
      if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
    }
    const context = this.canvas.getContext("2d");
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.frame = fit(this.case, this.canvas.width, this.canvas.height);
    this.drawSlice(context);
    const shown = this.overlays.filter((overlay) => overlay.shown).sort((a, b) => b.filled - a.filled); // lines on top
    for (const overlay of shown) this.drawOverlay(context, overlay, ratio);
    this.drawMarks(context, ratio);
    this.drawStrip(this.strip.getContext("2d"));
    this.paint?.(context, (ijk) => toCanvas(this.frame, this.case, ...fromVoxel(this.case, ijk)));
    this.root.dataset.slice = this.slice;
    this.milliseconds = performance.now() - begin;
  }

  drawSlice(context) {
    const { levels } = this.case;
    const gray = windowTable(WINDOWS[this.window], this.case);
    this.stamp(context, true, (n) => 0xff000000 | (gray[levels[n]] * 0x010101));
  }

  /** Color each voxel of the slice by its place in the arrays (as ABGR), and draw it in its true proportions. */
  stamp(context, smooth, colorOf) {
    const { left, top, width, height } = this.frame;
    const target = new Uint32Array(this.pixels.data.buffer);
    const start = this.slice * target.length;
    for (let n = 0; n < target.length; n++) target[n] = colorOf(start + n);
    this.buffer.getContext("2d").putImageData(this.pixels, 0, 0);
    context.imageSmoothingEnabled = smooth;
    context.drawImage(this.buffer, left, top, width, height);
  }

  drawOverlay(context, overlay, ratio) {
    const mask = this.case.masks.find((item) => item.name === overlay.name);
    if (!mask) return;
    context.save();
    context.globalAlpha = overlay.opacity * (overlay.filled ? 0.6 : 1);
    if (overlay.filled) this.drawFill(context, overlay.color, mask.array);
    else this.drawOutline(context, overlay, mask.array, ratio);
    context.restore();
  }

  drawFill(context, color, mask) {
    const [red, green, blue] = [1, 3, 5].map((n) => parseInt(color.slice(n, n + 2), 16));
    const paint = 0xff000000 | (blue << 16) | (green << 8) | red;
    this.stamp(context, false, (n) => (mask[n] ? paint : 0));
  }

  drawOutline(context, overlay, mask, ratio) {
    const { rows, columns } = this.case;
    const { left, top, width, height } = this.frame;
    const edges = outline(mask, this.slice * rows * columns, rows, columns);
    context.beginPath();
    for (let n = 0; n < edges.length; n += 4) {
      context.moveTo(left + (edges[n] / columns) * width, top + (edges[n + 1] / rows) * height);
      context.lineTo(left + (edges[n + 2] / columns) * width, top + (edges[n + 3] / rows) * height);
    }
    context.lineCap = "square";
    // a dark rim first, for white tissue
    for (const [color, width] of [
      ["#0009", 4],
      [overlay.color, 2],
    ]) {
      Object.assign(context, { strokeStyle: color, lineWidth: width * ratio });
      context.stroke();
    }
  }

  /** Sides of the patient and a bar of 20 mm. */
  drawMarks(context, ratio) {
    const { width, height } = this.canvas;
    const { scale } = this.frame;
    const pad = 9 * ratio;
    context.save();
    context.font = `600 ${12 * ratio}px system-ui, sans-serif`;
    Object.assign(context, {
      fillStyle: "#fff",
      strokeStyle: "#000",
      lineWidth: 3 * ratio,
      textBaseline: "middle",
      lineJoin: "round",
    });
    const write = (text, x, y, textAlign) => {
      context.textAlign = textAlign;
      context.strokeText(text, x, y);
      context.fillText(text, x, y);
    };
    write("R", pad, height / 2, "left");
    write("L", width - pad, height / 2, "right");
    write("A", width / 2, pad + 4 * ratio, "center");
    write("P", width / 2, height - pad - 4 * ratio, "center");
    write("20 mm", pad, height - pad - 13 * ratio, "left");
    context.fillStyle = "#000";
    context.fillRect(pad - ratio, height - pad - 4 * ratio, 20 * scale + 2 * ratio, 5 * ratio);
    context.fillStyle = "#fff";
    context.fillRect(pad, height - pad - 3 * ratio, 20 * scale, 3 * ratio);
    context.restore();
  }

  /** Above the slider: the slices that each mask reaches. */
  drawStrip(context) {
    const { width, height } = context.canvas;
    const { slices, rows, columns, masks } = this.case;
    context.clearRect(0, 0, width, height);
    const band = height / Math.max(1, this.overlays.length);
    this.overlays.forEach((overlay, n) => {
      const mask = masks.find((item) => item.name === overlay.name);
      if (!mask || !overlay.shown) return;
      const size = rows * columns;
      mask.used ??= Array.from({ length: slices }, (_, s) => mask.array.subarray(s * size, (s + 1) * size).includes(1));
      const pitch = width / slices;
      context.fillStyle = overlay.color;
      mask.used.forEach((used, s) => used && context.fillRect(s * pitch, n * band, Math.max(1, pitch), band * 0.75));
    });
  }
}

export class SliceViewer {
  /** A choice of stored cases, a canvas, and controls of what is drawn, built into `root`. */
  constructor(root, data) {
    Object.assign(this, { root, data, decoded: new Map() });
    this.view = new SliceCanvas(root);
    this.view.overlays = overlaysFor([
      ...new Set(data.cases.flatMap((item) => (item.masks ?? []).map((mask) => mask.name))),
    ]);
    this.build();
    this.ready = this.show(0);
  }

  build() {
    const { data, view } = this;
    this.facts = element("div", { className: "lv-facts" });
    this.withheld = element("p", { className: "lv-withheld", hidden: true });
    this.note = element("p", { className: "lv-note" });
    this.panel = element(
      "div",
      { className: "lv-panel" },
      windowChoice((window) => view.change({ window })),
      ...view.overlays.map((overlay) => overlayControls(overlay, () => view.redraw())),
      this.note,
    );
    const titles = data.cases.map((item) => item.title);
    const head =
      titles.length > 1
        ? choice("Case", titles, 0, (n) => this.show(n))
        : element("p", { className: "lv-title" }, titles[0]);
    this.body = element("div", { className: "lv-body" }, view.stage, this.panel);
    this.ui = element("div", { className: "lv-ui" }, head, this.facts, this.withheld, this.body);
    this.root.append(this.ui);
  }

  async show(index) {
    const stored = this.data.cases[index];
    this.wanted = index;
    this.facts.replaceChildren(
      ...Object.entries(stored.facts).map(([name, value]) => element("span", {}, `${name} `, element("b", {}, value))),
    );
    this.withheld.hidden = !stored.withheld;
    this.withheld.textContent = stored.withheld ?? "";
    this.body.hidden = Boolean(stored.withheld);
    if (stored.withheld) return;
    if (!this.decoded.has(index)) this.decoded.set(index, await decodeCase(stored));
    if (this.wanted !== index) return;
    const shown = this.decoded.get(index);
    this.note.textContent = shown.note;
    this.view.set(shown, shown.start);
  }
}

/** Bring every new viewer of this document to life. */
export function mountAll() {
  for (const root of document.querySelectorAll(".lungseg-viewer:not([data-mounted])")) {
    root.dataset.mounted = "";
    const data = JSON.parse(root.querySelector("script.lv-data").textContent);
    const viewer = new SliceViewer(root, data);
    root.sliceViewer = viewer;
    viewer.ready
      .then(() => root.querySelector(".lv-fallback")?.remove())
      .catch((problem) => {
        viewer.ui.remove();
        console.error("slice viewer:", problem);
      });
  }
}

if (typeof document !== "undefined") mountAll();

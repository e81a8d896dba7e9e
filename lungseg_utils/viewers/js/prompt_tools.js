// Prompts drawn on a SliceCanvas of slice_viewer.js: boxes by dragging, clicks, and a cross that keys move. What becomes of a drawn
// prompt is its owner's business. All places are voxels of the original image. No import.

export const TOOLS = ["box", "click inside", "click outside"];

export class PromptTools {
  /** Hooks: `onbox(from, to, index)` with both voxels inside the box, `onclick(voxel, index, inside)`, `onundo(event)`, `onsay(text)`;
   * `prompts()` gives what `paint` shows. */
  constructor(view, hooks) {
    Object.assign(this, { view, ...hooks, tool: 0, cursor: null, corner: null, pressed: null });
    view.canvas.classList.add("lp-canvas");
    view.onpointer = (gesture) => this.pointer(gesture);
    view.stage.addEventListener("keydown", (event) => this.key(event), true);
  }

  change(changes) {
    Object.assign(this, changes);
    this.view.redraw();
  }

  /** The slice that is shown, as the original image counts it. */
  get index() {
    return this.view.slice + this.view.case.voxel[2][0];
  }

  pointer({ phase, ijk, event }) {
    if (event.button > 0) return false;
    const at = ijk && [Math.round(ijk[0]), Math.round(ijk[1])];
    if (phase === "down" && at) {
      this.view.canvas.focus({ preventScroll: true });
      this.view.canvas.setPointerCapture(event.pointerId);
      this.pressed = { from: at, to: at };
    } else if (phase === "move" && this.pressed) {
      if (at) this.pressed.to = at;
      this.view.redraw();
    } else if (phase === "up" && this.pressed) {
      const { from, to } = this.pressed;
      this.pressed = null;
      this.commit(from, to);
    } else if (phase === "cancel") {
      this.pressed = null;
      this.view.redraw();
    }
    return Boolean(this.pressed) && phase !== "leave";
  }

  commit(from, to) {
    return this.tool === 0 ? this.onbox(from, to, this.index) : this.onclick(to, this.index, this.tool === 1);
  }

  key(event) {
    const steps = { ArrowUp: [0, 1], ArrowDown: [0, -1], ArrowLeft: [1, 0], ArrowRight: [-1, 0] };
    if (event.shiftKey && event.key in steps) this.moveCursor(steps[event.key], event.altKey ? 10 : 1);
    else if (event.key === "Enter" && event.target === this.view.canvas) this.enter();
    else if (event.key === "Backspace") this.onundo(event);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  moveCursor([di, dj], step) {
    const { size } = this.view.case;
    const [i, j] = this.cursor ?? this.middle();
    const keep = (value, count) => Math.min(Math.max(value, 0), count - 1);
    this.change({ cursor: [keep(i + di * step, size[0]), keep(j + dj * step, size[1])] });
    this.onsay(`Cross at column ${this.cursor[0]}, row ${this.cursor[1]}.`);
  }

  middle() {
    const { voxel, columns, rows } = this.view.case;
    return [voxel[0][0] + voxel[0][1] * Math.floor(columns / 2), voxel[1][0] + voxel[1][1] * Math.floor(rows / 2)];
  }

  enter() {
    const place = this.cursor ?? this.middle();
    if (this.tool !== 0) return this.commit(place, place);
    if (!this.corner) {
      this.change({ corner: place, cursor: place });
      return this.onsay("One corner is set. Move the cross to the other one and press Enter.");
    }
    const from = this.corner;
    this.corner = null;
    return this.commit(from, place);
  }

  /** The prompt on this slice, what is being drawn, and the keyboard's cross. */
  paint(context, place) {
    const { index } = this;
    const ratio = window.devicePixelRatio || 1;
    const line = (draw, color, dash = []) => {
      context.beginPath();
      draw();
      context.setLineDash(dash.map((n) => n * ratio));
      for (const [style, width] of [
        ["#000a", 4],
        [color, 2],
      ]) {
        Object.assign(context, { strokeStyle: style, lineWidth: width * ratio });
        context.stroke();
      }
      context.setLineDash([]);
    };
    const box = ([iMin, iMax, jMin, jMax], dash) => {
      const [[x0, y0], [x1, y1]] = [place([iMax - 0.5, jMax - 0.5, index]), place([iMin - 0.5, jMin - 0.5, index])];
      line(() => context.rect(x0, y0, x1 - x0, y1 - y0), "#fff", dash);
    };
    const cross = ([i, j], color, size) => {
      const [x, y] = place([i, j, index]);
      const arm = size * ratio;
      line(
        () =>
          [
            [arm, 0],
            [0, arm],
          ].forEach(([dx, dy]) => (context.moveTo(x - dx, y - dy), context.lineTo(x + dx, y + dy))),
        color,
      );
    };
    for (const hint of this.prompts().flatMap((prompt) => prompt.slices.filter((item) => item.index === index))) {
      if (hint.box) box(hint.box, [5, 3]);
      for (const point of hint.points) {
        const [x, y] = place([point.i, point.j, index]);
        line(() => context.arc(x, y, 5 * ratio, 0, 7), point.inside ? "#009e73" : "#d55e00");
        line(() => (context.moveTo(x - 3 * ratio, y), context.lineTo(x + 3 * ratio, y)), "#fff");
        if (point.inside) line(() => (context.moveTo(x, y - 3 * ratio), context.lineTo(x, y + 3 * ratio)), "#fff");
      }
    }
    const [from, to] = this.pressed ? [this.pressed.from, this.pressed.to] : [this.corner, this.cursor];
    const sides = (axis) => [Math.min(from[axis], to[axis]), Math.max(from[axis], to[axis]) + 1];
    if (this.tool === 0 && from && to) box([...sides(0), ...sides(1)]);
    if (this.cursor) cross(this.cursor, "#f0e442", 9);
  }
}

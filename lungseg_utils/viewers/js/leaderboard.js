// @ts-check
// Sorting, filtering and downloading of one table. Cells are text; a number is what begins with one.

import { element } from "./dom.js";

/**
 * A table as leaderboard.py writes it; `filters` are columns that get a choice of their values.
 * @typedef {{ columns: string[], rows: string[][], filters: string[], file: string }} Shown
 * @typedef {{ moreColumns?: string[], more?: string[][] }} FileOnly Columns of the downloaded file alone
 * @typedef {Shown & FileOnly} Data
 * @typedef {{ row: HTMLTableRowElement, cells: string[], more: string[] }} BoardRow
 * @typedef {{ chosen: Map<number, string>, words: string }} Filter value by column, and words that any cell may hold
 */

const LINE = 18; // characters of a name that stay on one line

/**
 * The number that a cell begins with; NaN if it begins with none.
 * @param {string} cell
 */
export function numberOf(cell) {
  const found = cell.replace("−", "-").match(/^-?\d+(\.\d+)?/);
  if (found) return Number(found[0]);
  return cell.startsWith("∞") ? Infinity : NaN;
}

/**
 * For each column whether most of its cells that say anything are numbers.
 * @param {Pick<Data, "columns" | "rows">} data
 */
export function numericColumns({ columns, rows }) {
  return columns.map((_, column) => {
    const filled = rows.map((row) => row[column]).filter((cell) => cell && cell !== "–");
    return filled.filter((cell) => !Number.isNaN(numberOf(cell))).length > filled.length / 2;
  });
}

/**
 * Order of two cells from low to high, those without a number first.
 * @param {string} a
 * @param {string} b
 * @param {boolean} numeric
 */
export function compareCells(a, b, numeric) {
  if (!numeric) return a.localeCompare(b);
  const [x, y] = [numberOf(a), numberOf(b)];
  if (Number.isNaN(x) || Number.isNaN(y)) return Number(Number.isNaN(y)) - Number(Number.isNaN(x));
  return x === y ? 0 : Math.sign(x - y); // two infinities have no difference
}

/**
 * A text as it is searched: without case, spaces and marks, so "unet" finds "U-Net" and "u net".
 * @param {string} text
 */
export function searched(text) {
  return text.toLowerCase().replace(/[^\p{L}\p{N}.]+/gu, "");
}

/**
 * Whether a row has all chosen values, and each of the words in one of its cells.
 * @param {string[]} cells
 * @param {Filter} filter
 */
export function matches(cells, { chosen, words }) {
  return (
    [...chosen].every(([column, value]) => !value || cells[column] === value) &&
    words.split(/\s+/).every((word) => cells.some((cell) => searched(cell).includes(searched(word))))
  );
}

/**
 * Rows as a file of comma-separated values.
 * @param {string[][]} rows
 */
export function csvText(rows) {
  const quoted = (/** @type {string} */ cell) => (/[",\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
  return `${rows.map((cells) => cells.map(quoted).join(",")).join("\r\n")}\r\n`;
}

/** One table of the page with its controls. */
class Board {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    /** @type {Data} */
    this.data = JSON.parse(root.querySelector(".lb-data")?.textContent ?? "");
    this.body = /** @type {HTMLTableSectionElement} */ (root.querySelector("tbody"));
    /** @type {BoardRow[]} */
    this.rows = [...this.body.rows].map((row, index) => ({
      row,
      cells: this.data.rows[index],
      more: this.data.more?.[index] ?? [],
    }));
    this.heads = [...root.querySelectorAll("thead th")].filter((head) => head instanceof HTMLElement);
    this.numeric = numericColumns(this.data);
    /** @type {Filter} */
    this.filter = { chosen: new Map(), words: "" };
    this.count = element("span", { role: "status" });
    for (const { row } of this.rows) {
      this.numeric.forEach((numeric, column) => row.cells[column].classList.toggle("lb-words", !numeric));
    }
    this.addControls();
    this.heads.forEach((head, column) => this.makeSortable(head, column));
    this.update();
  }

  addControls() {
    const controls = /** @type {HTMLElement} */ (this.root.querySelector(".lb-controls"));
    const labeled = (/** @type {string} */ text, /** @type {Node} */ control) => element("label", {}, text, control);
    controls.append(
      ...this.data.filters.map((name) => labeled(name, this.valueChoice(this.data.columns.indexOf(name)))),
    );
    const search = element("input", { type: "search" });
    search.addEventListener("input", () => {
      this.filter.words = search.value.trim();
      this.update();
    });
    const download = element("button", { type: "button", onclick: () => this.download() }, "Download as CSV");
    controls.append(labeled("find", search), download, this.count);
  }

  /** @param {number} column */
  valueChoice(column) {
    const values = new Set(this.data.rows.map((row) => row[column]));
    const select = element(
      "select",
      {},
      new Option("all", ""),
      ...[...values].map((value) => new Option(value, value)),
    );
    select.addEventListener("change", () => {
      this.filter.chosen.set(column, select.value);
      this.update();
    });
    return select;
  }

  get shown() {
    return this.rows.filter(({ cells }) => matches(cells, this.filter));
  }

  update() {
    const shown = new Set(this.shown);
    for (const row of this.rows) row.row.hidden = !shown.has(row);
    // A column that is the same in all rows would push the numbers out of sight.
    for (const { cells } of this.root.querySelectorAll("tr")) {
      for (const [column, value] of this.filter.chosen) cells[column].hidden = Boolean(value);
    }
    this.count.textContent = `${shown.size} of ${this.rows.length} rows`;
  }

  download() {
    const inOrder = this.shown.sort((a, b) => a.row.rowIndex - b.row.rowIndex);
    const columns = [...this.data.columns, ...(this.data.moreColumns ?? [])];
    const text = csvText([columns, ...inOrder.map(({ cells, more }) => [...cells, ...more])]);
    const href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    element("a", { href, download: this.data.file }).click();
    URL.revokeObjectURL(href);
  }

  /**
   * @param {HTMLElement} head
   * @param {number} column
   */
  makeSortable(head, column) {
    if (!this.numeric[column]) {
      const longest = Math.max(...this.data.rows.map((row) => row[column].length));
      head.style.minWidth = `${Math.min(LINE, longest)}ch`;
    }
    const sort = () => this.sort(head, column);
    head.replaceChildren(element("button", { type: "button", onclick: sort }, head.textContent ?? ""));
  }

  /**
   * By a column from high to low; once more, from low to high.
   * @param {HTMLElement} head
   * @param {number} column
   */
  sort(head, column) {
    const down = head.getAttribute("aria-sort") !== "descending";
    for (const other of this.heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    this.rows.sort((a, b) => compareCells(a.cells[column], b.cells[column], this.numeric[column]));
    if (down) this.rows.reverse();
    this.body.append(...this.rows.map(({ row }) => row));
  }
}

if (typeof document !== "undefined") {
  for (const root of document.querySelectorAll(".lungseg-board:not([data-ready])")) {
    if (!(root instanceof HTMLElement)) continue;
    root.dataset.ready = "true";
    new Board(root);
  }
}

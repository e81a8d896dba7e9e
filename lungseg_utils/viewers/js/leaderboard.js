// Sorting, filtering and downloading of one table. Cells are text; a number is what begins with one.
const number = (cell) => {
  const found = cell.replace("−", "-").match(/^-?\d+(\.\d+)?/);
  return found ? Number(found[0]) : cell.startsWith("∞") ? Infinity : NaN;
};

for (const board of document.querySelectorAll(".lungseg-board:not([data-ready])")) {
  board.dataset.ready = "true";
  const data = JSON.parse(board.querySelector(".lb-data").textContent);
  const body = board.querySelector("tbody");
  const rows = [...body.rows].map((element, index) => ({ element, cells: data.rows[index] }));
  const numeric = data.columns.map((_, column) => {
    const told = data.rows.map((row) => row[column]).filter((cell) => cell && cell !== "–");
    return told.filter((cell) => !Number.isNaN(number(cell))).length > told.length / 2;
  });
  for (const { element } of rows)
    numeric.forEach((is, column) => element.cells[column].classList.toggle("lb-words", !is));
  const chosen = {};
  let words = "";

  const visible = ({ cells }) =>
    Object.entries(chosen).every(([column, value]) => !value || cells[column] === value) &&
    words.split(/\s+/).every((word) => cells.some((cell) => cell.toLowerCase().includes(word)));
  const count = document.createElement("span");
  count.setAttribute("role", "status");
  const update = () => {
    for (const row of rows) row.element.hidden = !visible(row);
    // what is the same in all rows would push the numbers out of sight
    for (const { cells } of board.querySelectorAll("tr"))
      for (const [column, value] of Object.entries(chosen)) cells[column].hidden = Boolean(value);
    count.textContent = `${rows.filter(visible).length} of ${rows.length} rows`;
  };

  const controls = board.querySelector(".lb-controls");
  const labeled = (text, control) => {
    const label = document.createElement("label");
    label.append(text, control);
    controls.append(label);
    return control;
  };
  for (const name of data.filters) {
    const column = data.columns.indexOf(name);
    const select = labeled(name, document.createElement("select"));
    select.append(new Option("all", ""));
    for (const value of new Set(data.rows.map((row) => row[column]))) select.append(new Option(value, value));
    select.addEventListener("change", () => {
      chosen[column] = select.value;
      update();
    });
  }
  const search = labeled("contains", document.createElement("input"));
  search.type = "search";
  search.addEventListener("input", () => {
    words = search.value.trim().toLowerCase();
    update();
  });

  const quoted = (cell) => (/[",\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
  const download = document.createElement("button");
  download.type = "button";
  download.textContent = "Download as CSV";
  download.addEventListener("click", () => {
    const shown = rows.filter(visible).sort((a, b) => a.element.rowIndex - b.element.rowIndex);
    const text = [data.columns, ...shown.map((row) => row.cells)]
      .map((cells) => cells.map(quoted).join(","))
      .join("\r\n");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text + "\r\n"], { type: "text/csv" }));
    link.download = data.file;
    link.click();
    URL.revokeObjectURL(link.href);
  });
  controls.append(download, count);

  const compare = (column) => (a, b) => {
    if (!numeric[column]) return a.cells[column].localeCompare(b.cells[column]);
    const [x, y] = [number(a.cells[column]), number(b.cells[column])];
    return Number.isNaN(x) ? (Number.isNaN(y) ? 0 : -1) : Number.isNaN(y) ? 1 : x - y;
  };
  const LINE = 18; // characters of a name that stay on one line
  [...board.querySelectorAll("thead th")].forEach((head, column) => {
    if (!numeric[column])
      head.style.minWidth = `${Math.min(LINE, Math.max(...data.rows.map((row) => row[column].length)))}ch`;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      for (const other of board.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      rows.sort(compare(column));
      if (down) rows.reverse();
      body.append(...rows.map((row) => row.element));
    });
  });
  update();
}

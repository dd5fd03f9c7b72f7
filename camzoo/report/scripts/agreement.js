// The matrix of every pair of maps, in the order of its clusters.

const matrix = find("#matrix");
const { order } = carried.agreement;
let fields = [];

function buildMatrix() {
  matrix.style.setProperty("--count", order.length);
  matrix.classList.toggle("dense", order.length > 20);
  const heads = ["", ...order.map((column) => carried.names[column])];
  const head = matrixRow(heads.map((name) => matrixCell("columnheader", name)));
  fields = order.map((row) => order.map((column) => field(row, column)));
  const body = order.map((row, at) => matrixRow([matrixCell("rowheader", carried.names[row]), ...fields[at]]));
  matrix.replaceChildren(head, ...body);
  walkable(fields);
}

function matrixRow(cells) {
  const row = matrixCell("row", "");
  row.append(...cells);
  return row;
}

function matrixCell(role, text) {
  const cell = document.createElement("div");
  cell.setAttribute("role", role);
  cell.textContent = text;
  cell.title = text;
  return cell;
}

function field(row, column) {
  const cell = matrixCell("gridcell", "");
  const open = () => openPair(rowOfPair(row, column), row, column);
  cell.addEventListener("click", open);
  cell.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    open();
  });
  return cell;
}

/** The row that is chosen; for the mean, the first in which both maps are there. */
function rowOfPair(a, b) {
  const chosen = find("#agreement-row").value;
  if (chosen !== "mean") return Number(chosen);
  return Math.max(0, maps.findIndex((row) => row[a] && row[b]));
}

function drawMatrix() {
  const measure = find("#measure").value, row = find("#agreement-row").value;
  const values = (row === "mean" ? carried.agreement.mean : carried.agreement.rows[row])[measure];
  const low = measure.includes("overlap") ? 0 : -1;
  const table = tables[low ? carried.diverging : "viridis"];
  fields.forEach((cells, at) =>
    cells.forEach((cell, to) => {
      const [one, other] = [order[at], order[to]];
      fillField(cell, values[one][other], { low, table }, `${carried.names[one]} and ${carried.names[other]}`);
    }),
  );
  sayUndefined(row);
}

function fillField(cell, value, { low, table }, pair) {
  const known = value !== null;
  const from = known ? 3 * Math.min(255, Math.max(0, Math.floor((256 * (value - low)) / (1 - low)))) : 0;
  const [red, green, blue] = table.subarray(from, from + 3);
  const dark = known && 0.299 * red + 0.587 * green + 0.114 * blue < 128;
  cell.textContent = known ? value.toFixed(2).replace("-0.00", "0.00").replace("-", "\u2212") : "";
  cell.style.background = known ? `rgb(${red} ${green} ${blue})` : "";
  cell.style.color = known ? (dark ? "white" : "black") : "";
  const said = `${pair}: ${known ? value.toFixed(3) : "undefined"}`;
  cell.title = said;
  cell.setAttribute("aria-label", said);
}

/** Which maps cannot be compared, and why. */
function sayUndefined(row) {
  const found = row === "mean" ? carried.agreement.undefined : [carried.agreement.undefined[row]];
  const texts = found.flatMap((entry) => Object.entries(entry).map(([name, why]) => `${name} is ${why}`));
  find("#undefined").textContent = texts.length ? `Undefined: ${[...new Set(texts)].join("; ")}.` : "";
}

function wireAgreement() {
  buildMatrix();
  drawMatrix();
  for (const name of ["#measure", "#agreement-row"]) find(name).addEventListener("change", drawMatrix);
}

// The page: controls, colour scheme, downloads; and the start of everything.

/** A control and what its change does: `values` where the tiles show something else than before. */
function control(name, read, { values = false } = {}) {
  const element = find(`#${name}`);
  const take = () => {
    view[name] = read(element.value);
    redraw({ values });
    drawBar();
    sayControls();
  };
  element.addEventListener("input", take);
}

function setShow(show) {
  view.show = show;
  find(`#show input[value=${show}]`).checked = true;
  find("#scale-field").hidden = show === "difference";
  find("#range-field").hidden = show === "maps";
  redraw({ values: true });
  drawBar();
  sayControls();
  announce(show === "maps" ? "Maps" : `Difference from ${carried.names[view.reference]}`);
}

function setReference(column) {
  view.reference = column;
  find("#reference").value = column;
  for (const { element, column: at } of tiles) element.classList.toggle("reference", at === column);
  for (const head of all(".method", grid)) head.classList.toggle("reference", Number(head.dataset.column) === column);
  redraw({ values: view.show === "difference" });
  drawBar();
}

/** The same by the reader's wish. */
function chooseReference(column) {
  setReference(column);
  announce(`Reference: ${carried.names[column]}`);
}

/** What the controls stand at; the colours of signed values are not to choose. */
function sayControls() {
  find("#colours").disabled = view.show === "difference" || view.scale !== "normalised";
  find("#opacity-said").textContent = percent(view.opacity);
  find("#kept-said").textContent = percent(view.kept);
  find("#size-said").textContent = `${find("#size").value} px`;
}

// --- Layout: one line for each row where it fits, else wrapped -----------------------------------------------------

let wrapChosen = null;

function fit() {
  const size = Number(find("#size").value) + GAP, count = carried.names.length;
  const wide = find("#maps .scroller").clientWidth - 2 * edge();
  const beside = innerWidth <= NARROW ? wide : wide - Math.min(380, Math.max(210, 0.22 * innerWidth)) - 20;
  const most = Math.max(1, Math.floor((beside + GAP) / size));
  const wrapped = innerWidth <= NARROW || (wrapChosen ?? count > most);
  grid.style.setProperty("--count", count);
  grid.style.setProperty("--columns", Math.ceil(count / Math.ceil(count / most))); // lines of equal length
  grid.style.setProperty("--size", `${size - GAP}px`);
  grid.classList.toggle("wrapped", wrapped);
  find("#wrap").checked = wrapped;
  sayControls();
}

const GAP = 8, NARROW = 720; // as in report.css

function edge() {
  return parseFloat(getComputedStyle(find("#maps .scroller")).paddingLeft);
}

function wireLayout() {
  if (innerWidth <= NARROW) find("#size").value = 100;
  find("#size").addEventListener("input", fit);
  find("#wrap").addEventListener("change", (event) => {
    wrapChosen = event.target.checked;
    fit();
  });
  new ResizeObserver(fit).observe(find("#maps .scroller"));
}

// --- Downloads -----------------------------------------------------------------------------------------------------

function download(name, type, made) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([made()], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** Everything but the photos: what was asked, and every map at the stage and on the grid on which it was given. */
function dataAsJson() {
  const { about, names, agreement } = carried;
  const entry = (map, row, column) => ({ row, method: names[column], stage: map.stage, values: nested(map) });
  const given = maps.flatMap((cells, row) => cells.map((map, column) => map && entry(map, row, column)));
  return JSON.stringify({ ...about, methods: names, maps: given.filter(Boolean), agreement });
}

function nested({ raw, shape: [height, width] }) {
  const number = (value) => (Number.isFinite(value) ? Number(value.toPrecision(6)) : null);
  return Array.from({ length: height }, (_, y) => Array.from(raw.subarray(y * width, (y + 1) * width), number));
}

function agreementAsCsv() {
  const quoted = (text) => `"${String(text).replaceAll('"', '""')}"`;
  const { names, agreement: { measures, rows } } = carried;
  const pairs = names.flatMap((_, a) => names.slice(a + 1).map((_, b) => [a, a + 1 + b]));
  const line = (row, [a, b]) => {
    const labels = [carried.rows[row].title, names[a], names[b]].map(quoted);
    return [...labels, ...measures.map((measure) => rows[row][measure][a][b] ?? "")].join();
  };
  const lines = rows.flatMap((_, row) => pairs.map((pair) => line(row, pair)));
  return [["row", "one", "other", ...measures.map(quoted)].join(), ...lines, ""].join("\n");
}

function wireDownloads() {
  const offer = (button, ...file) => find(button).addEventListener("click", () => download(...file));
  offer("#download-data", "camzoo-data.json", "application/json", dataAsJson);
  offer("#download-agreement", "camzoo-agreement.csv", "text/csv", agreementAsCsv);
  find("#copy")?.addEventListener("click", (event) => copyCommand(event.target, find("#command")));
}

// --- Start ---------------------------------------------------------------------------------------------------------

function showPhoto(line, { url, width, height }) {
  find(".photo img", line).src = url;
  line.style.setProperty("--aspect", width / height);
}

function start() {
  wireTheme();
  lines.forEach((line, row) => showPhoto(line, pictureOf(row)));
  control("opacity", (value) => value / 100);
  control("kept", (value) => value / 100);
  control("colours", String);
  control("scale", String, { values: true });
  control("range", Number);
  for (const input of all("#show input")) input.addEventListener("change", () => setShow(input.value));
  find("#reference").addEventListener("change", (event) => chooseReference(Number(event.target.value)));
  for (const { dataset, firstElementChild } of all(".method", grid)) {
    firstElementChild.addEventListener("click", () => chooseReference(Number(dataset.column)));
  }
  tiles.forEach((tile) => {
    watchTile(tile);
    tile.element.addEventListener("keydown", (event) => tileKey(event, tile));
  });
  walkable(lines.map((line) => all(".tile", line)));
  wireLayout();
  wirePair();
  wireAgreement();
  wireDownloads();
  setReference(0);
  document.documentElement.dataset.ready = "yes";
}

start();

// The grid of maps: what each tile shows, the point that is read on all of them, and the way through it by keyboard.

const view = {
  show: "maps", reference: 0, scale: "normalised", range: 1,
  colours: find("#colours").value, opacity: 0.6, kept: 1,
};
const tables = Object.fromEntries(Object.entries(carried.colours).map(([name, text]) => [name, bytes(text)]));
const pictures = await Promise.all(carried.pictures.map(loadedPicture));
const maps = await Promise.all(carried.maps.map((row) => Promise.all(row.map((map) => map && prepared(map)))));
const largest = Math.max(...maps.flat().map((map) => (map ? map.most : 0))) || 1;

async function prepared(map) {
  const raw = await unpacked(map);
  return { shape: map.shape, stage: map.stage, raw, normal: normalised(raw), most: magnitude(raw) };
}

function pictureOf(row) {
  return pictures[carried.rows[row].image];
}

/** A map at the size of its picture. */
function enlarged(row, column, kind) {
  const { width, height } = pictureOf(row);
  const map = maps[row][column];
  return resized(map[kind], map.shape, [height, width]);
}

/** One map minus another, both scaled to 0..1. */
function apart(row, column, from) {
  const other = enlarged(row, from, "normal");
  return enlarged(row, column, "normal").map((value, at) => value - other[at]);
}

/** What a tile shows: null where there is no map, or none to take the difference from. */
function shownValues(row, column) {
  if (!maps[row][column] || (view.show === "difference" && !maps[row][view.reference])) return null;
  if (view.show === "difference") return apart(row, column, view.reference);
  return enlarged(row, column, view.scale === "normalised" ? "normal" : "raw");
}

/** How a tile's values become colours. */
function lookOf(map) {
  return view.show === "difference" ? divergingLook(view.range) : mapsLook(map);
}

function mapsLook(map) {
  if (view.scale === "normalised") return mapLook();
  return { ...divergingLook(view.scale === "own" ? map?.most || 1 : largest), signed: false };
}

function mapLook() {
  return { table: tables[view.colours], low: 0, high: 1, opacity: view.opacity };
}

/** Of differences, `signed`: the largest of both signs are kept. */
function divergingLook(limit) {
  return { table: tables[carried.diverging], low: -limit, high: limit, opacity: view.opacity, signed: true };
}

/** The values in the order in which they are kept. */
function ranked(values, { signed }) {
  return (signed ? values.map(Math.abs) : values.slice()).sort();
}

/** What a tile shows at one point. */
function reading(row, column, { x, y }) {
  const map = maps[row][column], reference = maps[row][view.reference];
  if (!map || (view.show === "difference" && !reference)) return NaN;
  const at = (kind, { [kind]: values, shape }) => sampled(values, shape, x, y);
  if (view.show === "difference") return at("normal", map) - at("normal", reference);
  return at(view.scale === "normalised" ? "normal" : "raw", map);
}

// --- Tiles ---------------------------------------------------------------------------------------------------------

const grid = find("#grid");
const lines = all(".line[data-row]", grid);
const tiles = lines.flatMap((line) => all(".tile", line).map((element) => tileOf(element, Number(line.dataset.row))));
const tileAt = (row, column) => tiles[row * carried.names.length + column];

function tileOf(element, row) {
  const canvas = find("canvas", element);
  if (canvas) Object.assign(canvas, { width: pictureOf(row).width, height: pictureOf(row).height });
  const column = Number(element.dataset.column);
  return { element, canvas, row, column, near: false, stale: true, values: null, sorted: null };
}

const watcher = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      const tile = tiles.find(({ element }) => element === entry.target);
      tile.near = entry.isIntersecting;
      if (!tile.near) Object.assign(tile, { values: null, sorted: null, stale: true });
    }
    schedule();
  },
  { rootMargin: "300px" },
);

/** All tiles anew: with `values` what they show has changed, without only how it is drawn. */
function redraw({ values = false } = {}) {
  for (const tile of tiles) {
    tile.stale = true;
    if (values) tile.values = tile.sorted = null;
  }
  schedule();
}

let scheduled = false;

function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    const began = performance.now();
    const drawn = tiles.filter((tile) => tile.near && tile.stale);
    drawn.forEach(drawTile);
    if (drawn.length) performance.measure("draw", { start: began, detail: drawn.length });
  });
}

function drawTile(tile) {
  tile.stale = false;
  if (!tile.canvas) return undefined;
  const map = maps[tile.row][tile.column];
  tile.values ??= shownValues(tile.row, tile.column);
  if (!tile.values) return paintPlain(tile.canvas, pictureOf(tile.row));
  const look = lookOf(map);
  if (view.kept < 1) tile.sorted ??= ranked(tile.values, look);
  const { floor, kept } = view.kept < 1 ? threshold(tile.sorted, view.kept) : { floor: -Infinity, kept: 1 };
  const said = [
    view.show === "maps" && view.scale === "own" ? `\u00b1 ${short(map.most)}` : "",
    view.kept < 1 ? `${percent(kept)} kept` : "",
  ];
  find(".unit", tile.element).textContent = said.filter(Boolean).join(" \u00b7 ");
  return paint(tile.canvas, pictureOf(tile.row), tile.values, look, floor);
}

function percent(share) {
  return `${(100 * share).toFixed(share < 0.095 ? 1 : 0)}\u202f%`;
}

/** The bar beside the controls, with the words for what its numbers are. */
function drawBar() {
  const limit = view.show === "difference" ? view.range : view.scale === "shared" ? largest : 1;
  const diverges = view.show === "difference" || view.scale !== "normalised";
  const look = diverges ? divergingLook(limit) : mapLook();
  const ticks = diverges ? [-limit, -limit / 2, 0, limit / 2, limit] : [0, 0.25, 0.5, 0.75, 1];
  paintBar(find(".controls .bar"), look, ticks, barUnit());
}

function barUnit() {
  if (view.show === "difference") return `map \u2212 ${carried.names[view.reference]}, both 0 to 1`;
  if (view.scale === "normalised") return "rectified, min to max of each map";
  return view.scale === "own" ? "raw value over the map\u2019s largest |value|" : "raw value, as its method gives it";
}

// --- The point that is read ----------------------------------------------------------------------------------------

let point = null;

/** Reads every map of the same photo at a point (shares of its width and height); null ends it. */
function probe(row, at) {
  point = at && { row, ...centred(pictureOf(row), at) };
  lines.forEach((line, number) => {
    const same = point && carried.rows[number].image === carried.rows[row].image;
    line.classList.toggle("probing", Boolean(same));
    if (!same) return;
    line.style.setProperty("--x", point.x);
    line.style.setProperty("--y", point.y);
    carried.names.forEach((_, column) => {
      find(".value", tileAt(number, column).element).textContent = short(reading(number, column, point));
    });
  });
}

/** The centre of the pixel in which a point lies. */
function centred({ width, height }, { x, y }) {
  const middle = (share, count) => (Math.min(count - 1, Math.max(0, Math.floor(share * count))) + 0.5) / count;
  return { x: middle(x, width), y: middle(y, height) };
}

function pointIn(event, element) {
  const box = element.getBoundingClientRect();
  return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
}

/** In words: where the point is, what this map says there, and which maps say most and least. */
function spoken(row, column, at) {
  const values = carried.names.map((name, number) => [reading(row, number, at), name]);
  const known = values.filter(([value]) => Number.isFinite(value)).sort((one, other) => other[0] - one[0]);
  const [own] = values[column];
  const place = `${carried.rows[row].name}, ${percent(at.x)} from the left, ${percent(at.y)} from the top`;
  if (!known.length) return `${place}: no map`;
  const told = ([value, name]) => `${name} ${short(value)}`;
  return `${place}: ${told([own, carried.names[column]])}; most ${told(known[0])}, least ${told(known.at(-1))}`;
}

function readOut(row, column) {
  find("#readout").textContent = spoken(row, column, point);
}

// --- Pointer and keyboard ------------------------------------------------------------------------------------------

function watchTile({ element, canvas, row, column }) {
  watcher.observe(element);
  if (!canvas) return;
  canvas.addEventListener("pointermove", (event) => {
    probe(row, pointIn(event, canvas));
    readOut(row, column);
  });
  canvas.addEventListener("pointerleave", () => probe(row, null));
  canvas.addEventListener("click", () => openPair(row, ...besideReference(column)));
}

/** The reference and another map; where the reference itself is pressed, its neighbour. */
function besideReference(column) {
  const other = column === view.reference ? (column + 1) % carried.names.length : column;
  return [view.reference, other];
}

const AWAY = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

/** Arrow keys, Home and End walk through rows of elements, of which one at a time can be reached with Tab. */
function walkable(rows) {
  const reach = (target) => {
    for (const element of rows.flat()) element.tabIndex = element === target ? 0 : -1;
  };
  const walk = (event, row, column) => {
    const [down, right] = AWAY[event.key] ?? [0, 0];
    const ends = { Home: 0, End: rows[row].length - 1 };
    if (!(event.key in AWAY || event.key in ends) || event.shiftKey) return;
    event.preventDefault();
    rows[row + down]?.[ends[event.key] ?? column + right]?.focus();
  };
  rows.forEach((elements, row) =>
    elements.forEach((element, column) => {
      element.addEventListener("focus", () => reach(element));
      element.addEventListener("keydown", (event) => walk(event, row, column));
    }),
  );
  reach(rows[0]?.[0]);
}

/** Keys on a map. */
function tileKey(event, { row, column }) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  if (event.shiftKey && event.key in AWAY) movePoint(row, column, AWAY[event.key]);
  else if (key === "enter") openPair(row, ...besideReference(column));
  else if (key === "r") chooseReference(column);
  else if (key === "d") setShow(view.show === "maps" ? "difference" : "maps");
  else if (key === "escape") probe(row, null);
  else return;
  event.preventDefault();
}

/** The point one 28th of the picture further, which is half a cell of a 14 x 14 grid; from the middle at first. */
function movePoint(row, column, [down, right]) {
  const from = point ?? { x: 0.5, y: 0.5 };
  probe(row, { x: from.x + right / 28, y: from.y + down / 28 });
  readOut(row, column);
  announce(find("#readout").textContent);
}

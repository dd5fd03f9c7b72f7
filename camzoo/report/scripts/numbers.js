// Arithmetic on maps, in double precision: what camzoo.grids and camzoo.render compute, cell for cell.

/** The bytes behind a deflated base64 text. */
async function inflated(text) {
  const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** The values of a map as it was packed; NaN where a value was not finite. */
async function unpacked({ codes, low, high }) {
  const planes = await inflated(codes);
  const values = new Float64Array(planes.length / 2);
  let code = 0;
  for (let at = 0; at < values.length; at++) {
    code = (code + planes[at] + 256 * planes[at + values.length]) & 0xffff;
    const share = code / 65534;
    values[at] = code === 65535 ? NaN : low * (1 - share) + high * share;
  }
  return values;
}

/** ReLU, then min-max to 0..1; a constant map gives zeros, a map with a NaN is NaN throughout. */
function normalised(values) {
  const rectified = values.map((value) => Math.max(value, 0));
  const [low, high] = extent(rectified);
  if (Number.isNaN(low + high)) return rectified.fill(NaN);
  return rectified.map((value) => (high > low ? (value - low) / (high - low) : 0));
}

function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (Number.isNaN(value)) return [NaN, NaN];
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

/** The largest finite |value|. */
function magnitude(values) {
  let most = 0;
  for (const value of values) if (Math.abs(value) > most) most = Math.abs(value);
  return most;
}

/** Half-pixel centres: a share 0..1 of an axis, as the cells `below` and `beside` it and the way between the two. */
function between(old, share) {
  const centre = Math.min(Math.max(share * old - 0.5, 0), old - 1);
  const below = Math.floor(centre);
  return [below, below + (centre > below ? 1 : 0), centre - below];
}

/** The same for each of the cells wanted, as three arrays. */
function neighbours(old, size) {
  const below = new Int32Array(size), beside = new Int32Array(size), way = new Float64Array(size);
  for (let cell = 0; cell < size; cell++) [below[cell], beside[cell], way[cell]] = between(old, (cell + 0.5) / size);
  return [below, beside, way];
}

/** Bilinear resizing, rows and then columns. */
function resized(values, [height, width], [tall, wide]) {
  const [above, under, down] = neighbours(height, tall);
  const [left, right, across] = neighbours(width, wide);
  const line = new Float64Array(width);
  const out = new Float64Array(tall * wide);
  for (let y = 0, at = 0; y < tall; y++) {
    const first = above[y] * width, second = under[y] * width;
    for (let x = 0; x < width; x++) line[x] = mixed(values[first + x], values[second + x], down[y]);
    for (let x = 0; x < wide; x++, at++) out[at] = mixed(line[left[x]], line[right[x]], across[x]);
  }
  return out;
}

function mixed(first, second, share) {
  return first + share * (second - first);
}

/** The value of a map at a point, `x` and `y` as shares of the picture. */
function sampled(values, [height, width], x, y) {
  const [above, under, down] = between(height, y);
  const [left, right, across] = between(width, x);
  const at = (column) => mixed(values[above * width + column], values[under * width + column], down);
  return mixed(at(left), at(right), across);
}

/**
 * The least value that is still drawn where only a share of the area is kept, and the share that this keeps.
 * What lies at the map's own minimum is never kept: a flat ground is no evidence.
 */
function threshold(sorted, share) {
  const least = sorted[0];
  if (Number.isNaN(least)) return { floor: -Infinity, kept: 1 };
  const wanted = Math.max(1, Math.round(share * sorted.length));
  let floor = sorted[sorted.length - wanted];
  if (floor === least) floor = sorted[upper(sorted, least)] ?? Infinity;
  return { floor, kept: (sorted.length - lower(sorted, floor)) / sorted.length };
}

/** How many of the sorted values are smaller. */
function lower(sorted, value) {
  return search(sorted, (entry) => entry < value);
}

/** How many of the sorted values are smaller or equal. */
function upper(sorted, value) {
  return search(sorted, (entry) => entry <= value);
}

function search(sorted, before) {
  let from = 0, to = sorted.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    if (before(sorted[middle])) from = middle + 1;
    else to = middle;
  }
  return from;
}

/** A number as a reader wants it: three digits, and never -0. */
function short(value) {
  if (!Number.isFinite(value)) return "n/a";
  if (value === 0) return "0";
  const size = Math.abs(value);
  return digits(value, size).replaceAll("-", "\u2212");
}

function digits(value, size) {
  if (size < 0.001 || size >= 1e5) return value.toExponential(1);
  if (size < 0.1) return value.toPrecision(2);
  return value.toFixed(Math.max(0, 2 - Math.max(0, Math.floor(Math.log10(size)))));
}

// From values to pixels: one renderer for every map, and the bar that says what its colours mean.

/** A photo as it is drawn on: its size and its grey values. */
async function loadedPicture({ url, width, height }) {
  const image = new Image();
  image.src = url;
  await image.decode();
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const grey = new Float32Array(width * height);
  for (let at = 0; at < grey.length; at++) {
    grey[at] = 0.299 * data[4 * at] + 0.587 * data[4 * at + 1] + 0.114 * data[4 * at + 2];
  }
  return { url, width, height, grey };
}

/**
 * Values coloured over the grey of a picture; grey beneath, so that every colour that is seen is the map's.
 * `look`: `table` of 256 colours from `low` to `high`, and `opacity`. Values under `floor` have no colour; where the
 * look is `signed`, those whose size is. What is not finite is mid-grey.
 */
function paint(canvas, { width, height, grey }, values, { table, low, high, opacity, signed }, floor = -Infinity) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const steps = 256 / (high - low);
  const bottom = signed ? -floor : -Infinity;
  const tints = Float64Array.from([...table, 127.5, 127.5, 127.5], (shade) => opacity * shade);
  const missing = table.length;
  const out = image.data.fill(255);
  for (let at = 0, to = 0; at < grey.length; at++, to += 4) {
    const value = values[at];
    if (value < floor && value > bottom) {
      out[to] = out[to + 1] = out[to + 2] = grey[at];
      continue;
    }
    const cell = Math.floor((value - low) * steps);
    const from = Number.isNaN(value) ? missing : 3 * (cell < 0 ? 0 : cell > 255 ? 255 : cell);
    const ground = (1 - opacity) * grey[at];
    out[to] = tints[from] + ground;
    out[to + 1] = tints[from + 1] + ground;
    out[to + 2] = tints[from + 2] + ground;
  }
  context.putImageData(image, 0, 0);
}

/** A picture without a map. */
function paintPlain(canvas, picture) {
  const nothing = new Float64Array(picture.grey.length);
  paint(canvas, picture, nothing, { table: [0, 0, 0], low: 0, high: 1, opacity: 0 }, 1);
}

/** The colours over mid-grey, as they look on the maps, with numbers beneath; zero is marked. */
function paintBar(bar, look, ticks, unit = "") {
  const canvas = bar.querySelector("canvas");
  const ground = { width: 256, height: 1, grey: new Float32Array(256).fill(127.5) };
  const values = Float64Array.from({ length: 256 }, (_, at) => look.low + ((at + 0.5) / 256) * (look.high - look.low));
  paint(canvas, ground, values, look);
  bar.querySelector(".ticks").replaceChildren(...ticks.map((value) => tick(value, look)));
  if (unit) bar.querySelector("figcaption").textContent = unit;
  canvas.setAttribute("aria-label", `Colours from ${short(look.low)} to ${short(look.high)}. ${unit}`);
}

function tick(value, { low, high }) {
  const mark = document.createElement("span");
  mark.textContent = short(value);
  mark.classList.toggle("zero", value === 0 && low < 0);
  mark.style.setProperty("--at", (value - low) / (high - low));
  return mark;
}

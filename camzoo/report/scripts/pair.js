// Two maps, large: side by side, blinking at one place, and their difference.

const dialog = find("#pair");
const pair = { row: 0, a: 0, b: 0, front: "a", timer: 0, values: {} };
const panelCanvas = (name) => find(`#panel-${name} canvas`);

function openPair(row, a, b) {
  choosePair({ row, a, b });
  dialog.showModal();
}

function choosePair(chosen) {
  Object.assign(pair, chosen);
  find("#pair-row").value = pair.row;
  find("#pair-a").value = pair.a;
  find("#pair-b").value = pair.b;
  const kind = view.scale === "normalised" ? "normal" : "raw";
  const { row, a, b } = pair;
  pair.values = {
    a: maps[row][a] && enlarged(row, a, kind),
    b: maps[row][b] && enlarged(row, b, kind),
    difference: maps[row][a] && maps[row][b] && apart(row, b, a),
  };
  drawPair();
}

function drawPair() {
  const { row, values, front } = pair;
  drawPanel("a", values.a, pairLook(pair.a), carried.names[pair.a]);
  drawPanel("b", values.b, pairLook(pair.b), carried.names[pair.b]);
  drawPanel("blink", values[front], pairLook(pair[front]), `${front.toUpperCase()}: ${carried.names[pair[front]]}`);
  const most = (values.difference && magnitude(values.difference)) || 1;
  const look = divergingLook(most);
  drawPanel("difference", values.difference, look, "both scaled to 0..1");
  paintBar(find("#panel-difference .bar"), look, [-most, 0, most]);
  sayMeasures(values.difference, row);
}

function pairLook(column) {
  return mapsLook(maps[pair.row][column]);
}

function drawPanel(name, values, look, who) {
  const canvas = panelCanvas(name);
  find(`#panel-${name} .who`).textContent = who;
  canvas.setAttribute("aria-label", `${who} on ${carried.rows[pair.row].name}`);
  if (!values) return paintPlain(canvas, pictureOf(pair.row));
  const floor = view.kept < 1 ? threshold(ranked(values, look), view.kept).floor : -Infinity;
  return paint(canvas, pictureOf(pair.row), values, look, floor);
}

/** How alike the two are, in numbers. */
function sayMeasures(difference, row) {
  const likeness = carried.agreement.measures.map((measure) => {
    const value = carried.agreement.rows[row][measure][pair.a][pair.b];
    return [measure, value === null ? "undefined" : value.toFixed(3)];
  });
  const mean = difference && difference.reduce((sum, value) => sum + Math.abs(value), 0) / difference.length;
  const entries = [
    ...likeness,
    ["largest difference", difference ? short(magnitude(difference)) : "n/a"],
    ["mean |difference|", difference ? short(mean) : "n/a"],
  ];
  find("#pair-measures").replaceChildren(...entries.map(([name, value]) => definition(name, value)));
}

function definition(name, value) {
  const entry = document.createElement("div");
  entry.append(document.createElement("dt"), document.createElement("dd"));
  entry.children[0].textContent = name;
  entry.children[1].textContent = value;
  return entry;
}

// --- Blinking ------------------------------------------------------------------------------------------------------

function flip() {
  pair.front = pair.front === "a" ? "b" : "a";
  const who = `${pair.front.toUpperCase()}: ${carried.names[pair[pair.front]]}`;
  drawPanel("blink", pair.values[pair.front], pairLook(pair[pair.front]), who);
}

/** Starts or stops; never faster than 2.5 times a second, since quicker flashes can harm. */
function blink(on) {
  clearInterval(pair.timer);
  pair.timer = on ? setInterval(flip, 1000 / Number(find("#pace").value)) : 0;
  find("#blink").setAttribute("aria-pressed", String(on));
}

function probePair(at) {
  const here = at && centred(pictureOf(pair.row), at);
  find("#panels").classList.toggle("probing", Boolean(here));
  if (!here) return;
  find("#panels").style.setProperty("--x", here.x);
  find("#panels").style.setProperty("--y", here.y);
  const { width, height } = pictureOf(pair.row);
  const pixel = Math.floor(here.y * height) * width + Math.floor(here.x * width);
  const { a, b, difference } = pair.values;
  const said = { a, b, blink: pair.values[pair.front], difference };
  for (const [name, values] of Object.entries(said)) {
    find(`#panel-${name} .value`).textContent = values ? short(values[pixel]) : "n/a";
  }
}

function pairKey(event) {
  if (event.target.matches("select, input") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key.toLowerCase() === "b") blink(!pair.timer);
  else if (event.key === " " && !event.target.matches("button:not(#flip)")) flip();
  else return;
  event.preventDefault();
}

function wirePair() {
  for (const name of ["row", "a", "b"]) {
    find(`#pair-${name}`).addEventListener("change", (event) => choosePair({ [name]: Number(event.target.value) }));
  }
  find("#swap").addEventListener("click", () => choosePair({ a: pair.b, b: pair.a }));
  find("#close").addEventListener("click", () => dialog.close());
  find("#blink").addEventListener("click", () => blink(!pair.timer));
  find("#flip").addEventListener("click", flip);
  find("#pace").addEventListener("input", () => {
    sayPace();
    if (pair.timer) blink(true);
  });
  dialog.addEventListener("close", () => blink(false));
  dialog.addEventListener("keydown", pairKey);
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  for (const canvas of all("#panels .view canvas")) {
    canvas.addEventListener("pointermove", (event) => probePair(pointIn(event, canvas)));
    canvas.addEventListener("pointerleave", () => probePair(null));
  }
  sayPace();
}

function sayPace() {
  find("#pace-said").textContent = `${find("#pace").value} / s`;
}

// The leaderboard: one metric in full at a time, rows in the order that is asked for, and a closer look at an image.

const panels = all(".panel"), chosen = find("#metric"), overview = find("#overview tbody");
let current = 0;

// --- The metric that is shown in full ------------------------------------------------------------------------------

function choose(number) {
  current = (number + panels.length) % panels.length;
  chosen.value = current;
  panels.forEach((panel, at) => (panel.hidden = at !== current));
  for (const button of all("#overview .sort")) {
    button.classList.toggle("chosen", Number(button.dataset.panel ?? -1) === current);
  }
  const jumps = all("[data-jump]", panels[current]).map((section) => {
    const link = document.createElement("a");
    section.id ||= `${panels[current].id}-${section.dataset.jump.toLowerCase().replaceAll(" ", "-")}-part`;
    link.href = `#${section.id}`;
    link.textContent = section.dataset.jump;
    return link;
  });
  find(".jumps").replaceChildren(...jumps);
  label(panels[current]);
}

/** The same by the reader's wish. */
function chooseMetric(number) {
  choose(number);
  announce(`Metric: ${panels[current].dataset.name}`);
}

// --- The table of all metrics --------------------------------------------------------------------------------------

/** Best first; methods without a value last; in the first column the order in which they were asked for. */
function sortBy(button) {
  const column = Number(button.dataset.column), rows = all("tr", overview);
  const key = (row) => {
    if (column === 0) return -Number(row.dataset.order);
    const { sorts } = row.children[column].dataset;
    return sorts === "" ? -Infinity : Number(sorts);
  };
  rows.sort((a, b) => key(b) - key(a) || a.dataset.order - b.dataset.order);
  overview.append(...rows);
  for (const head of all("#overview thead th")) head.ariaSort = "none";
  button.closest("th").ariaSort = "descending";
  announce(`Sorted by ${button.textContent.trim()}`);
}

// --- Names beside the dots -----------------------------------------------------------------------------------------

const HIGH = 15, WIDE = 10; // of a line of text, and how far it stands from its dot, in pixels

/** Names move up or down until none lies on another, and to the left where there is no room on the right. */
function label(panel) {
  const plot = find(".scatter svg", panel);
  if (!plot || !plot.clientWidth) return;
  const { width, height } = plot.getBoundingClientRect();
  const names = all(".point", plot).map((point) => {
    const text = find("text", point), dot = find(".dot", point);
    const x = (parseFloat(dot.getAttribute("cx")) / 100) * width, y = (parseFloat(dot.getAttribute("cy")) / 100) * height;
    const wide = text.getComputedTextLength(), left = x + WIDE + wide > width;
    return { point, text, x, y, from: left ? x - WIDE - wide : x + WIDE, wide, left, at: y };
  });
  const placed = names.map(({ x, y }) => ({ from: x - 6, wide: 12, at: y, dot: true }));
  for (const name of names.sort((a, b) => a.y - b.y)) {
    const free = (at) =>
      at > HIGH / 2 && at < height - HIGH / 2 &&
      placed.every((other) => other.from > name.from + name.wide || other.from + other.wide < name.from ||
        Math.abs(other.at - at) >= (other.dot ? 11 : HIGH));
    const tries = Array.from({ length: 120 }, (_, step) => name.y + Math.ceil(step / 2) * 3 * (step % 2 ? 1 : -1));
    name.at = tries.find(free) ?? name.y;
    placed.push(name);
    const { text, at, left, from, wide } = name, lead = find(".lead", name.point);
    text.setAttribute("y", at);
    text.setAttribute("dx", left ? -WIDE : WIDE);
    text.setAttribute("text-anchor", left ? "end" : "start");
    lead.setAttribute("x2", Math.abs(at - name.y) > 6 ? (left ? from + wide + 2 : from - 2) : name.x);
    lead.setAttribute("y2", Math.abs(at - name.y) > 6 ? at : name.y);
  }
}

function wirePoints() {
  for (const point of all(".point")) {
    const say = () => (find(".readout", point.closest("section")).textContent = point.ariaLabel);
    for (const kind of ["pointerenter", "focus", "click"]) point.addEventListener(kind, say);
  }
}

// --- One image -----------------------------------------------------------------------------------------------------

function open(number) {
  const { name, said, url, command, values } = carried.images[number], dialog = find("#image");
  const metric = panels[current].dataset.name;
  find("#image-title").textContent = name;
  find("#image-said").textContent = said;
  find("#image-metric").textContent = metric;
  const picture = find(".about img", dialog);
  picture.hidden = !url;
  if (url) picture.src = url;
  find(".values tbody", dialog).replaceChildren(
    ...carried.methods.map((method, at) => row(method, values[metric][at] ?? "undefined")),
  );
  find("#image-command").hidden = !command;
  find("#image-command pre").textContent = command;
  find("#image-command button").textContent = "Copy";
  dialog.showModal();
}

function row(method, value) {
  const line = document.createElement("tr"), head = document.createElement("th"), cell = document.createElement("td");
  head.scope = "row";
  head.textContent = method;
  cell.className = "number";
  cell.textContent = value;
  line.append(head, cell);
  return line;
}

function wireImages() {
  for (const picture of all("img[data-image]")) {
    const { url } = carried.images[picture.dataset.image];
    picture.parentElement.classList.toggle("empty", !url);
    if (url) picture.src = url;
  }
  for (const button of all(".case")) button.addEventListener("click", () => open(Number(button.dataset.image)));
  const dialog = find("#image"), copy = find("#image-command button");
  find(".close", dialog).addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  copy.addEventListener("click", () => copyCommand(copy, find("#image-command pre")));
}

// --- Start ---------------------------------------------------------------------------------------------------------

wireTheme();
wireImages();
wirePoints();
chosen.addEventListener("change", () => chooseMetric(Number(chosen.value)));
find("#before").addEventListener("click", () => chooseMetric(current - 1));
find("#after").addEventListener("click", () => chooseMetric(current + 1));
for (const button of all("#overview .sort")) {
  button.addEventListener("click", () => {
    if (button.dataset.panel) choose(Number(button.dataset.panel));
    sortBy(button);
  });
}
for (const button of all(".unfold")) {
  button.addEventListener("click", () => {
    find(".folded", button.parentElement).hidden = false;
    button.ariaExpanded = "true";
    button.hidden = true;
  });
}
find("#copy")?.addEventListener("click", (event) => copyCommand(event.target, find("#command")));
choose(Number(chosen.value));
new ResizeObserver(() => label(panels[current])).observe(document.body);
document.documentElement.dataset.ready = "yes";

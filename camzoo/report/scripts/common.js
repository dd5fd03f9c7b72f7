// What every page does: what it carries, colour scheme, commands to copy, words for screen readers.

const carried = JSON.parse(document.getElementById("carried").textContent);
const find = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

let announcing = 0;

/** Said by screen readers, once the user has come to rest. */
function announce(text) {
  clearTimeout(announcing);
  announcing = setTimeout(() => (find("#live").textContent = text), 150);
}

/** The colour scheme: of the system, unless one is chosen; kept where the browser keeps anything. */
function wireTheme() {
  const apply = (theme) => (document.documentElement.dataset.theme = theme);
  let kept = "auto";
  try {
    kept = localStorage.getItem("camzoo-theme") ?? kept;
  } catch {} // frames without an origin have no storage
  for (const input of all("#theme input")) {
    input.checked = input.value === kept;
    input.addEventListener("change", () => {
      apply(input.value);
      try {
        localStorage.setItem("camzoo-theme", input.value);
      } catch {}
    });
  }
  apply(kept);
}

/** Copies the command; where the browser does not let a page do that, selects it for the reader to copy. */
async function copyCommand(button, command) {
  getSelection().selectAllChildren(command);
  try {
    await navigator.clipboard.writeText(command.textContent);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Selected";
  }
  announce(button.textContent);
}

"""The report in a real browser: what is drawn is what camzoo computes, and everything can be reached and told apart."""

from __future__ import annotations

import base64
import json
import math
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import require
from test_report import EVIL, FINDINGS, demanding

from camzoo import render, report
from camzoo.types import Stage

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
NAMES = [str(computation) for computation in demanding().computations]
GRADCAM, TWICE, LAYERCAM, OCCLUSION, ZERO, HOLE, NOT_OFFERED = range(7)


class Browser:
    """Chromium with one page in it, and a few words for what a reader does."""

    def __init__(self, driver, folder: Path) -> None:
        self.driver, self.folder = driver, folder
        self.run = driver.execute_script

    def open(self, page: str, width: int = 1400, height: int = 900, scheme: str = "light") -> None:
        path = self.folder / "report.html"
        path.write_text(page, encoding="utf-8")
        self.resize(width, height)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        self.driver.get(path.as_uri())
        self.wait("return document.documentElement.dataset.ready")
        self.settle()

    def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def wait(self, script: str, seconds: float = 20):
        """What a script gives, once it gives something."""
        end = time.monotonic() + seconds
        while not (found := self.run(script)):
            assert time.monotonic() < end, f"in vain: {script}; console: {self.driver.get_log('browser')}"
            time.sleep(0.02)
        return found

    def settle(self) -> None:
        """Waits for what is to be drawn: a frame for the drawing, one for what it leads to."""
        self.driver.execute_async_script(
            "const done = arguments[0]; const next = requestAnimationFrame;"
            "next(() => next(() => setTimeout(() => next(() => next(done)), 30)))"
        )

    def set(self, name: str, value: object) -> None:
        self.run(
            "const it = document.getElementById(arguments[0]); it.value = arguments[1];"
            "for (const kind of ['input', 'change']) it.dispatchEvent(new Event(kind, {bubbles: true}))",
            name,
            str(value),
        )
        self.settle()

    def show(self, what: str) -> None:
        self.run(f"document.querySelector('#show input[value={what}]').click()")
        self.settle()

    def pixels(self, selector: str) -> np.ndarray:
        """What is on a canvas, `(H, W, 3)`."""
        found = self.run(
            "const it = document.querySelector(arguments[0]); const {width, height} = it;"
            "const copy = new OffscreenCanvas(width, height).getContext('2d', {willReadFrequently: true});"
            "copy.drawImage(it, 0, 0); const {data} = copy.getImageData(0, 0, width, height);"
            "return [width, height, btoa(Array.from(data, (byte) => String.fromCharCode(byte)).join(''))]",
            selector,
        )
        width, height, text = found
        return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)[..., :3].astype(float)

    def map(self, row: int, column: int) -> np.ndarray:
        return self.pixels(tile(row, column) + " canvas")

    def text(self, selector: str) -> str:
        return self.run("return document.querySelector(arguments[0]).innerText", selector).strip()

    def press(self, *keys: str, shift: bool = False) -> None:
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.keys import Keys

        chain = ActionChains(self.driver, duration=0)
        if shift:
            chain.key_down(Keys.SHIFT)
        chain.send_keys(*(getattr(Keys, key, key) for key in keys))
        if shift:
            chain.key_up(Keys.SHIFT)
        chain.perform()
        self.settle()

    def point(self, selector: str, x: float, y: float, click: bool = False) -> None:
        """Moves the pointer to a place on an element, in shares of its size, and presses there if asked to."""
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.by import By

        element = self.driver.find_element(By.CSS_SELECTOR, selector)
        box = element.rect
        across, down = round((x - 0.5) * box["width"]), round((y - 0.5) * box["height"])
        chain = ActionChains(self.driver, duration=0).move_to_element_with_offset(element, across, down)
        (chain.click() if click else chain).perform()
        self.settle()

    def focused(self) -> list[int]:
        """Row and column of the tile that has the focus."""
        return self.run(
            "const it = document.activeElement; const line = it.closest('.line');"
            "return line ? [Number(line.dataset.row), Number(it.dataset.column)] : null"
        )

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]


def tile(row: int, column: int) -> str:
    return f'.line[data-row="{row}"] .tile[data-column="{column}"]'


def chromium() -> tuple[str, str]:
    """Browser and driver; without them a skip, or with CAMZOO_REQUIRE_ALL a failure."""
    found = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if all(found):
        return found[0], found[1]
    if os.environ.get("CAMZOO_REQUIRE_ALL"):
        pytest.fail("chromium and chromedriver are not installed, and CAMZOO_REQUIRE_ALL is set")
    pytest.skip("chromium and chromedriver are not installed")


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    require("selenium")
    from selenium import webdriver

    binary, service = chromium()
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(service))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page() -> str:
    return report.html(demanding(), FINDINGS)


@pytest.fixture
def browser(driver, page, tmp_path) -> Browser:
    """A browser that has just opened the report; nothing may have gone wrong in it."""
    browser = Browser(driver, tmp_path)
    browser.errors()
    browser.open(page)
    yield browser
    assert browser.errors() == []


def values(row: int, column: int, size: tuple[int, int]) -> np.ndarray:
    """A map as camzoo's renderer enlarges it, before it is coloured."""
    return render.at_size(demanding().of(row)[column].heatmap, 0, size)


def coloured(shown: np.ndarray, colours: str, low: float, high: float, grey: np.ndarray, opacity: float) -> np.ndarray:
    painted = render.colour((shown - low) / (high - low), colours) * 255
    return opacity * painted + (1 - opacity) * grey


def grey_of(browser: Browser, row: int) -> np.ndarray:
    """The picture as it lies under the maps."""
    browser.set("opacity", 0)
    grey = browser.map(row, GRADCAM)
    browser.set("opacity", 60)
    return grey


# --- What is drawn -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", [GRADCAM, LAYERCAM, OCCLUSION, ZERO])
def test_a_map_is_drawn_as_camzoo_draws_it(browser, column) -> None:
    grey = grey_of(browser, 0)
    picture = demanding().pictures[0].astype(float) @ (0.299, 0.587, 0.114)
    times = grey.shape[0] // picture.shape[0]
    assert np.abs(grey[..., 0] - picture.repeat(times, 0).repeat(times, 1)).max() < 5  # a photo may be a JPEG
    shown = values(0, column, grey.shape[:2])
    away = np.abs(browser.map(0, column) - coloured(shown, render.COLOURS, 0, 1, grey, 0.6))
    # The map travels in 65,535 steps: where a value lies at the edge of a colour, it may be the next one.
    assert np.mean(away.max(-1) > 1) < 2e-3
    assert away.max() < 6


def test_what_is_not_finite_is_grey(browser) -> None:
    grey = grey_of(browser, 0)
    assert np.abs(browser.map(0, HOLE) - (0.6 * 127.5 + 0.4 * grey)).max() <= 1


def test_every_slider_and_choice_moves_pixels(browser) -> None:
    seen = [browser.map(0, LAYERCAM)]

    def changed() -> bool:
        seen.append(browser.map(0, LAYERCAM))
        return all(np.abs(seen[-1] - before).max() > 3 for before in seen[:-1])

    for name, value in {"opacity": 95, "kept": 30, "colours": "jet", "scale": "own"}.items():
        browser.set(name, value)
        assert changed(), name
    browser.set("scale", "shared")
    assert changed()
    browser.show("difference")
    assert changed()
    browser.set("range", "0.1")
    assert changed()
    browser.set("reference", OCCLUSION)
    assert changed()
    before = browser.run(f"return document.querySelector('{tile(0, 0)}').offsetWidth")
    browser.set("size", 300)
    assert browser.run(f"return document.querySelector('{tile(0, 0)}').offsetWidth") > before + 50


def test_area_kept_keeps_the_highest_share(browser) -> None:
    grey = grey_of(browser, 0)
    browser.set("kept", 20)
    kept = np.abs(browser.map(0, LAYERCAM) - grey).max(-1) > 2
    assert kept.mean() == pytest.approx(0.2, abs=0.01)
    shown = values(0, LAYERCAM, grey.shape[:2])
    assert shown[kept].min() >= np.quantile(shown, 0.8) - 0.01
    assert "20 % kept" in browser.text(tile(0, LAYERCAM)).replace("\u202f", " ")
    browser.set("kept", 99)  # most of this map is at its least value, and that is no evidence
    shown = values(0, GRADCAM, grey.shape[:2])
    kept = np.abs(browser.map(0, GRADCAM) - grey).max(-1) > 2
    assert kept.mean() == pytest.approx((shown > 0).mean(), abs=0.02)
    assert np.abs(browser.map(0, ZERO) - grey).max() <= 1


def test_the_raw_scale_is_signed_and_tells_its_unit(browser) -> None:
    from camzoo import grids

    grey = grey_of(browser, 0)
    browser.set("scale", "own")
    raw = np.asarray(demanding().of(0)[GRADCAM].heatmap.values, dtype=float)
    most = np.abs(raw).max()
    expected = coloured(grids.resize(raw, grey.shape[:2])[0], "RdBu_r", -most, most, grey, 0.6)
    away = np.abs(browser.map(0, GRADCAM) - expected).max(-1)
    assert np.mean(away > 1) < 2e-3
    assert f"± {most:.2f}" in browser.text(tile(0, GRADCAM))
    np.testing.assert_array_equal(browser.map(0, GRADCAM), browser.map(0, TWICE))
    browser.set("scale", "shared")
    assert np.abs(browser.map(0, GRADCAM) - browser.map(0, TWICE)).max() > 20


def test_the_difference_is_of_normalised_maps_with_zero_in_the_middle(browser) -> None:
    grey = grey_of(browser, 0)
    browser.set("reference", LAYERCAM)
    browser.show("difference")
    size = grey.shape[:2]
    away = values(0, OCCLUSION, size) - values(0, LAYERCAM, size)
    drawn = np.abs(browser.map(0, OCCLUSION) - coloured(away, "RdBu_r", -1, 1, grey, 0.6)).max(-1)
    assert np.mean(drawn > 1) < 5e-3
    browser.set("kept", 20)
    kept = np.abs(browser.map(0, OCCLUSION) - grey).max(-1) > 2
    assert kept.mean() == pytest.approx(0.2, abs=0.01)
    assert np.abs(away[kept]).min() >= np.quantile(np.abs(away), 0.8) - 0.01
    assert away[kept].min() < 0 < away[kept].max()
    browser.set("kept", 100)
    neutral = render.colour(np.full((1, 1), 0.5), "RdBu_r")[0, 0] * 255
    assert np.abs(browser.map(0, LAYERCAM) - (0.6 * neutral + 0.4 * grey)).max() <= 1
    np.testing.assert_array_equal(browser.map(0, GRADCAM), browser.map(0, TWICE))
    assert browser.text(".controls .ticks .zero") == "0"
    assert "layercam" in browser.text("#bar-unit")
    assert browser.run("return document.getElementById('scale').checkVisibility()") is False


def test_pointing_at_one_map_reads_all_maps_of_its_photo(browser) -> None:
    x, y = 0.3, 0.7
    browser.point(tile(0, GRADCAM) + " canvas", x, y)
    height, width = browser.map(0, GRADCAM).shape[:2]
    at = browser.run(
        "const it = getComputedStyle(document.querySelector('.line.probing'));"
        "return [it.getPropertyValue('--x'), it.getPropertyValue('--y')].map(Number)"
    )
    assert at == pytest.approx([x, y], abs=0.02)
    across, down = int(at[0] * width), int(at[1] * height)
    for row in (0, 1):  # the same photo with another target
        for column in (GRADCAM, TWICE, LAYERCAM, OCCLUSION):
            expected = values(row, column, (height, width))[down, across]
            assert float(browser.text(tile(row, column) + " .value")) == pytest.approx(expected, abs=0.006)
        assert browser.text(tile(row, HOLE) + " .value") == "n/a"
    assert browser.run("return document.querySelectorAll('.line.probing').length") == 2
    assert EVIL in browser.text("#readout")


# --- Two maps ------------------------------------------------------------------------------------------------------


def test_pressing_a_map_shows_it_beside_the_reference(browser) -> None:
    drawn = browser.map(1, GRADCAM), browser.map(1, LAYERCAM)
    browser.point(tile(1, LAYERCAM) + " canvas", 0.5, 0.5, click=True)
    for panel, expected in zip(("a", "b"), drawn, strict=True):
        np.testing.assert_array_equal(browser.pixels(f"#panel-{panel} canvas"), expected)
    table = demanding().agreement(1)
    pearson = table.values["pearson"][table.names.index("gradcam"), table.names.index(NAMES[LAYERCAM])]
    assert f"{pearson:.3f}" in browser.text("#pair-measures").replace("\u2212", "-")
    size = drawn[0].shape[:2]
    largest = np.abs(values(1, LAYERCAM, size) - values(1, GRADCAM, size)).max()
    assert f"{largest:.2f}" in browser.text("#pair-measures")
    browser.press("ESCAPE")
    assert browser.run("return document.getElementById('pair').open") is False
    assert browser.focused() == [1, LAYERCAM]


def test_two_maps_blink_at_one_place(browser) -> None:
    browser.point(tile(0, LAYERCAM) + " canvas", 0.5, 0.5, click=True)
    one, other = browser.pixels("#panel-a canvas"), browser.pixels("#panel-b canvas")
    np.testing.assert_array_equal(browser.pixels("#panel-blink canvas"), one)
    browser.press("SPACE")
    np.testing.assert_array_equal(browser.pixels("#panel-blink canvas"), other)
    assert browser.text("#panel-blink .who") == f"B: {NAMES[LAYERCAM]}"
    browser.set("pace", 2.5)
    browser.press("b")
    who = "return document.querySelector('#panel-blink .who').textContent[0] === '{}'"
    for letter in "AB":
        browser.wait(who.format(letter))
    browser.press("b")
    stands = browser.text("#panel-blink .who")
    time.sleep(0.6)
    assert browser.text("#panel-blink .who") == stands
    browser.press("b", "ESCAPE")  # closing stops it too
    assert browser.run("return document.getElementById('blink').getAttribute('aria-pressed')") == "false"


def test_an_agreement_field_shows_its_two_maps(browser) -> None:
    field = f'#matrix [aria-label^="{NAMES[TWICE]} and {NAMES[OCCLUSION]}"]'
    browser.set("agreement-row", 2)
    table = demanding().agreement(2)
    expected = table.values["pearson"][table.names.index(NAMES[TWICE]), table.names.index(NAMES[OCCLUSION])]
    assert browser.text(field).replace("\u2212", "-") == f"{expected:.2f}"
    browser.point(field, 0.5, 0.5, click=True)
    chosen = browser.run("return ['row', 'a', 'b'].map((name) => document.getElementById(`pair-${name}`).value)")
    assert chosen == ["2", str(TWICE), str(OCCLUSION)]
    np.testing.assert_array_equal(browser.pixels("#panel-b canvas"), browser.map(2, OCCLUSION))
    browser.press("ESCAPE")
    browser.set("measure", "top-10% overlap")
    assert float(browser.text(field)) >= 0
    assert "cam is all zero: nothing speaks" in browser.text("#undefined")
    assert browser.run("return document.querySelectorAll('#matrix [role=rowheader]').length") == 6


# --- Without a pointer, and without seeing -------------------------------------------------------------------------


def test_everything_goes_by_keyboard(browser) -> None:
    for _ in range(40):
        browser.press("TAB")
        if browser.focused():
            break
    assert browser.focused() == [0, 0]
    outline = browser.run("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    browser.press("ARROW_RIGHT", "ARROW_RIGHT", "ARROW_DOWN")
    assert browser.focused() == [1, 2]
    browser.press("END")
    assert browser.focused() == [1, len(NAMES) - 1]
    browser.press("HOME", "ARROW_RIGHT", "ARROW_UP")
    assert browser.focused() == [0, 1]
    browser.press("ARROW_RIGHT", shift=True)
    assert browser.focused() == [0, 1]
    size = browser.map(0, TWICE).shape[:2]
    x, y = (math.floor(share * count) for share, count in ((0.5 + 1 / 28, size[1]), (0.5, size[0])))
    expected = values(0, TWICE, size)[y, x]
    assert float(browser.text(tile(0, TWICE) + " .value")) == pytest.approx(expected, abs=0.006)
    said = browser.wait("return document.getElementById('live').textContent")
    assert said.startswith(f"{EVIL}.png, 53")
    assert f"{NAMES[TWICE]} " in said
    browser.press("r")
    assert browser.run("return document.getElementById('reference').value") == str(TWICE)
    browser.press("d")
    assert browser.run("return document.querySelector('#show input:checked').value") == "difference"
    browser.press("d", "ENTER")
    assert browser.run("return document.getElementById('pair').open") is True
    assert browser.run("return document.activeElement.id") == "flip"
    browser.press("ESCAPE")
    assert browser.focused() == [0, 1]


def test_the_matrix_goes_by_keyboard(browser) -> None:
    browser.run("document.querySelector('#matrix [tabindex=\"0\"]').focus()")
    browser.press("ARROW_RIGHT", "ARROW_DOWN", "ARROW_DOWN")
    label = browser.run("return document.activeElement.getAttribute('aria-label')")
    browser.press("ENTER")
    a, b = browser.run("return ['a', 'b'].map((name) => Number(document.getElementById(`pair-${name}`).value))")
    assert label.startswith(f"{NAMES[a]} and {NAMES[b]}: ")
    assert a != b
    browser.press("ESCAPE")


def test_every_control_and_canvas_has_a_name_and_every_id_is_its_own(browser) -> None:
    nameless = browser.run(
        "return [...document.querySelectorAll('input, select, button')]"
        ".filter((it) => !(it.labels?.length || it.ariaLabel || it.innerText?.trim() || it.title)).map((it) => it.id)"
    )
    assert nameless == []
    canvases = "return [...document.querySelectorAll('canvas')].filter((it) => it.checkVisibility() && !it.ariaLabel)"
    assert browser.run(canvases + ".length") == 0
    ids = browser.run("return [...document.querySelectorAll('[id]')].map((it) => it.id)")
    assert len(ids) == len(set(ids))
    lost = browser.run(
        "return [...document.querySelectorAll('[for], [aria-labelledby], [aria-describedby]')].filter((it) =>"
        "['for', 'aria-labelledby', 'aria-describedby'].some((name) => it.hasAttribute(name)"
        " && !document.getElementById(it.getAttribute(name)))).length"
    )
    assert lost == 0


CONTRAST = """
const light = (colour) => {
  const part = colour.match(/[\\d.]+/g).slice(0, 3).map((byte) => byte / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
};
const ground = light(getComputedStyle(document.body).backgroundColor);
return [".facts dt", ".hint", "h1", ".verdict.good", ".verdict.known", ".verdict.bad", ".warned strong", ".brand"]
  .map((name) => {
    const ink = light(getComputedStyle(document.querySelector(name)).color);
    return [name, (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05)];
  });
"""


def test_text_can_be_read_in_both_schemes(browser, page) -> None:
    ground = (
        "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((sum, it) => sum + Number(it), 0)"
    )
    for scheme, dark in (("light", False), ("dark", True)):
        browser.open(page, scheme=scheme)
        assert (browser.run(ground) < 200) is dark
        for name, contrast in browser.run(CONTRAST):
            assert contrast >= 4.5, (scheme, name)
    browser.run("document.querySelector('#theme input[value=light]').click()")
    assert browser.run(ground) > 600
    browser.run("document.querySelector('#theme input[value=auto]').click()")
    assert browser.run(ground) < 200


# --- Its place in the world ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [400, 2500])
def test_it_fits_every_width(browser, page, width) -> None:
    browser.open(page, width=width)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    outside = browser.run(
        "return [...document.querySelectorAll('.controls *, .masthead *, .tile, .photo')]"
        ".filter((it) => it.checkVisibility() && !it.closest('.unseen') && it.getBoundingClientRect().width > 2)"
        ".map((it) => [it, it.getBoundingClientRect()])"
        ".filter(([, box]) => box.left < -1 || box.right > innerWidth + 1).map(([it]) => it)"
        ".map((it) => it.className || it.id)"
    )
    assert outside == []
    assert browser.run("return document.getElementById('grid').classList.contains('wrapped')") is (width == 400)
    assert browser.run("return document.querySelector('.method').checkVisibility()") is (width == 2500)
    browser.run("document.querySelector('.tile canvas').click()")
    browser.settle()
    box = browser.run(
        "const box = document.getElementById('pair').getBoundingClientRect(); return [box.left, box.right]"
    )
    assert 0 <= box[0] < box[1] <= width
    assert browser.run("const it = document.getElementById('pair'); return it.scrollWidth <= it.clientWidth + 1")


def test_text_from_outside_is_shown_and_never_run(browser) -> None:
    assert browser.text('.line[data-row="0"] .file') == f"{EVIL}.png"
    assert browser.text(tile(0, NOT_OFFERED)).startswith("not offered")
    assert browser.run("return document.scripts.length") == 2
    assert browser.run("return document.querySelector('main b, main script, main cat')") is None


def test_the_policy_stops_a_script_that_got_in(driver, page, tmp_path) -> None:
    browser = Browser(driver, tmp_path)
    injected = '<script>document.title = "run"</script><img src="data:," onerror="document.title = 1">'
    browser.open(page.replace("</main>", f"{injected}</main>"))
    assert "methods compared" in driver.title
    assert any("Content Security Policy" in error for error in browser.errors())


def test_the_data_can_be_taken_away(browser) -> None:
    place = {"behavior": "allow", "downloadPath": str(browser.folder)}
    browser.driver.execute_cdp_cmd("Browser.setDownloadBehavior", place)
    taken = {}
    for button, name in (("data", "camzoo-data.json"), ("agreement", "camzoo-agreement.csv")):
        browser.run(f"document.getElementById('download-{button}').click()")
        path, end = browser.folder / name, time.monotonic() + 20
        while not path.exists() or not path.stat().st_size:
            assert time.monotonic() < end
            time.sleep(0.02)
        taken[name] = path.read_text(encoding="utf-8")
    data, study = json.loads(taken["camzoo-data.json"]), demanding()
    assert data["rows"][0]["name"] == f"{EVIL}.png"
    assert data["provenance"] == study.provenance
    first = next(map_ for map_ in data["maps"] if (map_["row"], map_["method"]) == (1, NAMES[LAYERCAM]))
    assert first["stage"] == Stage.RAW
    np.testing.assert_allclose(first["values"], study.of(1)[LAYERCAM].heatmap.values[0], atol=1e-4)
    lines = taken["camzoo-agreement.csv"].splitlines()
    assert len(lines) == 1 + 3 * len(NAMES) * (len(NAMES) - 1) // 2


def test_the_command_can_be_taken_away(browser) -> None:
    browser.run("document.getElementById('copy').click()")
    browser.wait("return ['Copied', 'Selected'].includes(document.getElementById('copy').textContent)")
    assert browser.run("return String(getSelection())").strip() == f"camzoo compare '{EVIL}.png' --seed 3"


def test_it_works_in_a_frame_of_a_notebook(browser) -> None:
    path = browser.folder / "notebook.html"
    path.write_text(f"<!doctype html><p>before</p>{report.frame(demanding())}", encoding="utf-8")
    browser.driver.get(path.as_uri())
    browser.driver.switch_to.frame(0)
    browser.wait("return document.documentElement?.dataset.ready")
    browser.settle()
    assert browser.map(0, LAYERCAM).std() > 10
    browser.driver.switch_to.default_content()

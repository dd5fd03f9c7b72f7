"""The leaderboard in a real browser: metrics, sorting, names beside dots and a closer look, by pointer and keyboard."""

from __future__ import annotations

import pytest
from test_leaderboard import EVIL, METHODS, place, results  # noqa: F401 (fixtures)
from test_report_browser import Browser, driver  # noqa: F401 (fixtures)

from camzoo import leaderboard

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(results) -> str:  # noqa: F811
    return leaderboard.html(results)


@pytest.fixture
def browser(driver, page, tmp_path):  # noqa: F811
    browser = Browser(driver, tmp_path)
    browser.open(page)
    yield browser
    assert browser.errors() == []


ORDER = "return [...document.querySelectorAll('#overview tbody tr')].map((it) => it.children[0].firstChild.data.trim())"
SHOWN = (
    "return [...document.querySelectorAll('.panel')].filter((it) => it.checkVisibility()).map((it) => it.dataset.name)"
)


def test_one_metric_at_a_time_by_choice_and_by_steps(browser) -> None:
    assert browser.run(SHOWN) == ["energy"]
    browser.set("metric", 1)
    assert browser.run(SHOWN) == ["deletion"]
    browser.run("document.getElementById('after').focus()")
    browser.press("ENTER")
    assert browser.run(SHOWN) == ["entropy"]
    browser.press("ENTER")
    assert browser.run(SHOWN) == ["energy"]
    assert browser.run(
        "return [...document.querySelectorAll('.jumps a')].every((it) => document.querySelector(it.hash))"
    )


def test_the_table_is_sorted_by_any_column_and_back(browser) -> None:
    assert browser.run(ORDER) == list(METHODS)
    by_energy = [METHODS[1], METHODS[0], "center", METHODS[2], "uniform"]
    press = "document.querySelectorAll('#overview .sort')[arguments[0]].click()"
    browser.run(press, 3)  # deletion: less is better, and the order is that of energy
    assert browser.run(ORDER) == by_energy
    assert browser.run(SHOWN) == ["deletion"]
    browser.run(press, 1)
    assert browser.run(ORDER) == ["center", "uniform", METHODS[0], METHODS[2], METHODS[1]]
    assert browser.run("return document.querySelectorAll('#overview [aria-sort=descending]').length") == 1
    browser.run(press, 0)
    assert browser.run(ORDER) == list(METHODS)


@pytest.mark.parametrize("width", [400, 1440])
def test_names_stand_beside_their_dots_and_not_on_each_other(browser, page, width) -> None:
    browser.open(page, width=width)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    boxes = browser.run(
        "return [...document.querySelectorAll('.panel:not([hidden]) .point text')]"
        ".map((it) => it.getBoundingClientRect()).map((it) => [it.left, it.right, it.top + 2, it.bottom - 2])"
    )
    assert len(boxes) == 4
    for at, (left, right, top, bottom) in enumerate(boxes):
        assert right <= width + 1
        for other in boxes[:at]:
            assert right <= other[0] or other[1] <= left or bottom <= other[2] or other[3] <= top


def test_a_dot_tells_its_numbers_to_pointer_and_keyboard(browser) -> None:
    browser.run("document.querySelector('.panel:not([hidden]) .point').focus()")
    assert "257 forward passes, 0.7" in browser.text(".panel:not([hidden]) .readout")
    browser.point(".panel:not([hidden]) .point:nth-of-type(2) .dot", 0.5, 0.5)
    assert "gradcam: 1.00 forward passes, 0." in browser.text(".panel:not([hidden]) .readout")


def test_an_image_opens_with_its_values_and_command(browser) -> None:
    assert browser.run("return document.querySelectorAll('.panel:not([hidden]) .cards .frame.empty').length") == 1
    loaded = "return [...document.querySelectorAll('.panel:not([hidden]) .frame:not(.empty) img')]"
    assert browser.run(loaded + ".every((it) => it.complete && it.naturalWidth > 0)")
    browser.run("document.querySelectorAll('.panel:not([hidden]) .cards .case')[1].focus()")
    browser.press("ENTER")
    assert browser.run("return document.getElementById('image').open") is True
    assert browser.text("#image-command pre").startswith("camzoo compare ")
    assert browser.run("return document.querySelectorAll('#image tbody tr').length") == len(METHODS)
    assert browser.text("#image-metric") == "energy"
    browser.press("ESCAPE")
    assert browser.run("return document.activeElement.matches('.case')")


def test_text_from_outside_is_shown_and_never_run(browser) -> None:
    browser.run("document.querySelector('.panel:not([hidden]) .cards .case').click()")
    assert browser.text("#image-title") == f"deep/{EVIL}.png"
    assert browser.run("return document.scripts.length") == 2
    assert browser.run("return document.querySelector('main script, dialog script')") is None


def test_a_name_for_every_control_and_an_id_of_its_own(browser) -> None:
    nameless = browser.run(
        "return [...document.querySelectorAll('input, select, button')]"
        ".filter((it) => !(it.labels?.length || it.ariaLabel || it.textContent.trim() || it.title)).length"
    )
    assert nameless == 0
    ids = browser.run("return [...document.querySelectorAll('[id]')].map((it) => it.id)")
    assert len(ids) == len(set(ids))
    lost = browser.run(
        "return [...document.querySelectorAll('[aria-labelledby]')]"
        ".filter((it) => !document.getElementById(it.getAttribute('aria-labelledby'))).length"
    )
    assert lost == 0


CONTRAST = """
const light = (colour) => {
  const part = colour.match(/[\\d.]+/g).slice(0, 3).map((byte) => byte / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
};
const ground = light(getComputedStyle(document.body).backgroundColor);
return [".hint", ".between", ".tag", "td.best", ".warned strong", ".nothing", "a[href]", ".tick"].map((name) => {
  const style = getComputedStyle(document.querySelector(name));
  const ink = light(name === ".tick" ? style.fill : style.color);
  return [name, (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05)];
});
"""


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_text_can_be_read_in_both_schemes(browser, page, scheme, dark) -> None:
    browser.open(page, scheme=scheme)
    ground = (
        "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((sum, it) => sum + Number(it), 0)"
    )
    assert (browser.run(ground) < 200) is dark
    for name, contrast in browser.run(CONTRAST):
        assert contrast >= 4.5, (scheme, name)

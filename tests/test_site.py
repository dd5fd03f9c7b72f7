"""The site of docs/ builds without a warning, fetches nothing from elsewhere, and draws every formula."""

from __future__ import annotations

import html
import logging
import re
import sys
from pathlib import Path

import pytest
from conftest import require

from camzoo import methods

pytestmark = pytest.mark.checkout
ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs"))


@pytest.fixture(scope="module")
def formulas():
    require("latex2mathml")
    import formulas

    return formulas


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site as `mkdocs build --strict` makes it; a warning is an error there."""
    for library in ("mkdocs", "material", "mkdocstrings"):
        require(library)
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    before = logging.getLogger("mkdocs").level
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True)
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    logging.getLogger("mkdocs").setLevel(before)
    return folder


def pages(site: Path) -> dict[str, str]:
    return {str(path.relative_to(site)): path.read_text() for path in site.rglob("*.html")}


@pytest.mark.slow
def test_every_page_is_there(site):
    found = pages(site)
    sources = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    wanted = {str(path.with_suffix(".html")).replace("README", "index") for path in sources}
    assert wanted <= set(found)
    assert {"index.html", "guide/index.html", "findings/index.html", "conformance.html", "performance.html"} <= wanted


FETCHED = re.compile(
    r'<(?:script|img|iframe|source)[^>]*\ssrc="([^"]*)"|<link(?![^>]*rel="canonical")[^>]*href="([^"]*)"'
)


def fetched(page: str) -> list[str]:
    """The addresses that a browser fetches for a page by itself."""
    return [one or other for one, other in FETCHED.findall(page)]


def elsewhere(addresses: list[str]) -> list[str]:
    return [each for each in addresses if re.match(r"(https?:)?//", each)]


@pytest.mark.slow
def test_nothing_is_fetched_from_elsewhere(site):
    for name, text in pages(site).items():
        assert fetched(text), name
        assert elsewhere(fetched(text)) == [], name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", sheet.read_text()), sheet.name


@pytest.mark.parametrize(
    "page",
    [
        '<script src="https://unpkg.com/shim"></script>',
        '<script defer src="//cdn.example/x.js">',
        '<link href="https://fonts.example/css" rel="stylesheet">',
        '<link rel="preconnect" href="https://fonts.example" crossorigin>',
        '<img alt="" src="http://example.org/badge.svg">',
    ],
)
def test_what_is_fetched_from_elsewhere_is_found(page):
    assert len(elsewhere(fetched(page))) == 1


@pytest.mark.slow
def test_every_method_is_there_with_its_formulas_drawn(site):
    page = (site / "reference" / "methods.html").read_text()
    for method in methods.TABLE:
        assert f'id="{method.function.__module__}.{method.function.__name__}"' in page, method.name
    assert page.count("<math ") == len([each for method in methods.TABLE for each in written(method)])
    assert not re.search(r"<code>[^<]*\s=\s[^<]*</code>", page)


@pytest.mark.slow
def test_no_formula_in_tex_is_left(site):
    for name, text in pages(site).items():
        assert 'class="arithmatex"' not in text, name
    assert (site / "guide" / "09-from-cam-to-guided-grad-cam.html").read_text().count('display="block"') == 2


def written(method: methods.Method) -> list[str]:
    """The formulas in a method's docstring."""
    return re.findall(r"`([^`]*\s(?:=|~)\s[^`]*)`", method.function.__doc__ or "")


def drawn(formulas, text: str) -> str:
    """What is read of a formula, from left to right, spaces left out."""
    return re.sub(r"\s| ", "", html.unescape(re.sub(r"<[^>]*>", "", formulas.mathml(formulas.tex(text)))))


@pytest.mark.parametrize(
    ("text", "tex"),
    [
        ("alpha_k = mean_ij G_kij", r"\alpha_{k}=\operatorname{mean}_{ij}\,{G}_{kij}"),
        ("w = softmax_k S(M_k * x)", r"{w}=\operatorname{softmax}_{k}\,{S}({M}_{k}\cdot {x})"),
        ("X_ik^2", r"{X}_{ik}^{2}"),
        ("sum_{t=1..T} s_t", r"\sum_{{t}=1\ldots {T}}\,{s}_{t}"),
        ("(D_a L)^2", r"({D}_{a}\,{L})^{2}"),
        ("(G - (H A) / 2)_kij", r"({G}-({H}\,{A})/2)_{kij}"),
        ("[A_kij >= mu_k + 2 sigma_k]", r"[{A}_{kij}\ge \mu_{k}+2\,\sigma_{k}]"),
        ("g_in = relu(g_out)", r"{g}_{\mathrm{in}}=\operatorname{relu}({g}_{\mathrm{out}})"),
        ("G = dS/dA", r"{G}={dS}/{dA}"),
    ],
)
def test_formulas_of_docstrings_in_tex(formulas, text, tex):
    assert formulas.tex(text) == tex


def test_every_sign_of_every_formula_is_drawn(formulas):
    for method in methods.TABLE:
        for text in written(method):
            read = drawn(formulas, text)
            assert "\\" not in read
            for number in re.findall(r"(?<![\w.])\d+", text):
                assert number in read, text


def test_only_formulas_are_drawn(formulas):
    page = '<code>alpha="paper"</code> <code>x = 1</code> <code>a &lt; b = c</code> '
    page += "<pre><span></span><code>y = 2\n</code></pre>"
    found = formulas.of_docstrings(page)
    assert found.count("<math ") == 2
    assert '<code>alpha="paper"</code>' in found
    assert "<code>y = 2" in found


def test_tex_between_dollar_signs_is_drawn(formulas):
    page = '<p><span class="arithmatex">\\(a &lt; b\\)</span></p><div class="arithmatex">\\[\nx^2\n\\]</div>'
    found = formulas.of_tex(page)
    assert found.count('display="inline"') == found.count('display="block"') == 1
    assert "arithmatex" not in found

"""Formulas as MathML, so that a browser draws them without a script: from TeX, and from the plain text of docstrings.

A docstring writes `alpha_k = mean_ij G_kij` and `w = softmax_k S(M_k * x)`: a letter or a known name with a subscript
or a power is a symbol, `*` is the product of elements, any other word is a word.
"""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert

GREEK = {
    **{name: f"\\{name}" for name in ("alpha", "gamma", "mu", "omega", "psi", "sigma", "phi")},
    "lam": "\\lambda",
    "eps": "\\varepsilon",
}
OPERATORS = frozenset(
    {
        *("argmax", "blur", "ceil", "cos", "denoise", "exp", "flip", "IoU", "kernel", "log", "max", "mean", "median"),
        *("min", "minmax", "rank", "relu", "round", "score", "softmax", "sqrt", "std", "tanh", "uniform", "up", "var"),
    }
)
SIGNS = {
    "*": "\\cdot ",
    "~": "\\sim ",
    "{": "\\{",
    "}": "\\}",
    "%": "\\%",
    "&": "\\cap ",
    ">=": "\\ge ",
    "<=": "\\le ",
    "->": "\\to ",
    "..": "\\ldots ",
    "...": "\\dots ",
}
TOKEN = re.compile(
    r"(?P<name>[A-Za-z]+)(?:_(?P<low>\w+|\{[^}]*\}))?(?P<prime>'*)(?:\^(?P<high>\w+))?"
    r"|(?P<sign>>=|<=|->|\.\.\.|\.\.|[*~{}%&])"
    r"|_(?P<below>\w+)|\^(?P<above>\w+)"  # of what a bracket closes
    r"|(?P<rest>\s+|.)"
)
BETWEEN = re.compile(r"(?<![\w)\]}|'])\s+|\s+(?![\w(\[|])")
"""Space that is no product: beside a sign, which brings its own."""


def mathml(tex: str, block: bool = False) -> str:
    """A formula in TeX as MathML."""
    drawn: str = convert(tex, display="block" if block else "inline")
    return drawn


def tex(text: str) -> str:
    """A formula of a docstring in TeX."""
    return "".join(_piece(match) for match in TOKEN.finditer(BETWEEN.sub("", text)))


def _piece(match: re.Match[str]) -> str:
    if match["sign"]:
        return SIGNS[match["sign"]]
    if match["below"] or match["above"]:
        return f"_{{{match['below']}}}" if match["below"] else f"^{{{match['above']}}}"
    if not match["name"]:
        return "\\," if match["rest"].isspace() else match["rest"]
    low = f"_{{{_inner(match['low'])}}}" if match["low"] else ""
    high = f"^{{{match['high']}}}" if match["high"] else ""
    return _symbol(match["name"], bool(low or high)) + low + match["prime"] + high


def _inner(low: str) -> str:
    """A subscript: `kij`, `hi`, or what stands between braces."""
    if low.startswith("{"):
        return tex(low[1:-1])
    return f"\\mathrm{{{low}}}" if low in OPERATORS or low in ("in", "out", "heads") else low


def _symbol(name: str, dressed: bool) -> str:
    if name in GREEK:
        return GREEK[name]
    if name in ("sum", "prod"):
        return f"\\{name}"
    if name in OPERATORS:
        return f"\\operatorname{{{name}}}"
    if len(name) == 1 or re.fullmatch(r"d[A-Zsxy]", name):
        return f"{{{name}}}"
    return f"\\mathit{{{name}}}" if dressed else f"\\text{{ {name} }}"


CODE = re.compile(r"<pre.*?</pre>|<code>([^<]*\s(?:=|~)\s[^<]*)</code>", re.DOTALL)
ARITHMATEX = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def of_docstrings(page: str) -> str:
    """A page of HTML with the formulas of docstrings drawn: what stands in backticks and has ` = ` in it."""
    return CODE.sub(lambda found: mathml(tex(html.unescape(found[1]))) if found[1] else found[0], page)


def of_tex(page: str) -> str:
    """A page of HTML with what stood between dollar signs drawn."""
    return ARITHMATEX.sub(lambda found: mathml(html.unescape(found[2]), found[1] == "div"), page)

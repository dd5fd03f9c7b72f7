"""Imports point one way: every file of camzoo and its adapters against one table, read from the syntax tree."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import camzoo_adapters
import pytest

import camzoo

CORE = Path(camzoo.__file__).parent
ADAPTERS = Path(camzoo_adapters.__file__).parent

# A module imports from the rows below its own only. A module that stands in no row has to be given one.
ROWS: tuple[frozenset[str], ...] = tuple(
    frozenset(row.split())
    for row in (
        "__init__ __main__",
        "cli testing",
        "leaderboard",
        "report figures charts glance",
        "golden",
        "store",
        "study",
        "evaluation",
        "timing",
        "explaining conformance",
        "specs problems",
        "backends",
        "native",
        "capture attention backprop",
        "asking",
        "layers methods models render",
        "sources",
        "preprocessing",
        "metrics",
        "agreement binding boxes checkpoints chunks degenerate environment guard images lettering noise tail targets "
        "_callable",
        "types",
        "grids",
        "errors oracles",
    )
)

# Upwards on purpose, and inside a function only: a Study draws and saves itself; saving draws the figures.
DEFERRED = {("study", "figures"), ("study", "store"), ("store", "figures"), ("study", "report"), ("store", "report")}

# Where each library may be imported. What is not listed is no dependency.
ANYWHERE = frozenset.union(*ROWS)
HOMES: dict[str, frozenset[str]] = {
    "torch": ANYWHERE - {"methods", "errors", "grids", "oracles"},
    "numpy": ANYWHERE - {"errors", "grids"},  # methods draw their random numbers with it
    "array_api_compat": frozenset({"conformance", "degenerate", "grids", "methods", "noise"}),
    "torchvision": frozenset({"models", "sources", "preprocessing", "conformance"}),
    "timm": frozenset({"sources"}),
    "huggingface_hub": frozenset({"sources"}),
    "safetensors": frozenset({"checkpoints"}),
    "skimage": frozenset({"images"}),
    "pyarrow": frozenset({"evaluation"}),
    "ray": frozenset({"evaluation"}),
    "PIL": frozenset({"evaluation", "golden", "images", "preprocessing", "report", "store"}),
    "jinja2": frozenset({"report"}),
    "matplotlib": frozenset({"charts", "figures", "glance", "leaderboard", "lettering", "render", "report"}),
    "typer": frozenset({"cli"}),
    "rich": frozenset({"cli"}),
    "pytest": frozenset({"testing"}),
}
# Import by a name that is not written there: what the user names in --model, and what a backend says is its package.
ANY_NAME = frozenset({"sources", "backends"})

# The one library of each adapter, by import name.
LIBRARIES = {"pytorch_grad_cam": "pytorch_grad_cam", "captum": "captum", "torchcam": "torchcam"}
FOREIGN = {*LIBRARIES.values(), "camzoo_adapters"}
# Of several files, which know each other.
PACKAGES = {
    *("methods", "oracles", "conformance", "cli", "timing", "charts", "report", "metrics", "evaluation", "leaderboard"),
}
METHODS_MAY_USE = {"methods", "types", "grids", "noise", "errors"}


@dataclass(frozen=True)
class Import:
    """One imported name, `camzoo.study` or `torch.nn`; whether it waits for a call, or is for type checkers only."""

    name: str
    line: int
    deferred: bool = False
    typing_only: bool = False

    @property
    def library(self) -> str:
        return self.name.partition(".")[0]

    @property
    def own(self) -> str:
        """The module of camzoo that is meant: `study` of `camzoo.study.Study`."""
        return self.name.split(".")[1] if "." in self.name else "__init__"


def imports(source: str) -> Iterator[Import]:
    """Every import in a source, those inside functions and those by name as a text included."""
    yield from _walk(ast.parse(source), deferred=False, typing_only=False)


def _walk(node: ast.AST, deferred: bool, typing_only: bool) -> Iterator[Import]:
    for name in _names(node):
        yield Import(name, node.lineno, deferred, typing_only)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        deferred = True
    if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        for child in node.body:
            yield from _walk(child, deferred, typing_only=True)
        for child in node.orelse:
            yield from _walk(child, deferred, typing_only)
        return
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, deferred, typing_only)


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = "." * node.level + (node.module or "")
        return [f"{base}.{alias.name}" for alias in node.names] if base == "camzoo" else [base]
    if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
        given = node.args[0] if node.args else None
        return [given.value if isinstance(given, ast.Constant) else "?"]
    return []


def row(module: str) -> int | None:
    return next((at for at, names in enumerate(ROWS) if module in names), None)


def broken(module: str, source: str) -> list[str]:
    """The rules that a module of the core breaks, a line for each."""
    if row(module) is None:
        return [f"{module} stands in no row of the table"]
    return [f"line {each.line}: {why}" for each in imports(source) if (why := _core_rule(module, each))]


def _core_rule(module: str, each: Import) -> str:
    if each.name.startswith("."):
        return f"{each.name} is not written in full"
    if each.library in FOREIGN:
        return f"the core imports {each.library}"
    if each.library == "camzoo":
        return _arrow(module, each)
    if each.name == "?":
        return "" if module in ANY_NAME else "imports a name that is not written here"
    if each.name.startswith("matplotlib.pyplot"):
        return "matplotlib.pyplot keeps figures in a global state"
    if each.library in sys.stdlib_module_names or each.typing_only:
        return ""
    if each.library not in HOMES:
        return f"{each.library} is no dependency"
    return "" if module in HOMES[each.library] else f"{each.library} is not imported in {module}"


def _arrow(module: str, each: Import) -> str:
    if row(each.own) is None:
        return f"{each.name} stands in no row of the table"
    if module == "methods" and each.own not in METHODS_MAY_USE:
        return f"a method is a pure function, and imports {each.own}"
    if each.own == module:
        return "" if module in PACKAGES else f"{module} imports itself"
    upwards = row(each.own) <= row(module)
    allowed = each.typing_only or (each.deferred and (module, each.own) in DEFERRED)
    return f"{module} -> {each.own} points upwards" if upwards and not allowed else ""


def broken_adapter(module: str, source: str) -> list[str]:
    """The rules that an adapter breaks, a line for each."""
    return [f"line {each.line}: {why}" for each in imports(source) if (why := _adapter_rule(module, each))]


def _adapter_rule(module: str, each: Import) -> str:
    if each.library == "camzoo":
        return "" if each.own in ("types", "errors") else f"an adapter imports camzoo.{each.own}"
    if module in LIBRARIES and each.library == LIBRARIES[module]:
        return "" if each.deferred or each.typing_only else f"{each.library} is imported before it is asked for"
    if each.library in sys.stdlib_module_names or each.library in ("torch", "numpy"):
        return ""
    return f"the adapter {module} imports {each.name}"


def core_files() -> dict[str, Path]:
    return {str(path.relative_to(CORE)): path for path in sorted(CORE.rglob("*.py"))}


@pytest.mark.parametrize("file", core_files())
def test_core(file):
    path = core_files()[file]
    module = Path(file).parts[0].removesuffix(".py")
    assert broken(module, path.read_text()) == []


@pytest.mark.parametrize("path", sorted(ADAPTERS.rglob("*.py")), ids=lambda path: path.stem)
def test_adapters(path):
    assert broken_adapter(path.stem, path.read_text()) == []


def test_every_adapter_has_its_library_in_the_table():
    assert {path.stem for path in ADAPTERS.glob("*.py")} - {"__init__"} == set(LIBRARIES)


def test_no_module_stands_in_two_rows():
    assert sum(map(len, ROWS)) == len(ANYWHERE)


MUST_FAIL = {
    "upwards": ("types", "from camzoo.study import Study", "types -> study points upwards"),
    "upwards from the package": ("capture", "from camzoo import native", "capture -> native points upwards"),
    "upwards by module": ("grids", "import camzoo.types", "grids -> types points upwards"),
    "within one row": ("guard", "from camzoo import targets", "guard -> targets points upwards"),
    "upwards inside a function": ("types", "def f():\n    from camzoo import study", "types -> study points upwards"),
    "upwards in a try": ("errors", "try:\n    import camzoo.types\nexcept ImportError:\n    pass", "points upwards"),
    "upwards by a text": ("errors", "import importlib\nimportlib.import_module('camzoo.types')", "points upwards"),
    "at the top": ("study", "from camzoo import figures", "study -> figures points upwards"),
    "the package itself": ("capture", "import camzoo", "capture -> __init__ points upwards"),
    "itself": ("capture", "from camzoo.capture import take", "capture imports itself"),
    "relative": ("capture", "from .native import backend", ".native is not written in full"),
    "relative to the package": ("capture", "from . import native", ". is not written in full"),
    "a new module": ("novelty", "", "novelty stands in no row"),
    "from a new module": ("cli", "from camzoo import novelty", "camzoo.novelty stands in no row"),
    "an adapter": ("backends", "import camzoo_adapters.captum", "the core imports camzoo_adapters"),
    "pytorch_grad_cam": ("native", "from pytorch_grad_cam import GradCAM", "the core imports pytorch_grad_cam"),
    "captum in a function": ("cli", "def f():\n    import captum.attr", "the core imports captum"),
    "torchcam in a method": (
        "study",
        "class A:\n    def f(self):\n        import torchcam",
        "the core imports torchcam",
    ),
    "captum for types": ("study", "if TYPE_CHECKING:\n    import captum", "the core imports captum"),
    "captum by a text": ("backends", "import_module('captum.attr')", "the core imports captum"),
    "torchcam by a text": ("backends", "__import__('torchcam')", "the core imports torchcam"),
    "any name": ("native", "import_module(name)", "a name that is not written here"),
    "timm": ("layers", "import timm", "timm is not imported in layers"),
    "timm in a function": ("models", "def f():\n    from timm import create_model", "timm is not imported in models"),
    "skimage": ("figures", "from skimage import data", "skimage is not imported in figures"),
    "typer": ("study", "import typer", "typer is not imported in study"),
    "rich": ("native", "from rich.progress import track", "rich is not imported in native"),
    "matplotlib": ("study", "from matplotlib.figure import Figure", "matplotlib is not imported in study"),
    "pyplot": ("figures", "import matplotlib.pyplot as plt", "matplotlib.pyplot keeps figures"),
    "pyplot from": ("figures", "from matplotlib.pyplot import figure", "matplotlib.pyplot keeps figures"),
    "no dependency": ("images", "import cv2", "cv2 is no dependency"),
    "torch in a method": ("methods", "import torch", "torch is not imported in methods"),
    "torch in a function": (
        "methods",
        "def f():\n    from torch import nn",
        "torch is not imported in methods",
    ),
    "torch in an oracle": ("oracles", "import torch", "torch is not imported in oracles"),
    "a method in an oracle": (
        "oracles",
        "from camzoo.methods.gradcam import gradcam",
        "oracles -> methods points upwards",
    ),
    "an oracle in a method": ("methods", "from camzoo.oracles import gradient", "a method is a pure function"),
    "the model in a method": ("methods", "from camzoo import guard", "a method is a pure function"),
}


@pytest.mark.parametrize("case", MUST_FAIL)
def test_the_check_fails(case):
    module, source, why = MUST_FAIL[case]
    found = broken(module, source)
    assert len(found) == 1
    assert why in found[0]


ADAPTER_MUST_FAIL = {
    "the core": ("captum", "from camzoo import guard", "an adapter imports camzoo.guard"),
    "the core in a function": ("captum", "def f():\n    from camzoo.grids import resize", "imports camzoo.grids"),
    "the package": ("captum", "import camzoo", "an adapter imports camzoo.__init__"),
    "another library": ("captum", "def f():\n    import torchcam", "the adapter captum imports torchcam"),
    "another adapter": ("captum", "from camzoo_adapters import torchcam", "imports camzoo_adapters"),
    "too early": ("captum", "from captum.attr import LayerGradCam", "captum is imported before it is asked for"),
    "no dependency": ("torchcam", "def f():\n    import cv2", "the adapter torchcam imports cv2"),
    "a shared place": ("__init__", "def f():\n    import captum", "the adapter __init__ imports captum"),
}


@pytest.mark.parametrize("case", ADAPTER_MUST_FAIL)
def test_the_check_of_adapters_fails(case):
    module, source, why = ADAPTER_MUST_FAIL[case]
    found = broken_adapter(module, source)
    assert len(found) == 1
    assert why in found[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("cli", "import typer\nfrom camzoo import study\nfrom camzoo.types import Stage"),
        ("study", "def f():\n    from camzoo import figures, store"),
        ("study", "if TYPE_CHECKING:\n    from matplotlib.figure import Figure\n    from camzoo.figures import png"),
        ("capture", "from __future__ import annotations\nimport torch.nn as nn\nfrom camzoo import guard, targets"),
        ("methods", "from array_api_compat import array_namespace\nfrom camzoo.methods.gradcam import gradcam"),
        ("sources", "import importlib\nimportlib.import_module(path)"),
    ],
)
def test_the_check_passes_what_is_right(module, source):
    assert broken(module, source) == []


def test_the_check_of_adapters_passes_what_is_right():
    source = "import torch\nfrom camzoo.types import Backend\ndef f():\n    from captum import attr"
    assert broken_adapter("captum", source) == []

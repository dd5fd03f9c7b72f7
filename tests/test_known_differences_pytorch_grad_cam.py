"""pytorch-grad-cam's part of the ledger: every entry gives the library's number and is needed, every page runs."""

from __future__ import annotations

import importlib
import re
import shutil
from importlib import metadata
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from camzoo_adapters.pytorch_grad_cam import backend
from conftest import require
from reproductions import in_place_of, run_here

from camzoo.conformance import attributions, reference
from camzoo.conformance.check import error
from camzoo.conformance.evidence import Literal
from camzoo.conformance.known_differences.pytorch_grad_cam import (
    ENTRIES,
    FORMULAS,
    OPTIONS,
    ablationcam,
    scorecam,
    shown,
)
from camzoo.conformance.stands import POOLED, RECTIFIED, SMOOTH, STANDS, STRAIGHT, TRANSFORMER, WHOLE
from camzoo.conformance.subjects import of_backend
from camzoo.conformance.verdicts import Kind
from camzoo.oracles import sess
from camzoo.oracles.grids import normalise, rectify

FINDINGS = Path(__file__).parent.parent / "docs" / "findings"
PAGES = sorted(path.stem for path in FINDINGS.glob("pytorch-grad-cam-*.py"))
AGREEING = ("gradcam", "hirescam", "gradcam-elementwise", "xgradcam", "layercam", "segeigencam", "shapleycam")
SUITS = {
    "refinecam": (RECTIFIED, SMOOTH),
    "sess": (POOLED, TRANSFORMER),
    "shapleycam": [stand for stand in STANDS if stand is not TRANSFORMER],
}
FLOAT32 = 1e-5  # what leaves the library is in float32, resized on the way
SCALED = ("eigencam", "eigengradcam", "kpcacam", "segeigencam")  # projections are in float32 from the start
SCORES_IN_FLOAT32 = 1e-6  # which are as large as 10 here, in an exponential
EPSILON = 1e-6  # xgradcam's 1e-7 over the sum of a channel: seen before the maps are rounded, not after


@pytest.fixture(autouse=True)
def library() -> ModuleType:
    return require("pytorch_grad_cam")


@pytest.fixture
def formulas(library, monkeypatch) -> list[np.ndarray]:
    """What enters the library's first min-max: its formula's map after ReLU, before anything is rounded."""
    seen: list[np.ndarray] = []
    module = importlib.import_module("pytorch_grad_cam.base_cam")
    scale = module.scale_cam_image

    def watch(cam, target_size=None):
        seen.extend(np.array(cam)[: len(cam) if target_size is not None else 0])
        return scale(cam, target_size)

    monkeypatch.setattr(module, "scale_cam_image", watch)
    return seen


def maps_of(method, problem):
    return of_backend(backend, method, OPTIONS.get(method)).maps(problem).numpy()


def evidence_of(problem):
    return [Literal(problem, index) for index in range(len(problem.images))]


def wanted_by_reference(method, problem):
    subject = of_backend(backend, method, OPTIONS.get(method))
    raw = [reference.raw(method, each) for each in evidence_of(problem)]
    return [reference.staged(each, subject.stage, subject.resolution, problem.image_size) for each in raw]


def places(methods):
    return [
        pytest.param(method, stand, id=f"{method}-{stand.name}")
        for method in methods
        for stand in SUITS.get(method, STANDS)
    ]


ENTRY = {entry.method: entry for entry in ENTRIES}


def test_every_method_agrees_or_has_an_entry():
    assert sorted([*AGREEING, "guided-backprop", "sess", *ENTRY]) == sorted(o.method for o in backend.offers)


# ---------------------------------------------------------------- to the digit


@pytest.mark.parametrize(("method", "stand"), places(AGREEING))
def test_what_has_no_entry_is_the_reference(method, stand, formulas):
    problem = stand.problem()
    assert error(maps_of(method, problem), wanted_by_reference(method, problem)) <= FLOAT32
    if method not in SCALED:
        raw = [rectify(reference.raw(method, each)) for each in evidence_of(problem)]
        assert error(formulas, raw) <= (EPSILON if method == "xgradcam" else 1e-10)


@pytest.mark.parametrize("stand", [POOLED, RECTIFIED, SMOOTH, WHOLE], ids=lambda stand: stand.name)
def test_guided_backprop_is_the_reference_in_float64(stand):
    problem = stand.problem()
    assert error(maps_of("guided-backprop", problem), wanted_by_reference("guided-backprop", problem)) <= 1e-10


@pytest.mark.parametrize(("method", "stand"), places(ENTRY))
def test_the_variant_gives_the_number_of_the_library(method, stand):
    problem = stand.problem()
    variant = [ENTRY[method].variant(each) for each in evidence_of(problem)]
    assert error(maps_of(method, problem), variant) <= FLOAT32


@pytest.mark.parametrize(("method", "stand"), places([name for name in FORMULAS if name not in SCALED]))
def test_the_formula_of_a_variant_is_the_library_s_before_it_rounds(method, stand, formulas):
    problem = stand.problem()
    maps_of(method, problem)
    raw = [rectify(FORMULAS[method](each)) for each in evidence_of(problem)]
    assert error(formulas, raw) <= (SCORES_IN_FLOAT32 if method == "scorecam" else 1e-10)


@pytest.mark.parametrize("method", ENTRY)
def test_the_entry_is_needed(method):
    """Where the plain reference gives the library's number, the difference has gone, and so should the entry."""
    away = [
        error(maps_of(method, problem), wanted_by_reference(method, problem))
        for problem in (stand.problem() for stand in SUITS.get(method, (POOLED, RECTIFIED, TRANSFORMER)))
    ]
    assert max(away) > FLOAT32


@pytest.mark.parametrize("stand", SUITS["sess"], ids=lambda stand: stand.name)
def test_sess_is_its_oracle(stand):
    problem = stand.problem()
    wanted = [attributions.sess(each, **OPTIONS["sess"]) for each in evidence_of(problem)]
    assert error(maps_of("sess", problem), wanted) <= FLOAT32


# ---------------------------------------------------------------- the parts of which the differences are made


def test_maps_that_underflow_come_out_as_zeros():
    """The class is 250 ahead of all others: FinerCAM's target is 1e-101, and its map, once rounded, is nothing."""
    problem = WHOLE.problem()
    assert maps_of("finercam", problem)[1].max() == 0
    assert shown(FORMULAS["finercam"](Literal(problem, 1)), problem.image_size).max() == 0


def test_the_batch_of_ablationcam_is_in_its_map():
    problem = STRAIGHT.problem()
    small = of_backend(backend, "ablationcam", {"batch_size": 2}).maps(problem).numpy()
    assert error(small, list(maps_of("ablationcam", problem))) > 0.01


def test_a_constant_channel_takes_part_in_scorecam():
    problem = POOLED.problem()
    with torch.no_grad():
        problem.model.conv.weight[2], problem.model.conv.bias[2] = 0, 0.7
    wanted = [shown(scorecam(each), each.size) for each in evidence_of(problem)]
    assert error(maps_of("scorecam", problem), wanted) <= FLOAT32


def test_the_seed_of_the_problem_is_that_of_random():
    first, second = (ENTRY["random"].variant(Literal(POOLED.problem(), index)) for index in (0, 1))
    assert not np.allclose(first, second)
    again = ENTRY["random"].variant(Literal(POOLED.problem(), 0))
    assert np.array_equal(first, again)


def test_fullgrad_leaves_out_what_is_derived():
    class Derived(torch.nn.BatchNorm2d):
        """The same in every respect."""

    problem = RECTIFIED.problem()
    before = list(maps_of("fullgrad", problem))
    problem.model.norm.__class__ = Derived
    after = maps_of("fullgrad", problem)
    assert error(after, before) > 0.01
    assert error(after, [ENTRY["fullgrad"].variant(each) for each in evidence_of(problem)]) <= FLOAT32


def test_tokens_are_ablated_with_their_class_token():
    """With the class token left alone, as the reference leaves it, the number is another one."""
    evidence = Literal(TRANSFORMER.problem(), 0)
    output = evidence.output
    assert output.shape == (17, 16)
    assert np.allclose(np.moveaxis(output[1:].reshape(4, 4, 16), -1, 0), evidence.A)
    assert evidence.tail_of(output) == pytest.approx(evidence.score(evidence.x), rel=1e-12)
    assert ablationcam(evidence).shape == (4, 4)


# ---------------------------------------------------------------- the oracle of SESS


def test_windows_of_sess_end_with_the_image():
    assert sess.starts(10, 4, 4) == [0, 4, 6]
    assert sess.starts(8, 4, 4) == [0, 4]
    assert sess.starts(4, 4, 4) == [0]
    assert sess.default_scales(224)[:3] == [224, 288, 352]


def test_sess_of_one_window_is_the_base_map_blurred():
    x = np.random.default_rng(0).random((3, 12, 12))
    base = np.random.default_rng(1).random((12, 12))
    plain = sess.sess(x, lambda _: 0.3, lambda _: base, [12], 12, smooth=False)
    assert np.allclose(plain, normalise(base))
    assert not np.allclose(sess.sess(x, lambda _: 0.3, lambda _: base, [12], 12), normalise(base))


def test_the_pools_of_sess_differ():
    x = np.random.default_rng(0).random((3, 12, 16))
    mean, most = (
        sess.sess(x, lambda part: part.mean(), lambda part: part[0], [12, 15], 12, pool=p) for p in ("mean", "max")
    )
    assert error([mean], [most]) > 0.01


# ---------------------------------------------------------------- the pages


def test_the_ledger_is_for_the_installed_version():
    assert {entry.versions for entry in ENTRIES} == {f"=={metadata.version('grad-cam')}"}


@pytest.mark.checkout
def test_every_error_has_a_page_and_every_page_a_reproduction():
    assert all((entry.kind is Kind.ERROR) == bool(entry.finding) for entry in ENTRIES)
    assert {entry.finding for entry in ENTRIES} - {""} <= set(PAGES)
    assert all((FINDINGS / f"{page}.md").is_file() for page in PAGES)


def places_named(text):
    return re.findall(r"([\w/]+\.py):(\d+)", text)


@pytest.mark.checkout
def test_the_lines_that_are_named_exist(library):
    root = Path(library.__file__).parent
    named = [place for entry in ENTRIES for place in places_named(entry.why)]
    named += places_named((FINDINGS / "pytorch-grad-cam-behaviours.md").read_text())
    assert len(named) > 25
    for file, line in named:
        lines = (root / file).read_text().splitlines()
        assert lines[int(line) - 1].strip(), f"{file}:{line} is empty"


@pytest.mark.checkout
@pytest.mark.parametrize("page", PAGES)
def test_the_reproduction_finds_the_error(page):
    script = (FINDINGS / f"{page}.py").read_text()
    assert len(script.splitlines()) < 30
    assert "camzoo" not in script
    status, said = run_here(FINDINGS / f"{page}.py")
    assert status == 1, said
    assert "should" in said


INDENT = " " * 8
FIXES = {
    "pytorch-grad-cam-ablationcam-batch": {
        "ablation_layer.py": {
            71: f"{INDENT}output, least = self.activations, torch.min(self.activations)",
            78: f"{INDENT}    if least == 0:",
            82: f"{INDENT}        output[i, self.indices[i], :] = least - ABLATION_VALUE",
            83: "",
        }
    },
    "pytorch-grad-cam-ablationcam-ratio": {
        "ablation_layer.py": {56: f"{INDENT}self.indices = np.int32(high_score_indices)"}
    },
    "pytorch-grad-cam-eigencam-sign": {
        "utils/svd_on_activations.py": {
            18: f"{INDENT}projection = reshaped_activations @ VT[0, :]\n"
            f"{INDENT}energy = (activations**2).sum(axis=0).ravel()\n"
            f"{INDENT}projection = projection * (1 if projection @ (energy - energy.mean()) >= 0 else -1)"
        }
    },
    "pytorch-grad-cam-fem": {
        "fem.py": {
            43: f"{INDENT}binary_mask = activations >= th",
            45: f"{INDENT}return (means.reshape(weights_shape) * binary_mask).sum(axis=1)",
        }
    },
    "pytorch-grad-cam-finercam-epsilon": {
        "utils/model_targets.py": {
            138: f"{INDENT}compared = torch.stack([select(idx) for idx in self.comparison_categories])\n"
            f"{INDENT}weights = torch.softmax(compared, dim=0)"
        }
    },
    "pytorch-grad-cam-finercam-tie": {
        "finer_cam.py": {
            86: f"{INDENT}    distance = np.abs(output_data - target_logits[:, None])\n"
            f"{INDENT}    main = np.argmax(output_data, axis=-1) if target_idx is None else target_idx\n"
            f"{INDENT}    distance[np.arange(len(distance)), main] = -1\n"
            f"{INDENT}    sorted_indices = np.argsort(",
            87: f"{INDENT}        distance, axis=-1",
        }
    },
    "pytorch-grad-cam-fullgrad-order": {
        "fullgrad_cam.py": {
            32: f"{INDENT}self.bias_data = []",
            33: f"{INDENT}for layer in target_layers:\n"
            f"{INDENT}    self.activations_and_grads.handles.append(layer.register_forward_hook(\n"
            f"{INDENT}        lambda layer, inputs, output: self.bias_data.append(\n"
            f"{INDENT}            self.get_bias_data(layer).cpu().numpy())))",
            64: f"{INDENT}self.bias_data = self.bias_data[-len(grads_list):]",
        }
    },
    "pytorch-grad-cam-fullgrad-types": {
        "fullgrad_cam.py": {
            20: f"{INDENT}    if isinstance(layer, tuple(bias_target_layers)) and layer.bias is not None:"
        }
    },
    "pytorch-grad-cam-guided-backprop-model": {
        "guided_backprop.py": {
            75: f"{INDENT}kept = [(parent, dict(parent._modules)) for parent in self.model.modules()]\n"
            f"{INDENT}replace_all_layer_type_recursive(self.model,",
            96: f"{INDENT}for parent, children in kept:",
            97: f"{INDENT}    parent._modules.update(children)",
            98: "",
        }
    },
    "pytorch-grad-cam-inplace": {
        "activations_and_gradients.py": {26: f"{INDENT}    self.activations.append(activation.cpu().detach().clone())"}
    },
    "pytorch-grad-cam-shapleycam-tokens": {
        "base_cam.py": {
            77: f"{INDENT}if not self.detach and self.reshape_transform is not None:\n"
            f"{INDENT}    activations = self.reshape_transform(activations)\n"
            f"{INDENT}if isinstance(activations, torch.Tensor):"
        }
    },
}


def mended(library, page, folder):
    """A copy of the library with the lines that a page's fix replaces."""
    shutil.copytree(Path(library.__file__).parent, folder / "pytorch_grad_cam", ignore=shutil.ignore_patterns("*.pyc"))
    for file, lines in FIXES[page].items():
        source = (folder / "pytorch_grad_cam" / file).read_text().splitlines()
        for number, text in lines.items():
            source[number - 1] = text
        (folder / "pytorch_grad_cam" / file).write_text("\n".join(source) + "\n")
    return folder


@pytest.mark.checkout
@pytest.mark.parametrize("page", FIXES)
def test_the_fix_mends_it(library, page, tmp_path):
    with in_place_of("pytorch_grad_cam", mended(library, page, tmp_path)):
        status, said = run_here(FINDINGS / f"{page}.py")
    assert status == 0, said

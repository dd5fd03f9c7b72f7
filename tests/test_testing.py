"""The kit for other people's code: named cases, expected failures, and a package that is installed from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import require

from camzoo import backends, testing
from camzoo.conformance.subjects import of_backend
from camzoo.errors import RequestError
from camzoo.testing import check_backend, check_map_function

PLUGIN = Path(__file__).parent / "plugin"


def gradcam(model, layer, images, target):
    kept = []
    handle = layer.register_forward_hook(lambda _m, _i, output: kept.append(output) or output.clone())
    try:
        with torch.enable_grad():
            scores = model(images.detach().clone().requires_grad_())
            (gradients,) = torch.autograd.grad(scores[range(len(target)), target].sum(), kept)
    finally:
        handle.remove()
    return (gradients.mean((2, 3), keepdim=True) * kept[0]).sum(1).relu()


def unrectified(model, layer, images, target):
    kept = []
    handle = layer.register_forward_hook(lambda _m, _i, output: kept.append(output) or output.clone())
    scores = model(images.detach().clone().requires_grad_())
    handle.remove()
    (gradients,) = torch.autograd.grad(scores[range(len(target)), target].sum(), kept)
    return (gradients.mean((2, 3), keepdim=True) * kept[0]).sum(1)


def parameters(test):
    (mark,) = test.pytestmark
    return mark.args[1]


def test_cases_are_named():
    require("torchcam")
    subject = of_backend(backends.find("torchcam"), "gradcam++")
    names = [case.name for case in testing.cases(subject)]
    assert names[0] == "torchcam-gradcam++-rectified-oracle"
    assert "torchcam-gradcam++-rectified-in-place" in names
    assert len(names) == len(set(names))


test_a_right_function_passes = check_map_function(gradcam, "gradcam", quick=True)


def test_a_wrong_function_fails_where_it_is_wrong():
    test = check_map_function(unrectified, "gradcam", quick=True)
    failed = []
    for each in parameters(test):
        try:
            test(each.values[0])
        except AssertionError as failure:
            failed.append((each.id, str(failure)))
    names = [name for name, _ in failed]
    assert "unrectified-gradcam-rectified-oracle" in names
    assert "unrectified-gradcam-rectified-in-range" in names
    assert "differs, new at rectify" in failed[0][1]


def test_expected_failures_carry_their_reason():
    name = "unrectified-gradcam-rectified-oracle"
    test = check_map_function(unrectified, "gradcam", expected={name: "no ReLU"}, quick=True)
    (marked,) = [each for each in parameters(test) if each.marks]
    assert marked.id == name
    assert marked.marks[0].kwargs == {"reason": "no ReLU", "strict": True}


def test_an_expected_failure_that_names_nothing_is_refused():
    with pytest.raises(RequestError, match="closest: gradcam-gradcam-rectified-oracle"):
        check_map_function(gradcam, "gradcam", expected={"gradcam-gradcam-rectified-orakel": "x"})


def test_methods_can_be_chosen():
    camzoo_own = backends.find("camzoo")
    ids = [each.id for each in parameters(check_backend(camzoo_own, ["uniform", "center"], quick=True))]
    assert {each.split("-raw-")[0] for each in ids} == {"camzoo-uniform", "camzoo-center"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> dict[str, str]:
    """An environment in which the example plug-in is installed, as a package of its own."""
    place = tmp_path_factory.mktemp("site")
    copy = tmp_path_factory.mktemp("source") / "plugin"
    subprocess.run(["cp", "-r", str(PLUGIN), str(copy)], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*pip, "--target", str(place), str(copy)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    path = os.pathsep.join([str(place), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_a_plug_in_is_found_by_its_entry_point(installed):
    listed = subprocess.run([sys.executable, "-m", "camzoo", "methods"], env=installed, capture_output=True, text=True)
    assert listed.returncode == 0, listed.stderr
    assert "example" in listed.stdout.splitlines()[0]
    assert "example: ready 0.0.1" in listed.stdout
    row = next(line for line in listed.stdout.splitlines() if line.split()[:1] == ["layercam"])
    assert row.split().count("ready") >= 2


@pytest.mark.slow
def test_a_plug_in_is_checked_from_the_command_line(installed, tmp_path):
    command = [sys.executable, "-m", "camzoo", "check", "--quick", "--methods", "*@example", "--out", str(tmp_path)]
    done = subprocess.run(command, env=installed, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "1 agrees, 1 differs, new" in done.stdout


@pytest.mark.slow
def test_the_kit_runs_in_the_suite_of_a_plug_in(installed, tmp_path):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(PLUGIN / "tests")]
    done = subprocess.run(command, env=installed, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "1 xfailed" in done.stdout

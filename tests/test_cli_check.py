"""`camzoo check` from the command line: verdicts, exit codes, golden maps, bad requests."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from PIL import Image

from camzoo import cli

MINE = '''
import torch
from torch import nn
from camzoo.models import Preprocessing


class Net(nn.Module):
    """A small classifier of three classes."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.last = nn.Conv2d(3, 8, 3, stride=4, padding=1)
        self.act = nn.ReLU()
        self.head = nn.Linear(8, 3)
        self.preprocessing = Preprocessing(32, mean=(0.5,) * 3, std=(0.5,) * 3)
        self.labels = ["tabby cat", "dog, large", "Red fox"]

    def forward(self, images):
        return self.head(self.act(self.last(images)).mean((2, 3)))


def factory():
    return Net()


def grey():
    net = Net()
    net.last = nn.Conv2d(1, 8, 3, stride=4, padding=1)
    net.preprocessing = Preprocessing(32, mean=(0.5,), std=(0.5,))
    return net


def other():
    return Net(1)


class GradCAM:
    power = 1

    def __init__(self, model, layer):
        self.model, self.layer = model, layer

    def __call__(self, images, target):
        kept = []
        handle = self.layer.register_forward_hook(lambda _m, _i, output: kept.append(output) or output.clone())
        try:
            with torch.enable_grad():
                scores = self.model(images.detach().clone().requires_grad_())
                (gradients,) = torch.autograd.grad(scores[range(len(target)), target].sum(), kept)
        finally:
            handle.remove()
        return self.finish((gradients.mean((2, 3), keepdim=True) * kept[0]).sum(1))

    def finish(self, maps):
        return maps.relu()


class Signed(GradCAM):
    def finish(self, maps):
        return maps


def three(a, b, c):
    return None
'''


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "minezoo.py").write_text(MINE)
    values = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("minezoo", None)


@pytest.fixture
def camzoo(place, monkeypatch, capfd):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["camzoo", "check", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capfd.readouterr()
        return ended.value.code or 0, told.out, told.err

    return run


def cells(folder):
    return json.loads((folder / "conformance.json").read_text())["cells"]


def test_methods_are_checked_and_written_down(camzoo, place):
    code, out, err = camzoo("--quick", "--methods", "gradcam,uniform", "--out", "found")
    assert code == 0
    assert err == "[1/2] gradcam\n[2/2] uniform\n"
    assert "2 agrees" in out
    found = cells(place / "found")
    assert [(cell["method"], cell["backend"], cell["verdict"]) for cell in found] == [
        ("gradcam", "camzoo", "agrees"),
        ("uniform", "camzoo", "agrees"),
    ]
    assert set(found[0]) >= {"method", "backend", "verdict", "stage", "error", "reason", "versions"}
    assert found[0]["error"] < 1e-12
    assert found[0]["versions"].keys() == {"camzoo"}
    assert "| `gradcam` | agrees" in (place / "found" / "conformance.md").read_text()
    assert camzoo("--quick", "--methods", "uniform", "--out", "found")[0] == 0  # a check is repeated at will
    assert len(cells(place / "found")) == 1


def test_an_implementation_that_is_right(camzoo, place):
    code, out, _ = camzoo("minezoo:GradCAM", "--as", "gradcam", "--quick")
    assert code == 0, out
    (cell,) = cells(place / "camzoo-check")
    assert (cell["method"], cell["backend"], cell["verdict"]) == ("gradcam", "minezoo:GradCAM", "agrees")


def test_an_implementation_that_is_wrong(camzoo, place):
    code, out, _ = camzoo("minezoo:Signed", "--as", "gradcam", "--quick")
    assert code == 1
    (cell,) = cells(place / "camzoo-check")
    assert (cell["verdict"], cell["stage"]) == ("differs, new", "rectify")
    assert "rectify" in out


def test_the_stage_that_is_claimed_decides(camzoo, place):
    assert camzoo("minezoo:Signed", "--as", "gradcam", "--stage", "raw", "--quick")[0] == 0


def test_a_model_and_photos_of_ones_own(camzoo, place):
    code, out, _ = camzoo("photo.png", "--model", "minezoo:factory", "--layer", "act", "--methods", "gradcam,cam")
    assert code == 0, out
    assert [cell["problem"] for cell in cells(place / "camzoo-check")] == ["minezoo:factory"] * 2
    told = json.loads((place / "camzoo-check" / "conformance.json").read_text())["environment"]["checked_at"]
    assert told == "minezoo:factory (as minezoo:factory gives them), layer act, target the top class, seed 0, photo.png"


def test_golden_maps_of_grey_images(camzoo, place):
    assert camzoo("photo.png", "--model", "minezoo:grey", "--save", "golden")[0] == 0
    assert camzoo("--against", "golden")[0] == 0


def test_golden_maps(camzoo, place):
    assert (
        camzoo("photo.png", "--model", "minezoo:factory", "--methods", "gradcam,layercam", "--save", "golden")[0] == 0
    )
    code, out, _ = camzoo("--against", "golden", "--out", "again")
    assert (code, out.splitlines()[-1]) == (0, "0 of 2 maps have changed")
    assert not (place / "again").exists()
    code, out, _ = camzoo("--against", "golden", "--model", "minezoo:other", "--out", "again")
    assert code == 1
    assert "2 of 2 maps have changed" in out
    assert (place / "again" / "change.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "gradcan"], "unknown method 'gradcan': did you mean gradcam"),
        (["minezoo:GradCAM"], "unknown method for --as"),
        (["minezoo:GradCAM", "--as", "gradcan"], "did you mean gradcam"),
        (["minezoo:GradCAM", "--as", "gradcam", "--stage", "rawe"], "did you mean raw"),
        (["minezoo:GradKAM", "--as", "gradcam"], "did you mean GradCAM"),
        (["nowhere:GradCAM", "--as", "gradcam"], "importing 'nowhere'"),
        (["minezoo:three", "--as", "gradcam"], "three takes 3 arguments"),
        (["minezoo:GradCAM", "minezoo:Signed", "--as", "gradcam"], "one implementation at a time"),
        (["minezoo:GradCAM", "--as", "gradcam", "--model", "minezoo:factory"], "leave out --model"),
        (["minezoo:GradCAM", "--as", "sscam"], "unknown method for --as"),
        (["photo.png", "--model", "minezoo:factory", "--layer", "nope"], "unknown layer 'nope'"),
        (["photo.png", "--model", "minezoo:factory", "--methods", "rise", "--quick"], "nothing is left to check"),
        (["photo.png", "--against", "golden"], "leave out photos"),
        (["photo.png", "--as", "gradcam"], "--as names the method of an implementation"),
        (["--model", "minezoo:factory"], "a model is checked on photos"),
        (["--save", "golden"], "golden maps are of photos"),
        (["--against", "nowhere"], "nowhere holds no golden maps"),
        (["no.png", "--model", "minezoo:factory"], "no.png"),
        (["--device", "cudda"], "no device 'cudda'"),
        (["--methods", "uniform", "--quick", "--out", "."], "holds something else than a check"),
        (["--methods", "uniform", "--quick", "--out", "photo.png"], "photo.png is a file"),
    ],
)
def test_bad_requests_are_one_line(camzoo, place, arguments, message):
    code, _, err = camzoo(*arguments)
    told = [line for line in err.splitlines() if not line.startswith("[")]
    assert (code, len(told)) == (2, 1), err
    assert message in told[0]
    assert not (place / "camzoo-check").exists()

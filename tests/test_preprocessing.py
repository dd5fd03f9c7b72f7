"""The view has the pixels that the model sees, and its tensor equals what the model's own library makes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from conftest import require
from PIL import Image

from camzoo import models
from camzoo.errors import RequestError
from camzoo.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing


def noise(height: int, width: int) -> Image.Image:
    values = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


SIZES = [(300, 451), (451, 300), (256, 256), (90, 61), (233, 1001)]


@pytest.mark.parametrize("name", ["resnet18", "convnext_base", "mobilenet_v2", "efficientnet_b2", "inception_v3"])
@pytest.mark.parametrize("size", SIZES)
def test_tensors_equal_those_of_torchvision(name, size):
    photo = noise(*size)
    preprocessing = models.sources.find(name).preprocessing(torch.nn.Identity())
    theirs = torchvision.models.get_model_weights(name).DEFAULT.transforms()(photo)[None]
    assert torch.equal(preprocessing.tensor(preprocessing.view(photo)), theirs)


@pytest.mark.parametrize(
    "name", ["resnet18", "tf_efficientnet_lite0", "convnext_tiny.fb_in22k_ft_in1k_384", "volo_d4_448"]
)
@pytest.mark.parametrize("size", SIZES)
def test_tensors_equal_those_of_timm(name, size):
    timm = require("timm")
    photo = noise(*size)
    module = torch.nn.Identity()
    module.pretrained_cfg = timm.get_pretrained_cfg(name).to_dict()
    preprocessing = models.sources.find(f"timm:{name}").preprocessing(module)
    config = timm.data.resolve_model_data_config(module)
    theirs = timm.data.create_transform(**config, is_training=False)(photo)[None]
    ours = preprocessing.tensor(preprocessing.view(photo))
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_every_torchvision_classifier_keeps_its_own_resize():
    for name in torchvision.models.list_models(module=torchvision.models):
        transforms = torchvision.models.get_model_weights(name).DEFAULT.transforms()
        preprocessing = models.sources.find(name).preprocessing(torch.nn.Identity())
        assert preprocessing.image_size == tuple(transforms.crop_size * 2)
        assert preprocessing._scaled(noise(50, 50)) == tuple(transforms.resize_size * 2), name


@pytest.mark.parametrize("resize", range(224, 400))
def test_a_fraction_gives_the_size_back_that_it_was_made_from(resize):
    assert Preprocessing(size=224, crop=224 / resize)._scaled(noise(50, 50)) == (resize, resize)


def test_the_view_is_the_centre():
    photo = Image.new("RGB", (400, 200), "red")
    photo.paste("blue", (100, 0, 300, 200))
    view = Preprocessing(size=100, crop=1.0, interpolation="nearest").view(photo)
    assert view.size == (100, 100)
    assert view.getcolors() == [(10_000, (0, 0, 255))]


def test_a_squashed_view_shows_the_whole_photo():
    photo = Image.new("RGB", (400, 200), "red")
    photo.paste("blue", (200, 0, 400, 200))
    view = Preprocessing(size=100, crop=1.0, squash=True, interpolation="nearest").view(photo)
    assert sorted(view.getcolors()) == [(5000, (0, 0, 255)), (5000, (255, 0, 0))]


def test_a_view_need_not_be_square():
    preprocessing = Preprocessing(size=(40, 80), crop=0.5)
    assert preprocessing.view(noise(300, 451)).size == (80, 40)
    assert preprocessing.view(noise(451, 300)).size == (80, 40)


def test_the_tensor_is_the_normalised_view():
    view = Image.new("RGB", (8, 6), (255, 0, 51))
    tensor = Preprocessing(size=(6, 8)).tensor(view)
    assert tensor.shape == (1, 3, 6, 8)
    assert tensor.dtype == torch.float32
    expected = [(x - m) / s for x, m, s in zip((1, 0, 0.2), IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    torch.testing.assert_close(tensor[0, :, 3, 4], torch.tensor(expected))


def test_one_channel_makes_a_grey_view():
    preprocessing = Preprocessing(size=8, mean=(0.5,), std=(0.5,))
    view = preprocessing.view(Image.new("RGB", (20, 20), "white"))
    assert view.mode == "L"
    assert torch.equal(preprocessing.tensor(view), torch.ones(1, 1, 8, 8))


def test_a_sample_has_the_shape_of_a_tensor():
    for preprocessing in (Preprocessing(), Preprocessing(size=(6, 8), mean=(0.5,), std=(0.5,))):
        tensor = preprocessing.tensor(preprocessing.view(noise(50, 60)))
        assert preprocessing.sample().shape == tensor.shape
        assert preprocessing.sample().dtype == tensor.dtype


def test_a_strip_is_refused_before_it_fills_the_memory():
    with pytest.raises(RequestError, match="photo of 200000x2 pixels is too elongated"):
        Preprocessing().view(Image.new("RGB", (200_000, 2)))

"""Methods that read attention, guided gradients or biases: against their literal twins, and through the front door."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from conftest import SmallNet, require, seeded
from torch import nn
from torchvision.models import VisionTransformer

import camzoo
from camzoo import attention, backprop, capture, methods, native
from camzoo.errors import NotOffered, RequestError
from camzoo.oracles import gradient, transformer
from camzoo.oracles import input as oracle
from camzoo.targets import ClassLogit
from camzoo.types import Capture, Evidence, Resolution, Stage

SPECIAL = ("attention-rollout", "legrad", "guided-backprop", "guided-gradcam", "fullgrad")
TRANSFORMERS = SPECIAL[:2]
PIXELS = SPECIAL[2:]


def normals(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def attentions(images: int, tokens: int) -> tuple[np.ndarray, ...]:
    """Three blocks of two heads; rows do not sum to one, as after rounding, so that scaling them is seen."""
    raw = np.exp(2 * normals(3, images, 2, tokens, tokens))
    return tuple(raw / raw.sum(-1, keepdims=True).mean())


def evidence(prefix: int = 1) -> Capture:
    """All that the methods read, made up: a grid of 3 x 4, images of 7 x 9."""
    tokens = prefix + 12
    return Capture(
        activations=normals(2, 5, 3, 4, seed=1),
        gradients=normals(2, 5, 3, 4, seed=2),
        images=normals(2, 3, 7, 9, seed=3),
        attention=attentions(2, tokens),
        attention_gradients=tuple(normals(3, 2, 2, tokens, tokens, seed=4)),
        prefix=prefix,
        guided=normals(2, 3, 7, 9, seed=5),
        input_gradients=normals(2, 3, 7, 9, seed=6),
        bias_gradients=(normals(2, 4, 7, 9, seed=7), normals(2, 6, 3, 4, seed=8), normals(2, 5, seed=9)),
    )


def twin(name: str, capture: Capture, image: int, **options) -> np.ndarray:
    """The literal map of one image."""
    match name:
        case "attention-rollout":
            blocks = np.stack([block[image] for block in capture.attention])
            return transformer.rollout(blocks, (3, 4), capture.prefix)
        case "legrad":
            blocks = np.stack([block[image] for block in capture.attention_gradients])
            return transformer.legrad(blocks, (3, 4), capture.prefix)
        case "guided-backprop":
            return oracle.colours_summed(capture.guided[image])
        case "guided-gradcam":
            layer = gradient.gradcam(capture.activations[image], capture.gradients[image])
            return oracle.guided_gradcam(capture.guided[image], layer)
    terms = [term[image] for term in capture.bias_gradients]
    return oracle.fullgrad(capture.images[image], capture.input_gradients[image], terms, **options)


CASES = [
    *((name, prefix, {}) for name in TRANSFORMERS for prefix in (0, 1, 2)),
    *((name, 1, {}) for name in PIXELS),
    ("fullgrad", 1, {"rescale": "layer"}),
]


@pytest.mark.parametrize(("name", "prefix", "options"), CASES)
def test_method_is_its_literal_twin(name, prefix, options):
    capture = evidence(prefix)
    found = methods.find(name).function(capture, **options)
    for image in range(2):
        wanted = twin(name, capture, image, **options)
        assert np.ptp(wanted) > 0
        np.testing.assert_allclose(found[image], wanted, rtol=1e-12, atol=1e-13)


def converted(capture: Capture, array) -> Capture:
    """The same evidence in arrays of another library."""
    fields = {}
    for name in ("activations", "gradients", "images", "guided", "input_gradients"):
        fields[name] = array(getattr(capture, name))
    for name in ("attention", "attention_gradients", "bias_gradients"):
        fields[name] = tuple(array(each) for each in getattr(capture, name))
    return Capture(**fields, prefix=capture.prefix)


@pytest.mark.parametrize("name", SPECIAL)
def test_arrays_of_other_libraries(name):
    jax = require("jax")
    formula = methods.find(name).function
    wanted = formula(evidence())
    found = formula(converted(evidence(), torch.tensor))
    assert isinstance(found, torch.Tensor)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-12, atol=1e-13)
    with jax.enable_x64(True):
        found = formula(converted(evidence(), jax.numpy.asarray))
        assert isinstance(found, jax.Array)
        np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", SPECIAL)
def test_no_value_is_looked_at(name):
    # Tensors of the device "meta" have no values: a branch on one, or a wait for the device, raises.
    found = methods.find(name).function(converted(evidence(), lambda each: torch.tensor(each, device="meta")))
    assert found.shape == ((2, 3, 4) if name in TRANSFORMERS else (2, 7, 9))


@pytest.mark.parametrize("name", SPECIAL)
def test_half_precision(name):
    found = methods.find(name).function(converted(evidence(), lambda each: torch.tensor(each, dtype=torch.bfloat16)))
    wanted = methods.find(name).function(evidence())
    assert found.dtype == torch.bfloat16
    assert np.abs(found.double().numpy() - wanted).max() < 0.1 * np.abs(wanted).max()


def test_rollout_of_uniform_and_of_still_attention():
    """By closed form: attention to itself only moves nothing; uniform attention leaves `2^-L` where it was."""
    still = Capture(np.zeros((1, 1, 2, 2)), attention=(np.eye(5)[None, None],) * 3, prefix=1)
    np.testing.assert_array_equal(methods.find("attention-rollout").function(still), np.zeros((1, 2, 2)))
    even = Capture(np.zeros((1, 1, 2, 2)), attention=(np.full((1, 2, 5, 5), 0.2),) * 3, prefix=1)
    np.testing.assert_allclose(methods.find("attention-rollout").function(even), np.full((1, 2, 2), (1 - 2**-3) / 5))


def test_fullgrad_of_a_constant_channel_is_zero():
    flat = Capture(np.zeros((1, 1, 2, 2)), images=np.ones((1, 1, 2, 2)), input_gradients=np.ones((1, 1, 2, 2)))
    np.testing.assert_array_equal(methods.find("fullgrad").function(flat), np.zeros((1, 2, 2)))


def test_nan_is_not_hidden():
    capture = evidence()
    for block in (*capture.attention, *capture.attention_gradients):
        block[0, 0, 0, 3] = np.nan
    for values in (capture.guided, capture.input_gradients):
        values[0, 0, 2, 2] = np.nan
    for name in SPECIAL:
        found = methods.find(name).function(capture)
        assert np.isnan(found[0]).any(), name
        assert not np.isnan(found[1]).any(), name


def test_an_unknown_rescale():
    with pytest.raises(RequestError, match="unknown rescale 'batch': there is channel, layer"):
        methods.find("fullgrad").function(evidence(), rescale="batch")


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_layer_with_other_tokens_than_the_attention(name):
    capture = evidence(prefix=1)
    other = Capture(
        np.zeros((2, 5, 3, 4)), attention=capture.attention, attention_gradients=capture.attention_gradients
    )
    with pytest.raises(
        RequestError, match="goes over 13 tokens, and the layer has 0 prefix tokens and a grid of 3 x 4"
    ):
        methods.find(name).function(other)


def test_rows_of_the_table():
    assert {name: methods.find(name).resolution for name in SPECIAL} == {
        **dict.fromkeys(TRANSFORMERS, Resolution.LAYER),
        **dict.fromkeys(PIXELS, Resolution.IMAGE),
    }


# ---- through the front door


def small_vit() -> VisionTransformer:
    net = VisionTransformer(
        image_size=32, patch_size=8, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5
    )
    nn.init.normal_(net.heads.head.weight)  # torchvision starts with zeros
    return net


def raw(net, images, name, **options):
    return camzoo.explain(net, images, name, stage=Stage.RAW, **options)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_vision_transformer(name):
    net = seeded(small_vit).double()
    images = torch.tensor(normals(3, 3, 32, 32))
    found = raw(net, images, name, target=[1, 0, 4])
    weights, derivatives = attention.take(net, images, ClassLogit((1, 0, 4)), True)
    assert found.values.shape == (3, 4, 4)
    for image in range(3):
        if name == "legrad":
            wanted = transformer.legrad(np.stack([each[image].numpy() for each in derivatives]), (4, 4))
        else:
            wanted = transformer.rollout(np.stack([each[image].numpy() for each in weights]), (4, 4))
        np.testing.assert_allclose(found.values[image].numpy(), wanted, rtol=1e-12, atol=1e-15)
        alone = raw(net, images[image : image + 1], name, target=[1, 0, 4][image : image + 1])
        torch.testing.assert_close(alone.values[0], found.values[image], rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_the_layer_names_the_grid_only(name):
    net = seeded(small_vit).double()
    images = torch.tensor(normals(1, 3, 32, 32))
    one = raw(net, images, name, layer="encoder.layers.encoder_layer_0", target=2)
    other = raw(net, images, name, layer="encoder.layers.encoder_layer_2.ln_1", target=2)
    assert torch.equal(one.values, other.values)
    with pytest.raises(RequestError, match="goes over 17 tokens"):
        raw(net, images, name, layer="conv_proj", target=2)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_timm_with_an_oblong_grid_and_registers(name):
    timm = require("timm")
    net = seeded(lambda: timm.create_model("vit_tiny_patch16_224", img_size=(48, 64), depth=2, reg_tokens=3))
    found = raw(net.double(), torch.tensor(normals(2, 3, 48, 64)), name, target=3)
    assert found.values.shape == (2, 3, 4)
    assert found.values.std() > 0


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_convolutions_have_no_attention(name, small_net, images):
    with pytest.raises(NotOffered, match="no attention ran"):
        raw(small_net, images, name)


@pytest.mark.parametrize("name", ["guided-backprop", "guided-gradcam"])
def test_a_network_without_relu(name, images):
    net = seeded(SmallNet)
    net.act, net.last_act = nn.GELU(), nn.SiLU()
    with pytest.raises(NotOffered, match="no ReLU ran"):
        raw(net, images, name)


class Tiny(nn.Module):
    """A network that the oracle can run too, on images that are not square."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        grid = nn.functional.relu(self.second(self.relu(self.first(images))))
        return self.head(grid.mean((2, 3)))

    def layers(self) -> list[oracle.Layer]:
        first, second, head = ((m.weight.detach().numpy(), m.bias.detach().numpy()) for m in self.modules_with_bias())
        return [
            oracle.Conv(*first),
            oracle.Relu(),
            oracle.Conv(*second),
            oracle.Relu(),
            oracle.Pool(),
            oracle.Linear(*head),
        ]

    def modules_with_bias(self) -> tuple[nn.Module, ...]:
        return self.first, self.second, self.head


def tiny_map(name: str, net: Tiny, x: np.ndarray, label: int) -> np.ndarray:
    """From the image to the map by the oracle alone; the layer is the second convolution."""
    layers = net.layers()
    values = oracle.forward(layers, x)
    slopes = oracle.backward(layers, values, label)
    guided = oracle.guided_backprop(layers, x, label)
    match name:
        case "guided-backprop":
            return oracle.colours_summed(guided)
        case "guided-gradcam":
            return oracle.guided_gradcam(guided, gradient.gradcam(values[3], slopes[3]))
    return oracle.fullgrad(x, slopes[0], oracle.bias_gradients(layers, x, label))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", PIXELS)
def test_from_the_image_to_the_map(name, count):
    net, images = seeded(Tiny).double(), torch.tensor(normals(count, 2, 5, 4))
    labels = [2, 0, 1][:count]
    found = raw(net, images, name, layer="second", target=labels)
    for image, label in enumerate(labels):
        wanted = tiny_map(name, net, images[image].numpy(), label)
        assert np.ptp(wanted) > 0
        np.testing.assert_allclose(found.values[image].numpy(), wanted, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", PIXELS)
def test_volumes(name):
    net = seeded(lambda: nn.Sequential(nn.Conv3d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten())).double()
    found = raw(net, torch.tensor(normals(2, 1, 6, 7, 8)), name, layer="0", target=1)
    assert found.values.shape == (2, 6, 7, 8)
    assert found.resolution == Resolution.IMAGE
    assert found.values.std() > 0


def test_several_targets_have_evidence_of_their_own(images):
    net, images = seeded(SmallNet).double(), images.double()
    targets = [ClassLogit((0, 1, 2)), ClassLogit((3, 3, 3))]
    taken, _ = capture.take(net, "last", images, targets, native.needs(["guided-backprop"]))
    for target, each in zip(targets, taken, strict=True):
        found = native.heatmap(each, "guided-backprop", {}).values
        assert torch.equal(found, backprop.guided(net, images, target).sum(1))


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        ("gradcam", []),
        ("attention-rollout", ["attention"]),
        ("legrad", ["attention with gradients"]),
        ("guided-backprop", ["guided"]),
        ("guided-gradcam", ["guided"]),
        ("fullgrad", ["biases"]),
    ],
)
def test_nothing_is_taken_that_is_not_needed(name, passes, monkeypatch, images):
    asked: list[str] = []
    found = {"guided": torch.ones(3, 3, 24, 32), "biases": (images, ()), "attention": ((), ())}

    def take(_model, _images, _target, gradients, _beside):
        asked.append("attention with gradients" if gradients else "attention")
        return found["attention"]

    monkeypatch.setattr(attention, "take", take)
    for each in ("guided", "biases"):
        monkeypatch.setattr(backprop, each, lambda *_, each=each: asked.append(each) or found[each])
    (taken,), _ = capture.take(seeded(SmallNet), "last", images, [ClassLogit((0, 1, 2))], native.needs([name]))
    assert asked == []
    with contextlib.suppress(Exception):  # what stands in for the evidence is no evidence
        native.heatmap(taken, name, {})
    assert asked == passes


def test_they_are_no_base_of_other_methods(images):
    for name in SPECIAL:
        assert methods.find(name).needs & {
            Evidence.ATTENTION,
            Evidence.ATTENTION_GRADIENTS,
            Evidence.GUIDED,
            Evidence.BIASES,
        }
        with pytest.raises(NotOffered, match="cannot be the base"):
            raw(seeded(SmallNet), images, "smoothgrad", base=name)

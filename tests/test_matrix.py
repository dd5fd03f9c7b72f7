"""Every method of camzoo on every kind of network: batches, dtypes, grids, colours."""

from __future__ import annotations

import copy
import functools
import math
import warnings

import numpy as np
import pytest
import rounding
import torch
import torchvision
from conftest import SmallNet, seeded
from torch import nn

import camzoo
from camzoo import capture, methods, problems
from camzoo.errors import NotOffered
from camzoo.oracles import activation, gradient
from camzoo.targets import ClassLogit

# So few runs that every cell of the matrix is quick; the definitions are tested elsewhere.
FEW = {"masks": 6, "samples": 2, "top_channels": 4, "groups": 2, "window": 32, "stride": 32}
LITERAL = {
    "gradcam": gradient.gradcam,
    "counterfactual-gradcam": gradient.counterfactual_gradcam,
    "gradcam++": gradient.gradcam_plus_plus,
    "hirescam": gradient.hirescam,
    "gradcam-elementwise": gradient.gradcam_elementwise,
    "xgradcam": gradient.xgradcam,
    "layercam": gradient.layercam,
    "eigengradcam": gradient.eigengradcam,
    "eigencam": lambda A, _: activation.eigencam(A),
    "fem": lambda A, _: activation.fem(A),
}


class Volumes(nn.Module):
    """A 3-d network with a batch norm, an in-place ReLU, pooling and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(1, 6, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm3d(6)
        self.act = nn.ReLU(inplace=True)
        self.last = nn.Conv3d(6, 8, 3, padding=1)
        self.last_act = nn.ReLU()
        self.head = nn.Linear(8, 5)

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        grid = self.last_act(self.last(self.act(self.norm(self.first(volumes)))))
        return self.head(grid.mean((2, 3, 4)))


def vit() -> nn.Module:
    net = torchvision.models.VisionTransformer(32, 8, 3, 2, 16, 32, num_classes=5)
    nn.init.normal_(net.heads.head.weight)  # torchvision starts it at zero, so that no gradient would flow
    return net


def swin() -> nn.Module:
    return torchvision.models.SwinTransformer([2, 2], 12, [1, 1], [2, 2], [4, 4], num_classes=5)


def vgg16() -> nn.Module:
    """Half as wide, with a narrow head: the weights of its own make float64 slow and test nothing more.

    The head has as many inputs as its own, from a grid twice as wide.
    """
    widths = [("M" if layer == "M" else layer // 2) for layer in torchvision.models.vgg.cfgs["D"]]
    net = torchvision.models.VGG(torchvision.models.vgg.make_layers(widths))
    net.avgpool = nn.AdaptiveAvgPool2d((7, 14))
    net.classifier = nn.Sequential(nn.Linear(256 * 98, 32), nn.ReLU(inplace=True), nn.Linear(32, 5))
    return net


NETS = {
    "small": (SmallNet, (3, 24, 32), None),
    "one colour": (lambda: SmallNet(colours=1), (1, 24, 32), None),
    "vit": (vit, (3, 32, 32), None),
    "swin": (swin, (3, 32, 48), "features"),
    "volumes": (Volumes, (1, 6, 8, 10), None),
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=5), (3, 64, 96), None),
    "vgg16": (vgg16, (3, 32, 64), None),
    "efficientnet-lite0": (None, (3, 64, 96), None),
}
HEAVY = {"resnet18", "vgg16", "efficientnet-lite0"}
CONVOLUTIONS = ("small", "one colour", "volumes", "resnet18", "vgg16", "efficientnet-lite0")
OF_ATTENTION = ("attention-rollout", "legrad")
OF_RELUS = ("guided-backprop", "guided-gradcam")
# What a method needs and a network has not: these pairs, and no others, are not offered.
NOT_OFFERED = {
    **{(name, net): "no attention ran in this model" for name in OF_ATTENTION for net in CONVOLUTIONS},
    **{(name, "swin"): "does not go over all of the 16 tokens, as in windows" for name in OF_ATTENTION},
    **{(name, net): "no ReLU ran in this model" for name in OF_RELUS for net in ("vit", "swin")},
    **{("cam", net): "needs global average pooling and one linear layer" for net in ("vit", "swin", "vgg16")},
}


def cells(pairs):
    """Of a scope that puts the tests of a cell one after another, also for workers in parallel: they share results."""
    marks = {net: [pytest.mark.slow] for net in HEAVY}
    named = [pytest.param((name, net), id=f"{name}-{net}", marks=marks.get(net, [])) for name, net in pairs]
    return pytest.mark.parametrize("cell", named, scope="module")


PAIRS = [(method.name, net) for net in NETS for method in methods.TABLE]
OFFERED = [pair for pair in PAIRS if pair not in NOT_OFFERED]


@pytest.fixture(scope="module")
def build(request):
    """Each network once, in float64; of its copies in other precisions those of one network at a time."""
    built: dict[str, nn.Module] = {}
    copies: dict[tuple[str, torch.dtype], nn.Module] = {}

    def get(name: str, dtype: torch.dtype = torch.float64) -> nn.Module:
        if name not in built:
            maker = NETS[name][0]
            shared = copy.deepcopy(request.getfixturevalue("lite0").module) if maker is None else seeded(maker)
            built[name] = shared.double()
        if dtype is torch.float64:
            return built[name]
        if (name, dtype) not in copies:
            for other in [key for key in copies if key[0] != name]:
                del copies[other]
            copies[name, dtype] = copy.deepcopy(built[name]).to(dtype)
        return copies[name, dtype]

    return get


@pytest.fixture(scope="module")
def alone(build):
    """The map of each image of the batch by itself, in float64: once for all tests of a method on a network."""
    return functools.cache(lambda name, net, at: explain(build(net), batch(net)[at : at + 1], name, net, [at + 1]))


def batch(net: str) -> torch.Tensor:
    return torch.randn(3, *NETS[net][1], generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def explain(model, images, name, net, target=(1, 2, 3)):
    options = {key: FEW[key] for key in methods.find(name).options if key in FEW}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", camzoo.DegenerateMapWarning)
        return camzoo.explain(
            model, images, name, layer=NETS[net][2], target=list(target)[: len(images)], stage="raw", **options
        ).values


def scale(maps: torch.Tensor) -> float:
    return max(float(maps.abs().max()), 1e-300)


@cells(OFFERED)
def test_each_image_has_its_own_map_whatever_its_batch_mates(cell, build, alone):
    name, net = cell
    model, images = build(net), batch(net)
    together = explain(model, images, name, net)
    assert together.shape[0] == 3
    assert together.shape[1:] in {images.shape[2:], alone("gradcam", net, 0).shape[1:]}
    assert torch.isfinite(together).all()
    for at in (0, 2) if net in HEAVY else (0, 1, 2):
        assert float((alone(name, net, at)[0] - together[at]).abs().max()) <= 1e-9 * scale(together[at])


@cells(NOT_OFFERED)
def test_what_a_network_has_not_is_not_offered(cell, build):
    name, net = cell
    with pytest.raises(NotOffered, match=NOT_OFFERED[cell]):
        explain(build(net), batch(net)[:1], name, net)


# Precision. `rounding.spread` measures how far one rounding of each result moves a map. Arithmetic in float32 rounds
# inside of sums as well: n terms, sixteen added side by side, err like sqrt(n/16) roundings, which are 17 for the 4608
# of a convolution in ResNet-18, and 40 for the 25088 of a linear layer after VGG-16. In bfloat16 sums are
# collected in float32 and rounded once; its factor is for three runs that need not have met the worst.
FACTOR = {torch.float32: 40, torch.bfloat16: 4}
# In each precision a map is known to this share of its largest value, or stands in a table; one that stands there must
# be off by more than a quarter of this. Two maps that have nothing in common are off by 2.
KNOWN = {torch.float32: 2e-3, torch.bfloat16: 2.0}
# In float32 these are known to ten times as much: sums whose terms cancel, tanh(1 + small numbers) less its mean.
ROUGH = {("hirescam", "swin"), ("xgradcam", "swin"), ("kpcacam", "vgg16")}
# In bfloat16 rounding moves these by as much as there is to be seen: nothing but that they are finite can be said.
CANCELS = "a sum of terms that cancel"
RELUS = "units change sides of their ReLU"
THRESHOLD = "half of the cells or more have a channel that changes sides of its threshold"
COMPONENTS = "another component is chosen, or the factors end elsewhere"
NOISE = {
    **{("groupcam", net): CANCELS for net in ("one colour", "swin", "volumes", "efficientnet-lite0")},
    ("hirescam", "swin"): CANCELS,
    ("xgradcam", "swin"): CANCELS,
    ("finercam", "efficientnet-lite0"): CANCELS,
    **{("guided-backprop", net): RELUS for net in ("small", "one colour", "efficientnet-lite0")},
    **{("guided-gradcam", net): RELUS for net in ("small", "efficientnet-lite0")},
    ("dff", "vit"): COMPONENTS,
    ("ablationcam", "vgg16"): CANCELS,
    ("fullgrad", "vgg16"): RELUS,
    **{("fem", net): THRESHOLD for net in ("vit", "swin", "resnet18", "vgg16", "efficientnet-lite0")},
}
# After a layer norm all tokens have one energy, to rounding, and it is the energy that settles the sign.
OPEN_SIGN = {
    ("kpcacam", "vit", torch.float32),
    ("kpcacam", "vit", torch.bfloat16),
    ("eigencam", "vit", torch.bfloat16),
}


@pytest.mark.parametrize("dtype", FACTOR, ids=str)
@cells(OFFERED)
def test_lower_precision_is_off_by_its_rounding_and_no_more(cell, dtype, build, alone, monkeypatch):
    name, net = cell
    photo = batch(net)[:1]
    wanted = alone(name, net, 0)
    found = explain(build(net, dtype), photo.to(dtype), name, net)
    assert found.dtype == dtype
    assert found.isfinite().all()

    def turned(maps):
        signs = torch.sign((maps * wanted).sum((1, 2), keepdim=True))
        return signs * maps if (name, net, dtype) in OPEN_SIGN else maps

    def played(mode):
        return turned(explain(build(net), mode.rounded(photo), name, net))

    moved = rounding.spread(played, wanted, dtype, monkeypatch)
    counted = decided(build(net), photo, net, dtype, monkeypatch) if name == "fem" else torch.ones_like(wanted).bool()
    if dtype is torch.bfloat16 and (name, net) in NOISE:
        assert share(counted) < 0.5 or FACTOR[dtype] * scale(moved[counted]) > KNOWN[dtype] / 4 * scale(wanted)
        return
    assert share(counted) >= (0.9 if dtype is torch.float32 else 0.5)
    allowed, known = FACTOR[dtype] * scale(moved[counted]), KNOWN[dtype] * scale(wanted)
    if dtype is torch.float32 and (name, net) in ROUGH:
        assert known / 4 < allowed <= 10 * known
    else:
        assert allowed <= known
    assert scale((turned(found.double()) - wanted)[counted]) <= allowed


def share(cells: torch.Tensor) -> float:
    return float(cells.double().mean())


def activations(model, photo, net) -> torch.Tensor:
    layer = problems.layer_name(model, NETS[net][2], photo)
    (taken,), _ = capture.take(model, layer, photo, [ClassLogit((1,))], frozenset())
    return taken.activations


def decided(model, photo, net, dtype, monkeypatch) -> torch.Tensor:
    """The cells `(1, h, w)` where no mark of FEM hangs on rounding.

    If rounding moves the activations of a channel by up to r, it moves their mean by up to r, their deviation by up to
    r, and so an activation against `mean + 2 deviation` by up to 4 r.
    """
    A = activations(model, photo, net)
    cells = tuple(range(2, A.ndim))
    moved = rounding.spread(lambda mode: activations(model, mode.rounded(photo), net), A, dtype, monkeypatch)
    r = FACTOR[dtype] * moved.amax(cells, keepdim=True)
    threshold = A.mean(cells, keepdim=True) + 2 * A.std(cells, correction=0, keepdim=True)
    constant = A.amax(cells, keepdim=True) == A.amin(cells, keepdim=True)
    return (((A - threshold).abs() > 4 * r) | constant).all(1)


def test_where_the_sign_is_open_all_tokens_have_one_energy(build):
    """Of the ViT's tokens the energies differ by more than rounding in float64, and by less in lower precisions."""
    A = activations(build("vit"), batch("vit")[:1], "vit")
    energy = (A**2).sum(1)
    deviation = float((energy - energy.mean()).norm() / energy.norm())
    assert 100 * torch.finfo(torch.float64).eps < deviation < 100 * torch.finfo(torch.float32).eps


@pytest.mark.parametrize("name", ["gradcam", "eigencam", "occlusion", "fullgrad", "fem"])
def test_digits_that_are_lost_would_be_seen(name, build, monkeypatch):
    """Weights of eight digits fewer than float32 has give maps that are further off than float32 may be."""
    model, photo = build("small"), batch("small")[:1]
    wanted = explain(model, photo, name, "small")
    moved = rounding.spread(
        lambda mode: explain(model, mode.rounded(photo), name, "small"), wanted, torch.float32, monkeypatch
    )
    found = explain(build("small", torch.bfloat16).double(), photo, name, "small")
    assert scale(found - wanted) > FACTOR[torch.float32] * scale(moved)


def test_rounding_keeps_what_is_exact_and_goes_both_ways_else():
    values = torch.linspace(1, 2, 1000, dtype=torch.float64)[:-1].requires_grad_()
    exact = torch.arange(128, 256, dtype=torch.float64) / 128  # eight bits
    with rounding.Rounding(torch.bfloat16, 0):
        products, again = values * 1, values.flip(0) * 1
        written = torch.zeros_like(values).add_(values.detach())
        (gradient,) = torch.autograd.grad((values**2).sum() / 2, values)
        assert torch.equal(exact * 1, exact)
        endless = torch.tensor([math.inf, -math.inf], dtype=torch.float64)
        assert torch.equal(endless * 1, endless)
        assert (torch.zeros(3, dtype=torch.float64) / 0).isnan().all()
    assert torch.equal(products, again.flip(0))
    for found in (products, written, gradient):
        off = (found - values).detach()
        assert (found * 128 % 1 == 0).all()
        assert off.abs().max() < 2 / 128
        assert off.min() < -0.8 / 128
        assert off.max() > 0.8 / 128
        assert abs(off.mean()) < 0.1 / 128


@pytest.mark.parametrize("name", LITERAL)
@pytest.mark.parametrize("net", [pytest.param(net, marks=[pytest.mark.slow] if net in HEAVY else []) for net in NETS])
def test_the_literal_twin_agrees_on_real_evidence(name, net, build):
    """The capture's own activations and gradients, through the twin that loops over channels and cells."""
    model, images = build(net), batch(net)[:1]
    layer = problems.layer_name(model, NETS[net][2], images)
    (taken,), _ = capture.take(model, layer, images, [ClassLogit((1,))])
    A, G = (np.asarray(array[0]) for array in (taken.activations, taken.gradients))
    wanted = LITERAL[name](A, G)
    found = np.asarray(explain(model, images, name, net)[0])
    assert np.abs(found - wanted).max() <= 1e-9 * max(np.abs(wanted).max(), 1e-300)


def test_every_row_of_the_table_is_in_the_matrix():
    assert {name for name, _ in OFFERED} == {method.name for method in methods.TABLE}
    assert set(NOT_OFFERED) <= set(PAIRS)

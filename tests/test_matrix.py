"""Every method of camzoo on every kind of network: batches, dtypes, grids, colours."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import torchvision
from conftest import SmallNet, seeded
from torch import nn

import camzoo
from camzoo import methods
from camzoo.errors import NotOffered
from camzoo.oracles import activation, gradient

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
# Each needs a structure that not every network has; elsewhere it must say so.
PARTIAL = {"cam", "legrad", "attention-rollout", "guided-backprop", "guided-gradcam", "refinecam", "fusion", "fullgrad"}


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
    """With a narrow head: its own has a hundred million weights, which make float64 slow and test nothing more."""
    net = torchvision.models.vgg16()
    net.classifier = nn.Sequential(nn.Linear(512 * 49, 32), nn.ReLU(inplace=True), nn.Linear(32, 5))
    return net


NETS = {
    "small": (SmallNet, (3, 24, 32), None),
    "one colour": (lambda: SmallNet(colours=1), (1, 24, 32), None),
    "vit": (vit, (3, 32, 32), None),
    "swin": (swin, (3, 32, 48), "features"),
    "volumes": (Volumes, (1, 6, 8, 10), None),
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=5), (3, 64, 96), None),
    "vgg16": (vgg16, (3, 64, 96), None),
    "efficientnet-lite0": (None, (3, 96, 128), None),
}
HEAVY = {"resnet18", "vgg16", "efficientnet-lite0"}
CELLS = [
    pytest.param(method.name, net, id=f"{method.name}-{net}", marks=[pytest.mark.slow] if net in HEAVY else [])
    for net in NETS
    for method in methods.TABLE
]


@pytest.fixture(scope="module")
def build(request):
    """Each network once, in float64."""
    built: dict[str, nn.Module] = {}

    def get(name: str) -> nn.Module:
        if name not in built:
            maker = NETS[name][0]
            if maker is None:
                built[name] = request.getfixturevalue("lite0").module
            else:
                built[name] = seeded(maker)
        return built[name]

    yield get
    if "efficientnet-lite0" in built:
        built["efficientnet-lite0"].float()  # it is shared with other tests


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


@pytest.mark.parametrize(("name", "net"), CELLS)
def test_each_image_has_its_own_map_whatever_its_batch_mates(name, net, build):
    model, images = build(net).double(), batch(net)
    try:
        together = explain(model, images, name, net)
    except NotOffered:
        if name not in PARTIAL:
            raise
        return
    assert together.shape[0] == 3
    assert together.shape[1:] in {tuple(images.shape[2:]), grid(model, images, net)}
    assert torch.isfinite(together).all()
    for at in range(3):
        alone = explain(model, images[at : at + 1], name, net, [at + 1])
        assert float((alone[0] - together[at]).abs().max()) <= 1e-9 * scale(together[at])


def grid(model, images, net) -> tuple[int, ...]:
    return tuple(explain(model, images[:1], "gradcam", net).shape[1:])


@pytest.mark.parametrize(("name", "net"), CELLS)
def test_single_and_half_precision_follow_double(name, net, build):
    model, images = build(net).double(), batch(net)
    try:
        wanted = explain(model, images, name, net)
        single = explain(model.float(), images.float(), name, net)
        half = explain(model.bfloat16(), images.bfloat16(), name, net)
    except NotOffered:
        if name not in PARTIAL:
            raise
        return
    finally:
        model.double()
    assert single.dtype == torch.float32
    assert half.dtype == torch.bfloat16
    assert half.isfinite().all()
    # Sums over some ten thousand activations, through some fifty layers; the sharpest steps (rank, threshold,
    # largest component) are those of fem and dff, where a cell may change sides.
    if name in {"fem", "dff"}:
        return
    single = single.double()
    if net == "vit" and name == "kpcacam":
        # After a layer norm all tokens have one energy, to rounding: what settles the sign in double is not there.
        single = single * torch.sign((single * wanted).sum((1, 2), keepdim=True))
    assert float((single - wanted).abs().max()) <= 2e-3 * scale(wanted)


@pytest.mark.parametrize("name", LITERAL)
@pytest.mark.parametrize("net", [pytest.param(net, marks=[pytest.mark.slow] if net in HEAVY else []) for net in NETS])
def test_the_literal_twin_agrees_on_real_evidence(name, net, build):
    """The capture's own activations and gradients, through the twin that loops over channels and cells."""
    from camzoo import capture, problems
    from camzoo.targets import ClassLogit

    model, images = build(net).double(), batch(net)[:1]
    layer = problems.layer_name(model, NETS[net][2], images)
    (taken,), _ = capture.take(model, layer, images, [ClassLogit((1,))])
    A, G = (np.asarray(array[0]) for array in (taken.activations, taken.gradients))
    wanted = LITERAL[name](A, G)
    found = np.asarray(explain(model, images, name, net)[0])
    assert np.abs(found - wanted).max() <= 1e-9 * max(np.abs(wanted).max(), 1e-300)


def test_every_row_of_the_table_is_in_the_matrix():
    assert {cell.values[0] for cell in CELLS} == {method.name for method in methods.TABLE}

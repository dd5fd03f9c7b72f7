"""camzoo's own backend: its Grad-CAM against a literal twin and a closed form, its offers against the table."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
import torchvision
from conftest import SmallNet, seeded
from snapshots import snapshot

from camzoo import backends, capture, methods, native, problems
from camzoo.errors import NotOffered
from camzoo.oracles import gradient, linear
from camzoo.targets import ClassLogit
from camzoo.types import Evidence, Resolution, Stage


def doubles(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def ask(net, images, method="gradcam", layer=None, target=None, **options):
    return backends.run(native.backend, problems.pose(net, images, layer, target), method, options)


CASES = {
    "SmallNet last": (SmallNet, (3, 3, 24, 32), "last"),
    "SmallNet stem": (SmallNet, (2, 3, 24, 32), "stem"),
    "one colour, one image": (lambda: SmallNet(colours=1), (1, 1, 17, 40), "last"),
    "resnet18": (torchvision.models.resnet18, (2, 3, 64, 96), "layer4"),
}


@pytest.mark.parametrize("case", CASES)
def test_gradcam_is_its_literal_twin(case):
    build, shape, layer = CASES[case]
    net, images = seeded(build).double(), doubles(*shape)
    classes = tuple(range(1, shape[0] + 1))
    found = ask(net, images, layer=layer, target=list(classes))
    kept = {}
    handle = net.get_submodule(layer).register_forward_hook(lambda _m, _i, out: kept.setdefault("A", out) * 1)
    scores = net(images)
    handle.remove()
    (gradients,) = torch.autograd.grad(scores[range(len(classes)), list(classes)].sum(), kept["A"])
    for image in range(shape[0]):
        wanted = gradient.gradcam(kept["A"][image].detach().numpy(), gradients[image].numpy())
        assert np.abs(wanted).max() > 0
        assert np.abs(found.values[image].numpy() - wanted).max() <= 1e-12 * np.abs(wanted).max()


@pytest.mark.parametrize(
    ("build", "layer", "head"),
    [(SmallNet, "last_act", "head"), (torchvision.models.resnet18, "layer4", "fc")],
    ids=["SmallNet", "resnet18"],
)
def test_closed_form_of_pooling_and_a_linear_layer(build, layer, head):
    """`M = sum_k w_k A_k / (h w)`: Grad-CAM without a gradient; HiResCAM and XGrad-CAM are the same."""
    net, images = seeded(build).double(), doubles(2, 3, 64, 96)
    kept = {}
    handle = net.get_submodule(layer).register_forward_hook(lambda _m, _i, out: kept.setdefault("A", out.detach()))
    with torch.no_grad():
        net(images)
    handle.remove()
    weights = net.get_submodule(head).weight.detach().numpy()
    for name in ("gradcam", "hirescam", "xgradcam"):
        if name not in {offer.method for offer in native.backend.offers}:
            continue
        found = ask(net, images, name, layer, [3, 1])
        for image, index in enumerate((3, 1)):
            A = kept["A"][image].numpy()
            wanted = linear.cam(A, weights, index) / A[0].size
            assert np.abs(found.values[image].numpy() - wanted).max() <= 1e-12 * np.abs(wanted).max(), name


def test_offers_are_the_table():
    assert [offer.method for offer in native.backend.offers] == [method.name for method in methods.TABLE]
    assert len({method.name for method in methods.TABLE}) == len(methods.TABLE)
    for offer in native.backend.offers:
        method = methods.find(offer.method)
        assert offer.stage is Stage.RAW
        assert offer.calls == f"methods.{method.function.__name__}"
        assert getattr(methods, method.function.__name__) is method.function
        parameters = inspect.signature(method.function).parameters.values()
        assert offer.options == tuple(each.name for each in parameters if each.kind is each.KEYWORD_ONLY)
        assert all(each.default is not each.empty for each in parameters if each.kind is each.KEYWORD_ONLY)


def test_needs_are_joined_and_unknown_names_need_nothing():
    assert native.needs([]) == frozenset()
    assert native.needs(iter(["gradcam"])) == {Evidence.GRADIENTS}
    assert native.needs(["gradcam", "no such method"]) == {Evidence.GRADIENTS}
    together = native.needs(method.name for method in methods.TABLE)
    # A second derivative is paid for by the one method that needs it, not by all that share a capture.
    assert together == frozenset().union(*(method.needs for method in methods.TABLE)) - {Evidence.HESSIAN}


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("no such method", {}, "camzoo has no no such method"),
        ("gradcam", {"colour": 1}, "gradcam@camzoo has no option 'colour'; its options: none"),
    ],
)
def test_what_is_not_offered(small_net, images, method, options, message):
    (taken,), _ = capture.take(small_net, "last", images, [ClassLogit((1, 2, 3))])
    with pytest.raises(NotOffered, match=message):
        native.heatmap(taken, method, options)
    with pytest.raises(NotOffered, match=message):
        ask(small_net, images, method, "last", **options)


FOR_TRANSFORMERS = ("legrad", "attention-rollout")
FEW: dict[str, dict[str, int]] = {
    "rise": {"masks": 20},
    "occlusion": {"window": 8, "stride": 8},
    "sscam": {"samples": 3, "top_channels": 4},
    "iscam": {"samples": 3, "top_channels": 4},
    "smoothgrad": {"samples": 3},
    "smoothgradcam++": {"samples": 3},
}


@pytest.mark.parametrize("method", [method.name for method in methods.TABLE])
def test_every_method_gives_a_map_or_says_why_not(images, method):
    """One map for each image, raw, finite, and a model as it was; alone the same as from evidence that others share."""
    net = seeded(SmallNet).train()
    problem = problems.pose(net, images, "last_act", [1, 2, 3])
    before = snapshot(net)
    options = FEW.get(method, {})
    if method in FOR_TRANSFORMERS:
        with pytest.raises(NotOffered) as caught:
            backends.run(native.backend, problem, method, options)
        assert "\n" not in str(caught.value)
        assert snapshot(net) == before
        return
    found = backends.run(native.backend, problem, method, options)
    assert snapshot(net) == before
    assert (found.stage, found.method, found.backend) == (Stage.RAW, method, "camzoo")
    grid = (6, 8) if found.resolution is Resolution.LAYER else (24, 32)
    assert found.values.shape == (3, *grid)
    assert bool(torch.as_tensor(found.values).isfinite().all())
    needed = native.needs([method, "gradcam"])
    (shared,), _ = capture.take(net, "last_act", images, [problem.target], needed, problem.seed)
    again = native.heatmap(shared, method, options)
    assert torch.allclose(torch.as_tensor(again.values), torch.as_tensor(found.values), rtol=1e-5, atol=1e-7)
    assert snapshot(net) == before

"""The methods that ask the model for more scores, against their literal float64 twins."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from conftest import SmallNet, seeded
from snapshots import snapshot
from torch import nn

import camzoo
from camzoo import capture
from camzoo.errors import DegenerateMapWarning, NotOffered
from camzoo.methods.groupcam import blur
from camzoo.methods.rise import random_mask
from camzoo.noise import normal
from camzoo.oracles import gradient, linear, scores
from camzoo.oracles.grids import resize
from camzoo.targets import ClassLogit, ClassProbability, Contrast
from camzoo.types import Evidence

CLASSES = (3, 0, 4)
SEED = 5


class Smooth(SmallNet):
    """Nothing after the layer is piecewise linear."""

    def forward(self, images):
        grid = torch.tanh(self.last_act(self.last(self.act(self.norm(self.stem(images)))))) ** 2
        return self.head(torch.flatten(self.pool(grid), 1)).sin()


class Volume(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv3d(1, 4, 3, stride=2, padding=1)
        self.act = nn.ReLU()
        self.head = nn.Linear(4, 5)

    def forward(self, images):
        return self.head(self.act(self.last(images)).mean((2, 3, 4)))


def build(kind=SmallNet) -> nn.Module:
    """With one constant and one dead channel."""
    net = seeded(kind).double()
    with torch.no_grad():
        net.last.weight[:2] = 0
        net.last.bias[:2] = torch.tensor([0.3, -1.0])
    return net


@pytest.fixture
def net() -> nn.Module:
    return build()


@pytest.fixture
def photos(images) -> torch.Tensor:
    return images.double()


def raw(net, images, method, target=CLASSES, layer="last_act", **options):
    target = list(target) if isinstance(target, tuple) else target
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateMapWarning)
        return camzoo.explain(net, images, method, layer=layer, target=target, stage="raw", **{"seed": SEED, **options})


def error(found, wanted) -> float:
    found = found.double().numpy() if isinstance(found, torch.Tensor) else found
    assert found.shape == wanted.shape
    assert np.abs(wanted).max() > 0
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


class Twin:
    """The evidence for the oracles, from plain PyTorch."""

    def __init__(self, net, images, image, layer="last_act", c=None, pick=None) -> None:
        self.net, self.x, self.c = net, images[image].numpy(), CLASSES[image] if c is None else c
        self.layer = net.get_submodule(layer)
        self.pick = pick or (lambda outputs: outputs[:, self.c])
        self.A = self.forward(self.x)[0].numpy()
        self.G = self.gradient(self.A)

    def forward(self, x, A=None):
        kept = []

        def hook(_module, _inputs, output):
            given = output if A is None else A
            kept.append(given.detach().clone())
            return given.clone()

        handle = self.layer.register_forward_hook(hook)
        outputs = self.net(torch.from_numpy(np.ascontiguousarray(x))[None])
        handle.remove()
        return kept[0][0], self.pick(outputs)[0]

    def score(self, x) -> float:
        with torch.no_grad():
            return float(self.forward(x)[1])

    def tail(self, A) -> float:
        with torch.no_grad():
            return float(self.forward(self.x, torch.from_numpy(np.ascontiguousarray(A))[None])[1])

    def gradient(self, A, x=None) -> np.ndarray:
        leaf = torch.from_numpy(np.ascontiguousarray(A))[None].requires_grad_()
        return torch.autograd.grad(self.forward(self.x if x is None else x, leaf)[1], leaf)[0][0].numpy()


def sscam_noise(twin, samples, std):
    like = torch.zeros((), dtype=torch.float64)
    size = twin.x.shape[1:]
    draws = [[normal(like, size, SEED, k, t).numpy() for t in range(samples)] for k in range(len(twin.A))]
    return std * np.array(draws)


def rise_masks(images, count, **options):
    settings = {"cells": 7, "keep": 0.5, **options}
    return np.array([random_mask(images, SEED, i, settings["cells"], settings["keep"]).numpy() for i in range(count)])


def noisy_gradients(twin, samples, std):
    like = torch.zeros((), dtype=torch.float64)
    inputs = [twin.x + std * normal(like, twin.x.shape, SEED, t).numpy() for t in range(samples)]
    return [twin.gradient(twin.forward(x)[0].numpy(), x) for x in inputs]


TWINS = {
    "scorecam": lambda t: scores.scorecam(t.A, t.x, t.score),
    "scorecam(top_channels=3)": lambda t: scores.scorecam(t.A, t.x, t.score, 3),
    "scorecam(top_channels=100)": lambda t: scores.scorecam(t.A, t.x, t.score, 100),
    "scorecam(weights=score)": lambda t: scores.scorecam_authors(t.A, t.x, t.score),
    "sscam(samples=3)": lambda t: scores.sscam(t.A, t.x, t.score, sscam_noise(t, 3, 2.0)),
    "sscam(samples=2, std=0.4)": lambda t: scores.sscam(t.A, t.x, t.score, sscam_noise(t, 2, 0.4)),
    "iscam": lambda t: scores.iscam(t.A, t.x, t.score),
    "iscam(samples=4, strength=cumulative)": lambda t: scores.iscam(t.A, t.x, t.score, 4, "cumulative"),
    "groupcam": lambda t: scores.groupcam(t.A, t.G, t.x, t.score),
    "groupcam(groups=3)": lambda t: scores.groupcam(t.A, t.G, t.x, t.score, 3),
    "occlusion": lambda t: scores.occlusion(t.x, t.score, (3, 5), (1, 2)),
    "occlusion(window=7, stride=4, baseline=0.5)": lambda t: scores.occlusion(t.x, t.score, (7, 7), (4, 4), 0.5),
    "occlusion(window=3, stride=5)": lambda t: scores.occlusion(t.x, t.score, (3, 3), (5, 5)),
    "rise(masks=70)": lambda t: scores.rise(t.x, t.score, rise_masks(torch.from_numpy(t.x)[None], 70)),
    "rise(masks=9, cells=4, keep=0.3)": lambda t: scores.rise(
        t.x, t.score, rise_masks(torch.from_numpy(t.x)[None], 9, cells=4, keep=0.3), 0.3
    ),
    "ablationcam": lambda t: scores.ablationcam(t.A, t.tail),
    "ablationcam(closed_form=False)": lambda t: scores.ablationcam(t.A, t.tail),
    "shapleycam": lambda t: scores.shapleycam(t.A, t.G, scores.hessian_vector(t.A, t.gradient)),
    "smoothgradcam++": lambda t: scores.smoothgradcam_plus_plus(t.A, noisy_gradients(t, 4, 0.3)),
    "smoothgradcam++(samples=2, std=1.0)": lambda t: scores.smoothgradcam_plus_plus(t.A, noisy_gradients(t, 2, 1.0)),
}
every_method = pytest.mark.parametrize("method", TWINS)


@every_method
@pytest.mark.parametrize("layer", ["last_act", "last"])
def test_each_image_of_a_batch_is_the_literal_twin(net, photos, method, layer):
    found = raw(net, photos, method, layer=layer)
    wanted = np.stack([TWINS[method](Twin(net, photos, image, layer)) for image in range(3)])
    assert error(found.values, wanted) <= 1e-12
    assert found.notes == ()


@every_method
def test_an_image_does_not_depend_on_its_batch_mates(net, photos, method):
    batch = raw(net, photos, method).values.numpy()
    singles = [raw(net, photos[i : i + 1], method, (CLASSES[i],)).values.numpy() for i in range(3)]
    assert error(np.concatenate(singles), batch) <= 1e-12


@pytest.mark.parametrize("chunk", [1, 2, 7, 1000])
@every_method
def test_the_chunk_size_does_not_matter(net, photos, method, chunk):
    usual = raw(net, photos, method).values.numpy()
    assert error(raw(net, photos, method, chunk=chunk).values, usual) <= 1e-12


@every_method
def test_smooth_tails(photos, method):
    """Scores that no piece of is linear; the Hessian of the twin is from differences, exact to the step squared."""
    net = build(Smooth)
    found = raw(net, photos, method).values
    wanted = np.stack([TWINS[method](Twin(net, photos, image)) for image in range(3)])
    assert error(found, wanted) <= (1e-7 if method == "shapleycam" else 1e-12)


FLAT = ("groupcam", "rise", "occlusion")  # their twins have windows, masks or blurs of two axes


@pytest.mark.parametrize("method", [method for method in TWINS if not method.startswith(FLAT)])
def test_volumes(method):
    net = seeded(Volume).double()
    images = torch.randn(2, 1, 4, 6, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = raw(net, images, method, (1, 2), "act").values
    wanted = np.stack([TWINS[method](Twin(net, images, at, "act", c)) for at, c in enumerate((1, 2))])
    assert error(found, wanted) <= 1e-12


@every_method
def test_the_model_is_given_back(photos, method):
    net = build().train()
    before, given = snapshot(net), photos.clone()
    raw(net, photos, method)
    assert snapshot(net) == before
    assert torch.equal(photos, given)


@every_method
def test_seeds(net, photos, method):
    """The noise is that of the seed; what has none does not change with it."""
    one, again, other = (raw(net, photos, method, layer="last", seed=seed).values for seed in (1, 1, 2))
    assert torch.equal(one, again)
    noisy = method.startswith(("sscam", "rise", "smooth"))
    assert torch.equal(one, other) == (not noisy)


SCORE_WEIGHTED = ["scorecam", "sscam(samples=2)", "iscam(samples=2)", "groupcam", "ablationcam"]


@pytest.mark.parametrize("method", SCORE_WEIGHTED)
def test_a_layer_that_is_constant_gives_zeros(photos, method):
    net = build()
    with torch.no_grad():
        net.last.weight.zero_()
    if method == "ablationcam":
        net.last.bias.data.zero_()
        assert float(raw(net, photos, method, closed_form=False).values.abs().max()) == 0
    assert float(raw(net, photos, method).values.abs().max()) == 0


def test_constant_channels_are_not_run(net, photos):
    rows = []
    net.register_forward_hook(lambda _m, _i, output: rows.append(len(output)))
    raw(net, photos, "scorecam")
    varying = (Twin(net, photos, 0).A.std((1, 2)) > 0).sum()
    assert varying < 8
    assert sum(rows[1:4]) > 0
    rows.clear()
    raw(net, photos[:1], "scorecam", (3,))
    assert sum(rows) == 1 + varying


def test_top_channels_runs_only_these(net, photos):
    rows = []
    net.register_forward_hook(lambda _m, _i, output: rows.append(len(output)))
    raw(net, photos, "scorecam", top_channels=2)
    assert sum(rows) == 3 + 3 * 2


def test_authors_scorecam_is_of_probabilities(net, photos):
    found = raw(net, photos, "scorecam", ClassProbability(2), weights="score").values
    twins = [Twin(net, photos, at, pick=lambda outputs: outputs.softmax(1)[:, 2]) for at in range(3)]
    assert error(found, np.stack([scores.scorecam_authors(t.A, t.x, t.score) for t in twins])) <= 1e-12


def test_groupcam_enlarged_is_the_authors_map(net, photos):
    twin = Twin(net, photos, 0)
    soft = scores.gaussian_blur(twin.x)
    assert error(blur(photos)[0], soft) <= 1e-13
    wanted = np.zeros(twin.x.shape[1:])
    for start in range(0, 8, 3):
        m = gradient.gradcam(twin.A[start : start + 3], twin.G[start : start + 3]).clip(0)
        m = np.where(m > np.percentile(m, 70), m, 0)
        large = resize(m, twin.x.shape[1:])
        if large.max() > large.min():
            mask = (large - large.min()) / (large.max() - large.min())
            wanted += (twin.score(twin.x * mask + soft * (1 - mask)) - twin.score(soft)) * mask
    found = raw(net, photos, "groupcam", groups=3)
    assert error(found.resize()[0], wanted) <= 1e-12


# Ablation: three ways to one number --------------------------------------------------------------------------------


class Whole(SmallNet):
    """The layer is also in a list that PyTorch does not know of, so that the tail cannot be cut off."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = [self.last_act]

    def forward(self, images):
        return self.head(self.pool(self.hidden[0](self.last(self.act(self.norm(self.stem(images)))))).flatten(1))


def test_closed_form_is_the_rerun_tail_is_the_whole_model(net, photos):
    closed = raw(net, photos, "ablationcam")
    tail = raw(net, photos, "ablationcam", closed_form=False)
    other = seeded(Whole).double()
    other.load_state_dict(net.state_dict())
    whole = raw(other, photos, "ablationcam", closed_form=False)
    W, b = net.head.weight.detach().numpy(), net.head.bias.detach().numpy()
    twins = [Twin(net, photos, at) for at in range(3)]
    wanted = np.stack([linear.ablationcam(t.A, W, b, t.c) for t in twins])
    for found in (closed, tail, whole):
        assert error(found.values, wanted) <= 1e-12
    assert (closed.notes, tail.notes) == ((), ())
    assert "whole model" in whole.notes[0]


def test_the_closed_form_runs_nothing_for_each_channel(net, photos):
    rows = []
    net.stem.register_forward_hook(lambda _m, _i, output: rows.append(len(output)))
    net.head.register_forward_hook(lambda _m, _i, output: rows.append(len(output)))
    raw(net, photos, "ablationcam")
    assert rows == [3, 3, 2]  # the capture, and two probes of the tail


def test_what_comes_before_the_layer_does_not_run_for_each_channel(net, photos):
    rows = []
    net.stem.register_forward_hook(lambda _m, _i, output: rows.append(len(output)))
    raw(net, photos, "ablationcam", closed_form=False)
    assert rows == [3, 3]  # the capture, and one check of all images


@pytest.mark.parametrize(
    "target",
    [ClassProbability(2), lambda outputs: outputs[:, 1] ** 2, lambda outputs: outputs[:, 1].abs(), Contrast(0, 3)],
    ids=["probability", "square", "size", "contrast"],
)
def test_the_closed_form_is_for_scores_that_are_linear(net, photos, target):
    found = raw(net, photos, "ablationcam", target).values
    twins = [Twin(net, photos, at, pick=target) for at in range(3)]
    assert error(found, np.stack([scores.ablationcam(t.A, t.tail) for t in twins])) <= 1e-12


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_tail_with_a_relu_is_no_pooling_and_linear_layer(photos, dtype):
    with pytest.raises(NotOffered, match="global average pooling"):
        raw(build().to(dtype), photos.to(dtype), "cam", layer="last")


@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
def test_cam_is_the_closed_form(net, photos, dtype, most):
    found = raw(build().to(dtype), photos.to(dtype), "cam").values
    W = net.head.weight.detach().numpy()
    wanted = np.stack([linear.cam(t.A, W, t.c) for t in (Twin(net, photos, at) for at in range(3))])
    assert error(found, wanted) <= most
    assert error(raw(net, photos, "cam").values, wanted) <= 1e-13
    assert error(raw(net, photos, "gradcam").values * 48, wanted) <= 1e-12


def test_cam_is_not_offered_for_scores_that_are_not_linear(net, photos):
    with pytest.raises(NotOffered):
        raw(net, photos, "cam", ClassProbability(2))


# Shapley -----------------------------------------------------------------------------------------------------------


def test_shapleycam_is_gradcam_where_the_tail_is_piecewise_linear(net, photos):
    for layer in ("norm", "last", "last_act"):
        found, wanted = (raw(net, photos, name, layer=layer).values for name in ("shapleycam", "gradcam"))
        assert torch.equal(found, wanted)


def test_shapleycam_is_not_gradcam_where_it_is_not(photos):
    net = build(Smooth)
    found, wanted = (raw(net, photos, name).values.numpy() for name in ("shapleycam", "gradcam"))
    assert error(found, wanted) > 0.1


def test_shapleycam_of_the_papers_utility(net, photos):
    """`y_c + log softmax(y)_c` is not linear even where the model is."""

    def rest(outputs):
        return outputs[:, 1] + outputs.log_softmax(1)[:, 1]

    found = raw(net, photos, "shapleycam", rest).values
    twins = [Twin(net, photos, at, pick=rest) for at in range(3)]
    wanted = [scores.shapleycam(t.A, t.G, scores.hessian_vector(t.A, t.gradient)) for t in twins]
    assert error(found, np.stack(wanted)) <= 1e-7


def test_the_hessian_product_is_from_second_derivatives(photos):
    net = build(Smooth)
    needs = frozenset({Evidence.GRADIENTS, Evidence.HESSIAN})
    (taken,), _ = capture.take(net, "last_act", photos, [ClassLogit(CLASSES)], needs)
    for image in range(3):
        twin = Twin(net, photos, image)
        leaf = torch.from_numpy(twin.A)[None]

        def score(flat, twin=twin, shape=leaf.shape):
            return twin.forward(twin.x, flat.reshape(shape))[1]

        hessian = torch.autograd.functional.hessian(score, leaf.flatten())
        wanted = (hessian @ leaf.flatten()).reshape(leaf.shape[1:]).numpy()
        assert error(taken.hessian_product[image], wanted) <= 1e-12

"""Sanity checks, and the metrics of Captum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import SmallNet, require, seeded
from torch import nn

from camzoo import metrics
from camzoo.errors import NotInstalled, RequestError
from camzoo.metrics import libraries

SIZE = (8, 9)


class Scaled(nn.Module):
    """A parameter of its own, which no `reset_parameters` knows."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(3, 5, 200))
        self.head = nn.Linear(200, 4)

    def forward(self, images):
        return self.head(images.flatten(1)[:, :200] * self.scale)


def states(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


# ---- cascading randomisation


def test_layers_are_randomised_from_the_output_on_and_stay_so(small_net):
    before, random = states(small_net), torch.get_rng_state()
    changed = []
    for name, copied in metrics.randomised(small_net):
        differ = {key for key, value in copied.state_dict().items() if not torch.equal(value, before[key])}
        changed.append((name, {key.split(".")[0] for key in differ}))
    # A fresh batch norm has the weights and buffers that reset_parameters gives, so there is nothing to change.
    assert [name for name, _ in changed] == ["head", "last", "norm", "stem"]
    assert [sorted(layers) for _, layers in changed] == [
        ["head"],
        ["head", "last"],
        ["head", "last"],
        ["head", "last", "stem"],
    ]
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[key]) for key, value in small_net.state_dict().items())


def test_the_seed_decides(small_net):
    one, again, other = (
        next(states(copied)["head.weight"] for _, copied in metrics.randomised(small_net, ["head"], seed=seed))
        for seed in (0, 0, 1)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_a_parameter_without_a_reset_is_drawn_with_its_mean_and_width():
    model = seeded(Scaled)
    (_, copied), _ = [(name, states(each)) for name, each in metrics.randomised(model, ["", "head"])]
    assert not torch.equal(copied["scale"], model.scale)
    assert abs(copied["scale"].mean() - 4) < 0.2
    assert abs(copied["scale"].std() / model.scale.std() - 1) < 0.2


def test_a_layer_without_parameters_is_refused(small_net):
    with pytest.raises(RequestError, match="'act' has no parameters"):
        next(metrics.randomised(small_net, ["head", "act"]))


# ---- similarity


def test_similarity_and_class_sensitivity_by_hand():
    ramp = torch.arange(1.0, 7).reshape(1, 2, 3)
    squares, fallen = ramp**2, ramp.flip(1, 2)
    assert metrics.similarity(ramp, squares, (2, 3)) == pytest.approx(1)  # the same order
    assert metrics.similarity(ramp, fallen, (2, 3)) == pytest.approx(-1)
    wanted = np.corrcoef(ramp.flatten(), squares.flatten())[0, 1]
    assert metrics.class_sensitivity(ramp, squares, (2, 3)) == pytest.approx(wanted)
    assert metrics.class_sensitivity(ramp, 3 * ramp + 1, (2, 3)) == pytest.approx(1)
    for value in (metrics.similarity, metrics.class_sensitivity):
        assert value(ramp, -ramp, (2, 3)).isnan()  # nothing is left of it


# ---- Captum


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, *SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def linear(weights):
    return lambda x, rows: (x * weights[rows][:, None]).sum((1, 2, 3))


def test_a_map_of_the_slopes_of_a_linear_score_has_no_infidelity(images):
    captum = require("captum.metrics")
    # A map in 0..1 that reaches both ends, so that showing it changes nothing.
    weights = metrics.shown(torch.rand(2, *SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(2)), SIZE)
    right = metrics.infidelity(linear(weights), images, weights, captum.infidelity)
    assert right.abs().max() < 1e-12
    assert metrics.infidelity(linear(weights), images, 1 - weights, captum.infidelity).min() > 1e-3
    assert metrics.infidelity(linear(3 * weights), images, weights, captum.infidelity).abs().max() < 1e-12  # no scale


def test_infidelity_is_the_formula(images):
    """One sum over draws by hand: the best factor is that of least squares."""
    captum = require("captum.metrics")
    weights = torch.rand(2, *SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    maps = metrics.shown(torch.rand(2, *SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(4)), SIZE)
    drawn = np.random.default_rng([7])
    width = 0.2 * float(images[1].max() - images[1].min())
    noise = [width * drawn.standard_normal((3, *SIZE)) for _ in range(6)]
    said = np.array([(each * maps[1].numpy()).sum() for each in noise])
    happened = np.array([(each * weights[1].numpy()).sum() for each in noise])
    beta = (said * happened).sum() / (said**2).sum()
    wanted = ((beta * said - happened) ** 2).mean()
    for chunk in (2, 6):
        found = metrics.infidelity(
            linear(weights), images, maps, captum.infidelity, noise=0.2, samples=6, seed=7, chunk=chunk
        )
        assert float(found[1]) == pytest.approx(wanted, rel=1e-9)


def test_sensitivity_is_the_formula_and_has_gradients(images):
    captum = require("captum.metrics")

    def explain(altered, rows):
        leaf = altered.detach().clone().requires_grad_()
        (slopes,) = torch.autograd.grad((leaf**2 * (rows + 1)[:, None, None, None]).sum(), leaf)
        return slopes.mean(1)

    found = metrics.sensitivity_max(explain, images, captum.sensitivity_max, radius=0.1, samples=4, chunk=3)
    drawn = np.random.default_rng([0])
    plain = metrics.shown(explain(images[:1], torch.tensor([0])), SIZE)
    changes = []
    for _ in range(4):
        noise = torch.from_numpy(drawn.uniform(-0.1, 0.1, (1, 3, *SIZE)))
        disturbed = metrics.shown(explain(images[:1] + noise, torch.tensor([0])), SIZE)
        changes.append(float((disturbed - plain).norm() / plain.norm()))
    assert float(found[0]) == pytest.approx(max(changes), rel=1e-9)
    assert (
        metrics.sensitivity_max(lambda x, _: images[:1, 0].expand(len(x), -1, -1), images, captum.sensitivity_max).max()
        == 0
    )


def test_undefined_maps_have_no_robustness(images):
    captum = require("captum.metrics")
    flat = torch.ones(2, 3, 3)
    assert metrics.infidelity(linear(flat), images, flat, captum.infidelity).isnan().all()
    assert metrics.sensitivity_max(lambda x, rows: flat[rows], images, captum.sensitivity_max).isnan().all()


# ---- what is borrowed


class Entry:
    def __init__(self, function):
        self.load = lambda: function


def test_borrowed_functions_come_from_entry_points(monkeypatch):
    monkeypatch.setattr(libraries.metadata, "entry_points", lambda group, name: [Entry(lambda x: (group, name, x))])
    assert metrics.borrowed("infidelity")(3) == ("camzoo.metrics", "infidelity", 3)


def test_a_library_that_is_absent_is_told_with_the_command(monkeypatch):
    def absent(*_):
        import no_such_library_anywhere  # noqa: F401

    monkeypatch.setattr(libraries.metadata, "entry_points", lambda group, name: [Entry(absent)])
    with pytest.raises(NotInstalled, match=r"pip install 'camzoo\[pytorch-grad-cam\]'"):
        metrics.borrowed("road-imputer")(1, 2)
    monkeypatch.setattr(libraries.metadata, "entry_points", lambda group, name: [])
    with pytest.raises(NotInstalled, match="pip install -e"):
        metrics.borrowed("road-imputer")
    with pytest.raises(RequestError, match="did you mean infidelity"):
        metrics.borrowed("fidelity")


def test_the_adapters_give_the_libraries_own(images):
    captum = require("captum.metrics")
    from camzoo_adapters.metrics import captum as adapter

    weights = torch.rand(2, *SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    given = (linear(weights), images, weights.flip(0))
    assert torch.equal(metrics.infidelity(*given, adapter.infidelity), metrics.infidelity(*given, captum.infidelity))
    explain = (lambda x, _: x.abs().sum(1), images)
    one, other = (metrics.sensitivity_max(*explain, each.sensitivity_max) for each in (adapter, captum))
    assert torch.equal(one, other)


def test_a_cascade_is_drawn_with_a_method(images):
    """The plain gradient of a small net falls away as its layers are drawn anew."""
    model = seeded(SmallNet)
    photos = images.float()

    def gradient(net):
        leaf = photos.clone().requires_grad_()
        (slopes,) = torch.autograd.grad(net(leaf)[:, 0].sum(), leaf)
        return slopes.abs().mean(1)

    trained = gradient(model)
    curve = torch.stack(
        [metrics.similarity(trained, gradient(copied), SIZE) for _, copied in metrics.randomised(model)]
    )
    assert curve.shape == (4, 2)
    assert curve[-1].max() < 0.9

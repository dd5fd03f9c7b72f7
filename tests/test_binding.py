"""A model with its other inputs filled in and its scores picked out."""

from __future__ import annotations

import types
from collections import OrderedDict
from dataclasses import dataclass

import pytest
import torch
from conftest import SmallNet, seeded
from snapshots import snapshot
from torch import nn

import camzoo
from camzoo import guard
from camzoo.binding import bind, of_image
from camzoo.targets import Output

METHODS = (
    "gradcam",
    "scorecam",
    "ablationcam",
    "ablationcam(closed_form=False)",
    "occlusion",
    "smoothgradcam++(samples=2)",
    "finercam",
    "fusion",
    "shapleycam",
)


@dataclass
class ModelOutput(OrderedDict):
    """As of Hugging Face: an ordered dict with attributes."""

    logits: torch.Tensor
    hidden_states: tuple[torch.Tensor, ...] = ()


class Several(SmallNet):
    """Takes age, a mask and a flag beside the images, and gives its logits in a dataclass."""

    def __init__(self) -> None:
        super().__init__()
        self.age = nn.Linear(2, 8)

    def forward(self, images, age, *, mask=None, scale=1.0):
        grid = self.last_act(self.last(self.act(self.norm(self.stem(images)))))
        if mask is not None:
            grid = grid * mask[:, None]
        pooled = self.pool(grid).flatten(1) * self.age(age).sigmoid()
        return ModelOutput(scale * self.head(pooled), (grid,))


@pytest.fixture
def net() -> nn.Module:
    return seeded(Several).double()


@pytest.fixture
def photos(images) -> torch.Tensor:
    return images.double()


AGES = torch.tensor([[1.0, -1.0], [0.3, 2.0], [-2.0, 0.5]], dtype=torch.float64)
MASKS = torch.arange(3 * 6 * 8, dtype=torch.float64).reshape(3, 6, 8).sin() + 2


def raw(net, images, method="gradcam", target=(1, 0, 3), layer="last_act", **options):
    target = list(target) if isinstance(target, tuple) else target
    return camzoo.explain(net, images, method, layer=layer, target=target, stage="raw", **options).values


def error(found, wanted) -> float:
    assert found.shape == wanted.shape
    assert wanted.abs().max() > 0
    return float((found - wanted).abs().max() / wanted.abs().max())


def test_nothing_to_bind(small_net):
    assert bind(small_net) is small_net
    assert of_image(small_net, 1, 3) is small_net


def test_the_view_gives_what_the_model_gives(net, photos):
    view = bind(net, (AGES[:1],), {"scale": 2.0}, lambda found: found.logits * 3)
    assert torch.equal(view(photos), net(photos, AGES[:1].expand(3, -1), scale=2.0).logits * 3)
    assert list(dict(view.named_modules())) == list(dict(net.named_modules()))
    assert view.last is net.last
    assert type(view).__name__ == "Several"
    assert isinstance(view, Several)


def test_one_state_seen_twice(net):
    view = bind(net, (AGES[:1],))
    view.train()
    assert net.training
    net.eval()
    assert not view.training
    view.remembered = 3
    assert net.remembered == 3


def test_the_model_is_not_touched(net, photos):
    before = snapshot(net.train())
    raw(net, photos, forward_args=(AGES[:1],))
    raw(net, photos, "ablationcam", forward_args=(AGES[:1],))
    assert snapshot(net) == before


def test_a_forward_pass_of_its_own(net, photos):
    """People patch one in, on the instance; the inputs are bound all the same."""

    def patched(self, images, age, **others):
        return Several.forward(self, images, age * 2, **others)

    net.forward = types.MethodType(patched, net)
    view = bind(net, (AGES[:1],))
    wanted = net(photos, AGES[:1].expand(3, -1)).logits
    assert torch.equal(view(photos).logits, wanted)
    found = raw(net, photos, "ablationcam(closed_form=False)", forward_args=(AGES[:1],))
    del net.forward
    assert error(found, raw(net, photos, "ablationcam(closed_form=False)", forward_args=(2 * AGES[:1],))) <= 1e-12


@pytest.mark.parametrize("method", METHODS)
def test_a_row_for_each_image_goes_with_its_image(net, photos, method):
    found = raw(net, photos, method, forward_args=(AGES,), forward_kwargs={"mask": MASKS, "scale": 1.5}, chunk=3)
    singles = [
        raw(
            net,
            photos[i : i + 1],
            method,
            ((1, 0, 3)[i],),
            forward_args=(AGES[i : i + 1],),
            forward_kwargs={"mask": MASKS[i : i + 1], "scale": 1.5},
        )
        for i in range(3)
    ]
    assert error(found, torch.cat(singles)) <= 1e-12


@pytest.mark.parametrize("method", METHODS)
def test_inputs_of_one_row_are_for_every_image(net, photos, method):
    found = raw(net, photos, method, forward_args=(AGES[1:2],))
    repeated = raw(net, photos, method, forward_args=(AGES[1:2].repeat(3, 1),))
    assert error(found, repeated) <= 1e-12


@pytest.mark.parametrize("method", METHODS)
def test_the_other_inputs_matter(net, photos, method):
    found = raw(net, photos, method, forward_args=(AGES[1:2],))
    assert error(found, raw(net, photos, method, forward_args=(AGES[2:],))) > 1e-6


def test_the_tail_of_a_bound_model_runs_alone(net, photos):
    heatmap = camzoo.explain(
        net, photos, "ablationcam(closed_form=False)", layer="last", target=1, stage="raw", forward_args=(AGES,)
    )
    assert heatmap.notes == ()


def test_the_layer_is_chosen_with_all_inputs(net, photos):
    found = raw(net, photos, layer=None, forward_args=(AGES,))
    assert error(found, raw(net, photos, layer="last_act", forward_args=(AGES,))) == 0


def test_an_output_selector(net, photos):
    def picked(found):
        return found.hidden_states[0].mean((2, 3))

    found = raw(net, photos, target=2, forward_args=(AGES,), output=picked)
    wanted = torch.zeros_like(found)
    with torch.no_grad():
        wanted = net(photos, AGES).hidden_states[0][:, 2] / 48
    assert error(found, wanted) <= 1e-13


@pytest.mark.parametrize(
    "wrap",
    [
        lambda y: (y, "more"),
        lambda y: [y],
        lambda y: {"logits": y},
        lambda y: {"out": y, "aux": None},
        lambda y: ModelOutput(y),
        lambda y: types.SimpleNamespace(logits=y),
    ],
)
@pytest.mark.parametrize("method", ["gradcam", "scorecam", "ablationcam(closed_form=False)"])
def test_outputs_of_many_forms(small_net, images, wrap, method):
    class Wrapped(SmallNet):
        def forward(self, images):
            return wrap(super().forward(images))

    net = seeded(Wrapped)
    assert torch.equal(raw(net, images, method), raw(small_net, images, method))


def test_one_number_an_image(small_net, images):
    found = raw(small_net, images, "scorecam", Output(), output=lambda outputs: outputs[:, 2])
    assert error(found, raw(small_net, images, "scorecam", 2)) <= 1e-6


def test_two_views_of_a_training_model_leave_one_after_the_other(net):
    net.train()
    one, other = bind(net, (AGES[:1],)), bind(net, (AGES[:1],))
    first = guard.evaluating(one)
    first.__enter__()
    with guard.evaluating(other):
        first.__exit__(None, None, None)
        assert not any(module.training for module in net.modules())
    assert all(module.training for module in net.modules())

"""Where a cascade stops, and how alike maps stay on its way."""

from __future__ import annotations

import pytest
import torch
from conftest import SmallNet, seeded
from torch import nn

from camzoo import metrics
from camzoo.errors import NotOffered
from camzoo.evaluation import cascade


class Token(nn.Module):
    """A parameter beside the children, as of a transformer's class token."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.ones(3))
        self.embed = nn.Linear(3, 3)
        self.blocks = nn.Sequential(*(nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)) for _ in range(5)))
        self.head = nn.Linear(3, 2)


def test_a_stop_at_every_block_from_output_to_input():
    model = seeded(SmallNet)
    stops = cascade.depths(model)
    assert stops == {"head": "head", "last": "last", "norm": "norm", "stem": "stem"}
    order = [name for name, _ in metrics.randomised(model)]
    assert [name for name in order if name in stops] == list(stops)


def test_a_module_that_holds_most_of_the_layers_is_opened():
    stops = cascade.depths(Token(), most=20)
    assert list(stops.values()) == ["head", *(f"blocks.{at}" for at in reversed(range(5))), "embed"]
    assert list(stops) == ["head", *(f"blocks.{at}.0" for at in reversed(range(5))), ""]  # the token goes last of all
    assert list(metrics.randomised(Token()))[-1][0] == ""


@pytest.mark.parametrize("most", [1, 2, 3, 5, 7])
def test_of_many_blocks_some_are_kept_evenly(most):
    kept, every = (list(cascade.depths(Token(), most=count).values()) for count in (most, 20))
    assert len(kept) == most
    assert kept == [each for each in every if each in kept]
    assert kept[0] == "head"
    assert most == 1 or kept[-1] == "embed"


def test_models_of_one_layer_and_of_none():
    assert cascade.depths(nn.Linear(2, 2)) == {"": "the model"}
    assert cascade.depths(nn.ReLU()) == {}
    with pytest.raises(NotOffered, match="nothing to randomise"):
        cascade.similarities(nn.ReLU(), {}, lambda *_: {}, 0)


def test_similarities_are_those_of_the_copies():
    """Of a method that follows the model, one that does not, one that breaks from the start and one on the way."""
    model, broken = seeded(SmallNet), ValueError("broken")
    photos = torch.randn(2, 3, 12, 16, generator=torch.Generator().manual_seed(1))
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def maps_of(net, stop):
        with torch.no_grad():
            seen = net.stem(photos).abs().mean(1)
        late = broken if stop == 3 else seen
        return {"follows": seen, "fixed": photos[:, 0].abs(), "broken": seen, "breaks": late}

    trained = maps_of(model, 0) | {"broken": broken}
    found = cascade.similarities(model, trained, maps_of, seed=0)
    assert found["broken"] is found["breaks"] is broken
    assert list(found["follows"]) == ["head", "last", "norm", "stem"]
    for at, block in enumerate(["head", "last", "norm", "stem"]):
        assert found["fixed"][block].tolist() == pytest.approx([1, 1])
        if at < 3:
            assert found["follows"][block].tolist() == pytest.approx([1, 1])  # what comes after the stem is not seen
    for layer, net in metrics.randomised(model):
        if layer == "stem":
            maps = maps_of(net, 4)["follows"]
            wanted = metrics.similarity(trained["follows"], maps, tuple(maps.shape[1:]))  # on their own grid
    assert torch.equal(found["follows"]["stem"], wanted)
    assert wanted.max() < 0.99
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())

"""A Problem is resolved once, before any backend is touched."""

from __future__ import annotations

import pytest
import torch
from conftest import SmallNet, seeded
from snapshots import snapshot
from torch import nn

from camzoo import problems
from camzoo.errors import RequestError
from camzoo.targets import ClassLogit


def test_resolves_layer_grid_and_class(small_net, images):
    problem = problems.pose(small_net, images, seed=7)
    with torch.no_grad():
        top = tuple(small_net(images).argmax(1).tolist())
    assert problem.layer == "last_act"
    assert problem.layer_module is small_net.last_act
    assert (problem.layout.kind, problem.layout.shape) == ("channels-first", (6, 8))
    assert problem.classes == top
    assert problem.target == ClassLogit(top)
    assert problem.images is images
    assert problem.image_size == (24, 32)
    assert problem.seed == 7


@pytest.mark.parametrize("layer", ["last", "module"])
def test_a_layer_is_given_by_name_or_as_a_module(small_net, images, layer):
    given = small_net.last if layer == "module" else layer
    assert problems.pose(small_net, images, given, 2).layer == "last"


@pytest.mark.parametrize(("target", "classes"), [(2, (2, 2, 2)), ([0, 4, 1], (0, 4, 1)), (torch.tensor(3), (3, 3, 3))])
def test_classes_given(small_net, images, target, classes):
    assert problems.pose(small_net, images, "last", target).classes == classes


def test_a_callable_has_no_class(small_net, images):
    def target(outputs):
        return outputs[:, 0] - outputs[:, 1]

    problem = problems.pose(small_net, images, "last", target)
    assert problem.classes is None
    assert problem.target is target


def test_one_forward_pass_without_gradients(small_net, images):
    outputs = []
    small_net.register_forward_hook(lambda _m, _i, output: outputs.append(output))
    problems.pose(small_net, images, "last")
    assert [output.requires_grad for output in outputs] == [False]
    problems.pose(small_net, images)
    assert [len(output) for output in outputs] == [3, 1, 3]  # one image more, to find the layer


def test_leaves_no_trace(images):
    net = seeded(SmallNet).train()
    before = snapshot(net)
    problems.pose(net, images)
    for bad in ({"target": 9}, {"layer": "lats"}, {"layer": nn.ReLU()}, {"layer": "head"}):
        with pytest.raises(RequestError):
            problems.pose(net, images, **bad)
    assert snapshot(net) == before


def one_image(outputs: torch.Tensor) -> torch.Tensor:
    return outputs[0, :1]


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"layer": "lats"}, "unknown layer 'lats': did you mean last"),
        ({"layer": ""}, "unknown layer ''"),
        ({"layer": nn.ReLU()}, "this ReLU is no part of the model"),
        ({"layer": "head"}, r"layer 'head' gives \(3, 5\), which is no grid"),
        ({"target": 5}, "class 5 is out of range: the model has 5 classes, 0 to 4"),
        ({"target": -1}, "class -1 is out of range"),
        ({"target": [1, 2]}, "2 targets for 3 images"),
        ({"target": "cat"}, "a target is None, a class index"),
        ({"target": one_image}, r"one score for each image, \(3,\)"),
    ],
)
def test_refuses_in_one_line(small_net, images, question, message):
    with pytest.raises(RequestError, match=message) as caught:
        problems.pose(small_net, images, **question)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(3, 24, 32), r"images are a floating tensor \(N, C, H, W\).*, not \(3, 24, 32\)"),
        (torch.zeros(1, 3, 24, 32, dtype=torch.uint8), "floating tensor"),
        (torch.zeros(0, 3, 24, 32), "there are no images: N is 0"),
        ("cat.png", "not str"),
        (None, "not NoneType"),
        (torch.zeros(1, 3, 24, 32, device="meta"), "the model is on cpu and the images are on meta: move one of them"),
    ],
    ids=["no batch", "bytes", "empty", "path", "nothing", "device"],
)
def test_refuses_what_is_no_batch_of_images(small_net, images, message):
    with pytest.raises(RequestError, match=message):
        problems.pose(small_net, images, "last")


def test_a_model_without_parameters_may_be_anywhere(images):
    assert problems.check_images(nn.Flatten(), images) is images


def test_a_target_that_reads_more_than_class_scores(images):
    """Outputs that are a map for each class have no top class; a callable explains them."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1))
    with pytest.raises(RequestError, match="pass a callable target"):
        problems.pose(net, images, "0")
    problem = problems.pose(net, images, "0", lambda outputs: outputs[:, 1].mean((1, 2)))
    assert problem.classes is None

"""What each native method does, counted: passes, rows, runs of the engine, waits of the host. No test asserts a time.

Three images, of 24 x 32 pixels. `SmallNet` ends in pooling and one linear layer, where much is known in closed form;
`Deep` has a convolution after the layer, so that its tail has to be run. Both layers have few channels: 8 and 7.
"""

from __future__ import annotations

import functools

import pytest
import torch
from conftest import SmallNet, seeded

from camzoo import methods
from camzoo.conformance import stands
from camzoo.explaining import explain
from camzoo.problems import pose
from camzoo.timing import contenders, counting
from camzoo.timing.samples import Scope
from camzoo.timing.worker import quiet

N = 3
# The array that is given at the end, and the warning on empty maps, which looks at all of them at once.
READ = 1 + 1

CHEAP = (1, N, N, 1, READ)
NO_GRADIENT = (1, N, N, 0, READ)
SOLVED = (1, N, N, 1, READ + 1)  # a decomposition waits to hear whether it came to an end

# By name: calls of the model, images in them, rows through its last layer, runs of the engine, waits.
POOLED = {
    "gradcam": CHEAP,
    "counterfactual-gradcam": CHEAP,
    "gradcam++": CHEAP,
    "hirescam": CHEAP,
    "gradcam-elementwise": CHEAP,
    "xgradcam": CHEAP,
    "layercam": CHEAP,
    "eigengradcam": SOLVED,
    "segeigencam": SOLVED,
    "dff": CHEAP,
    "eigencam": (1, N, N, 0, READ + 1),
    "kpcacam": (1, N, N, 0, READ + 1),
    "fem": NO_GRADIENT,
    "random": NO_GRADIENT,
    "uniform": NO_GRADIENT,
    "center": NO_GRADIENT,
    "sobel": NO_GRADIENT,
    # Whether the model is pooling and a linear layer: two random rows through the tail, the slope of the target by the
    # engine, and four comparisons.
    "cam": (1, N, N + 2, 1, READ + 4),
    "ablationcam": (1, N, N + 2, 1, READ + 4),
    # Each image's masks in one run; which channels are constant is read.
    "scorecam": (1 + N, N + 8 * N, N + 8 * N, 0, READ + 1),
    "scorecam(top_channels=3)": (1 + N, N + 3 * N, N + 3 * N, 0, READ + 2),  # and which are the widest
    "sscam(samples=2)": (1 + N, N + 2 * 8 * N, N + 2 * 8 * N, 0, READ + 1),
    "iscam(samples=2)": (1 + N, N + 2 * 8 * N, N + 2 * 8 * N, 0, READ + 1),
    "rise(masks=16)": (1 + N, N + 16 * N, N + 16 * N, 0, READ),
    "groupcam(groups=4)": (1 + N, N + 5 * N, N + 5 * N, 1, READ),  # and the blurred image
    "occlusion(window=8, stride=8)": (1 + N, N + 12 * N, N + 12 * N, 0, READ),
    "shapleycam": (1, N, N, 2, READ),  # the Hessian's product
    "smoothgradcam++(samples=2)": (3, 3 * N, 3 * N, 2, READ),
    "smoothgrad(samples=2)": (2, 2 * N, 2 * N, 2, READ),
    "augmented": (6, 6 * N, 6 * N, 6, READ),
    "finercam": CHEAP,  # the scores say with which classes to contrast, in the pass that explains the contrast
    # The layers' sizes are asked with one image; one pass gives the evidence at all of them.
    "refinecam": (2, N + 1, N + 1, 1, READ),
    "fusion": (2, N + 1, N + 1, 1, READ),
    # A pass of its own alone; with Grad-CAM, whose derivative is another, a capture too.
    "guided-backprop": CHEAP,
    "guided-gradcam": (2, 2 * N, 2 * N, 2, READ),
    "fullgrad": CHEAP,
}

DEEP = {
    "gradcam": CHEAP,
    "eigencam": (1, N, N, 0, READ + 1),
    # The tail is tried on two rows for each image, one of them against the whole model, which gives all of these in one
    # pass; and then it runs every channel.
    "ablationcam": (2, 2 * N, N + N * (1 + 2 + 7), 0, READ + 2 * N),
    "scorecam": (1 + N, N + 7 * N, N + 7 * N, 0, READ + 1),
}

# These need attention, which is not in this network.
ELSEWHERE = {"attention-rollout", "legrad"}


def counted(name, problem):
    with quiet(), contenders.lent(contenders.parse(name), problem, Scope.ARRAY) as work:
        counts, _ = counting.count(work, problem.model, problem.images)
    return counts


def figures(counts):
    return (counts.forwards, counts.images, counts.tail_rows, counts.backwards, counts.synchronisations)


@pytest.fixture(scope="module")
def pooled():
    images = torch.randn(N, 3, 24, 32, generator=torch.Generator().manual_seed(1))
    return pose(seeded(SmallNet), images, "last_act")


@pytest.fixture(scope="module")
def deep():
    return stands.RECTIFIED.problem(torch.float32)


@pytest.mark.parametrize("name", POOLED)
def test_pooled(name, pooled):
    assert figures(counted(name, pooled)) == POOLED[name]


@pytest.mark.parametrize("name", DEEP)
def test_deep(name, deep):
    assert figures(counted(name, deep)) == DEEP[name]


def test_every_native_method_is_counted():
    named = {contenders.parse(name).method for name in POOLED}
    assert named | ELSEWHERE == {method.name for method in methods.TABLE}
    assert not named & ELSEWHERE


@pytest.mark.parametrize("name", ["gradcam", "eigencam", "ablationcam", "scorecam"])
def test_a_second_call_does_the_same(name, pooled):
    assert counted(name, pooled) == counted(name, pooled)


def test_the_part_before_the_layer_has_no_backward_pass(pooled):
    counts = counted("gradcam", pooled)
    # A backward pass through the head alone, which is one linear layer, and weights times activations.
    assert counts.flops < 1.02 * counts.flops_of_forward


@pytest.mark.parametrize(
    ("name", "whole"), [("gradcam@captum", False), ("gradcam@torchcam", False), ("gradcam@pytorch-grad-cam", True)]
)
def test_a_library_runs_the_model_once_and_its_gradient_to_the_layer_or_through_all_of_it(name, whole, deep):
    counts = counted(name, deep)
    assert (counts.forwards, counts.images, counts.backwards) == (1, N, 1)
    assert (counts.flops > 2 * counts.flops_of_forward) == whole


@pytest.mark.parametrize(
    ("name", "passes"),
    [("attention-rollout", (1, 2, 2, 0)), ("legrad", (1, 2, 6, 3))],
)
def test_attention(name, passes):
    problem = stands.TRANSFORMER.problem(torch.float32)  # two images, two blocks
    assert figures(counted(name, problem))[:4] == passes


@pytest.mark.parametrize(
    ("name", "more"), [("smoothgrad", 1), ("augmented", 1), ("fusion", 0), ("refinecam", 0), ("finercam", 0)]
)
def test_a_pass_for_the_top_class_is_made_for_altered_images_alone(name, more, pooled):
    asked = {"samples": 2} if name == "smoothgrad" else {}

    def forwards(target):
        work = functools.partial(explain, pooled.model, pooled.images, name, layer=pooled.layer, target=target, **asked)
        return counting.count(work, pooled.model, pooled.images)[0].forwards

    assert forwards(None) == forwards(list(pooled.classes)) + more

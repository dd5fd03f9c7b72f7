"""The targets beside the logit of a class, each against a case worked by hand, and through whole models."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from conftest import SmallNet, seeded
from torch import nn
from torchvision.models.segmentation.fcn import FCN, FCNHead

import camzoo
from camzoo.errors import DegenerateMapWarning, RequestError
from camzoo.oracles import gradient, scores
from camzoo.targets import (
    ClassLogit,
    ClassProbability,
    Contrast,
    Detection,
    LinearScore,
    Output,
    Segmentation,
    SeveralClasses,
    Similarity,
    _iou,
    row_of,
)

LOG = math.log


@pytest.fixture
def net() -> nn.Module:
    return seeded(SmallNet).double()


@pytest.fixture
def photos(images) -> torch.Tensor:
    return images.double()


def tensor(*rows) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def raw(net, images, method="gradcam", target=None, layer="last_act", **options) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateMapWarning)
        return camzoo.explain(net, images, method, layer=layer, target=target, stage="raw", **options).values


def error(found, wanted) -> float:
    found, wanted = (np.asarray(values, dtype=np.float64) for values in (found, wanted))
    assert found.shape == wanted.shape
    assert np.abs(wanted).max() > 0
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def label(value) -> str | None:
    """Tensors and messages have no place in the name of a case."""
    return None if isinstance(value, torch.Tensor | list | str) else str(value)


def gradcam_by_hand(net, images, score, layer="last_act") -> np.ndarray:
    """Grad-CAM of a score of the model's whole outputs, by plain PyTorch and the oracle."""
    kept = []
    handle = net.get_submodule(layer).register_forward_hook(lambda _m, _i, output: kept.append(output))
    explained = score(net(images)).sum()
    handle.remove()
    (G,) = torch.autograd.grad(explained, kept[0])
    return np.stack([gradient.gradcam(a, g) for a, g in zip(kept[0].detach().numpy(), G.numpy(), strict=True)])


# By hand -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "outputs", "wanted"),
    [
        (ClassProbability(1), tensor([0, LOG(3)], [LOG(4), 0]), [0.75, 0.2]),
        (ClassProbability(0), tensor([1000, 0], [-1000, 0]), [1, 0]),
        (Contrast(0, 2), tensor([5, 1, 2], [-1, 0, 3]), [3, -4]),
        (SeveralClasses((0, 2)), tensor([5, 1, 2], [-1, 0, 3]), [7, 2]),
        (SeveralClasses((1,)), tensor([5, 1, 2]), [1]),
        (SeveralClasses((1, 1)), tensor([5, 1, 2]), [2]),
        (LinearScore(tensor([1, 2, 0], [0, 0, -1])), tensor([5, 1, 2], [-1, 0, 3]), [7, -3]),
        (Output((1,)), tensor([5, 1, 2], [-1, 0, 3]), [1, 0]),
        (Output((1, 0)), tensor([[1, 2], [3, 4]], [[5, 6], [7, 8]]), [3, 7]),
        (Output(), tensor(5, 7), [5, 7]),
        (Output(), tensor([5], [7]), [5, 7]),
        (Similarity(tensor(3, 4)), tensor([3, 4], [-6, -8], [4, -3], [1, 0]), [1, -1, 0, 0.6]),
        (Segmentation(1, tensor([1, 0], [0, 2])), tensor([[[9, 9], [9, 9]], [[1, 2], [3, 4]]]), [9]),
        (Segmentation(1), tensor([[[0, 9], [0, 9]], [[1, 2], [3, 4]]]), [4]),
        (Segmentation(0), tensor([[[0, 0], [0, 0]], [[1, 2], [3, 4]]]), [0]),
    ],
    ids=label,
)
def test_by_hand(target, outputs, wanted):
    found = target(outputs)
    assert found.shape == (len(outputs),)
    assert found.tolist() == pytest.approx(wanted, abs=1e-15)


@pytest.mark.parametrize(
    ("target", "outputs", "message"),
    [
        (ClassProbability(3), tensor([0, 1, 2]), "class 3 is out of range"),
        (Contrast(0, 3), tensor([0, 1, 2]), "class 3 is out of range"),
        (Contrast(-1, 0), tensor([0, 1, 2]), "class -1 is out of range"),
        (SeveralClasses((0, 5)), tensor([0, 1, 2]), "class 5 is out of range"),
        (LinearScore(tensor([1, 2])), tensor([[[1, 2]]]), r"gives \(1, 1, 1, 2\)|gives \(1, 1, 2\)"),
        (Output((3,)), tensor([0, 1, 2]), "no output"),
        (Output((0, 0)), tensor([0, 1, 2]), "no output"),
        (Output(), tensor([0, 1, 2]), "more than one number"),
        (Segmentation(0), tensor([0, 1, 2]), r"outputs \(N, classes, H, W\)"),
        (Segmentation(2), torch.zeros(1, 2, 3, 3), "class 2 is out of range"),
        (Segmentation(0, torch.ones(2, 3)), torch.zeros(1, 2, 3, 3), r"the mask is \(2, 3\)"),
        (Segmentation(0, torch.ones(1, 3, 3)), torch.zeros(1, 2, 3, 3), r"the mask is \(1, 3, 3\)"),
    ],
    ids=label,
)
def test_refuses(target, outputs, message):
    with pytest.raises(RequestError, match=message):
        target(outputs)


def test_the_row_of_an_image():
    assert row_of(ClassLogit((4, 5)), 1).classes == (5,)
    assert row_of(LinearScore(tensor([1, 2], [3, 4])), 1).slopes.tolist() == [[3, 4]]
    assert row_of(Contrast(0, 1), 1) == Contrast(0, 1)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (ClassProbability(1), "probability of class 1"),
        (Contrast(0, 2), "logit of class 0 less that of class 2"),
        (SeveralClasses((0, 2)), "sum of the logits of classes 0, 2"),
        (Segmentation(1), "logits of class 1 within its own pixels"),
        (Segmentation(1, torch.ones(2, 2)), "logits of class 1 within a mask"),
        (Output((1, 0)), "output 1, 0"),
        (Output(), "output"),
        (Similarity(torch.ones(2)), "cosine similarity to a reference"),
        (LinearScore(torch.ones(1, 2)), "linear function of the logits"),
    ],
    ids=label,
)
def test_words(target, words):
    assert str(target) == words


# Through a classifier ----------------------------------------------------------------------------------------------

REFERENCE = torch.arange(5, dtype=torch.float64).cos()
TARGETS = {
    "probability": (ClassProbability(2), lambda y: y.softmax(1)[:, 2]),
    "contrast": (Contrast(1, 3), lambda y: y[:, 1] - y[:, 3]),
    "several": (SeveralClasses((0, 4)), lambda y: y[:, 0] + y[:, 4]),
    "output": (Output((3,)), lambda y: y[:, 3]),
    "similarity": (Similarity(REFERENCE), lambda y: y @ REFERENCE / (y.norm(dim=1) * REFERENCE.norm())),
    "callable": (lambda y: y[:, 0] * y[:, 1], lambda y: y[:, 0] * y[:, 1]),
}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("layer", ["last_act", "last"])
def test_gradcam(net, photos, name, layer):
    target, score = TARGETS[name]
    found = raw(net, photos, "gradcam", target, layer)
    assert error(found, gradcam_by_hand(net, photos, score, layer)) <= 1e-12


@pytest.mark.parametrize("name", TARGETS)
def test_scores_of_altered_inputs_and_activations(net, photos, name):
    target, score = TARGETS[name]
    grid = []
    handle = net.last_act.register_forward_hook(lambda _m, _i, output: grid.append(output.detach()))
    net(photos)
    handle.remove()

    def of_image(x):
        with torch.no_grad():
            return float(score(net(torch.from_numpy(x)[None])))

    def of_grid(a):
        with torch.no_grad():
            return float(score(net.head(torch.from_numpy(a)[None].mean((2, 3)))))

    A = grid[0].numpy()
    found = raw(net, photos, "scorecam", target)
    assert error(found, [scores.scorecam(a, x.numpy(), of_image) for a, x in zip(A, photos, strict=True)]) <= 1e-12
    found = raw(net, photos, "ablationcam", target)
    assert error(found, [scores.ablationcam(a, of_grid) for a in A]) <= 1e-12


# Segmentation ------------------------------------------------------------------------------------------------------


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Tanh(), nn.Conv2d(8, 8, 3, padding=1))

    def forward(self, images):
        return {"out": self.features(images)}


@pytest.fixture
def segmenter() -> nn.Module:
    """torchvision's FCN on a small backbone: outputs `{"out": (N, classes, H, W)}`."""
    return seeded(lambda: FCN(Backbone(), FCNHead(8, 4))).double()


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("layer", ["backbone.features.2", "classifier.1"])
def test_segmentation(segmenter, photos, masked, layer):
    mask = torch.zeros(24, 32, dtype=torch.float64)
    mask[3:9, 5:20] = 1

    def score(found):
        within = mask if masked else (found["out"].argmax(1) == 2)
        return (found["out"][:, 2] * within).sum((1, 2))

    found = raw(segmenter, photos, "gradcam", Segmentation(2, mask if masked else None), layer)
    assert error(found, gradcam_by_hand(segmenter, photos, score, layer)) <= 1e-12


@pytest.mark.parametrize("method", ["scorecam", "ablationcam", "occlusion", "smoothgradcam++", "shapleycam"])
def test_segmentation_by_other_methods(segmenter, photos, method):
    target = Segmentation(2, torch.ones(24, 32))
    batch = raw(segmenter, photos, method, target, "backbone.features.2")
    singles = [raw(segmenter, photos[i : i + 1], method, target, "backbone.features.2") for i in range(3)]
    assert error(torch.cat(singles), batch) <= 1e-11


def test_segmentation_by_the_tail_through_a_dict(segmenter, photos):
    target = Segmentation(2, torch.ones(24, 32))
    found = camzoo.explain(segmenter, photos, "ablationcam", layer="classifier.1", target=target, stage="raw")
    assert found.notes == ()


def test_a_class_cannot_be_picked_from_pixels(segmenter, photos):
    with pytest.raises(RequestError, match="pass a callable target"):
        raw(segmenter, photos, target=1, layer="classifier.1")


# Detection ---------------------------------------------------------------------------------------------------------


def boxes(*rows) -> dict[str, torch.Tensor]:
    """Rows of `x0, y0, x1, y1, score, label`."""
    table = torch.tensor(rows, dtype=torch.float64).reshape(-1, 6)
    return {"boxes": table[:, :4], "scores": table[:, 4], "labels": table[:, 5].long()}


def test_iou_by_hand():
    rows = tensor([0, 0, 2, 2], [1, 1, 3, 3], [2, 0, 4, 2], [0, 0, 4, 4], [9, 9, 10, 10])
    assert _iou(rows, tensor(0, 0, 2, 2)).tolist() == pytest.approx([1, 1 / 7, 0, 1 / 4, 0])


@pytest.mark.parametrize(
    ("label", "wanted"),
    [(None, 0.9 / 7), (1, 0.1), (2, 0.9 / 7), (3, 0.0)],
)
def test_detection_by_hand(label, wanted):
    found = boxes([0, 0, 2, 2, 0.1, 1], [1, 1, 3, 3, 0.9, 2], [7, 7, 9, 9, 1.0, 1])
    assert Detection((0, 0, 2, 2), label)([found]).tolist() == pytest.approx([wanted])


def test_detection_without_any():
    found = Detection((0, 0, 2, 2))([boxes(), boxes([0, 0, 2, 2, 0.5, 1])])
    assert found.tolist() == [0.0, 0.5]


def test_the_derivative_is_of_the_score():
    found = boxes([0, 0, 2, 2, 0.25, 1], [1, 1, 3, 3, 0.9, 2])
    found["scores"].requires_grad_()
    found["boxes"].requires_grad_()
    Detection((0, 0, 2, 2))([found]).sum().backward()
    assert found["scores"].grad.tolist() == [1.0, 0.0]
    assert found["boxes"].grad is None


class Detector(SmallNet):
    """Gives a list of one mapping an image; how many detections, where and how sure depends on the activations."""

    def forward(self, images):
        grid = self.last_act(self.last(self.act(self.norm(self.stem(images)))))
        return [self.detections(one) for one in grid]

    def detections(self, grid):
        y = self.head(grid.mean((1, 2)))
        shift = 2 * y[:3, None].tanh()
        corners = tensor([0, 0, 10, 12], [4, 4, 20, 16], [10, 0, 30, 20]) + shift
        found = {"boxes": corners, "scores": y[[0, 1, 2]].sigmoid(), "labels": torch.tensor([1, 2, 1])}
        keep = found["scores"] > 0.3
        return {name: value[keep] for name, value in found.items()}


@pytest.fixture
def detector() -> nn.Module:
    return seeded(Detector).double()


BOX = (4.0, 4.0, 21.0, 15.0)


def by_hand(found):
    """The best match of each image, spelled out."""
    explained = []
    for one in found:
        best = (0.0, None)
        for at, (x0, y0, x1, y1) in enumerate(one["boxes"].tolist()):
            shared = max(0, min(x1, BOX[2]) - max(x0, BOX[0])) * max(0, min(y1, BOX[3]) - max(y0, BOX[1]))
            union = (x1 - x0) * (y1 - y0) + (BOX[2] - BOX[0]) * (BOX[3] - BOX[1]) - shared
            best = max(best, (shared / union * float(one["scores"][at].detach()), (at, shared / union)))
        at, overlap = best[1]
        explained.append(overlap * one["scores"][at])
    return torch.stack(explained)


def test_detection_gradcam(detector, photos):
    found = raw(detector, photos, "gradcam", Output(), output=Detection(BOX))
    assert error(found, gradcam_by_hand(detector, photos, by_hand)) <= 1e-12


def test_detection_by_other_methods(detector, photos):
    grid = []
    handle = detector.last_act.register_forward_hook(lambda _m, _i, output: grid.append(output.detach()))
    detector(photos)
    handle.remove()
    with torch.no_grad():
        found = raw(detector, photos, "scorecam", Output(), output=Detection(BOX))
        wanted = [
            scores.scorecam(
                grid[0][i].numpy(), photos[i].numpy(), lambda x: by_hand(detector(torch.from_numpy(x)[None])).item()
            )
            for i in range(3)
        ]
        assert error(found, wanted) <= 1e-12
        found = camzoo.explain(
            detector, photos, "ablationcam", layer="last_act", target=Output(), output=Detection(BOX), stage="raw"
        )
        wanted = [
            scores.ablationcam(grid[0][i].numpy(), lambda a: by_hand([detector.detections(torch.from_numpy(a))]).item())
            for i in range(3)
        ]
        assert error(found.values, wanted) <= 1e-12
        assert found.notes == ()

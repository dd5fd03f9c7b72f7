"""The model, as a method may ask it: chunks, memory, autocast, progress, and what is told."""

from __future__ import annotations

import pytest
import torch
from conftest import SmallNet, seeded
from snapshots import snapshot
from torch import nn

import camzoo
from camzoo import asking, capture, chunks
from camzoo.asking import Asker
from camzoo.targets import ClassLogit, ClassProbability, Contrast, LinearScore, SeveralClasses, TopClass
from camzoo.types import Ask, Evidence, Settings

ALL = frozenset({Evidence.ACTIVATION_SCORES, Evidence.HEAD})
CLASSES = (3, 0, 4)


class Watched(SmallNet):
    """Notes how many rows it was given, in which dtype its first layer worked, and has room for so many rows."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.dtypes, self.formats, self.room = [], [], [], 1000

    def forward(self, images):
        self.rows.append(len(images))
        self.formats.append(images.is_contiguous(memory_format=torch.channels_last))
        if len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        found = self.stem(images)
        self.dtypes.append(found.dtype)
        grid = self.last_act(self.last(self.act(self.norm(found))))
        return self.head(torch.flatten(self.pool(grid), 1))


@pytest.fixture
def net() -> Watched:
    return seeded(Watched).double()


@pytest.fixture
def photos(images) -> torch.Tensor:
    return images.double()


def asker(net, photos, target=None, layer="last_act", **settings) -> Asker:
    target = target or ClassLogit(CLASSES)
    (taken,), _ = capture.take(net, layer, photos, [target], ALL, settings=Settings(**settings))
    return taken.ask


def altered(photos, count=11) -> torch.Tensor:
    return torch.randn(count, *photos.shape[1:], generator=torch.Generator().manual_seed(4), dtype=photos.dtype)


def slices(values):
    return lambda start, stop: values[start:stop].clone()


def test_it_keeps_the_protocol(net, photos):
    promised = {name for name in vars(Ask) if not name.startswith("_")}
    assert promised == {"score_inputs", "score_activations", "retake", "retake_at", "stages", "head"}
    assert all(callable(getattr(asker(net, photos), name)) for name in promised)


@pytest.mark.parametrize("chunk", [None, 1, 2, 3, 7, 100])
def test_scores_of_altered_inputs(net, photos, chunk):
    inputs = altered(photos)
    for image, c in enumerate(CLASSES):
        found = asker(net, photos, chunk=chunk).score_inputs(image, slices(inputs), len(inputs))
        assert (found - net(inputs)[:, c]).abs().max() <= 1e-14
        assert not found.requires_grad
    assert max(net.rows[1 : 1 + (-(-11 // (chunk or 16)))]) <= max(chunk or 16, 3)


@pytest.mark.parametrize(
    "target",
    [
        TopClass(),
        TopClass(1),
        ClassProbability(2),
        Contrast(1, 3),
        SeveralClasses((0, 2)),
        LinearScore(torch.arange(15.0, dtype=torch.float64).reshape(3, 5).sin()),
        lambda outputs: outputs[:, 1] ** 2,
    ],
    ids=["top", "second", "probability", "contrast", "several", "linear", "callable"],
)
@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_altered_inputs_are_scored_as_their_image_is(net, photos, target, chunk):
    inputs, clean = altered(photos), net(photos).detach()
    for image in range(3):
        found = asker(net, photos, target, chunk=chunk).score_inputs(image, slices(inputs), len(inputs))
        outputs = net(inputs).detach()
        if isinstance(target, TopClass):
            wanted = outputs[:, clean[image].sort(descending=True).indices[target.rank]]
        elif isinstance(target, LinearScore):
            wanted = outputs @ target.slopes[image]
        else:
            wanted = target(outputs)
        assert (found - wanted).abs().max() <= 1e-14


def test_out_of_memory_halves_and_goes_on(net, photos):
    inputs = altered(photos)
    wanted = net(inputs)[:, 3]
    ask = asker(net, photos, chunk=8)
    net.rows, net.room = [], 3
    assert (ask.score_inputs(0, slices(inputs), 11) - wanted).abs().max() <= 1e-14
    assert net.rows == [8, 4, 2, 2, 2, 2, 2, 1]


def test_out_of_memory_in_the_tail(net, photos):
    grids = torch.rand(9, 8, 6, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rows = []

    class Narrow(nn.Linear):
        def forward(self, pooled):
            rows.append(len(pooled))
            if len(pooled) > 3:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(pooled)

    wanted = net.head(grids.mean((2, 3)))[:, 3]
    net.head.__class__ = Narrow
    ask = asker(net, photos, chunk=6)
    rows.clear()
    assert (ask.score_activations(0, slices(grids), 9) - wanted).abs().max() <= 1e-14
    assert rows == [3, 2, 6, 3, 3, 3]  # the check by all of the model and by its tail, and then the chunks
    assert ask.notes == []


def test_the_map_is_the_same_with_little_memory(net, photos):
    def ask():
        return camzoo.explain(net, photos, "scorecam", layer="last_act", target=list(CLASSES), stage="raw").values

    wanted = ask()
    net.room = 3
    assert (ask() - wanted).abs().max() <= 1e-14


def test_a_chunk_is_sized_from_memory(net, photos, monkeypatch):
    ask, inputs = asker(net, photos), altered(photos)
    each = 8 * photos[0].numel() * 8 * asking._WIDTH
    monkeypatch.setattr(chunks, "free", lambda device: 5 * each * 4)
    net.rows = []
    ask.score_inputs(0, slices(inputs), 11)
    assert net.rows == [5, 5, 1]


def test_random_activations_are_run_through_the_whole_model_once_for_all_images(photos):
    net = seeded(SmallNet).double()
    ask, runs = asker(net, photos), []
    net.register_forward_pre_hook(lambda _m, inputs: runs.append(len(inputs[0])))
    grids = torch.zeros(2, *ask.output.shape[1:], dtype=torch.float64)
    for image in range(3):
        ask.score_activations(image, slices(grids), 2)
    assert [rows for rows in runs if rows == 3] == [3]
    assert ask.notes == []


def test_channels_last(net, photos):
    asker(net, photos).score_inputs(0, slices(altered(photos)), 11)
    assert net.formats == [False, True]


def test_volumes_keep_their_format():
    volume = torch.zeros(2, 1, 3, 4, 5)
    assert chunks.laid_out(torch.sum, volume)[0] is volume


class TestAutocast:
    def test_only_when_asked(self, images):
        net = seeded(Watched)
        asker(net, images).score_inputs(0, slices(altered(images)), 11)
        assert net.dtypes == [torch.float32] * 2

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_in_the_runs_and_not_in_the_capture(self, images, dtype):
        net, inputs = seeded(Watched), altered(images)
        found = asker(net, images, amp=dtype).score_inputs(0, slices(inputs), 11)
        assert net.dtypes == [torch.float32, dtype]
        assert found.dtype == torch.float32
        wanted = net(inputs)[:, 3]
        assert 0 < (found - wanted).abs().max() / wanted.abs().max() < 0.05
        assert not torch.is_autocast_enabled("cpu")

    def test_of_the_tail(self, images):
        net = seeded(Watched)
        ask = asker(net, images, layer="last", amp=torch.bfloat16)
        grids = torch.rand(5, 8, 6, 8, generator=torch.Generator().manual_seed(1))
        found = ask.score_activations(0, slices(grids), 5)
        wanted = net.head(grids.mean((2, 3)))[:, 3]
        assert 0 < (found - wanted).abs().max() / wanted.abs().max() < 0.05
        assert ask.notes == ["scores under autocast, bfloat16"]  # the check is made in the model's own precision


def test_progress(net, photos):
    seen = []
    ask = asker(net, photos, chunk=4, progress=lambda done, count: seen.append((done, count)))
    ask.score_inputs(0, slices(altered(photos)), 11)
    assert seen == [(4, 11), (8, 11), (11, 11)]


def test_eval_mode_and_no_grad_for_the_runs_only(net, photos):
    net.train()
    inputs, modes = altered(photos), []
    ask = asker(net, photos)
    handle = net.register_forward_hook(lambda module, _i, output: modes.append((module.training, output.requires_grad)))
    with torch.enable_grad():
        ask.score_inputs(0, slices(inputs), 11)
    handle.remove()
    assert modes == [(False, False)]
    assert net.training


def test_inference_mode_around_it(net, photos):
    inputs = altered(photos)
    wanted = asker(net, photos).score_inputs(0, slices(inputs), 11)
    with torch.inference_mode():
        assert torch.equal(asker(net, photos).score_inputs(0, slices(inputs), 11), wanted)


def test_the_model_is_given_back_after_an_exception(net, photos):
    net.train()
    ask, before = asker(net, photos), snapshot(net)

    def breaks(start, stop):
        raise ZeroDivisionError

    for run in (ask.score_inputs, ask.score_activations):
        with pytest.raises(ZeroDivisionError):
            run(0, breaks, 4)
        assert snapshot(net) == before


class TestHead:
    """Whether what comes after the layer is pooling and one linear layer."""

    def test_its_weights(self, net, photos):
        assert torch.equal(asker(net, photos).head(), net.head.weight[list(CLASSES)])

    def test_of_other_linear_scores(self, net, photos):
        W = net.head.weight.detach()
        assert (asker(net, photos, Contrast(1, 3)).head() - (W[1] - W[3])).abs().max() <= 1e-15
        assert (asker(net, photos, SeveralClasses((0, 2))).head() - (W[0] + W[2])).abs().max() <= 1e-15
        slopes = torch.arange(15.0, dtype=torch.float64).reshape(3, 5).sin()
        assert (asker(net, photos, LinearScore(slopes)).head() - slopes @ W).abs().max() <= 1e-15

    @pytest.mark.parametrize(
        "target",
        [
            ClassProbability(1),
            lambda y: y[:, 0] ** 2,
            lambda y: y[:, 0].abs(),
            lambda y: y.amax(1),
            lambda y: y.detach()[:, 0],
        ],
        ids=["probability", "square", "size", "largest", "no derivative"],
    )
    def test_none_for_scores_that_are_not_linear(self, net, photos, target):
        assert asker(net, photos, target).head() is None

    @pytest.mark.parametrize("layer", ["last", "act"])
    def test_none_where_more_comes_after(self, net, photos, layer):
        assert asker(net, photos, layer=layer).head() is None

    @pytest.mark.parametrize(
        "change",
        [
            lambda net: setattr(net, "pool", nn.AdaptiveMaxPool2d(1)),
            lambda net: setattr(net, "head", nn.Sequential(nn.Tanh(), nn.Linear(8, 5)).double()),
            lambda net: setattr(net, "head", nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 5)).double()),
            lambda net: setattr(net, "head", nn.Sequential(nn.Linear(8, 5), nn.Softmax(1)).double()),
            lambda net: setattr(net, "extra", nn.Linear(8, 5)),
            lambda net: net.register_forward_hook(lambda _m, _i, output: output * 2),
        ],
        ids=["max pooling", "tanh", "two layers", "softmax", "two that fit", "a hook that doubles"],
    )
    def test_none_for_another_head(self, net, photos, change):
        change(net)
        assert asker(net, photos).head() is None

    def test_by_the_whole_model_where_the_tail_does_not_run_alone(self, photos):
        class Hidden(SmallNet):
            def __init__(self) -> None:
                super().__init__()
                self.hidden = [self.last_act]

            def forward(self, images):
                grid = self.hidden[0](self.last(self.act(self.norm(self.stem(images)))))
                return self.head(self.pool(grid).flatten(1))

        net = seeded(Hidden).double()
        ask = asker(net, photos)
        assert torch.equal(ask.head(), net.head.weight[list(CLASSES)])
        assert ask.notes == []


class TestClose:
    def test_rounding(self):
        wanted = torch.tensor([[1.0, 1000.0]])
        assert asking._close(wanted + 0.01, wanted)
        assert not asking._close(wanted + 1, wanted)

    def test_shapes(self):
        """What would only be alike by broadcasting is not."""
        assert not asking._close(torch.ones(3, 2), torch.ones(1, 2))

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_not_finite(self, value):
        found = torch.tensor([1.0, value])
        assert not asking._close(found, torch.ones(2))
        assert not asking._close(found, found)

    def test_zeros(self):
        assert asking._close(torch.zeros(2), torch.zeros(2))
        assert not asking._close(torch.full((2,), 1e-30), torch.zeros(2))

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision(self, dtype):
        wanted = torch.ones(2, dtype=dtype)
        assert asking._close(wanted * 1.02, wanted)
        assert not asking._close(wanted * 1.1, wanted)
        assert not asking._close(wanted * 0, wanted)

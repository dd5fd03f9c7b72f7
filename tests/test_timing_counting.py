"""Counts of planted work, and that everything is put back."""

from __future__ import annotations

import copy

import pytest
import racing
import torch
from conftest import SmallNet, seeded
from torch import nn
from torch.nn.modules import module as modules

from camzoo.timing import counting


@pytest.fixture(scope="module")
def net():
    return racing.net().eval()


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(1))


def counts_of(work, net, images):
    return counting.count(work, net, images)[0]


# 2 * C_in * 9 * C_out a cell, for two convolutions of which each halves the sides; and the linear layer.
PASS = 2 * (3 * 9 * 6 * 24 * 24 + 6 * 9 * 8 * 12 * 12 + 8 * 5)


def test_nothing_is_nothing(net, images):
    assert counts_of(lambda: None, net, images) == counting.Counts(0, 0, 0, 0, 0, 0, 0, 2 * PASS)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_forward_passes_with_their_images_and_operations(mode, net, images):
    def work():
        with mode():
            net(images)
            net(images[:1])

    counts = counts_of(work, net, images)
    assert (counts.forwards, counts.images, counts.tail_rows) == (2, 3, 3)
    assert counts.flops == 3 * PASS
    assert counts.flops_of_forward == 2 * PASS


class Named(nn.Module):
    """Takes its images by name, as models of other libraries do, and gives them on by name."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 2)

    def forward(self, kind="", images=None):
        return self.head(input=images.mean((2, 3)))


@pytest.mark.parametrize(
    "call",
    [
        lambda net, images: net("photo", images),
        lambda net, images: net("photo", images=images),
        lambda net, images: net(kind="photo", images=images),
    ],
)
def test_images_count_however_they_are_given(call, images):
    net = Named()
    with counting._watched(net, net.head, images.device) as tally:
        call(net, images)
    assert (tally.forwards, tally.images, tally.tail_rows) == (1, 2, 2)


def test_a_pass_that_is_broken_off_counts(net, images):
    def work():
        def stop(*_):
            raise ValueError("enough")

        handle = net.last_act.register_forward_hook(stop)
        with pytest.raises(ValueError, match="enough"):
            net(images)
        handle.remove()

    counts = counts_of(work, net, images)
    assert (counts.forwards, counts.images, counts.tail_rows) == (1, 2, 0)


def test_the_forward_of_the_model_without_a_call_is_seen_at_its_last_layer_alone(net, images):
    counts = counts_of(lambda: net.forward(images), net, images)
    assert (counts.forwards, counts.images, counts.tail_rows, counts.flops) == (0, 0, 2, 2 * PASS)


def test_a_copy_that_the_work_makes_is_not_the_model(net, images):
    counts = counts_of(lambda: copy.deepcopy(net)(images), net, images)
    assert (counts.forwards, counts.images, counts.tail_rows) == (0, 0, 0)


def test_rows_through_the_last_layer_alone(net, images):
    counts = counts_of(lambda: net.head(torch.zeros(7, 8)), net, images)
    assert (counts.forwards, counts.images, counts.tail_rows) == (0, 0, 7)


def test_a_copy_of_the_model_that_shares_its_last_layer_is_a_tail(net, images):
    tail = nn.Sequential(net.last_act, nn.Flatten(2), nn.AdaptiveAvgPool1d(1), nn.Flatten(), net.head)
    counts = counts_of(lambda: tail(torch.zeros(4, 8, 3, 3)), net, images)
    assert (counts.forwards, counts.images, counts.tail_rows) == (0, 0, 4)


@pytest.mark.parametrize("start", ["backward", "grad"])
def test_runs_of_the_autograd_engine(start, net, images):
    def work():
        given = images.clone().requires_grad_()
        score = net(given).sum()
        if start == "grad":
            torch.autograd.grad(score, given, retain_graph=True)
            torch.autograd.grad(score, given)
        else:
            score.backward(retain_graph=True)
            score.backward()
            net.zero_grad()

    counts = counts_of(work, net, images)
    assert counts.backwards == 2
    assert counts.flops >= 2 * PASS + 2 * 2 * PASS


READS = {
    "item": lambda x: x.sum().item(),
    "bool": lambda x: bool((x > 0).any()),
    "float": lambda x: float(x.sum()),
    "int": lambda x: int(x.sum()),
    "numpy": lambda x: x.numpy(),
    "array": lambda x: __import__("numpy").asarray(x),
    "tolist": lambda x: x.tolist(),
    "nonzero": lambda x: x.nonzero(),
    "where": lambda x: torch.where(x > 0),
    "mask": lambda x: x[x > 0],
    "masked_select": lambda x: x.masked_select(x > 0),
    "put": lambda x: x.clone().index_put_((x > 50,), torch.empty(0)),
    "eigh": lambda x: torch.linalg.eigh(x[0]),
    "inverse": lambda x: torch.linalg.inv(x[0]),
    "equal": lambda x: torch.equal(x, x + 1),
    "unique": lambda x: x.unique(),
    "unique rows": lambda x: x[0, 0].unique(dim=0),
    "unique neighbours": lambda x: x.unique_consecutive(),
    "unique rows beside each other": lambda x: x[0, 0].unique_consecutive(dim=0),
    "bincount": lambda x: torch.bincount(torch.arange(5)),
    "eig": lambda x: torch.linalg.eig(x[0, 0]),
    "eigvals": lambda x: torch.linalg.eigvals(x[0, 0]),
    "pinv": lambda x: torch.linalg.pinv(x[0, 0]),
    "lstsq": lambda x: torch.linalg.lstsq(x[0, 0], x[0, 1]),
    "repeat_interleave": lambda x: x[0].repeat_interleave(torch.ones(3, dtype=torch.long), 0),
}


@pytest.mark.parametrize("read", READS)
def test_reads_by_the_host(read, net, images):
    assert counts_of(lambda: READS[read](images), net, images).synchronisations == 1


QUIET = {
    "arithmetic": lambda x: (x + 1).relu().amax((2, 3)),
    "shape": lambda x: (x.shape, len(x), x.ndim, x.dtype),
    "index": lambda x: x[0, :, 3:5],
    "cpu": lambda x: x.cpu(),
    "indices": lambda x: x[range(2), [0, 1]],
    "where": lambda x: torch.where(x > 0, x, 0),
    "fill": lambda x: x.clone().masked_fill_(x > 0, 0.0),
    "put": lambda x: x.clone().index_put_((x > 0,), torch.tensor(0.0)),
}


@pytest.mark.parametrize("work", QUIET)
def test_what_the_host_need_not_know_is_no_wait(work, net, images):
    counts = counts_of(lambda: QUIET[work](images), net, images)
    assert (counts.synchronisations, counts.flops) == (0, 0)


COPIES = {
    "clone": (lambda x: x.clone(), 1),
    "to": (lambda x: x.double(), 2),
    "copy_": (lambda x: torch.empty_like(x).copy_(x), 1),
    "contiguous": (lambda x: x.transpose(2, 3).contiguous(), 1),
    "nothing": (lambda x: x.contiguous().view(-1).detach(), 0),
}


@pytest.mark.parametrize("copy", COPIES)
def test_copied_bytes(copy, net, images):
    work, times = COPIES[copy]
    assert counts_of(lambda: work(images), net, images).copied_bytes == times * images.nbytes


@pytest.mark.parametrize(
    ("copy", "waits"),
    [
        (lambda x: x.to("meta"), 1),
        (lambda x: torch.empty_like(x, device="meta").copy_(x), 1),
        (lambda x: x.to("meta", non_blocking=True), 0),
        (lambda x: torch.empty_like(x, device="meta").copy_(x, True), 0),
        (lambda x: torch.empty_like(x, device="meta").copy_(x, non_blocking=True), 0),
    ],
)
def test_a_copy_from_one_device_to_another_waits_unless_it_is_told_not_to(copy, waits, net, images):
    counts = counts_of(lambda: copy(images), net, images)
    assert (counts.synchronisations, counts.copied_bytes) == (waits, images.nbytes)


def test_attention_is_counted_with_and_without_gradients():
    net = seeded(lambda: nn.TransformerEncoderLayer(16, 2, 32, batch_first=True))
    tokens = torch.zeros(1, 5, 16)
    counts = counts_of(lambda: net(tokens), net, tokens)
    # Four projections, scores and weighted sum of both heads, and the two linear layers after them.
    expected = 2 * (4 * 5 * 16 * 16 + 2 * 5 * 5 * 16 + 2 * 5 * 16 * 32)
    assert counts.flops == counts.flops_of_forward == expected


def test_the_result_of_the_call_is_given(net, images):
    assert counting.count(lambda: "it", net, images)[1] == "it"


def state():
    return (
        dict(modules._global_forward_hooks),
        dict(modules._global_forward_pre_hooks),
        torch.autograd._engine_run_backward,
        torch.backends.mha.get_fastpath_enabled(),
        torch.overrides._get_current_function_mode_stack(),
        torch.utils._python_dispatch._get_current_dispatch_mode_stack(),
    )


def test_everything_is_put_back_also_after_an_exception(images):
    net, before = seeded(SmallNet), state()

    def work():
        net(images)
        assert state() != before
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        counting.count(work, net, images)
    assert state() == before
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("groups", [1, 2, 8])
def test_the_backward_pass_of_a_convolution_counts_a_pass_for_each_gradient(kind, groups):
    net = kind(8, 8, 3, groups=groups, padding=1)
    images = torch.randn(2, 8, 6, 6, generator=torch.Generator().manual_seed(1))

    def work(slopes_of_images):
        net(images.clone().requires_grad_(slopes_of_images)).sum().backward()

    both, weights_alone = (counts_of(lambda of=of: work(of), net, images) for of in (True, False))
    assert both.flops == 3 * both.flops_of_forward
    assert weights_alone.flops == 2 * both.flops_of_forward
    assert both.flops_of_forward == 2 * 2 * 8 * (8 // groups) * 9 * 36

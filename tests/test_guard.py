"""A borrowed model comes back as it was: one rude library for each thing that guard promises to restore."""

from __future__ import annotations

import gc
import random
import sys
import threading
import time
import types
import weakref

import numpy as np
import pytest
import torch
from conftest import SmallNet, seeded
from snapshots import snapshot
from torch import nn

from camzoo import guard


class Rude(Exception):
    """What a library raises half-way."""


def quiet(*_: object) -> None:
    """A hook that does nothing, and is a trace all the same."""


def replace_module(net):
    net.act = nn.Identity()


def add_module(net):
    net.extra = nn.Identity()


def remove_module(net):
    del net.pool


def reorder_modules(net):
    net._modules["stem"] = net._modules.pop("stem")


def add_forward_hook(net):
    net.stem.register_forward_hook(quiet)


def add_keyword_hook(net):
    net.stem.register_forward_hook(quiet, with_kwargs=True, always_call=True)


def add_forward_pre_hook(net):
    net.stem.register_forward_pre_hook(quiet, with_kwargs=True)


def add_backward_hooks(net):
    net.stem.register_full_backward_hook(quiet)
    net.stem.register_full_backward_pre_hook(quiet)


def add_and_remove_backward_hook(net):
    """The hook is gone, but the module still refuses a hook of the other kind."""
    net.stem.register_full_backward_hook(quiet).remove()


def clear_callers_hooks(net):
    net.last._forward_hooks.clear()


def replace_hook_table(net):
    net.last._forward_hooks = type(net.last._forward_hooks)()


def train(net):
    net.train()


def train_one_module(net):
    net.norm.training = True


def freeze(net):
    net.requires_grad_(False)


def unfreeze(net):
    net.stem.requires_grad_(True)


def fill_grad(net):
    net(torch.ones(2, 3, 8, 8)).sum().backward()


def zero_grad(net):
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)


def write_buffer(net):
    net.norm.running_mean += 1


def write_buffer_behind(net):
    net.norm.running_var.data.fill_(7)


def swap_buffer_memory(net):
    net.norm.running_mean.data = torch.zeros(9)


def replace_buffer(net):
    net.norm.running_mean = torch.zeros(6)


def replace_parameter(net):
    net.head.weight = nn.Parameter(torch.zeros(5, 8))


def swap_parameter_memory(net):
    net.head.weight.data = net.head.weight.data * 2


def override_forward(net):
    net.act.forward = types.MethodType(lambda self, x: x, net.act)


def drop_callers_forward(net):
    del net.last_act.forward


def leave_attribute(net):
    net.stem.remembered_activations = torch.zeros(3)


def change_attribute(net):
    net.act.inplace = True


def draw_python(net):
    random.random()


def draw_numpy(net):
    np.random.rand()


def draw_torch(net):
    torch.rand(1)


def turn_grad_off(net):
    torch.set_grad_enabled(False)


# The rude thing that is done, and the kind of trace that it leaves.
CASES = {
    replace_module: "modules",
    add_module: "modules",
    remove_module: "modules",
    reorder_modules: "modules",
    add_forward_hook: "hooks",
    add_keyword_hook: "hooks",
    add_forward_pre_hook: "hooks",
    add_backward_hooks: "hooks",
    add_and_remove_backward_hook: "hooks",
    clear_callers_hooks: "hooks",
    replace_hook_table: "hooks",
    train: "training",
    train_one_module: "training",
    freeze: "requires_grad",
    unfreeze: "requires_grad",
    fill_grad: "grad",
    zero_grad: "grad",
    write_buffer: "values",
    write_buffer_behind: "values",
    swap_buffer_memory: "memory",
    replace_buffer: "buffers",
    replace_parameter: "parameters",
    swap_parameter_memory: "memory",
    override_forward: "attributes",
    drop_callers_forward: "attributes",
    leave_attribute: "attributes",
    change_attribute: "attributes",
    draw_python: "python generator",
    draw_numpy: "numpy generator",
    draw_torch: "torch generator",
    turn_grad_off: "grad mode",
}


@pytest.fixture
def net(small_net: SmallNet) -> SmallNet:
    """A model in the middle of its caller's work: partly training, partly frozen, with hooks, grads and overrides."""
    small_net.norm.train()
    small_net.head.train()
    small_net.stem.requires_grad_(False)
    small_net.last.weight.grad = torch.full_like(small_net.last.weight, 3.0)
    small_net.last.register_forward_hook(quiet)
    small_net.last_act.forward = types.MethodType(lambda self, x: x.relu(), small_net.last_act)
    return small_net


@pytest.fixture(autouse=True)
def own_generators():
    """The generators of each test start at other places than guard's seed would set them to."""
    random.seed(101)
    np.random.seed(102)
    torch.manual_seed(103)
    yield
    torch.set_grad_enabled(True)


@pytest.mark.parametrize("rude", CASES, ids=lambda rude: rude.__name__)
@pytest.mark.parametrize("raises", [False, True], ids=["returns", "raises"])
def test_gives_back(net, rude, raises):
    before = snapshot(net)
    try:
        with guard.borrowed(net, seed=5):
            lent = snapshot(net)
            rude(net)
            left = snapshot(net)
            if raises:
                raise Rude
    except Rude:
        assert raises
    assert left[CASES[rude]] != lent[CASES[rude]], "the rude library did nothing: this case would always pass"
    after = snapshot(net)
    versions = before.pop("versions"), after.pop("versions")
    for kind in before:
        assert after[kind] == before[kind], kind
    if CASES[rude] != "values":
        assert versions[1] == versions[0]


def test_all_cases_at_once(net):
    before = snapshot(net)
    with guard.borrowed(net):
        fill_grad(net)  # the only one that runs the model, so before the others break it
        for rude in CASES.keys() - {fill_grad}:
            rude(net)
    after = snapshot(net)
    del before["versions"], after["versions"]
    assert after == before


def test_gradients_are_hidden_and_not_added_to(net):
    grad = net.last.weight.grad
    with guard.borrowed(net):
        assert all(parameter.grad is None for parameter in net.parameters())
        net(torch.ones(2, 3, 8, 8)).sum().backward()
        assert net.last.weight.grad is not grad
    assert net.last.weight.grad is grad
    assert bool((grad == 3).all())
    assert net.head.weight.grad is None


def test_the_callers_graph_still_runs_backward(net):
    """Restoring buffers writes them; a graph that saved them before must not notice."""
    loss = net(torch.ones(2, 3, 8, 8)).sum()
    with guard.borrowed(net):
        net.norm.running_mean.data += 1
    loss.backward()
    assert net.head.weight.grad is not None


def test_the_other_kind_of_backward_hook_still_fits(net):
    with guard.borrowed(net):
        add_and_remove_backward_hook(net)
    net.stem.register_backward_hook(quiet).remove()


def test_every_restore_is_tried_even_if_one_fails(net):
    before = snapshot(net)

    numpy_state, set_state = np.random.get_state(), np.random.set_state

    def fail(_state):
        raise Rude("no generator")

    def borrow():
        with guard.borrowed(net):
            for rude in (add_forward_hook, draw_python, draw_torch, fill_grad, train):
                rude(net)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np.random, "set_state", fail)
        with pytest.raises(Rude):
            borrow()
    set_state(numpy_state)
    assert snapshot(net) == before


class Stubborn(dict[str, int]):
    """A table that cannot be given back."""

    def clear(self):
        raise Rude("no")


def test_what_cannot_be_given_back_keeps_nothing_else_from_it(net):
    net.stem.stubborn, net.head.stubborn = Stubborn(), Stubborn()
    before = snapshot(net)

    def borrow():
        with guard.borrowed(net):
            net.stem.stubborn["more"] = net.head.stubborn["more"] = 1
            for rude in (add_forward_hook, fill_grad, train):
                rude(net)

    with pytest.raises(Rude):
        borrow()
    after = snapshot(net)
    for kind in ("hooks", "training", "modules", "parameters"):
        assert after[kind] == before[kind], kind
    assert net.stem.stubborn == net.head.stubborn == {"more": 1}


def test_lends_in_eval_mode_without_calling_train():
    class Overrides(SmallNet):
        def train(self, mode: bool = True):
            raise AssertionError("train() of the caller was called")

    net = Overrides()
    with guard.borrowed(net):
        assert not any(module.training for module in net.modules())
    assert all(module.training for module in net.modules())


def test_seeds_every_generator(net):
    def draw():
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    draws = {}
    for seed in (0, 0, 1, 7):
        random.random()
        np.random.rand(3)
        torch.rand(5)
        with guard.borrowed(net, seed):
            draws.setdefault(seed, []).append(draw())
    assert draws[0][0] == draws[0][1]
    for position in range(3):
        assert len({each[0][position] for each in draws.values()}) == len(draws)


@pytest.mark.parametrize("seed", [-1, 2**40, 2**63])
def test_takes_any_seed_that_pytorch_takes(net, seed):
    with guard.borrowed(net, seed):
        pass


def test_leaves_cuda_alone_until_it_is_in_use(net, monkeypatch):
    """Seeding through `torch.manual_seed` would decide what CUDA starts from later."""
    seeded_with = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded_with.append)
    monkeypatch.setattr(torch, "manual_seed", seeded_with.append)
    with guard.borrowed(net, 5):
        pass
    assert seeded_with == ([5] if torch.cuda.is_available() and torch.cuda.is_initialized() else [])


def test_restores_cuda_where_it_is_in_use(net, monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: ["state"])
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: calls.append(seed))
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", lambda states: calls.append(states))
    with guard.borrowed(net, 5):
        assert calls == [5]
    assert calls == [5, ["state"]]


@pytest.mark.parametrize("caller", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_callers_grad_mode_does_not_matter(net, caller):
    before = snapshot(net)
    with caller():
        mode = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        with guard.borrowed(net), torch.inference_mode(False), torch.enable_grad():
            fill_grad(net)
            write_buffer(net)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == mode
    after = snapshot(net)
    del before["versions"], after["versions"]
    assert after == before


def test_a_model_made_in_inference_mode_can_be_lent():
    with torch.inference_mode():
        net = SmallNet()
    mean = net.norm.running_mean.tolist()
    with guard.borrowed(net), torch.inference_mode():
        net.norm.running_mean += 1
        net.requires_grad_(False)
    assert net.norm.running_mean.tolist() == mean
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_shared_modules_and_tied_parameters(small_net):
    small_net.last_act = small_net.act
    small_net.twin = nn.Linear(8, 5)
    small_net.twin.weight = small_net.head.weight
    before = snapshot(small_net)
    with guard.borrowed(small_net):
        small_net.twin.weight = nn.Parameter(torch.zeros(5, 8))
        small_net.act = nn.Identity()
        small_net.head.weight.requires_grad_(False)
    assert snapshot(small_net) == before


def test_can_be_borrowed_by_the_borrower_again(net):
    before = snapshot(net)
    with guard.borrowed(net), guard.borrowed(net), guard.evaluating(net):
        add_forward_hook(net)
    assert snapshot(net) == before


def test_keeps_no_model_alive():
    net = SmallNet()
    with guard.borrowed(net), guard.evaluating(net):
        pass
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None


class TestThreads:
    """One borrower at a time; readers share; the two do not mix."""

    def start(self, work):
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def test_the_last_reader_restores_the_flags(self, net):
        before = snapshot(net)
        first_in, second_out = threading.Event(), threading.Event()

        def first():
            with guard.evaluating(net):
                first_in.set()
                assert second_out.wait(10)
                still.append(not any(module.training for module in net.modules()))

        still: list[bool] = []
        thread = self.start(first)
        assert first_in.wait(10)
        with guard.evaluating(net):
            assert not any(module.training for module in net.modules())
        assert not any(module.training for module in net.modules())
        second_out.set()
        thread.join(10)
        assert still == [True]
        assert snapshot(net) == before

    @pytest.mark.parametrize("second", [guard.borrowed, guard.evaluating], ids=["borrower", "reader"])
    def test_a_borrower_keeps_others_out(self, net, second):
        entered = threading.Event()

        def other():
            with second(net):
                entered.set()

        with guard.borrowed(net):
            thread = self.start(other)
            assert not entered.wait(0.2)
        assert entered.wait(10)
        thread.join(10)

    def test_a_borrower_waits_for_readers(self, net):
        """Else what a reader hung into the model for the moment would be given back as if it had been there."""
        before = snapshot(net)
        entered = threading.Event()

        def borrow():
            with guard.borrowed(net):
                entered.set()

        with guard.evaluating(net):
            handle = net.stem.register_forward_hook(quiet)
            thread = self.start(borrow)
            assert not entered.wait(0.2)
            with guard.evaluating(net):  # a reader that is in may read again, or the two would wait for each other
                pass
            handle.remove()
        assert entered.wait(10)
        thread.join(10)
        assert snapshot(net) == before

    def test_many_readers_and_borrowers(self, net):
        before = snapshot(net)
        inside: list[str] = []
        wrong: list[object] = []

        def read():
            for _ in range(50):
                with guard.evaluating(net):
                    handle = net.stem.register_forward_hook(quiet)
                    inside.append("reader")
                    if any(module.training for module in net.modules()) or "borrower" in inside:
                        wrong.append(list(inside))
                    inside.remove("reader")
                    handle.remove()

        def borrow():
            for _ in range(20):
                with guard.borrowed(net):
                    inside.append("borrower")
                    if inside != ["borrower"]:
                        wrong.append(list(inside))
                    add_forward_hook(net)
                    inside.remove("borrower")

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            threads = [self.start(work) for work in (read, read, read, borrow, borrow)]
            for thread in threads:
                thread.join(60)
        finally:
            sys.setswitchinterval(interval)
        assert wrong == []
        after = snapshot(net)
        for kind in ("hooks", "training", "modules", "attributes"):
            assert after[kind] == before[kind]


def test_costs_little(net):
    """Lending a small net takes well under what a library's work does: nothing is copied but buffers."""
    began = time.perf_counter()
    for _ in range(20):
        with guard.borrowed(net):
            pass
    assert (time.perf_counter() - began) / 20 < 0.05


def test_the_snapshot_sees_each_kind():
    """The test's own instrument: two nets of one seed differ in identity, and in nothing else."""
    one, other = snapshot(seeded(SmallNet)), snapshot(seeded(SmallNet))
    assert one["values"] == other["values"]
    assert one["training"] == other["training"]
    assert one["modules"] != other["modules"]
    assert one["parameters"] != other["parameters"]

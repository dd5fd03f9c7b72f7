"""Every promise has a liar that breaks it, and no other; and every method of every backend is held to all."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import require
from torch import nn

from camzoo import backends, capture, native
from camzoo.conformance import promises
from camzoo.conformance.promises import EXPECTED, PROMISES, QUICK, State, _exempt, _nets, kept, numbers
from camzoo.conformance.promises._compare import apart
from camzoo.conformance.promises._promise import Breach
from camzoo.conformance.subjects import Subject, of_backend
from camzoo.errors import NotOffered
from camzoo.grids import normalise
from camzoo.problems import pose
from camzoo.types import Resolution, Stage

HONEST = of_backend(native.backend, "gradcam")
NAMES = {promise.name: promise for promise in PROMISES}


@pytest.fixture(autouse=True, scope="module")
def no_benchmark_of_guards():
    """Each compilation ends with a time for its log, with cleared caches: a quarter of the cost, and of no effect."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch._dynamo.guards.profile_guard_manager", lambda *_: 0.0, raising=False)
        yield


def asked_about(problem, classes):
    return pose(problem.model, problem.images, problem.layer, classes)


# Each takes a problem and its honest map, and lies where its promise is tried, and nowhere else.


def adds_an_axis(problem, maps):
    # At the size of most checks only: promises on images of other shapes are promises of one map each as well.
    return maps[:, None] if problem.images.shape[1:] == (3, 16, 28) else maps


def is_not_a_number(problem, maps):
    # For one class only, so that the map still changes with the class and with the weights; and for no volume,
    # tall or grey image, which must be finite as well.
    peak = (
        (maps == maps.amax((-2, -1), keepdim=True)) & (maps != 0) & (torch.tensor(problem.classes) == 0)[:, None, None]
    )
    return torch.where(peak, torch.nan, maps) if problem.images.shape[1:] == (3, 16, 28) else maps


def draws_from_the_global_generator(problem, maps):
    state = torch.get_rng_state()
    noise = torch.rand(1)
    torch.set_rng_state(state)
    return maps * (1 + noise)


def scales_by_the_batch(problem, maps):
    largest = maps.abs().amax()
    return maps / torch.where(largest == 0, 1, largest)


def explains_the_first_class(problem, maps):
    return HONEST.maps(asked_about(problem, [0] * len(maps)))


def stays_signed(problem, maps):
    return maps


def peaks_at_a_half(problem, maps):
    return normalise(maps) / 2


def writes_into_the_images(problem, maps):
    problem.images.mul_(2)
    return maps


def leaves_a_hook(problem, maps):
    problem.model.register_forward_hook(lambda *_: None)
    return maps


def whispers(problem, maps):
    return torch.where(maps.abs().amax() == 0, 1e-12, maps)


def squashes(problem, maps):
    return maps.tanh()


def leans_to_the_right(problem, maps):
    return maps * torch.arange(1, maps.shape[-1] + 1)


def ignores_the_weights_above(problem, maps):
    (taken,), _ = capture.take(problem.model, problem.layer, problem.images, [problem.target])
    activations = taken.activations
    channels = torch.arange(activations.shape[1])
    codes = torch.stack([torch.cos(channels * (1 + one)) for one in problem.classes]).to(activations)
    alive = (maps != 0).any()  # or it would not be zero where the gradient is
    return torch.einsum("nk,nk...->n...", codes, activations) * alive


def fails_in(dtype):
    return lambda problem, maps: -maps if problem.images.dtype == dtype else maps


def fails_without_grad(problem, maps):
    return maps if torch.is_grad_enabled() or torch.is_inference_mode_enabled() else -maps


def fails_in_inference_mode(problem, maps):
    return -maps if torch.is_inference_mode_enabled() else maps


def needs_gradients_of_parameters(problem, maps):
    if not any(parameter.requires_grad for parameter in problem.model.parameters()):
        raise RuntimeError("element 0 of tensors does not require grad")
    return maps


def reads_what_is_written(problem, maps):
    written = problem.layer == "last" and problem.model.get_submodule("last_act").inplace
    return maps.clamp(min=0) if written else maps


def knows_its_model_by_name(problem, maps):
    if isinstance(problem.model, nn.DataParallel):
        raise AttributeError("'DataParallel' object has no attribute 'head'")
    return maps


def does_not_know_compiled_models(problem, maps):
    return -maps if hasattr(problem.model, "_orig_mod") else maps


def wants_colours(problem, maps):
    return torch.full_like(maps, torch.nan) if problem.images.shape[1] == 1 else maps


def turns_tall_images(problem, maps):
    return maps.mT if maps.shape[-2] > maps.shape[-1] else maps


def takes_a_slice(problem, maps):
    return maps[:, 0] if maps.ndim == 4 else maps


def lying(lie, stage=Stage.RAW):
    return Subject("gradcam", "liar", stage, Resolution.LAYER, lambda problem: lie(problem, HONEST.maps(problem)))


def leaves_a_hook_on_failure(problem):
    try:
        return HONEST.maps(problem)
    except Exception:
        problem.model.register_forward_hook(lambda *_: None)
        raise


LIARS = [
    ("one-map-each", lying(adds_an_axis)),
    ("finite", lying(is_not_a_number)),
    ("same-twice", lying(draws_from_the_global_generator)),
    ("batch-as-singles", lying(scales_by_the_batch)),
    ("class-asked", lying(explains_the_first_class)),
    ("in-range", lying(stays_signed, Stage.RECTIFIED)),
    ("in-range", lying(peaks_at_a_half, Stage.NORMALISED)),
    ("images-untouched", lying(writes_into_the_images)),
    ("model-given-back", lying(leaves_a_hook)),
    ("model-given-back-broken", replace(HONEST, backend="liar", maps=leaves_a_hook_on_failure)),
    ("zero-gradient", lying(whispers)),
    ("logit-scale", lying(squashes)),
    ("mirrored", lying(leans_to_the_right)),
    ("weights-matter", lying(ignores_the_weights_above)),
    ("float32", lying(fails_in(torch.float32))),
    ("bfloat16", lying(fails_in(torch.bfloat16))),
    ("no-grad", lying(fails_without_grad)),
    ("inference-mode", lying(fails_in_inference_mode)),
    ("frozen", lying(needs_gradients_of_parameters)),
    ("in-place", lying(reads_what_is_written)),
    ("data-parallel", lying(knows_its_model_by_name)),
    ("compiled", lying(does_not_know_compiled_models)),
    ("one-channel", lying(wants_colours)),
    ("not-square", lying(turns_tall_images)),
    ("three-dimensions", lying(takes_a_slice)),
]


def cases(liars):
    return [
        pytest.param(name, liar, id=f"{name}-{at}", marks=[pytest.mark.slow] if name == "compiled" else [])
        for at, (name, liar) in enumerate(liars)
    ]


def broken(results):
    return [result.promise for result in results if result.broken]


@pytest.mark.parametrize("tried", [QUICK, pytest.param(PROMISES, marks=pytest.mark.slow)], ids=["quick", "all"])
def test_an_honest_subject_keeps_every_promise(tried):
    results = kept(HONEST, tried)
    assert [result.promise for result in results] == [promise.name for promise in tried]
    wanting = {result.promise: result.state for result in results if result.state is not State.HELD}
    by_machine = set() if torch.cuda.is_available() else {"devices"}
    assert wanting == dict.fromkeys({"in-range", *by_machine} & {promise.name for promise in tried}, State.NOT_RUN)


@pytest.mark.parametrize(("name", "liar"), cases(LIARS))
def test_a_liar_is_found(name, liar):
    (result,) = kept(liar, [NAMES[name]])
    assert result.broken
    assert result.reason
    assert " of " in result.shown_by


@pytest.mark.slow
@pytest.mark.parametrize(("name", "liar"), cases(LIARS))
def test_a_liar_breaks_its_own_promise_and_no_other(name, liar):
    assert broken(kept(liar)) == [name]


def test_every_promise_has_a_liar():
    assert {name for name, _ in LIARS} | {"devices"} == set(NAMES)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_liar_on_a_gpu_is_found():
    liar = lying(lambda problem, maps: -maps if problem.images.is_cuda else maps)
    assert broken(kept(liar)) == ["devices"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_without_a_gpu_the_promise_on_devices_is_not_run(small_net):
    (result,) = kept(HONEST, [NAMES["devices"]])
    assert (result.state, result.reason) == (State.NOT_RUN, "there is no GPU here")


def test_a_wrong_device_would_be_found(monkeypatch):
    """With the CPU in the place of a GPU; the liar knows by the problem, which is posed anew, where it is."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(nn.Module, "cuda", lambda self: self.train(True))
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
    monkeypatch.setattr(numbers, "differing", lambda found, wanted, _what: Breach("") if apart(found, wanted) else None)
    liar = replace(HONEST, maps=lambda problem: HONEST.maps(problem) * (-1 if problem.model.training else 1))
    assert numbers.devices(HONEST, _nets.NET) is None
    assert numbers.devices(liar, _nets.NET) is not None


@pytest.mark.parametrize(
    ("name", "here"),
    [
        ("float32", lambda p: p.images.dtype == torch.float32),
        ("no-grad", lambda _: not torch.is_grad_enabled()),
        ("data-parallel", lambda p: isinstance(p.model, nn.DataParallel)),
        ("three-dimensions", lambda p: p.images.ndim == 5),
    ],
)
def test_a_refusal_with_a_reason_breaks_nothing(name, here):
    def refuse(problem):
        if here(problem):
            raise NotOffered("not for these")
        return HONEST.maps(problem)

    (result,) = kept(replace(HONEST, maps=refuse), [NAMES[name]])
    assert (result.state, result.reason) == (State.REFUSED, "not for these")


def test_what_refuses_every_network_is_refused():
    def refuse(problem):
        raise NotOffered("never")

    results = kept(replace(HONEST, maps=refuse), QUICK)
    assert {(result.state, result.reason) for result in results} == {(State.REFUSED, "never")}


def test_what_fails_everywhere_breaks_every_promise_that_is_tried():
    def fail(problem):
        raise ValueError("what is this")

    finite, twice = kept(replace(HONEST, maps=fail), [NAMES["finite"], NAMES["same-twice"]])
    assert finite.broken
    assert twice.broken
    assert finite.reason == "fails: ValueError: what is this"


def test_the_smallest_input_is_found():
    """Two images are needed, and any size does."""
    (result,) = kept(lying(scales_by_the_batch), [NAMES["batch-as-singles"]])
    assert result.shown_by == "2 images of 8 x 28, classes 0, 4"
    (result,) = kept(lying(writes_into_the_images), [NAMES["images-untouched"]])
    assert str(result) == (
        "images-untouched broken: the images have other values afterwards (shown by 1 image of 8 x 28, class 0)"
    )


def test_a_model_that_asks_for_gradients_of_the_images_is_found():
    def maps(problem):
        problem.images.requires_grad_()
        return HONEST.maps(problem)

    (result,) = kept(replace(HONEST, maps=maps), [NAMES["images-untouched"]])
    assert result.reason == "the images want gradients afterwards"


@pytest.mark.parametrize(
    "trace",
    [
        lambda model: model.eval(),
        lambda model: model.requires_grad_(True),
        lambda model: model.head.weight.data.add_(1),
        lambda model: model.norm.running_mean.add_(1),
        lambda model: model.zero_grad(),
        lambda model: setattr(model, "act", nn.ReLU()),
        lambda _: torch.set_grad_enabled(False),
    ],
)
def test_any_trace_on_the_model_is_found(trace):
    def maps(problem):
        values = HONEST.maps(problem)
        trace(problem.model)
        return values

    assert broken(kept(replace(HONEST, maps=maps), [NAMES["model-given-back"]])) == ["model-given-back"]
    assert torch.is_grad_enabled()


def test_waived_promises_are_never_said_to_be_held():
    (result,) = kept(of_backend(native.backend, "eigencam"), [NAMES["class-asked"]])
    assert (result.state, result.reason) == (State.NOT_RUN, "made of the activations alone")


def test_an_expected_breach_is_told_and_counts_for_nothing(monkeypatch):
    entry = promises.Expected("liar", ("gradcam",), "images-untouched", "it writes at cam.py:1")
    monkeypatch.setattr(promises.expected, "EXPECTED", (entry,))
    (result,) = kept(lying(writes_into_the_images), [NAMES["images-untouched"]])
    assert (result.state, result.known, result.broken) == (State.BROKEN, "it writes at cam.py:1", False)


def test_the_mirrored_networks_are():
    """Seen at a map that knows neither class nor gradient: the activations of the layer."""
    for home in (_nets.NET, _nets.TRANSFORMER):
        problem = _nets.symmetric(home).problem()
        outputs = [problem.model(images) for images in (problem.images, problem.images.flip(-1))]
        torch.testing.assert_close(*outputs)
        plain = home.problem()
        outputs = [plain.model(images) for images in (plain.images, plain.images.flip(-1))]
        assert (outputs[0] - outputs[1]).abs().max() > 0.01


def test_maps_of_other_cells_that_are_not_finite_are_apart():
    one = np.array([[[np.nan, 1.0]]])
    assert apart(one, one) == 0
    assert apart(one, np.array([[[1.0, np.nan]]])) == np.inf
    assert apart(np.array([[[np.nan, 2.0]]]), one) == 1
    assert apart(np.zeros((1, 1, 2)), np.zeros((1, 1, 2))) == 0
    assert apart(np.ones((1, 1, 2)), np.zeros((1, 1, 2))) == np.inf


def test_a_problem_is_let_go():
    """Nobody keeps the networks that were made for a check."""
    seen = weakref.WeakSet()

    def maps(problem):
        seen.add(problem.model)
        return HONEST.maps(problem)

    kept(replace(HONEST, maps=maps), QUICK)
    gc.collect()
    assert not seen


# Enough to show the way; with the defaults these run the model hundreds of times.
FEW = {"masks": 20, "samples": 2, "num_samples": 2, "n_samples": 10, "n_steps": 4, "steps": 4, "num_scales": 2}
FEWER = {"shapley-sampling": {"n_samples": 2}}  # of which each is a run for each of hundreds of patches
OFFERS = [(backend, offer) for backend in backends.found().values() for offer in backend.offers]
CELLS = [pytest.param(backend, offer, id=f"{offer.method}@{backend.name}") for backend, offer in OFFERS]


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "offer"), CELLS)
def test_every_method_of_every_backend_keeps_its_promises_but_those_that_are_listed(backend, offer):
    if backend.package:
        require(backend.package)
    few = {name: FEW[name] for name in offer.options if name in FEW} | FEWER.get(offer.method, {})
    results = kept(of_backend(backend, offer.method, few))
    assert [str(result) for result in results if result.broken] == []
    listed = {e.promise for e in EXPECTED if e.backend == backend.name and offer.method in e.methods}
    assert {result.promise for result in results if result.known} == listed
    assert any(result.state is State.HELD for result in results)
    own = [result for result in results if backend is native.backend and result.state is State.REFUSED]
    assert {(offer.method, result.promise) for result in own} <= REFUSED_BY_CAMZOO


# What camzoo's own methods say no to; all else is kept or waived. Compiled code does not look for hooks at further
# layers once it has run, and never within torchvision's transformer.
REFUSED_BY_CAMZOO = {
    ("cam", "in-place"),
    *((method, "compiled") for method in ("refinecam", "fusion", "attention-rollout", "legrad")),
}


def test_what_is_listed_exists():
    methods = {(backend.name, offer.method) for backend, offer in OFFERS}
    names = set(NAMES)
    for entry in EXPECTED:
        assert entry.promise in names
        assert {(entry.backend, method) for method in entry.methods} <= methods
        assert ".py:" in entry.why


def test_what_is_waived_exists():
    """Of the libraries' names too; a misspelt one would waive nothing."""
    methods = {offer.method for _, offer in OFFERS}
    tables = (
        _exempt.CLASS_FREE,
        _exempt.NOT_OF_THE_GRADIENT,
        _exempt.NOT_MIRRORED,
        _exempt.INSENSITIVE,
        _exempt.TOO_MANY,
    )
    for table in (*tables, _exempt.HOMOGENEOUS):
        assert set(table) <= methods

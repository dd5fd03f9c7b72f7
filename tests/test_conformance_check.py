"""The verdicts: right implementations agree, wrong ones are found, and nothing is called by another's word."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import require

from camzoo import backends, native, specs
from camzoo.conformance import attributions, check, known_differences, promises, record
from camzoo.conformance.check import compare, error, examine, of_computation
from camzoo.conformance.known_differences import LEDGER, Difference
from camzoo.conformance.stands import POOLED, QUICK, RECTIFIED, STANDS, TRANSFORMER, Given
from camzoo.conformance.subjects import of_backend, of_callable
from camzoo.conformance.verdicts import Finding, Kind, Verdict
from camzoo.errors import NotInstalled, NotOffered, RequestError
from camzoo.specs import Computation
from camzoo.types import Resolution, Stage

IMPORTS = {"captum": "captum", "torchcam": "torchcam", "pytorch-grad-cam": "pytorch_grad_cam"}


def gradcam(model, layer, images, target, power=1):
    """As a user may write it."""
    kept = []
    handle = layer.register_forward_hook(lambda _m, _i, output: kept.append(output))
    try:
        scores = model(images.requires_grad_().clone())
    finally:
        handle.remove()
    (gradients,) = torch.autograd.grad(scores[range(len(target)), target].sum(), kept)
    return ((gradients.mean((2, 3), keepdim=True) ** power) * kept[0]).sum(1).relu()


def squared(model, layer, images, target):
    return gradcam(model, layer, images, target, power=2)


class Built:
    def __init__(self, model, layer):
        self.model, self.layer = model, layer

    def __call__(self, images, target):
        return gradcam(self.model, self.layer, images, target)


@pytest.mark.parametrize("explain", [gradcam, Built], ids=["a function", "a class"])
def test_a_right_implementation_agrees(explain):
    finding = examine(of_callable(explain, "gradcam"), [POOLED, RECTIFIED])
    assert (finding.verdict, finding.stage, finding.reason) == (Verdict.AGREES, "rectified", "")
    assert finding.error < 1e-14
    assert finding.tolerance == 1e-10


def test_a_wrong_implementation_differs_and_is_told_where():
    finding = examine(of_callable(squared, "gradcam"), [POOLED, RECTIFIED])
    assert finding.verdict is Verdict.NEW
    assert finding.stage == "weights"
    assert finding.error > 0.01
    assert finding.reason


def test_what_the_ledger_explains_is_known():
    entry = Difference(
        "yours", "gradcam", "==1", Kind.DEFINITION, "weights are squared", "here", lambda e: _squared(e.A, e.G)
    )
    finding = examine(of_callable(squared, "gradcam"), [POOLED, RECTIFIED], entry)
    assert (finding.verdict, finding.kind) == (Verdict.KNOWN, Kind.DEFINITION)
    assert finding.residual < 1e-12 < finding.error
    assert finding.reason == "weights are squared (here)"


def test_an_entry_that_does_not_explain_is_no_excuse():
    entry = Difference("yours", "gradcam", "==1", Kind.DEFINITION, "zeros", "here", lambda e: np.zeros(e.A.shape[1:]))
    finding = examine(of_callable(squared, "gradcam"), [POOLED], entry)
    assert finding.verdict is Verdict.NEW
    assert finding.reason.startswith("the ledger's variant does not give this number")


def _squared(A, G):
    return np.maximum(np.einsum("k,kij->ij", G.mean((1, 2)) ** 2, A), 0)


def raises(error_):
    def explain(model, layer, images, target):
        raise error_

    return explain


@pytest.mark.parametrize(
    ("raised", "verdict"),
    [
        (NotOffered("not here"), Verdict.NOT_OFFERED),
        (NotInstalled("pip install it"), Verdict.NOT_INSTALLED),
        (ZeroDivisionError("by zero"), Verdict.FAILED),
    ],
)
def test_no_map_has_its_word(raised, verdict):
    finding = examine(of_callable(raises(raised), "gradcam"), [POOLED])
    assert finding.verdict is verdict
    assert str(raised) in finding.reason
    assert finding.error is None


def test_one_stand_that_is_refused_does_not_hide_the_others():
    subject = of_callable(gradcam, "gradcam")
    picky = replace(subject, maps=lambda problem: _refuse(subject, problem))
    assert examine(picky, [POOLED, RECTIFIED]).verdict is Verdict.AGREES
    assert examine(picky, [POOLED]).verdict is Verdict.NOT_OFFERED


def _refuse(subject, problem):
    if len(problem.images) == 2:
        raise NotOffered("no pairs")
    return subject.maps(problem)


def layercam(model, layer, images, target):
    """Right for (N, K, h, w); of tokens it makes something of another shape, without an error."""
    kept = []
    handle = layer.register_forward_hook(lambda _m, _i, output: kept.append(output))
    try:
        scores = model(images.requires_grad_().clone())
    finally:
        handle.remove()
    (gradients,) = torch.autograd.grad(scores[range(len(target)), target].sum(), kept)
    return (gradients.relu() * kept[0]).sum(1).relu()


def test_what_reads_grids_only_is_right_there():
    assert examine(of_callable(layercam, "layercam"), [POOLED, RECTIFIED, TRANSFORMER]).verdict is Verdict.AGREES


class Forgetful:
    """Gives the first map that it ever made, whatever it is asked."""

    def __init__(self, model, layer):
        self.model, self.layer, self.made = model, layer, None

    def __call__(self, images, target):
        if self.made is None:
            self.made = gradcam(self.model, self.layer, images, target)
        return self.made


class Growing:
    """Writes over the map that it gave before."""

    def __init__(self, model, layer):
        self.model, self.layer, self.buffer = model, layer, None

    def __call__(self, images, target):
        found = gradcam(self.model, self.layer, images, target)
        if self.buffer is None or self.buffer.shape != found.shape:
            self.buffer = found
        else:
            self.buffer.mul_(2)
        return self.buffer


@pytest.mark.parametrize("explain", [Forgetful, Growing])
def test_what_is_kept_from_call_to_call_shows(explain):
    (promise,) = [each for each in promises.PROMISES if each.name == "same-twice"]
    assert promises.kept(of_callable(explain, "gradcam"), [promise])[0].broken


@pytest.mark.parametrize("explain", [lambda m, y, x, t: [1], lambda m, y, x, t: None])
def test_what_is_no_array_is_named(explain):
    finding = examine(of_callable(explain, "gradcam"), [POOLED])
    assert finding.verdict is Verdict.FAILED
    assert "not an array of maps" in finding.reason


def test_a_class_that_may_be_left_out_is_still_a_plain_function():
    finding = examine(of_callable(lambda m, y, x, target=None: gradcam(m, y, x, target), "gradcam"), [POOLED])
    assert finding.verdict is Verdict.AGREES


@pytest.mark.parametrize("explain", [torch.relu, 3])
def test_what_is_no_implementation_is_refused(explain):
    with pytest.raises(RequestError, match="nothing that is called with a model and a layer"):
        of_callable(explain, "gradcam")


def test_options_are_those_of_the_reference_too():
    assert of_computation(Computation("gradcam++", options={"alpha": "authors"}), [POOLED]).verdict is Verdict.AGREES
    with pytest.raises(RequestError, match="a library is checked at its defaults"):
        of_computation(Computation("fem", "pytorch-grad-cam", {"k": 3}), [POOLED])


def test_a_method_without_a_reference_is_not_failed():
    finding = examine(replace(of_callable(gradcam, "gradcam"), method="novelty"), [POOLED])
    assert (finding.verdict, finding.reason) == (Verdict.NOT_OFFERED, "there is no reference for novelty")


# Those with options have references that take seconds.
@pytest.mark.parametrize(
    "method", sorted(set(attributions.METHODS) - set(known_differences.OPTIONS["captum"]) - {"sess"})
)
def test_a_wrong_attribution_is_a_finding_and_no_end(method):
    wrong = replace(of_callable(gradcam, method), maps=lambda problem: problem.images.abs().sum(1) + 0.1)
    assert examine(wrong, [POOLED]).verdict is Verdict.NEW


def test_what_was_not_tried_is_told():
    refuses = [each for each in promises.PROMISES if each.name in ("devices", "same-twice")]
    finding = examine(of_callable(gradcam, "gradcam"), [POOLED], held=refuses)
    assert finding.refusals == (() if torch.cuda.is_available() else ("devices not run: there is no GPU here",))


class Uncopied(torch.nn.Module):
    def __deepcopy__(self, memo):
        raise TypeError("not twice")


def test_a_model_that_cannot_be_copied_is_refused(images):
    with pytest.raises(RequestError, match="copying it fails: TypeError: not twice"):
        check.on_model(specs.expand("gradcam"), Given("mine", Uncopied(), images))


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        ([[1.0, 2.0]], [[1.0, 2.0]], 0.0),
        ([[1.0, 3.0]], [[1.0, 2.0]], 0.5),
        ([[0.0, 0.0]], [[0.0, 0.0]], 0.0),
        ([[0.0, 1.0]], [[0.0, 0.0]], np.inf),
        ([[1.0, np.nan]], [[1.0, 2.0]], np.inf),
        ([[1.0, 2.0, 3.0]], [[1.0, 2.0]], np.inf),
    ],
)
def test_the_error_is_relative_to_the_reference(found, wanted, expected):
    assert error(np.array([found]), [np.array(wanted)]) == expected


def test_the_error_is_that_of_the_worst_image():
    maps = np.array([[[1.0, 2.0]], [[1.0, 3.0]]])
    assert error(maps, [maps[0], maps[0]]) == 0.5
    assert error(maps, [maps[0]]) == np.inf


def test_a_tolerance_is_that_of_the_dtype():
    single = replace(of_callable(gradcam, "gradcam"), maps=lambda p: gradcam_of(p).float())
    assert compare(single, POOLED).tolerance == 1e-5


def gradcam_of(problem):
    return gradcam(problem.model, problem.layer_module, problem.images, list(problem.classes))


OWN = [offer.method for offer in native.backend.offers]


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN)
def test_camzoo_is_held_to_the_same(name):
    finding = of_computation(Computation(name), STANDS)
    assert finding.verdict is Verdict.AGREES, finding.reason


FOREIGN = [
    pytest.param(offer.method, name, id=f"{offer.method}@{name}")
    for name, backend in backends.found().items()
    if name in IMPORTS
    for offer in backend.offers
]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "backend"), FOREIGN)
def test_every_method_of_every_library_agrees_or_differs_as_its_entry_says(method, backend):
    """An entry that is not needed, or does not give the library's number, fails by name as well."""
    require(IMPORTS[backend])
    finding = of_computation(Computation(method, backend), STANDS)
    entry = known_differences.find(method, backend)
    assert finding.verdict is (Verdict.KNOWN if entry else Verdict.AGREES), f"{finding.stage}: {finding.reason}"
    if entry:
        assert finding.residual <= finding.tolerance < finding.error


def test_the_ledger_names_each_once_and_what_is_offered():
    names = [(entry.backend, entry.method) for entry in LEDGER]
    assert len(names) == len(set(names))
    for backend, method in names:
        backends.find(backend).offer(method)
    assert known_differences.find("gradcam", "camzoo") is None


def test_the_options_of_a_check_are_offered():
    for backend, methods in known_differences.OPTIONS.items():
        for method, options in methods.items():
            backends.find(backend).offer(method, options)


def test_a_model_of_the_user(small_net, images):
    stand = Given("mine", small_net, images, "last_act", [1, 2, 3])
    (finding,) = check.on_model(specs.expand("gradcam"), stand)
    assert (finding.verdict, finding.problem) == (Verdict.AGREES, "mine")
    with pytest.raises(RequestError, match="nothing is left to check"):
        check.on_model(specs.expand("rise"), stand, quick=True)
    assert next(small_net.parameters()).dtype == torch.float32


def test_progress_is_told():
    told = []
    check.check(specs.expand("uniform,center"), quick=True, progress=lambda *now: told.append(now))
    assert told == [(0, 2, "uniform"), (1, 2, "center"), (2, 2, "")]


def test_findings_are_read_back_as_they_were(tmp_path):
    findings = [
        Finding("gradcam", "a", Verdict.AGREES, "raw", 0.0, 1e-10, problem="pooled", versions={"a": "1"}),
        Finding(
            "gradcam", "b", Verdict.KNOWN, "raw", float("inf"), 1e-5, "why", "p", Kind.ERROR, 1e-7, ("in-place: x",)
        ),
        Finding("gradcam", "c", Verdict.NOT_INSTALLED, reason="pip install c"),
    ]
    path = record.save(findings, {"date": "today"}, tmp_path / "new")
    assert record.load(path) == (findings, {"date": "today"})


def test_every_method_can_be_tried_at_a_quick_stand():
    """What is refused at all quick stands would be reported as not offered."""
    for offer in native.backend.offers:
        assert of_computation(Computation(offer.method), QUICK).verdict is Verdict.AGREES, offer.method


def test_a_subject_of_a_backend_is_what_explain_gives():
    subject = of_backend(native.backend, "gradcam")
    assert (subject.stage, subject.resolution, subject.name) == (Stage.RAW, Resolution.LAYER, "gradcam@camzoo")
    assert subject.maps(TRANSFORMER.problem()).shape == (2, 4, 4)

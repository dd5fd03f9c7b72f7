"""The check as pytest cases, for the authors of other backends and implementations.

A whole test module of a plug-in:

    from camzoo.testing import check_backend
    from my_package import backend

    test_conformance = check_backend(backend)
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from camzoo.conformance import check, known_differences, promises
from camzoo.conformance.subjects import Subject, of_backend, of_callable
from camzoo.conformance.verdicts import Verdict
from camzoo.errors import NotInstalled, RequestError
from camzoo.grids import Array
from camzoo.types import Backend, Stage

__all__ = ["Case", "cases", "check_backend", "check_map_function"]


@dataclass(frozen=True, slots=True)
class Case:
    """One statement about one implementation.

    Attributes:
        name: such as `torchcam-gradcam++-rectified-oracle`.
        run: raises AssertionError where it does not hold, and skips where it does not apply.
    """

    name: str
    run: Callable[[], None] = field(repr=False)


def check_backend(
    backend: Backend,
    methods: Sequence[str] | None = None,
    expected: Mapping[str, str] | None = None,
    quick: bool = False,
) -> Callable[[Case], None]:
    """A pytest function with a case for each method and statement; bind it to a name that begins with `test`.

    Args:
        backend: whose methods are checked.
        methods: canonical names; None for all that it offers.
        expected: names of cases that are known to fail, with the reason. One that passes after all fails the suite.
        quick: fewer problems and promises.

    Raises:
        RequestError: an expected failure names no case.
    """
    names = methods or [offer.method for offer in backend.offers]
    subjects = [of_backend(backend, name, check.options_of(name, backend.name)) for name in names]
    return _test([case for subject in subjects for case in cases(subject, quick)], expected or {})


def check_map_function(
    explain: Callable[..., Array],
    method: str,
    stage: Stage | str = Stage.RECTIFIED,
    expected: Mapping[str, str] | None = None,
    quick: bool = False,
) -> Callable[[Case], None]:
    """The same for a bare implementation, see `camzoo.conformance.subjects.of_callable`.

    Args:
        explain: a factory `(model, layer_module)` or a function `(model, layer_module, images, target)`.
        method: the canonical name of what it says it computes.
        stage: what it returns: "raw", "rectified" or "normalised".
        expected: names of cases that are known to fail, with the reason.
        quick: fewer problems and promises.
    """
    subject = of_callable(explain, method, Stage(stage), getattr(explain, "__name__", "mine"))
    return _test(cases(subject, quick), expected or {})


def cases(subject: Subject, quick: bool = False) -> list[Case]:
    """Every statement about an implementation: that it meets the oracle, and each promise."""
    prefix = f"{subject.backend}-{subject.method}-{subject.stage}"
    stands, held = check.extent(quick)
    entry = known_differences.find(subject.method, subject.backend)

    def oracle() -> None:
        finding = check.examine(subject, stands, entry)
        if finding.verdict in (Verdict.NOT_OFFERED, Verdict.NOT_INSTALLED):
            pytest.skip(finding.reason)
        assert finding.verdict.good, f"{finding.verdict} at {finding.stage}: {finding.reason}"

    def promise(each: promises.Promise) -> Callable[[], None]:
        def run() -> None:
            try:
                (result,) = promises.kept(subject, [each])
            except NotInstalled as missing:
                pytest.skip(str(missing))
            if result.state in (promises.State.REFUSED, promises.State.NOT_RUN):
                pytest.skip(result.reason)
            assert not result.broken, str(result)

        return run

    return [Case(f"{prefix}-oracle", oracle), *(Case(f"{prefix}-{each.name}", promise(each)) for each in held)]


def _test(listed: Sequence[Case], expected: Mapping[str, str]) -> Callable[[Case], None]:
    names = [case.name for case in listed]
    for name in expected:
        if name not in names:
            near = difflib.get_close_matches(name, names)
            raise RequestError(f"no case is named {name!r}; closest: {', '.join(near) or 'none'}")

    def marks(name: str) -> list[pytest.MarkDecorator]:
        return [pytest.mark.xfail(reason=expected[name], strict=True)] if name in expected else []

    parameters = [pytest.param(case, id=case.name, marks=marks(case.name)) for case in listed]

    @pytest.mark.parametrize("case", parameters)
    def test(case: Case) -> None:
        case.run()

    return test

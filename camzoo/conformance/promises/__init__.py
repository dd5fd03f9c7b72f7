"""The promises that every implementation is held to, whatever it computes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch

from camzoo.conformance.promises import inputs, invariance, lending, maps, numbers
from camzoo.conformance.promises._compare import plain
from camzoo.conformance.promises._exempt import (
    CLASS_FREE,
    INSENSITIVE,
    NOT_MIRRORED,
    NOT_OF_THE_GRADIENT,
    TOO_MANY,
    not_homogeneous,
    within,
)
from camzoo.conformance.promises._nets import HOMES
from camzoo.conformance.promises._promise import Breach, NotRun, Promise, Result, State
from camzoo.conformance.promises.expected import EXPECTED, Expected, why
from camzoo.conformance.stands import Stand
from camzoo.conformance.subjects import Subject
from camzoo.errors import NotInstalled, NotOffered, RequestError, one_line

__all__ = ["EXPECTED", "PROMISES", "QUICK", "Breach", "Expected", "Promise", "Result", "State", "kept"]

PROMISES: tuple[Promise, ...] = (
    Promise("one-map-each", "There is one map for each image, on the grid that is named.", maps.one_map_each),
    Promise("finite", "Every cell is a number.", maps.finite),
    Promise("same-twice", "The same question gets the same map.", maps.same_twice),
    Promise("batch-as-singles", "An image's map does not depend on its batch mates.", maps.batch_as_singles),
    Promise("class-asked", "The class asked for is the class explained.", maps.class_asked, within(CLASS_FREE)),
    Promise("in-range", "RECTIFIED is zero or more; NORMALISED is 0 to 1.", maps.in_range),
    Promise("images-untouched", "The images are not changed.", lending.images_untouched),
    Promise("model-given-back", "The model is given back as it was.", lending.given_back),
    Promise("model-given-back-broken", "So it is after an exception.", lending.given_back_broken),
    Promise(
        "zero-gradient",
        "Where the score depends on nothing, the map is zero.",
        invariance.zero_gradient,
        within(NOT_OF_THE_GRADIENT),
    ),
    Promise("logit-scale", "The scale of the logits does not change the map.", invariance.logit_scale, not_homogeneous),
    Promise("mirrored", "The mirrored image gets the mirrored map.", invariance.mirrored, within(NOT_MIRRORED)),
    Promise("weights-matter", "Random weights give another map.", invariance.weights_matter, within(INSENSITIVE)),
    Promise("float32", "float32 agrees with float64 to its precision.", numbers.single),
    Promise("bfloat16", "So does bfloat16.", numbers.half),
    Promise("devices", "CPU and GPU agree.", numbers.devices),
    Promise("no-grad", "It works under torch.no_grad.", lending.no_grad),
    Promise("inference-mode", "It works under torch.inference_mode.", lending.inference_mode),
    Promise("frozen", "It works with frozen parameters.", lending.frozen),
    Promise("in-place", "It works before a ReLU in place.", lending.inplace),
    Promise("data-parallel", "It works with nn.DataParallel.", lending.data_parallel),
    Promise("compiled", "It works with torch.compile.", lending.compiled),
    Promise("one-channel", "It takes images of one channel.", inputs.one_channel),
    Promise("not-square", "It takes wide images and tall ones.", inputs.not_square),
    Promise("three-dimensions", "It takes volumes.", inputs.three_dimensions, within(TOO_MANY)),
)
"""Where a subject refuses, in words, to do what is asked, that is no breach."""

_QUICK = (
    *("one-map-each", "finite", "same-twice", "batch-as-singles", "class-asked", "in-range", "images-untouched"),
    *("model-given-back", "zero-gradient", "weights-matter", "no-grad", "frozen"),
)
QUICK: tuple[Promise, ...] = tuple(promise for promise in PROMISES if promise.name in _QUICK)


def kept(subject: Subject, promises: Iterable[Promise] = PROMISES) -> list[Result]:
    """Holds an implementation to its promises, each at a small network with weights that are always the same.

    Args:
        subject: who is held to them.
        promises: which.

    Returns:
        A Result for each promise, in order. A broken one has the smallest input that was found to break it.

    Raises:
        NotInstalled: the library is absent.
    """
    promises = list(promises)
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")  # a map may be empty on purpose here
        stand, refusal = _home(subject) if promises else (None, "")
        if stand is None:
            return [Result(promise.name, State.REFUSED, refusal) for promise in promises]
        return [_result(promise, subject, stand) for promise in promises]


def _home(subject: Subject) -> tuple[Stand | None, str]:
    """The first network that the subject does not refuse; else why it refuses the last."""
    refusal = ""
    for stand in HOMES:
        try:
            plain(subject, stand)
        except (NotOffered, RequestError) as said:
            refusal = one_line(said)
            continue
        except NotInstalled:
            raise
        except Exception:  # the promises will say so
            return stand, ""
        return stand, ""
    return None, refusal


def _result(promise: Promise, subject: Subject, stand: Stand) -> Result:
    if reason := promise.waived(subject.method):
        return Result(promise.name, State.NOT_RUN, reason)
    try:
        breach = _tried(promise, subject, stand)
    except NotRun as reason:
        return Result(promise.name, State.NOT_RUN, str(reason))
    except (NotOffered, RequestError) as refusal:
        return Result(promise.name, State.REFUSED, one_line(refusal))
    if breach is None:
        return Result(promise.name, State.HELD)
    breach, stand = _smallest(promise, subject, stand, breach)
    known = why(subject.method, subject.backend, promise.name)
    return Result(promise.name, State.BROKEN, breach.reason, breach.shown_by or _input(stand), known)


def _tried(promise: Promise, subject: Subject, stand: Stand) -> Breach | None:
    try:
        with torch.enable_grad():  # also where the promise before has left it off
            return promise.check(subject, stand)
    except (NotRun, NotOffered, NotInstalled, RequestError):
        raise
    except Exception as error:  # whatever somebody else's code raises is a breach, and no refusal
        return Breach(f"fails: {one_line(error)}")


def _smallest(promise: Promise, subject: Subject, stand: Stand, breach: Breach) -> tuple[Breach, Stand]:
    """The breach at fewer and smaller images, for as long as there is one."""
    for smaller in _smaller(stand):
        try:
            found = _tried(promise, subject, smaller)
        except Exception:  # refused, or no input of this network
            continue
        # What fails otherwise may be too small for the network itself.
        if found and (not found.reason.startswith("fails") or found.reason == breach.reason):
            return _smallest(promise, subject, smaller, found)
    return breach, stand


def _smaller(stand: Stand) -> Iterator[Stand]:
    """Fewer images first, then each side halved."""
    for count in range(1, len(stand.classes)):
        yield replace(stand, classes=stand.classes[:count])
    for axis, length in enumerate(stand.size):
        if length >= 16 and length % 8 == 0:  # so that the grid of the network still covers the image
            yield replace(stand, size=(*stand.size[:axis], length // 2, *stand.size[axis + 1 :]))


def _input(stand: Stand) -> str:
    """Such as "1 image of 8 x 12, class 2"."""
    count, size = len(stand.classes), " x ".join(map(str, stand.size))
    classes = ", ".join(map(str, stand.classes))
    return f"{count} image{'s'[: count > 1]} of {size}, class{'es'[: 2 * (count > 1)]} {classes}"

"""Finds whoever computes maps, by the entry-point group `camzoo.backends`, and asks them under guard."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any

import torch

from camzoo import guard, native
from camzoo.errors import CamzooError, Failed, NotInstalled, NotOffered, RequestError, one_line, unknown
from camzoo.types import Backend, Heatmap, Problem, Stage, Status

GROUP = "camzoo.backends"
_registered: dict[str, Backend] = {}


@dataclass(frozen=True, slots=True)
class BackendRow:
    """A backend as `camzoo.backends()` lists it.

    Attributes:
        backend: its name.
        status: ready, not installed, or failed for a plug-in that does not load.
        version: of its distribution, where installed.
        reason: the command that installs it, where not.
    """

    backend: str
    status: Status
    version: str
    reason: str


@dataclass(frozen=True, slots=True)
class MethodRow:
    """One cell of the coverage matrix.

    Attributes:
        method: canonical name.
        backend: who computes it.
        status: ready, not installed or not offered.
        calls: what the backend calls it, where offered.
        stage: the earliest stage that it gives, where offered.
        reason: why not, where it is not ready; else a note for the reader.
    """

    method: str
    backend: str
    status: Status
    calls: str = ""
    stage: Stage | None = None
    reason: str = ""


@functools.cache
def found() -> dict[str, Backend]:
    """Every backend that loads, by name, camzoo's own first. No library is imported by this.

    Raises:
        NotInstalled: camzoo itself is not installed, so that its entry points cannot be read.
    """
    others = {name: it for name, it in _loaded().items() if isinstance(it, Backend) and name != native.NAME}
    return {native.NAME: native.backend} | others | _registered


def register(backend: object) -> None:
    """Adds a backend without an entry point, for as long as the process runs; an earlier one of its name makes way.

    Args:
        backend: a `camzoo.types.Backend`.

    Raises:
        RequestError: it is none, or has the name of camzoo's own.
    """
    if not isinstance(backend, Backend):
        raise RequestError(f"a backend is a camzoo.types.Backend, not a {type(backend).__name__}")
    if backend.name == native.NAME:
        raise RequestError(f"the name {native.NAME!r} is camzoo's own: give the backend another one")
    _registered[backend.name] = backend
    found.cache_clear()


def unregister(name: str) -> None:
    """Takes back what `register` added; a plug-in of the same name is found again.

    Args:
        name: of the backend.

    Raises:
        RequestError: no backend of that name was registered.
    """
    if name not in _registered:
        raise unknown("registered backend", name, _registered)
    del _registered[name]
    found.cache_clear()


@functools.cache
def _loaded() -> dict[str, Backend | str]:
    """What each entry point gives: a Backend, or the reason why it gives none."""
    entries = sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name)
    if not entries:
        raise NotInstalled("camzoo's backends are found by entry points, which are read at install: pip install -e .")
    loaded: dict[str, Backend | str] = {}
    for entry in entries:
        try:
            value = entry.load()
        except Exception as error:  # somebody else's plug-in must not take the others down
            loaded[entry.name] = f"{entry.value} does not load: {one_line(error)}"
            continue
        fits = isinstance(value, Backend) and value.name == entry.name
        loaded[entry.name] = value if fits else f"{entry.value} is no camzoo.types.Backend named {entry.name}"
    return loaded


def find(name: str) -> Backend:
    """The backend of a name.

    Raises:
        RequestError: there is none; the closest names are in the message.
    """
    backends = found()
    if name not in backends:
        if isinstance(broken := _loaded().get(name), str):
            raise RequestError(f"the backend {name!r} is broken: {broken}")
        raise unknown("backend", name, backends)
    return backends[name]


def version(backend: Backend) -> str:
    """The installed version of a backend's distribution.

    Raises:
        NotInstalled: it is not there; the message has the pip command.
    """
    try:
        return metadata.version(backend.distribution)
    except metadata.PackageNotFoundError:
        raise NotInstalled(f"pip install {backend.distribution}") from None


def load(backend: Backend) -> None:
    """Imports a backend's library, so that what is timed afterwards is the work alone.

    Raises:
        NotInstalled: it is not there.
        Failed: it is there and does not import.
    """
    version(backend)
    if backend.package:
        try:
            importlib.import_module(backend.package)
        except Exception as error:
            raise Failed(f"{backend.package} does not import: {one_line(error)}") from error


def rows() -> list[BackendRow]:
    """Every backend with its status."""
    listed = []
    for backend in found().values():
        try:
            listed.append(BackendRow(backend.name, Status.READY, version(backend), ""))
        except NotInstalled as missing:
            listed.append(BackendRow(backend.name, Status.NOT_INSTALLED, "", str(missing)))
    broken = [(name, it) for name, it in _loaded().items() if isinstance(it, str)]
    return listed + [BackendRow(name, Status.FAILED, "", reason) for name, reason in broken]


def coverage() -> list[MethodRow]:
    """Every method at every backend, with its status: the matrix from which README, CLI and tests are made."""
    status = {row.backend: row for row in rows()}
    names = sorted({offer.method for backend in found().values() for offer in backend.offers})
    return [_cell(name, backend, status[backend.name]) for name in names for backend in found().values()]


def _cell(method: str, backend: Backend, row: BackendRow) -> MethodRow:
    try:
        offer = backend.offer(method)
    except NotOffered as reason:
        return MethodRow(method, backend.name, Status.NOT_OFFERED, reason=str(reason))
    reason_or_note = row.reason or offer.note
    return MethodRow(method, backend.name, row.status, offer.calls, offer.stage, reason_or_note)


def run(backend: Backend, problem: Problem, method: str, options: Mapping[str, Any]) -> Heatmap:
    """Asks a backend for a map, and gives the model back as it was.

    Args:
        backend: who is asked.
        problem: the question.
        method: canonical name.
        options: the method's keyword options.

    Returns:
        The Heatmap, one map for each image, detached.

    Raises:
        NotInstalled: the library is absent.
        NotOffered: the backend does not do this.
        Failed: it broke, or gave something that is no map for each image.
    """
    backend.offer(method, options)
    load(backend)
    try:
        with guard.borrowed(problem.model, problem.seed), torch.inference_mode(False), torch.enable_grad():
            # Copied in here: what is made in the caller's inference mode cannot be saved for a backward pass.
            lent = replace(problem, images=problem.images.detach().clone())
            heatmap = backend.explain(lent, method, options)
            return _checked(heatmap, problem)
    except CamzooError:
        raise
    except Exception as error:
        raise Failed(one_line(error)) from error


def _checked(heatmap: object, problem: Problem) -> Heatmap:
    if not isinstance(heatmap, Heatmap):
        raise Failed(f"gave a {type(heatmap).__name__}, not a Heatmap")
    count, found_shape = len(problem.images), tuple(heatmap.values.shape)
    if len(found_shape) != 1 + len(problem.image_size) or found_shape[0] != count:
        raise Failed(f"gave {found_shape} for {count} images, not one map for each")
    values = heatmap.values
    return replace(heatmap, values=values.detach()) if isinstance(values, torch.Tensor) else heatmap

"""Weights from a file into a model, without running anything that the file brings along."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from camzoo.errors import RequestError

State = dict[str, torch.Tensor]

_WRAPPERS = ("state_dict", "model")
_COUNTER = "num_batches_tracked"


def read(path: str | Path) -> State:
    """The tensors of a checkpoint, on the CPU.

    Takes `.safetensors`, or a state dict that PyTorch saved, plain or under the key "state_dict" or "model"; the
    prefix "module." that data parallel training leaves is removed.

    Raises:
        RequestError: the file is missing, broken, no state dict, or could only be read by running code in it.
    """
    path = Path(path)
    if not path.is_file():
        problem = "is a directory" if path.is_dir() else "does not exist"
        raise RequestError(f"{path} {problem}: give a .safetensors file or a state dict as weights, or 'random'")
    stored = _load(path)
    for key in _WRAPPERS:
        if isinstance(stored, Mapping) and isinstance(stored.get(key), Mapping):
            stored = stored[key]
    if not _is_state(stored):
        raise RequestError(f"{path} holds no state dict: save one with torch.save(model.state_dict(), path)")
    wrapped = all(name.startswith("module.") for name in stored)
    return {name.removeprefix("module.") if wrapped else name: tensor for name, tensor in stored.items()}


def fit(module: torch.nn.Module, state: State, source: str) -> None:
    """Copies the tensors into a model, all or none.

    Args:
        module: the model that takes them.
        state: the tensors by name. Counters of batches are not compared: they play no part in eval mode.
        source: what the tensors come from, for the error.

    Raises:
        RequestError: names or shapes do not fit, with the first of them and their number.
    """
    wanted, given = module.state_dict(), _names(state)
    missing = [name for name in _names(wanted) if name not in state]
    unexpected = [name for name in given if name not in wanted]
    misshaped = [
        f"{name} {tuple(state[name].shape)} for {tuple(wanted[name].shape)}"
        for name in given
        if name in wanted and state[name].shape != wanted[name].shape
    ]
    found = {"missing": missing, "unexpected": unexpected, "of another shape": misshaped}
    if any(found.values()):
        problems = "; ".join(f"{len(names)} {what} ({_first(names)})" for what, names in found.items() if names)
        raise RequestError(f"{source} does not fit {type(module).__name__}: {problems}")
    module.load_state_dict(state, strict=False)


def in_order(module: torch.nn.Module, state: State, source: str) -> State:
    """The tensors under the names that a model has for them, matched by their order.

    Raises:
        RequestError: their number differs, or a weight would become a bias or a running statistic.
    """
    ours, theirs = _names(module.state_dict()), _names(state)
    if [_role(name) for name in ours] != [_role(name) for name in theirs]:
        raise RequestError(f"{source} does not fit {type(module).__name__}: its tensors are in another order")
    return {our: state[their] for our, their in zip(ours, theirs, strict=True)}


def _load(path: Path) -> Any:
    start = _start(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on the pickle protocol, before the file is refused anyway
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on a file that is something else, whatever its first bytes lead to
        code = _code(error, start)
        if code:
            raise RequestError(
                f"{path} needs arbitrary code to be run ({code}), which was not done: "
                "save its state dict alone, or as safetensors"
            ) from error
        raise RequestError(f"{path} is truncated or no checkpoint: give a .safetensors or state dict file") from error


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(2)
    except OSError as error:
        raise RequestError(f"{path} cannot be read ({error.strerror}): give a readable file") from error


def _code(error: Exception, start: bytes) -> str | None:
    """What a file that starts with these bytes wants to run, or None if that is not why it was refused."""
    named = re.search(r"GLOBAL (\S+) (?:was not|whose)", str(error))
    if named:
        return named[1]
    if "TorchScript" in str(error):
        return "TorchScript"
    pickled = start.startswith((b"\x80", b"PK"))
    return "a pickle" if pickled and isinstance(error, pickle.UnpicklingError) else None


def _is_state(stored: object) -> bool:
    return (
        isinstance(stored, Mapping)
        and len(stored) > 0
        and all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in stored.items())
    )


def _names(state: Mapping[str, Any]) -> list[str]:
    return [name for name in state if not name.endswith(_COUNTER)]


def _first(names: list[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def _role(name: str) -> str:
    return name.rpartition(".")[2]

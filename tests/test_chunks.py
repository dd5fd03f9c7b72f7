"""The one rule for running many inputs."""

from __future__ import annotations

import pytest
import torch

from camzoo import chunks

CPU = torch.device("cpu")


class Machine:
    """Gives `10 * i` for input `i`, and has memory for a few inputs at a time."""

    def __init__(self, room: int = 100, error: Exception | None = None) -> None:
        self.room, self.error, self.calls = room, error or torch.OutOfMemoryError("CUDA out of memory"), []

    def __call__(self, start: int, stop: int) -> torch.Tensor:
        self.calls.append((start, stop))
        if stop - start > self.room:
            raise self.error
        return 10 * torch.arange(start, stop)


@pytest.mark.parametrize("size", [1, 2, 7, 10, 11, 1000])
def test_all_inputs_in_order(size):
    machine = Machine()
    assert chunks.run(machine, 10, size).tolist() == list(range(0, 100, 10))
    assert [stop - start for start, stop in machine.calls[:-1]] == [min(size, 10)] * (len(machine.calls) - 1)
    assert len(machine.calls) == -(-10 // size)


@pytest.mark.parametrize("size", [0, -3])
def test_a_size_below_one_is_one(size):
    machine = Machine()
    chunks.run(machine, 3, size)
    assert len(machine.calls) == 3


def test_out_of_memory_halves_and_goes_on():
    machine = Machine(room=3)
    assert chunks.run(machine, 20, 16).tolist() == list(range(0, 200, 10))
    sizes = [stop - start for start, stop in machine.calls]
    assert sizes == [16, 8, 4, 2] + [2] * 9  # tried at 0 each time, and then small for good
    assert [start for start, _ in machine.calls] == [0, 0, 0, 0, *range(2, 20, 2)]


def test_what_was_computed_before_is_kept():
    machine = Machine()

    def fills_up(start, stop):
        machine.room = 2 if start >= 8 else 100
        return machine(start, stop)

    assert chunks.run(fills_up, 13, 4).tolist() == list(range(0, 130, 10))
    assert machine.calls == [(0, 4), (4, 8), (8, 12), (8, 10), (10, 12), (12, 13)]


def test_an_odd_size_is_halved_upwards():
    machine = Machine(room=1)
    chunks.run(machine, 7, 7)
    assert [stop - start for start, stop in machine.calls] == [7, 4, 2] + [1] * 7


def test_a_single_input_that_is_too_many():
    machine = Machine(room=0)
    with pytest.raises(torch.OutOfMemoryError):
        chunks.run(machine, 4, 4)
    assert machine.calls == [(0, 4), (0, 2), (0, 1)]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("MPS backend out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: not enough memory: you tried"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError("Unable to allocate 8 EiB"),
    ],
)
def test_words_for_out_of_memory(error):
    assert chunks.run(Machine(2, error), 4, 4).tolist() == [0, 10, 20, 30]


def test_what_this_machine_says():
    with pytest.raises(RuntimeError) as found:
        torch.empty(10**16)
    assert chunks.is_out_of_memory(found.value)


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("no")])
def test_another_error_is_no_matter_of_size(error):
    machine = Machine(2, error)
    with pytest.raises(type(error), match=str(error)):
        chunks.run(machine, 4, 4)
    assert machine.calls == [(0, 4)]


def test_fitting(monkeypatch):
    monkeypatch.setattr(chunks, "free", lambda device: 4000)
    assert chunks.fitting(100, CPU) == 10  # a quarter of 4000
    assert chunks.fitting(10**6, CPU) == 1
    assert chunks.fitting(1, CPU) == chunks.MOST["cpu"]
    assert chunks.fitting(0, CPU) == chunks.MOST["cpu"]
    assert chunks.fitting(1, torch.device("cuda")) == chunks.MOST["cuda"]


def test_free_memory():
    assert chunks.free(CPU) > 2**20


def test_what_is_kept_of_files_is_free(monkeypatch, tmp_path):
    """A machine that has read much has few free pages, and all the memory that it had before."""
    told = tmp_path / "meminfo"
    told.write_text("MemTotal:       24683520 kB\nMemFree:          300000 kB\nMemAvailable:   23000000 kB\n")
    monkeypatch.setattr(chunks, "MEMINFO", told)
    assert chunks.free(CPU) == 23_000_000 * 1024


@pytest.mark.parametrize("text", [None, "MemTotal:       24683520 kB\n"])
def test_a_system_that_does_not_tell(monkeypatch, tmp_path, text):
    told = tmp_path / "meminfo"
    if text:
        told.write_text(text)
    monkeypatch.setattr(chunks, "MEMINFO", told)
    assert chunks.free(CPU) == chunks.GUESS


class Flat(torch.nn.Module):
    """Flattens what it has by `view`, which takes contiguous tensors only."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.view(len(images), -1).sum(1)


def test_images_are_laid_out_channels_last():
    images = torch.rand(2, 3, 4, 4)
    found, answer = chunks.laid_out(lambda inputs: inputs.sum(), images)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found, images)
    assert answer == found.sum()


def test_a_model_that_needs_contiguous_images_is_given_them():
    images = torch.rand(2, 3, 4, 4)
    found, answer = chunks.laid_out(Flat(), images)
    assert found is images
    assert torch.equal(answer, images.flatten(1).sum(1))


def test_other_errors_of_a_model_are_its_own():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        chunks.laid_out(torch.nn.Linear(3, 1), torch.rand(2, 3, 4, 4))

"""The model, as a method may ask it: scores of altered inputs and altered activations, chunk by chunk."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from camzoo import chunks, guard, layers, tail
from camzoo.targets import LinearScore, row_of, select, settled
from camzoo.types import Capture, Evidence, Layout, Make, Settings, Target

PROBES = 2
"""How many random activations a model's tail is tried on before it is believed to be pooling plus linear."""


@dataclass(slots=True, eq=False)
class Asker:
    """The Ask of one capture.

    Attributes:
        model: borrowed.
        layer: dotted name of the layer.
        images: what the model was given, `(N, C, H, W)`.
        target: what is explained.
        layout: of the layer's output.
        output: the layer's output as it was captured.
        scores: the model's outputs as they were captured.
        recording: what finished before the layer.
        settings: chunk size, autocast and progress.
        again: takes a capture of a layer, images and target, with what is needed.
        notes: what the reader of the maps should know, such as a fallback.
    """

    model: torch.nn.Module
    layer: str
    images: torch.Tensor
    target: Target
    layout: Layout
    output: torch.Tensor
    scores: torch.Tensor
    recording: tail.Recording
    settings: Settings
    again: Callable[[str, torch.Tensor, Target, frozenset[Evidence]], Capture]
    notes: list[str] = field(default_factory=list)

    def score_inputs(self, image: int, make: Make, count: int) -> torch.Tensor:
        """The explained score of one image for each of `count` altered inputs: the whole model is run."""
        target = row_of(settled(self.target, self.scores), image)

        def compute(start: int, stop: int) -> torch.Tensor:
            return target(select(self.model(_inputs(make(start, stop)))))

        return self._run(compute, count, 8 * self.images[0].numel() * self.images.element_size() * _WIDTH)

    def score_activations(self, image: int, make: Make, count: int) -> torch.Tensor:
        """The same for altered activations of the layer: only what comes after the layer is run."""
        rerun = self._rerun(image)
        target = row_of(settled(self.target, self.scores), image)
        original = self.output[image : image + 1]

        def compute(start: int, stop: int) -> torch.Tensor:
            altered = self.layout.from_grid(make(start, stop), original)
            return target(select(rerun(altered, self.images[image : image + 1])))

        return self._run(compute, count, 8 * original.numel() * original.element_size())

    def retake(
        self,
        needs: frozenset[Evidence],
        *,
        images: torch.Tensor | None = None,
        layer: str | None = None,
        slopes: torch.Tensor | None = None,
    ) -> Capture:
        """The evidence again: from altered images, at another layer, or for another linear score."""
        target = settled(self.target, self.scores) if slopes is None else LinearScore(slopes)
        return self.again(layer or self.layer, self.images if images is None else images, target, needs)

    def stages(self) -> tuple[str, ...]:
        """The last layer of each grid size, from shallow to deep, down to the layer of this capture."""
        return layers.stages(self.model, self.images, self.layer)

    def head(self) -> torch.Tensor | None:
        """The weights `(N, K)` of each image's class, where the scores are pooling plus one linear layer.

        Structure is not looked at: on seeded random activations, of both signs, the tail of the model must give what
        pooling and the linear layer give, to rounding. The target's derivative at the scores picks the class.
        """
        channels, outputs = self.layout.channels(self.output), self.scores.shape[-1]
        fitting = [
            module
            for module in self.model.modules()
            if isinstance(module, torch.nn.Linear) and module.weight.shape == (outputs, channels)
        ]
        if len(fitting) != 1 or self.scores.ndim != 2:
            return None
        linear, probe = fitting[0], self._probe()
        with guard.evaluating(self.model), torch.no_grad():
            try:
                found = select(self._rerun(0)(self.layout.from_grid(probe, self.output[:1]), self.images[:1]))
            except Exception:  # a tail that refuses random activations is no pooling and linear layer
                return None
            pooled = torch.nn.functional.linear(probe.flatten(2).mean(-1), linear.weight, linear.bias)
        if found.shape != pooled.shape or not _close(found, pooled):
            return None
        with torch.enable_grad():
            scores = self.scores.detach().requires_grad_()
            (slope,) = torch.autograd.grad(settled(self.target, self.scores)(scores).sum(), scores)
        return slope @ linear.weight.detach()

    def _probe(self) -> torch.Tensor:
        grid = self.layout.to_grid(self.output)[:1]
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn((PROBES, *grid.shape[1:]), generator=generator, dtype=torch.float64)
        return (noise * float(grid.abs().max())).to(grid)

    def _rerun(self, image: int) -> Callable[[torch.Tensor, torch.Tensor], Any]:
        """What comes after the layer, as a function; the whole model where that does not give the scores again."""
        rerun = tail.twin(self.model, self.layer, self.recording, image, len(self.images))
        inputs, output = self.images[image : image + 1], self.output[image : image + 1]
        try:
            with guard.evaluating(self.model), torch.no_grad():
                again = select(rerun(output.clone(), inputs))
        except Exception as error:  # any module may do anything when it is run in part
            return self._whole(f"{type(error).__name__} in it")
        if not _close(again, self.scores[image : image + 1]):
            return self._whole("it does not give the scores again")
        return rerun

    def _whole(self, why: str) -> Callable[[torch.Tensor, torch.Tensor], Any]:
        note = (
            f"the whole model was run for each altered activation: the part after the layer cannot be run alone ({why})"
        )
        if note not in self.notes:
            self.notes.append(note)

        def rerun(altered: torch.Tensor, inputs: torch.Tensor) -> Any:
            with tail.replaced(self.model, self.layer, altered):
                return self.model(inputs.expand(len(altered), *inputs.shape[1:]))

        return rerun

    def _run(self, compute: Callable[[int, int], torch.Tensor], count: int, bytes_each: int) -> torch.Tensor:
        device = self.images.device
        size = self.settings.chunk or chunks.fitting(bytes_each, device)
        amp = self.settings.amp
        autocast = torch.autocast(device.type, amp) if amp else contextlib.nullcontext()

        def step(start: int, stop: int) -> torch.Tensor:
            if self.settings.progress:
                self.settings.progress(start, count)
            return compute(start, stop).detach().to(self.scores.dtype)

        with guard.evaluating(self.model), torch.inference_mode(False), torch.no_grad(), autocast:
            return chunks.run(step, count, size)


# How many copies of its input a model holds at once, roughly, where activations are largest.
_WIDTH = 64


def _inputs(images: torch.Tensor) -> torch.Tensor:
    """Inputs in the memory format in which convolutions are fast for many images."""
    return images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images


def _close(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Equal to rounding: sums in another order differ by some multiple of the precision of the largest."""
    largest = torch.maximum(wanted.abs().max(), torch.finfo(wanted.dtype).tiny * wanted.new_ones(()))
    slack = 200 * torch.finfo(wanted.dtype).eps
    return bool((found - wanted).abs().max() <= slack * largest)

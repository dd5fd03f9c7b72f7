"""The model, as a method may ask it: scores of altered inputs and altered activations, chunk by chunk."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from camzoo import chunks, guard, layers, tail
from camzoo.binding import of_image
from camzoo.targets import LinearScore, TopClass, check_scores, class_indices, row_of, select, settled
from camzoo.types import Capture, Evidence, Layout, Make, Settings, Target

Again = Callable[
    [Sequence[str], torch.Tensor, Sequence[Target], frozenset[Evidence]], Sequence[tuple[Sequence[Capture], Layout]]
]
Rerun = Callable[[torch.Tensor, torch.Tensor], Any]
"""From altered outputs of the layer, and the model's input, to the model's outputs."""

Slopes = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]
"""From the model's outputs, the score that is explained and its class, to the slopes of another score."""

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
        scores: the model's outputs as they were captured; none in them where no pass was made yet.
        recording: what finished before the layer.
        settings: chunk size, autocast and progress.
        again: takes captures of layers, images and targets, with what is needed.
        notes: what the reader of the maps should know, such as a fallback.
        probes: random activations of every image and what the whole model gives for them, once they are asked for.
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
    again: Again
    notes: list[str] = field(default_factory=list)
    probes: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)

    def score_inputs(self, image: int, make: Make, count: int) -> torch.Tensor:
        """The explained score of one image for each of `count` altered inputs: the whole model is run."""
        target, model = row_of(settled(self.target, self.scores), image), self._model_of(image)

        def compute(start: int, stop: int) -> torch.Tensor:
            return chunks.laid_out(lambda inputs: target(select(model(inputs))), make(start, stop))[1]

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
        slopes: torch.Tensor | Slopes | None = None,
    ) -> Capture:
        """The evidence again: from altered images, or for another linear score."""
        target = self._decided(altered=images is not None)
        if slopes is not None:
            target = _Sloped(target, slopes) if callable(slopes) else LinearScore(slopes)
        given = self.images if images is None else images
        (((capture,), _),) = self.again([self.layer], given, [target], needs)
        if isinstance(target, _Sloped) and isinstance(capture.ask, Asker):
            capture.ask.target = LinearScore(target.at(capture.scores))
        return self._told(capture)

    def retake_at(self, layers: Sequence[str], needs: frozenset[Evidence]) -> list[Capture]:
        """The evidence at other layers, all from one pass."""
        target = self._decided(altered=False)
        return [self._told(capture) for (capture,), _ in self.again(layers, self.images, [target], needs)]

    def _decided(self, altered: bool) -> Target:
        """The target, its class decided by the images as they are.

        Where these have not been run, the pass that is to come decides; but for altered images a plain pass has to.
        """
        if isinstance(self.target, TopClass) and (altered or self.scores.numel()):
            with guard.evaluating(self.model), torch.inference_mode(False), torch.no_grad():
                scores = self.scores if self.scores.numel() else select(self.model(self.images.clone()))
            self.target = settled(self.target, scores)
        return self.target

    def _told(self, capture: Capture) -> Capture:
        """A capture, what happens in which is told with the map as well."""
        if isinstance(capture.ask, Asker):
            for note in capture.ask.notes:
                self._note(note)
            capture.ask.notes = self.notes
        return capture

    def stages(self) -> tuple[str, ...]:
        """The last layer of each grid size, from shallow to deep, down to this capture's; see `layers.stages`."""
        return layers.stages(self.model, self.images, self.layer)

    def head(self) -> torch.Tensor | None:
        """The weights `(N, K)` of each image's class, where the scores are pooling plus one linear layer.

        Structure is not looked at: the model's scores, and those of its tail on seeded random activations of both
        signs, must be what pooling and the linear layer give, to rounding. The target, linear in the scores, picks
        the class; where it is not linear there is no such weight.
        """
        channels, outputs = self.layout.channels(self.output), self.scores.shape[-1]
        fitting = [
            module
            for module in self.model.modules()
            if isinstance(module, torch.nn.Linear) and module.weight.shape == (outputs, channels)
        ]
        if len(fitting) != 1 or self.scores.ndim != 2 or (slope := self._slope()) is None:
            return None
        (linear,) = fitting
        with guard.evaluating(self.model), torch.no_grad():
            if not _close(self._pooled(linear, self.output), self.scores):
                return None
            probe = self._random(0, PROBES)
            pooled = self._pooled(linear, probe)
            tails = (tail.twin(self._model_of(0), self.layer, self.recording, 0, len(self.images)), self._whole(0))
            alike = any(_gives(rerun, probe, self.images[:1], pooled) for rerun in tails)
        return slope @ linear.weight.detach() if alike else None

    def _pooled(self, linear: torch.nn.Linear, output: torch.Tensor) -> torch.Tensor:
        grid = self.layout.to_grid(output)
        return torch.nn.functional.linear(grid.flatten(2).mean(-1), linear.weight, linear.bias)

    def _slope(self) -> torch.Tensor | None:
        """`dS/dy (N, classes)` of the target, if that is the same everywhere: tried at `-y` and at a random place."""
        target, scores = settled(self.target, self.scores), self.scores.detach().clone().requires_grad_()
        with torch.enable_grad():
            explained = target(scores)
            if not explained.requires_grad:
                return None
            (slope,) = torch.autograd.grad(explained.sum(), scores)
        with torch.no_grad():
            for other in (-scores, _noise(scores)):
                linear = explained + ((other - scores) * slope).sum(1)
                if not _close(torch.cat([explained, target(other)]), torch.cat([explained, linear])):
                    return None
        return slope

    def _random(self, image: int, rows: int) -> torch.Tensor:
        """Random outputs of the layer, as large as its own; prefix tokens are its own.

        Each channel has a level of its own beside the noise of its cells, which pooling would take out.
        """
        original = self.output[image : image + 1]
        grid = self.layout.to_grid(original)
        grid = grid.expand(rows, *grid.shape[1:])
        levels = _noise(grid.abs().amax(tuple(range(2, grid.ndim)), keepdim=True))
        return self.layout.from_grid(_noise(grid) + levels, original)

    def _model_of(self, image: int) -> torch.nn.Module:
        """The model with the other inputs of one image."""
        return of_image(self.model, image, len(self.images))

    def _rerun(self, image: int) -> Rerun:
        """What comes after the layer, as a function; the whole model where that gives other scores.

        It is tried on two rows: the layer's own output, and random activations, since a part that does not go by
        what it is given would get the first one right.
        """
        own, inputs, whole = self.output[image : image + 1], self.images[image : image + 1], self._whole(image)
        rerun = tail.twin(self._model_of(image), self.layer, self.recording, image, len(self.images))
        with guard.evaluating(self.model), torch.no_grad():
            random, others = (each[image : image + 1] for each in self._probe())
            scores = self.scores[image : image + 1]
            try:
                found = select(rerun(torch.cat([own, random]), inputs))
                if len(found) == 2 and _close(found[:1], scores) and _close(found[1:], others):
                    return rerun
                why = "it gives other scores"
            except Exception as error:  # any module may do anything when it is run in part
                why = f"{type(error).__name__} in it"
            self._note(
                "the whole model was run for each altered activation: "
                f"the part after the layer cannot be run alone ({why})"
            )
            if not _close(select(whole(own.clone(), inputs)), scores):
                self._note("the model does not give its own scores again: it depends on chance, or on what ran before")
        return whole

    def _probe(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Random activations of every image, and what the whole model gives for them, in one run for all images."""
        if not self.probes:
            random = torch.cat([self._random(image, 1) for image in range(len(self.images))])
            with tail.replaced(self.model, self.layer, random.clone()):
                self.probes.append((random, select(self.model(self.images.clone()))))
        return self.probes[0]

    def _whole(self, image: int) -> Rerun:
        model = self._model_of(image)

        def rerun(altered: torch.Tensor, inputs: torch.Tensor) -> Any:
            with tail.replaced(model, self.layer, altered):
                return model(inputs.repeat(len(altered), *[1] * (inputs.ndim - 1)))  # may be written to

        return rerun

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def _run(self, compute: Callable[[int, int], torch.Tensor], count: int, bytes_each: int) -> torch.Tensor:
        device = self.images.device
        size = self.settings.chunk or chunks.fitting(bytes_each, device)
        amp = self.settings.amp
        autocast = torch.autocast(device.type, amp) if amp else contextlib.nullcontext()

        def step(start: int, stop: int) -> torch.Tensor:
            found = compute(start, stop).detach().to(self.scores.dtype)
            if self.settings.progress:
                self.settings.progress(stop, count)
            return found

        if amp:
            self._note(f"scores under autocast, {str(amp).removeprefix('torch.')}")
        with guard.evaluating(self.model), torch.inference_mode(False), torch.no_grad(), autocast:
            return chunks.run(step, count, size)


@dataclass(frozen=True, slots=True, eq=False)
class _Sloped:
    """A linear score whose slopes are read from the very outputs that it is the score of."""

    target: Target
    slopes: Slopes

    def __call__(self, outputs: torch.Tensor) -> torch.Tensor:
        return LinearScore(self.at(outputs))(outputs)

    def at(self, outputs: torch.Tensor) -> torch.Tensor:
        scores = outputs.detach()
        check_scores(scores)
        return self.slopes(scores, self.target(scores), class_indices(self.target, scores))


# How many copies of its input a model holds at once, roughly, where activations are largest.
_WIDTH = 64
# In half precision 200 epsilons are more than everything.
_MOST_SLACK = 0.05


def _noise(like: torch.Tensor) -> torch.Tensor:
    """Seeded random numbers of both signs, as large as those of a tensor."""
    noise = 2 * torch.rand(like.shape, generator=torch.Generator().manual_seed(0)) - 1
    return noise.to(like) * like.abs().max()


def _gives(rerun: Rerun, altered: torch.Tensor, inputs: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Whether a part of a model gives the scores that are wanted; one that breaks does not."""
    try:
        return _close(select(rerun(altered.clone(), inputs)), wanted)
    except Exception:  # any module may do anything when it is run in part, or on random activations
        return False


def _close(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Equal to rounding: sums in another order differ by some multiple of the precision of the largest."""
    slack = min(200 * torch.finfo(wanted.dtype).eps, _MOST_SLACK)
    return found.shape == wanted.shape and bool((found - wanted).abs().max() <= slack * wanted.abs().max())

"""The evidence for the oracles, taken the plainest way: one image at a time, with a hook, a full graph and loops.

Nothing of camzoo's capture is used here, so that a mistake made there is not made here as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from camzoo.oracles.grids import Floats
from camzoo.types import Problem


@dataclass(frozen=True)
class Literal:
    """What a paper's formula reads, for one image of a Problem, as float64 NumPy.

    The model is given in evaluation mode and is run as it is, in its own dtype.

    Attributes:
        problem: the question.
        index: which of its images.
    """

    problem: Problem
    index: int

    @property
    def image(self) -> torch.Tensor:
        """The image alone, `(1, C, H, W)`."""
        return self.problem.images[self.index : self.index + 1].detach().clone()

    @property
    def x(self) -> Floats:
        """The image, `(C, H, W)`."""
        return _numpy(self.image[0])

    @property
    def c(self) -> int:
        """The class that is explained."""
        return self.problem.class_indices("the reference")[self.index]

    @property
    def size(self) -> tuple[int, ...]:
        """`(H, W)` of the image."""
        return self.problem.image_size

    @cached_property
    def y(self) -> Floats:
        """The model's outputs, `(classes,)`."""
        return self.outputs(self.x)

    @property
    def A(self) -> Floats:
        """The layer's output as a grid, `(K, h, w)`."""
        return self.at(self.problem.layer)[0]

    @property
    def G(self) -> Floats:
        """`dS/dA`, the derivative of the class's logit, `(K, h, w)`."""
        return self.at(self.problem.layer)[1]

    def at(self, layer: str, score: Callable[[torch.Tensor], torch.Tensor] | None = None) -> tuple[Floats, Floats]:
        """Activations and gradients of any layer `(N, K, h, w)`, for the logit or another score of the outputs.

        Args:
            layer: dotted name.
            score: from outputs `(1, classes)` to one number.
        """
        outputs, kept = self._run(self.image, layer)
        explained = outputs[0, self.c] if score is None else score(outputs)
        (gradient,) = torch.autograd.grad(explained, kept)
        to_grid = self.problem.layout.to_grid if layer == self.problem.layer else _as_it_is
        return _numpy(to_grid(kept)[0]), _numpy(to_grid(gradient)[0])

    def noisy_gradient(self, image: Floats) -> Floats:
        """`dS/dA` at another image `(C, H, W)`."""
        outputs, kept = self._run(self._tensor(image)[None], self.problem.layer)
        (gradient,) = torch.autograd.grad(outputs[0, self.c], kept)
        return _numpy(self.problem.layout.to_grid(gradient)[0])

    def outputs(self, image: Floats) -> Floats:
        """The model's outputs `(classes,)` for an image `(C, H, W)`."""
        with torch.no_grad():
            return _numpy(self.problem.model(self._tensor(image)[None])[0])

    def score(self, image: Floats) -> float:
        """The logit of the class for an image `(C, H, W)`."""
        return float(self.outputs(image)[self.c])

    def probability(self, image: Floats) -> float:
        """Softmax of the outputs at the class for an image `(C, H, W)`."""
        y = self.outputs(image)
        return float(np.exp(y[self.c] - y.max()) / np.exp(y - y.max()).sum())

    def tail(self, A: Floats) -> float:
        """The logit of the class when the layer's output is `A` `(K, h, w)`: the whole model is run."""
        with torch.no_grad():
            return float(self._run(self.image, self.problem.layer, self._tensor(A)[None])[0][0, self.c])

    def slope(self, A: Floats) -> Floats:
        """`dS/dA` where the layer's output is `A` `(K, h, w)`."""
        with torch.enable_grad():
            grid = self._tensor(A)[None].requires_grad_()
            outputs, _ = self._run(self.image, self.problem.layer, grid)
            (gradient,) = torch.autograd.grad(outputs[0, self.c], grid)
        return _numpy(gradient[0])

    @cached_property
    def input_gradient(self) -> Floats:
        """`dS/dx`, `(C, H, W)`."""
        with torch.enable_grad():
            image = self.image.requires_grad_()
            (gradient,) = torch.autograd.grad(self.problem.model(image.clone())[0, self.c], image)
        return _numpy(gradient[0])

    @cached_property
    def output(self) -> Floats:
        """The layer's output as it is, without the batch's axis: class tokens too, channels wherever they lie."""
        kept: list[torch.Tensor] = []
        layer = self.problem.layer_module
        handle = layer.register_forward_hook(lambda _module, _inputs, output: kept.append(output.clone()))
        try:
            self.outputs(self.x)
        finally:
            handle.remove()
        return _numpy(kept[0][0])

    def tail_of(self, output: Floats) -> float:
        """The logit of the class when the layer's output is `output`, class tokens too: the whole model is run."""
        instead = self._tensor(output)[None]
        handle = self.problem.layer_module.register_forward_hook(lambda _module, _inputs, _output: instead.clone())
        try:
            return self.score(self.x)
        finally:
            handle.remove()

    def tail_outputs(self, A: Floats) -> Floats:
        """The model's outputs `(classes,)` when the layer's output is `A` `(K, h, w)`: the whole model is run."""
        with torch.no_grad():
            return _numpy(self._run(self.image, self.problem.layer, self._tensor(A)[None])[0][0])

    def _tensor(self, values: Floats) -> torch.Tensor:
        return torch.as_tensor(values).to(self.problem.images)

    def _run(
        self, image: torch.Tensor, layer: str, instead: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The outputs, and a copy of the layer's output on which they depend; or with a grid in its place."""
        kept: list[torch.Tensor] = []
        layout = self.problem.layout

        def hook(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
            grid = output if instead is None else layout.from_grid(instead, output)
            if instead is None:
                grid = grid.detach().requires_grad_()
            kept.append(grid)
            return grid.clone()  # what comes next may write over what it gets

        handle = self.problem.model.get_submodule(layer).register_forward_hook(hook)
        try:
            with torch.set_grad_enabled(instead is None or instead.requires_grad):
                return self.problem.model(image), kept[0]
        finally:
            handle.remove()


def _as_it_is(output: torch.Tensor) -> torch.Tensor:
    return output


def _numpy(values: torch.Tensor) -> Floats:
    return values.detach().cpu().double().numpy()

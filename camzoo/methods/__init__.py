"""The methods: one pure function a file, and the table that names them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from camzoo.errors import unknown
from camzoo.grids import Array
from camzoo.methods.ablationcam import ablationcam
from camzoo.methods.attention_rollout import attention_rollout
from camzoo.methods.augmented import augmented
from camzoo.methods.cam import cam
from camzoo.methods.center import center
from camzoo.methods.counterfactual_gradcam import counterfactual_gradcam
from camzoo.methods.dff import dff
from camzoo.methods.eigencam import eigencam
from camzoo.methods.eigengradcam import eigengradcam
from camzoo.methods.fem import fem
from camzoo.methods.finercam import finercam
from camzoo.methods.fullgrad import fullgrad
from camzoo.methods.fusion import fusion
from camzoo.methods.gradcam import gradcam
from camzoo.methods.gradcam_elementwise import gradcam_elementwise
from camzoo.methods.gradcam_plus_plus import gradcam_plus_plus
from camzoo.methods.groupcam import groupcam
from camzoo.methods.guided_backprop import guided_backprop
from camzoo.methods.guided_gradcam import guided_gradcam
from camzoo.methods.hirescam import hirescam
from camzoo.methods.iscam import iscam
from camzoo.methods.kpcacam import kpcacam
from camzoo.methods.layercam import layercam
from camzoo.methods.legrad import legrad
from camzoo.methods.occlusion import occlusion
from camzoo.methods.random import random
from camzoo.methods.refinecam import refinecam
from camzoo.methods.rise import rise
from camzoo.methods.scorecam import scorecam
from camzoo.methods.segeigencam import segeigencam
from camzoo.methods.shapleycam import shapleycam
from camzoo.methods.smoothgrad import smoothgrad
from camzoo.methods.smoothgradcam_plus_plus import smoothgradcam_plus_plus
from camzoo.methods.sobel import sobel
from camzoo.methods.sscam import sscam
from camzoo.methods.uniform import uniform
from camzoo.methods.xgradcam import xgradcam
from camzoo.types import Capture, Evidence, Resolution


@dataclass(frozen=True, slots=True)
class Method:
    """One row of the table.

    Attributes:
        name: the canonical name.
        function: from evidence, and keyword options, to RAW maps `(N, h, w)`.
        needs: the evidence that it reads beside the activations.
        resolution: whether the maps lie on the layer's grid or on the image's pixels.
        plain: whether it reads what a plain pass of the images gives; where not, none is made for this method alone.
    """

    name: str
    function: Callable[..., Array]
    needs: frozenset[Evidence] = frozenset()
    resolution: Resolution = Resolution.LAYER
    plain: bool = True

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the function's keyword options."""
        parameters = inspect.signature(self.function).parameters.values()
        return tuple(parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY)

    def lies_on(self, options: Mapping[str, Any]) -> Resolution:
        """Where the maps lie with these options: a method of the layer with a base gives maps where its base does."""
        base = inspect.signature(self.function).parameters.get("base")
        if base is None or self.resolution is Resolution.IMAGE:
            return self.resolution
        return find(options.get("base", base.default)).resolution


GRADIENTS = frozenset({Evidence.GRADIENTS})
IMAGES = frozenset({Evidence.IMAGES})
INPUT_SCORES = frozenset({Evidence.IMAGES, Evidence.INPUT_SCORES})
RETAKE = frozenset({Evidence.IMAGES, Evidence.RETAKE})

TABLE: tuple[Method, ...] = (
    Method("gradcam", gradcam, GRADIENTS),
    Method("counterfactual-gradcam", counterfactual_gradcam, GRADIENTS),
    Method("gradcam++", gradcam_plus_plus, GRADIENTS),
    Method("hirescam", hirescam, GRADIENTS),
    Method("gradcam-elementwise", gradcam_elementwise, GRADIENTS),
    Method("xgradcam", xgradcam, GRADIENTS),
    Method("layercam", layercam, GRADIENTS),
    Method("eigengradcam", eigengradcam, GRADIENTS),
    Method("segeigencam", segeigencam, GRADIENTS),
    Method("dff", dff, GRADIENTS),
    Method("eigencam", eigencam),
    Method("kpcacam", kpcacam),
    Method("fem", fem),
    Method("random", random),
    Method("uniform", uniform),
    Method("center", center),
    Method("sobel", sobel, IMAGES, Resolution.IMAGE),
    Method("cam", cam, frozenset({Evidence.HEAD})),
    Method("scorecam", scorecam, INPUT_SCORES),
    Method("sscam", sscam, INPUT_SCORES),
    Method("iscam", iscam, INPUT_SCORES),
    Method("groupcam", groupcam, INPUT_SCORES | GRADIENTS),
    Method("occlusion", occlusion, INPUT_SCORES, Resolution.IMAGE),
    Method("rise", rise, INPUT_SCORES, Resolution.IMAGE),
    Method("ablationcam", ablationcam, frozenset({Evidence.ACTIVATION_SCORES, Evidence.HEAD})),
    Method("shapleycam", shapleycam, GRADIENTS | {Evidence.HESSIAN}),
    Method("smoothgradcam++", smoothgradcam_plus_plus, RETAKE),
    Method("smoothgrad", smoothgrad, RETAKE, plain=False),
    Method("augmented", augmented, RETAKE, plain=False),
    Method("finercam", finercam, RETAKE, plain=False),
    Method("refinecam", refinecam, RETAKE, Resolution.IMAGE, plain=False),
    Method("fusion", fusion, RETAKE, Resolution.IMAGE, plain=False),
    Method("attention-rollout", attention_rollout, frozenset({Evidence.ATTENTION}), plain=False),
    Method("legrad", legrad, frozenset({Evidence.ATTENTION_GRADIENTS}), plain=False),
    Method("guided-backprop", guided_backprop, frozenset({Evidence.GUIDED}), Resolution.IMAGE, plain=False),
    Method("guided-gradcam", guided_gradcam, GRADIENTS | {Evidence.GUIDED}, Resolution.IMAGE),
    Method("fullgrad", fullgrad, IMAGES | {Evidence.BIASES}, Resolution.IMAGE, plain=False),
)

__all__ = ["TABLE", "Capture", "Method", "find", "gradcam"]


def find(name: str) -> Method:
    """The method of a name.

    Raises:
        RequestError: there is none; the closest names are in the message.
    """
    for method in TABLE:
        if method.name == name:
            return method
    raise unknown("method", name, [method.name for method in TABLE])

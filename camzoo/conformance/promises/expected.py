"""Promises that a library is known to break: data, with the reason in its own code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Expected:
    """One reason for breaches that are known.

    Attributes:
        backend: whose they are.
        methods: canonical names.
        promise: its name.
        why: what the library does, and where: `file.py:line` of the versions for which it was seen.
    """

    backend: str
    methods: tuple[str, ...]
    promise: str
    why: str


# Seen with captum 0.9.0, grad-cam 1.5.7 and torchcam 0.5.0.
EXPECTED: tuple[Expected, ...] = (
    Expected(
        "captum",
        ("layer-deeplift",),
        "frozen",
        "LayerDeepLift never asks for gradients of the images, as DeepLift does, and hooks a tensor that has none: "
        "_utils/common.py:902",
    ),
    Expected(
        "captum",
        ("kernelshap",),
        "zero-gradient",
        "it regresses in float32, attr/_core/lime.py:505, with weights of a million, attr/_core/kernel_shap.py:320: "
        "it leaves the rounding of equal scores, some 1e-10",
    ),
    Expected(
        "captum",
        ("guided-gradcam",),
        "three-dimensions",
        "volumes cannot be enlarged bilinearly, the paper's way: GuidedGradCam drops the error and gives an empty "
        "tensor, attr/_core/guided_grad_cam.py:224",
    ),
    Expected(
        "captum",
        ("guided-gradcam",),
        "compiled",
        "GuidedBackprop hooks the rectifiers when LayerGradCam has run the model, attr/_core/guided_grad_cam.py:200; "
        "compiled code does not look for hooks that come later (skip_nnmodule_hook_guards): the gradient stays plain",
    ),
    Expected(
        "pytorch-grad-cam",
        (
            *("gradcam", "gradcam++", "xgradcam", "scorecam", "ablationcam", "eigencam", "kpcacam", "fem", "random"),
            *("shapleycam", "finercam", "refinecam", "sess"),
        ),
        "in-place",
        "on a CPU the activations that are kept are the layer's output itself, which the model goes on to write over: "
        "activations_and_gradients.py:26",
    ),
    Expected(
        "pytorch-grad-cam",
        ("eigencam",),
        "mirrored",
        "the sign of the singular vector is as NumPy gives it, so a mirrored image may get the negative: "
        "utils/svd_on_activations.py:17",
    ),
    Expected(
        "pytorch-grad-cam",
        ("fullgrad",),
        "logit-scale",
        "1e-7 is added to the maximum of each layer's map, utils/image.py:165, and the gradient of a cell is small",
    ),
    Expected(
        "torchcam",
        (
            *("cam", "gradcam", "gradcam++", "smoothgradcam++", "xgradcam", "scorecam", "sscam", "iscam"),
            *("finercam", "refinecam"),
        ),
        "in-place",
        "the activations that are kept share the memory of the layer's output, which the model goes on to write over: "
        "methods/core.py:178",
    ),
)


def why(method: str, backend: str, promise: str) -> str:
    """Why this breach was to be expected, or ""."""
    for entry in EXPECTED:
        if (entry.backend, entry.promise) == (backend, promise) and method in entry.methods:
            return entry.why
    return ""

"""Of which methods a promise is not made, and why: by the definition of the method, whoever computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

Reasons = Mapping[str, str]
"""From a method's canonical name to the reason."""


def _each(reason: str, *methods: str) -> dict[str, str]:
    return dict.fromkeys(methods, reason)


CONTROLS: Reasons = _each("a control, which looks at no model", "random", "uniform", "center", "sobel")

CLASS_FREE: Reasons = {
    **CONTROLS,
    **_each("made of the activations alone", "eigencam", "kpcacam", "fem", "layer-activation"),
    **_each("made of the attention alone", "attention-rollout"),
    **_each("one of a few factors of the activations, which two classes may share", "dff"),
}
"""No class is asked for, so another class need not give another map."""

NOT_OF_THE_GRADIENT: Reasons = {
    **CLASS_FREE,
    **_each("the softmax of scores that are equal is uniform, not zero", "scorecam", "sscam", "iscam"),
    **_each("the mean of its masks, weighted by a score that need not be zero", "rise"),
}
"""Not zero where the score depends on nothing."""

NOT_MIRRORED: Reasons = {
    **_each("noise, which is not mirrored with the image", "random", "sscam", "smoothgradcam++"),
    **_each("noise, which is not mirrored with the image", "smoothgrad", "smoothgrad-squared", "vargrad"),
    **_each("against images of noise, which are not mirrored", "gradient-shap", "layer-gradient-shap"),
    **_each("against images of noise, which are not mirrored", "deeplift-shap", "layer-deeplift-shap"),
    **_each("random masks or patches, which are not mirrored", "rise", "lime", "kernelshap", "shapley-sampling"),
    **_each("swaps at random, patch after patch", "feature-permutation", "layer-feature-permutation"),
    **_each("windows laid from one side, which are not mirrored", "sess"),
    **_each("starts from noise, which is not mirrored", "dff"),
}
"""Not equivariant to a mirror: their random numbers and windows belong to places."""

INSENSITIVE: Reasons = {
    **CONTROLS,
    **_each(
        "known to show the image rather than the model: Adebayo et al., Sanity checks for saliency maps, 2018",
        *("guided-backprop", "guided-gradcam", "deconvolution"),
    ),
}
"""Not sensitive to the weights."""

TOO_MANY: Reasons = _each("exact: the eight patches of a volume have 40 320 orders", "shapley-values")
"""Not to be waited for at volumes."""

HOMOGENEOUS: Reasons = {
    **_each(
        "linear in the gradient of the score",
        *("gradcam", "counterfactual-gradcam", "hirescam", "gradcam-elementwise", "xgradcam", "layercam"),
        *("eigengradcam", "smoothgrad", "augmented", "legrad", "saliency", "input-x-gradient", "guided-backprop"),
        *("deconvolution", "integrated-gradients", "gradient-shap", "layer-integrated-gradients", "conductance"),
        *("internal-influence", "layer-gradient-shap"),
    ),
    **_each("quadratic in the gradient of the score", "guided-gradcam", "smoothgrad-squared", "vargrad"),
    **_each("linear in the derivatives of the score", "shapleycam"),
    **_each("made of shares of the score, which start from the score", "deeplift", "deeplift-shap", "lrp"),
    **_each("made of shares of the score, which start from the score", "layer-deeplift", "layer-deeplift-shap"),
    **_each("made of shares of the score, which start from the score", "layer-lrp"),
    **_each("linear in the weights of the head", "cam"),
    **_each("linear in the differences of scores", "groupcam", "occlusion", "feature-ablation", "feature-permutation"),
    **_each("linear in the differences of scores", "kernelshap", "shapley-sampling", "shapley-values"),
    **_each("linear in the differences of scores", "layer-feature-ablation", "layer-feature-permutation"),
    **_each("linear in the scores", "rise"),
    **_each("a ratio of scores", "ablationcam"),
    **_each("scales every part to 0..1", "fullgrad"),
    **_each("no score is read", *(method for method in CLASS_FREE if method != "dff")),
}
"""Changed by a factor of the logits in a factor at most: by their formulas, so this is promised of these alone."""


def not_homogeneous(method: str) -> str:
    """Why logits of another scale may give another map."""
    return "" if method in HOMOGENEOUS else "its formula is not homogeneous in the score"


def within(reasons: Reasons) -> Callable[[str], str]:
    """Waives a promise for the methods of a table."""
    return lambda method: reasons.get(method, "")

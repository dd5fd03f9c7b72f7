"""Implementations of seven methods as people write them: a right one of each, and many that are wrong in one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from camzoo.conformance.subjects import Subject, of_callable
from camzoo.degenerate import as_numpy
from camzoo.types import Problem, Resolution, Stage

Explain = Callable[..., torch.Tensor]


@dataclass(frozen=True)
class Mutant:
    """One implementation: what it says it gives, and the step at which it goes wrong (None: it is right)."""

    method: str
    explain: Explain
    step: str | None
    stage: Stage = Stage.RECTIFIED
    resolution: Resolution = Resolution.LAYER

    @property
    def name(self) -> str:
        return f"{self.method}-{self.explain.__name__}"

    def subject(self) -> Subject:
        if self.resolution is Resolution.LAYER:
            return of_callable(self.explain, self.method, self.stage, self.explain.__name__)

        def maps(problem: Problem) -> torch.Tensor:
            return self.explain(problem.model, problem.layer_module, problem.images, list(problem.classes)).detach()

        return Subject(self.method, self.explain.__name__, self.stage, self.resolution, maps)

    def numbers(self, problem: Problem):
        return as_numpy(self.subject().maps(problem))


ALL: list[Mutant] = []


def wrong(method: str, step: str, stage: Stage = Stage.RECTIFIED, resolution: Resolution = Resolution.LAYER):
    """Enters a function that goes wrong at a step."""

    def enter(explain: Explain) -> Explain:
        ALL.append(Mutant(method, explain, step, stage, resolution))
        return explain

    return enter


def right(method: str, stage: Stage = Stage.RECTIFIED, resolution: Resolution = Resolution.LAYER):
    """Enters a function that is right."""

    def enter(explain: Explain) -> Explain:
        ALL.append(Mutant(method, explain, None, stage, resolution))
        return explain

    return enter


# ---- what they share


def forward(model, layer, images, keep=lambda _module, _inputs, output: output):
    """The outputs, and what is kept of the layer."""
    kept = []
    handle = layer.register_forward_hook(lambda *seen: kept.append(keep(*seen)))
    try:
        return model(images), kept[0]
    finally:
        handle.remove()


def logit(outputs, target):
    return outputs[torch.arange(len(outputs)), target].sum()


def top(outputs, target):
    return outputs.max(1).values.sum()


def probability(outputs, target):
    return logit(outputs.softmax(1), target)


def mean_logit(outputs, target):
    return outputs[torch.arange(len(outputs)), target].mean()


def everyones_classes(outputs, target):
    return outputs[:, target].sum()


def cross_entropy(outputs, target):
    return F.cross_entropy(outputs, torch.tensor(target))


def taken(model, layer, images, target, score=logit):
    """Activations and gradients of a whole batch."""
    outputs, A = forward(model, layer, images)
    (G,) = torch.autograd.grad(score(outputs, target), A)
    return A.detach(), G


def mean(G):
    return G.mean((2, 3), keepdim=True)


def unit(maps, dims=(1, 2)):
    low, high = maps.amin(dims, keepdim=True), maps.amax(dims, keepdim=True)
    return (maps - low) / torch.where(high == low, 1.0, high - low)


def enlarged(maps, images, **how):
    return F.interpolate(maps[:, None], images.shape[2:], **how)[:, 0]


# ---- Grad-CAM


@right("gradcam")
def gradcam(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return (mean(G) * A).sum(1).relu()


@right("gradcam", Stage.RAW)
def gradcam_raw(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return torch.einsum("nk,nkhw->nhw", G.mean((2, 3)), A)


@right("gradcam", Stage.NORMALISED)
def gradcam_normalised(model, layer, images, target):
    return unit(gradcam(model, layer, images, target))


@right("gradcam", Stage.RECTIFIED, Resolution.IMAGE)
def gradcam_on_pixels(model, layer, images, target):
    return enlarged(gradcam(model, layer, images, target), images, mode="bilinear")


@right("gradcam", Stage.NORMALISED, Resolution.IMAGE)
def gradcam_normalised_on_pixels(model, layer, images, target):
    return unit(gradcam_on_pixels(model, layer, images, target))


@wrong("gradcam", "weights")
def sums_for_means(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return (G.sum((2, 3), keepdim=True) * A).sum(1).relu()


@wrong("gradcam", "weights")
def means_over_the_batch(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return (G.mean((0, 2, 3), keepdim=True) * A).sum(1).relu()


@wrong("gradcam", "weights")
def means_over_channels(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return (G.mean(1, keepdim=True) * A).sum(1).relu()


@wrong("gradcam", "weights")
def max_pooled_gradients(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return (G.amax((2, 3), keepdim=True) * A).sum(1).relu()


@wrong("gradcam", "weights")
def rectified_weights(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return (mean(G).relu() * A).sum(1).relu()


@wrong("gradcam", "rectify")
def forgotten_relu(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return (mean(G) * A).sum(1)


@wrong("gradcam", "rectify", Stage.NORMALISED)
def forgotten_relu_before_scaling(model, layer, images, target):
    return unit(forgotten_relu(model, layer, images, target))


@wrong("gradcam", "rectify", Stage.RAW)
def rectified_though_raw(model, layer, images, target):
    return gradcam(model, layer, images, target)


@wrong("gradcam", "rectify")
def absolute_map(model, layer, images, target):
    return forgotten_relu(model, layer, images, target).abs()


@wrong("gradcam", "gradient")
def of_the_probability(model, layer, images, target):
    A, G = taken(model, layer, images, target, probability)
    return (mean(G) * A).sum(1).relu()


@wrong("gradcam", "gradient")
def of_the_top_class(model, layer, images, target):
    A, G = taken(model, layer, images, target, top)
    return (mean(G) * A).sum(1).relu()


@wrong("gradcam", "gradient")
def of_the_mean_score(model, layer, images, target):
    A, G = taken(model, layer, images, target, mean_logit)
    return (mean(G) * A).sum(1).relu()


@wrong("gradcam", "gradient")
def of_everyones_classes(model, layer, images, target):
    A, G = taken(model, layer, images, target, everyones_classes)
    return (mean(G) * A).sum(1).relu()


@wrong("gradcam", "gradient")
def of_the_loss(model, layer, images, target):
    A, G = taken(model, layer, images, target, cross_entropy)
    return (mean(G) * A).sum(1).relu()


@wrong("gradcam", "gradient")
def of_the_first_image(model, layer, images, target):
    A, G = taken(model, layer, images, target, lambda outputs, target: outputs[0, target[0]])
    return (mean(G) * A).sum(1).relu()


@wrong("gradcam", "gradient")
def absolute_gradients(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return (mean(G.abs()) * A).sum(1).relu()


@wrong("gradcam", "gradient")
def rectified_gradients_and_forgotten_relu(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return (mean(G.relu()) * A).sum(1)


@wrong("gradcam", "weighted sum")
def mean_over_the_sum(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return (mean(G) * A).mean(1).relu()


@wrong("gradcam", "weighted sum")
def rectified_terms(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return (mean(G) * A).relu().sum(1)


@wrong("gradcam", "weighted sum")
def transposed_grid(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    cells = (mean(G) * A).flatten(2).sum(1)
    return cells.unflatten(1, (A.shape[3], A.shape[2])).transpose(1, 2).relu()


@wrong("gradcam", "activation")
def before_the_layer(model, layer, images, target):
    modules = list(model)
    A, G = taken(model, modules[max(modules.index(layer) - 1, 0)], images, target)
    return (mean(G) * A).sum(1).relu()


@wrong("gradcam", "activation")
def rectified_in_place(model, layer, images, target):
    outputs, A = forward(model, layer, images)
    (G,) = torch.autograd.grad(logit(outputs, target), A)
    kept = A.detach().relu_()
    return (mean(G) * kept).sum(1).relu()


@wrong("gradcam", "normalise", Stage.NORMALISED)
def scaled_with_the_batch(model, layer, images, target):
    return unit(gradcam(model, layer, images, target), (0, 1, 2))


@wrong("gradcam", "normalise", Stage.NORMALISED)
def scaled_with_an_epsilon(model, layer, images, target):
    maps = gradcam(model, layer, images, target)
    maps = maps - maps.amin((1, 2), keepdim=True)
    return maps / (maps.amax((1, 2), keepdim=True) + 1e-7)


@wrong("gradcam", "normalise", Stage.NORMALISED)
def scaled_row_by_row(model, layer, images, target):
    return unit(gradcam(model, layer, images, target), (2,))


@wrong("gradcam", "normalise")
def scaled_though_rectified(model, layer, images, target):
    return unit(gradcam(model, layer, images, target))


@wrong("gradcam", "resize", Stage.RECTIFIED, Resolution.IMAGE)
def corners_aligned(model, layer, images, target):
    return enlarged(gradcam(model, layer, images, target), images, mode="bilinear", align_corners=True)


@wrong("gradcam", "resize", Stage.RECTIFIED, Resolution.IMAGE)
def nearest_cells(model, layer, images, target):
    return enlarged(gradcam(model, layer, images, target), images, mode="nearest")


@wrong("gradcam", "resize", Stage.RECTIFIED, Resolution.IMAGE)
def enlarged_before_the_relu(model, layer, images, target):
    return enlarged(forgotten_relu(model, layer, images, target), images, mode="bilinear").relu()


@wrong("gradcam", "resize", Stage.NORMALISED, Resolution.IMAGE)
def scaled_before_enlarging(model, layer, images, target):
    return enlarged(unit(gradcam(model, layer, images, target)), images, mode="bilinear")


# ---- Grad-CAM++


def alphas(A, G, two=2.0, epsilon=0.0):
    below = two * G**2 + A.sum((2, 3), keepdim=True) * G**3
    return torch.where(G == 0, 0.0, G**2 / torch.where(G == 0, 1.0, below + epsilon))


def plus_plus(A, G, alpha):
    return ((alpha * G.relu()).sum((2, 3), keepdim=True) * A).sum(1).relu()


@right("gradcam++")
def gradcam_plus_plus(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return plus_plus(A, G, alphas(A, G))


@wrong("gradcam++", "weights")
def unrectified_gradients(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return ((alphas(A, G) * G).sum((2, 3), keepdim=True) * A).sum(1).relu()


@wrong("gradcam++", "weights")
def undivided_alphas(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    alpha = G**2
    alpha[G > 0].div_((2 * G**2 + A.sum((2, 3), keepdim=True) * G**3)[G > 0])  # a copy is divided
    return plus_plus(A, G, alpha)


@wrong("gradcam++", "weights")
def products_in_the_denominator(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return plus_plus(A, G, G**2 / (2 * G**2 + (A * G**3).sum((2, 3), keepdim=True)))


@wrong("gradcam++", "weights")
def forgotten_two(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return plus_plus(A, G, alphas(A, G, two=1.0))


@wrong("gradcam++", "weights")
def means_of_alphas(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return ((alphas(A, G) * G.relu()).mean((2, 3), keepdim=True) * A).sum(1).relu()


@wrong("gradcam++", "weights")
def alphas_of_the_batch(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return plus_plus(A, G, G**2 / (2 * G**2 + A.sum((0, 2, 3), keepdim=True) * G**3))


@wrong("gradcam++", "weights")
def alphas_with_an_epsilon(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return plus_plus(A, G, alphas(A, G, epsilon=1e-6))


@wrong("gradcam++", "weights")
def with_the_exponential(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    S = model(images)[torch.arange(len(images)), target]
    return plus_plus(A, G, S.exp()[:, None, None, None] * alphas(A, G))


@wrong("gradcam++", "gradient")
def plus_plus_of_the_probability(model, layer, images, target):
    A, G = taken(model, layer, images, target, probability)
    return plus_plus(A, G, alphas(A, G))


@wrong("gradcam++", "gradient")
def plus_plus_of_the_mean_score(model, layer, images, target):
    A, G = taken(model, layer, images, target, mean_logit)
    return plus_plus(A, G, alphas(A, G))


@wrong("gradcam++", "gradient")
def plus_plus_of_the_top_class(model, layer, images, target):
    A, G = taken(model, layer, images, target, top)
    return plus_plus(A, G, alphas(A, G))


@wrong("gradcam++", "weighted sum")
def plus_plus_mean_over_channels(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return ((alphas(A, G) * G.relu()).sum((2, 3), keepdim=True) * A).mean(1).relu()


@wrong("gradcam++", "rectify")
def plus_plus_forgotten_relu(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return ((alphas(A, G) * G.relu()).sum((2, 3), keepdim=True) * A).sum(1)


# ---- LayerCAM


@right("layercam")
def layercam(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return (G.relu() * A).sum(1).relu()


@wrong("layercam", "weights")
def gradients_as_they_are(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return (G * A).sum(1).relu()


@wrong("layercam", "weights")
def one_weight_for_a_channel(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return (mean(G).relu() * A).sum(1).relu()


@wrong("layercam", "weights")
def positive_cells_alone(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return ((G > 0) * A).sum(1).relu()


@wrong("layercam", "gradient")
def layercam_of_the_probability(model, layer, images, target):
    A, G = taken(model, layer, images, target, probability)
    return (G.relu() * A).sum(1).relu()


@wrong("layercam", "gradient")
def layercam_of_absolute_gradients(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return (G.abs() * A).sum(1).relu()


@wrong("layercam", "gradient")
def layercam_of_the_mean_score(model, layer, images, target):
    A, G = taken(model, layer, images, target, mean_logit)
    return (G.relu() * A).sum(1).relu()


@wrong("layercam", "gradient")
def layercam_of_everyones_classes(model, layer, images, target):
    A, G = taken(model, layer, images, target, everyones_classes)
    return (G.relu() * A).sum(1).relu()


@wrong("layercam", "weighted sum")
def rectified_products(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return (G.relu() * A).relu().sum(1)


@wrong("layercam", "weighted sum")
def largest_product(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return (G.relu() * A).amax(1).relu()


@wrong("layercam", "weighted sum")
def layercam_mean_over_channels(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return (G.relu() * A).mean(1).relu()


@wrong("layercam", "normalise", Stage.NORMALISED)
def layercam_scaled_with_the_batch(model, layer, images, target):
    return unit(layercam(model, layer, images, target), (0, 1, 2))


@wrong("layercam", "rectify")
def layercam_forgotten_relu(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return (G.relu() * A).sum(1)


# ---- XGrad-CAM


def ratio(above, below):
    return torch.where(above == 0, 0.0, above / torch.where(above == 0, 1.0, below))


@right("xgradcam")
def xgradcam(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    weights = ratio((G * A).sum((2, 3), keepdim=True), A.sum((2, 3), keepdim=True))
    return (weights * A).sum(1).relu()


@wrong("xgradcam", "weights")
def undivided_weights(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return ((G * A).sum((2, 3), keepdim=True) * A).sum(1).relu()


@wrong("xgradcam", "weights")
def divided_by_means(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return (ratio((G * A).sum((2, 3), keepdim=True), mean(A)) * A).sum(1).relu()


@wrong("xgradcam", "weights")
def divided_by_all_channels(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return (ratio((G * A).sum((2, 3), keepdim=True), A.sum((1, 2, 3), keepdim=True)) * A).sum(1).relu()


@wrong("xgradcam", "weights")
def divided_by_the_batch(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return (ratio((G * A).sum((2, 3), keepdim=True), A.sum((0, 2, 3), keepdim=True)) * A).sum(1).relu()


@wrong("xgradcam", "weights")
def divided_with_an_epsilon(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    weights = (G * A).sum((2, 3), keepdim=True) / (A.sum((2, 3), keepdim=True) + 1e-5)
    return (weights * A).sum(1).relu()


@wrong("xgradcam", "weights")
def mean_gradients(model, layer, images, target):
    return gradcam(model, layer, images, target)


@wrong("xgradcam", "gradient")
def xgradcam_of_the_probability(model, layer, images, target):
    A, G = taken(model, layer, images, target, probability)
    return (ratio((G * A).sum((2, 3), keepdim=True), A.sum((2, 3), keepdim=True)) * A).sum(1).relu()


@wrong("xgradcam", "gradient")
def xgradcam_of_the_top_class(model, layer, images, target):
    A, G = taken(model, layer, images, target, top)
    return (ratio((G * A).sum((2, 3), keepdim=True), A.sum((2, 3), keepdim=True)) * A).sum(1).relu()


@wrong("xgradcam", "weighted sum")
def xgradcam_mean_over_channels(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return (ratio((G * A).sum((2, 3), keepdim=True), A.sum((2, 3), keepdim=True)) * A).mean(1).relu()


@wrong("xgradcam", "rectify")
def xgradcam_forgotten_relu(model, layer, images, target):
    A, G = taken(model, layer, images, target)
    return (ratio((G * A).sum((2, 3), keepdim=True), A.sum((2, 3), keepdim=True)) * A).sum(1)


@wrong("xgradcam", "normalise", Stage.NORMALISED)
def xgradcam_over_the_largest_of_the_batch(model, layer, images, target):
    maps = xgradcam(model, layer, images, target)
    return maps / maps.amax().clamp(min=1e-30)


# ---- Score-CAM


def seen(model, layer, images, target, masks):
    """Activations, and the outputs `(N, K, classes)` of each image through the mask of each channel."""
    with torch.no_grad():
        A = forward(model, layer, images)[1]
        M = masks(A, images.shape[2:])
        outputs = torch.stack([model(one[:, None] * image) for one, image in zip(M, images, strict=True)])
    return A, outputs


def up(A, size, **how):
    return F.interpolate(A, size, mode="bilinear", **how)


def scaled(A, size):
    return unit(up(A, size), (2, 3))


def of_class(outputs, target):
    return torch.stack([one[:, c] for one, c in zip(outputs, target, strict=True)])


def score_map(A, weights):
    return torch.einsum("nk,nkhw->nhw", weights, A).relu()


@right("scorecam")
def scorecam(model, layer, images, target):
    A, outputs = seen(model, layer, images, target, scaled)
    return score_map(A, of_class(outputs, target).softmax(1))


@wrong("scorecam", "weights")
def no_softmax(model, layer, images, target):
    A, outputs = seen(model, layer, images, target, scaled)
    return score_map(A, of_class(outputs, target))


@wrong("scorecam", "weights")
def above_the_black_image(model, layer, images, target):
    A, outputs = seen(model, layer, images, target, scaled)
    black = model(torch.zeros_like(images[:1]))[0, target]
    return score_map(A, of_class(outputs, target) - black[:, None])


@wrong("scorecam", "weights")
def probabilities(model, layer, images, target):
    A, outputs = seen(model, layer, images, target, scaled)
    return score_map(A, of_class(outputs.softmax(2), target))


@wrong("scorecam", "weights")
def softmax_of_probabilities(model, layer, images, target):
    A, outputs = seen(model, layer, images, target, scaled)
    return score_map(A, of_class(outputs.softmax(2), target).softmax(1))


@wrong("scorecam", "weights")
def softmax_over_the_batch(model, layer, images, target):
    A, outputs = seen(model, layer, images, target, scaled)
    return score_map(A, of_class(outputs, target).softmax(0))


@wrong("scorecam", "weights")
def of_the_top_output(model, layer, images, target):
    A, outputs = seen(model, layer, images, target, scaled)
    return score_map(A, of_class(outputs, model(images).argmax(1).tolist()).softmax(1))


@wrong("scorecam", "weights")
def unscaled_masks(model, layer, images, target):
    A, outputs = seen(model, layer, images, target, up)
    return score_map(A, of_class(outputs, target).softmax(1))


@wrong("scorecam", "weights")
def masks_scaled_before_enlarging(model, layer, images, target):
    A, outputs = seen(model, layer, images, target, lambda A, size: up(unit(A, (2, 3)), size))
    return score_map(A, of_class(outputs, target).softmax(1))


@wrong("scorecam", "weights")
def masks_with_aligned_corners(model, layer, images, target):
    A, outputs = seen(model, layer, images, target, lambda A, size: unit(up(A, size, align_corners=True), (2, 3)))
    return score_map(A, of_class(outputs, target).softmax(1))


@wrong("scorecam", "weights")
def masks_scaled_together(model, layer, images, target):
    A, outputs = seen(model, layer, images, target, lambda A, size: unit(up(A, size), (1, 2, 3)))
    return score_map(A, of_class(outputs, target).softmax(1))


@wrong("scorecam", "weighted sum")
def scorecam_mean_over_channels(model, layer, images, target):
    A, outputs = seen(model, layer, images, target, scaled)
    return score_map(A, of_class(outputs, target).softmax(1)) / A.shape[1]


@wrong("scorecam", "normalise", Stage.NORMALISED)
def scorecam_scaled_with_the_batch(model, layer, images, target):
    return unit(scorecam(model, layer, images, target), (0, 1, 2))


# ---- EigenCAM


def matrices(A):
    """`(N, n, K)`: a row for each cell."""
    return A.flatten(2).transpose(1, 2)


def like_the_energy(maps, A):
    """Each map with the sign with which it correlates with the energy."""
    energy = A.square().sum(1).flatten(1)
    energy = energy - energy.mean(1, keepdim=True)
    signs = torch.where((maps.flatten(1) * energy).sum(1) < 0, -1.0, 1.0)
    return maps * signs[:, None, None]


def activations(model, layer, images):
    with torch.no_grad():
        return forward(model, layer, images)[1]


def projected(X, A, which=0):
    V = torch.linalg.svd(X, full_matrices=False).Vh[:, which]
    return (X @ V[:, :, None])[..., 0].unflatten(1, A.shape[2:])


@right("eigencam")
def eigencam(model, layer, images, target):
    A = activations(model, layer, images)
    return like_the_energy(projected(matrices(A), A), A).relu()


@wrong("eigencam", "weights")
def centred_columns(model, layer, images, target):
    A = activations(model, layer, images)
    X = matrices(A)
    return like_the_energy(projected(X - X.mean(1, keepdim=True), A), A).relu()


@wrong("eigencam", "weights")
def centred_rows(model, layer, images, target):
    A = activations(model, layer, images)
    X = matrices(A)
    return like_the_energy(projected(X - X.mean(2, keepdim=True), A), A).relu()


@wrong("eigencam", "weights")
def centred_and_turned(model, layer, images, target):
    A = activations(model, layer, images)
    X = matrices(A)
    return -like_the_energy(projected(X - X.mean(1, keepdim=True), A), A).clamp(max=0)


@wrong("eigencam", "weights")
def second_vector(model, layer, images, target):
    A = activations(model, layer, images)
    return like_the_energy(projected(matrices(A), A, 1), A).relu()


@wrong("eigencam", "weights")
def opposite_sign(model, layer, images, target):
    A = activations(model, layer, images)
    return (-like_the_energy(projected(matrices(A), A), A)).relu()


@wrong("eigencam", "weights", Stage.RAW)
def sign_of_the_first_cell(model, layer, images, target):
    A = activations(model, layer, images)
    maps = like_the_energy(projected(matrices(A), A), A)
    return maps * torch.tensor([-1.0 if n == 0 else 1.0 for n in range(len(maps))])[:, None, None]


@wrong("eigencam", "weights")
def left_vector(model, layer, images, target):
    A = activations(model, layer, images)
    U = torch.linalg.svd(matrices(A), full_matrices=False).U[:, :, 0]
    return like_the_energy(U.unflatten(1, A.shape[2:]), A).relu()


@wrong("eigencam", "weights")
def vector_of_the_batch(model, layer, images, target):
    A = activations(model, layer, images)
    X = matrices(A)
    V = torch.linalg.svd(X.flatten(0, 1), full_matrices=False).Vh[0]
    return like_the_energy((X @ V).unflatten(1, A.shape[2:]), A).relu()


@wrong("eigencam", "activation")
def reshaped_for_transposed(model, layer, images, target):
    A = activations(model, layer, images)
    X = A.reshape(len(A), -1, A.shape[1])
    return like_the_energy(projected(X, A), X.transpose(1, 2)).relu()


@wrong("eigencam", "rectify")
def absolute_projection(model, layer, images, target):
    A = activations(model, layer, images)
    return projected(matrices(A), A).abs()


@wrong("eigencam", "normalise", Stage.NORMALISED)
def eigencam_scaled_with_the_batch(model, layer, images, target):
    return unit(eigencam(model, layer, images, target), (0, 1, 2))


# ---- Ablation-CAM


def replaced(model, layer, images, A):
    """The outputs with other activations in the place of the layer's."""
    handle = layer.register_forward_hook(lambda *_: A.clone())
    try:
        with torch.no_grad():
            return model(images)
    finally:
        handle.remove()


def zero(A, k):
    return torch.zeros_like(A[:, k])


def without(model, layer, images, target, score=of_class, value=zero):
    """Activations, the score `(N, 1)`, and the scores `(N, K)` with each channel replaced."""
    A = activations(model, layer, images)
    found = []
    for k in range(A.shape[1]):
        changed = A.clone()
        changed[:, k] = value(A, k)
        found.append(replaced(model, layer, images, changed))
    with torch.no_grad():
        return A, score(model(images)[:, None], target), score(torch.stack(found, 1), target)


@right("ablationcam")
def ablationcam(model, layer, images, target):
    A, S, S_k = without(model, layer, images, target)
    return score_map(A, (S - S_k) / S.abs())


@wrong("ablationcam", "weights")
def undivided_drops(model, layer, images, target):
    A, S, S_k = without(model, layer, images, target)
    return score_map(A, S - S_k)


@wrong("ablationcam", "weights")
def divided_by_signed_scores(model, layer, images, target):
    A, S, S_k = without(model, layer, images, target)
    return score_map(A, (S - S_k) / S)


@wrong("ablationcam", "weights")
def rises_for_drops(model, layer, images, target):
    A, S, S_k = without(model, layer, images, target)
    return score_map(A, (S_k - S) / S.abs())


@wrong("ablationcam", "weights")
def divided_by_what_is_left(model, layer, images, target):
    A, S, S_k = without(model, layer, images, target)
    return score_map(A, (S - S_k) / S_k)


@wrong("ablationcam", "weights")
def divided_by_the_mean_score(model, layer, images, target):
    A, S, S_k = without(model, layer, images, target)
    return score_map(A, (S - S_k) / S.mean().abs())


@wrong("ablationcam", "weights")
def drops_of_the_probability(model, layer, images, target):
    A, p, p_k = without(
        model, layer, images, target, score=lambda outputs, target: of_class(outputs.softmax(2), target)
    )
    return score_map(A, (p - p_k) / p)


@wrong("ablationcam", "weights")
def channel_means(model, layer, images, target):
    A, S, S_k = without(model, layer, images, target, value=lambda A, k: A[:, k].mean((1, 2), keepdim=True))
    return score_map(A, (S - S_k) / S.abs())


@wrong("ablationcam", "weights")
def means_of_the_batch(model, layer, images, target):
    A, S, S_k = without(model, layer, images, target, value=lambda A, k: A[:, k].mean(0, keepdim=True))
    return score_map(A, (S - S_k) / S.abs())


@wrong("ablationcam", "weights")
def never_given_back(model, layer, images, target):
    A = activations(model, layer, images)
    S = of_class(model(images)[:, None], target)
    changed, found = A.clone(), []
    for k in range(A.shape[1]):
        changed[:, k] = 0
        found.append(of_class(replaced(model, layer, images, changed)[:, None], target))
    return score_map(A, (S - torch.cat(found, 1)) / S.abs())


@wrong("ablationcam", "weights")
def ablationcam_of_the_top_class(model, layer, images, target):
    return ablationcam(model, layer, images, model(images).argmax(1).tolist())


@wrong("ablationcam", "weighted sum")
def ablationcam_mean_over_channels(model, layer, images, target):
    A, S, S_k = without(model, layer, images, target)
    return ((S - S_k) / S.abs() / A.shape[1])[:, :, None, None].mul(A).sum(1).relu()


@wrong("ablationcam", "rectify")
def ablationcam_forgotten_relu(model, layer, images, target):
    A, S, S_k = without(model, layer, images, target)
    return (((S - S_k) / S.abs())[:, :, None, None] * A).sum(1)

"""Evidence from within a network, against networks that are small enough to be followed."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from camzoo.conformance import inner
from camzoo.conformance.evidence import Literal
from camzoo.conformance.inner import NoReference
from camzoo.conformance.stands import POOLED, RECTIFIED, SMOOTH, STRAIGHT, TRANSFORMER, WHOLE
from camzoo.oracles import scores
from camzoo.problems import pose


def literal(stand) -> Literal:
    return Literal(stand.problem(), 0)


class Called(nn.Module):
    """A convolution, a rectifier that is given, and a linear layer."""

    def __init__(self, rectifier) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.rectifier = rectifier
        self.head = nn.Linear(4 * 6 * 8, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.rectifier(self.conv(images)).flatten(1))


def called(rectifier) -> Literal:
    torch.manual_seed(0)
    model = Called(rectifier).double().eval()
    return Literal(pose(model, torch.randn(1, 3, 6, 8, dtype=torch.float64), "conv", 1), 0)


@pytest.mark.parametrize(
    "rectifier",
    [
        F.relu,
        lambda z: z.relu_(),
        lambda z: z.clamp(min=0),
        lambda z: torch.clamp_min(z, 0),
        lambda z: F.relu6(z * 1e-3) * 1e3,
        nn.ReLU(inplace=True),
    ],
)
def test_a_relu_is_known_by_any_name(rectifier):
    found, plain = inner.guided(called(rectifier)), called(rectifier).input_gradient
    np.testing.assert_allclose(found, inner.guided(called(nn.ReLU())), atol=1e-12)
    assert np.abs(found - plain).max() > 1e-3


@pytest.mark.parametrize("other", [F.softplus, lambda z: z.clamp(min=-1), F.hardtanh, F.leaky_relu])
def test_what_is_no_relu_is_not_taken_for_one(other):
    with pytest.raises(NoReference, match="no ReLU"):
        inner.guided(called(other))


def test_the_hooks_of_guided_backpropagation_are_gone_afterwards():
    one = literal(RECTIFIED)
    before = one.input_gradient
    inner.guided(one)
    np.testing.assert_array_equal(Literal(one.problem, 0).input_gradient, before)


@pytest.mark.parametrize("stand", [POOLED, RECTIFIED, WHOLE, STRAIGHT])
def test_input_and_biases_add_up_to_the_score(stand):
    one = literal(stand)
    terms = inner.bias_terms(one)
    head = one.problem.model.head
    last = 0.0 if head.bias is None else float(head.bias.detach()[one.c])
    total = (one.x * one.input_gradient).sum() + sum(term.sum() for term in terms) + last
    np.testing.assert_allclose(total, one.y[one.c], rtol=1e-12)
    assert stand is STRAIGHT or sum(np.abs(term).max() > 1e-3 for term in terms) >= 1


def test_a_layer_that_does_more_than_its_name_is_refused():
    class NormAndRelu(nn.BatchNorm2d):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images).relu()

    for layer in (NormAndRelu(4), nn.BatchNorm2d(4, track_running_stats=False)):
        with pytest.raises(NoReference, match=type(layer).__name__):
            inner.bias_terms(called(layer))


def test_the_hessian_product_is_the_change_of_the_slope():
    one = literal(SMOOTH)
    found, wanted = inner.hessian_product(one), scores.hessian_vector(one.A, one.slope)
    assert np.abs(wanted).max() > 1e-3
    # Central differences: the step is 1e-4 of A, and its square is what they leave out.
    np.testing.assert_allclose(found, wanted, atol=1e-7 * np.abs(wanted).max())


@pytest.mark.parametrize("stand", [POOLED, RECTIFIED])
def test_the_hessian_of_a_piecewise_linear_tail_is_zero(stand):
    assert not inner.hessian_product(literal(stand)).any()


def test_the_prefix_tokens_are_no_part_of_what_the_hessian_is_taken_along():
    one = literal(TRANSFORMER)
    found, wanted = inner.hessian_product(one), scores.hessian_vector(one.A, one.slope)
    np.testing.assert_allclose(found, wanted, atol=1e-7 * np.abs(wanted).max())


def test_the_attention_that_is_followed_is_that_of_the_model():
    one = literal(TRANSFORMER)
    for probabilities in inner.attention(one):
        np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-12)
    tokens = inner._blocks(one)[-1][1]
    model = one.problem.model
    with torch.no_grad():
        found = model.heads(model.encoder.ln(tokens)[:, 0])[0]
    np.testing.assert_allclose(found.numpy(), one.y, rtol=1e-12)


def test_the_gradient_of_attention_is_how_the_score_changes_with_it():
    one, step = literal(TRANSFORMER), 1e-5
    raised, lowered = (_score_with_one_probability_raised(one, by) for by in (step, -step))
    wanted = float(inner.attention_gradients(one)[-1][1, 0, 3])
    assert abs(wanted) > 1e-3
    np.testing.assert_allclose((raised - lowered) / (2 * step), wanted, rtol=1e-6)


def test_the_score_of_a_block_is_read_off_its_own_tokens():
    """The first block's gradient is that of a model whose encoder ends there."""
    one = literal(TRANSFORMER)
    wanted = inner.attention_gradients(one)[0]
    model = copy.deepcopy(one.problem.model)
    model.encoder.layers = model.encoder.layers[:1]
    shortened = Literal(replace(one.problem, model=model), 0)
    (found,) = inner.attention_gradients(shortened)
    torch.testing.assert_close(found, wanted)
    assert (found - inner.attention_gradients(one)[1]).abs().max() > 1e-3


def _score_with_one_probability_raised(one: Literal, step: float) -> float:
    """The model's own logit when head 1 of the last block attends from the class token to token 3 by `step` more."""
    model = one.problem.model
    block = model.encoder.layers[-1]
    attending = block.self_attention
    width = attending.embed_dim // attending.num_heads

    def more(_module, inputs, output):
        (_, _, value) = (inputs[0] @ attending.in_proj_weight.T + attending.in_proj_bias).chunk(3, 2)
        gathered = torch.zeros_like(output[0])
        gathered[:, 0, width : 2 * width] = step * value[:, 3, width : 2 * width]
        return output[0] + gathered @ attending.out_proj.weight.T, output[1]

    handle = attending.register_forward_hook(more)
    try:
        return one.outputs(one.x)[one.c]
    finally:
        handle.remove()


def test_attention_is_followed_in_one_transformer_only():
    with pytest.raises(NoReference, match="VisionTransformer"):
        inner.attention(literal(POOLED))

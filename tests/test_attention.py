"""Attention and its gradients are those of the model's own blocks, worked out here a second time by hand."""

from __future__ import annotations

import math
import threading
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from conftest import SmallNet, require, seeded
from snapshots import snapshot
from torch import nn
from torchvision.models import SwinTransformer, VisionTransformer

from camzoo import attention
from camzoo.errors import NotOffered, RequestError
from camzoo.targets import ClassLogit, TopClass

EXACT = {"rtol": 1e-10, "atol": 1e-13}


def noise(*shape: int, seed: int = 3) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def small_vit(layers: int = 3) -> VisionTransformer:
    """torchvision's, with a head that is not all zero as torchvision's is, and attention that is not nearly flat."""
    net = VisionTransformer(
        image_size=32, patch_size=8, num_layers=layers, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5
    )
    nn.init.normal_(net.heads.head.weight)
    for module in net.modules():
        if isinstance(module, nn.MultiheadAttention):
            nn.init.normal_(module.in_proj_weight, std=0.5)
    return net.double()


class Attention(nn.Module):
    """As Hugging Face writes it: apart for query, key and value, fused or step by step."""

    def __init__(self, width: int, heads: int, form: str) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.heads, self.form = heads, form
        self.drop = nn.Dropout(0.5, inplace=True)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        q, k, v = (one(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in self.projections)
        if self.form == "fused":
            mixed = F.scaled_dot_product_attention(query=q, key=k, value=v)
        else:
            logits = q @ k.mT / math.sqrt(q.shape[-1])
            forms = {
                "F.softmax": lambda: F.softmax(logits, dim=-1, dtype=torch.float64),
                "nn.Softmax": lambda: nn.Softmax(dim=3)(logits),
                "Tensor.softmax": lambda: logits.softmax(-1),
                "torch.softmax": lambda: torch.softmax(input=logits, dim=-1),
            }
            mixed = self.drop(forms[self.form]()) @ v
        return mixed.transpose(1, 2).flatten(2)

    @property
    def projections(self) -> tuple[nn.Linear, ...]:
        return self.query, self.key, self.value


class Block(nn.Module):
    """Shifts what it is given in place, so that the tokens of the block before are lost if nobody keeps them."""

    def __init__(self, width: int, form: str) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, 2, form)
        self.shift = nn.Parameter(torch.randn(width))
        self.mlp = nn.Sequential(nn.Linear(width, 32), nn.GELU(), nn.Linear(32, width))

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        hidden_states += self.shift
        mixed = self.attention(self.norm1(hidden_states))
        mixed += hidden_states
        return mixed + self.mlp(self.norm2(mixed))


class Net(nn.Module):
    """A transformer without class token that gives an object with `logits`."""

    def __init__(self, form: str = "fused", layers: int = 3, width: int = 16) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.layer = nn.ModuleList(Block(width, form) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 5)
        self.double()

    def forward(self, pixel_values: torch.Tensor) -> SimpleNamespace:
        tokens = self.patches(pixel_values).flatten(2).mT
        for block in self.layer:
            tokens = block(hidden_states=tokens)
        return SimpleNamespace(logits=self.head(self.norm(tokens).mean(1)))


# How each family computes a block and its head, given the attention probabilities: the derivation done by hand.


def vit_block(block, tokens, probabilities):
    projection, width = block.self_attention, tokens.shape[-1]
    weight, bias = projection.in_proj_weight[2 * width :], projection.in_proj_bias[2 * width :]
    value = F.linear(block.ln_1(tokens), weight, bias)
    tokens = tokens + projection.out_proj(mix(probabilities, value))
    return tokens + block.mlp(block.ln_2(tokens))


def vit_logits(block, tokens):
    projection, width = block.self_attention, tokens.shape[-1]
    query, key, _ = F.linear(block.ln_1(tokens), projection.in_proj_weight, projection.in_proj_bias).split(width, -1)
    return query, key, projection.num_heads


def timm_block(block, tokens, probabilities):
    value = block.attn.qkv(block.norm1(tokens)).chunk(3, -1)[2]
    tokens = tokens + block.attn.proj(mix(probabilities, value))
    return tokens + block.mlp(block.norm2(tokens))


def timm_logits(block, tokens):
    query, key, _ = block.attn.qkv(block.norm1(tokens)).chunk(3, -1)
    return query, key, block.attn.num_heads


def net_block(block, tokens, probabilities):
    tokens = tokens + block.shift
    tokens = tokens + mix(probabilities, block.attention.value(block.norm1(tokens)))
    return tokens + block.mlp(block.norm2(tokens))


def net_logits(block, tokens):
    normed = block.norm1(tokens + block.shift)
    return block.attention.query(normed), block.attention.key(normed), block.attention.heads


def mix(probabilities, value):
    """Every head's probabilities times its part of the values."""
    heads = probabilities.shape[1]
    parts = value.chunk(heads, -1)
    return torch.cat([probabilities[:, head] @ part for head, part in enumerate(parts)], -1)


def probabilities_of(query, key, heads):
    pairs = zip(query.chunk(heads, -1), key.chunk(heads, -1), strict=True)
    return torch.stack([(q @ k.mT / math.sqrt(q.shape[-1])).exp() for q, k in pairs], 1)


def by_hand(blocks, block_of, logits_of, head, tokens, classes):
    """Attention of each block, and `ds_l/d attention_l` by autograd from that tensor alone."""
    attentions, gradients = [], []
    for block in blocks:
        weights = probabilities_of(*logits_of(block, tokens))
        weights = (weights / weights.sum(-1, keepdim=True)).detach().requires_grad_()
        tokens = block_of(block, tokens.detach(), weights)
        score = head(tokens)[range(len(classes)), classes].sum()
        attentions.append(weights.detach())
        gradients.append(torch.autograd.grad(score, weights)[0])
    return attentions, gradients


def vit_by_hand(net, images, classes):
    tokens = net.conv_proj(images).flatten(2).mT
    tokens = torch.cat([net.class_token.expand(len(images), -1, -1), tokens], 1) + net.encoder.pos_embedding
    return by_hand(
        net.encoder.layers, vit_block, vit_logits, lambda z: net.heads(net.encoder.ln(z)[:, 0]), tokens, classes
    )


def net_by_hand(net, images, classes):
    tokens = net.patches(images).flatten(2).mT
    return by_hand(net.layer, net_block, net_logits, lambda z: net.head(net.norm(z).mean(1)), tokens, classes)


def timm_by_hand(net, images, classes):
    tokens = net.patch_embed(images)
    tokens = torch.cat([net.cls_token.expand(len(images), -1, -1), tokens], 1) + net.pos_embed
    return by_hand(net.blocks, timm_block, timm_logits, lambda z: net.head(net.norm(z)[:, 0]), tokens, classes)


def agree(found, wanted, **tolerance):
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, **(tolerance or EXACT))


@pytest.fixture(scope="module")
def vit() -> VisionTransformer:
    return seeded(small_vit)


@pytest.fixture
def images() -> torch.Tensor:
    return noise(3, 3, 32, 32)


TARGET = ClassLogit((2, 0, 4))


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_torchvision(layers, images):
    net = seeded(lambda: small_vit(layers))
    attentions, gradients = vit_by_hand(net, images, TARGET.classes)
    found, derivatives = attention.take(net, images, TARGET, True)
    agree(found, attentions)
    agree(derivatives, gradients)
    assert found[0].shape == (3, 2, 17, 17)
    assert found[0].std() > 0.01  # not so flat that a wrong tensor would pass
    alone, none = attention.take(net, images, TARGET, False)
    agree(alone, attentions)
    assert none == ()


@pytest.mark.parametrize("form", ["fused", "F.softmax", "nn.Softmax", "Tensor.softmax", "torch.softmax"])
def test_modules_as_hugging_face_writes_them(form, images):
    net = seeded(lambda: Net(form))
    attentions, gradients = net_by_hand(net, images, TARGET.classes)
    found, derivatives = attention.take(net, images, TARGET, True)
    agree(found, attentions)
    agree(derivatives, gradients)


@pytest.mark.parametrize("fused", [True, False])
def test_timm(fused):
    timm = require("timm")
    net = seeded(lambda: timm.create_model("vit_tiny_patch16_224", img_size=64, depth=3, num_classes=5)).double()
    for block in net.blocks:
        block.attn.fused_attn = fused
        nn.init.normal_(block.attn.qkv.weight, std=0.1)
    pixels = noise(2, 3, 64, 64)
    attentions, gradients = timm_by_hand(net, pixels, (1, 3))
    found, derivatives = attention.take(net, pixels, ClassLogit((1, 3)), True)
    agree(found, attentions)
    agree(derivatives, gradients)


def test_timm_as_it_is():
    timm = require("timm")
    net = seeded(lambda: timm.create_model("vit_tiny_patch16_224"))
    pixels = noise(1, 3, 224, 224).float()
    attentions, gradients = timm_by_hand(net, pixels, (7,))
    found, derivatives = attention.take(net, pixels, ClassLogit((7,)), True)
    assert len(found) == len(derivatives) == 12
    agree(found, attentions, rtol=1e-4, atol=1e-6)
    for one, other in zip(derivatives, gradients, strict=True):
        assert (one - other).abs().max() < 1e-4 * other.abs().max()


def test_the_score_of_a_block_is_its_own(vit, images):
    """The derivative of the model's own score is another one in every block but the last."""
    _, found = attention.take(vit, images, TARGET, True)
    own, _ = vit_by_hand(vit, images, TARGET.classes)
    leaf = own[0].clone().requires_grad_()
    blocks = list(vit.encoder.layers)
    tokens = vit.conv_proj(images).flatten(2).mT
    tokens = torch.cat([vit.class_token.expand(3, -1, -1), tokens], 1) + vit.encoder.pos_embedding
    tokens = blocks[2](blocks[1](vit_block(blocks[0], tokens, leaf)))
    scores = vit.heads(vit.encoder.ln(tokens)[:, 0])
    (through,) = torch.autograd.grad(TARGET(scores).sum(), leaf)
    assert (through - found[0]).abs().max() > 0.1 * found[0].abs().max()


def test_derivatives_are_rises_of_the_score(vit, images):
    """Central differences of the head's score, read off the tokens after the first block."""
    weights, derivatives = attention.take(vit, images[:1], ClassLogit((2,)), True)
    tokens = vit.conv_proj(images[:1]).flatten(2).mT
    tokens = torch.cat([vit.class_token, tokens], 1) + vit.encoder.pos_embedding

    def score(probabilities):
        return vit.heads(vit.encoder.ln(vit_block(vit.encoder.layers[0], tokens, probabilities))[:, 0])[0, 2]

    along = noise(*weights[0].shape, seed=9)
    with torch.no_grad():
        rise = (score(weights[0] + 1e-5 * along) - score(weights[0] - 1e-5 * along)) / 2e-5
    torch.testing.assert_close((derivatives[0] * along).sum(), rise, rtol=1e-7, atol=1e-10)


def test_the_class_is_the_model_s(images):
    """With the top class, blocks before the last are not asked for their own favourite."""
    net = seeded(small_vit, 2)
    with torch.no_grad():
        tokens = net.conv_proj(images).flatten(2).mT
        tokens = torch.cat([net.class_token.expand(3, -1, -1), tokens], 1) + net.encoder.pos_embedding
        early = net.heads(net.encoder.ln(net.encoder.layers[0](tokens))[:, 0]).argmax(1).tolist()
        top = ClassLogit(tuple(net(images).argmax(1).tolist()))
    assert list(top.classes) != early
    agree(attention.take(net, images, TopClass(), True)[1], attention.take(net, images, top, True)[1])


@pytest.mark.parametrize("build", [small_vit, Net])
def test_batch_mates_do_not_matter(build, images):
    net = seeded(build)
    together = attention.take(net, images, TARGET, True)
    for index, label in enumerate(TARGET.classes):
        alone = attention.take(net, images[index : index + 1], ClassLogit((label,)), True)
        for one, other in zip(together, alone, strict=True):
            agree([each[index : index + 1] for each in one], other)


def test_single_precision(vit, images):
    double = attention.take(vit, images, TARGET, True)
    single = attention.take(seeded(small_vit).float(), images.float(), TARGET, True)
    for one, other in zip(double, single, strict=True):
        agree(other, [each.float() for each in one], rtol=1e-4, atol=1e-5)


def test_whatever_the_caller_s_grad_mode(vit, images):
    wanted = attention.take(vit, images, TARGET, True)
    with torch.no_grad():
        agree(sum(attention.take(vit, images, TARGET, True), ()), sum(wanted, ()))
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        agree(sum(attention.take(vit, images.clone(), TARGET, True), ()), sum(wanted, ()))
    assert not any(tensor.requires_grad for tensor in sum(wanted, ()))


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("build", [small_vit, lambda: Net("nn.Softmax")])
def test_the_model_is_as_it_was(build, frozen, training, images):
    net = seeded(build).train(training)
    net.requires_grad_(not frozen)
    before = snapshot(net)
    found = attention.take(net, images, TARGET, True)
    after = snapshot(net)
    assert [kind for kind in before if before[kind] != after[kind]] == []
    agree(found[1], attention.take(seeded(build), images, TARGET, True)[1])


def test_the_model_is_as_it_was_after_an_exception(images):
    net = seeded(small_vit)
    handle = net.encoder.ln.register_forward_hook(lambda *_: 1 / 0)
    before = snapshot(net)
    for gradients in (False, True):
        with pytest.raises(ZeroDivisionError):
            attention.take(net, images, TARGET, gradients)
        after = snapshot(net)
        assert [kind for kind in before if before[kind] != after[kind]] == []
    handle.remove()
    attention.take(net, images, TARGET, True)


def test_eight_threads_on_one_model(vit):
    pixels = [noise(1, 3, 32, 32, seed=seed) for seed in range(8)]
    wanted = [attention.take(vit, each, ClassLogit((1,)), True) for each in pixels]
    found: list = [None] * 8
    start = threading.Barrier(8)

    def explain(index: int) -> None:
        start.wait()
        found[index] = [attention.take(vit, pixels[index], ClassLogit((1,)), True) for _ in range(4)]

    threads = [threading.Thread(target=explain, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each, right in zip(found, wanted, strict=True):
        for time in each:
            agree(sum(time, ()), sum(right, ()), rtol=0, atol=0)


def test_another_thread_is_not_watched(vit, images):
    watch = attention._Watch(False)
    with watch, torch.no_grad():
        other = threading.Thread(target=vit, args=(images,))
        other.start()
        other.join()
        assert watch.seen == []
        vit(images)
    assert len(watch.seen) == 3


QUERY, KEY, VALUE = noise(2, 4, 5, 8, seed=1), noise(2, 4, 5, 8, seed=2), noise(2, 4, 5, 8, seed=4)
FEW = (KEY[:, :2], VALUE[:, :2])


@pytest.mark.parametrize(
    ("tensors", "options"),
    [
        ((QUERY, KEY, VALUE), {}),
        ((QUERY, KEY, VALUE), {"scale": 0.3}),
        ((QUERY, KEY, VALUE), {"is_causal": True}),
        ((QUERY, KEY, VALUE), {"attn_mask": noise(5, 5, seed=5)}),
        ((QUERY, KEY, VALUE), {"attn_mask": noise(2, 1, 5, 5, seed=5) > -1}),
        ((QUERY, *FEW), {"enable_gqa": True}),
    ],
    ids=["plain", "scale", "causal", "added mask", "mask", "groups"],
)
def test_fused_attention_step_by_step(tensors, options):
    watch = attention._Watch(False)
    with watch:
        found = F.scaled_dot_product_attention(*tensors, **options)
    torch.testing.assert_close(found, F.scaled_dot_product_attention(*tensors, **options), **EXACT)
    assert watch.seen[0].probabilities.shape == (2, 4, 5, 5)


@pytest.mark.parametrize("asked", [{}, {"need_weights": False}, {"average_attn_weights": False}])
@pytest.mark.parametrize("gradients", [False, True])
def test_multi_head_attention_gives_what_was_asked(asked, gradients):
    net = seeded(lambda: nn.MultiheadAttention(8, 2, batch_first=True)).double()
    tokens = noise(2, 5, 8)
    wanted, weights = net(tokens, tokens, tokens, **asked)
    with attention._Watch(gradients), torch.no_grad():
        found, given = net(tokens, tokens, tokens, **asked)
    torch.testing.assert_close(found, wanted.detach(), **EXACT)
    assert (given is None) == (weights is None)
    if given is not None:
        torch.testing.assert_close(given.detach(), weights.detach(), **EXACT)


def test_pooling_by_attention_belongs_to_the_head(images):
    class Pooled(Net):
        def __init__(self) -> None:
            super().__init__()
            self.query = nn.Parameter(noise(1, 2, 1, 8))

        def forward(self, pixel_values):
            tokens = self.patches(pixel_values).flatten(2).mT
            for block in self.layer:
                tokens = block(tokens)
            keys = self.norm(tokens).unflatten(-1, (2, -1)).transpose(1, 2)
            query = self.query.expand(len(keys), -1, -1, -1)
            return self.head(F.scaled_dot_product_attention(query, keys, keys).flatten(1))

    def head(tokens):
        keys = net.norm(tokens).unflatten(-1, (2, -1)).transpose(1, 2)
        return net.head(((net.query @ keys.mT / math.sqrt(8)).softmax(-1) @ keys).flatten(1))

    net = seeded(Pooled)
    attentions, gradients = by_hand(
        net.layer, net_block, net_logits, head, net.patches(images).flatten(2).mT, TARGET.classes
    )
    found, derivatives = attention.take(net, images, TARGET, True)
    agree(found, attentions)
    agree(derivatives, gradients)


def test_a_softmax_over_another_axis_is_no_attention(small_net, images):
    class Net(SmallNet):
        def forward(self, pixels):
            gate = F.softmax(self.stem(pixels), dim=1)
            return self.head(self.pool(self.last(self.act(self.norm(gate)))).flatten(1)).softmax(-1)

    with pytest.raises(NotOffered, match="no attention ran"):
        attention.take(seeded(Net), images.float(), TARGET, False)


def swin() -> nn.Module:
    return SwinTransformer(
        patch_size=[4, 4],
        embed_dim=8,
        depths=[2],
        num_heads=[2],
        window_size=[4, 4],
        num_classes=5,
        stochastic_depth_prob=0.0,
    )


class Halves(Net):
    """Attention and what follows it are modules of their own: no module gives the tokens after a block."""

    def forward(self, pixel_values):
        tokens = self.patches(pixel_values).flatten(2).mT
        for block in self.layer:
            tokens = tokens + block.attention(block.norm1(tokens))
            tokens = tokens + block.mlp(block.norm2(tokens))
        return self.head(self.norm(tokens).mean(1))


class Shared(Net):
    """One block, run three times."""

    def forward(self, pixel_values):
        tokens = self.patches(pixel_values).flatten(2).mT
        for _ in range(3):
            tokens = self.layer[0](tokens)
        return self.head(self.norm(tokens).mean(1))


class Shortcut(Net):
    """The head reads more than the last block's tokens, and only for the batch that it was written for."""

    def forward(self, pixel_values):
        tokens = self.patches(pixel_values).flatten(2).mT
        first = tokens.sum((1, 2))
        for block in self.layer:
            tokens = block(tokens)
        return self.head(self.norm(tokens).mean(1)) + first.mean() * torch.randn(1).double()


class Stubborn(Net):
    """Refuses another batch than three."""

    def forward(self, pixel_values):
        tokens = self.patches(pixel_values).flatten(2).mT
        for block in self.layer:
            tokens = block(tokens)
        return self.head(self.norm(tokens).mean(1).view(3, 16))


class Stages(Net):
    """The number of tokens changes on the way."""

    def forward(self, pixel_values):
        tokens = self.patches(pixel_values).flatten(2).mT
        tokens = self.layer[1](self.layer[0](tokens)[:, ::2])
        return self.head(self.norm(tokens).mean(1))


@pytest.mark.parametrize(
    ("build", "gradients", "reason"),
    [
        (SmallNet, False, "no attention ran"),
        (SmallNet, True, "no attention ran"),
        (swin, False, "does not go over all"),
        (swin, True, "does not go over all"),
        (Stages, False, "does not go over all"),
        (Halves, True, "no chain of modules"),
        (Shared, True, "no chain of modules"),
        (Shortcut, True, "does not give the model's scores"),
        (lambda: Stubborn(layers=2), True, "cannot be run alone"),
    ],
)
def test_what_is_not_offered(build, gradients, reason, images):
    net = seeded(build).double()
    before = [hook for module in net.modules() for hook in module._forward_hooks]
    with pytest.raises(NotOffered, match=reason):
        attention.take(net, images, TARGET, gradients)
    assert [hook for module in net.modules() for hook in module._forward_hooks] == before == []


@pytest.mark.parametrize("build", [Halves, Shared])
def test_attention_alone_needs_no_blocks(build, images):
    assert len(attention.take(seeded(build), images, TARGET, False)[0]) == 3


def test_a_target_without_a_derivative(vit, images):
    with pytest.raises(RequestError, match="differentiated"):
        attention.take(vit, images, lambda outputs: outputs.detach()[:, 0], True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.compile's own tracing
@pytest.mark.parametrize("used_before", [False, True])
def test_a_compiled_model_gives_what_the_model_gives(used_before):
    net, images = small_vit().eval(), noise(2, 3, 32, 32)
    compiled = torch.compile(net, backend="eager")
    try:
        if used_before:
            compiled(images)
        found, wanted = (attention.take(each, images, ClassLogit((1, 4)), True) for each in (compiled, net))
    finally:
        torch.compiler.reset()
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)

"""Takes the attention of a vision transformer, and what each block's attention does to the score."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from camzoo import guard, tail
from camzoo.errors import NotOffered, RequestError
from camzoo.targets import explained, row_of, select, settled
from camzoo.types import Target

Tensors = tuple[torch.Tensor, ...]


def take(
    model: torch.nn.Module,
    images: torch.Tensor,
    target: Target,
    gradients: bool,
    beside: AbstractContextManager[None] | None = None,
) -> tuple[Tensors, Tensors]:
    """The softmax probabilities of every attention over all tokens, and the derivative of each block's score by them.

    The score `s_l` of block `l` is read off that block's tokens by what the model itself does after its last block
    (norm, pooling, head), so `ds_l/d attention_l` involves no block but `l`. Attention is found in whatever form it is
    computed: `nn.MultiheadAttention`, `scaled_dot_product_attention`, or a softmax over the last of four axes.

    Args:
        model: a vision transformer, borrowed.
        images: what it takes, `(N, C, H, W)`.
        target: what is explained.
        gradients: whether the derivatives are wanted.
        beside: what watches the pass too; parts of the model that are run again are none of it.

    Returns:
        Attention, `(N, heads, t, t)` for each block in the order in which they run, rows summing to one; and the
        derivatives, of the same shapes, or `()`.

    Raises:
        NotOffered: the model has no attention over all tokens in every block, or, where derivatives are wanted, no
            blocks that hand their tokens `(N, t, D)` straight to each other and a head that can be run alone.
    """
    model = getattr(model, "_orig_mod", model)  # of torch.compile: what is traced cannot be watched step by step
    watch, walk = _Watch(gradients), _Walk()
    with guard.evaluating(model), torch.inference_mode(False), torch.set_grad_enabled(gradients):
        images = images.clone() if images.is_inference() else images  # these refuse to be saved for a backward pass
        with beside or nullcontext(), walk.follow(model, watch.seen) if gradients else nullcontext(), watch:
            outputs = select(model(images))
        _check(watch.seen, len(images))
        derivatives = _derivatives(model, images, target, outputs, watch.seen, walk) if gradients else ()
    return tuple(attention.probabilities for attention in watch.seen), derivatives


@dataclass(slots=True)
class _Block:
    """A module with one attention in it, as it ran: what went in, the tokens that came out, and their stand-in.

    The model goes on with the stand-in, a copy, so that an in-place addition in the next block leaves the tokens alone.
    """

    name: str
    entered: object
    tokens: torch.Tensor
    handed_on: torch.Tensor
    finished: int


@dataclass(slots=True)
class _Attention:
    """One attention as it ran: its probabilities, the same as a tensor of the graph, and the block around it."""

    probabilities: torch.Tensor
    node: torch.Tensor
    block: _Block | None = None


class _Watch(TorchFunctionMode):
    """Sees the attention computed by this thread while it is entered; nothing is patched."""

    def __init__(self, gradients: bool) -> None:
        super().__init__()
        self.gradients = gradients
        self.seen: list[_Attention] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self._fused(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            return self._multi_head(args, kwargs)
        result = func(*args, **kwargs)
        attends = func in _SOFTMAX and _over_last_of_four(result, args, kwargs)
        return self._note(result) if attends else result

    def _note(self, probabilities: torch.Tensor) -> torch.Tensor:
        """Keeps probabilities as a leaf; the model goes on with a copy, which it may change in place.

        A single query is pooling by attention, a part of the head.
        """
        if probabilities.shape[-2] == 1:
            return probabilities
        leaf = probabilities.detach().requires_grad_(self.gradients)
        self.seen.append(_Attention(probabilities.detach(), leaf))
        return leaf.clone()

    def _fused(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,  # noqa: ARG002 (the model is in eval mode)
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        """`softmax(scale * q k^T + mask) v`, step by step."""
        if enable_gqa:
            groups = query.shape[-3] // key.shape[-3]
            key, value = key.repeat_interleave(groups, -3), value.repeat_interleave(groups, -3)
        if is_causal:
            attn_mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
        logits = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
        if attn_mask is not None:
            masked = attn_mask.dtype == torch.bool
            logits = logits.masked_fill(~attn_mask, -math.inf) if masked else logits + attn_mask
        return self._note(logits.softmax(-1)) @ value

    def _multi_head(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """`nn.MultiheadAttention`, asked for the weights of each head.

        It gives them as a view beside the graph; the tensor that the output was computed from is what they view.
        """
        if self.gradients:
            fresh = {id(tensor): tensor.detach().requires_grad_() for tensor in args[:3]}  # one tensor stays one
            args = (*(fresh[id(tensor)] for tensor in args[:3]), *args[3:])
        asked = {"need_weights": True, "average_attn_weights": False}
        output, weights = F.multi_head_attention_forward(*args, **{**kwargs, **asked})
        assert weights is not None
        if weights.shape[-2] > 1:
            node = weights if weights._base is None else weights._base
            self.seen.append(_Attention(weights.detach(), node))
        if not kwargs.get("need_weights", True):
            return output, None
        return output, weights.mean(1) if kwargs.get("average_attn_weights", True) else weights


_SOFTMAX = frozenset({torch.softmax, torch.Tensor.softmax, torch.special.softmax, F.softmax})


def _over_last_of_four(probabilities: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a softmax is attention, over the keys of `(N, heads, t, t)` or of windows."""
    dim = args[1] if len(args) > 1 else kwargs.get("dim")
    return probabilities.ndim >= 4 and dim in (-1, probabilities.ndim - 1)


@dataclass(slots=True)
class _Walk:
    """What finished in a forward pass, in order, and how many attentions had been seen when each module began."""

    finished: list[tuple[str, object]] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)
    thread: int = field(default_factory=threading.get_ident)

    @contextmanager
    def follow(self, model: torch.nn.Module, seen: list[_Attention]) -> Iterator[None]:
        """Hooks on every module but the model itself, that act for this thread only, while it lasts."""

        def enter(_module: torch.nn.Module, _args: object) -> None:
            if threading.get_ident() == self.thread:
                self.begun.append(len(seen))

        def leave(name: str) -> Callable[..., torch.Tensor | None]:
            def hook(_module: object, *given: Any) -> Any:
                # Another thread may come by before PyTorch has noted that this hook takes keywords.
                if threading.get_ident() != self.thread:
                    return None
                args, kwargs, output = given
                alone = len(seen) - self.begun.pop() == 1
                handed_on = None
                if alone and isinstance(output, torch.Tensor) and output.ndim == 3:
                    # Modules finish from the inside out: the outermost one with this attention alone is what stays.
                    handed_on, entered = output.clone(), next(iter((*args, *kwargs.values())), None)
                    seen[-1].block = _Block(name, entered, output, handed_on, len(self.finished))
                self.finished.append((name, output.detach() if isinstance(output, torch.Tensor) else output))
                return handed_on

            return hook

        modules = [(name, module) for name, module in model.named_modules() if name]
        with ExitStack() as hooks:
            for name, module in modules:
                hooks.enter_context(module.register_forward_pre_hook(enter))
                hooks.enter_context(module.register_forward_hook(leave(name), with_kwargs=True))
            yield

    def before(self, model: torch.nn.Module, block: _Block) -> tail.Recording:
        """What finished before a block, as its tail needs it."""
        recording, beside = tail.Recording(open=False), tail.beside(model, block.name)
        for name, output in self.finished[: block.finished]:
            if name in beside:
                recording.outputs.setdefault(name, []).append(output)
        return recording


def _check(seen: Sequence[_Attention], images: int) -> None:
    if not seen:
        raise NotOffered("no attention ran in this model: attention maps are for vision transformers")
    tokens = seen[-1].probabilities.shape[-1]
    for attention in seen:
        shape = tuple(attention.probabilities.shape)
        if len(shape) != 4 or shape[0] != images or shape[2:] != (tokens, tokens):
            raise NotOffered(
                f"an attention of shape {shape} for {images} image{'s'[: images != 1]} does not go over all of the "
                f"{tokens} tokens, as in windows or stages: attention maps need blocks that all do"
            )


def _derivatives(
    model: torch.nn.Module,
    images: torch.Tensor,
    target: Target,
    outputs: torch.Tensor,
    seen: Sequence[_Attention],
    walk: _Walk,
) -> Tensors:
    """`ds_l/d attention_l`: the head's slope at block `l`'s tokens, taken back through block `l` alone."""
    blocks = _chain(seen)
    slopes = _slopes(model, images, target, outputs, blocks, walk)
    return tuple(
        torch.autograd.grad(block.tokens, attention.node, slope)[0].reshape(attention.probabilities.shape)
        for block, attention, slope in zip(blocks, seen, slopes, strict=True)
    )


def _chain(seen: Sequence[_Attention]) -> list[_Block]:
    """The blocks, if each takes the tokens just as the one before gives them."""
    blocks = [attention.block for attention in seen if attention.block is not None]
    passed_on = all(one.handed_on is other.entered for one, other in pairwise(blocks))
    alike = {tuple(block.tokens.shape[:2]) for block in blocks} == {seen[0].probabilities.shape[::3]}
    if len(blocks) < len(seen) or len({block.name for block in blocks}) < len(seen) or not passed_on or not alike:
        raise NotOffered(
            "this model is no chain of modules with one attention each that hand tokens (N, t, D) to each other, so "
            "the tokens after a block are not to be had"
        )
    return blocks


def _slopes(
    model: torch.nn.Module,
    images: torch.Tensor,
    target: Target,
    outputs: torch.Tensor,
    blocks: Sequence[_Block],
    walk: _Walk,
) -> Sequence[torch.Tensor]:
    """`ds_l/dZ_l` with `Z_l (N, t, D)` the tokens after block `l`: they take the place of the last block's tokens."""
    count, scores = len(images), []
    target = settled(target, outputs)  # the class that the model chose, not what each block would choose
    recording = walk.before(model, blocks[-1])
    tokens = torch.stack([block.tokens.detach() for block in blocks]).requires_grad_()
    for image in range(count):
        rerun = tail.twin(model, blocks[-1].name, recording, image, count)
        again = select(_alone(rerun, tokens[:, image], images[image : image + 1]))
        if not _close(again[-1].detach(), outputs[image].detach()):
            raise NotOffered("what comes after the last block does not give the model's scores when it is run alone")
        scores.append(explained(row_of(target, image), again, len(blocks)).sum())
    if not all(score.requires_grad for score in scores):
        raise RequestError("the scores do not depend on the tokens in a way that can be differentiated")
    return torch.autograd.grad(torch.stack(scores).sum(), tokens)[0].unbind()


def _alone(rerun: Callable[[torch.Tensor, torch.Tensor], Any], tokens: torch.Tensor, image: torch.Tensor) -> Any:
    try:
        return rerun(tokens, image)
    except Exception as error:  # any module may do anything when it is run in part
        raise NotOffered(
            f"what comes after the last block cannot be run alone ({type(error).__name__} in it)"
        ) from error


def _close(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Equal to rounding: sums over batches of another size may be taken in another order."""
    slack = 200 * torch.finfo(wanted.dtype).eps * wanted.abs().max()
    return found.shape == wanted.shape and bool((found - wanted).abs().max() <= slack)

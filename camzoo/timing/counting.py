"""Counts what one call does: passes, rows, runs of the autograd engine, waits of the host, copies, operations."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.module import register_module_forward_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry

from camzoo.timing.samples import Counts

aten = torch.ops.aten

READS = frozenset(
    {
        *(aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten.allclose),
        *(aten._unique2, aten.unique_dim, aten.unique_consecutive, aten.unique_dim_consecutive),
        *(aten.repeat_interleave, aten.bincount, aten._linalg_check_errors),
        *(aten._linalg_eigh, aten.linalg_eig, aten._linalg_svd, aten.linalg_pinv, aten.linalg_lstsq),
    }
)
"""Operations whose result, its shape or its success the host has to know: each waits for a GPU."""

INDEXING = frozenset({aten.index, aten.index_put, aten.index_put_})

COPIES = frozenset({aten.clone, aten.copy_, aten._to_copy})
"""Operations that copy tensors as they are."""

READ_ON_HOST = frozenset({torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.__array__})
"""How the values of a tensor on the CPU are read; on another device each of them has to copy first."""


def _convolution_backward(
    slopes: Any, inputs: Any, weight: Any, _b: Any, _s: Any, _p: Any, _d: Any, transposed: bool, *rest: Any, **_: Any
) -> int:
    """As many operations as forwards, for each gradient that is wanted.

    PyTorch's own formula for the gradient of the weights leaves out that channels of different groups do not meet, and
    counts too many of a depthwise convolution by the number of channels.
    """
    wanted = rest[-1]
    gradients: int = sum(wanted[:2])
    return gradients * conv_flop_count(inputs.shape, weight.shape, slopes.shape, transposed)


FLOPS = {**flop_registry, aten.convolution_backward: _convolution_backward}
"""The floating-point operations of each operation that has any worth counting."""


@dataclass(slots=True)
class Tally:
    """What was counted so far; see `Counts`."""

    forwards: int = 0
    images: int = 0
    tail_rows: int = 0
    backwards: int = 0
    synchronisations: int = 0
    copied_bytes: int = 0
    flops: int = 0


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations and copies as PyTorch dispatches them, those of the backward pass included."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tally = tally

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet = func._overloadpacket
        if packet not in FLOPS and packet not in READS | COPIES:
            with self:  # in inference mode composite operations come whole
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        if packet in FLOPS:
            self.tally.flops += FLOPS[packet](*args, **kwargs, out_val=result)
        elif packet in COPIES:
            self.tally.copied_bytes += result.nbytes
        self.tally.synchronisations += (
            packet in READS or _by_mask(packet, args) or _crosses(packet, args, kwargs, result)
        )
        return result


class _Reads(TorchFunctionMode):
    """Counts reads of a tensor on the CPU that are not dispatched as an operation."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self.tally = tally

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.tally.synchronisations += func in READ_ON_HOST
        return func(*args, **(kwargs or {}))


def count(work: Callable[[], Any], model: nn.Module, images: torch.Tensor) -> tuple[Counts, Any]:
    """What one call does, and what it gives.

    Passes and rows are seen by hooks, which run where a module is called. `model.forward(images)` goes past them, and
    is no forward pass of this count: only its operations and the rows of the last layer are counted. Wrapping
    `forward` would change the class or, in copies of the model such as the tail's, what they run.

    Args:
        work: the call.
        model: the model that it runs; a copy of it that the work makes for itself is not seen as the model.
        images: what the model takes; a plain forward pass is counted beside it, and shows which layer is the last.

    Returns:
        The counts, and the call's result.
    """
    with _plain_attention():
        last, of_forward = _forward(model, images)
        with _watched(model, last, images.device) as tally:
            result = work()
    return Counts(**asdict(tally), flops_of_forward=of_forward), result


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Keeps attention in matrix products, which can be counted: not all of its fused kernels can."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _forward(model: nn.Module, images: torch.Tensor) -> tuple[nn.Module, int]:
    """The last module without children that runs in a forward pass, and the operations of the pass."""
    ran: list[nn.Module] = []

    def leave(module: nn.Module, _inputs: object, _output: object) -> None:
        if not any(True for _ in module.children()):
            ran.append(module)

    tally, handle = Tally(), register_module_forward_hook(leave)
    try:
        with torch.inference_mode(), _Operations(tally):
            model(images)
    finally:
        handle.remove()
    return ran[-1] if ran else model, tally.flops


@contextmanager
def _watched(model: nn.Module, last: nn.Module, device: torch.device) -> Iterator[Tally]:
    """Counts for a while; hooks and wrappers are gone afterwards."""
    tally = Tally()

    def enter(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        if module is model:  # and not a copy of it, which has the hook as well
            tally.forwards += 1
            tally.images += _rows(*inputs, *named.values())

    def enter_last(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        if module is last:
            tally.tail_rows += _rows(*inputs, *named.values())

    with ExitStack() as stack:
        for module, hook in ((model, enter), (last, enter_last)):
            handle = module.register_forward_pre_hook(hook, with_kwargs=True)
            stack.callback(handle.remove)
        stack.enter_context(_engine(tally))
        stack.enter_context(_debugged(tally) if device.type == "cuda" else _Operations(tally))
        if device.type == "cpu":
            stack.enter_context(_Reads(tally))
        yield tally


def _rows(*given: Any) -> int:
    """The rows of the first tensor among the arguments of a module, whether they are named or not."""
    return next((len(each) for each in given if isinstance(each, torch.Tensor) and each.ndim), 0)


@contextmanager
def _engine(tally: Tally) -> Iterator[None]:
    """Counts runs of the autograd engine, by the one function through which `grad` and `backward` start it."""
    autograd: Any = torch.autograd
    run = autograd._engine_run_backward

    def counted(*args: Any, **kwargs: Any) -> Any:
        tally.backwards += 1
        return run(*args, **kwargs)

    autograd._engine_run_backward = counted
    try:
        yield
    finally:
        autograd._engine_run_backward = run


@contextmanager
def _debugged(tally: Tally) -> Iterator[None]:
    """The operations, and what CUDA itself says of waits where that is more."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as said, _Operations(tally):
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)
    waits = sum("synchronizing CUDA operation" in str(each.message) for each in said)
    tally.synchronisations = max(tally.synchronisations, waits)


def _by_mask(packet: Any, args: Any) -> bool:
    """Whether a boolean mask picks elements, whose number the host has to know; one number into all is a fill."""
    if packet not in INDEXING or (packet is not aten.index and args[2].numel() == 1):
        return False
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])


def _crosses(packet: Any, args: Any, kwargs: Any, result: Any) -> bool:
    """Whether a tensor went from one device to another, and the host waited for it."""
    if packet not in COPIES or kwargs.get("non_blocking") or args[2:3] == (True,):
        return False
    return any(isinstance(each, torch.Tensor) and each.device.type != result.device.type for each in args)

"""Trace without computing: convolutions, matrix products, group norms and other costly operators return zeros.

A trace records operators and shapes, and the numbers are not used. Nearly all of a network's time and memory go into
these operators on large tensors. Small tensors are computed, as coordinates and masks may determine shapes. A module
that reads numbers itself cannot be traced in this way.

torch's tracer records conv2d as the operator _convolution that it calls, and a dispatch mode sees it before that, as
convolution. So conv2d and conv1d are called by the name under which they are recorded.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from nfexport.tracing.traceable_modules import tensors_in

Shape = Sequence[int]


@contextlib.contextmanager
def shapes_alone(module: torch.nn.Module) -> Iterator[None]:
    """Let calls of the module compute shapes alone where numbers are costly, until the block ends.

    A call raises RuntimeError for an operator that a trace would lose, and if the module reads numbers."""
    own = module.__dict__.get("forward")
    forward = module.forward

    @functools.wraps(forward)
    def on_shapes(*args: Any, **kwargs: Any) -> Any:
        before = _tensors_of(module)
        with _RecordedName(), _Zeros(tensors_in((*args, *kwargs.values()))):
            result = forward(*args, **kwargs)
        for (owner, name), tensor in _tensors_of(module).items():
            if before.get((owner, name)) is not tensor:
                delattr(owner, name)
                raise RuntimeError(f"{name} was computed while tracing, and would be kept")
        return result

    module.forward = on_shapes
    try:
        yield
    finally:
        del module.__dict__["forward"]
        if own is not None:
            module.forward = own


def _tensors_of(module: torch.nn.Module) -> dict[tuple[torch.nn.Module, str], torch.Tensor]:
    """Return the tensors that the modules hold as plain attributes, such as caches."""
    return {
        (owner, name): value
        for owner in module.modules()
        for name, value in vars(owner).items()
        if isinstance(value, torch.Tensor)
    }


class _RecordedName(TorchFunctionMode):
    """Calls convolutions by the name under which the tracer records them."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _READS:
            raise RuntimeError("the module reads numbers")
        return _AS_RECORDED.get(func, func)(*args, **(kwargs or {}))


def _convolution(
    axes: int,
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: int | Shape = 1,
    padding: int | Shape | str = 0,
    dilation: int | Shape = 1,
    groups: int = 1,
) -> Any:
    if isinstance(padding, str) or input.dim() != axes + 2:
        raise RuntimeError("the convolution computes its padding or batch axis itself")
    stride, padding, dilation = (
        [each] * axes if isinstance(each, int) else each for each in (stride, padding, dilation)
    )
    # the last four are cuDNN's
    flags = (False, False, True, True)
    return torch._convolution(input, weight, bias, stride, padding, dilation, False, [0] * axes, groups, *flags)


_AS_RECORDED: dict[Any, Any] = {
    torch.conv1d: functools.partial(_convolution, 1),
    torch.conv2d: functools.partial(_convolution, 2),
}


class _Zeros(TorchDispatchMode):
    """Lets the costly operators return zeros. It runs below the tracer, which has recorded them by then.

    A number that the module reads has to be right: an integer, an argument of the module (a flag of its forward), or
    computed from these alone. Integers are sizes while a trace is recorded."""

    def __init__(self, given: Iterable[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._right = WeakTensorKeyDictionary({tensor: True for tensor in given if tensor.dim() == 0})

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch's compiler would have to be loaded to be skipped
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            if not self._is_right(args[0]):
                raise RuntimeError("the module reads a number")
        elif torch._C._get_tracing_state() is not None:
            raise RuntimeError(f"{func} is not recorded itself")
        if torch.Tag.dynamic_output_shape in func.tags and not _is_plain_index(func, args):
            raise RuntimeError("a shape depends on numbers")
        kwargs = kwargs or {}
        if func in _COSTLY or torch.Tag.pointwise in func.tags:
            if func._schema.is_mutable and args[0].numel() > _SMALL:
                return args[0]
            if not func._schema.is_mutable:
                like = func(*map(_on_meta, args), **{name: _on_meta(value) for name, value in kwargs.items()})
                if isinstance(like, tuple):
                    return tuple(map(_zeros, like))
                if like.is_floating_point() and (func in _COSTLY or like.numel() > _SMALL):
                    return _zeros(like)
        result = func(*args, **kwargs)
        if isinstance(result, torch.Tensor) and result.dim() == 0 and all(map(self._is_right, tensors_in(args))):
            self._right[result] = True
        return result

    def _is_right(self, tensor: torch.Tensor) -> bool:
        return tensor.dtype in _INTEGERS or tensor in self._right


def _is_plain_index(func: Any, args: tuple[Any, ...]) -> bool:
    """Say whether it indexes by integers, whose shape is known, and not by a mask."""
    return func is torch.ops.aten.index.Tensor and not any(
        index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
    )


def _on_meta(value: Any) -> Any:
    """Return a tensor's shape and layout, without its numbers."""
    if not isinstance(value, torch.Tensor) or value.dim() == 0:
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")


def _zeros(like: torch.Tensor) -> torch.Tensor:
    """Return zeros that take no memory until they are written to: numpy asks the system for empty pages."""
    dtype = np.int64 if like.dtype == torch.int64 else np.float32
    flat = torch.from_numpy(np.zeros(like.numel(), dtype=dtype)).to(like.dtype)
    return flat.as_strided(like.shape, like.stride())


_SMALL = 1 << 14
"""Numbers of the largest elementwise result that is computed."""

_READS = frozenset({torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.__array__})
"""Ways to read a tensor that are not operators."""

_INTEGERS = (torch.int64, torch.int32)
"""Element types of sizes, which are always right."""

_COSTLY = frozenset(
    {
        torch.ops.aten._convolution.default,
        torch.ops.aten.mm.default,
        torch.ops.aten.bmm.default,
        torch.ops.aten.addmm.default,
        torch.ops.aten.baddbmm.default,
        torch.ops.aten.constant_pad_nd.default,
        torch.ops.aten.max_pool2d_with_indices.default,
        torch.ops.aten.native_group_norm.default,
    }
)

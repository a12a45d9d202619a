"""Make weight standardisation exportable, for as long as a `with` block lasts.

Weight standardisation is written with fused calls for which ONNX has no operator at the older opsets, or whose
exported form runtimes refuse: `torch.std_mean` (timm 0.4.5 to 0.4.9), `torch.var_mean` (ports
of BiT), `F.batch_norm` in training mode (timm 0.4.12 and later) and `F.layer_norm` on a weight. Inside the
block each of these, called on a weight, becomes separate mean and std or variance calls, by a torch function mode:
neither the model nor torch is changed.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

Tensor = torch.Tensor


@contextlib.contextmanager
def traceable(model: torch.nn.Module, *, constant_pads: bool = False) -> Iterator[torch.nn.Module]:
    """Yield the model; its weight standardisation runs as separate calls until the block ends.

    Only calls whose tensors all come from parameters are rewritten; the same functions on activations run
    unchanged. With constant_pads, sizes that F.pad computes from its input's shape ('SAME' padding) are
    taken as constants, which is right when height and width are fixed. Blocks may be nested, and an error
    inside leaves no change. Attention runs unfused meanwhile, as its fused form has no ONNX operator
    below opset 14.
    """
    with _unfused_attention(model), _SeparateCalls(constant_pads=constant_pads):
        yield model


@contextlib.contextmanager
def plain_weights(model: torch.nn.Module, names: Collection[str]) -> Iterator[torch.nn.Module]:
    """Yield the model; the convolutions with these weights do not standardise them until the block ends.

    For a trace whose weights are standardised afterwards. The layers are timm's: a convolution in two
    dimensions, padded by pad_same if it says so. An error inside leaves no change."""
    layers = [model.get_submodule(name.rpartition(".")[0]) for name in names]
    try:
        for layer in layers:
            layer.forward = functools.partial(_convolve, layer)
        yield model
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


def _convolve(layer: Any, x: Tensor) -> Tensor:
    if getattr(layer, "same_pad", False):
        x = sys.modules[type(layer).__module__].pad_same(x, layer.kernel_size, layer.stride, layer.dilation)
    return F.conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)


def standardise_like_std_mean(
    function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """Return what torch.std_mean or torch.var_mean returns, from function (torch.std, torch.var) and mean.

    Accepts every calling form of the two: dim, unbiased, correction, keepdim, in any order that they accept.
    """
    spread = function(*args, **kwargs)
    rest = {key: value for key, value in kwargs.items() if key not in ("unbiased", "correction")}
    tensor = args[0] if args else rest.pop("input")
    positional = args[1:]
    if positional and not isinstance(positional[0], bool):
        rest["dim"] = positional[0]
        if len(positional) == 3:
            rest["keepdim"] = positional[2]
    if rest.get("dim") is None:
        rest["dim"] = tuple(range(tensor.dim()))
    return spread, torch.mean(tensor, **rest)


def standardise_like_batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return what F.batch_norm returns in training mode without running statistics.

        y[:, c] = weight[c] · (x[:, c] − mean(x[:, c])) / sqrt(var(x[:, c]) + eps) + bias[c]

    input [N, C, …]; mean and var run over all axes but the second; var is biased.
    Source: timm ≥ 0.4.12, layers/std_conv.py, with x = the weight as [1, O, I·kH·kW] and weight = gain·scale.
    """
    dims = tuple(axis for axis in range(input.dim()) if axis != 1)
    shape = [1, -1] + [1] * (input.dim() - 2)
    output = _normalise(input, dims, eps)
    if weight is not None:
        output = output * weight.reshape(shape)
    return output if bias is None else output + bias.reshape(shape)


def standardise_like_layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Return what F.layer_norm returns: mean and biased variance over the last len(normalized_shape) axes.

    Source: timm 0.4.9, models/layers/std_conv.py with use_layernorm, on the weight [O, I/groups, kH, kW].
    """
    output = _normalise(input, tuple(range(-len(normalized_shape), 0)), eps)
    if weight is not None:
        output = output * weight
    return output if bias is None else output + bias


def _normalise(tensor: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    mean = torch.mean(tensor, dim=dims, keepdim=True)
    variance = torch.var(tensor, dim=dims, unbiased=False, keepdim=True)
    return (tensor - mean) / torch.sqrt(variance + eps)


class _SeparateCalls(TorchFunctionMode):
    """Rewrites the fused calls on tensors that are computed from parameters alone, and tracks which these are."""

    def __init__(self, *, constant_pads: bool) -> None:
        super().__init__()
        self._constant_pads = constant_pads
        self._from_parameters: WeakIdKeyDictionary = WeakIdKeyDictionary()

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        tensors = [*tensors_in(args), *tensors_in(tuple(kwargs.values()))]
        on_weights = bool(tensors) and all(map(self._is_from_parameters, tensors))
        if on_weights:
            result = _run_on_weights(func, args, kwargs)
            for tensor in tensors_in((result,)):
                self._from_parameters[tensor] = True
            return result
        if func is F.pad and self._constant_pads:
            args, kwargs = _with_constant_pads(args, kwargs)
        if func is torch.Tensor.unfold:
            return gather_windows(*args, **kwargs)
        return func(*args, **kwargs)

    def _is_from_parameters(self, tensor: Tensor) -> bool:
        # torch.export replaces parameters by fake tensors, which still call themselves parameters
        return isinstance(tensor, torch.nn.Parameter) or tensor in self._from_parameters


def _run_on_weights(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if func is torch.std_mean:
        return standardise_like_std_mean(torch.std, args, kwargs)
    if func is torch.var_mean:
        return standardise_like_std_mean(torch.var, args, kwargs)
    if func is F.layer_norm:
        return standardise_like_layer_norm(*args, **kwargs)
    if func is F.batch_norm and _uses_batch_statistics(*args, **kwargs):
        return standardise_like_batch_norm(*args, **kwargs)
    return func(*args, **kwargs)


def _uses_batch_statistics(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    *_: Any,
    **__: Any,
) -> bool:
    return training and running_mean is None and running_var is None


def _with_constant_pads(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if len(args) > 1:
        return (args[0], [int(size) for size in args[1]], *args[2:]), kwargs
    return args, {**kwargs, "pad": [int(size) for size in kwargs["pad"]]}


def gather_windows(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Return what Tensor.unfold returns: the windows of a dimension, each along a new last one.

        y[…, w, …, i] = x[…, w · step + i, …]

    TorchScript's exporter unfolds only what it knows the shape of, and dynamo's builds a loop over a sequence, which
    onnx's checker refuses. The dimension is taken as fixed, as pads are. Source: HaloNet, timm's layers/halo_attn.py.
    """
    axis = dimension % input.dim()
    count = (int(input.shape[axis]) - size) // step + 1
    index = torch.arange(count)[:, None] * step + torch.arange(size)
    windows = torch.index_select(input, axis, index.flatten())
    shape = [*input.shape[:axis], count, size, *input.shape[axis + 1 :]]
    return windows.reshape(shape).movedim(axis + 1, -1)


def tensors_in(values: Any) -> Iterator[Tensor]:
    """Yield the tensors among values, in nested lists and tuples too."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from tensors_in(value)


@contextlib.contextmanager
def _unfused_attention(model: torch.nn.Module) -> Iterator[None]:
    fused = [module for module in model.modules() if getattr(module, "fused_attn", None) is True]
    for module in fused:
        module.fused_attn = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for module in fused:
            module.fused_attn = True  # type: ignore[assignment]

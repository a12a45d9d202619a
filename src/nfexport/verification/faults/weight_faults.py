"""Faults in the weights and constants of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from nfexport.verification.faults.fault import Fault, floating, nodes, set_own_values, set_values

Array = NDArray[Any]
Change = Callable[[Array], Array]
WEIGHTED = ("Conv", "Gemm", "MatMul")
STEP = 0.01


def weights_of(model: onnx.ModelProto) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Yield node, initializer and shape of each weight of a Conv, Gemm or MatMul."""
    known = floating(model)
    for _, node in nodes(model, *WEIGHTED):
        if len(node.input) > 1 and node.input[1] in known and len(known[node.input[1]].dims) > 1:
            yield node.name, node.input[1], tuple(known[node.input[1]].dims)


def _each_weight(kind: str, change: Change, *, only: Callable[[tuple[int, ...]], bool] = lambda shape: True):  # type: ignore[no-untyped-def]
    def places(model: onnx.ModelProto) -> Iterator[Fault]:
        for node, name, shape in weights_of(model):
            if only(shape):
                yield Fault(kind=kind, node=node, change=_setting(name, change))

    return places


def _setting(name: str, change: Change) -> Callable[[onnx.ModelProto], None]:
    return lambda model: set_values(model, name, change)


def _noise(array: Array) -> Array:
    """Return the weight off by 1 % of its standard deviation, at random."""
    generator = np.random.Generator(np.random.Philox(key=array.size))
    return np.asarray(array + STEP * array.std() * generator.choice((-1.0, 1.0), array.shape))


def _swap_first_two(array: Array) -> Array:
    return np.concatenate([array[1::-1], array[2:]])


def _halve_one(array: Array) -> Array:
    changed = array.copy()
    changed[len(array) // 2] *= 0.5
    return changed


def _rescaled(array: Array) -> Array:
    """Return every filter with the same standard deviation: a weight without the gain."""
    spread = array.std(axis=tuple(range(1, array.ndim)), keepdims=True)
    return np.asarray(array * np.where(spread > 0, spread.mean() / np.where(spread > 0, spread, 1), 1))


def _shifted(array: Array) -> Array:
    """Return filters whose mean was not subtracted: a mean of a hundredth of their deviation is added."""
    return np.asarray(array + STEP * array.std(axis=tuple(range(1, array.ndim)), keepdims=True))


def swapped_weights(model: onnx.ModelProto) -> Iterator[Fault]:
    """Yield pairs of weights of the same shape in each other's place."""
    last: dict[tuple[int, ...], tuple[str, str]] = {}
    for node, name, shape in weights_of(model):
        if shape in last and last[shape][1] != name:
            before, other = last[shape]

            def change(copy: onnx.ModelProto, first: str = other, second: str = name) -> None:
                known = floating(copy)
                known[first].name, known[second].name = second, first

            yield Fault(kind="two weights of one shape swapped", node=before, change=change)
        last[shape] = (node, name)


def zeroed_biases(model: onnx.ModelProto) -> Iterator[Fault]:
    """Yield each bias of a convolution or a Gemm set to 0."""
    known = floating(model)
    for _, node in nodes(model, "Conv", "Gemm"):
        if len(node.input) > 2 and node.input[2] in known:
            yield Fault(kind="a bias zeroed", node=node.name, change=_setting(node.input[2], np.zeros_like))


def constants(model: onnx.ModelProto) -> Iterator[Fault]:
    """Yield changed scalars of formulas: alpha, beta, gains, the 0.5 and √2 of Gelu, and eps."""
    known = floating(model)
    for position, node in nodes(model, "Add", "Sub", "Mul", "Div", "Pow", "Clip"):
        for index, name in enumerate(node.input):
            if name not in known or int(np.prod(known[name].dims)) != 1:
                continue
            value = float(onnx.numpy_helper.to_array(known[name]).reshape(-1)[0])
            if value == 0 or not np.isfinite(value):
                continue
            if node.op_type == "Add" and 0 < abs(value) <= 1e-3:
                for factor in (10, 100):
                    yield Fault(
                        kind=f"eps {factor} times as large", node=node.name, change=_one(position, index, factor)
                    )
            else:
                yield Fault(kind="a constant off by 1 %", node=node.name, change=_one(position, index, 1 + STEP))


def _one(position: int, index: int, factor: float) -> Callable[[onnx.ModelProto], None]:
    return lambda model: set_own_values(model, position, index, lambda array: array * factor)


KINDS: tuple[Callable[[onnx.ModelProto], Iterator[Fault]], ...] = (
    _each_weight("a weight 1 % too large", lambda array: array * (1 + STEP)),
    _each_weight("a weight with 1 % of noise", _noise),
    _each_weight("a weight rounded to float16", lambda array: array.astype(np.float16)),
    _each_weight("filters of equal strength: no gain", _rescaled, only=lambda shape: int(np.prod(shape[1:])) > 1),
    _each_weight("a mean left in the filters", _shifted),
    _each_weight("two output channels swapped", _swap_first_two),
    _each_weight("one filter at half its strength", _halve_one),
    _each_weight("mirrored kernels", lambda array: array[..., ::-1], only=lambda s: len(s) == 4 and s[3] > 1),
    _each_weight("transposed kernels", lambda a: np.swapaxes(a, 2, 3), only=lambda s: len(s) == 4 and s[3] > 1),
    swapped_weights,
    zeroed_biases,
    constants,
)

"""Constants that take up a factor: the weight and bias of Conv, ConvTranspose, Gemm and MatMul, and an addend.

    Conv(a·x, w', b') = c·Conv(x, w, b)   with   w'[o,i] = c[o]·w[o,i] / a[i],   b'[o] = c[o]·b[o]

Zero padding is compatible with a pure scale, as 0 · s = 0. Factors are accumulated in float64 and written once all
are known, so that each weight is rounded once.

A factor is refused where a result overflows its type, where a normal number would become zero, or where a
filter's largest entry would leave the range of normal numbers, below which precision is lost.
"""

from __future__ import annotations

from typing import Any

import msgspec

from nfexport.graph import constants, edit
from nfexport.graph.libraries import Array, ir, np
from nfexport.graph.value_facts import dims
from nfexport.passes.folds.scales.factor import Factor, Refusal

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


class Scaling(msgspec.Struct, frozen=True, eq=False):
    """An input of a node, and the float64 numbers, broadcastable to it, that it is multiplied by.

    filter_axis is the axis of the weight that runs over filters, None if the constant is not a weight."""

    node: ir.Node
    index: int
    numbers: Array
    filter_axis: int | None = None


def fixed(value: ir.Value | None) -> Array | None:
    """Return the array of a float constant that the caller of the file cannot replace; else None."""
    tensor = fixed_tensor(value)
    return None if tensor is None else tensor.numpy()


def fixed_tensor(value: ir.Value | None) -> ir.TensorProtocol | None:
    """Return such a constant for its shape, without computing its numbers."""
    if value is None or (value.const_value is None and value.dtype is None):
        return None
    tensor = constants.fixed_tensor(value)
    return tensor if tensor is not None and _is_numpy_float(tensor.dtype) else None


def _is_numpy_float(dtype: ir.DataType) -> bool:
    return dtype in (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)


def _shape(value: ir.Value | None) -> tuple[int, ...]:
    tensor = fixed_tensor(value)
    assert tensor is not None
    return tuple(tensor.shape.numpy())


def constant_operand(node: ir.Node) -> int | None:
    """Return which of an operator's two inputs is the constant; None if neither or both are."""
    known = [index for index in (0, 1) if fixed_tensor(node.inputs[index]) is not None]
    return known[0] if len(known) == 1 and len(node.inputs) == 2 else None


def take_up(node: ir.Node, into: Factor, out: Factor) -> list[Scaling]:
    """Return what to multiply a weighted operator's constants with, if its input comes multiplied by into and
    its output is wanted multiplied by out. Raises Refusal where it cannot."""
    if node.op_type == "MatMul":
        return _matmul(node, into, out)
    if fixed_tensor(node.inputs[1]) is None:
        raise Refusal(f"the weight of node '{node.name}' ({node.op_type}) is not constant")
    has_bias = len(node.inputs) > 2 and node.inputs[2] is not None
    if has_bias and not out.is_one and fixed_tensor(node.inputs[2]) is None:
        raise Refusal(f"the bias of node '{node.name}' ({node.op_type}) is not constant")
    scale, filter_axis = (_gemm if node.op_type == "Gemm" else _convolution)(node, into, out)
    scalings = [Scaling(node, 1, scale, filter_axis)]
    if has_bias and not out.is_one:
        scalings.append(Scaling(node, 2, out.values))
    return scalings


def _convolution(node: ir.Node, into: Factor, out: Factor) -> tuple[Array, int]:
    shape = _shape(node.inputs[1])
    groups = node.attributes.get_int("group", 1)
    transposed = node.op_type == "ConvTranspose"
    kernel = (1,) * (len(shape) - 2)
    # the weight's first axis runs over all channels of one side, its second over one group of the other
    first, second = (into.inverse(), out) if transposed else (out, into.inverse())
    rows = _channels(node, first, 1, shape[0])
    columns = _channels(node, second, 1, groups * shape[1])
    if columns.size > 1:
        columns = np.repeat(columns.reshape(groups, -1), shape[0] // groups, axis=0)
    return rows.reshape(-1, 1, *kernel) * columns.reshape(*columns.shape[:-1], -1, *kernel), int(transposed)


def _gemm(node: ir.Node, into: Factor, out: Factor) -> tuple[Array, int]:
    shape = _shape(node.inputs[1])
    transposed = [bool(node.attributes.get_int(name, 0)) for name in ("transA", "transB")]
    terms, columns = shape[::-1] if transposed[1] else shape
    rows = _channels(node, into.inverse(), 0 if transposed[0] else 1, terms).reshape(-1, 1)
    scale = rows * _channels(node, out, 1, columns)
    return (scale.T, 0) if transposed[1] else (scale, 1)


def _matmul(node: ir.Node, into: Factor, out: Factor) -> list[Scaling]:
    index = constant_operand(node)
    if index is None:
        raise Refusal(f"node '{node.name}' (MatMul) has no constant weight")
    weight, data = _shape(node.inputs[index]), node.inputs[1 - index]
    assert data is not None
    if into.axis is None and out.axis is None:
        return [Scaling(node, index, np.asarray(out.values / into.values), None)]
    shape = dims(data)
    if index == 0 or len(weight) != 2 or shape is None or len(shape) < 2:
        raise Refusal(f"node '{node.name}' (MatMul) takes no factor for each channel")
    rows = _channels(node, into.inverse(), len(shape) - 1, weight[0]).reshape(-1, 1)
    return [Scaling(node, 1, rows * _channels(node, out, len(shape) - 1, weight[1]), 1)]


def _channels(node: ir.Node, factor: Factor, axis: int, size: int) -> Array:
    """Return the factor as a vector over this many channels, or over one for all."""
    if factor.axis is not None and (factor.axis != axis or factor.values.size != size):
        raise Refusal(f"node '{node.name}' ({node.op_type}) mixes the axis along which the factor varies")
    return factor.values.reshape(-1)


def scale_addend(node: ir.Node, index: int, out: Factor) -> list[Scaling]:
    """Return the scaling of the constant operand of Add or Sub whose output is wanted multiplied by out."""
    if out.is_one:
        return []
    addend, shape = fixed_tensor(node.inputs[index]), dims(node.outputs[0])
    if addend is None or (out.axis is not None and shape is None):
        raise Refusal(f"the addend of node '{node.name}' ({node.op_type}) is not constant")
    if out.axis is None:
        return [Scaling(node, index, out.values)]
    assert shape is not None
    return [Scaling(node, index, out.shaped(len(shape)))]


class Ledger:
    """The factors gathered for each constant, until they are written."""

    def __init__(self) -> None:
        self._gathered: dict[tuple[ir.Node, int], Scaling] = {}

    def add(self, scalings: list[Scaling]) -> None:
        """Gather all of them, or none. Raises Refusal if a result leaves the range of its type."""
        merged = [self._merge(scaling) for scaling in scalings]
        for scaling in merged:
            _round(scaling)
        self._gathered.update({(scaling.node, scaling.index): scaling for scaling in merged})

    def _merge(self, new: Scaling) -> Scaling:
        old = self._gathered.get((new.node, new.index))
        return new if old is None else msgspec.structs.replace(new, numbers=old.numbers * new.numbers)

    def write(self, graph: ir.Graph) -> int:
        """Replace the constants by the scaled ones and return how many; sharers of one that are scaled alike
        go on sharing."""
        alike: dict[tuple[ir.Value, tuple[int, ...], bytes], list[Scaling]] = {}
        for (node, index), scaling in self._gathered.items():
            value = node.inputs[index]
            assert value is not None
            alike.setdefault((value, scaling.numbers.shape, scaling.numbers.tobytes()), []).append(scaling)
        for (old, *_), scalings in alike.items():
            array = _round(scalings[0])
            name = str(old.name)
            if old.is_initializer() and len(old.uses()) == len(scalings) and not old.is_graph_output():
                del graph.initializers[name]
            new = edit.add_initializer(graph, name, array)
            for scaling in scalings:
                scaling.node.replace_input_with(scaling.index, new)
            if not old.uses() and not old.is_graph_output():
                old.const_value = None  # its memory is free at once, and not when all are written
        self._gathered.clear()
        return len(alike)


def _round(scaling: Scaling) -> Array:
    """Return the scaled constant in its own type. Raises Refusal if it leaves the type's range."""
    value = scaling.node.inputs[scaling.index]
    assert value is not None
    edit.computed_once(value)
    old = fixed(value)
    assert old is not None
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        new = np.asarray(old.astype(np.float64) * scaling.numbers).astype(old.dtype)
    name = f"'{value.name}' in {ir.DataType.from_numpy(old.dtype).name.lower()}"
    if not np.isfinite(new).all():
        raise Refusal(f"the factor would overflow {name}")
    tiny = np.finfo(old.dtype).tiny
    if ((new == 0) & (np.abs(old) >= tiny)).any() or _filters_below(new, tiny, scaling.filter_axis) > _filters_below(
        old, tiny, scaling.filter_axis
    ):
        raise Refusal(f"the factor would underflow {name}")
    return new


def _filters_below(array: Array, tiny: Any, axis: int | None) -> int:
    """Count the filters whose largest entry is smaller than the smallest normal number."""
    if axis is None or not array.size:
        return 0
    largest = np.abs(array).max(axis=tuple(a for a in range(array.ndim) if a != axis))
    return int((largest < tiny).sum())

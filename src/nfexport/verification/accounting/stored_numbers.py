"""The numbers that the nodes of an ONNX file read, and what the nodes read them for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from nfexport.graph.edit import constant_tensor, nodes_with_subgraphs
from nfexport.runtimes import Model

FLOATS = {ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16}
QUANTISED = {ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT32}
THROUGH = frozenset({"Cast", "Identity", "DequantizeLinear", "Transpose", "Reshape", "Unsqueeze", "Squeeze"})
"""Operators between a stored tensor and the layer that it belongs to."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """One stored tensor.

    array is in the file's own type, or, where integers stand for floats, the floats; half_step is half a step of the
    scale of integers; was_half says that its numbers may have been rounded to float16 before. operator and position
    say which node reads it first, and as which input; transposed says that a layer reads it as [inputs, outputs];
    groups are those of a convolution."""

    name: str
    array: NDArray[Any]
    operator: str = ""
    position: int = 0
    transposed: bool = False
    groups: int = 1
    half_step: NDArray[np.float64] | None = None
    was_half: bool = False

    @property
    def unit(self) -> float:
        """Half a unit in the last place of float16, relative; 0 for types that the limit covers anyway."""
        return 2.0**-11 if self.array.dtype == np.float16 or self.was_half else 0.0

    @property
    def is_weight(self) -> bool:
        """True for the weight or bias of a layer."""
        products = {"Conv": (1, 2), "ConvTranspose": (1, 2), "Gemm": (0, 1, 2), "MatMul": (0, 1)}
        norms = {"BatchNormalization": (1, 2, 3, 4), "LayerNormalization": (1, 2), "InstanceNormalization": (1, 2)}
        return self.position in (products | norms).get(self.operator, ())


def stored_numbers(model: Model) -> Iterator[Stored]:
    """Yield the float tensors that nodes of the file read, and the integers that stand for floats; each tensor once.

    External data is mapped, one tensor at a time."""
    loaded = ir.from_proto(onnx.load_from_string(model)) if isinstance(model, bytes) else ir.load(model)
    seen: set[ir.Value] = set()
    for node, _ in nodes_with_subgraphs(loaded.graph):
        for value in node.inputs:
            if value is None or value in seen or (tensor := constant_tensor(value)) is None:
                continue
            seen.add(value)
            if tensor.dtype in FLOATS:
                yield _described(value, tensor.numpy())
            elif tensor.dtype in QUANTISED and node.op_type == "DequantizeLinear" and value is node.inputs[0]:
                yield _dequantised(value, tensor.numpy(), node)


def _described(value: ir.Value, array: NDArray[Any], half_step: NDArray[np.float64] | None = None) -> Stored:
    reader, position, flips = value, 0, 0
    use = next(iter(value.uses()), None)
    while use is not None and use.node.op_type in THROUGH and use.idx == 0:
        flips += use.node.op_type == "Transpose" and array.ndim == 2
        reader = use.node.outputs[0]
        use = next(iter(reader.uses()), None)
    node = None if use is None else use.node
    position = 0 if use is None else use.idx
    name = str(value.name)
    if node is None:
        return Stored(name=name, array=array, half_step=half_step)
    rows_last = node.op_type == "MatMul" and position == 1
    if node.op_type == "Gemm" and position == 1:
        rows_last = not node.attributes.get_int("transB", 0)
    if node.op_type == "Gemm" and position == 0:
        rows_last = bool(node.attributes.get_int("transA", 0))
    return Stored(
        name=name,
        array=array,
        operator=node.op_type,
        position=position,
        transposed=rows_last != bool(flips % 2) or node.op_type == "ConvTranspose",
        groups=node.attributes.get_int("group", 1) if "Conv" in node.op_type else 1,
        half_step=half_step,
    )


def _dequantised(value: ir.Value, array: NDArray[Any], node: ir.Node) -> Stored:
    scale, zero = (constant_tensor(one) for one in (*node.inputs[1:3], None, None)[:2])
    if scale is None:
        return _described(value, array.astype(np.float64))
    steps = scale.numpy().astype(np.float64)
    offset = np.zeros(()) if zero is None else zero.numpy().astype(np.float64)
    if steps.ndim:
        axis = node.attributes.get_int("axis", 1)
        shape = [-1 if index == axis % array.ndim else 1 for index in range(array.ndim)]
        steps, offset = steps.reshape(shape), offset.reshape(shape) if offset.ndim else offset
    floats = (array - offset) * steps
    return _described(value, floats, np.broadcast_to(steps / 2, floats.shape))

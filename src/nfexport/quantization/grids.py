"""The Q and DQ nodes of an int8 graph: their scales and zero points, and how they round a number.

q = clip(round(x / s) + z),    x' = s · (q − z)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from nfexport.errors import PassError

Array = NDArray[Any]
QUANTIZE_LINEAR, DEQUANTIZE_LINEAR = "QuantizeLinear", "DequantizeLinear"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """The numbers that an integer type represents: scale s and zero point z, one each, or one per entry of axis."""

    scale: NDArray[np.float64]
    zero: NDArray[np.int64]
    lowest: int
    highest: int
    axis: int | None = None

    def along(self, values: Array, rank: int) -> Array:
        """Return the scale or the zero point in a shape that broadcasts against a tensor of this rank."""
        if self.axis is None or values.ndim == 0:
            return values.reshape(())
        return values.reshape([-1 if index == self.axis else 1 for index in range(rank)])

    def steps(self, rank: int) -> Array:
        """Return s in a shape that broadcasts against a tensor of this rank."""
        return self.along(self.scale, rank)

    def dequantise(self, stored: Array) -> NDArray[np.float64]:
        """Return x' of the integers q."""
        zero = self.along(self.zero, stored.ndim)
        return np.asarray((stored.astype(np.float64) - zero) * self.steps(stored.ndim))

    def round_trip(self, values: Array) -> NDArray[np.float64]:
        """Return x' of the floats x, through q."""
        zero = self.along(self.zero, values.ndim)
        stored = np.rint(values.astype(np.float64) / self.steps(values.ndim)) + zero
        return self.dequantise(np.clip(stored, self.lowest, self.highest))

    @property
    def range(self) -> tuple[float, float]:
        """The least and the largest x' of a grid with one scale."""
        low, high = ((end - self.zero) * self.scale for end in (self.lowest, self.highest))
        return float(np.min(low)), float(np.max(high))


class Grids:
    """The Q and DQ nodes of a graph, by the names of their tensors."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.stored: Mapping[str, onnx.TensorProto] = {tensor.name: tensor for tensor in model.graph.initializer}
        self.producer = {name: node for node in model.graph.node for name in node.output}

    def behind(self, name: str) -> tuple[str, Grid] | None:
        """Return the source of a DQ node's output and its grid: the name of the float tensor that was quantised, or
        of the stored integers; None for any other tensor.

        Raises PassError for a tensor that was not quantised, or with another scale."""
        node = self.producer.get(name)
        if node is None or node.op_type != DEQUANTIZE_LINEAR:
            return None
        source = node.input[0]
        quantiser = self.producer.get(source)
        if source in self.stored:
            return source, self.grid(node, onnx.helper.tensor_dtype_to_np_dtype(self.stored[source].data_type))
        if quantiser is None or quantiser.op_type != QUANTIZE_LINEAR:
            raise PassError(f"'{name}' is dequantised, but was not quantised", fix="report the file")
        grid = self.grid(quantiser)
        if list(quantiser.input[1:]) != list(node.input[1:]):
            raise PassError(f"'{name}' is quantised by one scale and dequantised by another", fix="report the file")
        return quantiser.input[0], grid

    def grid(self, node: onnx.NodeProto, dtype: np.dtype[Any] | None = None) -> Grid:
        """Return the grid of a Q or DQ node; dtype is that of its integers where it has no zero point."""
        scale = numpy_helper.to_array(self.stored[node.input[1]])
        zero = numpy_helper.to_array(self.stored[node.input[2]]) if len(node.input) > 2 else np.zeros((), dtype)
        limits = np.iinfo(zero.dtype if dtype is None else dtype)
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        return Grid(
            scale=scale.astype(np.float64),
            zero=zero.astype(np.int64),
            lowest=int(limits.min),
            highest=int(limits.max),
            axis=axis if scale.ndim and scale.size > 1 else None,
        )

    def array(self, name: str) -> Array:
        """Return a stored tensor."""
        return np.asarray(numpy_helper.to_array(self.stored[name]))

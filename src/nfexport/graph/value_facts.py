"""Types and shapes of the values of a graph, from the file or by onnx's inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from nfexport.graph.libraries import common_passes, ir

Dims: TypeAlias = "tuple[int | None, ...]"
"""Dimensions, None for each that is symbolic."""


def dims(value: ir.Value) -> Dims | None:
    """Return the dimensions that the file states, None for each that is symbolic; None if the rank is unknown."""
    shape = value.const_value.shape if value.const_value is not None else value.shape
    return None if shape is None else tuple(dim if isinstance(dim, int) else None for dim in shape)


class ValueFacts:
    """Element types and dimensions of a model's values; the model itself is never written to.

    A value that the file says nothing about is looked up in a copy on which onnx's inference ran once. Weights are
    shared with that copy, so it costs a walk over the nodes and hardly any memory.
    """

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self._inferred: dict[ir.Value, ir.Value] | None = None

    def dtype(self, value: ir.Value) -> ir.DataType | None:
        """Return the element type of a tensor; None if it is unknown, or if the value is not a tensor."""
        known = _tensor_dtype(value)
        if known is None and value.type is None:
            twin = self._twin(value)
            return None if twin is None else _tensor_dtype(twin)
        return known

    def dims(self, value: ir.Value) -> Dims | None:
        """Return the dimensions, None for each that is symbolic; None if not even the rank is known."""
        found = dims(value)
        if found is None and (twin := self._twin(value)) is not None:
            return dims(twin)
        return found

    def _twin(self, value: ir.Value) -> ir.Value | None:
        if self._inferred is None:
            self._inferred = _infer(self._model)
        return self._inferred.get(value)


def fill_in(model: ir.Model, values: Sequence[ir.Value]) -> None:
    """Give the values that the file says nothing about the type and shape that onnx infers."""
    if not values:
        return
    twins = _infer(model)
    for value in values:
        twin = twins.get(value)
        if twin is not None:
            value.type = value.type or twin.type
            value.shape = value.shape or twin.shape


def _tensor_dtype(value: ir.Value) -> ir.DataType | None:
    if value.const_value is not None:
        return value.const_value.dtype
    if isinstance(value.type, ir.TensorType) and value.type.dtype != ir.DataType.UNDEFINED:
        return value.type.dtype
    return None


def _infer(model: ir.Model) -> dict[ir.Value, ir.Value]:
    """Map each value of the model to its counterpart in an inferred copy."""
    copy = model.clone()
    # Not strict: a node that onnx cannot infer (a custom one) must not hide what it can.
    common_passes.ShapeInferencePass(check_type=False, strict_mode=False)(copy)
    twins: dict[ir.Value, ir.Value] = {}
    for graph, graph_copy in zip(model.graphs(), copy.graphs(), strict=True):
        twins.update(zip(graph.inputs, graph_copy.inputs, strict=True))
        for node, node_copy in zip(graph, graph_copy, strict=True):
            twins.update(zip(node.outputs, node_copy.outputs, strict=True))
    return twins

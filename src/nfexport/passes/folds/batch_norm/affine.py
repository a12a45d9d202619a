"""What a BatchNormalization computes for each channel, and the layers that take it up: y = scale · x + shift."""

from __future__ import annotations

import dataclasses

from nfexport.graph import edit
from nfexport.graph.constants import FreeNames, set_constant
from nfexport.graph.libraries import Array, ir, np
from nfexport.graph.recognisers import is_operator
from nfexport.graph.value_facts import dims

LAYOUT = ("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze")
"""Operators that move numbers without changing them."""


@dataclasses.dataclass(frozen=True)
class Affine:
    """A factor and two offsets for each channel, in float64: scale · (x − mean) + offset.

    name is that of the stored offset."""

    scale: Array
    mean: Array
    offset: Array
    name: str

    @property
    def shift(self) -> Array:
        """What 0 becomes."""
        return self.moved(np.zeros_like(self.mean))

    def moved(self, bias: Array) -> Array:
        """Return what a bias becomes."""
        return (bias - self.mean) * self.scale + self.offset

    @classmethod
    def of(cls, node: ir.Node) -> Affine:
        """Return what a BatchNormalization with constant statistics computes."""
        scale, offset, mean, var = (float64(value) for value in node.inputs[1:5])
        factor = scale / np.sqrt(var + node.attributes.get_float("epsilon", 1e-5))
        return cls(factor, mean, offset, str(node.inputs[2].name if node.inputs[2] is not None else ""))


def float64(value: ir.Value | None) -> Array:
    """Return a constant in float64."""
    array = edit.constant(value)
    assert array is not None
    return array.astype(np.float64)


def bias_of(layer: ir.Node) -> ir.Value | None:
    """Return the bias of a Conv or a Gemm."""
    return layer.inputs[2] if len(layer.inputs) > 2 else None


def is_constant_layer(layer: ir.Node) -> bool:
    """Say whether a Conv, Gemm or MatMul has a constant weight, for all of a batch, and a constant bias if any."""
    weight = edit.constant_tensor(layer.inputs[1])
    if weight is None or (bias_of(layer) is not None and edit.constant(bias_of(layer)) is None):
        return False
    return is_operator(layer, "Conv") or (len(weight.shape) == 2 and not layer.attributes.get_int("transA", 0))


def feature_axis(layer: ir.Node) -> int | None:
    """Return the axis of a layer's output along which its filters lie; None if the rank is unknown."""
    if not is_operator(layer, "MatMul"):
        return 1
    shape = dims(layer.outputs[0])
    return None if shape is None or len(shape) < 2 else len(shape) - 1


def write(graph: ir.Graph, node: ir.Node, index: int, exact: Array, *, named: str | None = None) -> None:
    """Replace a constant input by float64 numbers, rounded once to its type, or to that of the weight."""
    old = node.inputs[index] if index < len(node.inputs) else None
    tensor = edit.constant_tensor(node.inputs[1] if old is None else old)
    assert tensor is not None
    set_constant(graph, node, index, exact.astype(tensor.dtype.numpy()), named=named)


def offset_behind(product: ir.Node) -> tuple[ir.Node, int] | None:
    """Return the sum that adds a constant vector of features to a MatMul, and which operand that is."""
    behind = edit.sole_consumer(product.outputs[0])
    if behind is None or not is_operator(behind, "Add"):
        return None
    index = 1 if behind.inputs[0] is product.outputs[0] else 0
    tensor = edit.constant_tensor(behind.inputs[index])
    if tensor is None or len(tensor.shape) != 1 or tensor.dtype != behind.outputs[0].dtype:
        return None
    return behind, index


def add_offset(graph: ir.Graph, product: ir.Node, shift: Array, name: str) -> None:
    """Add a vector of features to what a MatMul gives, in the sum behind it if there is one."""
    found = offset_behind(product)
    if found is not None:
        node, index = found
        write(graph, node, index, float64(node.inputs[index]) + shift)
        return
    old, tensor = product.outputs[0], edit.constant_tensor(product.inputs[1])
    assert tensor is not None
    names = FreeNames(graph)
    stored = edit.add_initializer(graph, names.take(name), shift.astype(tensor.dtype.numpy()))
    node = ir.node("Add", [None, stored], name=names.take(f"{str(product.name).rpartition('/')[0]}/Add"))
    new = node.outputs[0]
    new.name, new.shape, new.type = names.take(f"{node.name}_output"), old.shape, old.type
    edit.replace_value(old, new)
    old.name = old.name or names.take(f"{product.name}_output")
    node.replace_input_with(0, old)
    graph.insert_after(product, node)

"""One fault, and what the modules of this package share to make one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

INSERTED = "fault"
"""Prefix of the names of inserted nodes and tensors; a number follows."""

Change = Callable[[onnx.ModelProto], None]
Link = tuple[str, list[Any], dict[str, Any]]
"""A node to be inserted: its operator, its inputs and its attributes. An input '' is the output of the node in
front of it, another string the name of a tensor, and a number or array a constant."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fault:
    """kind says what is wrong and node at which node, by its name; change does it, in place, to a model equal to
    the one that the fault was made for. inserted says that the node itself stays as it is, and that others are put
    next to it."""

    kind: str
    node: str
    change: Change
    inserted: bool = False


def initializers(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Return the initializers by name."""
    return {tensor.name: tensor for tensor in model.graph.initializer}


def floating(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Return the initializers of float32, by name."""
    return {n: t for n, t in initializers(model).items() if t.data_type == onnx.TensorProto.FLOAT}


def set_values(model: onnx.ModelProto, name: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    """Replace the values of an initializer; its type stays."""
    tensor = initializers(model)[name]
    old = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(change(old).astype(old.dtype)), name))


def set_own_values(
    model: onnx.ModelProto, position: int, index: int, change: Callable[[NDArray[Any]], NDArray[Any]]
) -> None:
    """Replace an initializer at one node only: other nodes that read it keep the old values."""
    node = model.graph.node[position]
    old = numpy_helper.to_array(initializers(model)[node.input[index]])
    name = f"{INSERTED}/{node.input[index]}"
    values = np.ascontiguousarray(change(old).astype(old.dtype)).reshape(old.shape)
    model.graph.initializer.append(numpy_helper.from_array(values, name))
    node.input[index] = name


def nodes(model: onnx.ModelProto, *operators: str) -> Iterator[tuple[int, onnx.NodeProto]]:
    """Yield the top-level nodes of these operators with their positions."""
    for position, node in enumerate(model.graph.node):
        if node.op_type in operators:
            yield position, node


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """Return the value of an attribute, or the default if the node does not have it."""
    return next((helper.get_attribute_value(entry) for entry in node.attribute if entry.name == name), default)


def set_attribute(node: onnx.NodeProto, name: str, value: Any) -> None:
    """Set an attribute, or replace it."""
    for entry in list(node.attribute):
        if entry.name == name:
            node.attribute.remove(entry)
    node.attribute.append(helper.make_attribute(name, value))


def insert_before(model: onnx.ModelProto, position: int, index: int, chain: Sequence[Link]) -> None:
    """Insert a chain of nodes in front of input `index` of a node."""
    node = model.graph.node[position]
    node.input[index] = _insert(model, position, node.input[index], chain)


def insert_after(model: onnx.ModelProto, position: int, chain: Sequence[Link]) -> None:
    """Insert a chain of nodes after the first output of a node; the last of them takes over its name."""
    node = model.graph.node[position]
    name, node.output[0] = node.output[0], f"{INSERTED}/{node.output[0]}"
    _insert(model, position + 1, node.output[0], chain)
    model.graph.node[position + len(chain)].output[0] = name


def inserting_before(position: int, index: int, *chain: Link) -> Change:
    """Return the change that insert_before makes."""
    return lambda model: insert_before(model, position, index, chain)


def inserting_after(position: int, *chain: Link) -> Change:
    """Return the change that insert_after makes."""
    return lambda model: insert_after(model, position, chain)


def _insert(model: onnx.ModelProto, position: int, source: str, chain: Sequence[Link]) -> str:
    """Insert a chain of nodes at a position, and return the name of its output."""
    for number, (operator, given, attributes) in enumerate(chain):
        names = []
        for place, item in enumerate(given):
            if isinstance(item, str):
                names.append(source if item == "" else item)
            else:
                names.append(f"{INSERTED}_{number}/{place}")
                model.graph.initializer.append(numpy_helper.from_array(np.asarray(item), names[-1]))
        output = f"{INSERTED}_{number}/output"
        node = helper.make_node(operator, names, [output], name=f"{INSERTED}_{number}", **attributes)
        model.graph.node.insert(position + number, node)
        source = output
    return source

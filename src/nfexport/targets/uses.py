"""Walk a model node by node, with what is known of each: its opset, its producers, and what is constant.

Subgraphs see the names around them; a local function is a graph of its own, whose inputs are not constant.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.defs
from numpy.typing import NDArray

from nfexport.graph.header import read_header
from nfexport.graph.proto_graphs import subgraphs
from nfexport.graph.recognisers import DEFAULT_DOMAIN, computes_constant, is_operator, label, operator_name

SMALL = 1024
"""Bytes of an initializer up to which its values are kept: pads, axes and sizes, but no weights."""


class Scope:
    """The names that a graph's nodes can read."""

    def __init__(
        self,
        nodes: Iterable[onnx.NodeProto],
        initializers: Iterable[onnx.TensorProto] = (),
        outputs: Iterable[str] = (),
        outer: Scope | None = None,
    ) -> None:
        self._outer = outer
        self._constants: dict[str, onnx.TensorProto | None] = {tensor.name: tensor for tensor in initializers}
        self._producers: dict[str, onnx.NodeProto] = {}
        self._readers = collections.Counter(outputs)
        for node in nodes:
            self._readers.update(_names_read(node))
            values = dict.fromkeys(node.output)
            self._producers.update(dict.fromkeys(node.output, node))
            if is_operator(node, "Constant"):
                self._constants.update(dict.fromkeys(values, _constant_tensor(node)))
            elif computes_constant(node, self.is_constant):
                self._constants.update(values)

    def is_constant(self, name: str) -> bool:
        """Say whether a tensor is an initializer, a Constant, or computed from them by deterministic operators."""
        return name in self._constants or (self._outer is not None and self._outer.is_constant(name))

    def value(self, name: str) -> NDArray[Any] | None:
        """Return the array of an initializer or Constant; None if it is computed, large or outside the file."""
        if name not in self._constants:
            return None if self._outer is None else self._outer.value(name)
        tensor = self._constants[name]
        if tensor is None or tensor.data_location == onnx.TensorProto.EXTERNAL:
            return None
        try:
            return np.asarray(onnx.numpy_helper.to_array(tensor))
        except ValueError:  # its values were stepped over
            return None

    def producer(self, name: str) -> onnx.NodeProto | None:
        """Return the node of this graph that gives the tensor."""
        return self._producers.get(name)

    def readers(self, name: str) -> int:
        """Return how many inputs of nodes and outputs of the graph read a tensor of this graph."""
        return self._readers[name]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Use:
    """A node where it stands. opset is that of ai.onnx, 0 if none is imported; function is the local function
    around it, if there is one."""

    node: onnx.NodeProto
    opset: int
    scope: Scope
    function: str | None = None

    @property
    def label(self) -> str:
        """The node's name; for one without, its operator and its first output."""
        name = label(self.node)
        return name if self.function is None else f"{name} in the function {self.function}"

    @property
    def operator(self) -> str:
        """'Conv', or 'domain::Op' outside ai.onnx."""
        return operator_name(self.node)

    def attribute(self, name: str) -> Any:
        """Return an attribute's value as ONNX defines it, its default if it is not given; None without one."""
        given = self.given(name)
        if given is not None:
            return given
        try:
            schema = onnx.defs.get_schema(self.node.op_type, max(self.opset, 1), "")
        except onnx.defs.SchemaError:
            return None
        default = schema.attributes[name].default_value if name in schema.attributes else None
        return _attribute_value(default) if default is not None and default.type else None

    def given(self, name: str) -> Any:
        """Return an attribute's value if the node gives it; text as str, lists as lists."""
        return next((_attribute_value(entry) for entry in self.node.attribute if entry.name == name), None)

    def input(self, position: int) -> str:
        """Return the name of an input, '' if it is left out."""
        return self.node.input[position] if position < len(self.node.input) else ""


def read_model(path: Path) -> onnx.ModelProto:
    """Return the model with the values of its small initializers, and without its weights.

    Raises OnnxFileError if the file is missing, no ONNX file or damaged."""
    return read_header(path, keep=SMALL)


def uses(model: onnx.ModelProto) -> Iterator[Use]:
    """Yield every node of the graph, its subgraphs and the local functions, in the order of the file.

    A node that calls a local function is not yielded: the function's own nodes are."""
    called = {(function.domain, function.name) for function in model.functions}
    opset = opset_of(model.opset_import)
    for use in _in_graph(model.graph, opset, None, None):
        if (use.node.domain, use.node.op_type) not in called:
            yield use
    for function in model.functions:
        scope = Scope(function.node, outputs=function.output)
        inside = opset_of(function.opset_import)
        for use in _of_nodes(function.node, inside, scope, function.name):
            if (use.node.domain, use.node.op_type) not in called:
                yield use


def opset_of(imports: Iterable[onnx.OperatorSetIdProto]) -> int:
    """Return the opset of ai.onnx, 0 if none is imported."""
    return next((entry.version for entry in imports if entry.domain in DEFAULT_DOMAIN), 0)


def _in_graph(graph: onnx.GraphProto, opset: int, outer: Scope | None, function: str | None) -> Iterator[Use]:
    outputs = [value.name for value in graph.output]
    yield from _of_nodes(graph.node, opset, Scope(graph.node, graph.initializer, outputs, outer), function)


def _of_nodes(nodes: Iterable[onnx.NodeProto], opset: int, scope: Scope, function: str | None) -> Iterator[Use]:
    for node in nodes:
        yield Use(node=node, opset=opset, scope=scope, function=function)
        for body in subgraphs(node):
            yield from _in_graph(body, opset, scope, function)


def _names_read(node: onnx.NodeProto) -> Iterator[str]:
    yield from node.input
    for body in subgraphs(node):
        for inner in body.node:
            yield from _names_read(inner)


def _constant_tensor(node: onnx.NodeProto) -> onnx.TensorProto | None:
    for entry in node.attribute:
        if entry.name == "value":
            tensor: onnx.TensorProto = entry.t
            return tensor
        if entry.name in ("value_int", "value_ints", "value_float", "value_floats"):
            dtype = np.int64 if "int" in entry.name else np.float32
            return onnx.numpy_helper.from_array(np.array(onnx.helper.get_attribute_value(entry), dtype))
    return None


def _attribute_value(attribute: onnx.AttributeProto) -> Any:
    value: Mapping[str, Any] | Any = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, str | int | float | onnx.TensorProto | onnx.GraphProto) or value is None:
        return value
    if isinstance(value, Iterable):
        return [entry.decode("utf-8", "replace") if isinstance(entry, bytes) else entry for entry in value]
    return value

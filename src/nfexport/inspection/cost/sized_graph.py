"""A graph whose shapes are known, as far as they can be, and which of its values are constants."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import onnx
import onnx.numpy_helper

from nfexport.graph.proto_graphs import stored_constants
from nfexport.graph.recognisers import computes_constant, is_operator
from nfexport.graph.shape_inference import infer_file_shapes
from nfexport.graph.tensors import dtype_name, is_floating

Node = onnx.NodeProto
Shape = tuple[int, ...]

OF_SHAPES_ALONE = {"Shape", "Size"}
"""Constant once all shapes are."""


class SizedGraph:
    """The top level of a model's graph: who writes and reads each value, its shape, and what is constant.

    A value is constant if it is stored, or computed from constants alone: a runtime folds those nodes before
    the first inference. Local functions are inlined first. Raises InputError if onnx refuses the model."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = infer_file_shapes(model).graph
        self.stored: Mapping[str, onnx.TensorProto] = stored_constants(graph)
        self.nodes: tuple[Node, ...] = tuple(graph.node)
        self._shapes: dict[str, Shape] = {}
        self._floating: set[str] = set()
        for value in (*graph.input, *graph.value_info, *graph.output):
            self._learn(value)
        for name, tensor in self.stored.items():
            self._shapes[name] = tuple(tensor.dims)
            if is_floating(tensor):
                self._floating.add(name)
        self._writers = {name: node for node in self.nodes for name in node.output if name}
        self._readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._outputs = {value.name for value in graph.output}
        self._constants = self._find_constants()

    def _learn(self, value: onnx.ValueInfoProto) -> None:
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
            self._shapes[value.name] = tuple(dim.dim_value for dim in tensor.shape.dim)
        if dtype_name(tensor.elem_type).startswith(("float", "bfloat")):
            self._floating.add(value.name)

    def _find_constants(self) -> set[str]:
        constants = set(self.stored)
        for node in self.nodes:
            by_shape = is_operator(node, *OF_SHAPES_ALONE) and node.input[0] in self._shapes
            if by_shape or computes_constant(node, constants.__contains__):
                constants.update(name for name in node.output if name)
        return constants

    def active(self) -> Iterator[Node]:
        """Yield the nodes that run at every inference, in order."""
        for node in self.nodes:
            if any(name and name not in self._constants for name in node.output):
                yield node

    def shape(self, name: str) -> Shape | None:
        """Return the shape of a value; None if it is not known."""
        return self._shapes.get(name)

    def elements(self, name: str) -> int | None:
        """Return the number of elements of a value; None if its shape is not known."""
        shape = self._shapes.get(name)
        return None if shape is None else math.prod(shape)

    def is_constant(self, name: str) -> bool:
        """Say whether the value is stored or computed from constants alone."""
        return name in self._constants

    def is_floating(self, name: str) -> bool:
        """Say whether the value is of a floating type."""
        return name in self._floating

    def number(self, name: str) -> float | None:
        """Return the number that each element of a stored constant holds; None where they differ, are missing, or
        were left out."""
        tensor = self.stored.get(name)
        if tensor is None or tensor.data_location == onnx.TensorProto.EXTERNAL:
            return None
        try:
            values = onnx.numpy_helper.to_array(tensor)
            first = float(values.flat[0])
        except (ValueError, TypeError, IndexError):
            return None
        return first if bool((values == values.flat[0]).all()) else None

    def writer(self, name: str) -> Node | None:
        """Return the node that writes a value; None for inputs and initializers."""
        return self._writers.get(name)

    def readers(self, name: str) -> list[Node]:
        """Return the nodes that read a value, once for each place."""
        return self._readers.get(name, [])

    def only_reader(self, name: str) -> Node | None:
        """Return the node that reads a value, if there is only one and the value is not an output of the graph."""
        readers = self.readers(name)
        return readers[0] if len(readers) == 1 and name not in self._outputs else None

    def operands(self, node: Node) -> tuple[str, str] | None:
        """Return (what is computed, the constant) of a node with two inputs of which one is constant."""
        if len(node.input) != 2:
            return None
        first, second = node.input
        if self.is_constant(second) and not self.is_constant(first):
            return first, second
        if self.is_constant(first) and not self.is_constant(second):
            return second, first
        return None

    def sources(self, name: str) -> list[str]:
        """Return the stored constants whose numbers a constant value is computed from, each once, in order of
        names; the running statistics of a BatchNormalization are none of them."""
        found: set[str] = set()
        seen: set[str] = set()
        pending = [name]
        while pending:
            current = pending.pop()
            if current in seen:
                continue
            seen.add(current)
            if current in self.stored:
                found.add(current)
            elif (node := self.writer(current)) is not None and node.op_type not in OF_SHAPES_ALONE:
                statistics = 3 if node.op_type == "BatchNormalization" else len(node.input)
                pending.extend(source for source in node.input[:statistics] if source)
        return sorted(found)

    def computation(self, name: str) -> list[Node]:
        """Return the nodes that a value is computed by, in no order."""
        found: dict[int, Node] = {}
        pending = [name]
        while pending:
            node = self.writer(pending.pop())
            if node is not None and id(node) not in found:
                found[id(node)] = node
                pending.extend(node.input)
        return list(found.values())


def attribute(node: Node, name: str) -> onnx.AttributeProto | None:
    """Return the attribute of that name, or None."""
    return next((each for each in node.attribute if each.name == name), None)


def label(node: Node) -> str:
    """Return the name of a node, or of what it writes."""
    return node.name or node.output[0]

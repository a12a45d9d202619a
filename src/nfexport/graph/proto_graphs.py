"""The graphs of a ModelProto, as the header-only reader gives it, and what they store."""

from __future__ import annotations

from collections.abc import Iterator

from nfexport.graph.libraries import onnx


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield the graph and, depth first, the subgraphs of its If, Loop and Scan nodes."""
    yield graph
    for node in graph.node:
        for subgraph in subgraphs(node):
            yield from graphs(subgraph)


_PLAIN = frozenset({1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14})
"""AttributeProto.AttributeType of everything but GRAPH (5), GRAPHS (10) and UNDEFINED (0), which old files have."""


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the bodies of an If, Loop or Scan."""
    for attribute in node.attribute:
        if attribute.type in _PLAIN:
            continue
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def initializers(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    """Return every initializer, those of subgraphs too."""
    return [tensor for part in graphs(graph) for tensor in part.initializer]


def stored_constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Return the initializers and the values of Constant nodes of one graph, by name."""
    constants = {
        node.output[0]: attribute.t
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    return constants | {tensor.name: tensor for tensor in graph.initializer}

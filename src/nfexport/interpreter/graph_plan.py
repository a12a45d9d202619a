"""In which order a graph is computed, and after which node each value is no longer needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence

import onnx_ir as ir


@dataclasses.dataclass(frozen=True)
class Step:
    """A node, and the values that nothing after it reads."""

    node: ir.Node
    released: tuple[ir.Value, ...]


@dataclasses.dataclass(frozen=True)
class GraphPlan:
    """What computes the outputs from the inputs: the nodes that they depend on, in order."""

    inputs: tuple[ir.Value, ...]
    outputs: tuple[ir.Value, ...]
    steps: tuple[Step, ...]


def plan_graph(
    graph: ir.Graph | ir.Function,
    inputs: Sequence[ir.Value] | None = None,
    outputs: Sequence[ir.Value] | None = None,
    *,
    stored: Collection[ir.Value] = (),
) -> GraphPlan:
    """Return the plan of a graph, or of a part of it from some of its values to others.

    inputs defaults to the graph's without those that are stored too; stored values are kept when the plan has run."""
    starts = tuple(value for value in graph.inputs if value not in stored) if inputs is None else tuple(inputs)
    ends = tuple(graph.outputs) if outputs is None else tuple(outputs)
    nodes = list(_needed(graph, starts, ends))
    own = {value for node in nodes for value in node.outputs} | set(starts)
    last: dict[ir.Value, int] = {}
    for index, node in enumerate(nodes):
        last.update(dict.fromkeys((value for value in (*read_values(node), *node.outputs) if value in own), index))
    kept = {*ends, *stored}
    steps = tuple(
        Step(node, tuple(value for value in {*read_values(node), *node.outputs} - kept if last.get(value) == index))
        for index, node in enumerate(nodes)
    )
    return GraphPlan(inputs=starts, outputs=ends, steps=steps)


def read_values(node: ir.Node) -> Iterator[ir.Value]:
    """Yield the values that a node reads, those that its subgraphs take from outside included."""
    yield from (value for value in node.inputs if value is not None)
    for attribute in node.attributes.values():
        for graph in _graphs(attribute):
            inner = {value for child in graph for value in child.outputs} | {
                *graph.inputs,
                *graph.initializers.values(),
            }
            for child in graph:
                yield from (value for value in read_values(child) if value not in inner)
            yield from (value for value in graph.outputs if value not in inner)


def _graphs(attribute: ir.Attr) -> Sequence[ir.Graph]:
    if attribute.type == ir.AttributeType.GRAPH:
        return [attribute.as_graph()]
    return attribute.as_graphs() if attribute.type == ir.AttributeType.GRAPHS else []


def _needed(graph: ir.Graph | ir.Function, starts: Sequence[ir.Value], ends: Sequence[ir.Value]) -> Iterator[ir.Node]:
    """Yield the nodes that the ends depend on, in the order of the graph."""
    home = graph.graph if isinstance(graph, ir.Function) else graph
    given, pending, found = set(starts), list(ends), set()
    while pending:
        value = pending.pop()
        node = None if value in given else value.producer()
        if node is not None and node not in found and node.graph is home:
            found.add(node)
            pending.extend(read_values(node))
    return (node for node in graph if node in found)

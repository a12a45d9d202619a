"""Find activation functions that a graph writes as several nodes.

Swish    x · sigmoid(x), or x · sigmoid(c·x)
Gelu     x/2 · (1 + erf(x/√2)), or x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³))), in any order of the factors
"""

from __future__ import annotations

import dataclasses

from nfexport.inspection.cost.sized_graph import Node, SizedGraph

LONGEST = 8
"""Nodes between x and the tanh of a Gelu, at most: seven are usual."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Activation:
    """An activation function: its nodes in no order, of which `last` writes the result."""

    op: str
    nodes: tuple[Node, ...]
    last: Node


def find_activations(graph: SizedGraph) -> list[Activation]:
    """Return the Swish and Gelu functions that are written as several nodes, in the order of the graph.

    No node but `last` is read from outside the function."""
    found = []
    for node in graph.active():
        activation = None
        if node.op_type == "Sigmoid":
            activation = _swish(graph, node)
        elif node.op_type in ("Erf", "Tanh"):
            activation = _gelu(graph, node)
        if activation is not None:
            found.append(activation)
    return found


def _swish(graph: SizedGraph, sigmoid: Node) -> Activation | None:
    last = graph.only_reader(sigmoid.output[0])
    if last is None or last.op_type != "Mul":
        return None
    x = _other(last, sigmoid.output[0])
    if x == sigmoid.input[0]:
        return Activation(op="Swish", nodes=(sigmoid, last), last=last)
    scale = graph.writer(sigmoid.input[0])
    if (
        scale is not None
        and scale.op_type == "Mul"
        and graph.only_reader(scale.output[0]) is sigmoid
        and (operands := graph.operands(scale)) is not None
        and operands[0] == x
    ):
        return Activation(op="Swish", nodes=(scale, sigmoid, last), last=last)
    return None


def _gelu(graph: SizedGraph, curve: Node) -> Activation | None:
    """Walk from 1 + erf(·) or 1 + tanh(·) to the products with x and with one half, then look back to x."""
    step = graph.only_reader(curve.output[0])
    if step is None or step.op_type != "Add" or graph.operands(step) is None:
        return None
    nodes = [curve, step]
    x = ""
    halved = False
    while not (x and halved):
        before, step = step.output[0], graph.only_reader(step.output[0])
        if step is None or step.op_type != "Mul":
            return None
        nodes.append(step)
        other = _other(step, before)
        if graph.is_constant(other) and not halved:
            halved = True
            continue
        if x:
            return None
        x = other
        half = graph.writer(other)
        if (
            not halved
            and half is not None
            and half.op_type == "Mul"
            and graph.only_reader(other) is step
            and (operands := graph.operands(half)) is not None
        ):
            nodes.append(half)
            x, halved = operands[0], True
    inner = _between(graph, x, curve)
    if inner is None or not 1 <= len(inner) <= LONGEST or (curve.op_type == "Tanh" and len(inner) < 4):
        return None
    group = [*inner, *nodes]
    inside = {id(node) for node in group}
    readers = (reader for node in group if node is not step for reader in graph.readers(node.output[0]))
    if any(id(reader) not in inside for reader in readers):
        return None
    return Activation(op="Gelu", nodes=tuple(group), last=step)


def _between(graph: SizedGraph, x: str, curve: Node) -> list[Node] | None:
    """Return the nodes that lead from x to the curve; None if anything but x and constants enters."""
    found: dict[str, Node] = {}
    pending = [curve.input[0]]
    while pending:
        name = pending.pop()
        if name == x or name in found or graph.is_constant(name):
            continue
        node = graph.writer(name)
        if node is None or node.op_type not in ("Mul", "Div", "Add", "Pow") or len(found) == LONGEST:
            return None
        found[name] = node
        pending.extend(node.input)
    return list(found.values())


def _other(node: Node, name: str) -> str:
    return str(node.input[1] if node.input[0] == name else node.input[0])

"""Operators by which a graph may treat a rare value, a rare input or one run in another way than the usual ones.

Numbers on images say little about them: a Where may wait for a pixel above 1000, a Clip may stand far outside. What
is computed from constants alone is left out, as it is the same at every inference. A network in evaluation mode
computes nothing at random, so random operators, and Dropout or BatchNormalization in training form on activations,
are errors.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx
from onnx import numpy_helper

from nfexport.graph.header import read_header
from nfexport.graph.proto_graphs import subgraphs
from nfexport.graph.recognisers import (
    RANDOM_OPERATORS,
    computes_constant,
    is_default_domain,
    is_training_batch_normalization,
    label,
)

ALWAYS_RARE = frozenset(
    {"Where", "If", "Loop", "Scan", "IsNaN", "IsInf", "NonZero", "Mod", "Less", "LessOrEqual", "Equal", "Compress"}
    | {"Greater", "GreaterOrEqual", "ArgMax", "ArgMin", "TopK", "Clip", "OneHot", "Sign", "ThresholdedRelu", "Shrink"}
)
"""Operators that decide by a value."""

AGAINST_CONSTANTS = frozenset({"Max", "Min"})
"""Operators that decide by a value where one of their inputs is constant."""

SMALL = 1024
"""Bytes up to which the values of an initializer are read."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RareOperators:
    """What a graph has of them: random maps the names of nodes that compute at random to their operator, training
    those that normalise activations by their batch; rare counts the others by operator."""

    random: Mapping[str, str]
    training: Mapping[str, str]
    rare: Mapping[str, int]

    def describe(self) -> str:
        """Return the counts in words, '' if there are none."""
        return ", ".join(f"{count} {name}" for name, count in self.rare.items())


def rare_operators(path: Path) -> RareOperators:
    """Look through a file's graph, and the bodies of its nodes, without reading large weights."""
    search = _Search()
    search.look(read_header(path, keep=SMALL).graph, frozenset())
    return RareOperators(random=search.random, training=search.training, rare=dict(search.rare.most_common()))


class _Search:
    def __init__(self) -> None:
        self.random: dict[str, str] = {}
        self.training: dict[str, str] = {}
        self.rare: Counter[str] = Counter()

    def look(self, graph: onnx.GraphProto, outside: frozenset[str]) -> None:
        """Look through a graph; outside are the constants that it may read of the graphs around it."""
        given = {value.name for value in graph.input}
        constants = outside | {tensor.name for tensor in graph.initializer if tensor.name not in given}
        values = {tensor.name: tensor for tensor in graph.initializer if tensor.name in constants}
        for node in graph.node:
            if computes_constant(node, constants.__contains__):
                constants |= set(node.output)
                values |= {name: entry.t for name in node.output for entry in node.attribute if entry.name == "value"}
                continue
            self._judge(node, constants, values)
            for body in subgraphs(node):
                self.look(body, constants)

    def _judge(self, node: onnx.NodeProto, constants: frozenset[str], values: Mapping[str, onnx.TensorProto]) -> None:
        if not is_default_domain(node):
            return
        if node.op_type in RANDOM_OPERATORS:
            self.random[label(node)] = node.op_type
        elif node.op_type == "Dropout" and _is_training(node, values):
            self.random[label(node)] = "Dropout in training form"
        elif is_training_batch_normalization(node):
            self.training[label(node)] = "BatchNormalization in training form"
        elif node.op_type in ALWAYS_RARE or (
            node.op_type in AGAINST_CONSTANTS and any(name in constants for name in node.input)
        ):
            self.rare[node.op_type] += 1


def _is_training(node: onnx.NodeProto, values: Mapping[str, onnx.TensorProto]) -> bool:
    """Say whether a Dropout drops anything at run time: its third input is true, or not known to be false."""
    if len(node.input) < 3 or not node.input[2]:
        return False
    mode = values.get(node.input[2])
    return mode is None or bool(numpy_helper.to_array(mode).any())


def random_nodes(found: RareOperators, *, by_batch: bool) -> Iterator[str]:
    """Yield a sentence for each node that no network in evaluation mode has.

    With by_batch the network may normalise by the statistics of its batch on purpose, as a user's own module may."""
    for name, operator in found.random.items():
        yield f"node '{name}' ({operator}) computes at random, and a network in evaluation mode does not"
    for name, operator in found.training.items() if not by_batch else ():
        yield f"node '{name}' ({operator}) normalises by the batch, and a network in evaluation mode does not"

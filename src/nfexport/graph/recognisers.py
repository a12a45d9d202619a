"""What a node is, by one rule each, for the nodes of onnx_ir and of protobuf alike.

Passes edit onnx_ir's nodes. What reads a file without its weights (`inspect`, `check`, goldens) has protobuf's, as
importing onnx_ir takes longer than all of its work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from nfexport.graph.libraries import ir, onnx

AnyNode: TypeAlias = "ir.Node | onnx.NodeProto"

DEFAULT_DOMAIN = frozenset({"", "ai.onnx"})
"""The names of the domain of ONNX's own operators."""

RANDOM_OPERATORS = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
"""Operators that give other numbers at each inference."""


def is_default_domain(node: AnyNode) -> bool:
    """Say whether the node's operator is one of ONNX's own (not ai.onnx.ml, not a vendor's)."""
    return node.domain in DEFAULT_DOMAIN


def is_operator(node: AnyNode | None, *op_types: str) -> bool:
    """Say whether there is a node, of ONNX's own domain, with one of these operator types."""
    return node is not None and is_default_domain(node) and node.op_type in op_types


def operator_name(node: AnyNode) -> str:
    """Return the operator: 'Conv', or 'domain::Op' outside ONNX's own domain."""
    return node.op_type if is_default_domain(node) else f"{node.domain}::{node.op_type}"


def label(node: AnyNode) -> str:
    """Return the node's name; for one without, which ONNX allows, its operator and its first output."""
    return node.name or f"{node.op_type} → {next(iter(output_names(node)), '')}"


def output_names(node: AnyNode) -> list[str]:
    """Return the names of the outputs, '' for those that are left out."""
    if isinstance(node, onnx.NodeProto):
        return list(node.output)
    return [value.name or "" for value in node.outputs]


def integer(node: AnyNode, name: str, default: int = 0) -> int:
    """Return an integer attribute."""
    if isinstance(node, onnx.NodeProto):
        return next((int(entry.i) for entry in node.attribute if entry.name == name), default)
    return node.attributes.get_int(name, default)


def has_subgraph(node: AnyNode) -> bool:
    """Say whether a node holds graphs: If, Loop, Scan."""
    if isinstance(node, onnx.NodeProto):
        return any(entry.HasField("g") or entry.graphs for entry in node.attribute)
    kinds = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return any(attribute.type in kinds for attribute in node.attributes.values())


def is_training_batch_normalization(node: AnyNode | None) -> bool:
    """Say whether the node is a BatchNormalization that normalises with the statistics of its own input.

    Its training form has more than one output up to opset 13, and training_mode = 1 from 14."""
    if node is None or not is_operator(node, "BatchNormalization"):
        return False
    return bool(integer(node, "training_mode")) or sum(map(bool, output_names(node))) > 1


def is_deterministic(node: AnyNode) -> bool:
    """Say whether the node is one of ONNX's own operators that give the same for the same inputs, and holds no graph,
    which may read other values than its inputs."""
    return is_default_domain(node) and node.op_type not in RANDOM_OPERATORS and not has_subgraph(node)


def computes_constant(node: onnx.NodeProto, is_constant: Callable[[str], bool]) -> bool:
    """Say whether the node is a Constant, or computes its outputs from values that are constant."""
    return is_deterministic(node) and all(is_constant(name) for name in node.input if name)

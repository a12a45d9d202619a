"""Multiply-accumulates of convolutions and matrix products, which both rules count alike.

    Conv             N · O · (I/groups) · kernel · output size        = output elements · weight elements / O
    ConvTranspose    N · I · (O/groups) · kernel · input size         = input elements · weight elements / I
    Gemm, MatMul     output elements · length of the axis that is summed over
    Einsum           the product of the lengths of all its letters, for two operands

Padding counts as any other element does. A bias is not a multiply-accumulate.
"""

from __future__ import annotations

import math

from nfexport.inspection.cost.sized_graph import Node, Shape, SizedGraph, attribute

PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum"})
WITH_BIAS = frozenset({"Conv", "ConvTranspose", "Gemm"})
"""Products whose third input is a bias."""


def count(graph: SizedGraph, node: Node) -> int | None:
    """Return the multiply-accumulates of one of PRODUCTS; None if a shape is missing or an Einsum has not two
    operands, or dots."""
    output = graph.shape(node.output[0])
    operands = [graph.shape(name) for name in node.input[:2]]
    if output is None or len(operands) < 2:
        return None
    first, second = operands
    if first is None or second is None:
        return None
    if node.op_type == "Conv":
        return math.prod(output) * math.prod(second[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(first) * math.prod(second[1:])
    if node.op_type == "Einsum":
        return _einsum(node, first, second)
    transposed = attribute(node, "transA")
    length = first[0] if node.op_type == "Gemm" and transposed is not None and transposed.i else first[-1]
    return math.prod(output) * length


def has_bias(node: Node) -> bool:
    """Say whether the node adds a bias of its own."""
    return node.op_type in WITH_BIAS and len(node.input) > 2 and bool(node.input[2])


def _einsum(node: Node, first: Shape, second: Shape) -> int | None:
    equation = attribute(node, "equation")
    if equation is None or len(node.input) != 2:
        return None
    terms = equation.s.decode().replace(" ", "").split("->")[0].split(",")
    if len(terms) != 2 or any(len(term) != len(shape) for term, shape in zip(terms, (first, second), strict=True)):
        return None
    lengths: dict[str, int] = {}
    for term, shape in zip(terms, (first, second), strict=True):
        for letter, length in zip(term, shape, strict=True):
            lengths[letter] = max(length, lengths.get(letter, 1))
    return math.prod(lengths.values())

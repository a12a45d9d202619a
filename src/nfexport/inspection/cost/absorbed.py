"""Find nodes that a runtime's conversion folds into their neighbours, so that they cost nothing at an inference.

    Mul(c₁) → Mul(c₂)            one product with c₁·c₂
    Mul(c) → [zero Pad →] Conv   in the weight: c scales its input channels
    Conv → Mul(c)                in the weight and bias: c scales the output channels
    Conv → BatchNormalization    in the weight and bias

c is constant, one number or one a channel, and Div(c) counts as Mul(1/c); there is one reader at each arrow.
OpenVINO does this when it reads a file, and its Model Analyzer counts the nodes that are left.
"""

from __future__ import annotations

import math

from nfexport.graph.recognisers import is_training_batch_normalization
from nfexport.inspection.cost.sized_graph import Node, SizedGraph, attribute

CONVOLUTIONS = ("Conv", "ConvTranspose")


def find_absorbed(graph: SizedGraph, busy: set[int]) -> set[int]:
    """Return the ids of the nodes that vanish; busy are those that belong to an activation function."""
    gone: set[int] = set()
    for node in graph.active():
        if id(node) in busy:
            continue
        if _is_scale(graph, node):
            vanishes = _meets_scale_or_convolution(graph, node, busy) or _follows_convolution(
                graph, _data(graph, node), gone
            )
        else:
            vanishes = (
                node.op_type == "BatchNormalization"
                and not is_training_batch_normalization(node)
                and _follows_convolution(graph, node.input[0], gone)
            )
        if vanishes:
            gone.add(id(node))
    return gone


def _is_scale(graph: SizedGraph, node: Node) -> bool:
    if node.op_type not in ("Mul", "Div") or (operands := graph.operands(node)) is None:
        return False
    data, constant = operands
    if node.op_type == "Div" and constant != node.input[1]:
        return False
    factor, shape = graph.shape(constant), graph.shape(data)
    if factor is None or math.prod(factor) == 1:
        return factor is not None
    if shape is None or len(shape) < 2 or len(factor) > len(shape):
        return False
    aligned = (1,) * (len(shape) - len(factor)) + factor
    return math.prod(aligned) == aligned[1] == shape[1]


def _data(graph: SizedGraph, node: Node) -> str:
    operands = graph.operands(node)
    assert operands is not None
    return operands[0]


def _meets_scale_or_convolution(graph: SizedGraph, node: Node, busy: set[int]) -> bool:
    """Say whether the result is all that another scale reads, or a convolution with zeros around it or without."""
    name = node.output[0]
    after = graph.only_reader(name)
    if after is not None and after.op_type == "Pad" and after.input[0] == name and _pads_zeros(graph, after):
        name = after.output[0]
        after = graph.only_reader(name)
    elif after is not None and id(after) not in busy and _is_scale(graph, after):
        return True
    return (
        after is not None
        and after.op_type in CONVOLUTIONS
        and after.input[0] == name
        and graph.is_constant(after.input[1])
    )


def _pads_zeros(graph: SizedGraph, pad: Node) -> bool:
    mode, value = attribute(pad, "mode"), attribute(pad, "value")
    if (mode is not None and mode.s != b"constant") or (value is not None and value.f):
        return False
    if len(pad.input) < 3 or not pad.input[2]:
        return True
    number = graph.number(pad.input[2])
    return number == 0


def _follows_convolution(graph: SizedGraph, name: str, gone: set[int]) -> bool:
    """Say whether a convolution writes the value for one reader, directly or through what vanishes."""
    writer = graph.writer(name)
    while writer is not None and graph.only_reader(name) is not None:
        if writer.op_type in CONVOLUTIONS:
            return graph.is_constant(writer.input[1])
        if id(writer) not in gone or writer.op_type not in ("Mul", "Div", "BatchNormalization"):
            return False
        name = writer.input[0] if writer.op_type == "BatchNormalization" else _data(graph, writer)
        writer = graph.writer(name)
    return False

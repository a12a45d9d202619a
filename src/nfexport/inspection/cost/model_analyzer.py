"""Count as OpenVINO's Model Analyzer does, after what its conversion folds: the rule 'omz'.

    product                  2 a multiply-accumulate; its bias 1 an output element
    other operators          OPERATIONS an output element
    pooling                  the elements of its kernel an output element
    all else                 nothing: Gelu, Erf, ReduceMean, Pow, Cast and all that moves data

Nodes that depend on constants alone are folded; what `absorbed` finds is gone. Parameters are the floating
constants that feed what is counted, and Concat and Gather, each once, with the shape that they have there.
Source: openvinotoolkit/model_analyzer, model_analyzer/layer_provider.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from nfexport.inspection.cost import absorbed, composed_activations, macs
from nfexport.inspection.cost.layer_costs import LayerCost
from nfexport.inspection.cost.sized_graph import Node, SizedGraph, attribute, label

OPERATIONS: Mapping[str, int] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Exp", "Log", "Round"), 1),
    **dict.fromkeys(("Less", "LessOrEqual", "Greater", "GreaterOrEqual"), 1),
    **dict.fromkeys(("Relu", "LeakyRelu", "PRelu", "Clip", "BatchNormalization"), 2),
    **dict.fromkeys(("Sigmoid", "Elu", "Softplus"), 3),
    **dict.fromkeys(("HardSwish", "HardSigmoid", "ReduceL1", "ReduceL2", "LpNormalization"), 4),
    **dict.fromkeys(("Swish", "Softmax", "MeanVarianceNormalization"), 5),
    **dict.fromkeys(("Tanh", "LogSoftmax"), 6),
    **dict.fromkeys(("LayerNormalization", "InstanceNormalization", "GroupNormalization"), 7),
    "Mish": 10,
}
"""Operator → operations an output element. A normalisation is 5, with its scale and shift 7."""

NORMALISED = 5
POOLINGS = ("AveragePool", "MaxPool", "LpPool")
DATA_ALONE = ("Concat", "Gather")
"""Cost nothing, but their constants are parameters."""


def layers(graph: SizedGraph) -> Iterator[tuple[Node, LayerCost | None]]:
    """Yield each node that costs something or has parameters with its cost; None for one whose shapes are not
    known."""
    functions = composed_activations.find_activations(graph)
    inner = {id(node) for function in functions for node in function.nodes}
    ends = {id(function.last): function.op for function in functions}
    gone = absorbed.find_absorbed(graph, inner)
    counted: set[str] = set()
    for node in graph.active():
        op = ends.get(id(node), node.op_type)
        if id(node) in inner and id(node) not in ends:
            continue
        if id(node) in gone and not _leaves_bias(graph, node, gone):
            continue
        if op not in OPERATIONS and op not in POOLINGS and op not in macs.PRODUCTS and op not in DATA_ALONE:
            continue
        if op not in DATA_ALONE and not graph.is_floating(node.output[0]) and graph.shape(node.output[0]) is not None:
            continue  # indices and masks
        yield node, _layer(graph, node, op, counted, absorbed=id(node) in gone)


def _layer(graph: SizedGraph, node: Node, op: str, counted: set[str], *, absorbed: bool) -> LayerCost | None:
    elements = graph.elements(node.output[0])
    shape = graph.shape(node.output[0])
    if elements is None or shape is None:
        return None if op not in DATA_ALONE else LayerCost(name=label(node), op=op, shape=())
    multiplied = 0
    operations: int | None
    if op in macs.PRODUCTS:
        product = macs.count(graph, node)
        if product is None:
            return None
        multiplied = product
        operations = 2 * product + (elements if macs.has_bias(node) else 0)
    elif absorbed:
        operations = elements
    elif op in POOLINGS:
        kernel = attribute(node, "kernel_shape")
        operations = elements * (math.prod(kernel.ints) if kernel is not None else 1)
    else:
        operations = elements * (NORMALISED if _is_plain(graph, node) else OPERATIONS.get(op, 0))
    return LayerCost(
        name=label(node),
        op=op,
        shape=shape,
        macs=multiplied,
        flops=operations,
        activations=elements if op in macs.PRODUCTS else 0,
        parameters=shape[1] if absorbed else _parameters(graph, node, op, counted),
    )


def _is_plain(graph: SizedGraph, node: Node) -> bool:
    """Say whether an InstanceNormalization has ones for its scale and zeros for its shift: exporters write a
    GroupNorm so, with a Mul and an Add behind it."""
    if node.op_type != "InstanceNormalization":
        return False
    return graph.number(node.input[1]) == 1 and graph.number(node.input[2]) == 0


def _leaves_bias(graph: SizedGraph, node: Node, gone: set[int]) -> bool:
    """Say whether an absorbed normalisation gives a convolution the bias that it had not."""
    if node.op_type != "BatchNormalization":
        return False
    writer = graph.writer(node.input[0])
    while writer is not None and id(writer) in gone and writer.op_type in ("Mul", "Div"):
        operands = graph.operands(writer)
        writer = graph.writer(operands[0]) if operands is not None else None
    return writer is not None and writer.op_type in absorbed.CONVOLUTIONS and not macs.has_bias(writer)


def _parameters(graph: SizedGraph, node: Node, op: str, counted: set[str]) -> int:
    if op in ("Swish", "Clip") or op in POOLINGS or _is_plain(graph, node):
        return 0
    if op == "BatchNormalization":
        names = [name for name in node.input[1:3] if graph.is_constant(name)]
    else:
        names = [name for name in node.input if name and graph.is_constant(name) and graph.is_floating(name)]
    new = [name for name in dict.fromkeys(names) if name not in counted]
    counted.update(new)
    return sum(graph.elements(name) or 0 for name in new)

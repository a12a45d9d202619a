"""Count as fvcore does, with which timm makes its tables: the rule 'timm'.

    convolution, linear layer, matrix product    its multiply-accumulates; no bias
    normalisation of a layer, group or instance  5 an input element
    batch norm                                   2 an element; with the statistics of its own input 5
    resize                                       nearest 1 an output element, linear 4; cubic nothing
    all else                                     nothing

Weight standardisation is a batch norm of the weight with its own statistics: 5 a weight with a gain, 4 without
(BiT). Activations are the outputs of convolutions, linear layers and matrix products. Parameters are the stored
floating constants of more than one element, without the running statistics of batch norms; a file does not show
whether a single number is a parameter or a constant of the code.
Source: facebookresearch/fvcore, fvcore/nn/jit_handles.py, flop_count.py and activation_count.py; timm's
benchmark.py, which replaces the last pooling by a mean, so that it counts nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from nfexport.graph.recognisers import is_training_batch_normalization
from nfexport.inspection.cost import macs
from nfexport.inspection.cost.layer_costs import LayerCost
from nfexport.inspection.cost.sized_graph import Node, SizedGraph, attribute, label

STANDARDISATION = "weight standardisation"
A_NORMALISED = 5
WITHOUT_GAIN = 4
A_BATCH_NORM = 2
NORMALISATIONS = ("LayerNormalization", "InstanceNormalization", "GroupNormalization", "MeanVarianceNormalization")
RESIZING = {b"nearest": 1, b"linear": 4}
CONVOLUTIONS = ("Conv", "ConvTranspose")


def layers(graph: SizedGraph, folded: Mapping[str, bool]) -> Iterator[tuple[Node, LayerCost | None]]:
    """Yield each node that costs something or has parameters with its cost; None for one whose shapes are not
    known.

    folded are the stored weights that were standardised before they were stored, and whether with a gain."""
    counted: set[str] = set()
    for node in graph.active():
        if node.op_type in CONVOLUTIONS and (node.input[1] in folded or is_standardised(graph, node)):
            gain = folded[node.input[1]] if node.input[1] in folded else _has_gain(graph, node.input[1])
            yield node, _standardisation(graph, node, gain=gain)
        own = _parameters(graph, node, counted)
        elements, shape = graph.elements(node.output[0]), graph.shape(node.output[0])
        cost: int | None = 0
        if node.op_type in macs.PRODUCTS:
            cost = macs.count(graph, node)
        elif (factor := _factor(graph, node)) and graph.is_floating(node.output[0]):
            # a resize alone changes the number of elements, and it counts what it writes
            cost = None if elements is None else factor * elements
        if cost is None:
            yield node, None
        elif cost or own:
            yield (
                node,
                LayerCost(
                    name=label(node),
                    op=node.op_type,
                    shape=shape or (),
                    macs=cost,
                    flops=2 * cost,
                    activations=(elements or 0) if node.op_type in macs.PRODUCTS else 0,
                    parameters=own,
                ),
            )


def is_standardised(graph: SizedGraph, convolution: Node) -> bool:
    """Say whether the graph computes the convolution's weight from constants by their own mean: by a
    BatchNormalization in training form, or by a difference from a mean."""
    weight = convolution.input[1]
    if weight in graph.stored or not graph.is_constant(weight):
        return False
    nodes = graph.computation(weight)
    if any(map(is_training_batch_normalization, nodes)):
        return True
    return any(_subtracts_mean(graph, node) for node in nodes) or any(
        node.op_type in NORMALISATIONS for node in nodes
    )


def _has_gain(graph: SizedGraph, weight: str) -> bool:
    """Say whether each filter is scaled by a number of its own. An exporter writes ones for the scale of a
    BatchNormalization that has none."""
    for node in graph.computation(weight):
        if node.op_type == "BatchNormalization":
            return graph.number(node.input[1]) != 1
    shape = graph.shape(weight)
    return shape is not None and any(
        graph.is_floating(name) and math.prod(graph.stored[name].dims) == shape[0] > 1
        for name in graph.sources(weight)
    )


def _standardisation(graph: SizedGraph, node: Node, *, gain: bool) -> LayerCost | None:
    shape = graph.shape(node.input[1])
    if shape is None:
        return None
    cost = (A_NORMALISED if gain else WITHOUT_GAIN) * math.prod(shape)
    return LayerCost(name=label(node), op=STANDARDISATION, shape=shape, macs=cost, flops=2 * cost)


def _factor(graph: SizedGraph, node: Node) -> int:
    if node.op_type in NORMALISATIONS or _subtracts_mean(graph, node):
        return A_NORMALISED
    if node.op_type == "BatchNormalization":
        return A_NORMALISED if is_training_batch_normalization(node) else A_BATCH_NORM
    if node.op_type in ("Resize", "Upsample"):
        mode = attribute(node, "mode")
        return RESIZING.get(b"nearest" if mode is None else mode.s, 0)
    return 0


def _subtracts_mean(graph: SizedGraph, node: Node) -> bool:
    """Say whether this is x − mean(x): a normalisation that is written as several nodes. Where x − mean(x) is
    there twice, once for the variance, the one that is squared does not count."""
    if node.op_type != "Sub":
        return False
    mean = graph.writer(node.input[1])
    if mean is None or mean.op_type != "ReduceMean" or mean.input[0] != node.input[0]:
        return False
    return any(
        reader.op_type != "Pow" and not (reader.op_type == "Mul" and set(reader.input) == {node.output[0]})
        for reader in graph.readers(node.output[0])
    )


def _parameters(graph: SizedGraph, node: Node, counted: set[str]) -> int:
    names = list(node.input)
    if node.op_type == "BatchNormalization":
        names = names[:3]
    total = 0
    for name in names:
        if not name or not graph.is_constant(name):
            continue
        for source in graph.sources(name):
            if source not in counted and graph.is_floating(source):
                counted.add(source)
                size = math.prod(graph.stored[source].dims)
                total += size if size > 1 else 0
    return total

"""Count the cost of an inference with an ONNX file, without torch, a runtime or the weights."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import onnx

from nfexport.errors import InputError, RecipeError
from nfexport.graph.header import read_header
from nfexport.graph.recognisers import has_subgraph, is_default_domain, operator_name
from nfexport.inspection.cost import fvcore, macs, model_analyzer
from nfexport.inspection.cost.input_sizes import fix_sizes
from nfexport.inspection.cost.layer_costs import RULES, Cost, LayerCost, Rule
from nfexport.inspection.cost.sized_graph import Node, SizedGraph, label
from nfexport.inspection.cost.zero_mean import zero_mean_weights
from nfexport.passes.recorded import read_recipe
from nfexport.recipe.recipe import Recipe

KEPT = 2**14
"""Bytes up to which constants are read: shapes depend on targets of Reshape, pads, axes and scales, and a vector of
4096 ones shows that a normalisation has no scale of its own."""

UNKNOWN = frozenset(
    {
        *("ConvInteger", "QLinearConv", "MatMulInteger", "QLinearMatMul", "DeformConv", "Attention"),
        *("RNN", "LSTM", "GRU", "DFT", "STFT"),
    }
)
"""Expensive operators that neither rule counts here."""


def count_cost(
    model: str | Path | onnx.ModelProto,
    *,
    rule: Rule = "omz",
    batch: int = 1,
    size: tuple[int, int] | None = None,
) -> Cost:
    """Return the cost of one inference by the rule 'omz' or 'timm'; docs/cost.md has the formulas.

    model is a file, or a model whose small constants have their values (read_header with keep); it is not changed.
    Symbolic dims of the input become batch and size (height, width); size defaults to that of the recipe.
    Raises OnnxFileError as inspect does, and InputError for an unknown rule, for a size that the file does not
    accept, and where the size of a symbolic dim is unknown."""
    if rule not in RULES:
        raise InputError(f"there is no rule '{rule}' to count by", fix=f"use {' or '.join(RULES)}")
    path = None if isinstance(model, onnx.ModelProto) else Path(model)
    if isinstance(model, onnx.ModelProto):
        proto = onnx.ModelProto()
        proto.CopyFrom(model)
    else:
        proto = read_header(Path(model), keep=KEPT)
    recipe = _recipe(proto)
    inputs = fix_sizes(proto, batch=batch, size=size, recipe=recipe)
    graph = SizedGraph(proto)
    notes: list[str] = []
    if rule == "omz":
        rows = model_analyzer.layers(graph)
    else:
        folded = _folded_standardisation(path, proto, graph)
        rows = fvcore.layers(graph, folded)
        notes = list(_notes(graph, folded, recipe))
    layers, uncounted = _collect(rows, graph)
    return Cost(rule=rule, inputs=inputs, layers=layers, uncounted=uncounted, notes=tuple(notes))


def _recipe(model: onnx.ModelProto) -> Recipe | None:
    try:
        return read_recipe({entry.key: entry.value for entry in model.metadata_props})
    except RecipeError:
        return None  # inspect reports it; here only the size is unknown


def _collect(
    rows: Iterable[tuple[Node, LayerCost | None]], graph: SizedGraph
) -> tuple[tuple[LayerCost, ...], dict[str, int]]:
    layers: list[LayerCost] = []
    missed: collections.Counter[str] = collections.Counter(_unknown(graph))
    for node, layer in rows:
        if layer is None:
            missed[node.op_type] += 1
        elif layer.flops or layer.parameters:
            layers.append(layer)
    return tuple(layers), dict(sorted(missed.items(), key=lambda item: (-item[1], item[0])))


def _unknown(graph: SizedGraph) -> Iterator[str]:
    for node in graph.active():
        if not is_default_domain(node) or has_subgraph(node) or node.op_type in UNKNOWN:
            yield operator_name(node)


def _folded_standardisation(path: Path | None, model: onnx.ModelProto, graph: SizedGraph) -> dict[str, bool]:
    names = {node.input[1] for node in _convolutions(graph) if node.input[1] in graph.stored}
    return zero_mean_weights(path, model, names) if path is not None and names else {}


def _convolutions(graph: SizedGraph) -> list[Node]:
    return [node for node in graph.active() if node.op_type in fvcore.CONVOLUTIONS]


def _notes(graph: SizedGraph, folded: Mapping[str, bool], recipe: Recipe | None) -> Iterator[str]:
    convolutions = _convolutions(graph)
    if folded:
        users = sum(node.input[1] in folded for node in convolutions)
        yield (
            f"weight standardisation was folded: {users} of {len(convolutions)} convolutions have filters of mean 0, "
            "and are counted as standardised; gains are not among the parameters"
        )
        steps = recipe.passes if recipe is not None else ()
        if convolutions[0].input[1] not in folded and any(step.params.get("fold") is True for step in steps):
            yield (
                f"'{label(convolutions[0])}' holds the normalisation of the image too, and is not counted as "
                "standardised"
            )
    normalised = any(node.op_type == "BatchNormalization" for node in graph.active())
    standardised = folded or any(fvcore.is_standardised(graph, node) for node in convolutions)
    if not normalised and not standardised and any(macs.has_bias(node) for node in convolutions):
        yield (
            "a batch norm that was folded into a convolution cannot be told from its bias: timm counts 2 MACs an "
            "element for each, and two parameters a channel for one"
        )

"""Count what an inference with an ONNX file costs, without torch, a runtime or the weights."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
import onnx.shape_inference

from nfexport.errors import InputError
from nfexport.inspection.cost import fvcore, model_analyzer
from nfexport.inspection.cost.sized_graph import Node, SizedGraph, has_subgraph
from nfexport.inspection.cost.sizes import fix_sizes
from nfexport.inspection.cost.values import RULES, Cost, LayerCost, Rule
from nfexport.inspection.cost.zero_mean import zero_mean_weights
from nfexport.inspection.facts import read

KEPT = 4096
"""Bytes up to which constants are read: shapes hang on targets of Reshape, pads, axes and scales."""

UNKNOWN = frozenset(
    {
        *("ConvInteger", "QLinearConv", "MatMulInteger", "QLinearMatMul", "DeformConv", "Attention"),
        *("RNN", "LSTM", "GRU", "DFT", "STFT"),
    }
)
"""Operators that do much, and that neither rule counts here."""


def count_cost(
    model: str | Path | onnx.ModelProto,
    *,
    rule: Rule = "omz",
    batch: int = 1,
    size: tuple[int, int] | None = None,
) -> Cost:
    """Return what one inference costs by the rule 'omz' or 'timm'; docs/cost.md has the formulas.

    model is a file, or a model whose small constants hold their values (skim with keep). Symbolic dims of the
    input become batch and size (height, width); size is by default that of the recipe. A model is left as it is.
    Raises OnnxFileError as inspect does, and InputError for another rule, for a size that the file does not
    take, and where a dim has no number and nothing tells one."""
    if rule not in RULES:
        raise InputError(f"there is no rule '{rule}' to count by", fix=f"use {' or '.join(RULES)}")
    path = None if isinstance(model, onnx.ModelProto) else Path(model)
    if isinstance(model, onnx.ModelProto):
        proto = onnx.ModelProto()
        proto.CopyFrom(model)
    else:
        proto = read(Path(model), keep=KEPT)
    inputs = fix_sizes(proto, batch=batch, size=size)
    graph = SizedGraph(proto)
    notes = []
    if rule == "omz":
        rows = model_analyzer.layers(graph)
    else:
        folded = _standardised_weights(path, proto, graph)
        rows = fvcore.layers(graph, folded)
        notes = _notes(proto, graph, folded)
    layers, uncounted = _collect(rows, graph)
    return Cost(rule=rule, inputs=inputs, layers=layers, uncounted=uncounted, notes=tuple(notes))


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
        if node.domain not in ("", "ai.onnx"):
            yield f"{node.domain}::{node.op_type}"
        elif has_subgraph(node) or node.op_type in UNKNOWN:
            yield node.op_type


def _stored_weights(graph: SizedGraph) -> set[str]:
    return {
        node.input[1]
        for node in graph.active()
        if node.op_type in fvcore.CONVOLUTIONS and node.input[1] in graph.stored
    }


def _standardised_weights(path: Path | None, model: onnx.ModelProto, graph: SizedGraph) -> set[str]:
    names = _stored_weights(graph)
    return zero_mean_weights(path, model, names) if path is not None and names else set()


def _notes(model: onnx.ModelProto, graph: SizedGraph, folded: set[str]) -> list[str]:
    notes = []
    convolutions = [node for node in graph.active() if node.op_type in fvcore.CONVOLUTIONS]
    if folded:
        users = sum(node.input[1] in folded for node in convolutions)
        notes.append(
            f"{users} of {len(convolutions)} convolutions have filters of mean 0, so their weight standardisation was "
            "folded: it is counted as timm does; the gains that were folded are not in the parameters"
        )
    return notes

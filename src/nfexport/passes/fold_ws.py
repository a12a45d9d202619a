"""Fold weight standardisation: compute every convolution's weight once, instead of at every inference.

    Conv(x, f(constants))  →  Conv(x, w'),   w' = f(constants)

whatever operators f is made of: ReduceMean, Sub, Div and Sqrt from separate calls, BatchNormalization in
training form on a reshaped weight, a chain of Reshape, Cast, Transpose. f is evaluated in float64 and
rounded once. For weight standardisation f is w'[o] = gain[o]·scale·(w[o] − mean)/sqrt(var + eps), with mean
and biased variance over all axes but the first (arXiv:1903.10520, arXiv:2101.08692).

Ensures: no convolution is left whose weight is computed from constants. A weight that is not constant, or a
convolution inside If or Loop, is left alone and named. Idempotent: a folded graph has nothing to fold.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from nfexport.errors import PassError
from nfexport.passes import edit
from nfexport.passes.evaluate import ConstantEvaluator
from nfexport.passes.report import PassReport

NAME = "fold-ws"
CONVOLUTIONS = ("Conv", "ConvTranspose")


def apply(model: ir.Model) -> PassReport:
    """Fold in place and report how many convolutions were folded.

    Raises PassError if a constant weight cannot be evaluated, or overflows its type."""
    graph = model.graph
    evaluator = ConstantEvaluator(model)
    folded: dict[ir.Value, ir.Value] = {}
    convolutions: list[str] = []
    left_alone: dict[str, str] = {}
    bytes_before = _initializer_bytes(graph)
    for node, at_top in list(edit.nodes_with_subgraphs(graph)):
        if not edit.is_operator(node, *CONVOLUTIONS) or node.inputs[1] is None:
            continue
        weight = node.inputs[1]
        if edit.is_literal(weight):
            continue
        if not at_top:
            left_alone[str(node.name)] = "it is inside the body of an If or Loop"
            continue
        if (reason := evaluator.why_not_constant(weight)) is not None:
            left_alone[str(node.name)] = f"its weight is not constant: {reason}"
            continue
        if weight not in folded:
            folded[weight] = _fold(graph, evaluator, weight, node)
        node.replace_input_with(1, folded[weight])
        convolutions.append(str(node.name))
    names = {new: _source_name(old) for old, new in folded.items()}
    edit.remove_dead(model)
    _take_over_names(graph, names)
    _ensure(graph, evaluator)
    return PassReport(
        name=NAME,
        changed=len(convolutions),
        summary=_summary(len(convolutions), len(left_alone)),
        facts={
            "convolutions": convolutions,
            "weight_bytes_before": bytes_before,
            "weight_bytes_after": _initializer_bytes(graph),
        },
        left_alone=left_alone,
    )


def computed_weights(model: ir.Model) -> int:
    """Count the convolutions whose weight is computed in the graph from constants."""
    evaluator = ConstantEvaluator(model)
    return len(_unfolded(model.graph, evaluator))


def _fold(graph: ir.Graph, evaluator: ConstantEvaluator, weight: ir.Value, node: ir.Node) -> ir.Value:
    exact = evaluator.evaluate(weight)
    dtype = _dtype(weight, node)
    with np.errstate(over="ignore"):
        rounded = exact.astype(dtype.numpy())
    if not np.isfinite(rounded.astype(np.float64)).all():
        raise PassError(
            f"the standardised weight of node '{node.name}' is not finite in {dtype}",
            fix="check the checkpoint for filters whose weights are all equal or not finite",
        )
    return edit.add_initializer(graph, f"{_source_name(weight)}/folded", rounded)


def _dtype(weight: ir.Value, node: ir.Node) -> ir.DataType:
    for value in (weight, node.inputs[0], *edit.sources(weight)):
        if value is not None and value.dtype is not None and value.dtype.is_floating_point():
            return value.dtype
    return ir.DataType.FLOAT


def _source_name(weight: ir.Value) -> str:
    """Name a folded weight after the one large tensor that it was computed from."""
    sources = [value for value in edit.sources(weight) if value.is_initializer() and value.const_value is not None]
    largest = max(sources, key=lambda value: _size(value), default=weight)
    return str(largest.name)


def _size(value: ir.Value) -> int:
    assert value.const_value is not None
    return int(np.prod(value.const_value.shape.numpy(), dtype=np.int64))


def _take_over_names(graph: ir.Graph, names: dict[ir.Value, str]) -> None:
    for value, name in names.items():
        if name not in graph.initializers and value.is_initializer():
            old = str(value.name)
            value.name = name
            if old in graph.initializers:
                del graph.initializers[old]
                graph.register_initializer(value)


def _unfolded(graph: ir.Graph, evaluator: ConstantEvaluator) -> list[str]:
    return [
        str(node.name)
        for node in graph
        if edit.is_operator(node, *CONVOLUTIONS)
        and node.inputs[1] is not None
        and not edit.is_literal(node.inputs[1])
        and evaluator.why_not_constant(node.inputs[1]) is None
    ]


def _ensure(graph: ir.Graph, evaluator: ConstantEvaluator) -> None:
    if left := _unfolded(graph, evaluator):
        raise PassError(
            f"{len(left)} convolutions still compute their weight, the first is '{left[0]}'",
            fix="report the file: this is a fault of nfexport",
        )


def _initializer_bytes(graph: ir.Graph) -> int:
    return sum(v.const_value.nbytes for v in graph.initializers.values() if v.const_value is not None)


def _summary(folded: int, left: int) -> str:
    if not folded and not left:
        return "no convolution computes its weight; nothing to fold"
    text = f"{folded} convolution weights folded into constants"
    return f"{text}, {left} left alone" if left else text

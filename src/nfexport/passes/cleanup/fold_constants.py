"""Evaluate subgraphs that depend on constants alone: shapes, pads, transposed weights and scales.

Computed in float64 and rounded once. Standardised convolution weights are excluded: they belong to fold-ws, and an
export without it keeps them unfolded. Results much larger than their sources (an Expand or a ConstantOfShape in a
file from another producer) also stay, because folding them would inflate the file. Idempotent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nfexport.errors import PassError
from nfexport.graph import edit
from nfexport.graph.constant_evaluation import ConstantEvaluator
from nfexport.graph.libraries import ir
from nfexport.graph.recognisers import is_operator
from nfexport.graph.shape_inference import infer_shapes
from nfexport.passes.base import Bundle, Pass, Stage
from nfexport.passes.cleanup.tidy import lift_constants
from nfexport.passes.folds.fold_ws import CONVOLUTIONS

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


_GROWTH_LIMIT = 1 << 16
"""A result with more elements than twice its sources plus this many stays in the graph."""


class FoldConstants(Pass):
    """Evaluate subgraphs that depend on constants alone: shapes, pads, transposed weights and scales."""

    name = "fold-constants"
    stage, after = Stage.CLEANUP, ("tidy",)
    # other passes make more values constant
    again_after = ("fold-bn",)
    implied_by = (Bundle.EXPORT,)

    def call(self, model: ir.Model) -> PassOutcome:
        """Fold in place until nothing changes; each round sees the shapes that the previous one made constant."""
        folded, rounds = 0, 0
        while True:
            lift_constants(model.graph)
            count = _fold_once(model)
            folded, rounds = folded + count, rounds + 1
            if not count:
                break
            infer_shapes(model)
        return self.done(
            model,
            changed=folded,
            summary=f"{folded} constant expressions became initializers",
            facts={"rounds": rounds},
        )


def _fold_once(model: ir.Model) -> int:
    graph = model.graph
    evaluator = ConstantEvaluator(model)
    reserved = _standardised_weights(graph)
    folded = 0
    for value in _frontier(graph, evaluator, reserved):
        try:
            array = evaluator.evaluate(value)
        except PassError:
            continue
        if array.size > _GROWTH_LIMIT + 2 * _source_size(value):
            continue
        dtype = value.dtype or ir.DataType.from_numpy(array.dtype)
        if dtype == ir.DataType.DOUBLE and array.dtype.kind == "f" and not _is_double(value):
            dtype = ir.DataType.FLOAT
        new = edit.add_initializer(graph, _name(value), array.astype(dtype.numpy()))
        edit.replace_value(value, new)
        folded += 1
    edit.remove_dead(model)
    return folded


def _frontier(graph: ir.Graph, evaluator: ConstantEvaluator, reserved: set[ir.Node]) -> list[ir.Value]:
    """Return the last value of each constant chain: those with a reader that is not constant."""

    def is_constant(node: ir.Node) -> bool:
        return all(evaluator.why_not_constant(output) is None for output in node.outputs)

    found = []
    for node in graph:
        if node in reserved or not node.outputs or not is_constant(node):
            continue
        for output in node.outputs:
            readers = [use.node for use in output.uses()]
            if output.is_graph_output():
                continue
            if any(reader in reserved or reader.graph is not graph or not is_constant(reader) for reader in readers):
                found.append(output)
    return found


def _standardised_weights(graph: ir.Graph) -> set[ir.Node]:
    """Return the nodes between parameters and a Conv that compute its weight.

    Shape chains among them (the target of a Reshape) may still be folded."""
    nodes: set[ir.Node] = set()
    pending = [
        node.inputs[1].producer() for node in graph if is_operator(node, *CONVOLUTIONS) and node.inputs[1] is not None
    ]
    while pending:
        node = pending.pop()
        if node is None or node in nodes or is_operator(node, "Constant", "Shape"):
            continue
        if all(value.dtype is not None and not value.dtype.is_floating_point() for value in node.outputs):
            continue
        nodes.add(node)
        pending.extend(value.producer() for value in node.inputs if value is not None)
    return nodes


def _is_double(value: ir.Value) -> bool:
    return value.dtype == ir.DataType.DOUBLE


def _name(value: ir.Value) -> str:
    """Name a result after its only parameter, with a suffix, or else after the value that it replaces."""
    node = value.producer()
    if is_operator(node, "Transpose"):
        assert node is not None
        source = node.inputs[0]
        if source is not None and source.is_initializer():
            return f"{source.name}.T"
    return str(value.name)


def _source_size(value: ir.Value) -> int:
    arrays = [edit.constant(source) for source in edit.sources(value)]
    return sum(array.size for array in arrays if array is not None)

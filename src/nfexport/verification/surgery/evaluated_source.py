"""The file that surgery started from, computed by PyTorch: the reference in float64, the yardstick in float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import onnx_ir as ir

from nfexport.interpreter import uncovered_operators
from nfexport.verification.surgery.source_reference import Array, Arrays, chunks, joined

if TYPE_CHECKING:
    from nfexport.interpreter import GraphModule

STEPS = ("QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul")
"""Operators that turn a difference in the last place into one of a whole step, in float64 as anywhere."""


def why_not_evaluated(source: ir.Model) -> str | None:
    """Return why PyTorch cannot serve as the reference of a file; None if it can."""
    if missing := uncovered_operators(source):
        return f"the float64 evaluator does not cover {', '.join(missing)}"
    if quantised := sorted({node.op_type for node in source.graph.all_nodes()} & set(STEPS)):
        return f"{quantised[0]} rounds to whole steps"
    return None


def evaluate_source(
    source: ir.Model, batches: Sequence[Mapping[str, Array]], *, extra: Sequence[str], unit: float
) -> list[tuple[Arrays, list[Arrays]]]:
    """Return, for each batch, the outputs and the tensors named by extra in float64, and those of all runs, the
    float64 one first; the others are PyTorch's in float32 (see torch_reference.evaluate).

    Raises OnnxFileError if an operator does not take what it is given."""
    from nfexport.interpreter import GraphModule  # torch, which only a comparison needs

    names = list(dict.fromkeys([*(value.name or "" for value in source.graph.outputs), *extra]))
    module = GraphModule(source, outputs=names, widen=True)
    first = next(iter(source.graph.inputs), None)
    size = None if first is None or first.shape is None or not first.shape else first.shape[0]
    results = []
    for given in batches:
        parts = chunks(given, size if isinstance(size, int) else None)
        runs = [_runs(module, part, names, unit) for part in parts]
        whole = [joined(run) for run in zip(*runs, strict=True)]
        results.append((whole[0], whole))
    return results


def _runs(module: GraphModule, given: Mapping[str, Array], names: Sequence[str], unit: float) -> list[Arrays]:
    from nfexport.verification.file_preprocessing import NetworkImages
    from nfexport.verification.torch_reference import evaluate

    images = [NetworkImages(exact=given[name], float32=(given[name],)) for name in module.input_names]
    reference = evaluate(module, images, names, unit=unit)
    count = len(reference.float32[names[0]])
    others: list[Arrays] = [{name: reference.float32[name][i] for name in names} for i in range(count)]
    return [dict(reference.expected), *others]

"""What each pass did, with figures that a reviewer can reproduce."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from nfexport.graph.libraries import ir
from nfexport.passes.base import Pass

SHOWN = 5
"""Names of tensors that a summary lists before it counts the rest."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """One pass: its formula, and the graph before and after it.

    Bytes are those of all initializers. tensors names the initializers that are new or hold other numbers
    than before. largest_weight_error is the largest rounding of a written number over the largest number of
    its tensor, None for passes that write none."""

    name: str
    params: Mapping[str, Any]
    formula: str
    summary: str
    changed: int
    nodes_before: int
    nodes_after: int
    bytes_before: int
    bytes_after: int
    tensors: tuple[str, ...]
    largest_weight_error: float | None
    left_alone: Mapping[str, str]

    @property
    def did_something(self) -> bool:
        """True if the pass changed the graph, or had to leave something alone."""
        return bool(self.changed or self.tensors or self.left_alone or self.nodes_before != self.nodes_after)


def run_with_ledger(
    model: ir.Model, passes: Sequence[Pass], observe: Callable[[str], None] | None = None
) -> list[LedgerEntry]:
    """Run the passes in place, in the order given, and write down what each does.

    Raises PassError from a pass that refuses; what ran before it stays done."""
    entries = []
    for item in passes:
        if observe is not None:
            observe(item.name)
        nodes, size, tensors = _measure(model)
        report = item.apply(model)
        nodes_after, size_after, tensors_after = _measure(model)
        entries.append(
            LedgerEntry(
                name=item.name,
                params=msgspec.to_builtins(item.params),
                formula=item.formula,
                summary=report.summary,
                changed=report.changed,
                nodes_before=nodes,
                nodes_after=nodes_after,
                bytes_before=size,
                bytes_after=size_after,
                tensors=tuple(name for name, tensor in tensors_after.items() if tensors.get(name) is not tensor),
                largest_weight_error=report.facts.get("largest_weight_error"),
                left_alone=dict(report.left_alone),
            )
        )
    return entries


def _measure(model: ir.Model) -> tuple[int, int, dict[str, ir.TensorProtocol]]:
    """Return the number of nodes, the bytes of all initializers, and which tensor each of them holds."""
    tensors = {
        name: value.const_value for name, value in model.graph.initializers.items() if value.const_value is not None
    }
    nodes = sum(1 for _ in model.graph.all_nodes())
    return nodes, sum(tensor.nbytes for tensor in tensors.values()), tensors

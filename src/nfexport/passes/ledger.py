"""What each pass did, with figures that a reviewer can do again."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nfexport.graph.libraries import ir
from nfexport.passes import load
from nfexport.passes.report import PassReport
from nfexport.recipe.recipe import PassStep

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
    model: ir.Model, steps: Sequence[PassStep], observe: Callable[[str], None] | None = None
) -> list[LedgerEntry]:
    """Run the steps in place, in the order given, and write down what each does.

    Raises PassError from a pass that refuses; what ran before it stays done."""
    entries = []
    for step in steps:
        if observe is not None:
            observe(step.name)
        nodes, size, tensors = _measure(model)
        report: PassReport = load(step.name)(model, **step.params)
        nodes_after, size_after, tensors_after = _measure(model)
        entries.append(
            LedgerEntry(
                name=step.name,
                params=dict(step.params),
                formula=formula(step.name),
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


def formula(name: str) -> str:
    """Return the algebra that a pass states: the indented lines of its docstring."""
    module = importlib.import_module(load(name).__module__)
    lines = [line.strip() for line in (module.__doc__ or "").splitlines() if line.startswith("    ")]
    return "\n".join(line for line in lines if line)


def headline(name: str) -> str:
    """Return the first sentence of what a pass says of itself."""
    module = importlib.import_module(load(name).__module__)
    return " ".join((module.__doc__ or "").split("\n\n")[0].split())


def _measure(model: ir.Model) -> tuple[int, int, dict[str, ir.TensorProtocol]]:
    """Return the number of nodes, the bytes of all initializers, and which tensor each of them holds."""
    tensors = {
        name: value.const_value for name, value in model.graph.initializers.items() if value.const_value is not None
    }
    nodes = sum(1 for _ in model.graph.all_nodes())
    return nodes, sum(tensor.nbytes for tensor in tensors.values()), tensors

"""Print the cost of an inference."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.table import Table

from nfexport.cli.escaping import escape

if TYPE_CHECKING:
    from nfexport.cli.console import Console
    from nfexport.inspection.cost import Cost, LayerCost


def add_cost(table: Table, cost: Cost) -> None:
    """Add the totals, the shapes that they were counted at, and what could not be counted."""
    from nfexport.inspection.cost import RULES

    shapes = ", ".join(" × ".join(map(str, shape)) for shape in cost.inputs.values())
    table.add_row("cost", f"at {shapes}, {RULES[cost.rule]} (rule {cost.rule})")
    table.add_row("", f"{cost.macs / 1e9:.4f} GMACs, {cost.flops / 1e9:.4f} GFLOPs")
    table.add_row("", f"{cost.activations / 1e6:.4f} M activations, {cost.parameters / 1e6:.4f} M parameters")
    if cost.uncounted:
        total = sum(cost.uncounted.values())
        operators = ", ".join(f"{name} {count}" for name, count in cost.uncounted.items())
        table.add_row("[yellow]not counted[/]", escape(f"{total} nodes: {operators}; the totals are too small"))
    for note in cost.notes:
        table.add_row("note", escape(note))


def show_layers(cost: Cost, console: Console, *, sort: str) -> None:
    """Print a row for each layer, in the order of the graph or the largest first."""
    table = Table(box=None, pad_edge=False)
    for column in ("layer", "operator", "output"):
        table.add_column(column, overflow="fold")
    for column in ("MACs", "FLOPs", "activations", "parameters"):
        table.add_column(column, justify="right", no_wrap=True, min_width=len(f"{_largest(cost, column):,}"))
    for layer in _sorted(cost.layers, sort):
        numbers = (layer.macs, layer.flops, layer.activations, layer.parameters)
        shape = " × ".join(map(str, layer.shape))
        table.add_row(escape(layer.name), layer.op, shape, *(f"{number:,}" for number in numbers))
    console.out.print(table)


def _largest(cost: Cost, column: str) -> int:
    return max((int(getattr(layer, column.lower())) for layer in cost.layers), default=0)


def _sorted(layers: Iterable[LayerCost], sort: str) -> list[LayerCost]:
    if sort == "graph":
        return list(layers)
    return sorted(layers, key=lambda layer: -int(getattr(layer, sort)))

"""The cost of an inference, as a value."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

Rule = Literal["omz", "timm"]

RULES: Mapping[Rule, str] = {
    "omz": "as OpenVINO's Model Analyzer, behind the documents of the Open Model Zoo",
    "timm": "as fvcore, behind timm's published tables",
}
"""Rule → the tool that counts like this."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerCost:
    """The cost of one layer; shape is that of its output. A layer is a node, or several that are counted as one
    (op is then 'Swish'), or the standardisation of a node's weight (op is then 'weight standardisation')."""

    name: str
    op: str
    shape: tuple[int, ...]
    macs: int = 0
    flops: int = 0
    activations: int = 0
    parameters: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values for JSON."""
        return {**dataclasses.asdict(self), "shape": list(self.shape)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of one inference by one rule; docs/cost.md has the formulas.

    inputs are the shapes that were counted at, batch included. layers hold all that costs or has parameters,
    in the order of the graph; the totals are their sums. uncounted says, by operator, how many nodes could not
    be counted: the totals are too small by their cost. notes are what else a reader must know.
    """

    rule: Rule
    inputs: Mapping[str, tuple[int, ...]]
    layers: tuple[LayerCost, ...]
    uncounted: Mapping[str, int]
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """The constants that the rule counts, in elements."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        """Pairs of one multiplication and one addition; by 'timm' what its tables call MACs."""
        return sum(layer.macs for layer in self.layers)

    @property
    def flops(self) -> int:
        """Floating-point operations; by 'timm' twice the MACs."""
        return sum(layer.flops for layer in self.layers)

    @property
    def activations(self) -> int:
        """The elements that convolutions and matrix products write."""
        return sum(layer.activations for layer in self.layers)

    def to_dict(self, *, layers: bool = True) -> dict[str, Any]:
        """Return plain Python values for JSON, without the layers if asked."""
        totals = {
            "rule": self.rule,
            "inputs": {name: list(shape) for name, shape in self.inputs.items()},
            "parameters": self.parameters,
            "macs": self.macs,
            "flops": self.flops,
            "activations": self.activations,
            "uncounted": dict(self.uncounted),
            "notes": list(self.notes),
        }
        return {**totals, "layers": [layer.to_dict() for layer in self.layers]} if layers else totals

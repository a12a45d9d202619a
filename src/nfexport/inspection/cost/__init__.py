"""The cost of an inference with an ONNX file: operations, activations and parameters, by one of two rules."""

from __future__ import annotations

from nfexport.inspection.cost.count import count_cost
from nfexport.inspection.cost.layer_costs import RULES, Cost, LayerCost, Rule

__all__ = ["count_cost", "Cost", "LayerCost", "Rule", "RULES"]

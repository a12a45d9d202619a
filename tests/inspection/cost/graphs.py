"""Toy graphs with one picture input, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from nfexport.inspection.cost import Cost, LayerCost, Rule, count_cost
from tests.inspection.files import floats, model, node

PICTURE = 3 * 8 * 8
"""Elements of the input, at batch 1."""


def cost_of(nodes: Sequence[onnx.NodeProto], initializers: Sequence[onnx.TensorProto] = (), **options: Any) -> Cost:
    rule: Rule = options.pop("rule", "omz")
    batch = options.pop("batch", 1)
    size = options.pop("size", None)
    return count_cost(model(nodes, initializers, **options), rule=rule, batch=batch, size=size)


def numbers(name: str, *values: float, dtype: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values if len(values) != 1 else values[0], dtype), name)


def only(cost: Cost) -> LayerCost:
    (layer,) = cost.layers
    return layer


__all__ = ["PICTURE", "cost_of", "floats", "model", "node", "numbers", "only"]

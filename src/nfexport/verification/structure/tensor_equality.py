"""Whether two stored tensors are equal, and in what they differ."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from nfexport.graph import edit
from nfexport.inspection.difference import differing

ROUNDING = 4.0
"""Units in the last place of the largest number by which a float may differ where versions of libraries do: what a
fold in float64 gives depends on the order in which a version adds, and is rounded once."""


def constant_of(value: ir.Value) -> ir.TensorProtocol | None:
    """Return the tensor of an initializer or a Constant node that the caller of the file cannot replace."""
    if value.is_graph_input() or not edit.is_literal(value):
        return None
    try:
        return edit.constant_tensor(value)
    except (TypeError, ValueError):  # a Constant without one value: it is compared like any other node
        return None


def form(tensor: ir.TensorProtocol) -> str:
    """Return the element type and the shape, such as 'float [8, 3, 3, 3]'."""
    return f"{str(tensor.dtype).lower()} {list(tensor.shape.numpy())}"


def difference(found: ir.TensorProtocol, wanted: ir.TensorProtocol, *, units: float) -> tuple[str, bool]:
    """Return in what a tensor differs from the wanted one, '' if it does not, and whether it is equal to rounding
    only.

    With units of 0 every bit counts; else floats may differ by so many units in the last place of the largest."""
    if form(found) != form(wanted):
        return f"is {form(found)} instead of {form(wanted)}", False
    if found.tobytes() == wanted.tobytes():
        return "", False
    x, y = found.numpy(), wanted.numpy()
    if found.dtype == ir.DataType.STRING or x.dtype.kind == "c":
        return "holds other values", False
    allowed = 0.0
    if units and x.dtype.kind == "f":
        finite = np.abs(y.astype(np.float64))
        allowed = units * float(np.finfo(x.dtype).eps) * float(finite[np.isfinite(finite)].max(initial=0.0))
    count, largest = differing(x, y, allowed)
    if count:
        return f"differs at {count:,} of {x.size:,} numbers, by up to {largest:.3g}", False
    return ("", True) if units else ("differs in the signs of zeros or the bits of NaN", False)

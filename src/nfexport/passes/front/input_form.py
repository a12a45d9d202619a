"""Let the file take pictures in another element type or layout than the network's own.

    x' = Transpose(Cast(x))        Cast to the network's type, then [N, H, W, C] to [N, C, H, W]

The graph's input changes its type and shape; symbolic sizes and its name stay. Casting comes first: no
arithmetic may happen on uint8, and TensorRT allows a uint8 input to be read by a Cast alone. The Cast from
uint8 or float16 to float32 is exact. uint8 says nothing of the range: dividing by 255 is normalize's.

Without effect where the network takes that type and layout as it is. Refuses a graph that already casts or
transposes its input, and so to be applied twice.
"""

from __future__ import annotations

from typing import Literal

from nfexport.errors import PassError
from nfexport.graph.libraries import ir, np
from nfexport.passes.front.preprocessing.graph_head import NCHW_TO_NHWC, NHWC_TO_NCHW, find_head, put_in_front
from nfexport.passes.report import PassReport

NAME = "input-form"

TYPES = ("uint8", "float32", "float16")
LAYOUTS = ("nchw", "nhwc")


def apply(
    model: ir.Model,
    *,
    dtype: Literal["uint8", "float32", "float16"] = "float32",
    layout: Literal["nchw", "nhwc"] = "nchw",
) -> PassReport:
    """Change the input's form in place.

    Raises PassError, and leaves the model as it was, if the input has another form already."""
    if dtype not in TYPES:
        raise PassError(f"'{dtype}' is no type for pictures", fix=f"pass --input-dtype {', '.join(TYPES)}")
    if layout not in LAYOUTS:
        raise PassError(f"'{layout}' is no layout of pictures", fix=f"pass --input-layout {' or '.join(LAYOUTS)}")
    head = find_head(model)
    if head.form:
        raise PassError(
            f"input '{head.entry.name}' already goes through node '{head.form[0].name}' ({head.form[0].op_type})",
            fix="start from the file in which the network takes the picture as it is",
        )
    nodes = []
    # what is put in front last is computed first
    if layout == "nhwc":
        nodes.append(put_in_front(head, "Transpose", attributes={"perm": list(NHWC_TO_NCHW)}))
        head.entry.shape = ir.Shape([head.shape[axis] for axis in NCHW_TO_NHWC])
    taken = ir.DataType.from_numpy(np.dtype(dtype))
    if taken != head.dtype:
        nodes.append(put_in_front(head, "Cast", attributes={"to": int(head.dtype)}))
        nodes[-1].outputs[0].shape = head.entry.shape
        head.entry.type = ir.TensorType(taken)
    names = [str(node.name) for node in reversed(nodes)]
    return PassReport(
        name=NAME,
        changed=len(nodes),
        summary=f"the file takes {dtype} {layout.upper()}" + (f", by {' and '.join(names)}" if names else ""),
        facts={"dtype": dtype, "layout": layout, "nodes": names},
    )

"""Drop an Expand in front of an operator that broadcasts anyway.

    Mul(x, Expand(g, Shape(x)))  →  Mul(x, g)        the same for Add, Sub, Div

An attention gate written with expand_as is stored at the size of the feature map, at every inference. Exact:
an Expand to x's shape only repeats elements, as the operator does by itself. Idempotent.
"""

from __future__ import annotations

from nfexport.graph import edit
from nfexport.graph.libraries import ir
from nfexport.graph.recognisers import is_operator
from nfexport.passes.report import PassReport

NAME = "drop-expand"


def apply(model: ir.Model) -> PassReport:
    """Rewrite in place and report how many were dropped."""
    dropped = 0
    for node in model.graph:
        if not is_operator(node, "Mul", "Add", "Sub", "Div"):
            continue
        for index in (0, 1):
            value, other = node.inputs[index], node.inputs[1 - index]
            expand = None if value is None else value.producer()
            if expand is None or other is None or not is_operator(expand, "Expand"):
                continue
            target = expand.inputs[1]
            shape = None if target is None else target.producer()
            if shape is None or not is_operator(shape, "Shape") or shape.inputs[0] is not other:
                continue
            if {"start", "end"} & set(shape.attributes):
                continue
            node.replace_input_with(index, expand.inputs[0])
            dropped += 1
    if dropped:
        edit.remove_dead(model)
    return PassReport(name=NAME, changed=dropped, summary=f"{dropped} Expand in front of a broadcast dropped")

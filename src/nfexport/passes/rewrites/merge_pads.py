"""Merge a Pad into the MaxPool that follows, where the maximum stays the same.

The pads p must be smaller than the kernel, so that each window contains an element of x. MaxPool pads with −∞;
padding with 0 gives the same maximum where x ≥ 0: after Relu, Sigmoid, and operators that keep their sign.

Why: a Pad copies the whole feature map in ONNX Runtime's plain layout, with a reorder before and after. If a map that
is padded with 0 may be negative, the results differ, and the pair stays (guard-pooling keeps ONNX Runtime from fusing
it).

Leaves alone, and names: a MaxPool after a zero Pad whose input may be negative; a Pad with another mode or value, or
of axes other than height and width; a MaxPool that also pads by itself. Idempotent.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nfexport.graph import edit
from nfexport.graph.libraries import ir
from nfexport.graph.recognisers import is_operator, label
from nfexport.passes.base import Bundle, Pass, Stage
from nfexport.recipe.option import Option

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


NOT_NEGATIVE = ("Relu", "Sigmoid", "HardSigmoid", "Softmax", "Softplus", "Exp", "Abs", "Sqrt")
KEEPS_SIGN = ("Identity", "MaxPool", "AveragePool", "GlobalAveragePool")


class MergePads(Pass):
    """Merge a Pad into the MaxPool that follows, where the maximum stays the same."""

    name = "merge-pads"
    stage, after = Stage.REWRITES, ("pool-globally",)
    options = (
        Option(
            flag="--merge-pads",
            kind="switch",
            help="Merge a Pad into the MaxPool that follows.",
            default_text="with --optimize",
        ),
    )
    implied_by = (Bundle.OPTIMIZE,)
    brings = ("fold-constants", "drop-expand", "static-shapes")
    formula = (
        "MaxPool(Pad(x, −∞))  =  MaxPool(x, pads = p)\nMaxPool(Pad(x, 0))   =  MaxPool(x, pads = p)      for x ≥ 0"
    )

    def call(self, model: ir.Model) -> PassOutcome:
        """Merge in place and report which poolings pad now."""
        changed: list[str] = []
        left_alone: dict[str, str] = {}
        for node in list(model.graph):
            if not is_operator(node, "MaxPool") or node.inputs[0] is None or len(node.outputs) > 1:
                continue
            pad = node.inputs[0].producer()
            if pad is None or not is_operator(pad, "Pad"):
                continue
            padding = _padding(pad)
            if padding is None:
                left_alone[label(node)] = "its Pad is not one of height and width by a known constant"
                continue
            amounts, fill = padding
            if reason := _why_not(node, amounts) or _why_not_fill(pad, fill):
                left_alone[label(node)] = reason
                continue
            node.attributes.pop("auto_pad", None)
            node.attributes["pads"] = ir.AttrInt64s("pads", amounts)
            node.replace_input_with(0, pad.inputs[0])
            changed.append(label(node))
        if changed:
            edit.remove_dead(model)
        return self.rewrote(model, changed, "Pad merged into the MaxPool behind them", left_alone)


def _why_not(pool: ir.Node, amounts: tuple[int, ...]) -> str | None:
    given = pool.attributes
    kernel = given["kernel_shape"].as_ints()
    if given.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or any(given.get_ints("pads", ())):
        return "it pads by itself too"
    if given.get_int("ceil_mode", 0) or any(dilation != 1 for dilation in given.get_ints("dilations", ())):
        return "it rounds its size up or is dilated"
    if any(amount >= kernel[index % 2] for index, amount in enumerate(amounts)):
        return "a window may lie in the padding alone"
    return None


def _why_not_fill(pad: ir.Node, fill: float) -> str | None:
    if fill == -math.inf or (fill == 0 and is_not_negative(pad.inputs[0])):
        return None
    return "what is padded may be negative" if fill == 0 else f"it is padded with {fill:g}"


def is_not_negative(value: ir.Value | None) -> bool:
    """Return whether the value is known to be 0 or more."""
    node = None if value is None else value.producer()
    if is_operator(node, *NOT_NEGATIVE):
        return True
    return node is not None and is_operator(node, *KEEPS_SIGN) and is_not_negative(node.inputs[0])


def _padding(pad: ir.Node) -> tuple[tuple[int, ...], float] | None:
    """Return how many cells a Pad adds [top, left, bottom, right], and their value; None if it does anything else."""
    if pad.attributes.get_string("mode", "constant") != "constant":
        return None
    if "pads" in pad.attributes:
        pads = list(pad.attributes["pads"].as_ints())
        fill = pad.attributes.get_float("value", 0.0)
    else:
        if len(pad.inputs) > 3 and pad.inputs[3] is not None:
            return None  # some axes alone
        array = edit.constant(pad.inputs[1])
        if array is None:
            return None
        pads = [int(amount) for amount in array]
        given = pad.inputs[2] if len(pad.inputs) > 2 else None
        constant = edit.constant(given)
        if given is not None and constant is None:
            return None
        fill = 0.0 if constant is None else float(constant.item())
    if len(pads) != 8 or any(pads[i] for i in (0, 1, 4, 5)) or min(pads) < 0:
        return None
    return (pads[2], pads[3], pads[6], pads[7]), fill

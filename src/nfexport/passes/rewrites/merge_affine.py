"""Replace the scale and offset after a group normalisation by one depthwise convolution.

x [batch, C, height, width] is the output of InstanceNormalization after the Reshape that restores the channels; a and
b are constants per channel, or scalars.

Why: exporters write a group normalisation as InstanceNormalization over reshaped groups, a product and a sum. ONNX
Runtime reads and writes the feature map for each of them, and once more for the Relu that follows. A depthwise
convolution does this in one pass, includes the Relu, and hands its output to the next convolution in the blocked
layout. Scales and offsets after a convolution are left to fold-bn and fold-scales, which need no node at all.

Leaves alone, and names: channels that are not a multiple of 16, for which runtimes have no fast depthwise
convolution; factors that vary along anything but channels. Idempotent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nfexport.graph import edit
from nfexport.graph.constants import fixed_tensor
from nfexport.graph.libraries import Array, ir, np
from nfexport.graph.recognisers import is_operator, label
from nfexport.passes.base import Bundle, Changes, Pass, Stage
from nfexport.recipe.option import Option

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


BLOCK = 16
AXIS = 1


class MergeAffine(Pass):
    """Replace the scale and offset after a group normalisation by one depthwise convolution."""

    name = "merge-affine"
    stage, after = Stage.REWRITES, ("merge-groups",)
    options = (
        Option(
            flag="--merge-affine",
            kind="switch",
            help="Replace scale and offset of group norms by a convolution.",
            default_text="with --optimize",
        ),
    )
    implied_by = (Bundle.OPTIMIZE,)
    changes = Changes.WEIGHTS
    brings = ("fold-constants", "drop-expand", "static-shapes")
    formula = (
        "Add(Mul(x, a), b)  =  Conv(x, w, b, groups = C, kernel 1 × 1),    w[c, 0, 0, 0] = a[c],   w = 1 without Mul"
    )

    def call(self, model: ir.Model) -> PassOutcome:
        """Merge in place and report the sums that became convolutions."""
        graph = model.graph
        merged: list[str] = []
        left_alone: dict[str, str] = {}
        for node in list(graph):
            if not is_operator(node, "InstanceNormalization"):
                continue
            x, product, addition = _behind(node)
            if addition is None:
                continue
            name = label(addition)
            channels = _channels(x)
            if channels is None:
                left_alone[name] = "its channels are unknown"
            elif channels % BLOCK:
                left_alone[name] = f"its {channels} channels are not a multiple of {BLOCK}"
            else:
                scale = np.ones(1, np.float32) if product is None else _constant(product, x)
                offset = _constant(addition, x if product is None else product.outputs[0])
                scale, offset = _per_channel(scale, channels), _per_channel(offset, channels)
                if scale is None or offset is None:
                    left_alone[name] = "it varies along more than its channels"
                    continue
                _replace(graph, x, addition, scale.astype(offset.dtype), offset)
                merged.append(name)
        if merged:
            edit.remove_dead(model)
        return self.rewrote(
            model, merged, "scales and offsets of normalisations merged into depthwise convolutions", left_alone
        )


def _behind(normalisation: ir.Node) -> tuple[ir.Value, ir.Node | None, ir.Node | None]:
    """Return what is scaled, the product if there is one, and the sum, if both are with constants."""
    x = normalisation.outputs[0]
    reader = edit.sole_consumer(x)
    if is_operator(reader, "Reshape") and reader is not None:
        x = reader.outputs[0]
        reader = edit.sole_consumer(x)
    product = None
    if reader is not None and is_operator(reader, "Mul") and _constant(reader, x) is not None:
        product = reader
        reader = edit.sole_consumer(reader.outputs[0])
    operand = x if product is None else product.outputs[0]
    if reader is None or not is_operator(reader, "Add") or _constant(reader, operand) is None:
        return x, product, None
    return x, product, reader


def _constant(node: ir.Node, operand: ir.Value) -> Array | None:
    """Return the constant that a node joins with its operand."""
    other = node.inputs[1] if node.inputs[0] is operand else node.inputs[0]
    tensor = fixed_tensor(other)
    return None if tensor is None else tensor.numpy()


def _channels(x: ir.Value) -> int | None:
    channels = x.shape[AXIS] if x.shape is not None and len(x.shape) == 4 else None
    return channels if isinstance(channels, int) else None


def _per_channel(array: Array | None, channels: int) -> Array | None:
    """Return the constant as [channels]; None if it varies along another axis than that."""
    if array is None or array.ndim > 4:
        return None
    if array.size == 1:
        return np.full(channels, array.item(), array.dtype)
    wide = array.shape[-3] if array.ndim >= 3 else None
    return array.reshape(-1) if wide == channels == array.size else None


def _replace(graph: ir.Graph, x: ir.Value, addition: ir.Node, scale: Array, offset: Array) -> None:
    name, old = str(addition.name), addition.outputs[0]
    weight = edit.add_initializer(graph, f"{name}/scale", scale.reshape(-1, 1, 1, 1))
    bias = edit.add_initializer(graph, f"{name}/offset", offset)
    convolution = ir.node("Conv", [x, weight, bias], {"group": len(scale), "kernel_shape": [1, 1]}, name=name)
    new = convolution.outputs[0]
    new.shape, new.type = old.shape, old.type
    convolution.metadata_props.update(addition.metadata_props)
    graph.insert_before(addition, convolution)
    edit.put_in_place(new, addition)

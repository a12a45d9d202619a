"""What a first convolution sees beyond the border of the image: its own zeros, or what a Pad puts there."""

from __future__ import annotations

from nfexport.errors import PassError
from nfexport.graph import edit
from nfexport.graph.constants import set_constant
from nfexport.graph.libraries import Array, ir, np
from nfexport.passes.front.preprocessing.graph_head import Head, insert_behind

INPUTS_SINCE = 11
"""The opset from which Pad takes pads and value as inputs, where it had attributes."""


def pads_itself(conv: ir.Node) -> bool:
    """Return whether the convolution adds zeros around its input."""
    mode = conv.attributes.get_string("auto_pad", "NOTSET")
    return mode.startswith("SAME") or (mode == "NOTSET" and any(conv.attributes.get_ints("pads", ())))


def explicit_pads(conv: ir.Node) -> tuple[int, ...] | None:
    """Return the convolution's pads [top, left, bottom, right]; None if they follow from the input's size."""
    if conv.attributes.get_string("auto_pad", "NOTSET").startswith("SAME"):
        return None
    return tuple(conv.attributes.get_ints("pads", (0, 0, 0, 0)))


def fill_value(pad: ir.Node, opset: int, *, fix: str) -> float | None:
    """Return the constant that a Pad puts around the image; None if it repeats the image's own pixels.

    Raises PassError with this fix unless it is known to pad height and width alone."""
    amounts, axes, value = _parameters(pad, opset)
    if amounts is None or axes is None or value is None:
        raise PassError(f"what node '{pad.name}' (Pad) adds is computed at run time", fix=fix)
    before, after = amounts.reshape(2, -1)
    padded = {int(axis) % 4 for axis in axes[(before != 0) | (after != 0)]}
    if padded & {0, 1}:
        raise PassError(f"node '{pad.name}' (Pad) adds more than rows and columns", fix=fix)
    if not padded or pad.attributes.get_string("mode", "constant") != "constant":
        return None
    return float(value.item())


def set_fill_value(graph: ir.Graph, pad: ir.Node, opset: int, value: Array) -> None:
    """Let a Pad put another constant around the image; value is a scalar of the image's type."""
    if opset < INPUTS_SINCE:
        pad.attributes["value"] = ir.AttrFloat32("value", float(value))
    else:
        set_constant(graph, pad, 2, value, named=f"{pad.name}/constant_value")


def put_pad_in_front(head: Head, conv: ir.Node, opset: int, value: Array) -> ir.Node:
    """Let a Pad with this constant add what the convolution adds by itself as zeros."""
    source = conv.inputs[0]
    pads = explicit_pads(conv)
    assert source is not None
    assert pads is not None
    amounts = np.array([0, 0, *pads[:2], 0, 0, *pads[2:]], np.int64)
    if opset < INPUTS_SINCE:
        node = insert_behind(head, source, "Pad", (), {"pads": amounts.tolist(), "value": float(value)})
    else:
        constants = {"pads": amounts, "constant_value": value}
        inputs = [edit.add_initializer(head.graph, f"/preprocessing/{name}", a) for name, a in constants.items()]
        node = insert_behind(head, source, "Pad", inputs)
    node.outputs[0].shape = ir.Shape(
        [
            size + amounts[axis] + amounts[axis + 4] if isinstance(size, int) else size if axis < 2 else None
            for axis, size in enumerate(head.shape)
        ]
    )
    conv.replace_input_with(0, node.outputs[0])
    conv.attributes.pop("pads")
    return node


def _parameters(pad: ir.Node, opset: int) -> tuple[Array | None, Array | None, Array | None]:
    """Return pads, the axes that they are for, and the constant; None for what is not constant."""
    every_axis = np.arange(4)
    if opset < INPUTS_SINCE:
        return (
            np.array(pad.attributes["pads"].as_ints()),
            every_axis,
            np.array(pad.attributes.get_float("value", 0.0)),
        )
    inputs = [*pad.inputs, None, None][:4]
    return (
        edit.constant(inputs[1]),
        every_axis if inputs[3] is None else edit.constant(inputs[3]),
        np.array(0.0) if inputs[2] is None else edit.constant(inputs[2]),
    )

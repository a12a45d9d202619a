"""Find the first convolutions that read an image, and the nodes before them.

image ─(Sub, Div, … per channel)▶ ─(Pad)▶ Conv, Conv, …
"""

from __future__ import annotations

import msgspec

from nfexport.errors import PassError
from nfexport.graph import edit
from nfexport.graph.libraries import Array, ir, np
from nfexport.graph.recognisers import is_operator
from nfexport.passes.front.preprocessing.graph_head import Head

PER_CHANNEL = ("Sub", "Add", "Div", "Mul")


class Branch(msgspec.Struct, frozen=True, kw_only=True):
    """A convolution that reads the image, and the Pad before it, if there is one."""

    conv: ir.Node
    pad: ir.Node | None

    @property
    def group(self) -> int:
        """The number of groups of the convolution."""
        return self.conv.attributes.get_int("group", 1)

    @property
    def weight(self) -> Array:
        """The constant weight [O, I/group, kH, kW]."""
        array = edit.constant(self.conv.inputs[1])
        assert array is not None
        return array

    @property
    def channels_of_weight(self) -> Array:
        """Say which channel of the image each [o, i] of the weight reads, as an array [O, I/group]."""
        outputs, inputs = self.weight.shape[:2]
        group_of_output = np.arange(outputs) // (outputs // self.group)
        channels: Array = group_of_output[:, None] * inputs + np.arange(inputs)
        return channels


def per_channel_nodes(head: Head) -> tuple[tuple[ir.Node, ...], ir.Value]:
    """Return the Sub, Add, Div and Mul by constants per channel that follow the image, and their result."""
    nodes: list[ir.Node] = []
    value = head.image
    while (node := edit.sole_consumer(value)) is not None and is_operator(node, *PER_CHANNEL):
        if node.graph is not head.graph or not _is_per_channel(edit.constant(_other(node, value)), head.channels):
            break
        nodes.append(node)
        value = node.outputs[0]
    return tuple(nodes), value


def first_convolutions(head: Head, value: ir.Value, *, fix: str) -> tuple[Branch, ...]:
    """Return the convolutions that read the value, each directly or behind a Pad.

    Raises PassError with this fix if something else reads it, or if a weight is not constant."""
    branches: list[Branch] = []
    for node in _readers(value, fix):
        if is_operator(node, "Pad"):
            branches.extend(Branch(conv=conv, pad=node) for conv in _readers(node.outputs[0], fix))
        else:
            branches.append(Branch(conv=node, pad=None))
    for branch in branches:
        _check_convolution(branch, head.channels, fix)
    return tuple(branches)


def _readers(value: ir.Value, fix: str) -> list[ir.Node]:
    """Return the nodes that read the value; raise PassError unless all are Conv, or Pad before Conv."""
    # what asks for the shape alone sees no pixel
    nodes = [node for node in dict.fromkeys(value.consumers()) if not is_operator(node, "Shape", "Size")]
    allowed = ("Conv",) if is_operator(value.producer(), "Pad") else ("Conv", "Pad")
    for node in nodes:
        as_image = [index for index, read in enumerate(node.inputs) if read is value] == [0]
        if not is_operator(node, *allowed) or not as_image or node.graph is not value.graph:
            raise PassError(
                f"node '{node.name}' ({node.op_type}) reads the image, and only a convolution can be folded into",
                fix=fix,
            )
    if value.is_graph_output():
        raise PassError(f"'{value.name}', which the first convolution reads, is an output of the graph too", fix=fix)
    return nodes


def _check_convolution(branch: Branch, channels: int, fix: str) -> None:
    weight = edit.constant(branch.conv.inputs[1])
    if weight is None:
        raise PassError(
            f"the weight of the first convolution '{branch.conv.name}' is not constant",
            fix=f"pass --fold-ws, or {fix}",
        )
    if weight.ndim != 4 or weight.shape[1] * branch.group != channels:
        raise PassError(
            f"the first convolution '{branch.conv.name}' does not read the image's {channels} channels", fix=fix
        )


def _other(node: ir.Node, value: ir.Value) -> ir.Value | None:
    return node.inputs[1] if node.inputs[0] is value else node.inputs[0]


def _is_per_channel(array: Array | None, channels: int) -> bool:
    if array is None or array.ndim > 4:
        return False
    shape = (1,) * (4 - array.ndim) + array.shape
    return shape[1] in (1, channels) and (shape[0], *shape[2:]) == (1, 1, 1)

"""Give a value more channels that nothing depends on, together with all values that share its channels.

    y = Conv₂(f(Conv₁(x)))  is unchanged if Conv₁ gets additional filters and Conv₂ additional columns, all zeros

    w₁' = [w₁; 0],  b₁' = [b₁; 0]   makes the channels;      w₂' = [w₂, 0]   reads them with weight 0

The operators between the two keep channels apart: their results for the new channels are finite, and are
multiplied by 0. Zero filters of a convolution with groups make new groups, which read the new channels.
"""

from __future__ import annotations

from collections.abc import Iterable

from nfexport.graph import edit
from nfexport.graph.constants import set_constant
from nfexport.graph.libraries import Array, ir, np
from nfexport.graph.recognisers import is_operator, label

ONE_INPUT = frozenset(
    {
        *("Identity", "Neg", "Relu", "LeakyRelu", "Elu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh"),
        *("Erf", "Gelu", "AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool"),
    }
)
"""Operators of one input whose finite channels stay finite, and apart."""

TWO_INPUTS = frozenset({"Add", "Sub", "Mul"})
"""Operators of two inputs, of which either both have the channels, or one is a constant."""

CHANNELS = 1


class WideningError(Exception):
    """Why the channels cannot become more, in words for a report."""


class Widening:
    """The plan to widen the input and output of one grouped convolution to `wanted` channels.

    Raises WideningError if one of the values that share its channels cannot be widened."""

    def __init__(self, node: ir.Node, wanted: int) -> None:
        source, result = node.inputs[0], node.outputs[0]
        assert source is not None
        self._channels = _channel_count(source)
        self._wanted = wanted
        self._values: dict[ir.Value, None] = {}
        self._more: dict[tuple[ir.Node, int], dict[int, None]] = {}
        self._grouped: dict[ir.Node, int] = {}
        pending = [source, result]
        while pending:
            pending += self._widen(pending.pop())

    def carry_out(self, graph: ir.Graph) -> None:
        """Write the wider constants, the group counts, and the shapes of the values that became wider."""
        for (node, index), axes in self._more.items():
            array = edit.constant(node.inputs[index])
            assert array is not None
            set_constant(graph, node, index, self._filled(array, axes))
        for node, groups in self._grouped.items():
            node.attributes["group"] = ir.AttrInt64("group", groups)
        for value in self._values:
            if value.shape is not None:
                dims = list(value.shape)
                dims[CHANNELS] = self._wanted
                value.shape = ir.Shape(dims)

    def _filled(self, array: Array, axes: Iterable[int]) -> Array:
        missing = self._wanted - self._channels
        return np.pad(array, [(0, missing if axis in axes else 0) for axis in range(array.ndim)])

    def _widen(self, value: ir.Value) -> list[ir.Value]:
        """Take a value in, and return the values that have to follow."""
        if value in self._values:
            return []
        if value.is_graph_output() or value.producer() is None:
            raise WideningError(f"'{value.name}' is an input or output of the graph")
        if _channel_count(value) != self._channels:
            raise WideningError(f"'{value.name}' has another number of channels")
        self._values[value] = None
        producer = value.producer()
        assert producer is not None
        found = self._made_by(producer, value)
        for usage in value.uses():
            found += self._read_by(usage.node, usage.idx)
        return found

    def _made_by(self, node: ir.Node, value: ir.Value) -> list[ir.Value]:
        if is_operator(node, "Conv"):
            if node.attributes.get_int("group", 1) > 1:
                return self._pass_through_groups(node)
            self._need(node, 1, 0)
            if len(node.inputs) > 2 and node.inputs[2] is not None:
                self._need(node, 2, 0)
            return []
        if value is not node.outputs[0]:
            raise WideningError(f"'{value.name}' is a second output of node '{label(node)}'")
        return self._pass_through(node)

    def _read_by(self, node: ir.Node, index: int) -> list[ir.Value]:
        if is_operator(node, "Conv"):
            if index != 0:
                raise WideningError(f"node '{label(node)}' convolves with it")
            if node.attributes.get_int("group", 1) > 1:
                return self._pass_through_groups(node)
            self._need(node, 1, 1)
            return []
        return self._pass_through(node)

    def _pass_through_groups(self, node: ir.Node) -> list[ir.Value]:
        weight = self._need(node, 1, 0)
        groups = node.attributes.get_int("group", 1)
        if weight.shape[0] != self._channels or self._channels % groups or self._wanted % (self._channels // groups):
            raise WideningError(f"the groups of node '{label(node)}' do not fit")
        if len(node.inputs) > 2 and node.inputs[2] is not None:
            self._need(node, 2, 0)
        self._grouped[node] = groups * self._wanted // self._channels
        assert node.inputs[0] is not None
        return [node.inputs[0], node.outputs[0]]

    def _pass_through(self, node: ir.Node) -> list[ir.Value]:
        if is_operator(node, *ONE_INPUT) or (is_operator(node, "ReduceMean") and _over_pixels(node)):
            assert node.inputs[0] is not None
            return [node.inputs[0], node.outputs[0]]
        if not is_operator(node, *TWO_INPUTS):
            raise WideningError(f"node '{label(node)}' ({node.op_type}) does not keep channels apart")
        found = [node.outputs[0]]
        for index, value in enumerate(node.inputs):
            assert value is not None
            if not edit.is_literal(value):
                found.append(value)
                continue
            array = edit.constant(value)
            if array is None:
                raise WideningError(f"'{value.name}' is unknown")
            if array.size > 1:
                axis = array.ndim - 3
                if axis < 0 or array.size != array.shape[axis]:
                    raise WideningError(f"'{value.name}' varies along more than its channels")
                self._need(node, index, axis)
        return found

    def _need(self, node: ir.Node, index: int, axis: int) -> Array:
        """Plan to fill up an input of a node along this axis, and return it as it is."""
        value = node.inputs[index]
        array = edit.constant(value)
        if array is None or value is None or value.is_graph_input():
            raise WideningError(f"input {index} of node '{label(node)}' ({node.op_type}) is not constant")
        if array.shape[axis] != self._channels:
            raise WideningError(f"input {index} of node '{label(node)}' ({node.op_type}) has another size")
        self._more.setdefault((node, index), {})[axis] = None
        return array


def _channel_count(value: ir.Value) -> int:
    channels = value.shape[CHANNELS] if value.shape is not None and len(value.shape) == 4 else None
    if not isinstance(channels, int):
        raise WideningError(f"the channels of '{value.name}' are unknown")
    return channels


def _over_pixels(node: ir.Node) -> bool:
    return reduced_axes(node) == (2, 3) and node.attributes.get_int("keepdims", 1) == 1


def reduced_axes(node: ir.Node) -> tuple[int, ...] | None:
    """Return the axes of a reduction over four, sorted and not negative; None if unknown or if it is over all."""
    if (given := node.attributes.get_ints("axes", None)) is not None:
        return tuple(sorted(axis % 4 for axis in given))
    if len(node.inputs) < 2 or (axes := edit.constant(node.inputs[1])) is None or not axes.size:
        return None
    return tuple(sorted(int(axis) % 4 for axis in axes.ravel()))

"""Faults in the nodes of a file: operators, attributes, and what is connected with what."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx

from nfexport.verification.faults.fault import (
    INSERTED,
    Change,
    Fault,
    Link,
    attribute,
    initializers,
    insert_before,
    inserting_after,
    inserting_before,
    nodes,
    set_attribute,
    set_own_values,
)


def shifted_padding(model: onnx.ModelProto) -> Iterator[Fault]:
    """Yield SAME padding on the other side: the image moves by one pixel, the shapes stay."""
    for position, node in nodes(model, "Conv", "AveragePool", "MaxPool"):
        pads = list(attribute(node, "pads", ()))
        if len(pads) == 4 and max(pads) > 0:
            for name, axis in (("down", 0), ("right", 1)):
                if pads[axis + 2] > 0:
                    moved = _moved(pads, axis, 1)
                elif pads[axis] > 0:
                    moved = _moved(pads, axis, -1)
                else:
                    continue
                yield Fault(
                    kind=f"padding shifted {name} by one",
                    node=node.name,
                    change=_setting(position, "pads", moved),
                )
    known = initializers(model)
    for position, node in nodes(model, "Pad"):
        if len(node.input) > 1 and node.input[1] in known:
            pads = onnx.numpy_helper.to_array(known[node.input[1]]).tolist()
            if len(pads) == 8 and pads[6] > 0:
                yield Fault(kind="padding shifted down by one", node=node.name, change=_shift_pad(position))


def _moved(pads: list[int], axis: int, by: int) -> list[int]:
    moved = list(pads)
    moved[axis] += by
    moved[axis + 2] -= by
    return moved


def _shift_pad(position: int) -> Change:
    def moved(pads: Any) -> Any:
        changed = pads.copy()
        changed[2] += 1
        changed[6] -= 1
        return changed

    return lambda model: set_own_values(model, position, 1, moved)


def pooling_phase(model: onnx.ModelProto) -> Iterator[Fault]:
    """Yield poolings of stride 2 that start one pixel earlier."""
    for position, node in nodes(model, "AveragePool", "MaxPool"):
        if max(attribute(node, "strides", [1])) > 1 and not any(attribute(node, "pads", [0])):
            if attribute(node, "auto_pad", b"NOTSET") != b"NOTSET" or attribute(node, "ceil_mode", 0):
                # without auto_pad nothing else of the node changes
                continue
            yield Fault(
                kind="phase of a pooling moved by one",
                node=node.name,
                change=_setting(position, "pads", [1, 1, 0, 0]),
            )


def counted_padding(model: onnx.ModelProto) -> Iterator[Fault]:
    """Yield average poolings that count their padding, or no longer do."""
    for position, node in nodes(model, "AveragePool"):
        if any(attribute(node, "pads", [0])) or attribute(node, "ceil_mode", 0):
            other = 1 - attribute(node, "count_include_pad", 0)
            yield Fault(
                kind="a pooling counts its padding, or no longer",
                node=node.name,
                change=_setting(position, "count_include_pad", other),
            )


def _setting(position: int, name: str, value: Any) -> Change:
    return lambda model: set_attribute(model.graph.node[position], name, value)


def _both_computed(model: onnx.ModelProto, node: onnx.NodeProto) -> bool:
    constant = {tensor.name for tensor in model.graph.initializer}
    constant |= {name for other in model.graph.node if other.op_type == "Constant" for name in other.output}
    return len(node.input) == 2 and constant.isdisjoint(node.input) and node.input[0] != node.input[1]


def scaled_branches(model: onnx.ModelProto) -> Iterator[Fault]:
    """Yield residual sums with a branch multiplied by 0.99."""
    for position, node in nodes(model, "Add"):
        if _both_computed(model, node):
            for index in (0, 1):
                yield Fault(
                    kind="a branch of a sum at 0.99",
                    node=node.name,
                    change=inserting_before(position, index, ("Mul", ["", np.float32(0.99)], {})),
                    inserted=True,
                )


def skipped_gates(model: onnx.ModelProto) -> Iterator[Fault]:
    """Yield attention gates, or the gates of a SiLU, replaced by the identity."""
    for position, node in nodes(model, "Mul"):
        if _both_computed(model, node):
            for index in (0, 1):

                def change(copy: onnx.ModelProto, position: int = position, index: int = index) -> None:
                    gate = copy.graph.node[position]
                    kept = f"{INSERTED}/{gate.output[0]}"
                    one = np.zeros((), np.float32)
                    copy.graph.initializer.append(onnx.numpy_helper.from_array(one, kept))
                    # times 0 and plus the other, so that the shape stays that of the product
                    other = gate.input[1 - index]
                    zero = onnx.helper.make_node(
                        "Mul", [gate.input[index], kept], [f"{kept}/zero"], name=f"{INSERTED}_zero"
                    )
                    copy.graph.node.insert(position, zero)
                    gate = copy.graph.node[position + 1]
                    gate.op_type = "Add"
                    gate.input[:] = [f"{kept}/zero", other]

                yield Fault(kind="a gate left out", node=node.name, change=change)


def other_activations(model: onnx.ModelProto) -> Iterator[Fault]:
    """Yield Gelu by tanh, a hard Sigmoid, a Relu with a slope."""
    for position, node in nodes(model, "Erf"):
        yield Fault(kind="Gelu by tanh", node=node.name, change=_tanh(position))
    for position, node in nodes(model, "Gelu"):
        if attribute(node, "approximate", b"none") == b"none":
            yield Fault(kind="Gelu by tanh", node=node.name, change=_setting(position, "approximate", "tanh"))
    for kind, operator, other, options in (
        ("a hard Sigmoid", "Sigmoid", "HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
        ("a Relu with a slope", "Relu", "LeakyRelu", {"alpha": 0.01}),
    ):
        for position, node in nodes(model, operator):
            yield Fault(kind=kind, node=node.name, change=_other(position, other, options))


def _tanh(position: int) -> Change:
    """Return the change of Erf to its approximation erf(z) ≈ tanh(2/√π · (z + 0.08943·z³)), z = x/√2."""

    def change(model: onnx.ModelProto) -> None:
        node = model.graph.node[position]
        source, node.op_type = node.input[0], "Tanh"
        cube, factor, outer = (np.float32(v) for v in (3, 2 * 0.044715, 2 / math.sqrt(math.pi)))
        insert_before(
            model,
            position,
            0,
            [
                ("Pow", ["", cube], {}),
                ("Mul", ["", factor], {}),
                ("Add", ["", source], {}),
                ("Mul", ["", outer], {}),
            ],
        )

    return change


def _other(position: int, operator: str, options: dict[str, Any]) -> Change:
    def change(model: onnx.ModelProto) -> None:
        node = model.graph.node[position]
        node.op_type = operator
        del node.attribute[:]
        for name, value in options.items():
            set_attribute(node, name, value)

    return change


def wrong_softmax(model: onnx.ModelProto) -> Iterator[Fault]:
    """Yield each Softmax over another axis."""
    for position, node in nodes(model, "Softmax"):
        axis = attribute(node, "axis", -1)
        yield Fault(
            kind="a Softmax over another axis",
            node=node.name,
            change=_setting(position, "axis", axis - 1 if axis < 0 or axis > 1 else axis + 1),
        )


def swapped_parts(model: onnx.ModelProto) -> Iterator[Fault]:
    """Yield each Concat with its two parts swapped, such as a class token after the others."""
    for position, node in nodes(model, "Concat"):
        if len(node.input) == 2 and len(set(node.input)) == 2:

            def change(model: onnx.ModelProto, position: int = position) -> None:
                inputs = model.graph.node[position].input
                inputs[0], inputs[1] = inputs[1], inputs[0]

            yield Fault(kind="the parts of a Concat swapped", node=node.name, change=change)


def mixed_batch(model: onnx.ModelProto) -> Iterator[Fault]:
    """Yield batches of which each entry gets a thousandth of the mean of all, after every third convolution."""
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    # opset 18 made the axes an input
    mean: Link = ("ReduceMean", [""], {"axes": [0]}) if opset < 18 else ("ReduceMean", ["", np.array([0])], {})
    for position, node in list(nodes(model, "Conv"))[::3]:
        own = f"{INSERTED}/{node.output[0]}"
        change = inserting_after(position, mean, ("Mul", ["", np.float32(1e-3)], {}), ("Add", ["", own], {}))
        yield Fault(kind="entries of the batch mixed", node=node.name, change=change, inserted=True)


KINDS: tuple[Callable[[onnx.ModelProto], Iterator[Fault]], ...] = (
    shifted_padding,
    pooling_phase,
    counted_padding,
    scaled_branches,
    skipped_gates,
    other_activations,
    wrong_softmax,
    swapped_parts,
    mixed_batch,
)

"""Faults at the ends of a file: in the preprocessing, and in the outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import onnx

from nfexport.verification.faults.fault import Fault, Link, initializers, inserting_after, inserting_before, nodes

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Those of ImageNet: the size of a usual normalisation, whatever the model's own is."""


def wrong_images(model: onnx.ModelProto) -> Iterator[Fault]:
    """Yield channels reversed, normalised twice, not centred, 0..1 for 0..255, height for width."""
    known = initializers(model)
    names = {value.name for value in model.graph.input} - set(known)
    mean, std = (np.asarray(numbers, np.float32).reshape(1, 3, 1, 1) for numbers in (MEAN, STD))
    chains: dict[str, list[Link]] = {
        "BGR for RGB": [("Gather", ["", np.array([2, 1, 0])], {"axis": 1})],
        "normalised twice": [("Sub", ["", mean], {}), ("Div", ["", std], {})],
        "mean not subtracted": [("Add", ["", mean / std], {})],
        "0..1 for 0..255": [("Div", ["", np.float32(255)], {})],
        "height for width": [("Transpose", [""], {"perm": [0, 1, 3, 2]})],
    }
    # in front of the first convolution, where images are [batch, 3, height, width] whatever comes before it
    for position, node in nodes(model, "Conv"):
        weight = known.get(node.input[1])
        if weight is None or len(weight.dims) != 4 or weight.dims[1] != 3 or not _near(model, node.input[0], names):
            continue
        for kind, chain in chains.items():
            yield Fault(kind=kind, node=node.name, change=inserting_before(position, 0, *chain), inserted=True)
        return


def _near(model: onnx.ModelProto, name: str, inputs: set[str]) -> bool:
    """Say whether there are only a few nodes between a tensor and the input."""
    producers = {output: node for node in model.graph.node for output in node.output}
    for _ in range(8):
        if name in inputs:
            return True
        if name not in producers or not producers[name].input:
            return False
        name = producers[name].input[0]
    return False


def wrong_outputs(model: onnx.ModelProto) -> Iterator[Fault]:
    """Yield a Softmax on logits, a rounding of them, classes in another order."""
    made = {output: position for position, node in enumerate(model.graph.node) for output in node.output}
    for value in model.graph.output:
        shape = value.type.tensor_type.shape.dim
        if value.type.tensor_type.elem_type != onnx.TensorProto.FLOAT or len(shape) != 2 or value.name not in made:
            continue
        classes = shape[1].dim_value
        if classes < 3:
            continue
        order = np.arange(classes)
        order[[0, 1]] = 1, 0
        chains: dict[str, list[Link]] = {
            "a Softmax too many": [("Softmax", [""], {"axis": 1})],
            "two classes swapped": [("Gather", ["", order], {"axis": 1})],
            "outputs in float16": [("Cast", [""], {"to": 10}), ("Cast", [""], {"to": 1})],
        }
        for kind, chain in chains.items():
            last = made[value.name]
            yield Fault(
                kind=kind, node=model.graph.node[last].name, change=inserting_after(last, *chain), inserted=True
            )


KINDS: tuple[Callable[[onnx.ModelProto], Iterator[Fault]], ...] = (wrong_images, wrong_outputs)

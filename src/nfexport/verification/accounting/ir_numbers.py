"""The constants of OpenVINO's intermediate representation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nfexport.verification.accounting.stored_numbers import Stored

LAYERS = {
    "Convolution": "Conv",
    "GroupConvolution": "Conv",
    "MatMul": "MatMul",
    "ConvolutionBackpropData": "ConvTranspose",
}
THROUGH = frozenset({"Convert", "Reshape", "Unsqueeze", "Squeeze"})


def ir_numbers(path: Path | str) -> Iterator[Stored]:
    """Yield the float constants of an IR. Raises what OpenVINO raises for a file that it cannot read."""
    import openvino as ov

    for operation in ov.Core().read_model(str(path)).get_ordered_ops():
        if operation.get_type_name() != "Constant" or not operation.get_element_type().is_real():
            continue
        array = np.array(operation.data)
        reader, position = operation, 0
        while targets := sorted(reader.output(0).get_target_inputs(), key=lambda one: one.get_index()):
            position, reader = targets[0].get_index(), targets[0].get_node()
            if reader.get_type_name() not in THROUGH or position:
                break
        operator = LAYERS.get(reader.get_type_name(), "") if position == 1 else ""
        groups = 1
        if reader.get_type_name() == "GroupConvolution" and position == 1:
            read_as = reader.input(1).get_partial_shape()  # [groups, O/groups, I/groups, …]
            groups = int(read_as[0].get_length())
            if array.ndim == len(read_as):
                array = array.reshape(-1, *array.shape[2:])
        turned = operator == "MatMul" and not reader.get_attributes().get("transpose_b", False)
        yield Stored(
            name=operation.get_friendly_name(),
            array=array,
            operator=operator,
            position=position,
            transposed=turned or operator == "ConvTranspose",
            groups=groups,
        )

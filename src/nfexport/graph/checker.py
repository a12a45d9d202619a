"""onnx's own checker, shapes included, on a file of any size, without reading its weights.

The checker reads a file as a whole, twice, and accepts nothing past 2 GiB in memory. So it is given the graph of the
file with every large initializer marked as external data in the file itself: only their bytes are left out, whose
number is compared with their shapes when the header is read.
"""

from __future__ import annotations

from pathlib import Path

import onnx

from nfexport.graph.atomic_files import side_file
from nfexport.graph.header import read_header

SMALL = 1024
"""Bytes up to which an initializer is kept: shapes, axes and pads, which shape inference reads."""


def refusal(path: Path) -> str | None:
    """Return why onnx's checker refuses a file, in one line; None if it accepts it.

    A temporary file is written next to it meanwhile. Raises OnnxFileError if it is damaged."""
    left_out: list[int] = []

    def look(index: int, values: memoryview) -> None:
        if len(values) > SMALL:
            left_out.append(index)

    model = read_header(path, look, keep=SMALL)
    for index in left_out:
        tensor = model.graph.initializer[index]
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=path.name)
    with side_file(path, model.SerializeToString()) as skeleton:
        try:
            onnx.checker.check_model(str(skeleton), full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return lines[0].replace(str(skeleton), str(path)).rstrip(".")
    return None

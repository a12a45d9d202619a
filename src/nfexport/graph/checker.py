"""onnx's own checker, shapes included, on a file of any size, without reading its weights.

The checker reads a file as a whole, twice, and accepts nothing past 2 GiB in memory. So it is given the graph of the
file with every large initializer marked as external data: only their bytes are left out, whose number is compared
with their shapes when the header is read. What the checker wants of external data is a file of that name; an empty
one of the same size, which takes no space, stands for it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import onnx

from nfexport.errors import OutputError
from nfexport.graph.atomic_files import write_files
from nfexport.graph.external_data import external_files
from nfexport.graph.header import read_header

SMALL = 1024
"""Bytes up to which an initializer is kept: shapes, axes and pads, which shape inference reads."""

SKELETON, LARGE = "skeleton.onnx", "large.bin"


def refusal(path: Path) -> str | None:
    """Return why onnx's checker refuses a file, in one line; None if it accepts it.

    Temporary files are written elsewhere meanwhile, so the folder of the file may be one that cannot be written.
    Raises OnnxFileError if it is damaged, OutputError if no temporary file can be written."""
    left_out: list[int] = []

    def look(index: int, values: memoryview) -> None:
        if len(values) > SMALL:
            left_out.append(index)

    model = read_header(path, look, keep=SMALL)
    stand_ins = {**external_files(path, model), LARGE: path.stat().st_size}
    for index in left_out:
        tensor = model.graph.initializer[index]
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=LARGE)
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="nfexport-"))
        except OSError as error:
            raise OutputError(
                f"a copy of the graph has to be written to '{tempfile.gettempdir()}' for onnx's checker, which fails "
                f"({error.strerror or error})",
                fix="name a folder that can be written in the environment variable TMPDIR",
            ) from error
        skeleton = Path(folder) / SKELETON
        write_files(skeleton.parent, {SKELETON: model.SerializeToString(), **dict.fromkeys(stand_ins, b"")})
        for name, size in stand_ins.items():
            os.truncate(skeleton.parent / name, size)
        try:
            onnx.checker.check_model(str(skeleton), full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return lines[0].replace(str(skeleton), str(path)).rstrip(".")
    return None

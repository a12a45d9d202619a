"""Inputs for timing a file: seeded numbers of the shapes that it declares.

A symbolic first dim is the batch; symbolic height and width are those asked for, or those of the recipe in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from nfexport.errors import InputError
from nfexport.graph.header import read_header
from nfexport.inspection import openvino_ir
from nfexport.inspection.cost.input_sizes import fix_sizes
from nfexport.passes.recorded import read_recipe

BYTES = 256

Form = tuple[tuple[int, ...], str]
"""The shape of one input, and NumPy's name of its element type."""


def read_forms(path: Path, *, batch: int, size: tuple[int, int] | None) -> dict[str, Form]:
    """Return shape and type of each input of an ONNX file or an IR, at this batch and size (height, width).

    Raises OnnxFileError if the file cannot be read; InputError if its batch or size is fixed to another value,
    or a dim is unknown."""
    return _ir_forms(path, batch, size) if openvino_ir.is_ir(path) else _onnx_forms(path, batch, size)


def draw_feeds(forms: Mapping[str, Form], seed: int = 0) -> dict[str, NDArray[Any]]:
    """Return arrays of these shapes and types: floats are normally distributed, bytes uniform, other integers 0."""
    generator = np.random.default_rng(seed)
    return {name: _array(generator, shape, np.dtype(dtype)) for name, (shape, dtype) in forms.items()}


def _array(generator: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    if dtype == np.uint8:
        return generator.integers(0, BYTES, shape).astype(dtype)
    return np.zeros(shape, dtype)


def _onnx_forms(path: Path, batch: int, size: tuple[int, int] | None) -> dict[str, Form]:
    model = read_header(path)
    recipe = read_recipe({entry.key: entry.value for entry in model.metadata_props})
    stored = {tensor.name for tensor in model.graph.initializer}
    dtypes = {
        value.name: np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)).name
        for value in model.graph.input
        if value.name not in stored
    }
    fixed = [value.type.tensor_type.shape.dim for value in model.graph.input if value.name not in stored]
    for dims in fixed:
        if dims and dims[0].dim_value > 0:
            _check_batch(path, dims[0].dim_value, batch)
    shapes = fix_sizes(model, batch=batch, size=size, recipe=recipe)
    return {name: (shape, dtypes[name]) for name, shape in shapes.items()}


def _ir_forms(path: Path, batch: int, size: tuple[int, int] | None) -> dict[str, Form]:
    recipe = read_recipe(openvino_ir.read_metadata(path))
    size = size or (None if recipe is None else recipe.stored_image_size)
    forms = {}
    for name, (dims, dtype) in openvino_ir.read_inputs(path).items():
        shape = tuple(_size_of(path, name, dims, axis, batch, size) for axis in range(len(dims)))
        forms[name] = (shape, dtype)
    return forms


def _size_of(
    path: Path, name: str, dims: tuple[int | None, ...], axis: int, batch: int, size: tuple[int, int] | None
) -> int:
    fixed = dims[axis]
    if fixed is not None:
        if axis == 0:
            _check_batch(path, fixed, batch)
        return fixed
    if axis == 0:
        return batch
    if len(dims) == 4 and size is not None and dims[1] is not None and axis in (2, 3):
        return size[axis - 2]
    raise InputError(
        f"dim {axis} of input '{name}' of {path} is free, and its size is unknown", fix="pass --size 224"
    )


def _check_batch(path: Path, fixed: int, asked: int) -> None:
    if fixed != asked:
        raise InputError(
            f"the batch size of {path} is fixed to {fixed}, not {asked}",
            fix=f"pass --batch {fixed}, or export the file with --batch dynamic",
        )

"""Give every symbolic dim of a file's inputs a number, so that all shapes become known."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from nfexport.errors import InputError
from nfexport.recipe.recipe import Recipe
from nfexport.recipe.tensor_spec import BATCH

Dim = onnx.TensorShapeProto.Dimension

MOST_CHANNELS = 4
"""An image has 1, 3 or 4 channels: tells NHWC from NCHW where nothing else does."""


def fix_sizes(
    model: onnx.ModelProto, *, batch: int, size: tuple[int, int] | None, recipe: Recipe | None
) -> dict[str, tuple[int, ...]]:
    """Write numbers in place of the symbolic dims of inputs, also where other values name them; return the
    shapes of the inputs.

    The first dim is the batch; the others of an image are its height and width, by default those of the
    recipe. A dim that the file fixes stays, and batch 1 then means the file's own.
    Raises InputError if the file fixes another batch or size than asked, or has a dim of unknown size."""
    if batch < 1:
        raise InputError(f"the batch size is {batch}, and must be at least 1", fix="pass a number from 1 up")
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    specs = () if recipe is None else recipe.tensors
    symbols: dict[str, int] = {name: number for spec in specs for name, number in spec.sizes.items()}
    symbols |= {BATCH: batch} if BATCH in symbols else {}
    for value in inputs:
        _fix_input(value, batch, size, recipe, symbols)
    for value in (*model.graph.value_info, *model.graph.output):
        _replace(value.type.tensor_type.shape.dim, symbols)
    return {value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim) for value in inputs}


def _fix_input(
    value: onnx.ValueInfoProto,
    batch: int,
    size: tuple[int, int] | None,
    recipe: Recipe | None,
    symbols: dict[str, int],
) -> None:
    if not value.type.tensor_type.HasField("shape"):
        raise InputError(
            f"input '{value.name}' states no shape, so nothing can be counted",
            fix="export the file with the shape of its input",
        )
    dims = value.type.tensor_type.shape.dim
    wanted: dict[int, int] = {0: batch} if dims and dims[0].dim_param not in symbols else {}
    if len(dims) == 4:
        spatial = (1, 2) if _is_nhwc(dims, recipe) else (2, 3)
        asked = size or (recipe.stored_image_size if recipe is not None else None)
        if size is not None:
            _check_fixed(value.name, tuple(dims[axis].dim_value for axis in spatial), size)
        if asked is not None:
            wanted.update(zip(spatial, asked, strict=True))
    if dims and dims[0].dim_value > 0 and batch not in (1, dims[0].dim_value):
        raise InputError(
            f"the file fixes the batch of input '{value.name}' at {dims[0].dim_value}",
            fix="leave --batch out, or export with a dynamic batch",
        )
    for axis, dim in enumerate(dims):
        if dim.dim_value > 0:
            continue
        if axis not in wanted and dim.dim_param not in symbols:
            raise InputError(
                f"dim {axis} of input '{value.name}' ({dim.dim_param or 'unnamed'}) has no size, and none was given",
                fix="pass --size HxW" if len(dims) == 4 else "export the file with a fixed shape",
            )
        number = wanted.get(axis, symbols.get(dim.dim_param, 0))
        if dim.dim_param:
            symbols.setdefault(dim.dim_param, number)
        dim.dim_value = number


def _is_nhwc(dims: Iterable[Dim], recipe: Recipe | None) -> bool:
    if recipe is not None and not recipe.tensors:
        return recipe.preprocessing.layout == "nhwc"
    _, second, _, last = (dim.dim_value for dim in dims)
    return 0 < last <= MOST_CHANNELS and not 0 < second <= MOST_CHANNELS


def _check_fixed(name: str, fixed: tuple[int, ...], size: tuple[int, int]) -> None:
    if any(number > 0 and number != asked for number, asked in zip(fixed, size, strict=True)):
        stated = " × ".join(str(number) if number > 0 else "?" for number in fixed)
        raise InputError(
            f"the file fixes the size of input '{name}' at {stated}",
            fix="leave --size out, or export with --dynamic-size",
        )


def _replace(dims: Iterable[Dim], symbols: dict[str, int]) -> None:
    for dim in dims:
        if dim.dim_value > 0:
            continue
        number = symbols.get(dim.dim_param)
        dim.Clear()  # a name that no input has, such as 'batch*4', is left to shape inference
        if number is not None:
            dim.dim_value = number

"""What a file is fed when it is compared with the result of surgery on it.

These are images where the file takes images, and seeded numbers for any other input.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from msgspec.structs import replace
from numpy.typing import NDArray

from nfexport.errors import OnnxFileError, PassError
from nfexport.passes.front.preprocessing.graph_head import find_head
from nfexport.recipe.recipe import PassStep, Preprocessing
from nfexport.verification.file_preprocessing import FilePreprocessing
from nfexport.verification.input_cases import InputCase, default_cases

Array = NDArray[Any]
UNKNOWN_SIZE = 64
"""Used for a symbolic size other than the batch: images of 64 × 64, sequences of 64."""

PLAIN = Preprocessing(mean=(0.5,), std=(0.25,), crop_pct=1.0, crop_mode="none", interpolation="none")
"""Images with values of −2 to 2, for a file whose preprocessing is unknown."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageInput:
    """The one input of a file that takes images: what the file does to them, their batch, channels and size."""

    name: str
    form: FilePreprocessing
    batch: int | None
    channels: int
    image_size: tuple[int, int]


def image_input(model: ir.Model) -> ImageInput | None:
    """Return how the file takes images; None if it does not, or has other inputs as well."""
    try:
        head = find_head(model)
    except PassError:
        return None
    steps: tuple[PassStep, ...] = ()
    if head.form:
        layout = "nhwc" if any(node.op_type == "Transpose" for node in head.form) else "nchw"
        dtype = {ir.DataType.UINT8: "uint8", ir.DataType.FLOAT16: "float16"}.get(
            head.entry.dtype or ir.DataType.FLOAT, "float32"
        )
        steps = (PassStep(name="input-form", params={"dtype": dtype, "layout": layout}),)
    height, width = (size if isinstance(size, int) else UNKNOWN_SIZE for size in head.shape[2:])
    batch = head.shape[0]
    return ImageInput(
        name=str(head.entry.name),
        form=FilePreprocessing(steps=steps, image_size=(height, width)),
        batch=batch if isinstance(batch, int) else None,
        channels=head.channels,
        image_size=(height, width),
    )


def image_batches(
    source: ImageInput, added: Sequence[PassStep], known: Preprocessing | None, *, seed: int, batch: int
) -> list[tuple[str, Array, Array]]:
    """Return named batches for the file as it was, each with the same images for the file with the added steps.

    What the source is given is computed in float64 from what the result is given, so a file that takes bytes and
    one that takes floats receive the same. Its element type is widened to float32."""
    network = FilePreprocessing(steps=tuple(added), image_size=source.image_size)
    floats = FilePreprocessing(
        steps=tuple(replace(step, params={**step.params, "dtype": "float32"}) for step in source.form.steps)
    )
    sizes = network.source_sizes() or (source.image_size,)
    result = []
    for index, size in enumerate(sizes):
        cases: list[InputCase] = default_cases(
            seed=seed + index,
            batch=batch,
            in_channels=source.channels,
            image_size=size,
            preprocessing=_preprocessing(added, known),
        )
        for case in cases if index == 0 else cases[:1]:
            given = network.from_network(case.array)
            seen = network.to_network(given).exact
            before = floats.from_network(seen.astype(np.float32))
            result.append((f"{case.name} {size[0]}×{size[1]}", before, given))
    return result


def _preprocessing(added: Sequence[PassStep], known: Preprocessing | None) -> Preprocessing:
    if known is not None:
        return known
    for step in added:
        if step.name == "normalize":
            return replace(PLAIN, mean=tuple(step.params["mean"]), std=tuple(step.params["std"]))
    return PLAIN


def numbers(model: ir.Model, *, seed: int, batch: int) -> dict[str, Array]:
    """Return seeded numbers for every input that needs a value; unknown sizes are 64.

    Raises OnnxFileError for an input without a shape, or of an element type that numbers cannot be drawn for."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    feeds: dict[str, Array] = {}
    for value in model.graph.inputs:
        if value.is_initializer():
            continue
        if value.shape is None or value.dtype is None:
            raise OnnxFileError(
                f"input '{value.name}' has no shape, so the result cannot be compared with the file",
                fix="give the input a shape, or pass --no-verify",
            )
        shape = [size if isinstance(size, int) else UNKNOWN_SIZE for size in value.shape]
        if value.shape.rank() and not isinstance(value.shape[0], int):
            shape[0] = batch
        feeds[str(value.name)] = _draw(generator, shape, value.dtype, str(value.name))
    return feeds


def _draw(generator: np.random.Generator, shape: Sequence[int], dtype: ir.DataType, name: str) -> Array:
    if dtype.is_floating_point():
        return generator.standard_normal(shape).astype(dtype.numpy())
    if dtype == ir.DataType.BOOL:
        return generator.integers(0, 2, shape).astype(bool)
    if dtype == ir.DataType.UINT8:
        return generator.integers(0, 256, shape, dtype=np.uint8)
    if dtype.is_integer():
        return generator.integers(0, 8, shape).astype(dtype.numpy())
    raise OnnxFileError(
        f"input '{name}' takes {dtype}, for which no test values can be drawn", fix="pass --no-verify"
    )


def shapes(feeds: Mapping[str, Array]) -> str:
    """Return the names and shapes of feeds, for a message."""
    return ", ".join(f"{name} {list(array.shape)}" for name, array in feeds.items())

"""The batches of a golden: stored as files, or drawn anew from a seed, bit for bit the same."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from nfexport.errors import GoldenError
from nfexport.goldens.manifest import DataSet, InputSpec, Manifest, Tensor
from nfexport.goldens.vocabulary import printable
from nfexport.verification.model_under_test import ImageModelUnderTest, ModelUnderTest

Array = NDArray[Any]
LARGEST = 2**28
"""Elements of one batch that are drawn anew at most."""

MEND = "fetch the golden again, or record it again with 'nfexport golden check --update'"


def to_pb(name: str, array: Array) -> bytes:
    """Return the array as the bytes of a TensorProto."""
    proto = onnx.numpy_helper.from_array(np.asarray(array, order="C"), name)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def digest(array: Array) -> str:
    """Return the sha256 of the numbers, little-endian, in row-major order."""
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(little.tobytes()).hexdigest()


def load_data_sets(folder: Path, manifest: Manifest) -> list[tuple[DataSet, dict[str, Array], dict[str, Array]]]:
    """Return every data set with its inputs and its expected outputs by name.

    Raises GoldenError if a file is missing, is not the one that was recorded, or cannot be decoded, and if inputs
    that are drawn anew are not those of the recording."""
    drawn = dict(enumerate(draw_inputs(manifest))) if manifest.compact else {}
    result = []
    for index, data_set in enumerate(manifest.data_sets):
        anew = drawn.get(index, {})
        place = folder / data_set.folder
        inputs = {
            tensor.name: _check_drawn(anew.get(tensor.name), tensor, folder)
            if tensor.sha256 is None
            else _load(place, tensor)
            for tensor in data_set.inputs
        }
        result.append((data_set, inputs, {tensor.name: _load(place, tensor) for tensor in data_set.outputs}))
    return result


def _load(place: Path, tensor: Tensor) -> Array:
    path = place / tensor.file
    try:
        if path.exists() and not path.is_file():
            raise GoldenError(f"'{path}' is not a file", fix=MEND)
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise GoldenError(f"the golden is incomplete: '{path}' is missing", fix=MEND) from error
    except OSError as error:
        raise GoldenError(f"'{path}' cannot be read ({error.strerror})", fix=MEND) from error
    if hashlib.sha256(content).hexdigest() != tensor.sha256:
        raise GoldenError(f"'{path}' is not the file that was recorded: its sha256 differs", fix=MEND)
    array = _decode(content, path)
    if array.shape != tensor.shape or str(array.dtype) != tensor.dtype:
        raise GoldenError(
            f"'{path}' holds {array.dtype} {list(array.shape)} where the manifest says "
            f"{tensor.dtype} {list(tensor.shape)}",
            fix=MEND,
        )
    return array


def _decode(content: bytes, path: Path) -> Array:
    proto = onnx.TensorProto()
    try:
        proto.ParseFromString(content)
        if proto.data_location == onnx.TensorProto.EXTERNAL:
            raise ValueError("its values are in another file")
        array: Array = onnx.numpy_helper.to_array(proto)
    except Exception as error:
        raise GoldenError(f"'{path}' does not hold a tensor ({printable(str(error))})", fix=MEND) from error
    return array


def _check_drawn(array: Array | None, tensor: Tensor, folder: Path) -> Array:
    if array is None or digest(array) != tensor.values_sha256:
        raise GoldenError(
            f"the inputs of '{folder}' cannot be drawn anew: this nfexport draws different ones",
            fix="record it again with 'nfexport golden check --update', or without --compact",
        )
    return array


def input_spec(subject: ModelUnderTest) -> InputSpec | None:
    """Return what determines the batches of a file, next to the seed; None for a file that takes other than one
    image, whose golden keeps its inputs."""
    if not isinstance(subject, ImageModelUnderTest):
        return None
    return InputSpec(**{field: getattr(subject, field) for field in InputSpec.__struct_fields__})


def draw_inputs(manifest: Manifest) -> Sequence[Mapping[str, Array]]:
    """Return the inputs of each data set as they were when the golden was recorded.

    Raises GoldenError if the manifest does not say how."""
    spec = manifest.subject
    if spec is None:
        raise GoldenError("the manifest does not say how its inputs are drawn", fix=MEND)
    subject = ImageModelUnderTest(
        outputs=(), **{field: getattr(spec, field) for field in InputSpec.__struct_fields__}
    )
    try:
        for size in (*(subject.form.source_sizes() or ()), subject.image_size, *subject.other_sizes):
            batch = 3 if subject.batch == "dynamic" else subject.batch
            if math.prod((batch, subject.in_channels, *size)) > LARGEST:
                raise ValueError(f"a batch has more than {LARGEST:,} elements")
        return [subject.feeds(case.arrays) for case in subject.cases(manifest.seed)]
    except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
        raise GoldenError(
            f"the manifest does not say how its inputs are drawn ({printable(str(error))})", fix=MEND
        ) from error

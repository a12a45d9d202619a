"""The batches of a golden: kept as files, or drawn anew from a seed, bit for bit the same."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from nfexport.errors import GoldenError
from nfexport.goldens.manifest import DataSet, Manifest, Tensor
from nfexport.recipe.recipe import PassStep, Preprocessing
from nfexport.verification.model_under_test import ModelUnderTest

Array = NDArray[Any]
ELSEWHERE = ("outputs", "precision", "factors_moved", "int8_bound")
"""Fields of a subject that have no part in its batches."""

MEND = "fetch the golden again, or record it again with 'nfexport golden check --update'"


def to_pb(name: str, array: Array) -> bytes:
    """Return the array as the bytes of a TensorProto."""
    proto = onnx.numpy_helper.from_array(np.asarray(array, order="C"), name)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def digest(array: Array) -> str:
    """The sha256 of the numbers, little-endian, in row-major order."""
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(little.tobytes()).hexdigest()


def load(folder: Path, manifest: Manifest) -> list[tuple[DataSet, dict[str, Array], dict[str, Array]]]:
    """Return every data set with its inputs and its expected outputs by name.

    Raises GoldenError if a file is missing, is not what was recorded, or cannot be decoded, and if inputs
    that are drawn anew are not those of the recording."""
    drawn = dict(enumerate(draw(manifest))) if manifest.compact else {}
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
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise GoldenError(f"the golden is incomplete: '{path}' is missing", fix=MEND) from error
    except OSError as error:
        raise GoldenError(f"'{path}' cannot be read ({error.strerror})", fix=MEND) from error
    if hashlib.sha256(content).hexdigest() != tensor.sha256:
        raise GoldenError(f"'{path}' is not what was recorded: its sha256 is another", fix=MEND)
    proto = onnx.TensorProto()
    try:
        proto.ParseFromString(content)
        array: Array = onnx.numpy_helper.to_array(proto)
    except Exception as error:  # protobuf's DecodeError, whose module differs between its implementations
        raise GoldenError(f"'{path}' holds no tensor ({error})", fix=MEND) from error
    if array.shape != tensor.shape or str(array.dtype) != tensor.dtype:
        raise GoldenError(
            f"'{path}' holds {array.dtype} {list(array.shape)} where the manifest says "
            f"{tensor.dtype} {list(tensor.shape)}",
            fix=MEND,
        )
    return array


def _check_drawn(array: Array | None, tensor: Tensor, folder: Path) -> Array:
    if array is None or digest(array) != tensor.values_sha256:
        raise GoldenError(
            f"the inputs of '{folder}' cannot be drawn anew: this nfexport draws others",
            fix="record it again with 'nfexport golden check --update', or without --compact",
        )
    return array


def subject_to_dict(subject: ModelUnderTest) -> dict[str, Any]:
    """Return what determines the batches of a file, with the seed, as plain values."""
    fields = dataclasses.asdict(subject)
    return {key: value for key, value in fields.items() if key not in ELSEWHERE}


def draw(manifest: Manifest) -> Sequence[Mapping[str, Array]]:
    """Return the inputs of each data set as they were when the golden was recorded.

    Raises GoldenError if the manifest does not say how."""
    from nfexport.verification.verifier import cases_for

    try:
        raw = dict(manifest.subject or {})
        preprocessing: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in raw.pop("preprocessing").items()
        }
        subject = ModelUnderTest(
            input_name=raw["input_name"],
            outputs=(),
            batch=raw["batch"],
            image_size=tuple(raw["image_size"]),
            in_channels=raw["in_channels"],
            preprocessing=Preprocessing(**preprocessing),
            steps=tuple(PassStep(**step) for step in raw["steps"]),
            other_sizes=tuple(tuple(size) for size in raw["other_sizes"]),
        )
        return [{subject.input_name: case.array} for case in cases_for(subject, manifest.seed)]
    except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
        raise GoldenError(f"the manifest does not say how its inputs are drawn ({error})", fix=MEND) from error

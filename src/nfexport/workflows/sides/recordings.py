"""Recorded outputs: an .npz file, or a folder of tensors as ONNX's own test sets and goldens have them.

outputs.npz                               arrays by the names of the outputs, and of the inputs
FOLDER/test_data_set_0/input_0.pb, output_0.pb, …    a batch for each data set; FOLDER may be a data set itself
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from nfexport.errors import InputError
from nfexport.goldens.data_sets import load_data_sets
from nfexport.goldens.layout import DATA_SET, MANIFEST
from nfexport.goldens.manifest import read_manifest
from nfexport.recipe.recipe import Output
from nfexport.verification.model_under_test import ModelUnderTest, TensorsUnderTest
from nfexport.workflows.sides.side import Arrays, RecordedSide
from nfexport.workflows.sides.side_name import SideName

NPZ = ".npz"


def is_recording(path: Path) -> bool:
    """Say whether a side is a recording: an .npz file, or a folder with tensors in it."""
    return path.suffix == NPZ or (path.is_dir() and bool(_data_sets(path)))


def recorded_side(name: SideName, beside: ModelUnderTest | None) -> RecordedSide:
    """Return recorded outputs; beside says which of the names are inputs.

    Raises InputError if the recording cannot be read, or holds no outputs."""
    taken = () if beside is None else beside.input_names
    if name.where is not None or name.options:
        raise InputError(f"'{name.written}' names a recording, which does not run", fix="leave the runtime out")
    given = () if beside is None else tuple(output.name for output in beside.outputs)
    if name.path.suffix == NPZ:
        arrays = read_npz(name.path)
        inputs: list[Arrays] = [{key: array for key, array in arrays.items() if key in taken}]
        outputs: list[Arrays] = [{key: array for key, array in arrays.items() if key not in taken}]
    else:
        inputs, outputs = read_data_sets(name.path, taken, given)
    if not any(outputs):
        raise InputError(f"'{name.subject}' holds no outputs", fix="name a recording of outputs, by their names")
    known = [entry for entry in inputs if entry]
    claim = TensorsUnderTest(
        outputs=tuple(Output(kind="tensor", name=key, index=index) for index, key in enumerate(outputs[0])),
        tensors=(),
    )
    return RecordedSide(name=name, claim=claim, inputs=tuple(known), outputs=tuple(outputs))


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz or .npy file by name, '' for that of an .npy; objects are refused.

    Raises InputError if it cannot be read."""
    try:
        found = np.load(path, allow_pickle=False)
        return {"": found} if isinstance(found, np.ndarray) else {key: found[key] for key in found.files}
    except FileNotFoundError as error:
        raise InputError(f"there is no file '{path}'", fix="check the path") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"'{path}' holds no arrays that can be read ({error})", fix="write it with numpy.savez, without objects"
        ) from error


def _data_sets(folder: Path) -> list[Path]:
    if any(folder.glob("output_*.pb")) or any(folder.glob("input_*.pb")):
        return [folder]
    found = [entry for entry in folder.glob(f"{DATA_SET}*") if entry.is_dir()]
    return sorted(found, key=lambda entry: (len(entry.name), entry.name))


def read_data_sets(
    folder: Path, input_names: Iterable[str], output_names: Iterable[str]
) -> tuple[list[Arrays], list[Arrays]]:
    """Return the inputs and the outputs of each data set in a folder, by name.

    Tensors without a name have those that are given, in order. Raises InputError if a tensor cannot be read."""
    if (folder / MANIFEST).is_file():
        loaded = load_data_sets(folder, read_manifest(folder))
        return [dict(inputs) for _, inputs, _ in loaded], [dict(outputs) for _, _, outputs in loaded]
    names, sets = {"input": tuple(input_names), "output": tuple(output_names)}, _data_sets(folder)
    return [_tensors(each, "input", names["input"]) for each in sets], [
        _tensors(each, "output", names["output"]) for each in sets
    ]


def _tensors(folder: Path, kind: str, names: tuple[str, ...]) -> Arrays:
    files = sorted(folder.glob(f"{kind}_*.pb"), key=lambda file: (len(file.name), file.name))
    found = {}
    for index, file in enumerate(files):
        try:
            proto = onnx.load_tensor_from_string(file.read_bytes())
            if proto.data_location == onnx.TensorProto.EXTERNAL:
                raise ValueError("its values are in another file")
            array: NDArray[Any] = onnx.numpy_helper.to_array(proto)
        except Exception as error:  # protobuf and onnx raise what they like for damaged bytes
            raise InputError(f"'{file}' does not hold a tensor ({error})", fix="record it again") from error
        fallback = names[index] if index < len(names) else f"{kind}_{index}"
        found[proto.name if proto.name in names or not names else fallback] = array
    return found

"""External data: weights that an ONNX file stores in another file.

The checks are that the other file exists in the same folder, is complete, and is the one that was written with the
ONNX file. It is read only for its digest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PureWindowsPath

import numpy as np
import onnx

from nfexport.errors import OnnxFileError
from nfexport.graph.file_digest import file_digest
from nfexport.graph.proto_graphs import graphs
from nfexport.graph.tensors import byte_count
from nfexport.recipe.metadata import ExternalRecord, read_external_record

NUMBER = re.compile("[0-9]{1,18}")


def external_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor whose values are stored in another file: initializers, and attributes of nodes."""
    nodes = [node for graph in graphs(model.graph) for node in graph.node]
    nodes += [node for function in model.functions for node in function.node]
    attributes = (attribute.t for node in nodes for attribute in node.attribute if attribute.HasField("t"))
    initializers = (tensor for graph in graphs(model.graph) for tensor in graph.initializer)
    for tensor in (*initializers, *attributes):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield tensor


def external_files(path: Path, model: onnx.ModelProto) -> dict[str, int]:
    """Return the size in bytes of every file that holds values of the model at path, by location, sorted.

    Raises OnnxFileError if one is outside the model's folder or missing, or does not have the bytes that a tensor
    takes of it."""
    sizes: dict[str, int] = {}
    for tensor in external_tensors(model):
        entries = _entries(tensor)
        location = entries.get("location", "")
        if location not in sizes:
            sizes[location] = _size(path, location, tensor.name)
        needed = byte_count(tensor)
        offset, length = entries.get("offset") or "0", entries.get("length") or str(needed)
        if not (NUMBER.fullmatch(offset) and NUMBER.fullmatch(length)):
            what = f"an offset of {offset!r} and a length of {length!r} bytes"
        elif int(length) != needed:
            what = f"{int(length):,} bytes, and its shape takes {needed:,}"
        elif int(offset) + needed > sizes[location]:
            what = f"bytes {int(offset):,} to {int(offset) + needed:,}, and the file ends at {sizes[location]:,}"
        else:
            continue
        raise OnnxFileError(
            f"'{path}' keeps '{tensor.name}' in '{location}' with {what}",
            fix="fetch or export both files again, together",
        )
    return dict(sorted(sizes.items()))


def external_values(path: Path, tensor: onnx.TensorProto) -> memoryview:
    """Return the bytes of a tensor of the model at path that are stored in another file, mapped from there.

    `external_files` checks beforehand that they are there. Raises OSError if they cannot be read."""
    entries, size = _entries(tensor), byte_count(tensor)
    if not size:  # nothing cannot be mapped
        return memoryview(b"")
    return np.memmap(path.parent / entries["location"], np.uint8, "r", int(entries.get("offset") or 0), (size,)).data


def recorded(path: Path, metadata: Mapping[str, str], files: Mapping[str, int]) -> ExternalRecord | None:
    """Return the record that the model at path has of one of these files, after a comparison with its size; None if
    it has none of them: other tools keep the entry and move the weights.

    Raises OnnxFileError for another size, or for an entry that cannot be read."""
    record = read_external_record(metadata)
    if record is None or record.location not in files:
        return None
    if files[record.location] != record.size:
        raise OnnxFileError(
            f"'{record.location}' has {files[record.location]:,} bytes, and was written with '{path}' in "
            f"{record.size:,}: it is cut off, or belongs to another model",
            fix="fetch or export both files again, together",
        )
    return record


def check_digest(path: Path, record: ExternalRecord) -> None:
    """Read the external data of the model at path. Raises OnnxFileError if it is not what was written with it."""
    digest = file_digest(path.parent / record.location)
    if digest != record.sha256:
        raise OnnxFileError(
            f"'{record.location}' is not the file that was written with '{path}' (sha256 "
            f"{digest[:12]}… instead of {record.sha256[:12]}…): it is damaged, or belongs to another model",
            fix="fetch or export both files again, together",
        )


def check_external_data(path: Path, model: onnx.ModelProto) -> None:
    """Raise OnnxFileError if a file with weights is outside the model's folder or missing, does not have the bytes
    that a tensor takes of it, or is not the one that was written with the model."""
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    record = recorded(path, metadata, external_files(path, model))
    if record is not None:
        check_digest(path, record)


def refuse_external_data(model: onnx.ModelProto) -> None:
    """Raise OnnxFileError if a model in memory has external data: there is no folder to look in."""
    for tensor in external_tensors(model):
        location = _entries(tensor).get("location", "")
        raise OnnxFileError(
            f"the model keeps '{tensor.name}' in the file '{location}', and a model in memory has no folder",
            fix="pass the path of its file, or load it with onnx.load, external data included",
        )


def _entries(tensor: onnx.TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _size(path: Path, location: str, tensor: str) -> int:
    if not location:
        raise OnnxFileError(f"'{path}' keeps '{tensor}' in another file, and does not name it", fix="export it again")
    file = path.parent / location
    if not _is_inside(path, location):
        raise OnnxFileError(
            f"'{path}' keeps weights in '{location}', which is outside its folder",
            fix="put the two files into one folder, with the location written relative to it",
        )
    if not file.is_file():
        raise OnnxFileError(
            f"'{path}' keeps weights in '{location}', which is not next to it",
            fix="put the two files into one folder",
        )
    return file.stat().st_size


def _is_inside(path: Path, location: str) -> bool:
    """Say whether a location stays in the folder of the file, with links followed. A cache may hold both files as
    links into another folder."""
    windows = PureWindowsPath(location)
    if windows.drive or windows.root or ".." in windows.parts:
        return False
    real = (path.parent / location).resolve()
    return any(real.is_relative_to(folder) for folder in (path.parent.resolve(), path.resolve().parent))

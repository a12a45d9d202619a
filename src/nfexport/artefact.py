"""The one place that writes files: beside the target first, under the final name only when all is well."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
import onnx_ir as ir

from nfexport.errors import OutputError

_INLINE_BYTES = 1024
"""Tensors up to this size are serialised by onnx_ir; larger ones are streamed from where they lie."""

_PIECE = 2**22
"""Bytes that are copied at a time."""

PROTOBUF_LIMIT = 2**31 - 1
"""Bytes that a protobuf message, and so an ONNX file without external data, may have."""


def check_target(target: Path, *, option: str = "-o") -> None:
    """Raise OutputError if the target cannot be written, before any long work is done for it; option is what
    names it."""
    folder = target.parent
    if target.is_dir():
        raise OutputError(f"'{target}' is a folder", fix=f"name a file with {option}")
    if not folder.is_dir():
        raise OutputError(
            f"the folder '{folder}' does not exist", fix=f"create it, or name another file with {option}"
        )
    if not os.access(folder, os.W_OK):
        raise OutputError(f"the folder '{folder}' is not writable", fix=f"name another file with {option}")


@contextlib.contextmanager
def staged(target: Path, *, option: str = "-o") -> Iterator[Path]:
    """Yield a path beside the target; on success it takes the target's name, on any error it is removed.

    Raises OutputError if the disk is full or the folder cannot be written."""
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(target)
    except OSError as error:
        raise OutputError(
            f"'{target}' cannot be written ({error.strerror or error})",
            fix=f"free some space, or name another file with {option}",
        ) from error
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """Yield a new folder beside the target; on success it takes the target's place, whole, on any error it is
    removed and what was there before stays.

    Raises OutputError if the disk is full or the folder around it cannot be written."""
    target = target.resolve()  # a link stays a link, and '.' has a name
    partial, former = (target.with_name(f".{target.name}.{os.getpid()}.{end}") for end in ("partial", "former"))
    try:
        partial.mkdir()
        yield partial
        if target.exists():
            # a folder cannot be renamed onto another that holds something
            target.replace(former)
        try:
            partial.replace(target)
        except OSError:
            if former.exists():
                former.replace(target)
            raise
    except OSError as error:
        raise OutputError(
            f"'{target}' cannot be written ({error.strerror or error})",
            fix="free some space, or name another folder with -o",
        ) from error
    finally:
        for leftover in (partial, former):
            shutil.rmtree(leftover, ignore_errors=True)


@contextlib.contextmanager
def staged_files(targets: Sequence[Path]) -> Iterator[Path]:
    """Yield a new folder beside the targets, which lie in one folder; on success the files of their names in it
    take the targets' names, in order, on any error they are removed.

    Raises OutputError if the disk is full or the folder cannot be written."""
    first = targets[0]
    partial = first.with_name(f".{first.name}.{os.getpid()}.partial.d")
    try:
        partial.mkdir()
        yield partial
        for target in targets:
            (partial / target.name).replace(target)
    except OSError as error:
        raise OutputError(
            f"'{first}' cannot be written ({error.strerror or error})",
            fix="free some space, or name another file with -o",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write these files, by their paths within the folder; folders in between are made."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_model(model: ir.Model, path: Path) -> None:
    """Write the model as one ONNX file, streaming large tensors from where they lie.

    The bytes are those of one ModelProto: only the order differs from protobuf's own, the graph being the
    last field and the large initializers the last of its fields. Raises OutputError past protobuf's limit.
    """
    large = {
        name: value.const_value
        for name, value in model.graph.initializers.items()
        if value.const_value is not None
        and value.const_value.dtype != ir.DataType.STRING
        and value.const_value.nbytes > _INLINE_BYTES
    }
    proto = _serialise_without(model, large)
    graph = proto.graph.SerializeToString(deterministic=True)
    proto.ClearField("graph")
    head = proto.SerializeToString(deterministic=True)
    tensors = [(_tensor_header(name, tensor), tensor) for name, tensor in large.items()]
    length = len(graph) + sum(len(header) + tensor.nbytes for header, tensor in tensors)
    if length > PROTOBUF_LIMIT:
        raise OutputError(
            f"the model takes {length:,} bytes, more than the 2 GiB that one ONNX file can hold",
            fix="export a smaller model",
        )
    with path.open("wb") as file:
        file.write(head)
        file.write(_field(_MODEL_GRAPH, length))
        file.write(graph)
        for header, tensor in tensors:
            file.write(header)
            _write_bytes(file, tensor)
        file.flush()
        os.fsync(file.fileno())


def copy_without(source: Path, target: Path, left_out: Sequence[tuple[int, int]], tail: bytes) -> None:
    """Write the bytes of source, without these ranges (start, end), which are sorted, and with a tail, in
    little memory."""
    with source.open("rb") as old, target.open("wb") as new:
        for start, end in (*left_out, (source.stat().st_size, 0)):
            missing = start - old.tell()
            while missing > 0:
                piece = old.read(min(missing, _PIECE))
                if not piece:
                    raise OSError("the file became shorter while it was copied")
                new.write(piece)
                missing -= len(piece)
            old.seek(end)
        new.write(tail)
        new.flush()
        os.fsync(new.fileno())
    shutil.copymode(source, target)


# field numbers of onnx.proto, each with wire type 2 (length-delimited)
_MODEL_GRAPH = onnx.ModelProto.DESCRIPTOR.fields_by_name["graph"].number
_GRAPH_INITIALIZER = onnx.GraphProto.DESCRIPTOR.fields_by_name["initializer"].number
_TENSOR_RAW_DATA = onnx.TensorProto.DESCRIPTOR.fields_by_name["raw_data"].number


def _serialise_without(model: ir.Model, large: dict[str, ir.TensorProtocol]) -> onnx.ModelProto:
    initializers = model.graph.initializers
    values = {name: initializers[name] for name in large}
    try:
        for value in values.values():
            value.const_value = None
        for name in large:
            del initializers[name]
        proto = ir.to_proto(model)
        # an initializer says its own type and shape
        shapes = [info for info in proto.graph.value_info if info.name not in initializers]
        del proto.graph.value_info[:]
        proto.graph.value_info.extend(shapes)
        return proto
    finally:
        for name, value in values.items():
            value.const_value = large[name]
            model.graph.register_initializer(value)


def _tensor_header(name: str, tensor: ir.TensorProtocol) -> bytes:
    """Return everything of an initializer field but its raw bytes, which follow."""
    shape = tensor.shape.numpy()
    proto = onnx.TensorProto(name=name, data_type=int(tensor.dtype), dims=shape)
    body: bytes = proto.SerializeToString(deterministic=True) + _field(_TENSOR_RAW_DATA, tensor.nbytes)
    return _field(_GRAPH_INITIALIZER, len(body) + tensor.nbytes) + body


def _write_bytes(file: BinaryIO, tensor: ir.TensorProtocol) -> None:
    array = tensor.numpy()
    # the file's byte order is little-endian, as is that of every machine that torch runs on
    mapped = array.flags.c_contiguous and tensor.dtype.bitwidth >= 8  # smaller types are packed in the file
    file.write(array.reshape(-1).view(np.uint8).data if mapped else tensor.tobytes())


def _field(number: int, length: int) -> bytes:
    return _varint(number << 3 | 2) + _varint(length)


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)

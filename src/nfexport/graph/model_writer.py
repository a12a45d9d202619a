"""Write a model as an ONNX file, with its weights inside or next to it (external data)."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from nfexport.errors import OutputError
from nfexport.graph.atomic_files import moved_aside, temporary_folder
from nfexport.graph.libraries import ir, np, onnx
from nfexport.graph.wire_format import GRAPH, INITIALIZER, RAW_DATA, length_delimited
from nfexport.recipe.metadata import EXTERNAL_KEY, ExternalRecord, write_external_record

_INLINE_BYTES = 1024
"""Tensors up to this size are serialised by onnx_ir; larger ones are streamed from where they are stored."""

_PAGE, _WORD = 4096, 64
"""Bytes that offsets in external data are multiples of: tensors of a page and more can be mapped."""

PROTOBUF_LIMIT = 2**31 - 1
"""Bytes that a protobuf message, and so an ONNX file without external data, may have."""

DATA_SUFFIX = ".data"


def data_target(target: Path) -> Path:
    """Return the path of the external data of an ONNX file: 'net.onnx.data' for 'net.onnx'."""
    return target.with_name(f"{target.name}{DATA_SUFFIX}")


@contextlib.contextmanager
def staged_model(target: Path) -> Iterator[Path]:
    """Yield a path of the target's name in a new folder next to it, for write_model; on success the file replaces the
    target, after its external data, if there is any. On any error both are removed, and what was there before stays.

    A process that is killed between the two renames leaves external data and no ONNX file: never one whose weights
    are missing or belong to another. External data of an earlier file of that name stays if the new one has none.
    Raises OutputError if the disk is full or the folder cannot be written."""
    data = data_target(target)
    with temporary_folder(target) as partial:
        yield partial / target.name
        if not (partial / data.name).exists():
            (partial / target.name).replace(target)
        else:
            if data.is_dir():
                raise IsADirectoryError(errno.EISDIR, f"'{data.name}' is a folder")
            with moved_aside([target, data], partial):
                (partial / data.name).replace(data)
                (partial / target.name).replace(target)


@contextlib.contextmanager
def without_large_weights(model: ir.Model) -> Iterator[Mapping[str, ir.TensorProtocol]]:
    """Take the initializers of more than 1 KiB out of a graph for the length of a block, and yield their tensors."""
    initializers = model.graph.initializers
    values = list(initializers.values())
    large = {
        str(value.name): value.const_value
        for value in values
        if value.const_value is not None
        and value.const_value.dtype != ir.DataType.STRING
        and value.const_value.nbytes > _INLINE_BYTES
    }
    try:
        initializers.clear()
        for value in values:
            if value.name in large:
                value.const_value = None  # or it would be written as a value_info of that type
            else:
                initializers.add(value)
        yield large
    finally:
        initializers.clear()
        for value in values:
            value.const_value = large.get(str(value.name), value.const_value)
            initializers.add(value)


def write_model(model: ir.Model, path: Path, *, external_data: bool | None = None) -> None:
    """Write the model as an ONNX file, streaming large tensors from where they are stored; nothing is copied.

    With external_data the tensors of more than 1 KiB are stored in one file next to it, of its name and '.data',
    without it in the ONNX file itself; None means external data only past protobuf's limit. The metadata records the
    external data with its digest. The ONNX file is one ModelProto: only the order of its fields differs from
    protobuf's own, as the graph comes last, and in it the large initializers.

    Raises OutputError past protobuf's limit, if external_data is False."""
    with without_large_weights(model) as large:
        proto = _serialise(model)
    graph = proto.graph.SerializeToString(deterministic=True)
    proto.ClearField("graph")
    headers = {name: _tensor_header(name, tensor) for name, tensor in large.items()}
    length = len(graph) + sum(len(headers[name]) + tensor.nbytes for name, tensor in large.items())
    if external_data is False and length > PROTOBUF_LIMIT:
        raise OutputError(
            f"the model takes {length:,} bytes, more than the 2 GiB that one ONNX file can hold",
            fix="store the weights next to it with --external-data",
        )
    kept = [entry for entry in proto.metadata_props if entry.key != EXTERNAL_KEY]
    del proto.metadata_props[:]
    proto.metadata_props.extend(kept)
    separate = bool(large) and (external_data or length > PROTOBUF_LIMIT)
    if separate:
        record, headers = _write_data(large, data_target(path))
        for key, text in write_external_record(record).items():
            proto.metadata_props.add(key=key, value=text)
        length = len(graph) + sum(map(len, headers.values()))
    with path.open("wb") as file:
        file.write(proto.SerializeToString(deterministic=True))
        file.write(length_delimited(GRAPH, length))
        file.write(graph)
        for name, tensor in large.items():
            file.write(headers[name])
            if not separate:
                file.write(_bytes_of(tensor))
        file.flush()
        os.fsync(file.fileno())


def _write_data(tensors: Mapping[str, ir.TensorProtocol], path: Path) -> tuple[ExternalRecord, dict[str, bytes]]:
    """Write the values of tensors, and return the record of the file and the initializer fields that refer to it."""
    headers, digest, position = {}, hashlib.sha256(), 0
    with path.open("wb") as file:
        for name, tensor in tensors.items():
            alignment = _PAGE if tensor.nbytes >= _PAGE else _WORD
            padding = bytes(-position % alignment)
            position += len(padding)
            headers[name] = _external_header(name, tensor, path.name, position)
            for part in (padding, _bytes_of(tensor)):
                file.write(part)
                digest.update(part)
            position += tensor.nbytes
        file.flush()
        os.fsync(file.fileno())
    return ExternalRecord(location=path.name, sha256=digest.hexdigest(), size=position), headers


def _serialise(model: ir.Model) -> onnx.ModelProto:
    proto = ir.to_proto(model)
    # an initializer states its own type and shape
    shapes = [info for info in proto.graph.value_info if info.name not in model.graph.initializers]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(shapes)
    return proto


def _tensor_header(name: str, tensor: ir.TensorProtocol) -> bytes:
    """Return an initializer field up to its raw bytes, which follow."""
    shape = tensor.shape.numpy()
    proto = onnx.TensorProto(name=name, data_type=int(tensor.dtype), dims=shape)
    body: bytes = proto.SerializeToString(deterministic=True) + length_delimited(RAW_DATA, tensor.nbytes)
    return length_delimited(INITIALIZER, len(body) + tensor.nbytes) + body


def _external_header(name: str, tensor: ir.TensorProtocol, location: str, offset: int) -> bytes:
    """Return an initializer field whose bytes are stored in another file."""
    proto = onnx.TensorProto(name=name, data_type=int(tensor.dtype), dims=tensor.shape.numpy())
    proto.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", tensor.nbytes)):
        proto.external_data.add(key=key, value=str(value))
    body: bytes = proto.SerializeToString(deterministic=True)
    return length_delimited(INITIALIZER, len(body)) + body


def _bytes_of(tensor: ir.TensorProtocol) -> bytes | memoryview:
    array = tensor.numpy()
    # the file's byte order is little-endian, as is that of every machine that torch runs on
    mapped = array.flags.c_contiguous and tensor.dtype.bitwidth >= 8  # smaller types are packed in the file
    return array.reshape(-1).view(np.uint8).data if mapped else tensor.tobytes()

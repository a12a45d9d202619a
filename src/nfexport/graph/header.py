"""Read an ONNX file without its weights.

An ONNX file is one protobuf message, and nearly all of its bytes are the `raw_data` of initializers. This walks the
wire format over a memory map, steps over those bytes and parses what is left: 285 MB take milliseconds and no
memory, where protobuf reads, copies and keeps all of it.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx

from nfexport.errors import OnnxFileError
from nfexport.graph import foreign_files
from nfexport.graph.tensors import byte_count
from nfexport.graph.wire_format import (
    GRAPH,
    INITIALIZER,
    METADATA_PROPS,
    RAW_DATA,
    DamagedError,
    fields,
    length_delimited,
)

Look = Callable[[int, memoryview], None]
"""Is called with the number of an initializer in the graph and its raw_data, which exists during the call only."""


def read_header(path: Path, look: Look | None = None, *, keep: int = 0) -> onnx.ModelProto:
    """Return the model without the values of its initializers; those of up to `keep` bytes stay.

    look is called with each initializer's values. Raises OnnxFileError if the file is missing, not an ONNX file, or
    damaged."""
    foreign_files.check_readable(path)
    try:
        model = skim(path, look, keep=keep)
    except OSError as error:
        raise OnnxFileError(f"'{path}' cannot be read ({error.strerror})", fix="check its permissions") from error
    except DamagedError as damage:
        raise foreign_files.explain(path, damage) from damage
    if not model.ir_version or not model.graph.output:
        raise foreign_files.explain(path, DamagedError("it holds no graph"))
    return model


def skim(path: Path, look: Look | None = None, *, keep: int = 0) -> onnx.ModelProto:
    """Return the model with the raw_data of its initializers left out; names, types and dims stay.

    look is called with each of them. Initializers of up to `keep` bytes keep their values: shapes depend on targets
    of Reshape and on pads. Raises DamagedError if the file is not a complete protobuf message or an initializer does
    not have the bytes that its shape takes, and OSError if it cannot be read."""
    sizes: list[int | None] = []
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as data,
    ):
        rest = b"".join(_model(data, sizes, look, keep))
    model = onnx.ModelProto()
    try:
        model.ParseFromString(rest)
    except Exception as error:  # protobuf's DecodeError, whose module differs between its implementations
        raise DamagedError("its fields cannot be read") from error
    for tensor, size in zip(model.graph.initializer, sizes, strict=True):
        if size is not None and size != byte_count(tensor):
            raise DamagedError(
                f"initializer '{tensor.name}' holds {size:,} bytes where its shape takes {byte_count(tensor):,}"
            )
    return model


def entries_of_metadata(path: Path) -> list[tuple[str, int, int]]:
    """Return the key, the start and the end in bytes of each entry of metadata_props in an ONNX file.

    Only the fields around them are read. Raises as skim does."""
    found: list[tuple[str, int, int]] = []
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as data,
    ):
        for number, start, payload, end in fields(data, 0, len(data)):
            if number == METADATA_PROPS:
                entry = onnx.StringStringEntryProto.FromString(bytes(data[payload:end]))
                found.append((entry.key, start, end))
    return found


def _model(data: memoryview, sizes: list[int | None], look: Look | None, keep: int) -> Iterator[bytes]:
    for number, start, payload, end in fields(data, 0, len(data)):
        if number == GRAPH:
            yield _field(GRAPH, _graph(data, payload, end, sizes, look, keep))
        else:
            yield bytes(data[start:end])


def _graph(
    data: memoryview, first: int, last: int, sizes: list[int | None], look: Look | None, keep: int
) -> Iterator[bytes]:
    for number, start, payload, end in fields(data, first, last):
        if number == INITIALIZER:
            sizes.append(None)
            yield _field(INITIALIZER, _tensor(data, payload, end, sizes, look, keep))
        else:
            yield bytes(data[start:end])


def _tensor(
    data: memoryview, first: int, last: int, sizes: list[int | None], look: Look | None, keep: int
) -> Iterator[bytes]:
    for number, start, payload, end in fields(data, first, last):
        if number == RAW_DATA:
            sizes[-1] = end - payload
            if look is not None:
                with data[payload:end] as values:
                    look(len(sizes) - 1, values)
            if end - payload <= keep:
                yield bytes(data[start:end])
        else:
            yield bytes(data[start:end])


def _field(number: int, pieces: Iterator[bytes]) -> bytes:
    payload = b"".join(pieces)
    return length_delimited(number, len(payload)) + payload

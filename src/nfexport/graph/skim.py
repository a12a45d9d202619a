"""Read an ONNX file without its weights.

An ONNX file is one protobuf message, and nearly all of its bytes are the `raw_data` of initializers. This
walks the wire format over a memory map, steps over those bytes and parses what is left: 285 MB take
milliseconds and no memory, where protobuf reads, copies and keeps all of it.

    ModelProto.graph = 7 → GraphProto.initializer = 5 → TensorProto.raw_data = 9        (onnx.proto)

Source of the wire format: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx

from nfexport.graph.tensors import byte_count

GRAPH, INITIALIZER, RAW_DATA = 7, 5, 9
METADATA_PROPS = 14
"""Of ModelProto."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Look = Callable[[int, memoryview], None]
"""Is shown the raw_data of an initializer, by its number in the graph; the bytes are gone afterwards."""


class DamagedError(ValueError):
    """The bytes are no protobuf message, or end too soon."""


def skim(path: Path, look: Look | None = None, *, keep: int = 0) -> onnx.ModelProto:
    """Return the model with the raw_data of its initializers left out, after a look at them; names, types and
    dims stay. Initializers of up to `keep` bytes keep their values: shapes hang on targets of Reshape and pads.

    Raises DamagedError if the file is not a complete protobuf message or an initializer does not have the
    bytes that its shape takes, and OSError if it cannot be read."""
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
    """Return key, start and end in bytes of each entry of metadata_props in an ONNX file.

    Only the fields around them are looked at. Raises as skim does."""
    found: list[tuple[str, int, int]] = []
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as data,
    ):
        for number, start, payload, end in _fields(data, 0, len(data)):
            if number == METADATA_PROPS:
                entry = onnx.StringStringEntryProto.FromString(bytes(data[payload:end]))
                found.append((entry.key, start, end))
    return found


def _model(data: memoryview, sizes: list[int | None], look: Look | None, keep: int) -> Iterator[bytes]:
    for number, start, payload, end in _fields(data, 0, len(data)):
        if number == GRAPH:
            yield _field(GRAPH, b"".join(_graph(data, payload, end, sizes, look, keep)))
        else:
            yield bytes(data[start:end])


def _graph(
    data: memoryview, first: int, last: int, sizes: list[int | None], look: Look | None, keep: int
) -> Iterator[bytes]:
    for number, start, payload, end in _fields(data, first, last):
        if number == INITIALIZER:
            sizes.append(None)
            yield _field(INITIALIZER, b"".join(_tensor(data, payload, end, sizes, look, keep)))
        else:
            yield bytes(data[start:end])


def _tensor(
    data: memoryview, first: int, last: int, sizes: list[int | None], look: Look | None, keep: int
) -> Iterator[bytes]:
    for number, start, payload, end in _fields(data, first, last):
        if number == RAW_DATA:
            sizes[-1] = end - payload
            if look is not None:
                with data[payload:end] as values:
                    look(len(sizes) - 1, values)
            if end - payload <= keep:
                yield bytes(data[start:end])
        else:
            yield bytes(data[start:end])


def _fields(data: memoryview, position: int, last: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (number, start of the tag, start of the payload, end) of every field in [position, last)."""
    while position < last:
        start = position
        tag, position = _varint(data, position, last)
        payload = position
        wire = tag & 7
        if wire == VARINT:
            _, position = _varint(data, position, last)
        elif wire == BYTES:
            length, payload = _varint(data, position, last)
            position = payload + length
        elif wire in (FIXED64, FIXED32):
            position += 8 if wire == FIXED64 else 4
        else:
            raise DamagedError(f"it has a field of the unknown wire type {wire}")
        if position > last:
            raise DamagedError(f"{position - last:,} bytes are missing")
        yield tag >> 3, start, payload, position


def _varint(data: memoryview, position: int, last: int) -> tuple[int, int]:
    value = shift = 0
    while position < last and shift < 64:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise DamagedError("it ends in the middle of a number")


def _field(number: int, payload: bytes) -> bytes:
    head = bytearray()
    for value in (number << 3 | BYTES, len(payload)):
        while value >= 0x80:
            head.append(value & 0x7F | 0x80)
            value >>= 7
        head.append(value)
    return bytes(head) + payload

"""The wire format of protobuf, as far as reading and writing an ONNX file field by field needs it.

    ModelProto.graph = 7 → GraphProto.initializer = 5 → TensorProto.raw_data = 9        (onnx.proto)

Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator

GRAPH, METADATA_PROPS = 7, 14
"""Field numbers of ModelProto."""

INITIALIZER = 5
"""Field number of GraphProto."""

RAW_DATA = 9
"""Field number of TensorProto."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types."""


class DamagedError(ValueError):
    """The bytes are not a protobuf message, or end too soon."""


def fields(data: memoryview, position: int, last: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (number, start of the tag, start of the payload, end) of every field in [position, last)."""
    while position < last:
        start = position
        tag, position = _read_varint(data, position, last)
        payload = position
        wire = tag & 7
        if wire == VARINT:
            _, position = _read_varint(data, position, last)
        elif wire == BYTES:
            length, payload = _read_varint(data, position, last)
            position = payload + length
        elif wire in (FIXED64, FIXED32):
            position += 8 if wire == FIXED64 else 4
        else:
            raise DamagedError(f"it has a field of the unknown wire type {wire}")
        if position > last:
            raise DamagedError(f"{position - last:,} bytes are missing")
        yield tag >> 3, start, payload, position


def _read_varint(data: memoryview, position: int, last: int) -> tuple[int, int]:
    value = shift = 0
    while position < last and shift < 64:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise DamagedError("it ends in the middle of a number")


def length_delimited(number: int, length: int) -> bytes:
    """Return what precedes a payload of this many bytes: the tag of the field, and the length."""
    return _varint(number << 3 | BYTES) + _varint(length)


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)

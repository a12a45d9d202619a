"""Types and sizes of tensors as a file states them, without their values."""

from __future__ import annotations

import math

import onnx
from onnx import TensorProto

NAMES: dict[int, str] = {TensorProto.FLOAT: "float32", TensorProto.DOUBLE: "float64"}
"""Where onnx's name of a type is not numpy's, in lower case."""

BITS = {"int4": 4, "uint4": 4, "float4e2m1": 4, "int2": 2, "uint2": 2, "bool": 8}
FLOATING = ("float", "bfloat")


def dtype_name(data_type: int) -> str:
    """Return 'float32', 'int64' and so on; 'undefined' for no type, 'type 99' for one that onnx lacks."""
    if data_type in NAMES:
        return NAMES[data_type]
    if data_type in TensorProto.DataType.values():
        return str(TensorProto.DataType.Name(data_type)).lower()
    return f"type {data_type}"


def is_floating(tensor: onnx.TensorProto) -> bool:
    """Return true for float32, float16, bfloat16, float64 and the float8 and float4 types."""
    return dtype_name(tensor.data_type).startswith(FLOATING)


def element_count(tensor: onnx.TensorProto) -> int:
    """Return the product of the dims; 1 for a scalar."""
    return math.prod(tensor.dims)


def byte_count(tensor: onnx.TensorProto) -> int:
    """Return the bytes of the values, packed; 0 for strings and for types that this onnx does not know."""
    name = dtype_name(tensor.data_type)
    if name in ("string", "undefined") or name.startswith("type "):
        return 0
    bits = BITS.get(name) or 8 * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    return -(-element_count(tensor) * bits // 8)


def shape_of(value: onnx.ValueInfoProto) -> tuple[int | str, ...] | None:
    """Return the dims, a symbolic one by its name and an unknown one as '?'; None without a shape."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in tensor.shape.dim)

"""The tensors that a graph stores, as torch tensors that share their memory."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
import torch

from nfexport import process
from nfexport.errors import OnnxFileError
from nfexport.graph.constants import FEWEST_WEIGHTS

_SAME_BITS = {
    "bfloat16": (np.int16, torch.bfloat16),
    "float8_e4m3fn": (np.uint8, torch.float8_e4m3fn),
    "float8_e4m3fnuz": (np.uint8, torch.float8_e4m3fnuz),
    "float8_e5m2": (np.uint8, torch.float8_e5m2),
    "float8_e5m2fnuz": (np.uint8, torch.float8_e5m2fnuz),
}
"""Types that numpy gets from ml_dtypes: an integer of the same width, and torch's name."""

_UNPACKED = {"int4": np.int8, "uint4": np.uint8, "int2": np.int8, "uint2": np.uint8}
"""Types of fewer than 8 bits, which are held as bytes."""


def stored_tensors(graph: ir.Graph) -> Iterator[tuple[ir.Value, ir.TensorProtocol]]:
    """Yield the initializers of a graph and of its subgraphs, and the values of their Constant nodes."""
    for part in (graph, *graph.subgraphs()):
        for value in part.initializers.values():
            if value.const_value is not None:
                yield value, value.const_value
    for node in graph.all_nodes():
        if node.op_type == "Constant" and (attribute := node.attributes.get("value")) is not None:
            yield node.outputs[0], attribute.as_tensor()


def as_torch(tensor: ir.TensorProtocol) -> torch.Tensor:
    """Return a tensor of a graph as torch's, of the type that it is stored in, without copying it; types of fewer
    than 8 bits are unpacked into bytes. Raises OnnxFileError for a type that torch lacks, such as strings."""
    raw = getattr(tensor, "raw", None)
    if isinstance(raw, torch.Tensor):
        return raw.detach()
    array = tensor.numpy()
    name = array.dtype.name
    target = None
    if name in _UNPACKED:
        array = array.astype(_UNPACKED[name])
    elif name in _SAME_BITS:
        kind, target = _SAME_BITS[name]
        array = array.view(kind)
    if not array.flags.aligned or not array.dtype.isnative or any(stride < 0 for stride in array.strides):
        array = array.astype(array.dtype.newbyteorder("="), order="C")
    try:
        with process.warnings_ignored():  # that what is mapped read-only must not be written to
            made = torch.from_numpy(array)
    except TypeError as error:
        raise OnnxFileError(
            f"the tensor '{tensor.name}' is of type {tensor.dtype}, which the float64 evaluator does not cover",
            fix="store it in another type with the tool that made the file",
        ) from error
    return made if target is None else made.view(target)


def is_weight(tensor: torch.Tensor) -> bool:
    """Say whether a stored tensor counts as weights: floats, and not only a few."""
    return tensor.is_floating_point() and tensor.numel() >= FEWEST_WEIGHTS


def registered_name(index: int, name: str | None) -> str:
    """Return a name that torch accepts for a parameter or a buffer, other than any that a module has already."""
    return f"stored_{index}_{re.sub('[^0-9A-Za-z_]', '_', name or '')}"

"""Tensors that are made rather than computed: constants, ranges, unit matrices."""

from __future__ import annotations

from nfexport.interpreter.operator_call import OperatorCall, ints, torch_dtype
from nfexport.interpreter.operator_table import operator
from nfexport.interpreter.torch_library import Tensor, torch


@operator("Constant")
def _constant(call: OperatorCall) -> Tensor:
    """The forms without a tensor; those with one are stored with the weights."""
    for name, read in (("value_float", call.number), ("value_int", call.integer)):
        if call.has(name):
            return torch.tensor(read(name), dtype=torch.float32 if name == "value_float" else torch.int64)
    if (floats := call.numbers("value_floats")) is not None:
        return torch.tensor(floats, dtype=torch.float32)
    if (integers := call.integers("value_ints")) is not None:
        return torch.tensor(integers, dtype=torch.int64)
    from nfexport.interpreter.stored_tensors import as_torch

    if call.has("value"):
        return as_torch(call.node.attributes["value"].as_tensor())
    raise call.refuse("strings or a sparse tensor as its value")


@operator("ConstantOfShape", since=9)
def _constant_of_shape(call: OperatorCall, shape: Tensor) -> Tensor:
    if not call.has("value"):
        return torch.zeros(ints(shape), dtype=torch.float32)
    value = call.node.attributes["value"].as_tensor()
    dtype = torch_dtype(call, int(value.dtype))
    return torch.full(ints(shape), value.numpy().reshape(-1)[0].item(), dtype=dtype)


@operator("Range", since=11)
def _range(call: OperatorCall, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    """start + i · delta, for ⌈(limit − start) / delta⌉ numbers."""
    count = -((limit.double() - start.double()) // -delta.double())
    return start + torch.arange(max(0, int(count)), dtype=start.dtype) * delta


@operator("EyeLike", since=9)
def _eye_like(call: OperatorCall, x: Tensor) -> Tensor:
    dtype = torch_dtype(call, call.integer("dtype")) if call.has("dtype") else x.dtype
    rows, columns, k = *x.shape, call.integer("k")
    return (torch.arange(rows).reshape(-1, 1) + k == torch.arange(columns)).to(dtype)

"""Changes of the element type."""

from __future__ import annotations

from nfexport.interpreter.operator_call import OperatorCall, torch_dtype
from nfexport.interpreter.operator_table import operator
from nfexport.interpreter.torch_library import Tensor


@operator("Cast", since=6)
def _cast(call: OperatorCall, x: Tensor) -> Tensor:
    """A cast to FLOAT gives float64 where torch computes in float64; floats are cut off towards zero."""
    return x.to(torch_dtype(call, call.integer("to")))


@operator("CastLike", since=15)
def _cast_like(call: OperatorCall, x: Tensor, like: Tensor) -> Tensor:
    return x.to(like.dtype)


@operator("BitCast", since=26)
def _bit_cast(call: OperatorCall, x: Tensor) -> Tensor:
    return x.view(torch_dtype(call, call.integer("to")))

"""Products of matrices."""

from __future__ import annotations

from nfexport.interpreter.operator_call import OperatorCall
from nfexport.interpreter.operator_table import MICROSOFT, operator
from nfexport.interpreter.torch_library import F, Tensor, torch


@operator("MatMul")
def _matmul(call: OperatorCall, a: Tensor, b: Tensor) -> Tensor:
    return torch.matmul(a, b)


@operator("Gemm", since=7)
def _gemm(call: OperatorCall, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """alpha · A' · B' + beta · C; the plain form is torch's linear, as a fully connected layer is written."""
    alpha, beta = call.number("alpha", 1.0), call.number("beta", 1.0)
    a = a.t() if call.integer("transA") else a
    if call.integer("transB") and alpha == beta == 1 and c is not None and c.dim() == 1 and c.shape[0] == b.shape[0]:
        return F.linear(a, b, c)
    product = torch.matmul(a, b.t() if call.integer("transB") else b)
    product = product if alpha == 1 else product * alpha
    if c is None:
        return product
    return product + (c if beta == 1 else c * beta)


@operator("Einsum", since=12)
def _einsum(call: OperatorCall, *given: Tensor) -> Tensor:
    return torch.einsum(call.text("equation").replace(" ", ""), *given)


@operator("Det", since=11)
def _det(call: OperatorCall, x: Tensor) -> Tensor:
    return torch.det(x)


@operator("FusedMatMul", domain=MICROSOFT)
def _fused_matmul(call: OperatorCall, a: Tensor, b: Tensor) -> Tensor:
    if call.integer("transBatchA") or call.integer("transBatchB"):
        raise call.refuse("a transposed batch")
    a = a.transpose(-1, -2) if call.integer("transA") and a.dim() > 1 else a
    b = b.transpose(-1, -2) if call.integer("transB") and b.dim() > 1 else b
    return torch.matmul(a, b).mul(call.number("alpha", 1.0))

"""What a rule is told of the node that it computes: attributes, version, number of outputs, subgraphs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from nfexport.errors import OnnxFileError
from nfexport.graph.libraries import ir, np, onnx
from nfexport.graph.recognisers import label, operator_name
from nfexport.interpreter.torch_library import Tensor, torch

Run = Callable[["ir.Graph", Sequence[Any]], list[Any]]
"""Computes the outputs of a subgraph from its inputs; values of the graphs around it are seen inside."""


@dataclasses.dataclass(frozen=True)
class OperatorCall:
    """One node, once.

    version is that of its domain; run computes a subgraph of the node; widen says that float16 and bfloat16 are
    computed in float32."""

    node: ir.Node
    version: int
    widen: bool
    run: Run

    def integer(self, name: str, default: int = 0) -> int:
        """Return an integer attribute."""
        return int(self.node.attributes.get_int(name, default))

    def number(self, name: str, default: float = 0.0) -> float:
        """Return a float attribute: the float32 number that the file stores, also for the default."""
        return float(self.node.attributes.get_float(name, float(np.float32(default))))

    def text(self, name: str, default: str = "") -> str:
        """Return a string attribute."""
        return str(self.node.attributes.get_string(name, default))

    def integers(self, name: str) -> list[int] | None:
        """Return a list of integers; None without the attribute."""
        found = self.node.attributes.get_ints(name)
        return None if found is None else [int(value) for value in found]

    def numbers(self, name: str) -> list[float] | None:
        """Return a list of floats; None without the attribute."""
        found = self.node.attributes.get_floats(name)
        return None if found is None else [float(value) for value in found]

    def texts(self, name: str) -> list[str] | None:
        """Return a list of strings; None without the attribute."""
        found = self.node.attributes.get_strings(name)
        return None if found is None else [str(value) for value in found]

    def has(self, name: str) -> bool:
        """Say whether the node has an attribute of this name."""
        return name in self.node.attributes

    def graph(self, name: str) -> ir.Graph:
        """Return a subgraph."""
        return self.node.attributes[name].as_graph()

    def wants(self, index: int) -> bool:
        """Say whether the node has an output of this index with a name."""
        return index < len(self.node.outputs) and bool(self.node.outputs[index].name)

    def refuse(self, what: str) -> OnnxFileError:
        """Return the error for a form of the operator that is not covered."""
        return OnnxFileError(
            f"node '{label(self.node)}' ({operator_name(self.node)}, version {self.version}) has {what}, "
            "which the float64 evaluator does not cover",
            fix="rewrite the node with the tool that made the file",
        )


def ints(tensor: Tensor) -> list[int]:
    """Return the values of a tensor of sizes, axes or positions."""
    return [int(value) for value in tensor.reshape(-1).tolist()]


def torch_dtype(call: OperatorCall, number: int) -> torch.dtype:
    """Return torch's type for a TensorProto.DataType; float32 for the half types where they are widened.

    Raises OnnxFileError for a type that torch lacks: strings, and those of fewer than 8 bits."""
    name = onnx.TensorProto.DataType.Name(number).lower() if number in onnx.TensorProto.DataType.values() else "?"
    if call.widen and name in ("float16", "bfloat16"):
        name = "float"
    known = {"float": "float32", "double": "float64", "bool": "bool", "bfloat16": "bfloat16", "float16": "float16"}
    known |= {f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
    known |= {"complex64": "complex64", "complex128": "complex128"}
    known |= {f"float8{kind}": f"float8_{kind}" for kind in ("e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz")}
    if name not in known:
        raise call.refuse(f"the element type {name}")
    return getattr(torch, known[name])  # type: ignore[no-any-return]

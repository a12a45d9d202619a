"""The differences between two ONNX files, without running them.

Tensors are mapped from where they are stored and read one at a time; their values are compared in float64.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from nfexport.inspection.facts import FileFacts, inspect
from nfexport.recipe.metadata import EXTERNAL_KEY, RECIPE_KEY

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """One difference: the part of the file, the name, and what each file has there (None for nothing)."""

    part: str
    name: str
    first: Any
    second: Any
    detail: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """All differences between two files, in the order interface, opset, operators, initializers, nodes, metadata."""

    first: FileFacts
    second: FileFacts
    changes: tuple[Change, ...]

    @property
    def equal(self) -> bool:
        """True if nothing that is compared differs."""
        return not self.changes

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "first": str(self.first.path),
            "second": str(self.second.path),
            "equal": self.equal,
            "sizes": [self.first.total_size, self.second.total_size],
            "changes": [dataclasses.asdict(change) for change in self.changes],
        }


def diff(first: str | Path, second: str | Path, *, atol: float = 0.0) -> Difference:
    """Compare two files from any producer. Values of initializers may differ by up to atol.

    Raises OnnxFileError if one of them is missing, not an ONNX file, damaged, or lacks its external data."""
    a, b = inspect(first), inspect(second)
    left, right = ir.load(a.path), ir.load(b.path)
    changes = [
        *_interface(a, b),
        *_mapping("opset", a.opset_imports, b.opset_imports),
        *_mapping("IR version", {"ir_version": a.ir_version}, {"ir_version": b.ir_version}),
        *_mapping("operators", a.operator_counts, b.operator_counts),
        *_initializers(left, right, atol),
        *_nodes(left, right),
        *_metadata(left.metadata_props, right.metadata_props),
    ]
    return Difference(first=a, second=b, changes=tuple(changes))


def _interface(a: FileFacts, b: FileFacts) -> Iterator[Change]:
    for part in ("inputs", "outputs"):
        before = {tensor.name: _describe(tensor) for tensor in getattr(a, part)}
        after = {tensor.name: _describe(tensor) for tensor in getattr(b, part)}
        yield from _mapping(part, before, after)
        if before.keys() == after.keys() and list(before) != list(after):
            yield Change(part=part, name="order", first=list(before), second=list(after))


def _describe(tensor: Any) -> str:
    shape = "?" if tensor.shape is None else ", ".join(map(str, tensor.shape))
    return f"{tensor.dtype} [{shape}]"


def _mapping(part: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Change]:
    for name in dict.fromkeys((*a, *b)):
        if a.get(name) != b.get(name):
            yield Change(part=part, name=name, first=a.get(name), second=b.get(name))


def _constants(model: ir.Model) -> dict[str, ir.TensorProtocol]:
    found = {name: value.const_value for name, value in model.graph.initializers.items()}
    for node in model.graph.all_nodes():
        if node.op_type == "Constant" and "value" in node.attributes:
            found[str(node.outputs[0].name)] = node.attributes["value"].as_tensor()
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def _initializers(left: ir.Model, right: ir.Model, atol: float) -> Iterator[Change]:
    a, b = _constants(left), _constants(right)
    gone, new = [name for name in a if name not in b], [name for name in b if name not in a]
    for name in [name for name in a if name in b]:
        yield from _values(name, a[name], b[name], atol)
    for name in gone:
        same = next((other for other in new if _same(a[name], b[other])), None)
        if same is None:
            yield Change(part="initializers", name=name, first=_form(a[name]), second=None)
        else:
            new.remove(same)
            yield Change(
                part="initializers", name=name, first=name, second=same, detail="the same under another name"
            )
    for name in new:
        yield Change(part="initializers", name=name, first=None, second=_form(b[name]))


def _same(a: ir.TensorProtocol, b: ir.TensorProtocol) -> bool:
    return _form(a) == _form(b) and a.tobytes() == b.tobytes()


def _form(tensor: ir.TensorProtocol) -> str:
    return f"{str(tensor.dtype).lower()} {list(tensor.shape.numpy())}"


def _values(name: str, a: ir.TensorProtocol, b: ir.TensorProtocol, atol: float) -> Iterator[Change]:
    if _form(a) != _form(b):
        yield Change(part="initializers", name=name, first=_form(a), second=_form(b))
        return
    x, y = a.numpy(), b.numpy()
    if x.dtype.kind not in "biufcV" or x.tobytes() == y.tobytes():
        if x.dtype.kind not in "biufcV" and not np.array_equal(x, y):
            yield Change(part="initializers", name=name, first=_form(a), second=_form(b), detail="other values")
        return
    count, largest = differing(x, y, atol)
    if count:
        x = x.astype(np.float64)
        scale = float(np.nanmax(np.abs(x))) if np.isfinite(x).any() else 0.0
        relative = f", {largest / scale:.1e} of the largest" if scale else ""
        yield Change(
            part="initializers",
            name=name,
            first=_form(a),
            second=_form(b),
            detail=f"{count:,} of {x.size:,} numbers differ, by up to {largest:.3g}{relative}",
        )


def differing(x: Array, y: Array, atol: float) -> tuple[int, float]:
    """Return how many numbers of two arrays of one shape differ by more than atol, and the largest difference.

    Computed in float64; a NaN on one side alone is an infinite difference, on both sides none."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    with np.errstate(invalid="ignore"):
        error = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0.0, np.abs(x - y))
    error = np.where(np.isnan(error), np.inf, error)
    return int((error > atol).sum()), float(error.max(initial=0.0))


def _nodes(left: ir.Model, right: ir.Model) -> Iterator[Change]:
    a, b = _named(left), _named(right)
    for name in [name for name in a if name in b]:
        before, after = a[name], b[name]
        if before.op_type != after.op_type:
            yield Change(part="nodes", name=name, first=before.op_type, second=after.op_type)
            continue
        yield from (
            dataclasses.replace(change, name=f"{name}.{change.name}")
            for change in _mapping("nodes", _attributes(before), _attributes(after))
        )
        wires = [[None if value is None else value.name for value in node.inputs] for node in (before, after)]
        if wires[0] != wires[1]:
            yield Change(part="nodes", name=f"{name}.inputs", first=wires[0], second=wires[1])


def _named(model: ir.Model) -> dict[str, ir.Node]:
    """Return the nodes whose name is theirs alone."""
    seen: dict[str, list[ir.Node]] = {}
    for node in model.graph.all_nodes():
        if node.name:
            seen.setdefault(node.name, []).append(node)
    return {name: nodes[0] for name, nodes in seen.items() if len(nodes) == 1}


def _attributes(node: ir.Node) -> dict[str, Any]:
    simple = (ir.AttributeType.FLOAT, ir.AttributeType.INT, ir.AttributeType.STRING)
    lists = (ir.AttributeType.FLOATS, ir.AttributeType.INTS, ir.AttributeType.STRINGS)
    return {
        name: attribute.value if attribute.type in simple else list(attribute.value)
        for name, attribute in node.attributes.items()
        if attribute.type in (*simple, *lists)
    }


def _metadata(a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[Change]:
    # where the weights are stored does not count
    a, b = ({key: text for key, text in side.items() if key != EXTERNAL_KEY} for side in (a, b))
    for change in _mapping("metadata", a, b):
        if change.name == RECIPE_KEY and change.first and change.second:
            before, after = json.loads(change.first), json.loads(change.second)
            yield from (dataclasses.replace(field, part="recipe") for field in _mapping("recipe", before, after))
        elif not change.name.startswith("nfexport."):
            yield change
        elif change.first is None or change.second is None:
            shown = ["there" if value else None for value in (change.first, change.second)]
            yield dataclasses.replace(change, first=shown[0], second=shown[1])

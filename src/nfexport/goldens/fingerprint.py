"""The facts of an ONNX file apart from its numbers: read once, without loading it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from nfexport.errors import OnnxFileError, RecipeError
from nfexport.goldens.manifest import Interface, Value, Weight
from nfexport.graph import counts, proto_graphs
from nfexport.graph.external_data import check_digest, external_files, external_values, recorded
from nfexport.graph.header import read_header
from nfexport.graph.tensors import dtype_name, shape_of
from nfexport.passes.recorded import read_recipe
from nfexport.recipe.metadata import RECIPE_KEY


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """The facts that a golden records of a file; fields as in Manifest.

    recipe_problem is the reason where the file has a recipe that cannot be read."""

    interface: Interface
    opset_imports: Mapping[str, int]
    operators: Mapping[str, int]
    nodes_sha256: str
    weights: Mapping[str, Weight]
    recipe: Mapping[str, Any] | None
    recipe_sha256: str | None
    recipe_problem: str | None
    external_data: bool

    @property
    def weights_sha256(self) -> str:
        """The digest over name, dtype, shape and values of every weight, in sorted order of names."""
        total = hashlib.sha256()
        for name, weight in sorted(self.weights.items()):
            total.update(json.dumps([name, weight.dtype, weight.shape, weight.sha256]).encode())
        return total.hexdigest()


def fingerprint(path: Path) -> Fingerprint:
    """Return the facts of an ONNX file from any producer. Weights are hashed where they are stored, not loaded.

    Raises OnnxFileError if the file is missing, not an ONNX file, damaged, or lacks its external data, or if that is
    not the data it was written with."""
    digests: dict[int, str] = {}
    model = read_header(path, lambda index, values: digests.__setitem__(index, hashlib.sha256(values).hexdigest()))
    graph = model.graph
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    files = external_files(path, model)
    if (record := recorded(path, metadata, files)) is not None:
        check_digest(path, record)
    nodes = hashlib.sha256()
    for node in graph.node:
        # the value of a Constant is compared as a weight
        whole = "\0".join(node.output).encode() if node.op_type == "Constant" else None
        nodes.update(whole or node.SerializeToString(deterministic=True))
    stored = {tensor.name for tensor in graph.initializer}
    recipe, digest, problem = _recipe(metadata)
    return Fingerprint(
        interface=Interface(
            inputs=tuple(_value(value) for value in graph.input if value.name not in stored),
            outputs=tuple(map(_value, graph.output)),
        ),
        opset_imports={entry.domain: entry.version for entry in model.opset_import},
        operators=counts.operator_counts(graph),
        nodes_sha256=nodes.hexdigest(),
        weights=_weights(graph, digests, path),
        recipe=recipe,
        recipe_sha256=digest,
        recipe_problem=problem,
        external_data=bool(files),
    )


def _value(value: onnx.ValueInfoProto) -> Value:
    return Value(name=value.name, dtype=dtype_name(value.type.tensor_type.elem_type), shape=shape_of(value))


def _weights(graph: onnx.GraphProto, digests: Mapping[int, str], path: Path) -> dict[str, Weight]:
    """Return initializers and the values of Constant nodes; those of subgraphs are in the digest of their node."""
    found: dict[str, Weight] = {}
    for index, tensor in enumerate(graph.initializer):
        found[tensor.name] = _weight(tensor, digests.get(index) or _digest(tensor, path))
    for name, tensor in proto_graphs.stored_constants(graph).items():
        if name not in found:
            found[name] = _weight(tensor, _digest(tensor, path))
    return found


def _weight(tensor: onnx.TensorProto, digest: str) -> Weight:
    return Weight(dtype=dtype_name(tensor.data_type), shape=tuple(tensor.dims), sha256=digest)


def _digest(tensor: onnx.TensorProto, path: Path) -> str:
    try:
        return _digest_of_values(tensor, path)
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise OnnxFileError(
            f"the values of '{tensor.name}' in '{path}' cannot be read ({error})", fix="export it again"
        ) from error


def _digest_of_values(tensor: onnx.TensorProto, path: Path) -> str:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return hashlib.sha256(external_values(path, tensor)).hexdigest()
    if tensor.HasField("raw_data"):
        return hashlib.sha256(tensor.raw_data).hexdigest()
    if tensor.string_data:
        return hashlib.sha256(b"\0".join(tensor.string_data)).hexdigest()
    return hashlib.sha256(onnx.numpy_helper.to_array(tensor).tobytes()).hexdigest()


def _recipe(metadata: Mapping[str, str]) -> tuple[Mapping[str, Any] | None, str | None, str | None]:
    try:
        recipe = read_recipe(metadata)
    except RecipeError as error:
        return None, None, error.problem
    return (None, None, None) if recipe is None else (json.loads(metadata[RECIPE_KEY]), recipe.digest, None)

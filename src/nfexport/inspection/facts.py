"""The facts of one ONNX file, as a value."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import onnx

from nfexport.errors import RecipeError
from nfexport.graph import counts, proto_graphs
from nfexport.graph.external_data import external_files, recorded
from nfexport.graph.header import read_header
from nfexport.graph.tensors import byte_count, dtype_name, element_count, is_floating, shape_of
from nfexport.passes.recorded import read_recipe
from nfexport.recipe.about import About, Accuracy, read_about, read_evaluation
from nfexport.recipe.metadata import ExternalRecord
from nfexport.recipe.recipe import Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorFacts:
    """An input or output. A symbolic dim is a string, '?' without a name; shape is None if the file states none."""

    name: str
    dtype: str
    shape: tuple[int | str, ...] | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values for JSON."""
        return {
            "name": self.name,
            "dtype": self.dtype,
            "shape": None if self.shape is None else list(self.shape),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileFacts:
    """The facts of an ONNX file; sizes in bytes.

    parameters are the elements of all floating initializers; counted_parameters those in the weights and
    biases of Conv, ConvTranspose, Gemm and MatMul alone. Of the convolutions, computed_conv_weights compute
    their weight at every inference, constant_conv_weights keep it in a Constant node. Nodes of subgraphs are
    counted. recipe is None for a file that has none, or one that cannot be read, and recipe_error then says why;
    about and evaluation are the model's description and its measured accuracy, if the file has them. external_data
    are the files that hold weights, relative to the file's folder; external_record is the file's record of one.
    """

    path: Path
    file_size: int
    external_size: int
    external_data: tuple[str, ...]
    ir_version: int
    opset_imports: Mapping[str, int]
    producer: str
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    node_count: int
    operator_counts: Mapping[str, int]
    initializer_count: int
    initializer_bytes: int
    parameters: int
    counted_parameters: int
    conv_count: int
    computed_conv_weights: int
    constant_conv_weights: int
    training_batch_norms: int
    recipe: Recipe | None
    recipe_error: RecipeError | None
    about: About | None = None
    evaluation: Accuracy | None = None
    external_record: ExternalRecord | None = None

    @property
    def total_size(self) -> int:
        """The file and its external data together."""
        return self.file_size + self.external_size

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values for JSON."""
        facts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return facts | {
            "path": str(self.path),
            "total_size": self.total_size,
            "external_data": list(self.external_data),
            "opset_imports": dict(self.opset_imports),
            "operator_counts": dict(self.operator_counts),
            "inputs": [tensor.to_dict() for tensor in self.inputs],
            "outputs": [tensor.to_dict() for tensor in self.outputs],
            "recipe": None if self.recipe is None else json.loads(self.recipe.to_json()),
            "recipe_error": None if self.recipe_error is None else str(self.recipe_error),
            "about": None if self.about is None else msgspec.to_builtins(self.about),
            "evaluation": None if self.evaluation is None else msgspec.to_builtins(self.evaluation),
            "external_record": None if self.external_record is None else msgspec.to_builtins(self.external_record),
        }


def inspect(path: str | Path) -> FileFacts:
    """Return the facts of an ONNX file from any producer, without reading its weights.

    Raises OnnxFileError if the file is missing, not an ONNX file, damaged, or lacks its external data or a part of
    it, and RecipeError if the description of the model cannot be read."""
    path = Path(path)
    model = read_header(path)
    graph = model.graph
    tensors = proto_graphs.initializers(graph)
    operators = counts.operator_counts(graph)
    convolutions = counts.convolution_weights(graph)
    external = external_files(path, model)
    stored = {tensor.name for tensor in graph.initializer}
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    recipe, recipe_error = _recipe(metadata)
    return FileFacts(
        path=path,
        file_size=path.stat().st_size,
        external_size=sum(external.values()),
        external_data=tuple(external),
        ir_version=model.ir_version,
        opset_imports={entry.domain: entry.version for entry in model.opset_import},
        producer=" ".join(filter(None, (model.producer_name, model.producer_version))),
        inputs=_interface(value for value in graph.input if value.name not in stored),
        outputs=_interface(graph.output),
        node_count=sum(operators.values()),
        operator_counts=operators,
        initializer_count=len(tensors),
        initializer_bytes=sum(map(byte_count, tensors)),
        parameters=sum(element_count(tensor) for tensor in tensors if is_floating(tensor)),
        counted_parameters=counts.counted_parameters(graph),
        conv_count=sum(convolutions.values()),
        computed_conv_weights=convolutions["computed"],
        constant_conv_weights=convolutions["constant"],
        training_batch_norms=counts.training_batch_norms(graph),
        recipe=recipe,
        recipe_error=recipe_error,
        about=read_about(metadata),
        evaluation=read_evaluation(metadata),
        external_record=recorded(path, metadata, external),
    )


def _interface(values: Iterable[onnx.ValueInfoProto]) -> tuple[TensorFacts, ...]:
    return tuple(
        TensorFacts(
            name=value.name,
            dtype=dtype_name(value.type.tensor_type.elem_type),
            shape=shape_of(value),
        )
        for value in values
    )


def _recipe(metadata: Mapping[str, str]) -> tuple[Recipe | None, RecipeError | None]:
    """Return the recipe or why it cannot be read: the other facts are shown all the same."""
    try:
        return read_recipe(metadata), None
    except RecipeError as error:
        return None, error

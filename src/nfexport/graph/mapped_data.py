"""Weights that a file keeps in other files: mapped from where they lie, not loaded, and only after a check."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir

from nfexport.errors import OnnxFileError
from nfexport.graph.external_data import check_digest, external_files, external_tensors, recorded


def check_external_data(path: Path, model: onnx.ModelProto) -> None:
    """Raise OnnxFileError if a file with weights is outside the model's folder or missing, has not the bytes
    that a tensor takes of it, or is not the one that was written with the model."""
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    record = recorded(path, metadata, external_files(path, model))
    if record is not None:
        check_digest(path, record)


def refuse_external_data(model: onnx.ModelProto) -> None:
    """Raise OnnxFileError if a model in memory leaves weights in a file: it has no folder to look in."""
    for tensor in external_tensors(model):
        location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        raise OnnxFileError(
            f"the model keeps '{tensor.name}' in the file '{location}', and a model in memory has no folder",
            fix="pass the path of its file, or load it with onnx.load, external data included",
        )


def map_external_data(model: ir.Model, path: Path) -> None:
    """Let every tensor that lies in another file be one in memory, in place: mapped from there, and read when
    somebody asks for its values. Raises OnnxFileError if one cannot be."""
    try:
        for graph in model.graphs():
            for value in graph.initializers.values():
                if isinstance(value.const_value, ir.ExternalTensor):
                    value.const_value = _mapped(value.const_value)
        for node in model.graph.all_nodes():
            for name, attribute in list(node.attributes.items()):
                if attribute.type == ir.AttributeType.TENSOR and isinstance(attribute.value, ir.ExternalTensor):
                    node.attributes[name] = ir.AttrTensor(name, _mapped(attribute.value))
    except (OSError, ValueError) as error:
        raise OnnxFileError(
            f"the external data of '{path}' cannot be read ({error})", fix="check the permissions of its files"
        ) from error


def _mapped(tensor: ir.ExternalTensor) -> ir.TensorProtocol:
    return ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=tensor.name)

"""Weights that a file keeps in other files: checked before they are read, and taken into memory.

The outcome of surgery is one file, and runtimes find no external data of a model in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from nfexport.errors import OnnxFileError
from nfexport.inspection.counting import graphs
from nfexport.inspection.facts import external_files
from nfexport.inspection.tensors import byte_count

NUMBER = re.compile("[0-9]{1,18}")


def check_external_data(path: Path, model: onnx.ModelProto) -> None:
    """Raise OnnxFileError if a file with weights is missing, or has not the bytes that a tensor takes of it.

    That each has a location, in the folder of the model and no link out of it, is for onnx's checker to say."""
    tensors = list(_external_tensors(model))
    sizes = dict(external_files(path, tensors))
    for tensor in tensors:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location, needed = entries.get("location"), byte_count(tensor)
        if location is None:
            continue
        offset, length = entries.get("offset") or "0", entries.get("length") or str(needed)
        if not (NUMBER.fullmatch(offset) and NUMBER.fullmatch(length)):
            what = f"an offset of {offset!r} and a length of {length!r} bytes"
        elif int(length) != needed:
            what = f"{int(length):,} bytes, and its shape takes {needed:,}"
        elif int(offset) + int(length) > sizes[location]:
            what = f"bytes {int(offset):,} to {int(offset) + int(length):,}, and the file ends at {sizes[location]:,}"
        else:
            continue
        raise OnnxFileError(
            f"'{path}' keeps '{tensor.name}' in '{location}' with {what}",
            fix="fetch or export both files again, together",
        )


def refuse_external_data(model: onnx.ModelProto) -> None:
    """Raise OnnxFileError if a model in memory leaves weights in a file: it has no folder to look in."""
    for tensor in _external_tensors(model):
        location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        raise OnnxFileError(
            f"the model keeps '{tensor.name}' in the file '{location}', and a model in memory has no folder",
            fix="pass the path of its file, or load it with onnx.load, external data included",
        )


def load_external_data(model: ir.Model, path: Path) -> None:
    """Take every tensor that lies in another file into memory, in place. Raises OnnxFileError if one cannot be."""
    try:
        ir.external_data.load_to_model(model)
        for node in model.graph.all_nodes():
            for name, attribute in list(node.attributes.items()):
                if attribute.type == ir.AttributeType.TENSOR and isinstance(attribute.value, ir.ExternalTensor):
                    tensor = attribute.as_tensor()
                    node.attributes[name] = ir.AttrTensor(
                        name, ir.Tensor(np.array(tensor.numpy()), dtype=tensor.dtype, name=tensor.name)
                    )
    except (OSError, ValueError) as error:
        raise OnnxFileError(
            f"the external data of '{path}' cannot be read ({error})", fix="check the permissions of its files"
        ) from error


def _external_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    nodes = [node for graph in graphs(model.graph) for node in graph.node]
    nodes += [node for function in model.functions for node in function.node]
    attributes = (attribute.t for node in nodes for attribute in node.attribute if attribute.HasField("t"))
    initializers = (tensor for graph in graphs(model.graph) for tensor in graph.initializer)
    for tensor in (*initializers, *attributes):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield tensor

"""Trace with torch's dynamo exporter (opset 18; the passes convert the graph to any other)."""

from __future__ import annotations

import ast

import onnx_ir as ir
import torch

from nfexport.recipe.tensor_spec import BATCH
from nfexport.tracing.request import DYNAMO_FROM_OPSET, TraceRequest
from nfexport.tracing.shared_weights import as_ir_tensor, named_tensors, scope_of

_SCOPES = "pkg.torch.onnx.name_scopes"


def trace(module: torch.nn.Module, request: TraceRequest) -> ir.Model:
    """Return the graph at opset 18, with the model's own tensors as initializers."""
    # a network may need sizes that are multiples of its stride: AUTO lets torch find that out
    dims = tuple(
        {
            axis: torch.export.Dim(name) if name == BATCH else torch.export.Dim.AUTO
            for axis, name in spec.symbols.items()
        }
        for spec in request.inputs
    )
    program = torch.onnx.export(
        module,
        request.examples(),
        dynamo=True,
        opset_version=DYNAMO_FROM_OPSET,
        input_names=list(request.input_names),
        output_names=list(request.output_names),
        dynamic_shapes=dims if any(dims) else None,
        optimize=False,
        verbose=False,
    )
    assert program is not None
    model: ir.Model = program.model
    for entry, spec in zip(model.graph.inputs, request.inputs, strict=True):
        if entry.shape is not None:
            for axis, name in spec.symbols.items():
                entry.shape[axis] = ir.SymbolicDim(name)
    paths = dict(module.named_modules())
    tensors = named_tensors(module)
    for name, value in model.graph.initializers.items():
        if name in tensors:
            value.const_value = as_ir_tensor(name, tensors[name])
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        scopes = ast.literal_eval(node.metadata_props.get(_SCOPES, "[]"))
        path = next((scope for scope in reversed(scopes) if scope in paths), "")
        node.name = f"{scope_of(path)}/{node.op_type}"
        node.metadata_props.clear()
        for output in node.outputs:
            output.metadata_props.clear()
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    return model

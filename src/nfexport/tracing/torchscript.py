"""Trace with torch's TorchScript exporter (opsets up to 17).

The weights stay outside: the exporter writes a graph that reads parameters as inputs, by name, and the
model's tensors are attached afterwards. It would otherwise copy them several times, and fold some.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

import onnx
import onnx_ir as ir
import torch

from nfexport.tracing import DYNAMO_FROM_OPSET, TraceRequest
from nfexport.tracing.weights import as_ir_tensor, named_tensors


def trace(module: torch.nn.Module, request: TraceRequest) -> ir.Model:
    """Return the graph at the opset asked for, or at 17 if that is newer."""
    buffer = io.BytesIO()
    axes: dict[str, dict[int, str]] = {request.input_name: request.symbols()}
    if request.batch == "dynamic":
        axes |= {name: {0: "batch"} for name in request.output_names}
    with _without_graph_dumps():
        torch.onnx.export(
            module,
            (request.example(),),
            buffer,  # type: ignore[arg-type]  # a file object serves, the annotation lags
            dynamo=False,
            opset_version=min(request.opset, DYNAMO_FROM_OPSET - 1),
            input_names=[request.input_name],
            output_names=list(request.output_names),
            dynamic_axes=axes if request.symbols() else None,
            export_params=False,
            do_constant_folding=False,
            # in evaluation mode the exporter would fuse BatchNormalization and rename the weights
            training=torch.onnx.TrainingMode.PRESERVE,
        )
    model = ir.from_proto(onnx.load_model_from_string(buffer.getvalue()))
    _attach_weights(model.graph, module, request.input_name)
    for node in model.graph:
        node.name = _collapse(node.name or "")
    return model


@contextlib.contextmanager
def _without_graph_dumps() -> Iterator[None]:
    """Keep the exporter from printing its whole graph when it fails.

    torch 2.13 asks whether its log is enabled without calling the function, and so takes every answer for yes."""
    log = getattr(torch._C, "_jit_onnx_log", None)
    if log is None:
        yield
        return
    torch._C._jit_onnx_log = lambda *_: None
    try:
        yield
    finally:
        torch._C._jit_onnx_log = log


def _attach_weights(graph: ir.Graph, module: torch.nn.Module, input_name: str) -> None:
    tensors = named_tensors(module)
    shared: dict[tuple[int, torch.Size, tuple[int, ...]], ir.Value] = {}

    def attach(value: ir.Value, name: str) -> ir.Value:
        tensor = tensors[name]
        key = (tensor.data_ptr(), tensor.shape, tensor.stride())
        if tensor.numel() and key in shared:
            return shared[key]
        value.const_value = as_ir_tensor(name, tensor)
        value.shape = ir.Shape(tensor.shape)
        value.dtype = value.const_value.dtype
        value.name = name
        graph.register_initializer(value)
        shared[key] = value
        return value

    for value in [value for value in graph.inputs if value.name != input_name]:
        graph.inputs.remove(value)
        if (kept := attach(value, str(value.name))) is not value:
            value.replace_all_uses_with(kept)
    # parameters of equal content come out as Identity of one another: give each its own name back
    for node in [node for node in graph if node.op_type == "Identity" and node.outputs[0].name in tensors]:
        output = node.outputs[0]
        name = str(output.name)
        output.name = None
        output.replace_all_uses_with(attach(ir.Value(), name))
        graph.remove(node, safe=True)


def _collapse(name: str) -> str:
    """Shorten '/stages/stages.3/stages.3.0/conv1/Conv' to '/stages.3.0/conv1/Conv'."""
    parts: list[str] = []
    for part in name.split("/"):
        if parts and part.startswith(f"{parts[-1]}."):
            parts.pop()
        parts.append(part)
    return "/".join(parts)

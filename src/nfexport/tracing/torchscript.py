"""Trace with torch's TorchScript exporter (opsets up to 17).

The weights stay outside: the exporter writes a graph whose parameters are inputs, by name, and the model's own
tensors are attached afterwards. It would otherwise copy them several times, and fold some of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch

from nfexport import process
from nfexport.graph.meta_keys import STANDARDISED
from nfexport.tracing.request import DYNAMO_FROM_OPSET, TraceRequest
from nfexport.tracing.shared_weights import as_ir_tensor, is_large, named_tensors, standing_in
from nfexport.tracing.traceable_modules import plain_weights
from nfexport.tracing.traced_shapes import shapes_alone


def trace(module: torch.nn.Module, request: TraceRequest) -> ir.Model:
    """Return the graph at the opset asked for, or at 17 if that is newer.

    Weights that the request lists as standardised are not standardised in the graph; model.meta names them.
    Raises whatever torch raises."""
    tensors = named_tensors(module)
    if request.standardised:
        with plain_weights(module, request.standardised):
            model = _without_weights(module, request)
        if any(_is_read_otherwise(value) for value in model.graph.inputs if value.name in request.standardised):
            request = dataclasses.replace(request, standardised={})
    if not request.standardised:
        # other networks may read numbers, which a trace on shapes does not have
        model = _export(module, request)
    _attach_weights(model.graph, tensors, request.input_names)
    model.meta[STANDARDISED] = {
        name: (how, None if how.gain is None else as_ir_tensor(how.gain, tensors[how.gain]))
        for name, how in request.standardised.items()
    }
    for node in model.graph:
        node.name = _collapse(node.name or "")
    return model


def _without_weights(module: torch.nn.Module, request: TraceRequest) -> ir.Model:
    """Trace on shapes, without the weights; fall back to an ordinary trace where the module reads numbers."""
    try:
        with standing_in(module), shapes_alone(module):
            model = _export(module, request)
        if not any(map(_holds_nan, model.graph)):
            return model
    except Exception:  # noqa: BLE001  # a module may raise anything where it reads numbers that are not computed
        pass
    return _export(module, request)


def _holds_nan(node: ir.Node) -> bool:
    tensor = ir.convenience.get_const_tensor(node.outputs[0]) if node.op_type == "Constant" else None
    return tensor is not None and tensor.dtype.is_floating_point() and bool(np.isnan(tensor.numpy()).any())


def _is_read_otherwise(weight: ir.Value) -> bool:
    """Say whether anything but a convolution reads the weight: it may need the standardised one."""
    return any(use.node.op_type != "Conv" or use.idx != 1 for use in weight.uses())


def _export(module: torch.nn.Module, request: TraceRequest) -> ir.Model:
    buffer = io.BytesIO()
    axes = request.axes()
    with (
        _wrapped("_jit_onnx_log", _silent),
        _wrapped("_jit_pass_onnx_graph_shape_type_inference", _without_large_parameters),
    ):
        torch.onnx.export(
            module,
            request.examples(),
            buffer,  # type: ignore[arg-type]  # the annotation lacks file objects
            dynamo=False,
            opset_version=min(request.opset, DYNAMO_FROM_OPSET - 1),
            input_names=list(request.input_names),
            output_names=list(request.output_names),
            dynamic_axes=axes or None,
            export_params=False,
            # the exporter would otherwise compare all weights, to merge equal ones
            keep_initializers_as_inputs=True,
            do_constant_folding=False,
            # in evaluation mode the exporter would fuse BatchNormalization and rename the weights
            training=torch.onnx.TrainingMode.PRESERVE,
        )
    return ir.from_proto(onnx.load_model_from_string(buffer.getvalue()))


def _wrapped(name: str, wrap: Callable[[Any], Any]) -> contextlib.AbstractContextManager[None]:
    """Replace a function of torch's C++ part by wrap(function), until the block ends."""
    function = getattr(torch._C, name, None)
    return contextlib.nullcontext() if function is None else process.attribute(torch._C, name, wrap(function))


def _silent(log: Any) -> Any:
    """Keep the exporter from printing its whole graph when it fails.

    torch 2.13 tests the function that tells whether its log is enabled without calling it, and so always logs."""
    return lambda *_: None


def _without_large_parameters(infer: Any) -> Any:
    """Keep shape inference from copying each weight into a message, twice: it needs the types of a node's inputs, and
    the values of small ones only."""

    def infer_shapes(graph: Any, parameters: Mapping[str, Any], opset: int) -> Any:
        return infer(graph, {n: p for n, p in parameters.items() if not is_large(p)}, opset)

    return infer_shapes


def _attach_weights(graph: ir.Graph, tensors: Mapping[str, torch.Tensor], inputs: Sequence[str]) -> None:
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

    for value in [value for value in graph.inputs if value.name not in inputs]:
        graph.inputs.remove(value)
        if (kept := attach(value, str(value.name))) is not value:
            value.replace_all_uses_with(kept)


def _collapse(name: str) -> str:
    """Shorten '/stages/stages.3/stages.3.0/conv1/Conv' to '/stages.3.0/conv1/Conv'."""
    parts: list[str] = []
    for part in name.split("/"):
        if parts and part.startswith(f"{parts[-1]}."):
            parts.pop()
        parts.append(part)
    return "/".join(parts)

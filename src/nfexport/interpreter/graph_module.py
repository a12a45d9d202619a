"""An ONNX graph as a torch.nn.Module: computed node by node, with torch's functions.

The file says what is computed, and in which types. A torch function mode around a call changes that as for any
module: under nfexport.verification's in_float64 every float32 tensor is float64, and so is the result of a Cast to
FLOAT; with random rounding, every result is off by a unit in the last place.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import torch
from onnx_ir.passes.common import InlinePass

from nfexport.errors import InputError, OnnxFileError
from nfexport.graph.model_reader import read_model
from nfexport.graph.recognisers import label, operator_name
from nfexport.interpreter.coverage import is_covered, version_of
from nfexport.interpreter.graph_plan import GraphPlan, plan_graph
from nfexport.interpreter.operator_call import OperatorCall
from nfexport.interpreter.operator_table import Rule, find_rule
from nfexport.interpreter.schema_functions import schema_function
from nfexport.interpreter.stored_tensors import as_torch, is_weight, registered_name, stored_tensors

Scope = ChainMap[ir.Value, Any]
"""The values of a graph that are known so far, and behind them those of the graphs around it."""

HALVES = (torch.float16, torch.bfloat16)
"""The types that `widen` widens."""


class GraphModule(torch.nn.Module):
    """An ONNX graph that PyTorch computes.

        module = GraphModule.from_file("model.onnx")
        (logits,) = module(images_nchw)

    forward takes the inputs in order, as tensors of the types and shapes that the file states, and returns a tuple of
    the outputs: tensors, and lists of tensors for sequences. The stored tensors share the memory of arrays that the
    model holds, mapped files included; what is inside a protobuf message is copied out of it once. Those of 16 floats
    and more are parameters (without gradient), the others buffers; file_names has the name in the file of each. The
    module is in evaluation mode.

    inputs and outputs name the values to start from and to stop at; by default they are those of the graph. What the
    outputs do not depend on is not computed. A value is released when the last node that reads it is done.

    widen: float16 and bfloat16 are computed in float32 (in float64 under in_float64), from the values that are
    stored: the function that a half-precision file approximates. Casts to these types do not round; inputs and
    outputs of these types are float32. QuantizeLinear and casts to float8 and integers stay what they are. Without
    widen, half-precision arithmetic is carried out as the file says.

    Raises OnnxFileError for an operator that is not covered, InputError for a name that the graph does not have."""

    def __init__(
        self,
        model: ir.Model,
        *,
        inputs: Sequence[str] | None = None,
        outputs: Sequence[str] | None = None,
        widen: bool = False,
    ) -> None:
        super().__init__()
        if model.functions:
            model = model.clone()
            InlinePass()(model)
        self._model = model
        self._opsets = dict(model.graph.opset_imports)
        self._widen = widen
        self._registered: dict[ir.Value, str] = {}
        self.file_names: dict[str, str] = {}
        known = {value.name: value for value in _values(model.graph)}
        self._register(model.graph)
        self._plan = plan_graph(
            model.graph,
            None if inputs is None else [_named(known, name) for name in inputs],
            None if outputs is None else [_named(known, name) for name in outputs],
            stored=self._registered,
        )
        self.input_names = tuple(value.name or "" for value in self._plan.inputs)
        self.output_names = tuple(value.name or "" for value in self._plan.outputs)
        self._plans: dict[ir.Graph | ir.Function, GraphPlan] = {}
        for step in self._plan.steps:
            _check(step.node, self._opsets)
        self.eval()

    @classmethod
    def from_file(cls, source: str | Path | bytes | onnx.ModelProto, **options: Any) -> GraphModule:
        """Return the module of a file, given as a path, as bytes or as a ModelProto; the options are those of the
        constructor. Raises OnnxFileError if it cannot be read safely, or is not covered."""
        if isinstance(source, bytes):
            source = onnx.ModelProto.FromString(source)
        return cls(read_model(source), **options)

    def forward(self, *inputs: Any) -> tuple[Any, ...]:
        """Compute the outputs. Raises ValueError for another number of inputs, OnnxFileError, with the node, if an
        operator does not take what it is given."""
        if len(inputs) != len(self._plan.inputs):
            raise ValueError(f"the graph takes {len(self._plan.inputs)} inputs, not {len(inputs)}")
        scope: Scope = ChainMap({value: getattr(self, name) for value, name in self._registered.items()})
        if self._widen:
            inputs = tuple(map(_widened, inputs))
        return tuple(self._run(self._plan, scope.new_child(), inputs, self._opsets))

    def _register(self, graph: ir.Graph) -> None:
        names: dict[int, str] = {}
        for value, tensor in stored_tensors(graph):
            if id(tensor) not in names:
                name = names[id(tensor)] = registered_name(len(names), value.name)
                made = as_torch(tensor)
                if is_weight(made):
                    self.register_parameter(name, torch.nn.Parameter(made, requires_grad=False))
                else:
                    self.register_buffer(name, made)
                self.file_names[name] = value.name or ""
            self._registered[value] = names[id(tensor)]

    def _run(self, plan: GraphPlan, scope: Scope, inputs: Sequence[Any], opsets: dict[str, int]) -> list[Any]:
        """Compute a plan; scope is that of its graph, with what lies around it."""
        scope.update(zip(plan.inputs, inputs, strict=False))
        for step in plan.steps:
            if step.node.outputs and step.node.outputs[0] in self._registered:  # a Constant
                continue
            for value, result in zip(step.node.outputs, self._compute(step.node, scope, opsets), strict=False):
                scope[value] = result
            for value in step.released:
                scope.maps[0].pop(value, None)
        return [self._read(scope, value) for value in plan.outputs]

    def _read(self, scope: Scope, value: ir.Value | None) -> Any:
        if value is None:
            return None
        found = scope.get(value)
        return _widened(found) if self._widen else found

    def _compute(self, node: ir.Node, scope: Scope, opsets: dict[str, int]) -> Sequence[Any]:
        version = version_of(node.domain, opsets)
        given = [self._read(scope, value) for value in node.inputs]
        rule = find_rule(node.domain, node.op_type, version)
        try:
            if rule is None:
                return self._expand(node, version, given)
            return self._call_rule(rule, node, version, given, scope, opsets)
        # what torch's functions raise for shapes, types and forms that they do not take; a file decides over them
        except (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise OnnxFileError(
                f"node '{label(node)}' ({operator_name(node)}) cannot be computed by PyTorch ({reason})",
                fix="check the shapes and types of the inputs; ONNX Runtime may take them",
            ) from error

    def _call_rule(
        self, rule: Rule, node: ir.Node, version: int, given: list[Any], scope: Scope, opsets: dict[str, int]
    ) -> Sequence[Any]:
        def run(graph: ir.Graph, inputs: Sequence[Any]) -> list[Any]:
            if graph not in self._plans:
                self._plans[graph] = plan_graph(graph)
            return self._run(self._plans[graph], scope.new_child(), inputs, opsets)

        result = rule(OperatorCall(node, version, self._widen, run), *given)
        return result if isinstance(result, tuple) else (result,)

    def _expand(self, node: ir.Node, version: int, given: list[Any]) -> Sequence[Any]:
        """Compute an operator by the function of its schema."""
        function = schema_function(node, version)
        if function is None:
            raise _uncovered(node, version)
        opsets = dict(function.opset_imports)
        return self._run(plan_graph(function), ChainMap({}), given, opsets)


def _values(graph: ir.Graph) -> list[ir.Value]:
    return [*graph.inputs, *graph.initializers.values(), *(value for node in graph for value in node.outputs)]


def _named(known: dict[str | None, ir.Value], name: str) -> ir.Value:
    if name not in known:
        raise InputError(
            f"the graph has no tensor '{name}'", fix="name an input, an initializer or the output of a node"
        )
    return known[name]


def _widened(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.dtype in HALVES:
        return value.float()
    return [_widened(item) for item in value] if isinstance(value, list) else value


def _check(node: ir.Node, opsets: dict[str, int]) -> None:
    """Raise OnnxFileError if a node, or one of its subgraphs, is of an operator that is not covered."""
    children: Callable[[ir.Node], list[ir.Node]] = lambda parent: [  # noqa: E731
        child
        for attribute in parent.attributes.values()
        if attribute.type == ir.AttributeType.GRAPH
        for child in attribute.as_graph()
    ]
    version = version_of(node.domain, opsets)
    if not is_covered(node.domain, node.op_type, version):
        raise _uncovered(node, version)
    for child in children(node):
        _check(child, opsets)


def _uncovered(node: ir.Node, version: int) -> OnnxFileError:
    return OnnxFileError(
        f"node '{label(node)}' is a {node.op_type} of the domain '{node.domain or 'ai.onnx'}', opset {version}, "
        "which the float64 evaluator does not cover",
        fix="replace it with operators that are covered (docs/evaluator.md), or compare with a PyTorch model",
    )

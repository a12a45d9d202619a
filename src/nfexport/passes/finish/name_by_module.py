"""Name nodes and values after the modules that they come from.

Literals of equal value are stored once, and initializers are listed in the order in which they are read. The names
depend on the graph alone, so equal graphs have equal bytes. Idempotent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING

from nfexport.graph.libraries import ir, onnx
from nfexport.graph.meta_keys import PARAMETERS
from nfexport.graph.recognisers import is_default_domain
from nfexport.passes.base import Bundle, Pass, Stage

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


TRANSPOSED = ".T"


class NameByModule(Pass):
    """Name nodes and values after the modules that they come from."""

    name = "name-by-module"
    stage, after = Stage.FINISH, ("simplify",)
    implied_by = (Bundle.EXPORT,)
    formula = (
        "nodes          /stages.3.0/conv1/Conv, /stages.3.0/Add, numbered from the second of its kind in a scope\n"
        "their outputs  /stages.3.0/conv1/Conv_output_0\n"
        "weights        as in the state dict (stages.3.0.conv1.weight); transposed ones end in .T\n"
        "literals       the name of the first reader and the operator's name for the input: /act/Mul/B"
    )

    def call(self, model: ir.Model) -> PassOutcome:
        """Rename in place; initializers listed in model.meta[PARAMETERS] keep their names."""
        graph = model.graph
        parameters: Collection[str] = model.meta.get(PARAMETERS, frozenset())
        fixed = {value.name for value in (*graph.inputs, *graph.outputs)}
        seen: Counter[str] = Counter()
        for node in graph:
            scope = (node.name or "").rsplit("/", 1)[0]
            base = f"{scope}/{node.op_type}"
            node.name = base if not seen[base] else f"{base}_{seen[base]}"
            seen[base] += 1
        _share_literals(graph, parameters)
        ordered = _in_order_of_use(graph)
        position = {node: index for index, node in enumerate(graph)}
        opset = model.opset_imports[""]
        names = {value: _initializer_name(value, parameters, position, opset) for value in ordered}
        _rename_initializers(graph, names)
        taken = fixed | set(graph.initializers)
        for node in graph:
            for index, output in enumerate(node.outputs):
                if output.name and output.name not in fixed:
                    name = f"{node.name}_output_{index}"
                    output.name = name if name not in taken else f"{name}/value"
        return self.done(model, changed=len(graph), summary=f"{len(graph)} nodes named by module")


def _share_literals(graph: ir.Graph, parameters: Collection[str]) -> None:
    first: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}
    for value in list(graph.initializers.values()):
        if _is_named(value, parameters) or value.const_value is None or value.const_value.size > 1024:
            continue
        array = value.const_value.numpy()
        key = (str(array.dtype), array.shape, array.tobytes())
        kept = first.setdefault(key, value)
        if kept is not value and not value.is_graph_output():
            value.replace_all_uses_with(kept)
            del graph.initializers[str(value.name)]


def _is_named(value: ir.Value, parameters: Collection[str]) -> bool:
    """Return whether the name of an initializer stays: it is a parameter's, or that of an input with a default."""
    return value.is_graph_input() or str(value.name).removesuffix(TRANSPOSED) in parameters


def _in_order_of_use(graph: ir.Graph) -> list[ir.Value]:
    ordered: dict[ir.Value, None] = {}
    for node in graph:
        ordered.update((value, None) for value in node.inputs if value is not None and value.is_initializer())
    ordered.update((value, None) for value in graph.initializers.values())
    return list(ordered)


def _initializer_name(value: ir.Value, parameters: Collection[str], position: dict[ir.Node, int], opset: int) -> str:
    uses = value.uses()
    if _is_named(value, parameters) or not uses:
        return str(value.name)
    use = min(uses, key=lambda use: (position.get(use.node, 0), use.idx))
    return f"{use.node.name}/{_formal_name(use.node, use.idx, opset)}"


def _formal_name(node: ir.Node, index: int, opset: int) -> str:
    if not is_default_domain(node):
        return str(index)
    inputs = onnx.defs.get_schema(node.op_type, opset, "").inputs
    return inputs[index].name if index < len(inputs) else f"{inputs[-1].name}_{index}"


def _rename_initializers(graph: ir.Graph, names: dict[ir.Value, str]) -> None:
    graph.initializers.clear()
    inputs = {value.name for value in graph.inputs}
    for value, wanted in names.items():
        name, number = wanted, 1
        while name in graph.initializers or (name in inputs and not value.is_graph_input()):
            name, number = f"{wanted}_{number}", number + 1
        value.name = name
        graph.register_initializer(value)

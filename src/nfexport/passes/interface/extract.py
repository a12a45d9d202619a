"""Extract the subgraph between the named tensors.

Inputs of the old graph that are still needed stay, behind the new ones; with no `inputs` named nothing is cut,
with no `outputs` named the present ones stay. Bodies of If and Loop keep the outer tensors that they read, and
what these need. Types and shapes are those that shape inference knows; sizes without a name from the graph's
inputs are left open. A tensor downstream of another may be an input too, as long as both are needed.

Refuses, naming the tensor: one that does not exist or lies in a body, an input that is a constant, an input
that no output needs, an output that needs no input, or that is one, and a tensor of unknown type.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from nfexport.errors import PassError, did_you_mean
from nfexport.graph import edit
from nfexport.graph.constants import free_name
from nfexport.graph.libraries import common_passes, ir
from nfexport.graph.shape_inference import infer_shapes
from nfexport.passes.base import Changes, Pass, Request, Stage
from nfexport.recipe.option import Option

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


class Extract(Pass):
    """Extract the subgraph between the named tensors.

    Raises PassError, and leaves the model unchanged, if there is no such subgraph."""

    name = "extract"
    stage, after = Stage.INTERFACE, ("head",)
    options = (
        Option(
            flag="--extract-inputs",
            kind="names",
            help="Cut the model after these tensors, which become its inputs.",
            section="Graph",
            commands=("surgery",),
        ),
        Option(
            flag="--extract-outputs",
            kind="names",
            help="Cut the model at these tensors, which become its outputs.",
            section="Graph",
            commands=("surgery",),
        ),
    )
    changes = Changes.INTERFACE
    formula = (
        "inputs     become inputs of the graph; the nodes that computed them are removed\n"
        "outputs    become its only outputs; nodes that do not contribute to them are removed"
    )

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    @classmethod
    def asked(cls, request: Request) -> Extract | None:
        """Cut where tensors are named."""
        inputs, outputs = request.get("extract_inputs", ()), request.get("extract_outputs", ())
        return cls(inputs=inputs, outputs=outputs) if inputs or outputs else None

    def call(self, model: ir.Model) -> PassOutcome:
        """Cut in place."""
        graph = model.graph
        before = len(graph)
        cut = _find(graph, self.inputs, "--extract-inputs")
        ends = _find(graph, self.outputs, "--extract-outputs") if self.outputs else list(graph.outputs)
        for value in cut:
            if _is_constant(value):
                raise PassError(
                    f"'{value.name}' is a constant, which the file holds, and cannot become an input",
                    fix="name a tensor that is computed from an input with --extract-inputs",
                )
        _check_reach(cut, ends, named=bool(self.outputs))
        known = _typed(model, [*cut, *ends])
        if self.outputs:
            graph.outputs[:] = ends
            for value in ends:
                value.type, value.shape = known[str(value.name)]
        entries = [_enter(graph, value, known) for value in cut]
        common_passes.RemoveUnusedNodesPass()(model)
        kept = [value for value in graph.inputs if value.uses() or value.is_graph_output()]
        graph.inputs[:] = [*entries, *(value for value in kept if value not in entries)]
        for value in [
            value for value in graph.initializers.values() if not (value.uses() or value.is_graph_output())
        ]:
            del graph.initializers[str(value.name)]
        common_passes.RemoveUnusedFunctionsPass()(model)  # type: ignore[no-untyped-call]
        names = {"inputs": _names(graph.inputs), "outputs": _names(graph.outputs)}
        between = f"from {', '.join(names['inputs'])} to {', '.join(names['outputs'])}"
        return self.done(
            model,
            changed=before - len(graph),
            summary=f"{len(graph)} of {before} nodes stay, {between}",
            facts=names,
        )


def _find(graph: ir.Graph, names: Sequence[str], option: str) -> list[ir.Value]:
    values = {value.name: value for value in (*graph.inputs, *graph.initializers.values())}
    values.update((value.name, value) for node in graph for value in node.outputs if value.name)
    for index, name in enumerate(names):
        if name in values:
            if name in names[:index]:
                raise PassError(f"'{name}' is named twice", fix=f"name it once with {option}")
            continue
        for node, at_top in edit.nodes_with_subgraphs(graph):
            if not at_top and any(value.name == name for value in node.outputs):
                raise PassError(
                    f"'{name}' lies inside the body of an If or Loop, which cannot be cut",
                    fix=f"name a tensor of the graph itself with {option}",
                )
        near = did_you_mean(name, map(str, values))
        raise PassError(
            f"the graph has no tensor '{name}'" + (f"; {near}" if near else ""),
            fix=f"name tensors of the graph with {option}: its outputs are {', '.join(_names(graph.outputs))}",
        )
    return [values[name] for name in names]


def _is_constant(value: ir.Value) -> bool:
    """Return whether nothing but constants makes the value; an input with a default is none."""
    return not value.is_graph_input() and not any(v.is_graph_input() for v in _reached([value], set()))


def _check_reach(cut: Sequence[ir.Value], ends: Sequence[ir.Value], *, named: bool) -> None:
    entries = set(cut)
    for value in ends:
        if value in entries:
            raise PassError(
                f"'{value.name}' is named as input and as output, and nothing lies between",
                fix="name a tensor behind it with --extract-outputs",
            )
        needed = _reached([value], entries) - {value}
        if named and not any(v in entries or v.is_graph_input() for v in needed):
            raise PassError(
                f"the output '{value.name}' is computed from no input", fix="name another with --extract-outputs"
            )
    needed = _reached(ends, entries)
    for value in cut:
        if value not in needed:
            others = [str(other.name) for other in cut if other is not value and value in _reached([other], set())]
            because = f": the graph is cut at '{others[0]}' already, behind it" if others else ""
            raise PassError(
                f"no output needs the input '{value.name}'{because}", fix="leave it out of --extract-inputs"
            )


def _reached(ends: Iterable[ir.Value], stops: set[ir.Value]) -> set[ir.Value]:
    """Return all values of the main graph that the ends are computed from, and the ends; stops are not passed."""
    found: set[ir.Value] = set()
    visited: set[ir.Node] = set()
    pending = list(ends)
    while pending:
        value = pending.pop()
        if value in found:
            continue
        found.add(value)
        node = value.producer()
        if node is None or value in stops or node in visited:
            continue
        visited.add(node)
        pending.extend(_read(node))
    return found


def _read(node: ir.Node) -> list[ir.Value]:
    """Return what a node reads of its own graph, by its inputs and in its bodies."""
    read = [value for value in node.inputs if value is not None]
    for body in edit.subgraphs(node):
        for inner in ir.traversal.RecursiveGraphIterator(body):
            read.extend(value for value in inner.inputs if value is not None)
    return [value for value in read if value.graph is node.graph]


def _typed(model: ir.Model, values: Sequence[ir.Value]) -> dict[str, tuple[ir.TypeProtocol, ir.Shape | None]]:
    """Return type and shape of each value, inferred on a copy where the file does not say them."""
    symbols = {dim for value in model.graph.inputs for dim in value.shape or () if isinstance(dim, ir.SymbolicDim)}
    inferred: dict[str, ir.Value] = {}
    if any(value.type is None or value.shape is None for value in values):
        copy = model.clone()
        infer_shapes(copy)
        inferred = {str(value.name): value for node in copy.graph for value in node.outputs}
    known: dict[str, tuple[ir.TypeProtocol, ir.Shape | None]] = {}
    for value in values:
        source = inferred.get(str(value.name), value)
        if source.type is None:
            raise PassError(
                f"the element type of '{value.name}' is not known, as no rule tells what '{_operator(value)}' gives",
                fix="name a tensor before or behind it",
            )
        shape = source.shape or value.shape
        if shape is not None:
            # other names come from an earlier inference, and would promise that sizes are equal
            shape = ir.Shape([dim if isinstance(dim, int) or dim in symbols else None for dim in shape])
        known[str(value.name)] = (source.type, shape)
    return known


def _operator(value: ir.Value) -> str:
    node = value.producer()
    return "an input" if node is None else f"{node.domain}.{node.op_type}".removeprefix(".")


def _enter(graph: ir.Graph, value: ir.Value, known: dict[str, tuple[ir.TypeProtocol, ir.Shape | None]]) -> ir.Value:
    """Return the input that takes the value's place and name; nothing reads the value itself any more."""
    if value.is_graph_input():
        return value
    name = str(value.name)
    kind, shape = known[name]
    value.name = free_name(graph, f"{name}/uncut")
    entry = ir.Value(name=name, type=kind, shape=shape)
    value.replace_all_uses_with(entry)
    return entry


def _names(values: Iterable[ir.Value]) -> list[str]:
    return [str(value.name) for value in values]

"""Edit a graph: what every pass is written with."""

from __future__ import annotations

from collections.abc import Iterator

from nfexport.graph.libraries import Array, common_passes, ir, np
from nfexport.graph.recognisers import is_operator


def constant(value: ir.Value | None) -> Array | None:
    """Return the array behind an initializer or a Constant node's output; None for anything else."""
    tensor = constant_tensor(value)
    return None if tensor is None else tensor.numpy()


def constant_tensor(value: ir.Value | None) -> ir.TensorProtocol | None:
    """Return the tensor behind an initializer or a Constant node's output, for its type and shape: its numbers may
    have yet to be computed."""
    return None if value is None else ir.convenience.get_const_tensor(value)


def computed_once(value: ir.Value) -> None:
    """Let an initializer whose numbers are computed each time they are read keep them from now on."""
    if isinstance(value.const_value, ir.LazyTensor):
        value.const_value = ir.Tensor(value.const_value.numpy(), name=value.name)


def is_literal(value: ir.Value) -> bool:
    """Say whether the value is an initializer or the output of a Constant node."""
    return value.is_initializer() or is_operator(value.producer(), "Constant")


def sources(value: ir.Value) -> list[ir.Value]:
    """Return the initializers and Constant outputs that a value is computed from."""
    found: dict[ir.Value, None] = {}
    seen: set[ir.Value] = set()
    pending = [value]
    while pending:
        current = pending.pop()
        if current in seen:
            continue
        seen.add(current)
        if is_literal(current):
            found[current] = None
        elif (node := current.producer()) is not None:
            pending.extend(source for source in node.inputs if source is not None)
    return list(found)


def unique_name(graph: ir.Graph, wanted: str) -> str:
    """Return the wanted name, with the first free number behind it if an initializer or an input has it already."""
    taken = graph.initializers
    inputs = {value.name for value in graph.inputs}
    name, number = wanted, 1
    while name in taken or name in inputs:
        name, number = f"{wanted}_{number}", number + 1
    return name


def add_initializer(graph: ir.Graph, name: str, array: Array) -> ir.Value:
    """Put an array into the graph as an initializer, under the name given or the next free one."""
    name = unique_name(graph, name)
    # np.ascontiguousarray would turn a scalar into a vector
    tensor = ir.Tensor(np.asarray(array, order="C"), name=name)
    value = ir.Value(name=name, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=tensor.shape)
    graph.register_initializer(value)
    return value


def replace_value(old: ir.Value, new: ir.Value) -> None:
    """Replace a value by another for all its readers and among the graph's outputs; an output keeps its name."""
    name, is_output = old.name, old.is_graph_output()
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    if is_output:
        old.name, new.name = None, name
        new.shape = new.shape or old.shape
        new.type = new.type or old.type


def put_in_place(new: ir.Value, node: ir.Node) -> None:
    """Replace a node by the value that is computed in its stead, under the name of its output."""
    old, graph = node.outputs[0], node.graph
    assert graph is not None
    name = old.name
    replace_value(old, new)
    graph.remove(node, safe=True)
    new.name = name


def sole_consumer(value: ir.Value) -> ir.Node | None:
    """Return the one node that reads the value; None if there are more, or if it is a graph output."""
    uses = value.uses()
    return next(iter(uses)).node if len(uses) == 1 and not value.is_graph_output() else None


def nodes_with_subgraphs(graph: ir.Graph) -> Iterator[tuple[ir.Node, bool]]:
    """Yield every node, including those in bodies of If and Loop, and whether it is at the top level."""
    for node in ir.traversal.RecursiveGraphIterator(graph):
        yield node, node.graph is graph


def subgraphs(node: ir.Node) -> list[ir.Graph]:
    """Return the bodies of an If, Loop or Scan."""
    found: list[ir.Graph] = []
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            found.append(attribute.as_graph())
        elif attribute.type == ir.AttributeType.GRAPHS:
            found.extend(attribute.as_graphs())
    return found


def release(value: ir.Value | None) -> None:
    """Remove a value that is no longer read, with the nodes and initializers that it alone was computed from; their
    memory is free at once."""
    pending = [value]
    while pending:
        current = pending.pop()
        if current is None or current.uses() or current.is_graph_output() or current.is_graph_input():
            continue
        node = current.producer()
        if current.is_initializer():
            assert current.graph is not None
            del current.graph.initializers[str(current.name)]
            current.const_value = None
        elif node is not None and node.graph is not None and not any(output.uses() for output in node.outputs):
            if any(output.is_graph_output() for output in node.outputs):
                continue
            read = list(node.inputs)
            node.graph.remove(node, safe=True)
            pending += read


def remove_dead(model: ir.Model) -> None:
    """Remove nodes and initializers that no output depends on."""
    graph = model.graph
    # an initializer that is an input too is that input's default: gone alone, it would make the input required
    defaults = [value for value in graph.inputs if value.is_initializer()]
    common_passes.RemoveUnusedNodesPass()(model)
    for value in defaults:
        if not _is_used(value):
            graph.inputs.remove(value)
    for name in [name for name, value in graph.initializers.items() if not _is_used(value)]:
        del graph.initializers[name]


def _is_used(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()

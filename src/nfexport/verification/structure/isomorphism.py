"""Compare two graphs along the flow of data, from the outputs backwards.

Two graphs are equal if their nodes can be paired, one to one, so that the outputs of the graphs are those of a pair,
and each pair has the same operator, the same attributes (defaults filled in), and inputs that are outputs of a pair
at the same index, the same input of the graph, or equal constants. Names and the order of nodes do not count, nor
whether a constant is an initializer or a Constant node. Bodies of If, Loop and Scan are compared in the same way.
Nodes and tensors that nothing reads are counted too, so nothing of the file is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import onnx_ir as ir

from nfexport.graph.recognisers import is_operator, label
from nfexport.verification.structure.node_forms import GRAPHS, attributes, operator, output_count, read_inputs
from nfexport.verification.structure.structure_check import StructureCheck
from nfexport.verification.structure.tensor_equality import constant_of, difference, form

LAST = 1 << 60
"""Place of a difference that belongs to no node of the file."""


def compare_graphs(file: ir.Model, wanted: ir.Model, *, units: float = 0.0) -> StructureCheck:
    """Compare the graph of a file with the one that it should be.

    Also compared are the names, element types and shapes of inputs and outputs, the opset imports, the IR version
    and functions. units is how many units in the last place of its largest number a floating tensor may be off. Each
    difference is one sentence, which names the file's node."""
    comparison = _Comparison(file, wanted, units)
    comparison.run()
    return comparison.result()


class _Comparison:
    def __init__(self, file: ir.Model, wanted: ir.Model, units: float) -> None:
        self.file, self.wanted, self.units = file, wanted, units
        self.twins: dict[ir.Node, ir.Node] = {}
        self.taken: dict[ir.Node, ir.Node] = {}
        self.inputs: dict[ir.Value, ir.Value] = {}
        self.tensors: dict[ir.Value, bool] = {}  # of the file, and whether it is equal to rounding only
        self.set_aside: set[ir.Node] = set()  # said to be too many, or missing
        self.pending: list[tuple[ir.Value | None, ir.Value | None, ir.Node | None, int]] = []
        self.found: list[tuple[int, str]] = []
        self.places = {node: place for place, node in enumerate(_nodes(file))}

    def run(self) -> None:
        self._model()
        self._graphs(self.file.graph, self.wanted.graph, "")
        self._functions()
        dead = [[node for node in _nodes(model) if _is_dead(node)] for model in (self.file, self.wanted)]
        for node, twin in zip(*dead, strict=False):
            if node not in self.twins and twin not in self.taken:
                self._pair(node, twin)
                self._follow()
        self._left_over()

    def result(self) -> StructureCheck:
        sentences = tuple(dict.fromkeys(text for _, text in sorted(self.found, key=lambda entry: entry[0])))
        nodes = len(self.twins)
        rounded = sum(self.tensors.values())
        return StructureCheck(
            proven=not sentences, nodes=nodes, tensors=len(self.tensors), rounded=rounded, differences=sentences
        )

    def _say(self, node: ir.Node | None, text: str) -> None:
        self.found.append((LAST if node is None else self.places.get(node, LAST), text))

    def _model(self) -> None:
        for what, found, wanted in (
            ("IR version", self.file.ir_version, self.wanted.ir_version),
            ("opset imports", _imports(self.file), _imports(self.wanted)),
        ):
            if found != wanted:
                self.found.append((-1, f"{what}: {found} instead of {wanted}"))

    def _graphs(self, file: ir.Graph | ir.Function, wanted: ir.Graph | ir.Function, where: str) -> None:
        """Compare the interfaces of two graphs, and follow their outputs."""
        outermost = file is self.file.graph
        for kind, found, expected in (
            ("input", file.inputs, wanted.inputs),
            ("output", file.outputs, wanted.outputs),
        ):
            told = [_interface(value, named=outermost) for value in found]
            claimed = [_interface(value, named=outermost) for value in expected]
            for index, (one, other) in enumerate(zip(told, claimed, strict=False)):
                if one != other:
                    self._say(None, f"{where}{kind} {index}: {one} instead of {other}")
            if len(told) != len(claimed):
                self._say(None, f"{where}{len(told)} {kind}s instead of {len(claimed)}")
        self.inputs.update(zip(file.inputs, wanted.inputs, strict=False))
        ends = list(zip(file.outputs, wanted.outputs, strict=False))
        if outermost:  # in the order of the file's own outputs, those of one name belong together
            named = {str(value.name): value for value in wanted.outputs}
            ends = [(value, named[str(value.name)]) for value in file.outputs if str(value.name) in named] or ends
        self.pending += [(value, twin, None, index) for index, (value, twin) in enumerate(reversed(ends))]
        self._follow()

    def _functions(self) -> None:
        found, wanted = self.file.functions, self.wanted.functions
        for key in found.keys() ^ wanted.keys():
            more = "more" if key in found else "missing"
            self._say(None, f"function '{'::'.join(filter(None, key))}' is {more}")
        for key in found.keys() & wanted.keys():
            self._graphs(found[key], wanted[key], f"function '{key[1]}', ")

    def _follow(self) -> None:
        while self.pending:
            value, twin, reader, index = self.pending.pop()
            self._values(value, twin, reader, index)

    def _values(self, value: ir.Value | None, twin: ir.Value | None, reader: ir.Node | None, index: int) -> None:
        """Compare what a node reads, or what is an output, with what its twin does."""
        if value is None or twin is None:
            if (value is None) != (twin is None):
                what = "is left out" if value is None else "is given"
                self._say(reader, f"{_name(reader)}: input {index} {what}, unlike in the recipe's graph")
            return
        if value in self.inputs:
            if self.inputs[value] is not twin and not self._skipped(value, twin, reader, index):
                self._say(reader, f"{_name(reader)}: input {index} is '{value.name}' instead of {_origin(twin)}")
            return
        tensor, expected = constant_of(value), constant_of(twin)
        if tensor is not None and expected is not None:
            text, rounded = difference(tensor, expected, units=self.units)
            if text:
                self._say(reader, f"tensor '{value.name}' {text}")
            self.tensors[value] = rounded
            return
        node, other = value.producer(), twin.producer()
        if tensor is None and expected is None and node is not None and other is not None:
            if value.index() == twin.index() and self.twins.get(node) is other:
                return
            if value.index() == twin.index() and node not in self.twins and other not in self.taken:
                if operator(node) == operator(other):
                    self._pair(node, other)
                elif not self._skipped(value, twin, reader, index):
                    self._say(node, f"{_name(node)}: {operator(node)} instead of {operator(other)}")
                    self._pair(node, other, replaced=True)
                return
        if not self._skipped(value, twin, reader, index):
            self._say(reader, f"{_name(reader)}: input {index} is {_origin(value)} instead of {_origin(twin)}")

    def _skipped(self, value: ir.Value, twin: ir.Value, reader: ir.Node | None, index: int) -> bool:
        """Say that a node is more, or missing, where the graphs agree again behind it, and go on from there."""
        node, other = value.producer(), twin.producer()
        for candidate, extra in ((node, True), (other, False)):
            if candidate is None or candidate in self.set_aside or is_operator(candidate, "Constant"):
                continue
            wanted = twin if extra else value
            match = next(
                (one for one in candidate.inputs if one is not None and self._alike(one, wanted, extra)), None
            )
            if match is None or candidate in (self.twins if extra else self.taken):
                continue
            self.set_aside.add(candidate)
            self._say(
                candidate if extra else reader,
                f"{_name(candidate)}: {operator(candidate)} {'is more' if extra else 'is missing'}",
            )
            self.pending.append((match, twin, reader, index) if extra else (value, match, reader, index))
            return True
        return False

    def _alike(self, inner: ir.Value, wanted: ir.Value, extra: bool) -> bool:
        """Say whether a value behind a node may be the wanted one of the other graph."""
        if constant_of(inner) is not None or constant_of(wanted) is not None:
            return False
        value, twin = (inner, wanted) if extra else (wanted, inner)
        node, other = value.producer(), twin.producer()
        if node is None or other is None:
            return self.inputs.get(value) is twin
        if node in self.twins or other in self.taken:
            return self.twins.get(node) is other
        return operator(node) == operator(other)

    def _pair(self, node: ir.Node, other: ir.Node, *, replaced: bool = False) -> None:
        """Take two nodes for each other, compare what they are, and have their inputs compared."""
        self.twins[node], self.taken[other] = other, node
        if not replaced:
            found, wanted = (
                attributes(one, model.graph.opset_imports) for one, model in ((node, self.file), (other, self.wanted))
            )
            for name in sorted(found.keys() | wanted.keys()):
                if found.get(name) != wanted.get(name):
                    was, should = (_short(values.get(name)) for values in (found, wanted))
                    self._say(node, f"{_name(node)}: attribute '{name}' is {was} instead of {should}")
            if output_count(node) != output_count(other):
                self._say(node, f"{_name(node)}: {output_count(node)} outputs instead of {output_count(other)}")
            self._bodies(node, other)
        found_inputs, wanted_inputs = read_inputs(node), read_inputs(other)
        if len(found_inputs) != len(wanted_inputs) and not replaced:
            self._say(node, f"{_name(node)}: {len(found_inputs)} inputs instead of {len(wanted_inputs)}")
        kinds = [[_kind(value) for value in read] for read in (found_inputs, wanted_inputs)]
        if len(found_inputs) == 2 and kinds[0] != kinds[1] and kinds[0] == kinds[1][::-1]:
            self._say(node, f"{_name(node)}: its two inputs have changed places")
            wanted_inputs.reverse()
        pairs = list(enumerate(zip(found_inputs, wanted_inputs, strict=False)))
        self.pending += [(value, twin, node, index) for index, (value, twin) in reversed(pairs)]

    def _bodies(self, node: ir.Node, other: ir.Node) -> None:
        found, wanted = _subgraphs(node), _subgraphs(other)
        if found.keys() != wanted.keys():
            self._say(node, f"{_name(node)}: the bodies {sorted(found)} instead of {sorted(wanted)}")
        waiting, self.pending = self.pending, []
        for key in sorted(found.keys() & wanted.keys()):
            self._graphs(found[key], wanted[key], f"{_name(node)}, {key}: ")
        self.pending = waiting

    def _left_over(self) -> None:
        """Say which nodes have no twin, and which tensors of the file nothing reads."""
        found = [node for node in _nodes(self.file) if node not in self.twins and node not in self.set_aside]
        wanted = [node for node in _nodes(self.wanted) if node not in self.taken and node not in self.set_aside]
        for nodes, what in ((found, "more"), (wanted, "missing")):
            if nodes:
                counts = Counter(map(operator, nodes))
                listed = ", ".join(f"{count} × {name}" if count > 1 else name for name, count in counts.items())
                self._say(None, f"{len(nodes)} node{'s' * (len(nodes) > 1)} {what}: {listed}")
        unread = Counter(_unread(self.file)) - Counter(_unread(self.wanted))
        for name, shape in unread:
            self._say(None, f"tensor '{name}' ({shape}) is stored, and nothing reads it")


def _nodes(model: ir.Model) -> Iterator[ir.Node]:
    """Yield every node but the Constant ones, those of subgraphs and functions included."""
    graphs: list[ir.Graph | ir.Function] = [model.graph, *model.functions.values()]
    for graph in graphs:
        for node in ir.traversal.RecursiveGraphIterator(graph):
            if not (is_operator(node, "Constant") and constant_of(node.outputs[0]) is not None):
                yield node


def _is_dead(node: ir.Node) -> bool:
    return not any(value.uses() or value.is_graph_output() for value in node.outputs)


def _unread(model: ir.Model) -> list[tuple[str, str]]:
    found = []
    for graph in model.graphs():
        for name, value in graph.initializers.items():
            if not value.uses() and not value.is_graph_output() and not value.is_graph_input():
                tensor = value.const_value
                found.append((name, "without values" if tensor is None else f"{tensor.size:,} numbers"))
    return found


def _imports(model: ir.Model) -> dict[str, int]:
    return {("" if domain == "ai.onnx" else domain): version for domain, version in model.opset_imports.items()}


def _interface(value: ir.Value, *, named: bool) -> str:
    """Return the name, the type and the shape of an input or an output; in bodies of nodes only what is typed."""
    if not named:
        return str(value.type)
    shape = (
        "of any rank" if value.shape is None else f"[{', '.join(str(getattr(d, 'value', d)) for d in value.shape)}]"
    )
    default = ", with a default" if value.is_initializer() and value.is_graph_input() else ""
    return f"'{value.name}' {value.type} {shape}{default}"


def _subgraphs(node: ir.Node) -> dict[str, ir.Graph]:
    found: dict[str, ir.Graph] = {}
    for name, attribute in node.attributes.items():
        if attribute.type in GRAPHS and not attribute.is_ref():
            graphs: Sequence[Any] = [attribute.value] if attribute.type == GRAPHS[0] else attribute.value
            found |= {name if len(graphs) == 1 else f"{name} {index}": graph for index, graph in enumerate(graphs)}
    return found


def _name(node: ir.Node | None) -> str:
    return "the outputs" if node is None else f"node '{label(node)}'"


def _kind(value: ir.Value | None) -> str:
    """Return what a value is, without the name of anything."""
    if value is None:
        return "left out"
    tensor, node = constant_of(value), value.producer()
    return form(tensor) if tensor is not None else "input" if node is None else operator(node)


def _origin(value: ir.Value) -> str:
    """Return what a value is: a constant, an input, or the output of an operator."""
    if constant_of(value) is not None:
        return "a constant"
    node = value.producer()
    return f"'{value.name}'" if node is None else f"output {value.index()} of '{label(node)}' ({operator(node)})"


def _short(value: Any) -> str:
    if value is None:
        return "absent"
    text = "a tensor" if isinstance(value, tuple) and value and isinstance(value[0], tuple) else _readable(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _readable(value: Any) -> str:
    numbers = value if isinstance(value, tuple) else (value,)
    if numbers and all(isinstance(one, str) and "0x" in one for one in numbers):
        shown = [f"{float.fromhex(one):.6g}" for one in numbers]
        return shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"
    return str(list(value)) if isinstance(value, tuple) else repr(value)

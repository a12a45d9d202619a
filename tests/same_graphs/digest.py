"""What an ONNX file is, in a few digests, so that two files can be told apart and one knows by what.

    interface       names, types and shapes of inputs and outputs, symbolic sizes by name
    opsets          opset imports and IR version
    wiring          the nodes in order: operator, domain, attributes, and which value goes where
    initializers    element type, shape and numbers of every stored tensor
    names           names of nodes, values and stored tensors, as they are
    annotations     types and shapes of the values in between, doc strings, keys of metadata
    calibration     the numbers of an int8 graph that were measured on images

In `wiring` a value in between has a number in place of its name, in the order in which nodes give it, and a stored
tensor one in the order in which nodes read it; the graph's own inputs and outputs go by their names. So another name
shows in `names` alone, and another weight in `initializers` alone. A Constant node is a node, and an initializer is
not: the two forms differ in `wiring`. External data is read; how many bytes lie outside is one of the facts.

Activation scales and zero points of an int8 graph are measured by running the float graph, and the int32 biases
follow from the scales. Repeated on one machine, with one thread or two, they come out alike to the last bit; another
processor has other kernels, which sum in another order, and the last digits of its scales may be others. Rounding
them first would not help: some scale always lies beside an edge, and a bias of 10⁵ steps moves with the fifth digit
of its scale. So `initializers` has no more of them than type and shape, and their bits go into `calibration`, which
holds for one kind of processor. The int8 weights and their own scales follow from the float weights alone, and stay
in `initializers`.

Needs onnx and numpy alone. `python -m tests.same_graphs.digest FILE [FILE]` prints the digests of a file, or the
lines by which two files differ.
"""

from __future__ import annotations

import difflib
import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
from onnx import numpy_helper

DIGESTS = ("interface", "opsets", "wiring", "initializers", "names", "annotations", "calibration")
"""The names of the digests, in the order in which a difference is best looked for."""

Record: TypeAlias = dict[str, "str | int"]


def record_of(path: Path) -> Record:
    """Return the digests of a file by name, and facts for people: nodes, bytes of weights, bytes beside the file."""
    outside = _bytes_outside(onnx.load(path, load_external_data=False))
    model = onnx.load(path)
    digests = digests_of(model)
    weights = sum(len(_numbers(tensor)) for tensor in _all_initializers(model.graph))
    return {"nodes": _count(model.graph), "weight_bytes": weights, "external_bytes": outside, **digests}


def digests_of(model: onnx.ModelProto) -> dict[str, str]:
    """Return the sha256 of each of DIGESTS, of a model whose external data is loaded."""
    return {name: _sha256("\n".join(lines).encode()) for name, lines in lines_of(model).items()}


def lines_of(model: onnx.ModelProto) -> dict[str, list[str]]:
    """Return what each digest is made of, one line a fact. Raises ValueError for what no file here should have."""
    if model.graph.sparse_initializer or model.training_info:
        raise ValueError("sparse initializers and training information have no place in a digest")
    walk = _Walk(model.graph)
    functions = [line for function in model.functions for line in _function(function)]
    return {
        "interface": list(_interface(model.graph)),
        "opsets": [f"ir {model.ir_version}", *_imports(model.opset_import)],
        "wiring": [*walk.wiring, *functions],
        "initializers": walk.initializers,
        "names": list(_names(model.graph)),
        "annotations": [*_model_annotations(model), *walk.annotations],
        "calibration": walk.calibration,
    }


class _Walk:
    """One way through a graph, which numbers its values and writes down what it meets."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.wiring: list[str] = []
        self.initializers: list[str] = []
        self.calibration: list[str] = []
        self.annotations: list[str] = []
        self._measured = _measured(graph)
        self._values = 0
        self._stored = 0
        self._waiting: list[dict[str, onnx.TensorProto]] = []
        own = {value.name: f"input {value.name!r}" for value in graph.input}
        own |= {value.name: f"output {value.name!r}" for value in graph.output if value.name not in own}
        self._graph(graph, [own], indent="")
        # a stored tensor by the name of an input or output is not met by number
        for tensor in graph.initializer:
            if tensor.name in own:
                self._store(own[tensor.name], tensor)

    def _graph(self, graph: onnx.GraphProto, scopes: list[dict[str, str]], indent: str) -> None:
        here = scopes[-1]
        waiting = {tensor.name: tensor for tensor in graph.initializer if tensor.name not in here}
        self._waiting.append(waiting)
        infos = {value.name: _type(value.type) for value in graph.value_info}
        for node in graph.node:
            given = [self._token(name, scopes) for name in node.input]
            bodies = [attribute for attribute in node.attribute if attribute.HasField("g") or attribute.graphs]
            plain = [_attribute(attribute) for attribute in node.attribute if attribute not in bodies]
            made = [self._give(name, here) for name in node.output]
            operator = f"{node.domain}::{node.op_type}{':' + node.overload if node.overload else ''}"
            self.wiring.append(f"{indent}{made} = {operator} {sorted(plain)} {given}")
            for token, name in zip(made, node.output, strict=True):
                if name in infos:
                    self.annotations.append(f"{token} {infos.pop(name)}")
            self.annotations.extend(_node_annotations(node, made))
            for attribute in sorted(bodies, key=lambda entry: entry.name):
                for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                    self._body(attribute.name, body, scopes, indent + "  ")
        self.wiring.append(f"{indent}gives {[self._token(value.name, scopes) for value in graph.output]}")
        self._waiting.pop()
        for tensor in sorted(waiting.values(), key=_tensor):
            self._store("unread", tensor)
        self.annotations.extend(f"other {kind}" for kind in sorted(infos.values()))

    def _body(self, attribute: str, body: onnx.GraphProto, scopes: list[dict[str, str]], indent: str) -> None:
        here: dict[str, str] = {}
        inputs = [self._give(value.name, here) for value in body.input]
        self.wiring.append(f"{indent}{attribute} {inputs}")
        self._graph(body, [*scopes, here], indent)
        kinds = [_type(value.type) for value in (*body.input, *body.output)]
        self.annotations.append(f"body {kinds}")

    def _give(self, name: str, here: dict[str, str]) -> str:
        if name and name not in here:
            here[name] = f"v{self._values}"
            self._values += 1
        return here[name] if name else "-"

    def _token(self, name: str, scopes: Sequence[dict[str, str]]) -> str:
        """Return what stands for a value that is read, a stored tensor met for the first time included."""
        if not name:
            return "-"
        for index in reversed(range(len(scopes))):
            if name in scopes[index]:
                return scopes[index][name]
            if index < len(self._waiting) and name in self._waiting[index]:
                token = f"w{self._stored}"
                self._stored += 1
                self._store(token, self._waiting[index].pop(name))
                scopes[index][name] = token
                return token
        raise ValueError(f"'{name}' is read before anything gives it")

    def _store(self, token: str, tensor: onnx.TensorProto) -> None:
        if tensor.name in self._measured:
            self.initializers.append(f"{token} {_kind(tensor)} measured")
            self.calibration.append(f"{token} {_tensor(tensor)}")
        else:
            self.initializers.append(f"{token} {_tensor(tensor)}")
        self.annotations.extend(
            f"{token} {kind} {text}"
            for kind, text in (("doc", tensor.doc_string), ("keys", _keys(tensor.metadata_props)))
            if text
        )


def _measured(graph: onnx.GraphProto) -> set[str]:
    """Return the names of the stored numbers that follow from calibration: what activations are quantised by, and
    the biases, which are multiples of an activation scale."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    found: set[str] = set()
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        source = stored.get(node.input[0])
        if source is None:
            found.update(node.input[1:])
        elif source.data_type == onnx.TensorProto.INT32:
            found.update(node.input[:2])
    return found


def _interface(graph: onnx.GraphProto) -> Iterator[str]:
    for word, values in (("input", graph.input), ("output", graph.output)):
        for value in values:
            yield f"{word} {value.name!r} {_type(value.type)}"


def _imports(entries: Iterable[onnx.OperatorSetIdProto]) -> list[str]:
    return sorted(f"{'' if entry.domain == 'ai.onnx' else entry.domain} {entry.version}" for entry in entries)


def _function(function: onnx.FunctionProto) -> Iterator[str]:
    """A function is written with its own names: nothing here makes one that is not kept as it came."""
    yield f"function {function.domain}::{function.name} {_imports(function.opset_import)}"
    yield _sha256(function.SerializeToString(deterministic=True))


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    yield f"inputs {[value.name for value in graph.input]}"
    for node in graph.node:
        yield f"node {node.name!r} {list(node.input)} {list(node.output)}"
        for body in _bodies(node):
            yield from _names(body)
    yield f"stored {[tensor.name for tensor in graph.initializer]}"
    yield f"known {sorted(value.name for value in graph.value_info)}"
    yield f"outputs {[value.name for value in graph.output]}"


def _model_annotations(model: onnx.ModelProto) -> Iterator[str]:
    graph = model.graph
    yield f"producer {model.producer_name} {model.producer_version} {model.domain} {model.model_version}"
    yield f"model {model.doc_string!r} {_keys(model.metadata_props)}"
    yield f"graph {graph.name!r} {graph.doc_string!r} {_keys(graph.metadata_props)}"
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.doc_string or value.metadata_props:
            yield f"value {value.doc_string!r} {_keys(value.metadata_props)}"
    for entry in graph.quantization_annotation:
        yield f"quantised {_sha256(entry.SerializeToString(deterministic=True))}"


def _node_annotations(node: onnx.NodeProto, made: Sequence[str]) -> Iterator[str]:
    # the keys alone: torch writes stack traces, with paths, under some of them
    if node.doc_string or node.metadata_props:
        yield f"{made} {node.doc_string!r} {_keys(node.metadata_props)}"
    for attribute in node.attribute:
        if attribute.doc_string:
            yield f"{made} {attribute.name} {attribute.doc_string!r}"


def _keys(entries: Iterable[onnx.StringStringEntryProto]) -> str:
    return ",".join(sorted(entry.key for entry in entries))


def _type(kind: onnx.TypeProto) -> str:
    if kind.WhichOneof("value") != "tensor_type":
        return f"{kind.WhichOneof('value')} {_sha256(kind.SerializeToString(deterministic=True))}"
    name = onnx.TensorProto.DataType.Name(kind.tensor_type.elem_type)
    if not kind.tensor_type.HasField("shape"):
        return f"{name} of any rank"
    return f"{name} {[_size(dim) for dim in kind.tensor_type.shape.dim]}"


def _size(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if dim.HasField("dim_value"):
        return dim.dim_value
    return dim.dim_param if dim.HasField("dim_param") else None


def _attribute(attribute: onnx.AttributeProto) -> str:
    """Return an attribute without bodies as text; floats in hexadecimal, which is exact."""
    name, kind = attribute.name, onnx.AttributeProto.AttributeType.Name(attribute.type)
    if attribute.ref_attr_name:
        return f"{name}={kind} of {attribute.ref_attr_name}"
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return f"{name}={kind} {_tensor(value)}"
    if isinstance(value, float):
        return f"{name}={kind} {value.hex()}"
    if isinstance(value, int | bytes):
        return f"{name}={kind} {value!r}"
    if isinstance(value, Sequence) or attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        parts = [
            _tensor(part) if isinstance(part, onnx.TensorProto) else part.hex() if isinstance(part, float) else part
            for part in value
        ]
        return f"{name}={kind} {parts}"
    return f"{name}={kind} {_sha256(value.SerializeToString(deterministic=True))}"


def _bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _all_initializers(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for body in _bodies(node):
            yield from _all_initializers(body)


def _count(graph: onnx.GraphProto) -> int:
    return len(graph.node) + sum(_count(body) for node in graph.node for body in _bodies(node))


def _bytes_outside(model: onnx.ModelProto) -> int:
    total = 0
    for tensor in _all_initializers(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            total += next((int(entry.value) for entry in tensor.external_data if entry.key == "length"), 0)
    return total


def _kind(tensor: onnx.TensorProto) -> str:
    return f"{onnx.TensorProto.DataType.Name(tensor.data_type)} {list(tensor.dims)}"


def _tensor(tensor: onnx.TensorProto) -> str:
    return f"{_kind(tensor)} {_sha256(_numbers(tensor))}"


def _numbers(tensor: onnx.TensorProto) -> bytes:
    """Return the numbers as bytes, whichever field holds them."""
    if tensor.data_type == onnx.TensorProto.STRING:
        return repr(list(tensor.string_data)).encode()
    if tensor.HasField("raw_data"):
        return bytes(tensor.raw_data)
    return bytes(np.ascontiguousarray(numpy_helper.to_array(tensor)).tobytes())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def differing(wanted: Mapping[str, object], found: Mapping[str, object]) -> list[str]:
    """Return the names under which two records differ, digests in the order of DIGESTS and facts behind them."""
    names = dict.fromkeys([*DIGESTS, *wanted, *found])
    return [name for name in names if wanted.get(name) != found.get(name)]


def _main(paths: Sequence[str]) -> int:
    """Print the digests of one file, or how the lines of two differ."""
    if len(paths) == 1:
        for name, value in record_of(Path(paths[0])).items():
            print(f"{name:<15} {value}")
        return 0
    before, after = (lines_of(onnx.load(path)) for path in paths)
    for name in DIGESTS:
        for line in difflib.unified_diff(before[name], after[name], paths[0], paths[1], lineterm="", n=1):
            print(f"{name:<13} {line}")
    return int(before != after)


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))

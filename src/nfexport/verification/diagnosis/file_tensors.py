"""Every tensor that a file computes, from one run of it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import onnx
from numpy.typing import NDArray

from nfexport.errors import OnnxFileError
from nfexport.runtimes.session.in_memory import open_in_memory


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tensors:
    """The nodes of a file in order, the values of their outputs by name, its initializers, and the names of its
    outputs; subgraphs are left out."""

    nodes: tuple[onnx.NodeProto, ...]
    values: Mapping[str, NDArray[Any]]
    weights: Mapping[str, onnx.TensorProto]
    outputs: frozenset[str]


def run_exposed(model: onnx.ModelProto, feeds: Mapping[str, NDArray[Any]]) -> Tensors:
    """Run a model, its weights inside it, as its graph stands, with every tensor as an output.

    The runtime's optimisations are off: fused nodes have no tensors in between, and a node's name has to be that
    of the node that ran. The model is left as it was. Raises OnnxFileError if ONNX Runtime refuses it or stops."""
    with _exposed(model):
        session = open_in_memory(model, optimise=False)
    try:
        values = session.run(feeds)
    except RuntimeError as error:
        raise OnnxFileError(
            f"ONNX Runtime stops while it runs the file: {error}",
            fix="check the batch and the image size that the file takes",
        ) from error
    return Tensors(
        nodes=tuple(model.graph.node),
        values=values,
        weights={tensor.name: tensor for tensor in model.graph.initializer},
        outputs=frozenset(value.name for value in model.graph.output),
    )


@contextlib.contextmanager
def _exposed(model: onnx.ModelProto) -> Iterator[None]:
    """Make every tensor an output of the model itself: a copy would hold its weights once more."""
    own = len(model.graph.output)
    names = [value.name for value in model.graph.output]
    names += [name for node in model.graph.node for name in node.output if name]
    try:
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in list(dict.fromkeys(names))[own:])
        yield
    finally:
        del model.graph.output[own:]

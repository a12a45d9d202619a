"""Remove doc strings and debugging metadata.

ONNX gives doc strings and metadata no meaning, so the graph computes the same. Types and shapes stay, because those
of custom operators cannot be inferred again. Bodies of If and Loop and local functions are included. Never refuses.
Idempotent.

Removed: all doc strings; metadata_props of nodes, values, tensors, graphs and functions (mostly stack traces and
module paths from torch's exporter); model metadata whose key starts with 'pkg.'. Kept: all other model metadata,
which is nfexport's own or was stored by users and other tools for readers of the file (class names, strides); the
producer; types and shapes of tensors; every name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from nfexport.graph.libraries import ir
from nfexport.passes.base import Pass, Stage
from nfexport.recipe.option import Option

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


OWN = "nfexport."
DEBUGGING = "pkg."
"""Prefix of the metadata keys under which exporters record provenance."""

_Part: TypeAlias = "ir.Model | ir.Graph | ir.Function | ir.Node | ir.Value | ir.Attr | ir.TensorProtocol"
"""An object that may have a doc string."""


class Strip(Pass):
    """Remove doc strings and debugging metadata."""

    name = "strip"
    stage, after = Stage.FINISH, ("name-by-module",)
    options = (
        Option(
            flag="--strip",
            help="Remove doc strings and debugging metadata.",
            section="Output file",
        ),
    )

    def call(self, model: ir.Model) -> PassOutcome:
        """Strip in place and report the bytes saved and the model metadata that stays."""
        before = _size(model)
        gone = Counter[str]()
        for part in _parts(model):
            if part.doc_string:
                gone["doc strings"] += 1
                _clear_doc_string(part)
            if not isinstance(part, (ir.Model, ir.Attr)):
                gone["metadata"] += len(part.metadata_props)
                part.metadata_props.clear()
                if isinstance(part, ir.serde.TensorProtoTensor):
                    # unchanged tensors are serialised as they were read
                    part.raw.ClearField("metadata_props")
        for key in [key for key in model.metadata_props if key.startswith(DEBUGGING)]:
            gone["metadata"] += 1
            del model.metadata_props[key]
        after = _size(model)
        kept = sorted(key for key in model.metadata_props if not key.startswith(OWN))
        stays = f"; model metadata kept: {', '.join(kept)}" if kept else ""
        return self.done(
            model,
            changed=gone.total(),
            summary=f"{gone['doc strings']} doc strings and {gone['metadata']} metadata entries removed, "
            f"{before - after} bytes{stays}",
            facts={"bytes_before": before, "bytes_after": after, "bytes_saved": before - after, "kept": kept},
        )


def _parts(model: ir.Model) -> Iterator[_Part]:
    """Yield every object that may have a doc string, each once."""
    seen: set[int] = set()
    bodies = [model.graph, *model.graph.subgraphs()]
    for function in model.functions.values():
        yield function
        bodies += [function.graph, *function.graph.subgraphs()]
    yield model
    for graph in bodies:
        parts: list[_Part] = [graph, *graph.inputs, *graph.initializers.values()]
        for node in graph:
            parts += [node, *node.outputs, *node.attributes.values()]
        for part in parts:
            if id(part) not in seen:
                seen.add(id(part))
                yield part
                yield from _tensors(part)


def _tensors(part: _Part) -> Iterator[ir.TensorProtocol]:
    tensors: list[ir.TensorProtocol] = []
    if isinstance(part, ir.Value):
        tensors = [] if part.const_value is None else [part.const_value]
    elif isinstance(part, ir.Attr) and part.type == ir.AttributeType.TENSOR and not part.is_ref():
        tensors = [part.as_tensor()]
    elif isinstance(part, ir.Attr) and part.type == ir.AttributeType.TENSORS and not part.is_ref():
        tensors = list(part.as_tensors())
    yield from tensors


def _clear_doc_string(part: _Part) -> None:
    if isinstance(part, ir.serde.TensorProtoTensor):
        part.raw.ClearField("doc_string")
    else:
        part.doc_string = None


def _size(model: ir.Model) -> int:
    """Return the size in bytes of the serialised model without its weights."""
    # what writes files is not imported by a help page, which reads the declarations of passes alone
    from nfexport.graph.model_writer import without_large_weights

    with without_large_weights(model) as large:
        size: int = ir.to_proto(model).ByteSize()
    return size + sum(len((tensor.doc_string or "").encode()) for tensor in large.values())

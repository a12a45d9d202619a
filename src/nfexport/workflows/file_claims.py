"""Where the outside of a file, and what it stores, are not what its recipe says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx
from msgspec import UNSET

from nfexport.graph.checker import refusal
from nfexport.graph.header import read_header
from nfexport.graph.proto_graphs import graphs, initializers
from nfexport.graph.recognisers import DEFAULT_DOMAIN
from nfexport.graph.tensors import element_count, is_floating
from nfexport.inspection import FileFacts
from nfexport.inspection.stored_precision import HALF, QUANTISED
from nfexport.recipe.interface import front_steps, precision
from nfexport.recipe.recipe import Output, Recipe
from nfexport.verification.structure.rare_operators import random_nodes, rare_operators


def disagreements(facts: FileFacts, recipe: Recipe) -> tuple[str, ...]:
    """Return where a file does not match its recipe: opsets, IR version, operator domains, inputs and outputs with
    their element types and shapes, the types that weights are stored in, nodes that compute at random, and what
    onnx's checker refuses.

    Nothing is run, and no weight is read."""
    found = [
        f"{what}: the recipe says {claimed}, the file has {told}"
        for what, claimed, told in (*_model_claims(facts, recipe), *_inputs(facts, recipe), *_outputs(facts, recipe))
        if claimed != told
    ]
    header = read_header(facts.path)
    found += [f"function: the recipe says none, the file has '{one.domain}::{one.name}'" for one in header.functions]
    # onnxsim computes the Cast behind a stored float16, and stores the float32
    kept = all(step.name != "simplify" for step in recipe.steps)
    found += _stored(header, precision(recipe), timm=not recipe.tensors, kept=kept)
    found += random_nodes(rare_operators(facts.path), by_batch=recipe.provenance is not UNSET)
    if (reason := refusal(facts.path)) is not None:
        found.append(f"onnx's checker refuses the file ({reason})")
    return tuple(found)


Claim = tuple[str, Any, Any]
"""What is claimed, what the recipe says of it, and what the file has."""


def _model_claims(facts: FileFacts, recipe: Recipe) -> Iterator[Claim]:
    yield "opset", recipe.opset, facts.opset_imports.get("", facts.opset_imports.get("ai.onnx"))
    if any(step.origin is not None for step in recipe.steps):
        return  # a pass of another package may write operators of other domains
    domains = {name.partition("::")[0] for name in facts.operator_counts if "::" in name}
    yield "operator domains", [], sorted((domains | facts.opset_imports.keys()) - DEFAULT_DOMAIN)
    if recipe.opset == facts.opset_imports.get(""):
        imports = [onnx.helper.make_opsetid("", recipe.opset)]
        yield "IR version", onnx.helper.find_min_ir_version_for(imports, ignore_unknown=True), facts.ir_version


def _inputs(facts: FileFacts, recipe: Recipe) -> Iterator[Claim]:
    names = [spec.name for spec in recipe.tensors] or [recipe.input_name]
    yield "inputs", names, [tensor.name for tensor in facts.inputs]
    if recipe.tensors:
        found = {entry.name: entry for entry in facts.inputs}
        for spec in recipe.tensors:
            if (stored := found.get(spec.name)) is not None:
                yield f"type of input '{spec.name}'", spec.dtype, stored.dtype
                yield f"shape of input '{spec.name}'", list(spec.shape), list(stored.shape or ())
    elif len(facts.inputs) == 1:
        entry = facts.inputs[0]
        yield "input type", recipe.preprocessing.dtype, entry.dtype
        yield "input shape", input_shape(recipe), list(entry.shape or ())


def _outputs(facts: FileFacts, recipe: Recipe) -> Iterator[Claim]:
    yield "outputs", [output.name for output in recipe.outputs], [tensor.name for tensor in facts.outputs]
    found = {entry.name: entry for entry in facts.outputs}
    for output in recipe.outputs:
        if output.kind != "tensor" and (stored := found.get(output.name)) is not None:
            wanted = "int64" if output.kind == "topk-indices" else "float32"
            yield f"type of output '{output.name}'", wanted, stored.dtype
            if (columns := _columns(output, recipe)) is not None:
                batch = "batch" if recipe.batch == "dynamic" else recipe.batch
                yield f"shape of output '{output.name}'", [batch, columns], list(stored.shape or ())


def _columns(output: Output, recipe: Recipe) -> int | None:
    """Return the second size of an output that has two; None for one of another rank, or whose size the recipe does
    not say."""
    if output.kind in ("topk-values", "topk-indices"):
        return output.k
    return recipe.num_classes if output.kind in ("logits", "probs", "sigmoid") else None


def input_shape(recipe: Recipe) -> list[int | str]:
    """Return the shape of the file's input; symbolic sizes are strings."""
    batch = "batch" if recipe.batch == "dynamic" else recipe.batch
    height: int | str
    width: int | str
    height, width = recipe.image_size
    resize = next((step.params for step in front_steps(recipe) if step.name == "resize"), None)
    if resize is not None and resize["from_size"] is not None:
        height, width = resize["from_size"]
    elif resize is not None or recipe.dynamic_size:
        height, width = "height", "width"
    if recipe.preprocessing.layout == "nhwc":
        return [batch, height, width, recipe.in_channels]
    return [batch, recipe.in_channels, height, width]


def _stored(header: onnx.ModelProto, claimed: str, *, timm: bool, kept: bool) -> Iterator[str]:
    """Yield where the types that numbers are stored in are not those of the precision that the recipe claims.

    A user's own module may hold float16 itself, so only a network of timm is held to store none."""
    halves = floats = 0
    for tensor in initializers(header.graph):
        if is_floating(tensor):
            floats += element_count(tensor)
            halves += element_count(tensor) if tensor.data_type in HALF else 0
    quantised = any(node.op_type in QUANTISED for part in graphs(header.graph) for node in part.node)
    if claimed.startswith("fp16") and kept and 2 * halves < floats:
        yield f"precision: the recipe says {claimed}, and the file stores {halves:,} of {floats:,} numbers in float16"
    if claimed in ("float32", "int8") and halves and timm:
        yield f"precision: the recipe says {claimed}, and the file stores {halves:,} numbers in float16"
    if quantised != (claimed == "int8"):
        has = "holds quantised operators" if quantised else "holds none that are quantised"
        yield f"precision: the recipe says {claimed}, and the file {has}"

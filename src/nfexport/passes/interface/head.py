"""Let the file give probabilities, or the best classes, instead of logits or beside them.

    probs[n, c]        = exp(z[n, c]) / Σ_j exp(z[n, j])                     Softmax over the classes
    values, indices    = the k largest of probs[n, :], largest first        TopK over the classes; int64

z [batch, classes] are the logits, an output of the graph. Refuses an output of another rank, a k that is
larger than the number of classes, names that are taken, and logits that come from a Softmax already, which
is what a second application would be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nfexport.errors import PassError
from nfexport.graph import edit
from nfexport.graph.constants import free_name
from nfexport.graph.libraries import ir, np
from nfexport.graph.recognisers import is_operator
from nfexport.passes.report import PassReport

NAME = "head"
TOP_K_READS_K = 10
"""The opset from which k is an input of TopK."""


def apply(
    model: ir.Model,
    *,
    logits: str | None = None,
    probs: str | None = None,
    topk: Mapping[str, Any] | None = None,
    keep_logits: bool = False,
    order: Sequence[str] | None = None,
) -> PassReport:
    """Add Softmax and TopK in place.

    logits names the output to start from; None means the only one. probs is the name of the probabilities;
    topk {'k': int, 'values': name, 'indices': name}. What is not named is no output; the logits stay one if
    keep_logits. order lists all outputs as they shall stand; None appends the new ones.
    Raises PassError, and leaves the model as it was, if that cannot be."""
    graph = model.graph
    scores = _logits(graph, logits)
    classes = scores.shape[1] if scores.shape is not None else None
    wanted = [name for name in (probs, *((topk["values"], topk["indices"]) if topk else ())) if name is not None]
    _check_names(graph, wanted, replaced=None if keep_logits else scores.name)
    if topk is not None and not 1 <= topk["k"] <= (classes if isinstance(classes, int) else topk["k"]):
        raise PassError(f"the best {topk['k']} of {classes} classes cannot be had", fix="pass a smaller --top-k")
    position = list(graph.outputs).index(scores)
    if not keep_logits:
        del graph.outputs[position]
        if scores.name in wanted:
            # behind a Softmax the old name tells nothing any more
            scores.name = free_name(graph, f"{scores.name}/logits")
    softmax = _add(graph, "Softmax", [scores], {"axis": 1}, [probs or free_name(graph, "/head/probs")])
    added = list(softmax.outputs) if probs is not None else []
    softmax.outputs[0].type, softmax.outputs[0].shape = scores.type, scores.shape
    if topk is not None:
        added += _top_k(model, softmax.outputs[0], topk, scores)
    graph.outputs[position:position] = [] if keep_logits else added
    if keep_logits:
        graph.outputs.extend(added)
    if order is not None:
        _sort_outputs(graph, order)
    what = " and ".join(["probabilities"] * (probs is not None) + [f"the best {topk['k']}" for _ in [0] if topk])
    return PassReport(
        name=NAME,
        changed=1 + (topk is not None),
        summary=f"gives {what} from '{logits or scores.name}'",
        facts={"outputs": [str(value.name) for value in graph.outputs]},
    )


def _top_k(model: ir.Model, scores: ir.Value, topk: Mapping[str, Any], logits: ir.Value) -> list[ir.Value]:
    graph, k = model.graph, int(topk["k"])
    inputs, attributes = [scores], {"axis": 1}
    if model.opset_imports.get("", 1) >= TOP_K_READS_K:
        inputs.append(edit.add_initializer(graph, "/head/k", np.array([k], np.int64)))
    else:
        attributes["k"] = k
    node = _add(graph, "TopK", inputs, attributes, [topk["values"], topk["indices"]])
    batch = logits.shape[0] if logits.shape is not None else None
    for output, kind in zip(node.outputs, (logits.dtype, ir.DataType.INT64), strict=True):
        output.type = None if kind is None else ir.TensorType(kind)
        output.shape = ir.Shape([batch, k])
    return list(node.outputs)


def _add(
    graph: ir.Graph, op_type: str, inputs: Sequence[ir.Value], attributes: dict[str, Any], outputs: Sequence[str]
) -> ir.Node:
    node = ir.node(op_type, inputs, attributes, num_outputs=len(outputs), name=free_name(graph, f"/head/{op_type}"))
    for value, name in zip(node.outputs, outputs, strict=True):
        value.name = name
    graph.append(node)
    return node


def _logits(graph: ir.Graph, name: str | None) -> ir.Value:
    found = [value for value in graph.outputs if name is None or value.name == name]
    there = ", ".join(f"'{value.name}'" for value in graph.outputs)
    if not found:
        raise PassError(f"the graph has no output '{name}'", fix=f"name one of {there} with --logits")
    if len(found) > 1:
        raise PassError(f"the graph has the outputs {there}", fix="name the logits among them with --logits")
    value = found[0]
    if value.shape is None or len(value.shape) != 2:
        shape = "no known shape" if value.shape is None else f"the shape {value.shape}"
        raise PassError(
            f"output '{value.name}' has {shape}, and logits are [batch, classes]", fix="name the logits with --logits"
        )
    if is_operator(value.producer(), "Softmax"):
        raise PassError(f"output '{value.name}' comes from a Softmax already", fix="leave out --output")
    return value


def _check_names(graph: ir.Graph, wanted: Sequence[str], *, replaced: str | None) -> None:
    for name in wanted:
        if name != replaced and free_name(graph, name) != name:
            raise PassError(
                f"the graph has a tensor or node named '{name}' already", fix="rename it with --rename first"
            )


def _sort_outputs(graph: ir.Graph, order: Sequence[str]) -> None:
    by_name = {str(value.name): value for value in graph.outputs}
    if sorted(by_name) != sorted(order):
        raise PassError(
            f"the outputs are {', '.join(by_name)}, not {', '.join(order)}", fix="report this: a fault of nfexport"
        )
    graph.outputs[:] = [by_name[name] for name in order]

"""Add softmax or sigmoid probabilities or the top-k classes as outputs, in addition to or instead of the logits.

z [batch, classes] are the logits, an output of the graph. Refuses an output of another rank, a k that is
larger than the number of classes, names that are taken, and logits that come from a Softmax or Sigmoid already,
which is what a second application would be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from nfexport.errors import PassError, RecipeError
from nfexport.graph import edit
from nfexport.graph.constants import free_name
from nfexport.graph.libraries import ir, np
from nfexport.graph.recognisers import is_operator
from nfexport.passes.base import Changes, Pass, Request, Stage
from nfexport.recipe.option import Option
from nfexport.recipe.recipe import SCORES, Output

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome

TOP_K_READS_K = 10
"""The opset from which k is an input of TopK."""


class TopK(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The best k classes: the names of their probabilities and of their indices."""

    k: Annotated[int, msgspec.Meta(ge=1)]
    values: str
    indices: str


class AddHead(Pass):
    """Add softmax or sigmoid probabilities or the top-k classes as outputs, in addition to or instead of the logits.

    logits names the output to start from; None means the only one. probs is the name of the probabilities, sigmoid
    that of the probabilities of independent labels; topk {'k': int, 'values': name, 'indices': name}. Only named
    outputs are added; keep_logits keeps the logits as an output. order lists all outputs in their final order; None
    appends the new ones.
    Raises PassError, and leaves the model unchanged, if the outputs cannot be added."""

    name = "head"
    stage = Stage.INTERFACE
    options = (
        Option(
            flag="--output",
            keyword="outputs",
            kind="choice",
            choices=("logits", "probs", "sigmoid", "topk"),
            multiple=True,
            help="What the file returns instead of the logits; repeat it for several outputs.",
            section="Outputs",
            commands=("surgery",),
        ),
        Option(
            flag="--top-k",
            kind="integer",
            minimum=1,
            default=5,
            help="Number of classes that topk returns.",
            section="Outputs",
            commands=("surgery",),
        ),
        Option(
            flag="--logits",
            kind="text",
            metavar="NAME",
            help="The output that --output starts from, where there are several.",
            section="Outputs",
            commands=("surgery",),
        ),
    )
    changes = Changes.INTERFACE
    later = ("sigmoid",)
    formula = (
        "probs[n, c]        = exp(z[n, c]) / Σ_j exp(z[n, j])                     Softmax over the classes\n"
        "sigmoid[n, c]      = 1 / (1 + exp(−z[n, c]))                             Sigmoid of each label by itself\n"
        "values, indices    = the k largest of probs[n, :], largest first        TopK over the classes; int64"
    )

    logits: str | None = None
    probs: str | None = None
    sigmoid: str | None = None
    topk: TopK | None = None
    keep_logits: bool = False
    order: tuple[str, ...] | None = None

    @classmethod
    def asked(cls, request: Request) -> AddHead | None:
        """Add what follows from the logits: by the outputs of an export, or by the options of a surgery."""
        return _of_outputs(request.outputs) if request.command == "export" else _of_options(request)

    def call(self, model: ir.Model) -> PassOutcome:
        """Add Softmax, Sigmoid and TopK in place."""
        graph = model.graph
        scores = _logits(graph, self.logits)
        classes = scores.shape[1] if scores.shape is not None else None
        topk = self.topk
        names = (self.probs, self.sigmoid, *((topk.values, topk.indices) if topk else ()))
        wanted = [name for name in names if name is not None]
        _check_names(graph, wanted, replaced=None if self.keep_logits else scores.name)
        if topk is not None and isinstance(classes, int) and topk.k > classes:
            raise PassError(
                f"there are {classes} classes, fewer than the best {topk.k}", fix="pass a smaller --top-k"
            )
        position = list(graph.outputs).index(scores)
        if not self.keep_logits:
            del graph.outputs[position]
            if scores.name in wanted:
                # behind a Softmax the old name tells nothing any more
                scores.name = free_name(graph, f"{scores.name}/logits")
        added = self._nodes(model, scores)
        graph.outputs[position:position] = [] if self.keep_logits else added
        if self.keep_logits:
            graph.outputs.extend(added)
        if self.order is not None:
            _sort_outputs(graph, self.order)
        parts = ["probabilities"] * (self.probs is not None) + ["a probability for each label"] * (
            self.sigmoid is not None
        )
        parts += [f"the best {topk.k}"] if topk is not None else []
        return self.done(
            model,
            changed=(self.probs is not None or topk is not None) + (self.sigmoid is not None) + (topk is not None),
            summary=f"gives {' and '.join(parts)} from '{self.logits or scores.name}'",
            facts={"outputs": [str(value.name) for value in graph.outputs]},
        )

    def _nodes(self, model: ir.Model, scores: ir.Value) -> list[ir.Value]:
        """Add the nodes, and return the new outputs."""
        graph, added = model.graph, []
        if self.probs is not None or self.topk is not None:
            name = self.probs or free_name(graph, "/head/probs")
            (probs,) = _add(graph, "Softmax", [scores], {"axis": 1}, [name]).outputs
            probs.type, probs.shape = scores.type, scores.shape
            added += [probs] if self.probs is not None else []
        if self.sigmoid is not None:
            (sigmoid,) = _add(graph, "Sigmoid", [scores], {}, [self.sigmoid]).outputs
            sigmoid.type, sigmoid.shape = scores.type, scores.shape
            added.append(sigmoid)
        if self.topk is not None:
            added += _top_k(model, probs, self.topk, scores)
        return added


def _top_k(model: ir.Model, scores: ir.Value, topk: TopK, logits: ir.Value) -> list[ir.Value]:
    graph, k = model.graph, topk.k
    inputs, attributes = [scores], {"axis": 1}
    if model.opset_imports.get("", 1) >= TOP_K_READS_K:
        inputs.append(edit.add_initializer(graph, "/head/k", np.array([k], np.int64)))
    else:
        attributes["k"] = k
    node = _add(graph, "TopK", inputs, attributes, [topk.values, topk.indices])
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
    for operator in ("Softmax", "Sigmoid"):
        if is_operator(value.producer(), operator):
            raise PassError(f"output '{value.name}' comes from a {operator} already", fix="leave out --output")
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
            f"the outputs are {', '.join(by_name)}, not {', '.join(order)}", fix="report this bug in nfexport"
        )
    graph.outputs[:] = [by_name[name] for name in order]


def _of_outputs(outputs: Sequence[Output]) -> AddHead | None:
    """Return the head of an export with these outputs, if it needs one."""
    by_kind = {output.kind: output for output in outputs}
    if not by_kind.keys() & set(SCORES):
        return None
    topk = None
    if "topk-values" in by_kind:
        values, indices = by_kind["topk-values"], by_kind["topk-indices"]
        topk = TopK(k=values.k or 1, values=values.name, indices=indices.name)
    return AddHead(
        logits=by_kind["logits"].name if "logits" in by_kind else "logits",
        probs=by_kind["probs"].name if "probs" in by_kind else None,
        sigmoid=by_kind["sigmoid"].name if "sigmoid" in by_kind else None,
        topk=topk,
        keep_logits="logits" in by_kind,
        order=tuple(output.name for output in outputs),
    )


def _of_options(request: Request) -> AddHead | None:
    """Return the head that a surgery adds."""
    asked, logits = set(request.get("outputs", ())), request.get("logits")
    if not asked - {"logits"}:
        if logits is not None:
            raise RecipeError(
                "--logits is for --output, which is not asked for", fix="add --output probs, sigmoid or topk"
            )
        return None
    topk = TopK(k=request.get("top_k", 5), values="topk_values", indices="topk_indices")
    return AddHead(
        logits=logits,
        probs="probs" if "probs" in asked else None,
        sigmoid="sigmoid" if "sigmoid" in asked else None,
        topk=topk if "topk" in asked else None,
        keep_logits="logits" in asked,
    )

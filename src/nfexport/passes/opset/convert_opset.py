"""Convert the graph to exactly the given opset, operator by operator.

An operator whose version is the same at both opsets stays as it is, and so does one whose new version left
the meaning alone (rules/unchanged.py has the table); the others have a rule each (rules/). Bodies
of If, Loop and Scan are carried too. Operators of other domains have a version of their own and stay.

Refused, by name: a node that the target has no form for, and what cannot be read at all (model-local
functions). All or nothing: every node has its new form before the graph is touched.
Ensures that each node of the default domain fits its schema at the target opset, in attributes, number of
inputs and element types. Idempotent.

The rules are imported when a graph is converted, as a help page reads the declarations alone.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec

from nfexport.errors import OpsetTooOld, PassError
from nfexport.graph.libraries import ir, onnx
from nfexport.graph.recognisers import is_default_domain
from nfexport.graph.value_facts import ValueFacts, fill_in
from nfexport.passes.base import Bundle, Pass, Request, Stage
from nfexport.recipe.option import Option

if TYPE_CHECKING:
    from nfexport.passes.opset.rules.replacement import Replacement
    from nfexport.passes.result import PassOutcome

OLDEST = 9
OLDEST_SOURCE = 7
"""Opset 7 brought today's broadcasting; the rules read nothing older."""


class ConvertOpset(Pass):
    """Convert the graph to exactly the given opset, operator by operator.

    New nodes are named after the node that they replace ('/act/Gelu/Erf') and inherit its metadata and doc
    string; outputs keep their names; new constants are initializers, and those that fell out of use go.
    Raises OpsetTooOld, a PassError, and leaves the model unchanged, if a node cannot be carried; the fix names the
    nearest opset to which the whole graph can."""

    name = "convert-opset"
    stage, after = Stage.OPSET, ("guard-pooling",)
    options = (
        Option(
            flag="--opset",
            kind="integer",
            help="Convert the graph to this ONNX opset, exactly.",
            section="Graph",
            commands=("surgery",),
        ),
    )
    implied_by = (Bundle.EXPORT,)
    brings = ("fold-constants", "drop-expand", "static-shapes")
    formula = "node of the source opset  →  nodes of the target opset that compute the same"

    opset: Annotated[int, msgspec.Meta(ge=1, le=1000)]

    @classmethod
    def asked(cls, request: Request) -> ConvertOpset | None:
        """Convert to the opset of an export, or to the one that a surgery is told."""
        opset = request.opset if request.command == "export" else request.get("opset")
        return None if opset is None else cls(opset=opset)

    def call(self, model: ir.Model) -> PassOutcome:
        """Carry the model to the opset in place, and set the smallest IR version that fits."""
        from nfexport.passes.opset.rules.replacement import replace_all
        from nfexport.passes.opset.rules.schemas import newest

        if not OLDEST <= self.opset <= newest():
            raise PassError(
                f"opset {self.opset} is outside {OLDEST}..{newest()}", fix=f"choose one from {OLDEST} to {newest()}"
            )
        source = _source_opset(model)
        nodes = [node for node in model.graph.all_nodes() if is_default_domain(node)]
        before = sum(1 for _ in model.graph.all_nodes())
        replacements = _plan(model, nodes, source, self.opset)
        new_values = replace_all(model, replacements, opset=self.opset)
        model.graph.opset_imports.pop("ai.onnx", None)
        model.graph.opset_imports[""] = self.opset
        model.ir_version = _smallest_ir_version(model.graph.opset_imports)
        fill_in(model, new_values)
        carried = collections.Counter(r.node.op_type for r in replacements)
        return self.done(
            model,
            changed=len(replacements),
            summary=f"opset {source} to {self.opset}: {len(replacements)} of {before} nodes have another form there",
            facts={
                "from": source,
                "to": self.opset,
                "ir_version": model.ir_version,
                "operators": dict(sorted(carried.items())),
                "nodes_before": before,
                "nodes_after": sum(1 for _ in model.graph.all_nodes()),
            },
            left_alone={
                str(node.name): f"an operator of the domain {node.domain!r}, which has its own version"
                for node in model.graph.all_nodes()
                if not is_default_domain(node)
            },
        )


def _source_opset(model: ir.Model) -> int:
    from nfexport.passes.opset.rules.schemas import newest

    imports = model.graph.opset_imports
    source = imports.get("", imports.get("ai.onnx"))
    if source is None:
        raise PassError("the file imports no opset of the default domain", fix="export it again, or set opset_import")
    if not OLDEST_SOURCE <= source <= newest():
        raise PassError(
            f"the file is of opset {source}, and only {OLDEST_SOURCE} to {newest()} can be read",
            fix="export it again, at opset 9 or later" if source < OLDEST_SOURCE else "install a newer onnx",
        )
    for function in model.functions.values():
        raise PassError(
            f"the file defines a function of its own, {function.name!r}, which has an opset of its own",
            fix="inline its functions first, with onnx.inliner",
        )
    return source


def _plan(model: ir.Model, nodes: Sequence[ir.Node], source: int, target: int) -> list[Replacement]:
    """Sketch the new form of every node that has one; raise OpsetTooOld if there is a node without."""
    from nfexport.passes.opset.rules.schemas import CannotCarry, newest

    facts = ValueFacts(model)
    replacements: list[Replacement] = []
    refused: list[tuple[ir.Node, str]] = []
    for node in nodes:
        try:
            replacement = _carry(node, facts, source, target)
        except CannotCarry as reason:
            refused.append((node, str(reason)))
            continue
        if replacement is not None:
            replacements.append(replacement)
    if refused:
        node, why = refused[0]
        more = len(refused) - 1
        others = f" ({more} more {'nodes have' if more > 1 else 'node has'} none)" if more else ""
        works = [opset for opset in range(OLDEST, newest() + 1) if _all_have_a_form(nodes, facts, source, opset)]
        # of two that are equally near, the later one
        nearest = min(works, key=lambda opset: (abs(opset - target), -opset), default=None)
        raise OpsetTooOld(
            f"node {node.name!r} ({node.op_type}) has no form at opset {target}: {why}{others}",
            fix="export the model again, at the opset that is wanted"
            if nearest is None
            else f"opset {nearest} is the nearest that works",
            operator=node.op_type,
            needed=min((opset for opset in works if opset > target), default=None),
        )
    return replacements


def _carry(node: ir.Node, facts: ValueFacts, source: int, target: int) -> Replacement | None:
    """Sketch the new form of a node; None if it is the old one. Raises CannotCarry."""
    from nfexport.passes.opset.rules import RULES
    from nfexport.passes.opset.rules.replacement import Replacement
    from nfexport.passes.opset.rules.rewrite_site import RewriteSite
    from nfexport.passes.opset.rules.schemas import since

    if since(node.op_type, source) == since(node.op_type, target) is not None:
        return None
    site = RewriteSite(node, facts, source=source, target=target)
    rule = RULES.get(node.op_type)
    outputs = site.keep() if rule is None else rule(site)
    return None if site.is_as_before() else Replacement(node, tuple(site.sketch), tuple(outputs))


def _all_have_a_form(nodes: Sequence[ir.Node], facts: ValueFacts, source: int, target: int) -> bool:
    from nfexport.passes.opset.rules.schemas import CannotCarry

    try:
        for node in nodes:
            _carry(node, facts, source, target)
    except CannotCarry:
        return False
    return True


def _smallest_ir_version(imports: Mapping[str, int]) -> int:
    """Return the oldest IR version with these opsets: runtimes refuse one that is newer than they are."""
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in imports.items()]
    return int(onnx.helper.find_min_ir_version_for(opsets, ignore_unknown=True))

"""Rename inputs and outputs of the graph, all at once.

A name stands for one tensor. Where that tensor is input and output at once, or an output twice, or an output
that is an initializer, the new name holds for all of it. Tensors inside the graph keep their names.

Refuses, naming what there is: an OLD that is neither input nor output, a NEW that another tensor has (bodies
of If and Loop included) and keeps, one NEW for two tensors, and a NEW that is empty or has blanks at its ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from nfexport.errors import PassError, did_you_mean
from nfexport.graph.libraries import ir
from nfexport.passes.base import Changes, Pass, Request, Stage
from nfexport.recipe.option import Option

if TYPE_CHECKING:
    from nfexport.passes.result import PassOutcome


class Rename(Pass):
    """Rename inputs and outputs of the graph, all at once.

    Raises PassError, and leaves the model unchanged, if one of the names cannot be used."""

    name = "rename"
    stage, after = Stage.INTERFACE, ("extract",)
    options = (
        Option(
            flag="--rename",
            kind="pairs",
            metavar="OLD=NEW",
            help="Rename an input or output; repeat it for several.",
            section="Outputs",
        ),
    )
    changes = Changes.INTERFACE
    formula = "names = {OLD: NEW, …}        {'a': 'b', 'b': 'a'} swaps"

    names: dict[str, str]

    @classmethod
    def asked(cls, request: Request) -> Rename | None:
        """Rename what is named."""
        names = request.get("rename")
        return cls(names=dict(names)) if names else None

    def call(self, model: ir.Model) -> PassOutcome:
        """Rename in place."""
        graph = model.graph
        interface = {str(value.name): value for value in (*graph.inputs, *graph.outputs)}
        changes = {old: new for old, new in self.names.items() if old != new}
        for old in self.names:
            if old not in interface:
                _refuse_unknown(graph, old)
        staying = {name: what for name, what in _tensors(graph) if name not in changes}
        given: dict[str, str] = {}
        for old, new in changes.items():
            if not new or new != new.strip():
                raise PassError(
                    f"'{old}' cannot be named '{new}', which is empty or has blanks at its ends",
                    fix="pass another name",
                )
            if new in given:
                raise PassError(f"'{given[new]}' and '{old}' cannot both be named '{new}'", fix="pass two names")
            if new in staying:
                raise PassError(
                    f"'{old}' cannot be named '{new}', as {staying[new]} has that name",
                    fix="pass another name" + (f", or rename '{new}' too" if new in interface else ""),
                )
            given[new] = old
        initializers = list(graph.initializers.values())
        # an initializer's name is its key: all keys go first, so that a swap meets no name in use
        graph.initializers.clear()
        for old, new in changes.items():
            value = interface[old]
            value.name = new
        for value in initializers:
            graph.register_initializer(value)
        return self.done(
            model,
            changed=len(changes),
            summary=", ".join(f"'{old}' is now '{new}'" for old, new in changes.items())
            or "every name was so already",
            facts={"names": dict(changes)},
        )


def _refuse_unknown(graph: ir.Graph, old: str) -> None:
    inputs, outputs = _names(graph.inputs), _names(graph.outputs)
    inside = any(name == old for name, _ in _tensors(graph))
    problem = f"'{old}' is a tensor inside the graph" if inside else f"there is no input or output '{old}'"
    near = "" if inside else did_you_mean(old, [*inputs, *outputs])
    raise PassError(
        f"{problem}; {near}" if near else problem,
        fix=f"name one of the inputs {_listed(inputs)} or of the outputs {_listed(outputs)}",
    )


def _tensors(graph: ir.Graph) -> Iterator[tuple[str, str]]:
    """Yield the name of every tensor, bodies included, and what it is; a body may read names of the outside."""
    graphs = [(graph, ""), *((body, " of a body of If or Loop") for body in graph.subgraphs())]
    for current, where in graphs:
        yield from ((str(value.name), f"an initializer{where}") for value in current.initializers.values())
        yield from ((str(value.name), f"an input{where}") for value in current.inputs)
        for node in current:
            yield from ((value.name, f"an output of node '{node.name}'") for value in node.outputs if value.name)


def _names(values: Iterable[ir.Value]) -> list[str]:
    return list(dict.fromkeys(str(value.name) for value in values))


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)

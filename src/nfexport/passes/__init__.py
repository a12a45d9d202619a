"""Graph passes: one file a pass, each with a NAME and `apply(model, **params) -> PassReport`.

A pass edits an onnx_ir.Model in place, states its algebra, and says what it leaves alone and why. Adding a
pass means adding a file and its place in ORDER.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from nfexport.errors import RecipeError
from nfexport.recipe.recipe import PassStep

if TYPE_CHECKING:
    import onnx_ir as ir

    from nfexport.passes.report import PassReport

ORDER = (
    "tidy",  # shapes are inferred first: the others ask for them
    "fold-constants",  # pads and targets of Reshape, which make more shapes known
    "drop-expand",  # before static-shapes, which would otherwise rewrite what is dropped
    "static-shapes",
    "fold-ws",  # before fold-bn, which needs constant weights
    "fold-bn",
    "fold-constants",  # what became constant meanwhile
    "fold-scales",  # into weights that are constant by now
    "merge-groups",  # of weights that no other pass changes any more
    "merge-affine",
    "pool-globally",
    "merge-pads",  # before guard-pooling, which keeps the others apart
    "multiply-gates",  # after pool-globally: a pooling gives single pixels
    "normalize",  # the front of the graph: each of these four goes in front of what is there
    "channels",
    "resize",
    "input-form",
    "head",
    "extract",  # by the names that the graph has before it is renamed
    "rename",
    "batch",
    "guard-pooling",
    "convert-opset",  # last of those that write float32 operators: it knows the final opset
    "precision",
    "simplify",  # sees what a runtime will see
    "name-by-module",
    "strip",
)
"""The one order in which passes run. The user's flags are a set, not a script."""

ALWAYS = frozenset(
    {
        "tidy",
        "fold-constants",
        "drop-expand",
        "static-shapes",
        "fold-bn",
        "guard-pooling",
        "convert-opset",
        "name-by-module",
    }
)
"""The passes of every export."""


def plan(wanted: Iterable[PassStep], always: Iterable[str] = ALWAYS) -> tuple[PassStep, ...]:
    """Sort the steps asked for into ORDER, together with those that always run.

    Raises RecipeError if a step names no pass."""
    steps = {step.name: step for step in wanted}
    if unknown := sorted(set(steps) - set(ORDER)):
        raise RecipeError(f"there is no graph pass '{unknown[0]}'", fix=f"use one of {', '.join(ORDER)}")
    steps = {**{name: PassStep(name=name) for name in always}, **steps}
    return tuple(steps[name] for name in ORDER if name in steps)


def run(model: ir.Model, steps: Iterable[PassStep], observe: Callable[[str], None] | None = None) -> list[PassReport]:
    """Run the steps in place, in the order given, and return what each says of its work."""
    reports = []
    for step in steps:
        if observe is not None:
            observe(step.name)
        reports.append(load(step.name)(model, **step.params))
    return reports


def load(name: str) -> Callable[..., Any]:
    """Return the apply function of the pass that goes by this name."""
    from pathlib import Path

    stem = name.replace("-", "_")
    (home,) = Path(__file__).parent.glob(f"*/{stem}.py")
    function: Callable[..., Any] = importlib.import_module(f"nfexport.passes.{home.parent.name}.{stem}").apply
    return function

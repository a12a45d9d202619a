"""What a user's own module returns: planned from what it was seen to return, and picked from it."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from nfexport.errors import RecipeError
from nfexport.recipe.export_options import Asked
from nfexport.recipe.recipe import SCORES, Output
from nfexport.sources.model.module_call import ModuleCall


def plan_module_outputs(
    call: ModuleCall, kind: str, asked: Sequence[Asked], *, k: int = 5, name: str | None = None
) -> tuple[Output, ...]:
    """Return the outputs of a file of a user's own module: every tensor that it returns, or scores of its logits.

    A single output [batch, classes] of floats counts as logits. kind is the name of the module.
    Raises RecipeError for outputs that the module does not have."""
    kinds = tuple(dict.fromkeys(asked)) or ("logits",)
    if wrong := [word for word in kinds if word not in ("logits", "probs", "sigmoid", "topk")]:
        raise RecipeError(
            f"{kind} has no {wrong[0].replace('-', ' ')} that nfexport knows of",
            fix="let the module return what the file should return",
        )
    if call.classes is None and set(kinds) != {"logits"}:
        raise RecipeError(
            f"{kind} returns {', '.join(call.outputs)}, not one tensor of logits [batch, classes]",
            fix="leave --output out: the file returns what the module returns",
        )
    if call.classes is None:
        if name is not None and len(call.outputs) > 1:
            raise RecipeError(
                f"--output-name names one output, and {kind} has {len(call.outputs)}", fix="pass --output-names"
            )
        names = (name,) if name is not None else call.outputs
        return tuple(Output(kind="tensor", name=each, index=index) for index, each in enumerate(names))
    if "topk" in kinds and k > call.classes:
        raise RecipeError(f"there is no top {k} of {call.classes} classes", fix=f"pass --top-k up to {call.classes}")
    outputs = [output for word in kinds for output in _outputs_of(word, k)]
    if len(outputs) == 1:
        default = call.outputs[0] if outputs[0].kind == "logits" else outputs[0].name
        return (Output(kind=outputs[0].kind, name=name or default, k=outputs[0].k),)
    if name is not None:
        raise RecipeError(
            f"--output-name names one output, and there are {len(outputs)}", fix="rename them with --rename OLD=NEW"
        )
    return tuple(outputs)


def _outputs_of(word: str, k: int) -> list[Output]:
    if word != "topk":
        return [Output(kind=word, name=word)]  # type: ignore[arg-type]  # logits or probs
    return [
        Output(kind="topk-values", name="topk_values", k=k),
        Output(kind="topk-indices", name="topk_indices", k=k),
    ]


@contextlib.contextmanager
def giving(module: torch.nn.Module, outputs: Sequence[Output], call: ModuleCall, scores: Any) -> Iterator[None]:
    """Let the module take tensors by position and return these outputs as a tuple (a single one as a tensor), until
    the block ends; scores(logits, output) computes those that follow from the logits. It is restored in any case."""
    own = module.__dict__.get("forward")
    original = module.forward

    def forward(*tensors: torch.Tensor) -> Any:
        found = call.run(original, tensors)
        given = tuple(
            scores(found[0], output) if output.kind in SCORES else found[output.index or 0] for output in outputs
        )
        return given if len(given) > 1 else given[0]

    # torch's exporter looks for a parameter for each tensor
    kind = inspect.Parameter.POSITIONAL_ONLY
    names = [f"tensor_{index}" for index in range(len(call.keywords))]
    forward.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # type: ignore[attr-defined]
    module.forward = forward
    try:
        yield
    finally:
        del module.__dict__["forward"]
        if own is not None:
            module.forward = own

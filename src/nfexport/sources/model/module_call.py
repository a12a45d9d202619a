"""How a user's own module is called, and how what it returns becomes a list of named tensors.

    tensor                              output
    tuple, list                         output_0, output_1, …
    dict, dataclass, named tuple        its keys or fields
    nested                              joined with '_': features_0, features_1

None is left out, as a loss that is computed in training only. The order is that of the container.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from nfexport.errors import RecipeError
from nfexport.recipe.tensor_spec import TensorSpec

OUTPUT = "output"
_UNFIT = re.compile(r"[^A-Za-z0-9_.]+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModuleCall:
    """How tensors are handed to a module's forward, and the names of what it returns.

    keywords holds, for each input, the parameter that takes it, or None where it is passed by its position. outputs
    names the tensors that the module returns, in order, and shapes holds the size of each of their axes, or the name
    of a symbolic one. classes is the second size of a single output [batch, classes] of floats, None for any
    other."""

    keywords: tuple[str | None, ...]
    outputs: tuple[str, ...] = ()
    shapes: tuple[tuple[int | str, ...], ...] = ()
    classes: int | None = None
    reads: tuple[str, ...] = ()

    def run(self, forward: Callable[..., Any], tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Call a module, or its forward, and return the tensors that it returns."""
        return [tensor for _, tensor in flatten(self.call(forward, tensors))]

    def call(self, forward: Callable[..., Any], tensors: Sequence[torch.Tensor]) -> Any:
        """Call a module, or its forward, and return what it returns."""
        given = [tensor for key, tensor in zip(self.keywords, tensors, strict=True) if key is None]
        named = {key: tensor for key, tensor in zip(self.keywords, tensors, strict=True) if key is not None}
        return forward(*given, **named)


def match_inputs(module: torch.nn.Module, specs: Sequence[TensorSpec]) -> tuple[str | None, ...]:
    """Return the parameter of forward for each input: by its name where forward has all of them, else by position.

    Raises RecipeError if forward needs a parameter that no input is for, or takes fewer."""
    kind = type(module).__name__
    try:
        parameters = inspect.signature(module.forward).parameters
    except (TypeError, ValueError):  # a compiled forward does not tell
        return (None,) * len(specs)
    accepting = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    named = {name for name, parameter in parameters.items() if parameter.kind in accepting}
    any_number = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters.values())
    places = [name for name, p in parameters.items() if p.kind in (accepting[0], inspect.Parameter.POSITIONAL_ONLY)]
    needed = [
        name
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    ]
    names = [spec.name for spec in specs]
    if set(names) <= named:
        if missing := [name for name in needed if name not in names]:
            raise RecipeError(
                f"the forward of {kind} needs '{missing[0]}' too",
                fix=f"pass its description as well: --input {missing[0]}=DTYPE[DIM,...]",
            )
        return tuple(names)
    if len(specs) > len(places) and not any_number:
        raise RecipeError(
            f"the forward of {kind} takes {len(places)} tensors ({', '.join(places)}), and {len(specs)} are given",
            fix="pass one --input for each",
        )
    if left := [name for name in needed if name not in places[: len(specs)]]:
        raise RecipeError(
            f"the forward of {kind} needs '{left[0]}' too",
            fix=f"pass its description as well: --input {left[0]}=DTYPE[DIM,...]",
        )
    return (None,) * len(specs)


def flatten(result: Any, name: str = "", *, of: str = "the module") -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of what a module returns, with their names; `of` is the module, for a message.

    Raises RecipeError for anything that is not a tensor, or a container of tensors."""
    if result is None:
        return
    if isinstance(result, torch.Tensor):
        yield name or OUTPUT, result
        return
    parts: Iterator[tuple[str, Any]]
    if isinstance(result, Mapping):
        parts = ((str(key), value) for key, value in result.items())
    elif dataclasses.is_dataclass(result) and not isinstance(result, type):
        parts = ((field.name, getattr(result, field.name)) for field in dataclasses.fields(result))
    elif isinstance(result, tuple) and hasattr(result, "_fields"):
        parts = zip(result._fields, result, strict=True)
    elif isinstance(result, list | tuple):
        parts = ((str(index) if name else f"{OUTPUT}_{index}", value) for index, value in enumerate(result))
    else:
        what = f"{of} returns a {type(result).__name__}" + (f" as '{name}'" if name else "")
        raise RecipeError(
            f"{what}, not a tensor",
            fix="wrap the module in one whose forward returns tensors, in tuples, lists, dicts or dataclasses",
        )
    for key, value in parts:
        yield from flatten(value, f"{name}_{key}" if name else key, of=of)


def output_names(found: Sequence[str], wanted: Sequence[str], inputs: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the outputs: those that the user wants, or those found, made fit for a graph and unique.

    Raises RecipeError if another number of names is wanted."""
    if wanted:
        if len(wanted) != len(found):
            raise RecipeError(
                f"--output-names has {len(wanted)} names for the {len(found)} tensors that the module returns "
                f"({', '.join(found)})",
                fix="pass one name for each",
            )
        if len(set(wanted)) != len(wanted) or set(wanted) & set(inputs):
            raise RecipeError("--output-names names a tensor twice", fix="give every input and output its own name")
        return tuple(wanted)
    result: list[str] = []
    for name in found:
        fit = _UNFIT.sub("_", name).strip("_") or OUTPUT
        while fit in result or fit in inputs:
            fit += "_out"
        result.append(fit)
    return tuple(result)

"""The inputs of a user's own module where they are not described: from example tensors, or from its configuration."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch

from nfexport.errors import RecipeError
from nfexport.recipe.tensor_spec import BATCH, TensorSpec, TensorType, parse_inputs
from nfexport.sources.model.spec import ModelSpec

IMAGE = "image"
_TYPES: tuple[str, ...] = TensorType.__args__  # type: ignore[attr-defined]


def described_inputs(given: Any, module: object, *, batch: int | Literal["dynamic"]) -> tuple[str, ...]:
    """Return the descriptions of inputs, as --input takes them, of what a Python caller passes.

    That is: descriptions themselves, a tensor, a tuple or list of tensors (in the order of forward's parameters), or
    a dict of tensors by name. The first axis of example tensors is the batch where all have one of the same size,
    unless the batch is fixed. Raises RecipeError for anything else."""
    if isinstance(given, str):
        return (given,)
    if isinstance(given, Mapping):
        examples = {str(name): value for name, value in given.items()}
    else:
        values: list[Any] = [given] if isinstance(given, torch.Tensor) else list(given)
        if all(isinstance(value, str | TensorSpec) for value in values):
            return tuple(value if isinstance(value, str) else value.written() for value in values)
        examples = dict(zip(_parameter_names(module, len(values)), values, strict=True))
    for name, value in examples.items():
        if not isinstance(value, torch.Tensor):
            raise RecipeError(
                f"the example of '{name}' is a {type(value).__name__}, not a tensor",
                fix="pass tensors, or descriptions such as 'image=float32[batch,3,224,224]'",
            )
    sizes = {tensor.shape[:1] for tensor in examples.values()}
    together = batch == "dynamic" and len(sizes) == 1 and sizes != {torch.Size()}
    return tuple(_written(name, tensor, together) for name, tensor in examples.items())


def _written(name: str, tensor: torch.Tensor, has_batch: bool) -> str:
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in _TYPES:
        raise RecipeError(f"the example of '{name}' is {dtype}", fix=f"pass one of {', '.join(_TYPES)}")
    dims = [BATCH if has_batch and axis == 0 else str(size) for axis, size in enumerate(tensor.shape)]
    bounds = ""
    if dtype.startswith(("int", "uint")) and tensor.numel():
        bounds = f":{int(tensor.min())}..{int(tensor.max())}"
    return f"{name}={dtype}[{','.join(dims)}]{bounds}"


def _parameter_names(module: object, count: int) -> list[str]:
    names: list[str] = []
    if isinstance(module, torch.nn.Module):
        try:
            parameters = inspect.signature(module.forward).parameters.values()
        except (TypeError, ValueError):  # a compiled forward does not tell
            parameters = ()  # type: ignore[assignment]
        accepting = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        names = [parameter.name for parameter in parameters if parameter.kind in accepting]
    return (names + [f"input_{index}" for index in range(len(names), count)])[:count]


def default_inputs(module: torch.nn.Module, spec: ModelSpec, name: str) -> tuple[TensorSpec, ...]:
    """Return the inputs of a module of which nothing is said: one image, of the size that the user or the module's
    own configuration gives (timm's pretrained_cfg, transformers' config).

    Raises RecipeError if there is none."""
    found = _configured(module)
    channels = spec.in_chans or found.get("channels") or _first_channels(module)
    size = spec.image_size if isinstance(spec.image_size, int | tuple) else found.get("size")
    if size is None or channels is None:
        raise RecipeError(
            f"it is not known what {name} takes",
            fix="describe its input, such as --input image=float32[batch,3,224,224]",
        )
    height, width = (size, size) if isinstance(size, int) else size
    parameter = found.get("input") or (_parameter_names(module, 1) or [IMAGE])[0]
    return parse_inputs([f"{parameter}=float32[{BATCH},{channels},{height},{width}]"])


def _configured(module: Any) -> dict[str, Any]:
    cfg = getattr(module, "pretrained_cfg", None)
    if isinstance(cfg, Mapping) and len(cfg.get("input_size") or ()) == 3:
        channels, *size = cfg["input_size"]
        return {"channels": int(channels), "size": (int(size[0]), int(size[1]))}
    config = getattr(module, "config", None)
    size = getattr(config, "image_size", None)
    if isinstance(size, int):
        size = (size, size)
    if isinstance(size, Sequence) and len(size) == 2:
        return {
            "channels": getattr(config, "num_channels", None),
            "size": (int(size[0]), int(size[1])),
            "input": getattr(module, "main_input_name", None),
        }
    return {}


def _first_channels(module: torch.nn.Module) -> int | None:
    """Return the input channels of the first two-dimensional convolution."""
    return next((child.in_channels for child in module.modules() if isinstance(child, torch.nn.Conv2d)), None)

"""What is traced, and the exporters that can do it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import torch

from nfexport.graph.standardisation import Standardisation
from nfexport.recipe.tensor_spec import TensorSpec

Exporter = Literal["torchscript", "dynamo"]

DYNAMO_FROM_OPSET = 18
"""The oldest opset that torch's dynamo exporter writes; asked for an older one, it silently writes this one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TraceRequest:
    """What to trace: the inputs, the names of the outputs, and the opset asked for.

    output_shapes holds, by name, the shapes of outputs as far as they are known: a size or the name of a symbolic one
    for each axis, or 'batch' for the first axis alone. standardised holds, by name, convolution weights that the
    fold-ws pass standardises afterwards: an exporter may leave the computation out."""

    inputs: tuple[TensorSpec, ...]
    opset: int
    output_names: tuple[str, ...]
    output_shapes: Mapping[str, tuple[int | str, ...]] = dataclasses.field(default_factory=dict)
    standardised: Mapping[str, Standardisation] = dataclasses.field(default_factory=dict)

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs, in order."""
        return tuple(spec.name for spec in self.inputs)

    def examples(self) -> tuple[torch.Tensor, ...]:
        """Return the inputs to trace with."""
        return tuple(torch.zeros(spec.at({}), dtype=getattr(torch, spec.dtype)) for spec in self.inputs)

    def axes(self) -> dict[str, dict[int, str]]:
        """Return the names of the symbolic axes of inputs and outputs, by tensor and axis."""
        found = {spec.name: spec.symbols for spec in self.inputs}
        for name, shape in self.output_shapes.items():
            found[name] = {axis: dim for axis, dim in enumerate(shape) if isinstance(dim, str)}
        return {name: axes for name, axes in found.items() if axes}


def image_input(
    name: str,
    *,
    batch: int | Literal["dynamic"],
    channels: int,
    image_size: tuple[int, int],
    dynamic_size: bool = False,
) -> TensorSpec:
    """Return the input of a network that takes images, float32 [batch, channels, height, width].

    A dynamic batch is traced with 2, as exporters specialise a batch of 1."""
    height, width = image_size
    sizes = {"batch": 2} if batch == "dynamic" else {}
    sizes |= {"height": height, "width": width} if dynamic_size else {}
    axes = ("height", "width") if dynamic_size else (height, width)
    return TensorSpec(
        name=name, dtype="float32", shape=("batch" if batch == "dynamic" else batch, channels, *axes), sizes=sizes
    )

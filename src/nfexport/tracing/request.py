"""What is traced, and the exporters that can do it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import torch

from nfexport.graph.standardisation import Standardisation

Exporter = Literal["torchscript", "dynamo"]

DYNAMO_FROM_OPSET = 18
"""The oldest opset that torch's dynamo exporter writes; asked for an older one it writes this, silently."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TraceRequest:
    """What is traced: example input [batch, channels, height, width] float32, names, and a wanted opset.

    With dynamic_size height and width are symbols, as is a dynamic batch. standardised names convolution
    weights that the fold-ws pass standardises afterwards: an exporter may leave the computation out."""

    batch: int | Literal["dynamic"]
    in_channels: int
    image_size: tuple[int, int]
    opset: int
    input_name: str
    output_names: tuple[str, ...]
    dynamic_size: bool = False
    standardised: Mapping[str, Standardisation] = dataclasses.field(default_factory=dict)

    def symbols(self) -> dict[int, str]:
        """Return the axes of the input that are symbols, with their names."""
        batch = {0: "batch"} if self.batch == "dynamic" else {}
        return batch | ({2: "height", 3: "width"} if self.dynamic_size else {})

    def example(self) -> torch.Tensor:
        """Return the input to trace with. A dynamic batch is traced with 2: a batch of 1 gets specialised."""
        batch = 2 if self.batch == "dynamic" else self.batch
        return torch.zeros(batch, self.in_channels, *self.image_size)

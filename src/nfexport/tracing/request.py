"""What is traced, and the exporters that can do it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import torch

from nfexport.graph.standardisation import Standardisation

Exporter = Literal["torchscript", "dynamo"]

DYNAMO_FROM_OPSET = 18
"""The oldest opset that torch's dynamo exporter writes; asked for an older one, it silently writes this one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TraceRequest:
    """What to trace: the input float32 [batch, channels, height, width], names, and the opset asked for.

    Height and width are symbols with dynamic_size, as is a dynamic batch. standardised holds, by name, convolution
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
        """Return the names of the symbolic dims of the input, by axis."""
        batch = {0: "batch"} if self.batch == "dynamic" else {}
        return batch | ({2: "height", 3: "width"} if self.dynamic_size else {})

    def example(self) -> torch.Tensor:
        """Return the input to trace with. A dynamic batch is traced with 2, as exporters specialise a batch of 1."""
        batch = 2 if self.batch == "dynamic" else self.batch
        return torch.zeros(batch, self.in_channels, *self.image_size)

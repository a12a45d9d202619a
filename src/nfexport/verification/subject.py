"""What a file under verification claims of its outside."""

from __future__ import annotations

import dataclasses
from typing import Literal

from nfexport.recipe import Output, PassStep, Preprocessing
from nfexport.verification.served import ServedForm


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """Interface and arithmetic of a file.

    batch is a fixed size or 'dynamic'. image_size is (height, width) of the network's picture in pixels, and
    other_sizes are more of them that the file takes. preprocessing is the network's own; steps are the
    passes that do some of it inside the file, from the network outwards. precision is 'float32', 'fp16' or
    'fp16-weights'. weights_kept says that no pass changed a weight but to fold its standardisation, factors_moved
    that tensors of the file may be multiples of the network's own, by constants that were moved."""

    input_name: str
    outputs: tuple[Output, ...]
    batch: int | Literal["dynamic"]
    image_size: tuple[int, int]
    in_channels: int
    preprocessing: Preprocessing
    steps: tuple[PassStep, ...] = ()
    other_sizes: tuple[tuple[int, int], ...] = ()
    precision: str = "float32"
    weights_kept: bool = False
    factors_moved: bool = False

    @property
    def form(self) -> ServedForm:
        """What the file does to a picture before its network."""
        return ServedForm(steps=self.steps, image_size=self.image_size)

"""What a user asks for when naming a model."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A timm model and where its weights come from.

    name is an architecture, or architecture.tag, which asks for those trained weights; pretrained asks for the
    default tag; checkpoint takes the weights from a file; otherwise they are seeded. image_size is a number of
    pixels, (height, width), 'train' or 'test'; None is the size at which timm reports the model: the test size
    where there is one, else the training size."""

    name: str
    pretrained: bool = False
    checkpoint: Path | None = None
    seed: int = 0
    num_classes: int | None = None
    image_size: int | tuple[int, int] | Literal["train", "test"] | None = None

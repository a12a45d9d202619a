"""What a file under verification claims of its outside."""

from __future__ import annotations

import dataclasses
from typing import Literal

from nfexport.recipe.recipe import Output, PassStep, Preprocessing
from nfexport.verification.file_preprocessing import FilePreprocessing
from nfexport.verification.tolerance import Float32Tolerance, Int8Tolerance, default_tolerance


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelUnderTest:
    """Interface and arithmetic of a file.

    batch is a fixed size or 'dynamic'. image_size is (height, width) of the network's picture in pixels, and
    other_sizes are more of them that the file takes. preprocessing is the network's own; steps are the
    passes that do some of it inside the file, from the network outwards. precision is 'float32', 'fp16',
    'fp16-weights' or 'int8'; int8_bound is the rms error, relative to the output's range, that the last may
    have. weights_kept says that no pass changed a weight but to fold its standardisation, or to round it;
    factors_moved that tensors of the file may be multiples of the network's own, by constants that were moved."""

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
    int8_bound: float | None = None

    @property
    def tolerance(self) -> Float32Tolerance | Int8Tolerance:
        """The default rule for the file."""
        if self.int8_bound is not None:
            return Int8Tolerance(bound=self.int8_bound)
        return default_tolerance(self.precision)

    @property
    def form(self) -> FilePreprocessing:
        """What the file does to a picture before its network."""
        return FilePreprocessing(steps=self.steps, image_size=self.image_size)

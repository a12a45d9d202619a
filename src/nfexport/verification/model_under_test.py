"""What a file under verification says of its interface and its arithmetic."""

from __future__ import annotations

import dataclasses
from typing import Literal

from nfexport.recipe.recipe import Output, PassStep, Preprocessing
from nfexport.verification.file_preprocessing import FilePreprocessing
from nfexport.verification.tolerance import Float32Tolerance, Int8Tolerance, default_tolerance


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelUnderTest:
    """The interface and the arithmetic of a file, as its recipe or its user states them.

    batch is a fixed size or 'dynamic'. image_size is (height, width) of the network's images in pixels, and
    other_sizes are further sizes that the file takes. preprocessing is the network's own; steps are the
    passes that do some of it inside the file, from the network outwards. precision is 'float32', 'fp16',
    'fp16-weights' or 'int8'; int8_bound is the rms error, relative to the output's range, that an int8
    file may have. weights_kept says that no pass changed a weight other than by folding its standardisation or by
    rounding it; factors_moved says that tensors of the file may be multiples of the network's own, as constant
    factors were moved."""

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
        """The preprocessing that the file does itself."""
        return FilePreprocessing(steps=self.steps, image_size=self.image_size)

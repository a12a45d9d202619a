"""The part of preprocessing that a file leaves to its caller: from a decoded image to the tensor of its input."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nfexport.errors import ImageError, RecipeError
from nfexport.images.crop import resize_and_crop
from nfexport.images.decoder import decode, to_array
from nfexport.recipe.interface import front_steps, network_preprocessing
from nfexport.recipe.recipe import Preprocessing, Recipe

Array = NDArray[Any]
BYTE = 255
DTYPES = {"uint8": np.uint8, "float32": np.float32, "float16": np.float16}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessor:
    """How images become the tensor of an input.

    size is the (height, width) in pixels that the input takes, None if it takes any; preprocessing is the caller's
    part. fill is the RGB colour of the padding that crop mode 'border' adds."""

    input_name: str
    size: tuple[int, int] | None
    channels: int
    preprocessing: Preprocessing
    fill: tuple[int, ...] = (0, 0, 0)

    def pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return the pixels [height, width, channels] in RGB, resized and cropped as the file expects.

        Raises ImageError if the file resizes images itself, and only those of another size."""
        pre = self.preprocessing
        if pre.crop_mode == "none":
            if self.size is not None and (image.height, image.width) != self.size:
                raise ImageError(
                    f"the image has {image.height}×{image.width} pixels, the file takes only "
                    f"{self.size[0]}×{self.size[1]}",
                    fix="resize it first, or export with --resize for any size",
                )
            return to_array(image)
        assert self.size is not None
        return to_array(
            resize_and_crop(
                image,
                self.size,
                crop_pct=pre.crop_pct,
                crop_mode=pre.crop_mode,
                interpolation=pre.interpolation,
                fill=self.fill[: self.channels],
            )
        )

    def batch(self, pixels: Sequence[NDArray[np.uint8]]) -> Array:
        """Return the input for images of one size: [batch, channels, height, width], or channels last, with the
        channel order and the element type of the file."""
        pre = self.preprocessing
        levels = self._levels
        array = np.stack(pixels)
        if pre.dtype != "uint8":
            array = np.stack([levels[c][array[..., c]] for c in range(self.channels)], axis=-1)
        if pre.channel_order == "bgr":
            array = array[..., ::-1]
        if pre.layout == "nchw":
            array = array.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(array)

    def read(self, source: Path | bytes) -> NDArray[np.uint8]:
        """Return the pixels of an image file, as `pixels` does. Raises ImageError, which names the file."""
        image = decode(source, channels=self.channels)
        try:
            return self.pixels(image)
        except ImageError as error:
            name = "" if isinstance(source, bytes) else f"'{source}': "
            raise ImageError(f"{name}{error.problem}", fix=error.fix) from error

    @functools.cached_property
    def _levels(self) -> Array:
        """The input values of the 256 levels of each channel [channels, 256].

            (low + (high − low) · level / 255 − mean) / std

        in float32, in the order of operations of timm's ToTensor and Normalize."""
        pre = self.preprocessing
        low, high = pre.value_range
        level = (low + (high - low) * (np.arange(BYTE + 1) / BYTE)).astype(np.float32)
        mean, std = (np.asarray(v, np.float32)[:, None] for v in (pre.mean, pre.std))
        return ((level - mean) / std).astype(DTYPES[pre.dtype])


def preprocessor_of(recipe: Recipe) -> Preprocessor:
    """Return the preprocessor for the file of this recipe.

    Raises RecipeError if the file takes bytes, but leaves the normalisation to its caller."""
    steps = front_steps(recipe)
    pre = recipe.preprocessing
    resize = next((step.params for step in steps if step.name == "resize"), None)
    size: tuple[int, int] | None = recipe.image_size
    if resize is not None:
        fixed = resize["from_size"]
        size = None if fixed is None else (int(fixed[0]), int(fixed[1]))
    if pre.dtype == "uint8" and (set(pre.mean), set(pre.std), tuple(pre.value_range)) != ({0.0}, {1.0}, (0.0, 255.0)):
        raise RecipeError(
            "the file takes uint8 and leaves normalisation to its caller, but uint8 cannot hold normalised values",
            fix="export it with --normalize, or with --input-dtype float32",
        )
    return Preprocessor(
        input_name=recipe.input_name,
        size=size,
        channels=recipe.in_channels,
        preprocessing=pre,
        fill=fill_colour(network_preprocessing(recipe)),
    )


def fill_colour(network: Preprocessing) -> tuple[int, ...]:
    """Return the colour of the padding that a crop adds: the mean of the network's input, in levels of 0 to 255."""
    return tuple(round(BYTE * mean) for mean in network.mean)

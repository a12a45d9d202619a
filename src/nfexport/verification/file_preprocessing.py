"""The preprocessing that a file does itself, repeated in numpy: in float64 for the right values, in float32 for
what float32 costs; and its inverse, which makes images for such a file.

    to_network:  x = ((swap(crop(resize(transpose(cast(y))))) − r·mean) / (r·std)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfexport.passes.front.preprocessing.resampling import resample
from nfexport.recipe.recipe import PassStep
from nfexport.verification.tolerance import UNIT

Array = NDArray[Any]
NHWC_TO_NCHW, NCHW_TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)
DTYPES = {"uint8": np.uint8, "float32": np.float32, "float16": np.float16}
BYTE = 255.0
NUDGE = 2.0**-10
"""Of a level: sums of a dozen products of 255 in float32, with float32 weights, err by a few 10⁻⁴."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkImages:
    """One batch as the network receives it, [batch, channels, height, width]: exact in float64 (or float32, if
    nothing was computed), and one or more results of computing the same in float32."""

    exact: NDArray[np.float64] | NDArray[np.float32]
    float32: tuple[NDArray[np.float32], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FilePreprocessing:
    """The preprocessing steps inside a file, from the network outwards.

    image_size is (height, width) of the images that the network takes, in pixels."""

    steps: tuple[PassStep, ...] = ()
    image_size: tuple[int, int] | None = None

    @property
    def resizes(self) -> Mapping[str, Any] | None:
        """The parameters of the resize pass, if there is one."""
        return next((step.params for step in self.steps if step.name == "resize"), None)

    def source_sizes(self) -> tuple[tuple[int, int], ...]:
        """Return the (height, width) of the images to try; empty unless the file resizes them."""
        if self.resizes is None:
            return ()
        if (fixed := self.resizes.get("from_size")) is not None:
            return ((fixed[0], fixed[1]),)
        assert self.image_size is not None
        height, width = self.image_size
        # larger and wider, then higher and odd, then smaller than the network's own
        return (height * 5 // 4, width * 3 // 2), (height * 2 + 1, width + 3), (height * 3 // 4, width * 7 // 8)

    def to_network(self, array: Array) -> NetworkImages:
        """Return what the network receives of a batch that the file is given.

        float32 holds the same computed in float32, once plainly and, if a step computes anything, once with every
        pixel off by a unit in the last place at random: what a constant folded into a weight costs."""
        if not self.steps:
            return NetworkImages(exact=array, float32=(array,))
        exact = self._forward(array.astype(np.float64))
        runs = [self._forward(array.astype(np.float32)).astype(np.float32)]
        if any(step.name in ("normalize", "resize") for step in self.steps):
            noise = np.random.Generator(np.random.Philox(key=array.size)).integers(-1, 2, array.shape)
            shaken = array.astype(np.float64) * (1.0 + UNIT * noise)
            runs.append(self._forward(shaken).astype(np.float32))
        if self.resizes is not None:
            # whole numbers in the graph depend on the last digits of float32 where a sum is near a half
            runs += [self._forward(array.astype(np.float64), nudge=n).astype(np.float32) for n in (NUDGE, -NUDGE)]
        return NetworkImages(exact=exact, float32=tuple(runs))

    def from_network(self, images: NDArray[np.float32]) -> Array:
        """Return a batch for the file, of which the network receives these images, or nearly so: values are rounded
        to what the file's element type holds, and a resize is not inverted."""
        array: Array = images.astype(np.float64)
        dtype = "float32"
        for step in self.steps:
            params = step.params
            if step.name == "normalize":
                r = float(params.get("value_range", 1.0))
                array = array * (r * _per_channel(params["std"])) + r * _per_channel(params["mean"])
            elif step.name == "channels":
                array = array[:, ::-1]
            elif step.name == "input-form":
                dtype = params.get("dtype", "float32")
                if params.get("layout") == "nhwc":
                    array = array.transpose(NCHW_TO_NHWC)
        if dtype == "uint8":
            if not any(step.name == "normalize" for step in self.steps):
                # the network's range is unknown: spread the values over the bytes
                low, high = array.min(), array.max()
                array = (array - low) / max(high - low, 1e-9) * BYTE
            array = np.clip(np.rint(array), 0, BYTE)
        return np.ascontiguousarray(array.astype(DTYPES[dtype]))

    def _forward(self, array: Array, *, nudge: float = 0.0) -> Array:
        for step in reversed(self.steps):
            params = step.params
            if step.name == "input-form" and params.get("layout") == "nhwc":
                array = array.transpose(NHWC_TO_NCHW)
            elif step.name == "resize":
                array = self._resize(array, params, nudge)
            elif step.name == "channels":
                array = array[:, ::-1]
            elif step.name == "normalize":
                r = float(params.get("value_range", 1.0))
                mean, std = r * _per_channel(params["mean"]), r * _per_channel(params["std"])
                array = (array - mean.astype(array.dtype)) / std.astype(array.dtype)
        return array

    def _resize(self, array: Array, params: Mapping[str, Any], nudge: float) -> Array:
        assert self.image_size is not None
        r = array.dtype.type(BYTE / params["value_range"])
        resized = resample(
            array * r,
            self.image_size,
            crop_pct=params["crop_pct"],
            crop_mode=params["crop_mode"],
            interpolation=params["interpolation"],
            nudge=nudge,
            width_first=params.get("from_size") is None,
        )
        return np.asarray(resized / r)


def _per_channel(numbers: Sequence[float]) -> NDArray[np.float64]:
    return np.asarray(numbers, np.float64).reshape(1, -1, 1, 1)

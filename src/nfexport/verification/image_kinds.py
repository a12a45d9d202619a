"""The kinds of test images: seeded, each of a kind that shows other faults.

Every channel gets values of its own, so a channel swap shows. The numbers come from Philox's raw bits by exact
arithmetic alone (no logarithm, no cosine), so the same seed gives the same bytes on every machine and with every
version of numpy.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float64]
GRAIN = 0.03
"""Height of the noise on flat areas, of the pixel range. Without it the channels of a flat image have no
variance, and networks that normalise activations divide rounding by rounding: in vit_tiny_r_s16_p8_224
ONNX Runtime is then 20 to 40 times further off than PyTorch, with it no further than PyTorch."""


class Bits:
    """Uniform numbers for one image, from a stream of its own."""

    def __init__(self, seed: int, stream: str) -> None:
        key = np.array([seed % 2**64, zlib.crc32(stream.encode())], dtype=np.uint64)
        self._philox = np.random.Philox(key=key)

    def uniform(self, *shape: int) -> Image:
        """Draw float64 in [0, 1), 53 bits each."""
        raw = np.asarray(self._philox.random_raw(int(np.prod(shape))), dtype=np.uint64)
        return np.asarray((raw >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(shape)


def noise(bits: Bits, channels: int, height: int, width: int) -> Image:
    """Draw every pixel by itself: energy at all frequencies."""
    return bits.uniform(channels, height, width)


def gradient(bits: Bits, channels: int, height: int, width: int) -> Image:
    """Draw a ramp, in a direction of its own for each channel: a flip, a transposition or a shift shows."""
    down, right, offset = bits.uniform(3, channels, 1, 1)
    y = np.arange(height).reshape(1, -1, 1) / max(height - 1, 1)
    x = np.arange(width).reshape(1, 1, -1) / max(width - 1, 1)
    ramp = (2 * down - 1) * y + (2 * right - 1) * x + offset
    low, high = ramp.min(axis=(1, 2), keepdims=True), ramp.max(axis=(1, 2), keepdims=True)
    level: Image = (ramp - low) / np.maximum(high - low, 1e-12)
    return 0.9 * level + 0.1 * bits.uniform(channels, 1, 1)


def blocks(bits: Bits, channels: int, height: int, width: int) -> Image:
    """Draw both ends of the range, in 8 × 8 blocks: large activations, and edges at the border."""
    coarse = (1 - GRAIN) * np.floor(2 * bits.uniform(channels, 8, 8))
    rows = np.arange(height) * 8 // height
    columns = np.arange(width) * 8 // width
    return coarse[:, rows][:, :, columns] + GRAIN * bits.uniform(channels, height, width)


def flat(bits: Bits, channels: int, height: int, width: int) -> Image:
    """Draw one colour with a grain: what is added at the border, or subtracted as a mean, stands out."""
    colour = 0.1 + 0.8 * bits.uniform(channels, 1, 1)
    return colour + GRAIN * (bits.uniform(channels, height, width) - 0.5)


def impulses(bits: Bits, channels: int, height: int, width: int) -> Image:
    """Draw four bright pixels for each channel on grain: the response to single positions."""
    image = GRAIN * bits.uniform(channels, height, width)
    where = np.floor(bits.uniform(channels, 4) * (height * width)).astype(np.intp)
    np.put_along_axis(image.reshape(channels, -1), where, 0.5 + 0.5 * bits.uniform(channels, 4), axis=1)
    return image


def checkerboard(bits: Bits, channels: int, height: int, width: int) -> Image:
    """Draw one-pixel squares, in colours of its own for each channel: the phase of strides and poolings."""
    dark, step = 0.4 * bits.uniform(channels, 1, 1), 0.2 + 0.3 * bits.uniform(channels, 1, 1)
    odd = (np.arange(height).reshape(-1, 1) + np.arange(width)) % 2
    return dark + step * odd + GRAIN * bits.uniform(channels, height, width)


def day(bits: Bits, channels: int, height: int, width: int) -> Image:
    """Return spheres on a floor under a sky: smooth areas, edges and textures, as a camera sees them."""
    return _scene(0, bits, channels, height, width)


def night(bits: Bits, channels: int, height: int, width: int) -> Image:
    """Return a town at night: dark, with small bright windows."""
    return _scene(1, bits, channels, height, width)


def _scene(number: int, bits: Bits, channels: int, height: int, width: int) -> Image:
    """Return a rendered scene with a grain, scaled by taking the nearest pixel, which is exact everywhere."""
    scene = _scenes()[number]
    rows = np.arange(height) * scene.shape[1] // height
    columns = np.arange(width) * scene.shape[2] // width
    level: Image = scene[np.arange(channels) % scene.shape[0]][:, rows][:, :, columns]
    return (1 - GRAIN) * level + GRAIN * bits.uniform(channels, height, width)


@functools.cache
def _scenes() -> Image:
    """Return both scenes, [2, 3, 96, 96] in [0, 1], RGB; they were drawn for this project."""
    with np.load(Path(__file__).with_name("scenes.npz")) as stored:
        return np.asarray(stored["images"] / 255.0)


def normal(bits: Bits, channels: int, height: int, width: int) -> Image:
    """Draw from N(0, 1), approximately: the sum of twelve uniforms less 6 (variance 12 · 1/12), exact everywhere."""
    total: Image = np.sum(bits.uniform(12, channels, height, width), axis=0)
    return total - 6.0


Kind = Callable[[Bits, int, int, int], Image]
IMAGE_KINDS: dict[str, Kind] = {
    "gradient": gradient,
    "blocks": blocks,
    "flat": flat,
    "day": day,
    "night": night,
    "noise": noise,
    "impulses": impulses,
    "checkerboard": checkerboard,
}
"""Kinds in units of the pixel range, [channels, height, width] within [0, 1]."""

"""The pictures that a file is compared on: seeded, few, and each of a kind that shows other faults.

Every channel of every entry gets values of its own, so a channel swap shows; the entries of a batch are
all different, so mixed-up entries show. The numbers come from Philox's raw bits by exact arithmetic alone
(no logarithm, no cosine), so the same seed gives the same bytes on every machine and with every numpy.
"""

from __future__ import annotations

import dataclasses
import functools
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nfexport.recipe.recipe import Preprocessing

Image = NDArray[np.float64]
GRAIN = 0.03
"""Height of the noise on flat areas, of the pixel range. Without it the channels of a flat picture have no
variance, and networks that normalise activations divide rounding by rounding: in vit_tiny_r_s16_p8_224
ONNX Runtime is then 20 to 40 times further off than PyTorch, with it no further than PyTorch."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputCase:
    """One batch: array is [batch, channels, height, width], float32, normalised as the network expects."""

    name: str
    batch: int
    array: NDArray[np.float32]


class Bits:
    """Uniform numbers for one picture, from a stream of its own."""

    def __init__(self, seed: int, stream: str) -> None:
        key = np.array([seed % 2**64, zlib.crc32(stream.encode())], dtype=np.uint64)
        self._philox = np.random.Philox(key=key)

    def uniform(self, *shape: int) -> Image:
        """Float64 in [0, 1) with 53 bits each."""
        raw = np.asarray(self._philox.random_raw(int(np.prod(shape))), dtype=np.uint64)
        return np.asarray((raw >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(shape)


def noise(bits: Bits, channels: int, height: int, width: int) -> Image:
    """Every pixel its own value: energy at all frequencies."""
    return bits.uniform(channels, height, width)


def gradient(bits: Bits, channels: int, height: int, width: int) -> Image:
    """A ramp, in a direction of its own for each channel: a flip, a transposition or a shift shows."""
    down, right, offset = bits.uniform(3, channels, 1, 1)
    y = np.arange(height).reshape(1, -1, 1) / max(height - 1, 1)
    x = np.arange(width).reshape(1, 1, -1) / max(width - 1, 1)
    ramp = (2 * down - 1) * y + (2 * right - 1) * x + offset
    low, high = ramp.min(axis=(1, 2), keepdims=True), ramp.max(axis=(1, 2), keepdims=True)
    level: Image = (ramp - low) / np.maximum(high - low, 1e-12)
    return 0.9 * level + 0.1 * bits.uniform(channels, 1, 1)


def blocks(bits: Bits, channels: int, height: int, width: int) -> Image:
    """Both ends of the range, in 8 × 8 blocks: large activations, and edges at the border."""
    coarse = (1 - GRAIN) * np.floor(2 * bits.uniform(channels, 8, 8))
    rows = np.arange(height) * 8 // height
    columns = np.arange(width) * 8 // width
    return coarse[:, rows][:, :, columns] + GRAIN * bits.uniform(channels, height, width)


def flat(bits: Bits, channels: int, height: int, width: int) -> Image:
    """One colour with a grain: what is added at the border, or subtracted as a mean, stands out."""
    colour = 0.1 + 0.8 * bits.uniform(channels, 1, 1)
    return colour + GRAIN * (bits.uniform(channels, height, width) - 0.5)


def impulses(bits: Bits, channels: int, height: int, width: int) -> Image:
    """Four bright pixels for each channel on grain: the response of single positions."""
    image = GRAIN * bits.uniform(channels, height, width)
    where = np.floor(bits.uniform(channels, 4) * (height * width)).astype(np.intp)
    np.put_along_axis(image.reshape(channels, -1), where, 0.5 + 0.5 * bits.uniform(channels, 4), axis=1)
    return image


def checkerboard(bits: Bits, channels: int, height: int, width: int) -> Image:
    """One-pixel squares, in colours of its own for each channel: the phase of strides and poolings."""
    dark, step = 0.4 * bits.uniform(channels, 1, 1), 0.2 + 0.3 * bits.uniform(channels, 1, 1)
    odd = (np.arange(height).reshape(-1, 1) + np.arange(width)) % 2
    return dark + step * odd + GRAIN * bits.uniform(channels, height, width)


def day(bits: Bits, channels: int, height: int, width: int) -> Image:
    """Spheres on a floor under a sky: smooth areas, edges and textures, as a camera sees them."""
    return _scene(0, bits, channels, height, width)


def night(bits: Bits, channels: int, height: int, width: int) -> Image:
    """A town at night: dark, with small bright windows."""
    return _scene(1, bits, channels, height, width)


def _scene(number: int, bits: Bits, channels: int, height: int, width: int) -> Image:
    """A rendered picture with a grain; scaled by taking the nearest pixel, which is exact everywhere."""
    picture = _scenes()[number]
    rows = np.arange(height) * picture.shape[1] // height
    columns = np.arange(width) * picture.shape[2] // width
    level: Image = picture[np.arange(channels) % picture.shape[0]][:, rows][:, :, columns]
    return (1 - GRAIN) * level + GRAIN * bits.uniform(channels, height, width)


@functools.cache
def _scenes() -> Image:
    """[2, 3, 96, 96] in [0, 1], RGB; drawn for this project."""
    with np.load(Path(__file__).with_name("scenes.npz")) as stored:
        return np.asarray(stored["pictures"] / 255.0)


Kind = Callable[[Bits, int, int, int], Image]
PICTURES: dict[str, Kind] = {
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

ORDER = ("normal", *PICTURES)
"""The order in which a fixed batch is filled; `normal` is drawn after the normalisation, mean 0, std 1."""


def normal(bits: Bits, channels: int, height: int, width: int) -> Image:
    """Approximately N(0, 1): the sum of twelve uniforms less 6 (variance 12 · 1/12), exact everywhere."""
    total: Image = np.sum(bits.uniform(12, channels, height, width), axis=0)
    return total - 6.0


def draw(
    kind: str, index: int, *, seed: int, shape: tuple[int, int, int], preprocessing: Preprocessing
) -> NDArray[np.float32]:
    """Return picture number `index` of a kind as the network sees it.

        x[c] = (low + (high − low) · picture[c] − mean[c]) / std[c]        except for 'normal'

    shape (channels, height, width); float32. mean and std are used in turn where the network has another
    number of channels than the preprocessing names, as timm does with in_chans."""
    bits = Bits(seed, f"{kind} {index}")
    if kind == "normal":
        return normal(bits, *shape).astype(np.float32)
    low, high = preprocessing.value_range
    mean = np.resize(np.asarray(preprocessing.mean), shape[0]).reshape(-1, 1, 1)
    std = np.resize(np.asarray(preprocessing.std), shape[0]).reshape(-1, 1, 1)
    picture = PICTURES[kind](bits, *shape)
    return ((low + (high - low) * picture - mean) / std).astype(np.float32)


def plan(batch: int | Literal["dynamic"]) -> Iterator[tuple[str, ...]]:
    """Name the kinds of each default batch.

    dynamic: batches of 1, 2 and 3, nine pictures in all. Fixed: as many batches as hold nine pictures or more,
    filled in the order of ORDER."""
    if batch == "dynamic":
        yield from (("normal", "gradient", "blocks"), ("day",), ("flat", "noise"))
        yield ("impulses", "checkerboard", "night")
        return
    total = -(-len(ORDER) // batch) * batch
    kinds = [ORDER[i % len(ORDER)] for i in range(total)]
    for start in range(0, total, batch):
        yield tuple(kinds[start : start + batch])


def default_cases(
    *,
    seed: int,
    batch: int | Literal["dynamic"],
    in_channels: int,
    image_size: tuple[int, int],
    preprocessing: Preprocessing,
) -> list[InputCase]:
    """Return the batches that a file is verified on by default.

    image_size is (height, width) in pixels. A case is named after its kinds, each named once."""
    cases: list[InputCase] = []
    drawn = 0
    for kinds in plan(batch):
        images: Sequence[NDArray[np.float32]] = [
            draw(kind, drawn + i, seed=seed, shape=(in_channels, *image_size), preprocessing=preprocessing)
            for i, kind in enumerate(kinds)
        ]
        drawn += len(kinds)
        name = "+".join(dict.fromkeys(kinds))
        cases.append(InputCase(name=name, batch=len(kinds), array=np.stack(images)))
    return cases

"""The batches that a file is compared on: few, seeded, every entry different from the others.

Mixed-up entries of a batch show, since all are different; the kinds of images are those of image_kinds.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nfexport.recipe.recipe import Preprocessing
from nfexport.verification.image_kinds import IMAGE_KINDS, Bits, normal

ORDER = ("normal", *IMAGE_KINDS)
"""The order in which a fixed batch is filled; `normal` is drawn after the normalisation, mean 0, std 1."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputCase:
    """One batch: an array for each input of the file, in order.

    batch is the number of entries that do not influence one another, along the first axis of every array; it is 1
    where there are none."""

    name: str
    batch: int
    arrays: tuple[NDArray[Any], ...]

    @property
    def array(self) -> NDArray[Any]:
        """The array of the only input: an image, [batch, channels, height, width]."""
        (array,) = self.arrays
        return array

    def with_arrays(self, arrays: Iterable[NDArray[Any]], name: str | None = None) -> InputCase:
        """Return the same batch with other arrays, of the element types that these have."""
        given = tuple(
            np.ascontiguousarray(new.astype(old.dtype)).reshape(new.shape)
            for new, old in zip(arrays, self.arrays, strict=True)
        )
        return InputCase(name=name or self.name, batch=self.batch, arrays=given)


def draw(
    kind: str, index: int, *, seed: int, shape: tuple[int, int, int], preprocessing: Preprocessing
) -> NDArray[np.float32]:
    """Return image number `index` of a kind as the network receives it.

        x[c] = (low + (high − low) · image[c] − mean[c]) / std[c]        except for 'normal'

    shape (channels, height, width); float32. mean and std are repeated where the network has another
    number of channels than the preprocessing names, as timm does with in_chans."""
    bits = Bits(seed, f"{kind} {index}")
    if kind == "normal":
        return normal(bits, *shape).astype(np.float32)
    low, high = preprocessing.value_range
    mean = np.resize(np.asarray(preprocessing.mean), shape[0]).reshape(-1, 1, 1)
    std = np.resize(np.asarray(preprocessing.std), shape[0]).reshape(-1, 1, 1)
    image = IMAGE_KINDS[kind](bits, *shape)
    return ((low + (high - low) * image - mean) / std).astype(np.float32)


def plan(batch: int | Literal["dynamic"]) -> Iterator[tuple[str, ...]]:
    """Name the kinds of each default batch.

    dynamic: batches of 1, 2 and 3, nine images in all. Fixed: as many batches as hold nine images or more,
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
    """Return the batches of images that a file is verified on by default, normalised as the network expects them.

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
        cases.append(InputCase(name=name, batch=len(kinds), arrays=(np.stack(images),)))
    return cases

"""The mean and standard deviation that a network was trained with, and the unit that they are in."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from nfexport.errors import RecipeError

BYTE = 255.0


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """Mean and standard deviation per channel, for pixels in 0..1; unit is the range that they were given in."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    unit: float

    def describe(self) -> str:
        """Return the unit in words, for a report."""
        return f"0..{self.unit:g}"


def statistics(mean: Sequence[float], std: Sequence[float], *, channels: int | None = None) -> Statistics:
    """Return the statistics for pixels in 0..1, whichever unit they are in.

    ImageNet's are quoted in either: 0.485 ± 0.229 for pixels in 0..1 is 123.675 ± 58.395 for pixels in 0..255. A
    number above 1 means 0..255, since no image has a mean above its own range.
    Raises RecipeError for numbers that fit neither unit, that mix both, or that are not one per channel."""
    if len(mean) != len(std):
        raise RecipeError(
            f"--mean has {len(mean)} numbers and --std has {len(std)}", fix="pass one number per channel in each"
        )
    if not mean:
        raise RecipeError("--mean and --std hold no numbers", fix="pass one number per channel in each")
    if channels is not None and len(mean) != channels:
        raise RecipeError(
            f"--mean and --std have {len(mean)} numbers for {channels} channels",
            fix=f"pass {channels} numbers in each",
        )
    numbers = [*mean, *std]
    if not all(abs(number) <= BYTE for number in numbers):
        raise RecipeError(
            f"--mean and --std lie outside 0..{BYTE:g}, the range of a pixel", fix="pass them in 0..1 or in 0..255"
        )
    if min(std) <= 0:
        raise RecipeError(
            f"--std contains {min(std):g}, but a standard deviation must be above 0", fix="pass numbers above 0"
        )
    largest_mean = max(map(abs, mean))
    unit = BYTE if max(largest_mean, max(std)) > 1 else 1.0
    if unit == BYTE and (0 < largest_mean <= 1 or max(std) < 1):
        units = ("0..1", "0..255") if largest_mean <= 1 else ("0..255", "0..1")
        raise RecipeError(
            f"--mean {mean[0]:g} looks like {units[0]} and --std {max(std):g} like {units[1]}",
            fix="pass both in the same unit",
        )
    return Statistics(
        mean=tuple(number / unit for number in mean), std=tuple(number / unit for number in std), unit=unit
    )

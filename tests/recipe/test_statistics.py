"""The unit of a mean and standard deviation is found, and a wrong one told."""

from __future__ import annotations

import pytest

from nfexport.errors import RecipeError
from nfexport.recipe.statistics import statistics

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BYTE_MEAN, BYTE_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def test_both_units_give_the_same_numbers() -> None:
    units = statistics(MEAN, STD)
    assert (units.mean, units.std, units.describe()) == (MEAN, STD, "0..1")
    found = statistics(BYTE_MEAN, BYTE_STD)
    assert found.mean == pytest.approx(MEAN, rel=1e-12)
    assert found.std == pytest.approx(STD, rel=1e-12)
    assert found.describe() == "0..255"


def test_a_deviation_of_one_beside_a_mean_of_bytes_is_a_deviation_of_one_byte() -> None:
    assert statistics((103.94, 116.78, 123.68), (1.0, 1.0, 1.0)).std == (1 / 255,) * 3


def test_no_normalisation_is_of_either_unit() -> None:
    assert statistics((0, 0, 0), (1, 1, 1)).unit == 1
    assert statistics((0, 0, 0), (255, 255, 255)).std == (1, 1, 1)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((0.485, 0.456, 0.406), BYTE_STD, r"--mean 0.485 looks like 0..1 and --std 58.395 like 0..255"),
        ((0.5,), (0.5, 0.5), "--mean has 1 numbers and --std has 2"),
        ((0.5, 0.5), (0.5, 0.5), "2 numbers for 3 channels"),
        ((300, 0, 0), (1, 1, 1), r"outside 0..255"),
        ((float("nan"), 0, 0), (1, 1, 1), r"outside 0..255"),
        (BYTE_MEAN, STD, r"--mean 123.675 looks like 0..255 and --std 0.229 like 0..1"),
        ((-100, 0, 0), (0.5, 0.5, 0.5), r"--mean -100 looks like 0..255"),
        ((), (), "hold no numbers"),
        (MEAN, (0.2, 0, 0.2), "standard deviation must be above 0"),
    ],
)
def test_numbers_of_no_unit_are_refused(mean: tuple[float, ...], std: tuple[float, ...], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        statistics(mean, std, channels=3)

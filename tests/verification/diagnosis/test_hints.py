"""Each pattern has its sentence, and what has none gets none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nfexport.verification.diagnosis.hints import hints_for

RANDOM = np.random.default_rng(0)
RIGHT = RANDOM.standard_normal((2, 24, 8, 8))


def changed(change: Callable[[np.ndarray], None]) -> np.ndarray:
    wrong = RIGHT.copy()
    change(wrong)
    return wrong


def border(wrong: np.ndarray) -> None:
    wrong[:, :, 0] = 0


def one_channel(wrong: np.ndarray) -> None:
    wrong[:, 3] *= 0.5


def one_entry(wrong: np.ndarray) -> None:
    wrong[1] += RANDOM.standard_normal(wrong[1].shape)


PER_CHANNEL = np.linspace(0.98, 1.03, 24).reshape(1, -1, 1, 1)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (0.99 * RIGHT, "it is 0.99 times what it should be"),
        (changed(one_entry), "only entries 1 of the batch are wrong"),
        (np.roll(RIGHT, 1, 2), "shifted down by one pixel"),
        (np.roll(RIGHT, -1, 3), "shifted left by one pixel"),
        (changed(border), "only pixels at the border are wrong"),
        (RIGHT[:, ::-1], "24 of its 24 channels are in another order"),
        (RIGHT.astype(np.float16), "it is rounded to float16"),
        (changed(one_channel), "only 1 of 24 channels are wrong (3)"),
        (RIGHT * PER_CHANNEL, "each channel is off by a factor of its own, 0.98 to 1.03"),
        (RIGHT + PER_CHANNEL, "each channel is off by a constant of its own"),
        (RIGHT.swapaxes(2, 3), "height and width are swapped"),
    ],
)
def test_a_pattern_is_named(wrong: np.ndarray, sentence: str) -> None:
    assert sentence in hints_for(wrong, RIGHT)[0]


def test_what_has_no_pattern_gets_no_hint() -> None:
    assert hints_for(RANDOM.standard_normal(RIGHT.shape), RIGHT) == []
    assert hints_for(RIGHT, RIGHT) == []
    assert hints_for(RIGHT * (1 + 1e-6), RIGHT) == []


def test_numbers_that_are_none_are_counted() -> None:
    wrong = RIGHT.copy()
    wrong[0, 0, 0, :3] = np.nan
    assert hints_for(wrong, RIGHT) == ["3 of its 3072 values are NaN or infinite"]

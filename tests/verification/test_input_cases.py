"""The images: reproducible, in range, all different."""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
import pytest

from nfexport.verification.image_kinds import GRAIN, IMAGE_KINDS, Bits, normal
from nfexport.verification.input_cases import ORDER, InputCase, default_cases, draw
from tests.verification.toy import PREPROCESSING

SHAPE = (3, 20, 28)
Batch = int | Literal["dynamic"]


def cases(batch: Batch, seed: int = 0, channels: int = 3, size: tuple[int, int] = (20, 28)) -> list[InputCase]:
    return default_cases(seed=seed, batch=batch, in_channels=channels, image_size=size, preprocessing=PREPROCESSING)


def test_the_bytes_are_pinned() -> None:
    """The same seed gives the same images on every machine; goldens may rely on it."""
    digest = hashlib.sha256(b"".join(case.array.tobytes() for case in cases("dynamic"))).hexdigest()
    assert digest == "3c3317e54e1234e80f2367a8fc896753f60d68553d71f4d36b75c2fe100c397d"


def test_a_dynamic_batch_is_run_with_one_entry_and_with_several() -> None:
    found = cases("dynamic")
    assert [(case.name, case.batch) for case in found] == [
        ("normal+gradient+blocks", 3),
        ("day", 1),
        ("flat+noise", 2),
        ("impulses+checkerboard+night", 3),
    ]
    assert all(case.array.shape == (case.batch, *SHAPE) for case in found)
    assert all(case.array.dtype == np.float32 for case in found)


@pytest.mark.parametrize(("batch", "count"), [(1, 9), (2, 5), (3, 3), (4, 3), (16, 1)])
def test_a_fixed_batch_is_run_at_its_own_size_alone(batch: int, count: int) -> None:
    found = cases(batch)
    assert [case.batch for case in found] == [batch] * count
    assert [case.array.shape[0] for case in found] == [batch] * count


@pytest.mark.parametrize("batch", ["dynamic", 9])
def test_no_two_images_and_no_two_channels_are_alike(batch: Batch) -> None:
    planes = [plane.tobytes() for case in cases(batch) for image in case.array for plane in image]
    assert len(set(planes)) == len(planes)


def test_another_seed_draws_other_images() -> None:
    assert not np.array_equal(cases("dynamic", seed=0)[0].array, cases("dynamic", seed=1)[0].array)


@pytest.mark.parametrize("kind", IMAGE_KINDS)
@pytest.mark.parametrize("shape", [SHAPE, (1, 1, 1), (4, 5, 3)])
def test_images_stay_within_the_pixel_range(kind: str, shape: tuple[int, int, int]) -> None:
    image = IMAGE_KINDS[kind](Bits(0, kind), *shape)
    assert image.shape == shape
    assert image.min() >= 0
    assert image.max() <= 1


@pytest.mark.parametrize("kind", IMAGE_KINDS)
def test_no_channel_is_without_texture(kind: str) -> None:
    """GroupNorm divides by the standard deviation of a channel: rounding by rounding where it is none."""
    image = IMAGE_KINDS[kind](Bits(0, kind), 3, 64, 64)
    even = image[:, ::2, ::2]  # what a strided convolution sees of a checkerboard
    assert (even.std(axis=(1, 2)) > GRAIN / 10).all()


def test_images_are_normalised_as_the_preprocessing_says() -> None:
    image = IMAGE_KINDS["noise"](Bits(5, "noise 2"), *SHAPE)
    expected = (image - np.reshape(PREPROCESSING.mean, (3, 1, 1))) / np.reshape(PREPROCESSING.std, (3, 1, 1))
    drawn = draw("noise", 2, seed=5, shape=SHAPE, preprocessing=PREPROCESSING)
    np.testing.assert_array_equal(drawn, expected.astype(np.float32))


def test_mean_and_std_go_round_where_the_network_has_other_channels() -> None:
    assert draw("noise", 0, seed=0, shape=(1, 4, 4), preprocessing=PREPROCESSING).shape == (1, 4, 4)
    four = draw("blocks", 0, seed=0, shape=(4, 8, 8), preprocessing=PREPROCESSING)
    low = -0.485 / 0.229
    assert four[3].min() >= np.float32(low)


def test_normal_has_mean_0_and_standard_deviation_1() -> None:
    values = normal(Bits(0, "x"), 3, 100, 100)
    assert abs(values.mean()) < 0.02  # 30,000 values: standard error 0.006
    assert abs(values.std() - 1) < 0.02
    assert np.abs(values).max() > 3


def test_every_kind_is_used_in_a_large_batch() -> None:
    assert cases(len(ORDER))[0].name == "+".join(ORDER)

"""Pictures are decoded ahead, in order, a few at a time."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nfexport.errors import ImageError
from nfexport.images.prefetch import read_ahead
from nfexport.images.preprocessor import Preprocessor
from nfexport.recipe.recipe import Preprocessing

FORM = Preprocessor(
    input_name="input",
    size=None,
    channels=3,
    preprocessing=Preprocessing(
        mean=(0.0,) * 3, std=(1.0,) * 3, crop_pct=1.0, crop_mode="none", interpolation="none"
    ),
)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    for i in range(40):
        Image.new("RGB", (8 + 400 * (i % 3 == 0), 8), (i, 0, 0)).save(tmp_path / f"{i:02}.png")
    return sorted(tmp_path.iterdir())


def test_order_is_kept_and_errors_stand_where_they_belong(pictures: list[Path]) -> None:
    pictures[7].write_text("no picture")
    found = list(read_ahead(FORM, pictures))
    assert [picture for picture, _ in found] == pictures
    for i, (_, pixels) in enumerate(found):
        if i == 7:
            assert isinstance(pixels, ImageError)
        else:
            assert isinstance(pixels, np.ndarray)
            assert pixels[0, 0, 0] == i


def test_no_more_are_read_than_asked_for(pictures: list[Path]) -> None:
    taken, before = 0, set(threading.enumerate())

    def counted() -> Iterator[Path]:
        nonlocal taken
        for picture in pictures:
            taken += 1
            yield picture

    found = read_ahead(FORM, counted(), ahead=5)
    next(found)
    assert taken == 6
    found.close()
    assert set(threading.enumerate()) <= before


def test_warnings_are_what_they_were_though_many_threads_decode(pictures: list[Path]) -> None:
    before, interval = list(warnings.filters), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that threads meet inside
    try:
        for _ in range(5):
            list(read_ahead(FORM, pictures))
    finally:
        sys.setswitchinterval(interval)
    assert list(warnings.filters) == before

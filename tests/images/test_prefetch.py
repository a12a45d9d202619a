"""Images are decoded ahead, in order, a few at a time."""

from __future__ import annotations

import gc
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

AS_IT_IS = Preprocessor(
    input_name="input",
    size=None,
    channels=3,
    preprocessing=Preprocessing(
        mean=(0.0,) * 3, std=(1.0,) * 3, crop_pct=1.0, crop_mode="none", interpolation="none"
    ),
)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    for i in range(40):
        Image.new("RGB", (8 + 400 * (i % 3 == 0), 8), (i, 0, 0)).save(tmp_path / f"{i:02}.png")
    return sorted(tmp_path.iterdir())


def test_order_is_kept_and_errors_stand_where_they_belong(images: list[Path]) -> None:
    images[7].write_text("no image")
    found = list(read_ahead(AS_IT_IS, images))
    assert [image for image, _ in found] == images
    for i, (_, pixels) in enumerate(found):
        if i == 7:
            assert isinstance(pixels, ImageError)
        else:
            assert isinstance(pixels, np.ndarray)
            assert pixels[0, 0, 0] == i


def test_no_more_are_read_than_asked_for(images: list[Path]) -> None:
    taken, before = 0, set(threading.enumerate())

    def counted() -> Iterator[Path]:
        nonlocal taken
        for image in images:
            taken += 1
            yield image

    found = read_ahead(AS_IT_IS, counted(), ahead=5)
    next(found)
    assert taken == 6
    found.close()
    assert set(threading.enumerate()) <= before


def test_a_generator_that_a_decoding_thread_collects_ends_without_an_error(
    images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception keeps the generator in a cycle, and the garbage collector may run in any thread, also in one that
    decodes: it cannot wait for itself."""
    raised: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: raised.append(unraisable.exc_value))
    started, collected = threading.Event(), threading.Event()

    def read(self: Preprocessor, source: Path) -> np.ndarray:
        if source != images[0]:
            started.wait(10)
            gc.collect()
            collected.set()
        return np.zeros((1, 1, 3), np.uint8)

    monkeypatch.setattr(Preprocessor, "read", read)
    gc.disable()
    try:
        cycle: list[object] = [read_ahead(AS_IT_IS, images, ahead=1)]
        next(cycle[0])  # type: ignore[call-overload]
        cycle.append(cycle)
        del cycle
        started.set()
        assert collected.wait(10)
    finally:
        gc.enable()
    assert raised == []


def test_warnings_are_what_they_were_though_many_threads_decode(images: list[Path]) -> None:
    before, interval = list(warnings.filters), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that threads meet inside
    try:
        for _ in range(5):
            list(read_ahead(AS_IT_IS, images))
    finally:
        sys.setswitchinterval(interval)
    assert list(warnings.filters) == before

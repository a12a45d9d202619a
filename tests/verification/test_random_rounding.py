"""Random rounding: one unit at most, on what depends on the input, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pytest
import torch

from nfexport.verification.random_rounding import PERIOD, RandomRounding
from nfexport.verification.tolerance import UNIT

Result = TypeVar("Result")


def run(function: Callable[[torch.Tensor], Result], image: torch.Tensor, seed: int = 0) -> Result:
    with torch.inference_mode(), RandomRounding(seed, image):
        return function(image)


def test_a_result_is_off_by_a_unit_in_the_last_place_at_most() -> None:
    image = torch.linspace(1, 2, 2 * PERIOD + 5)
    result = run(lambda x: x * 4, image)
    error = ((result.double() - 4 * image.double()) / (4 * image.double())).numpy()
    assert np.abs(error).max() <= 1.5 * UNIT  # the factor's own unit, and the rounding of the product
    assert 0.5 * UNIT < np.sqrt((error**2).mean()) < UNIT
    assert abs(error.mean()) < 0.01 * UNIT  # 131,079 errors of 0.7 units: standard error 0.002


def test_the_seed_decides() -> None:
    image = torch.linspace(1, 2, 1000)
    assert torch.equal(run(torch.sqrt, image), run(torch.sqrt, image))
    assert not torch.equal(run(torch.sqrt, image), run(torch.sqrt, image, seed=1))


def test_two_operators_get_different_errors() -> None:
    image = torch.linspace(1, 2, 1000)
    first, second = run(lambda x: (x * 2, x * 2), image)
    assert not torch.equal(first, second)


def test_a_lucky_exact_run_no_longer_looks_exact() -> None:
    image = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    convolution = torch.nn.Conv2d(3, 3, 1, groups=3, bias=False)
    torch.nn.init.constant_(convolution.weight, 2.0)
    with torch.inference_mode():
        assert torch.equal(convolution(image), 2 * image)
    assert not torch.equal(run(convolution, image), 2 * image)


def test_whole_numbers_that_do_not_depend_on_the_image_stay_exact() -> None:
    """XCiT and EdgeNeXt take floor(k / 2) of a grid: a unit less is a whole step less."""

    def positions(x: torch.Tensor) -> torch.Tensor:
        return torch.floor(torch.arange(64, dtype=torch.float32) * 2 / 2)

    assert torch.equal(run(positions, torch.zeros(1)), torch.arange(64, dtype=torch.float32))


def test_weights_computed_from_parameters_are_rounded_too() -> None:
    weight = torch.nn.Parameter(torch.linspace(1, 2, 100))
    with torch.no_grad():
        assert not torch.equal(run(lambda _: weight * 2, torch.zeros(1)), weight * 2)


def test_views_keep_their_memory_and_parameters_their_values() -> None:
    weight = torch.nn.Parameter(torch.ones(4))

    def write_through_a_view(x: torch.Tensor) -> torch.Tensor:
        y = x.clone()
        y[1:].zero_()
        return y

    result = run(write_through_a_view, torch.ones(4))
    assert result[1:].eq(0).all()
    run(lambda _: weight.to(torch.float32) + weight.detach(), torch.zeros(1))
    assert torch.equal(weight, torch.ones(4))
    assert not vars(weight)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), 0.0])
def test_infinities_and_zeros_stay(value: float) -> None:
    result = run(lambda x: torch.nn.functional.pad(x, (1, 1), value=value), torch.ones(1, 4))
    assert result[0, 0].item() == value

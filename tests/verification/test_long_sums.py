"""The yardstick of a long sum is what adding up one by one costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from nfexport.verification.long_sums import LONG, long_sum

UNIT = 2.0**-23


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (torch.Tensor.mean, {"dim": (2, 3)}),
        (torch.mean, {"dim": [-2, -1], "keepdim": True}),
        (torch.sum, {"dim": (2, 3)}),
        (functional.adaptive_avg_pool2d, {"output_size": 1}),
        (torch.mean, {}),
    ],
)
def test_it_is_the_sum_and_its_error_is_that_of_a_loop(function: Any, options: dict[str, Any]) -> None:
    x = torch.full((2, 3, 96, 144), 0.3)
    plain = function(x, **options)
    looped = long_sum(function, (x,), options, plain)
    exact = function(x.double(), **options).numpy()
    error = np.abs(looped.numpy() - exact).max() / np.abs(exact).max() / UNIT
    assert looped.shape == plain.shape
    # PyTorch is within a few units; ONNX Runtime, which adds in a loop too, was measured at 143
    assert 50 < error < 20_000
    assert np.abs(plain.numpy() - exact).max() / np.abs(exact).max() / UNIT < 4


@pytest.mark.parametrize("size", [(8, 8), (30, 30)])
def test_short_sums_are_left_alone(size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size)
    plain = x.mean((2, 3))
    assert size[0] * size[1] < LONG
    assert long_sum(torch.Tensor.mean, (x, (2, 3)), {}, plain) is plain


def test_other_functions_and_types_are_left_alone() -> None:
    x = torch.rand(4, 4096)
    for function, tensor in ((torch.relu, x), (torch.mean, x.double())):
        result = function(tensor)
        assert long_sum(function, (tensor,), {}, result) is result


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (functional.group_norm, {"num_groups": 2, "weight": torch.rand(4) + 0.5, "bias": torch.randn(4)}),
        (functional.instance_norm, {"weight": torch.rand(4) + 0.5, "bias": torch.randn(4)}),
        (functional.layer_norm, {"normalized_shape": [4, 256, 192], "weight": torch.rand(4, 256, 192), "eps": 1e-6}),
        (functional.layer_norm, {"normalized_shape": [256, 192]}),
    ],
)
def test_the_statistics_of_a_normalisation_are_long_sums(function: Any, arguments: dict[str, Any]) -> None:
    x = torch.rand(2, 4, 256, 192, generator=torch.Generator().manual_seed(0))
    plain = function(x, **arguments)
    looped = long_sum(function, (x,), arguments, plain)
    widened = {
        name: value.double() if isinstance(value, torch.Tensor) else value for name, value in arguments.items()
    }
    exact = function(x.double(), **widened)
    error = float((looped.double() - exact).abs().max() / np.ptp(exact.numpy()))
    assert looped.shape == plain.shape
    assert error < 1e-3
    # PyTorch combines the statistics of pieces, and is much closer
    assert error > 3 * float((plain.double() - exact).abs().max() / np.ptp(exact.numpy()))


def test_short_normalisations_are_left_alone() -> None:
    x = torch.rand(2, 8, 7, 7)
    for function, arguments in ((functional.group_norm, (2,)), (functional.layer_norm, ([7],))):
        plain = function(x, *arguments)
        assert long_sum(function, (x, *arguments), {}, plain) is plain

"""The figures of a comparison, and what can never pass."""

from __future__ import annotations

import numpy as np
import pytest

from nfexport.verification.comparison import Comparison, compare, cosine, top_agreement
from nfexport.verification.tolerance import FixedTolerance, Float32Tolerance, output_range

EXPECTED = np.array([[0.0, 1.0, 4.0, 2.0], [10.0, 30.0, 20.0, 0.0]])
FLOAT32 = [EXPECTED + np.array([[1e-6], [2e-5]])]


def judge(actual: np.ndarray, expected: np.ndarray = EXPECTED, runs: list[np.ndarray] = FLOAT32) -> Comparison:
    return compare(np.asarray(actual), expected, runs, Float32Tolerance())


def test_figures_are_those_of_the_worst_image_in_units_of_its_own_range() -> None:
    found = judge(EXPECTED + np.array([[0, 0, 0, 4e-6], [3e-5, 0, 0, 0]]))
    assert found.max_abs == pytest.approx(3e-5)
    assert found.max_relative == pytest.approx(1e-6)  # 4e-6 of 4 and 3e-5 of 30
    assert found.rms_relative == pytest.approx(0.5e-6)
    assert found.yardstick_relative == pytest.approx(2e-5 / 30)
    assert found.limit_relative == pytest.approx(5 * 2e-5 / 30)
    assert found.excess == pytest.approx(4e-6 / 5e-6)
    assert found.passed
    assert found.reason == ""


def test_an_image_of_small_outputs_is_not_hidden_by_one_of_large_outputs() -> None:
    found = judge(EXPECTED + np.array([[0, 0, 0, 2e-5], [0, 0, 0, 0]]))
    assert not found.passed
    assert found.reason == "its error is 4 times what is allowed"
    wrongly_pooled = np.abs(FLOAT32[0] - EXPECTED).max() * 5
    assert wrongly_pooled > 2e-5


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_never_passes(value: float) -> None:
    actual = EXPECTED.copy()
    actual[1, 2] = value
    for rule in (Float32Tolerance(), FixedTolerance(rtol=np.inf, atol=np.inf)):
        found = compare(actual, EXPECTED, FLOAT32, rule)
        assert not found.passed
        assert not found.finite
        assert found.reason == "1 of 8 values are not finite"
    nowhere = compare(actual, actual, [actual], Float32Tolerance())
    assert not nowhere.passed


def test_a_model_that_is_not_finite_itself_proves_nothing() -> None:
    found = judge(EXPECTED, np.where(EXPECTED > 20, np.nan, EXPECTED))
    assert not found.passed
    assert found.reason == "the PyTorch model itself gives values that are not finite"


def test_another_shape_never_passes_even_if_it_would_broadcast() -> None:
    found = judge(EXPECTED[:1], np.broadcast_to(EXPECTED[:1], (2, 4)))
    assert not found.passed
    assert found.reason == "its shape is (1, 4) instead of (2, 4)"
    assert found.severity == float("inf")


def test_cosine_and_top_1_agree_where_the_file_is_4_percent_wrong() -> None:
    rng = np.random.default_rng(0)
    expected = rng.normal(size=(3, 1000))
    wrong = expected + 0.02 * rng.normal(size=expected.shape)
    found = compare(wrong, expected, [expected * (1 + 1e-7)], Float32Tolerance())
    assert found.cosine is not None
    assert found.cosine > 0.9997
    assert found.top1 == 1
    assert not found.passed
    assert found.severity > 1000


def test_output_range_falls_back_where_there_is_none() -> None:
    expected = np.array([[1.0, 3.0], [-2.0, -2.0], [0.0, 0.0]])
    np.testing.assert_array_equal(output_range(expected), [2, 2, 1])


def test_cosine_of_zeros() -> None:
    zero, one = np.zeros((1, 3)), np.ones((1, 3))
    assert cosine(zero, zero) == 1
    assert cosine(zero, one) == 0
    assert cosine(-one, one) == pytest.approx(-1)


def test_top_agreement_compares_sets() -> None:
    expected = np.array([[5.0, 4, 3, 2, 1, 0], [0, 1, 2, 3, 4, 5]])
    swapped = np.array([[4.0, 5, 3, 2, 1, 0], [0, 1, 2, 3, 4, 5]])
    assert top_agreement(swapped, expected, 1) == 0.5
    assert top_agreement(swapped, expected, 5) == 1
    assert top_agreement(-expected, expected, 5) == 0
    assert top_agreement(expected[:, :2], expected[:, :2], 5) == 1  # fewer classes than five


def test_feature_maps_have_no_top_classes() -> None:
    maps = np.random.default_rng(0).normal(size=(2, 3, 4, 4))
    found = compare(maps, maps, [maps], Float32Tolerance())
    assert found.passed
    assert (found.top1, found.top5) == (None, None)

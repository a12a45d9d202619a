"""The rule: what it allows, what it does not, and that either of its two bounds can refuse."""

from __future__ import annotations

import numpy as np
import pytest

from nfexport.verification.tolerance import (
    FACTOR,
    FLOOR_MAX,
    FLOOR_RMS,
    UNIT,
    FixedTolerance,
    Float32Tolerance,
    Yardstick,
    measure,
)

EXPECTED = np.random.default_rng(0).normal(size=(2, 1000))
YARDSTICK = Yardstick(max_abs=np.array([1e-5, 1e-5]), rms=np.array([2e-6, 2e-6]))


def excess(error: np.ndarray, yardstick: Yardstick = YARDSTICK, expected: np.ndarray = EXPECTED) -> np.ndarray:
    return Float32Tolerance().judge(expected + error, expected, yardstick).excess


def test_the_yardstick_is_the_worst_run_on_each_image() -> None:
    expected = np.zeros((2, 4))
    runs = [np.array([[1.0, 0, 0, 0], [0, 0, 0, 0]]), np.array([[0.5, 0.5, 0.5, -0.5], [0, 0, -3, 0]])]
    found = measure(runs, expected)
    np.testing.assert_allclose(found.max_abs, [1, 3])
    np.testing.assert_allclose(found.rms, [0.5, 1.5])


def test_one_element_at_the_limit_passes_and_beyond_it_fails() -> None:
    error = np.zeros((2, 1000))
    error[0, 3] = FACTOR * 1e-5
    np.testing.assert_allclose(excess(error), [1, 0], rtol=1e-9)
    assert excess(1.01 * error)[0] > 1


def test_a_small_error_everywhere_fails_by_its_root_mean_square() -> None:
    """Each element is far within the elementwise limit of 5e-5."""
    error = np.full((2, 1000), 1.1 * FACTOR * 2e-6)
    np.testing.assert_allclose(excess(error), [1.1, 1.1], rtol=1e-9)


def test_each_image_is_judged_by_its_own_yardstick() -> None:
    error = np.zeros((2, 1000))
    error[:, 0] = 4e-5
    loose_first = Yardstick(max_abs=np.array([1e-3, 1e-6]), rms=np.array([1e-4, 1e-4]))
    found = excess(error, loose_first)
    assert found[0] < 1 < found[1]


def test_where_pytorch_is_exact_a_few_units_in_the_last_place_are_allowed() -> None:
    exact = Yardstick(max_abs=np.zeros(2), rms=np.zeros(2))
    unit = UNIT * np.abs(EXPECTED).max(axis=1, keepdims=True)
    one = np.zeros((2, 1000))
    one[:, 0] = 1
    np.testing.assert_allclose(excess(FLOOR_MAX * unit * one, exact), [1, 1], rtol=1e-6)
    np.testing.assert_allclose(excess(FLOOR_RMS * unit * np.ones((2, 1000)), exact), [1, 1], rtol=1e-6)


def test_the_rule_does_not_depend_on_the_scale_of_the_output() -> None:
    error = np.random.default_rng(1).normal(size=(2, 1000)) * 1e-5
    scaled = Yardstick(max_abs=1e6 * YARDSTICK.max_abs, rms=1e6 * YARDSTICK.rms)
    np.testing.assert_allclose(excess(error), excess(1e6 * error, scaled, 1e6 * EXPECTED))


def test_no_error_is_within_any_limit() -> None:
    nothing = Yardstick(max_abs=np.zeros(2), rms=np.zeros(2))
    zero = np.zeros((2, 3))
    np.testing.assert_array_equal(excess(zero, nothing, zero), [0, 0])
    assert np.isinf(excess(zero + 1e-30, nothing, zero)).all()


@pytest.mark.parametrize("seed", range(20))
def test_a_fixed_bound_is_numpys_allclose(seed: int) -> None:
    rng = np.random.default_rng(seed)
    expected = rng.normal(size=(1, 50))
    actual = expected + rng.normal(size=(1, 50)) * 4e-3
    rule = FixedTolerance(rtol=1e-2, atol=5e-3)
    judged = rule.judge(actual, expected, YARDSTICK).excess[0] <= 1
    assert judged == np.allclose(actual, expected, rtol=1e-2, atol=5e-3)


def test_both_rules_occur_in_the_fixed_bound_test() -> None:
    """The test above has cases of both outcomes."""
    outcomes = set()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        expected = rng.normal(size=(1, 50))
        outcomes.add(np.allclose(expected + rng.normal(size=(1, 50)) * 4e-3, expected, rtol=1e-2, atol=5e-3))
    assert outcomes == {True, False}


def test_rules_say_what_they_are() -> None:
    assert Float32Tolerance().describe() == "5 times PyTorch's own float32 error"
    assert FixedTolerance(rtol=1e-3, atol=0).describe() == "rtol 0.001, atol 0"

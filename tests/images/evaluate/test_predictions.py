"""The best classes of a batch, ties and NaN included."""

from __future__ import annotations

import numpy as np
import pytest

from nfexport.images.evaluate.predictions import NO_CLASS, ClassOutputs, Predictions, difference, rank

NAN = float("nan")


def test_of_equal_scores_the_lower_class_comes_first() -> None:
    scores = np.array([[1, 3, 3, 2, 3, 2, 0], [0, 0, 0, 0, 0, 0, 0]], np.float32)
    found = rank(scores, probabilities=False)
    assert found.top.tolist() == [[1, 2, 4, 3, 5], [0, 1, 2, 3, 4]]
    assert found.top[:, 0].tolist() == scores.argmax(axis=1).tolist()


def test_half_precision_and_infinity_have_an_order() -> None:
    scores = np.array([[-np.inf, 60000, np.inf]], np.float16)
    assert rank(scores, probabilities=False).top.tolist() == [[2, 1, 0]]


def test_a_nan_leaves_no_best_class() -> None:
    found = rank(np.array([[0, 9, NAN], [0, 9, 1]], np.float32), probabilities=False)
    assert found.top.tolist() == [[NO_CLASS, NO_CLASS, NO_CLASS], [1, 2, 0]]
    topk = ClassOutputs(depth=2, values="v", indices="i").predictions(
        {"v": np.array([[NAN, 0.1], [0.5, 0.1]], np.float32), "i": np.array([[4, 2], [1, 3]])}
    )
    assert topk.top.tolist() == [[NO_CLASS, NO_CLASS], [1, 3]]


def test_probabilities_are_compared_not_logits() -> None:
    first = rank(np.array([[0.0, np.log(3.0)], [1.0, 1.0]]), probabilities=False)
    second = rank(np.array([[0.5, 0.5], [NAN, 0.5]]), probabilities=True)
    got = difference(first, second)
    assert got[0] == pytest.approx(0.25, abs=1e-12)
    assert got[1] is None


def test_of_a_topk_the_classes_count_that_both_have() -> None:
    all_classes = rank(np.array([[0.1, 0.6, 0.3]]), probabilities=True)
    best = Predictions(
        top=np.array([[1, 2]], np.int32), classes=np.array([[1, 2]]), probabilities=np.array([[0.6, 0.1]])
    )
    assert difference(all_classes, best) == [pytest.approx(0.2)]
    assert difference(best, all_classes) == [pytest.approx(0.2)]
    alone = Predictions(top=np.array([[0]], np.int32), probabilities=None)
    assert difference(alone, best) == [None]

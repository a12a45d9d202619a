"""Batches are added up: what is not known counts for nothing."""

from __future__ import annotations

import numpy as np

from nfexport.images.evaluate.batches import BatchRecord
from nfexport.images.evaluate.predictions import NO_CLASS
from nfexport.images.evaluate.tally import Tally

FIVE = [4, 3, 2, 1, 0]
NAN = [NO_CLASS] * 5


def tally(top: dict[str, list[list[int]]], differences: list[float | None]) -> Tally:
    result = Tally(np.array([4, 4, 3, 9], np.int32), {name: len(best[0]) for name, best in top.items()})
    record = BatchRecord(batch=0, read=[0, 1, 3], top=top, difference={"b": differences}, skipped=[(2, "gone")])
    result.add(record)
    return result


def test_two_nans_are_no_agreement() -> None:
    both = tally({"a": [FIVE, NAN, FIVE], "b": [FIVE, NAN, [4, 3, 2, 0, 1]]}, [0.25, None, 0.5])
    (agreement,) = both.agreements(full=5)
    assert (agreement.top1, agreement.top5, agreement.largest_difference) == (200 / 3, 100 / 3, 0.5)
    scores = both.scores({"a": "1", "b": "2"}, full=5)
    assert [(score.top1, score.top5, score.not_a_number) for score in scores] == [(100 / 3, 100 / 3, 1)] * 2
    assert both.read == 3
    assert both.skipped == [(2, "gone")]


def test_few_classes_tell_no_top_5() -> None:
    both = tally({"a": [[4, 3], [3, 4], [0, 1]], "b": [FIVE, FIVE, FIVE]}, [None, None, None])
    (agreement,) = both.agreements(full=5)
    assert (agreement.top1, agreement.top5, agreement.largest_difference) == (100 / 3, None, None)
    assert [score.top5 for score in both.scores({"a": "1", "b": "2"}, full=5)] == [None, 200 / 3]
    assert both.scores({"a": "1", "b": "2"}, full=2)[0].top5 == 200 / 3


def test_the_confusion_given_most_often_is_named() -> None:
    both = tally({"a": [[7], [7], [5]], "b": [FIVE, FIVE, FIVE]}, [None, None, None])
    four, nine = both.classes([f"name {index}" for index in range(10)])
    assert (four.index, four.label, four.images, four.confused_with, four.confusions) == (4, "name 4", 2, 7, 2)
    assert (nine.index, nine.top1, nine.confused_with) == (9, 0, 5)

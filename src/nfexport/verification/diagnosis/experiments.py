"""Faults that show if the file is given changed inputs, or runs without optimisations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from nfexport.runtimes import Session
from nfexport.runtimes.session.in_memory import open_in_memory
from nfexport.verification.input_cases import InputCase
from nfexport.verification.model_under_test import ImageModelUnderTest, ModelUnderTest
from nfexport.verification.tolerance import Tolerance
from nfexport.verification.verifier import compare_with

if TYPE_CHECKING:
    from nfexport.verification.torch_reference import Reference

Array = NDArray[Any]
BYTE = 255.0


def conclusions(
    model: onnx.ModelProto, case: InputCase, reference: Reference, under_test: ModelUnderTest, tolerance: Tolerance
) -> list[str]:
    """Return the conditions under which a file that fails on a batch agrees: changed inputs, or no optimisations.

    reference is what PyTorch computes on the batch."""
    plain = open_in_memory(model, optimise=False)
    if _agrees(plain, case, reference, under_test, tolerance):
        return ["without ONNX Runtime's optimisations the file agrees, so one of them is wrong for this file"]
    if not isinstance(under_test, ImageModelUnderTest):
        return []
    session = open_in_memory(model)
    return [
        f"the file agrees if {condition}: {meaning}"
        for condition, meaning, change in _changes(under_test)
        if _agrees(session, case.with_arrays([change(case.array)]), reference, under_test, tolerance)
    ]


def _agrees(
    session: Session,
    case: InputCase,
    reference: Reference,
    under_test: ModelUnderTest,
    tolerance: Tolerance,
) -> bool:
    """Say whether a file computes on a changed batch what PyTorch computes on the original one, in either order of
    its entries. A file that stops, as for another size, does not."""
    return all(r.comparison.passed for r in compare_with(reference, session, case, under_test, tolerance))


def _changes(under_test: ImageModelUnderTest) -> Iterator[tuple[str, str, Callable[[Array], Array]]]:
    """Yield each change of the input in words, what it means if the file then agrees, and the change itself."""
    axis = 3 if any(step.params.get("layout") == "nhwc" for step in under_test.steps) else 1
    yield (
        "the channels of its input are reversed",
        "it takes BGR where the recipe says RGB, or the reverse",
        lambda array: np.flip(array, axis),
    )
    yield (
        "height and width of its input are swapped",
        "a transposition is missing, or there is one too many",
        lambda array: np.swapaxes(array, axis % 3 + 1, axis % 3 + 2),
    )
    yield "its input is multiplied by 255", "it takes 0..255 where the recipe says 0..1", lambda array: array * BYTE
    yield "its input is divided by 255", "it takes 0..1 where the recipe says 0..255", lambda array: array / BYTE
    shape = [1, 1, 1, 1]
    shape[axis] = -1
    mean, std = (
        np.resize(np.asarray(numbers, np.float64), under_test.in_channels).reshape(shape)
        for numbers in (under_test.preprocessing.mean, under_test.preprocessing.std)
    )
    yield (
        "its input is not normalised",
        "it normalises once more than the recipe says",
        lambda array: array * std + mean,
    )
    yield (
        "its input is normalised once more",
        "it does not normalise where the recipe says so",
        lambda array: (array - mean) / std,
    )

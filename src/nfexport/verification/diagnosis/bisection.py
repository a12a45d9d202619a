"""Compare a file with its PyTorch model tensor by tensor, on one batch: from one run of each."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence, Set
from typing import TYPE_CHECKING, Any

import onnx
from numpy.typing import NDArray

from nfexport.verification.diagnosis.capture import capture
from nfexport.verification.diagnosis.file_tensors import run_exposed
from nfexport.verification.diagnosis.hints import hints_for
from nfexport.verification.diagnosis.localisation import Located, locate
from nfexport.verification.diagnosis.step_matches import DIFFERS, SAME, SCALED, Steps
from nfexport.verification.model_under_test import ModelUnderTest
from nfexport.verification.tolerance import default_tolerance

if TYPE_CHECKING:
    import torch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bisection:
    """The result on one batch: every tensor in the file's order, the first node at fault, None if there is none,
    and hints at the kind of its fault."""

    case: str
    batch: int
    tensors: tuple[Located, ...]
    culprit: Located | None
    hints: tuple[str, ...] = ()

    def count(self, how: str) -> int:
        """Return how many tensors are 'same', 'scaled' or 'differs'."""
        return Counter(entry.match.how for entry in self.tensors)[how]

    def summary(self) -> str:
        """Return the result as one sentence, without a full stop at its end."""
        same, scaled, total = self.count(SAME), self.count(SCALED), len(self.tensors)
        known = f"{same} of {total} tensors in the file are steps of the model"
        if scaled:
            known += f", {scaled} are multiples of one"
        if self.culprit is None:
            return f"{known}, and none of the others is at fault"
        entry = self.culprit
        shape = " × ".join(map(str, entry.shape))
        error = "" if entry.match.relative == float("inf") else f", {entry.match.relative:.1e} of its range off"
        return f"the first node at fault is {entry.node} ({entry.operator}, {shape}{error}); {known}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values for JSON."""
        return {
            "summary": self.summary(),
            "case": self.case,
            "batch": self.batch,
            "culprit": None if self.culprit is None else self.culprit.to_dict(),
            "hints": list(self.hints),
            "tensors": [entry.to_dict() for entry in self.tensors],
        }


def steps_of(
    module: torch.nn.Module, arrays: Sequence[NDArray[Any]], under_test: ModelUnderTest, *, on_weights: bool = True
) -> Steps:
    """Run the module on a batch that the file takes, and return its steps, ready to be searched.

    on_weights: the file computes its weights."""
    rule = default_tolerance(under_test.precision)
    steps = capture(module, under_test.to_network(arrays), unit=rule.unit, on_weights=on_weights)
    batch = len(arrays[0]) if arrays[0].ndim else None
    return Steps(steps, rule, scaled=under_test.factors_moved, batch=batch)


def bisect(
    model: onnx.ModelProto,
    arrays: Sequence[NDArray[Any]],
    under_test: ModelUnderTest,
    steps: Steps,
    *,
    case: str = "",
    foreign: Set[str] = frozenset(),
) -> Bisection:
    """Locate the first node of a model whose output is not what PyTorch computes, given a batch for its input.

    case names the batch; foreign are initializers that check_weights found not to be the model's.
    Raises OnnxFileError if ONNX Runtime refuses the model or stops in it."""
    tensors = run_exposed(model, under_test.feeds(arrays))
    found, culprit = locate(tensors, steps, foreign=foreign)
    hints: list[str] = []
    if culprit is not None:
        actual = tensors.values[culprit.tensor]
        if culprit.match.how == DIFFERS:
            # nearest in value first, then in direction: a factor or a shift may have moved it far
            likely = [step for step in (culprit.match.step, steps.nearest(actual)) if step is not None]
            hints = next((found_hints for step in likely if (found_hints := hints_for(actual, step.exact))), [])
    return Bisection(
        case=case,
        batch=len(arrays[0]) if arrays[0].ndim else 1,
        tensors=tuple(found),
        culprit=culprit,
        hints=tuple(hints),
    )

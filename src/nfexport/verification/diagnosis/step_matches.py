"""Which tensor of a file is which step of the PyTorch model, by its values: names and nodes may differ.

A tensor is a step if it holds the same numbers in the same order, to within what the verifier allows: five times
what float32 costs at that step. Shapes may differ, as Flatten and Reshape change no numbers. Where constant
factors were moved through the network (fold-scales), a tensor may also be a step times one constant, or times
one for each channel.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nfexport.verification.tolerance import Float32Tolerance, measure, per_image

if TYPE_CHECKING:
    from nfexport.verification.diagnosis.capture import Step

PROBES = 64
"""Elements that are compared before whole tensors are."""

SAME, SCALED, DIFFERS = "same", "scaled", "differs"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Match:
    """The step that a tensor equals (same) or is a multiple of (scaled), or is nearest to (differs).

    excess is the error in units of what is allowed; relative the largest error in units of the step's range."""

    how: str
    step: Step | None
    excess: float
    relative: float


NOWHERE = Match(how=DIFFERS, step=None, excess=float("inf"), relative=float("inf"))


class Steps:
    """The steps of a model, indexed by their size."""

    def __init__(
        self, steps: Sequence[Step], tolerance: Float32Tolerance, *, scaled: bool, batch: int | None = None
    ) -> None:
        self._tolerance = tolerance
        self._scaled = scaled
        self._batch = batch
        self._by_size: dict[int, list[_Candidate]] = {}
        for step in steps:
            self._by_size.setdefault(step.exact.size, []).append(_Candidate(step))

    def match(self, tensor: NDArray[Any]) -> Match:
        """Return the step that a tensor of the file, [batch, …], is or is nearest to."""
        candidates = self._by_size.get(tensor.size, [])
        if not candidates or not np.isfinite(tensor).all():
            return NOWHERE
        probe = _probe(tensor)
        ranked = sorted(candidates, key=lambda candidate: candidate.distance(probe))
        best = NOWHERE
        for candidate in ranked[:4]:
            found = self._compare(tensor.reshape(candidate.step.exact.shape), candidate.step)
            if found.how == SAME:
                return found
            best = min(best, found, key=lambda match: match.excess)
        if self._scaled:
            for candidate in sorted(candidates, key=lambda candidate: candidate.angle(probe)):
                found = self._compare_scaled(tensor, candidate.step)
                if found.how == SCALED:
                    return found
        return best

    def nearest(self, tensor: NDArray[Any]) -> Step | None:
        """Return the step of the same shape with the largest cosine; None if there is none."""
        flat = tensor.reshape(-1).astype(np.float64)
        alike = [c.step for c in self._by_size.get(tensor.size, []) if c.step.exact.shape == tensor.shape]
        if not alike or not np.isfinite(flat).all():
            return None

        def cosine(step: Step) -> float:
            norm = float(np.linalg.norm(step.exact)) or 1.0
            return abs(float(flat @ step.exact.reshape(-1))) / norm

        return max(alike, key=cosine)

    def _compare(self, tensor: NDArray[Any], step: Step, factor: NDArray[Any] | None = None) -> Match:
        expected, runs = step.exact, step.float32
        if factor is not None:
            expected, runs = expected * factor, tuple(run * factor for run in runs)
        if expected.ndim == 0 or expected.shape[0] == 0:
            return NOWHERE
        if self._batch is not None and expected.shape[0] != self._batch:
            # a weight, or what follows from weights: its filters are no entries of a batch with limits of their own
            expected, tensor = expected.reshape(1, -1), tensor.reshape(1, -1)
            runs = tuple(run.reshape(1, -1) for run in runs)
        judgement = self._tolerance.judge(tensor, expected, measure(runs, expected))
        excess = float(judgement.excess.max())
        span = float(np.ptp(expected)) or float(np.abs(expected).max()) or 1.0
        relative = float(np.abs(per_image(tensor) - per_image(expected)).max()) / span
        how = DIFFERS if excess > 1 else SAME if factor is None else SCALED
        return Match(how=how, step=step, excess=excess, relative=relative)

    def _compare_scaled(self, tensor: NDArray[Any], step: Step) -> Match:
        shape = step.exact.shape
        if len(shape) < 2 or tensor.shape != shape:
            return NOWHERE
        best = NOWHERE
        for axis in {1, len(shape) - 1}:
            others = tuple(i for i in range(len(shape)) if i != axis)
            squares = (step.exact * step.exact).sum(others, keepdims=True)
            products = (step.exact * tensor.astype(np.float64)).sum(others, keepdims=True)
            factor = np.divide(products, squares, out=np.zeros_like(products), where=squares > 0)
            if factor.size * 2 > tensor.size:
                continue  # as many factors as numbers: anything would match
            found = self._compare(tensor, step, factor)
            best = min(best, found, key=lambda match: match.excess)
        return best


class _Candidate:
    def __init__(self, step: Step) -> None:
        self.step = step
        self._probe = _probe(step.exact)
        self._size = float(np.abs(self._probe).max()) or 1.0
        self._norm = float(np.linalg.norm(self._probe)) or 1.0

    def distance(self, probe: NDArray[np.float64]) -> float:
        return float(np.abs(probe - self._probe).max()) / self._size

    def angle(self, probe: NDArray[np.float64]) -> float:
        norm = float(np.linalg.norm(probe)) or 1.0
        return 1.0 - abs(float(probe @ self._probe)) / (norm * self._norm)


def _probe(tensor: NDArray[Any]) -> NDArray[np.float64]:
    """Return elements spread over the tensor, by strides that do not coincide with its axes."""
    flat = tensor.reshape(-1)
    where = (np.arange(min(PROBES, flat.size), dtype=np.int64) * 2654435761) % flat.size
    return np.asarray(flat[where], dtype=np.float64)

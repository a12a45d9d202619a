"""What PyTorch computes on one batch, asked for once by all that are judged by it, and measured better where it has
to.

One run with random rounding misses an error that lives in a few of 1,000 outputs. So where a result is beyond what is
allowed by little, more runs are made, and it is judged again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from nfexport.verification.tolerance import Float32Tolerance, Tolerance
from nfexport.verification.verification_report import CaseResult

if TYPE_CHECKING:
    import torch

    from nfexport.verification.file_preprocessing import NetworkImages
    from nfexport.verification.torch_reference import Reference

MARGINAL = 10.0
"""Errors, in units of what is allowed, up to which the yardstick is measured again: 26 of 160 right files of softmax
scores were beyond that of one run, 2.7 times at most."""


class Referee:
    """The reference of one batch. module and images are those of torch_reference.evaluate, names are the outputs that
    the module returns, unit is the relative rounding of the arithmetic that is judged."""

    def __init__(
        self, module: torch.nn.Module, images: Sequence[NetworkImages], names: Sequence[str], *, unit: float
    ) -> None:
        self._module, self._images, self._names, self._unit = module, images, names, unit
        self._surer: Reference | None = None

    @property
    def reference(self) -> Reference:
        """What is known of the batch so far."""
        return self._surer or self._first

    @functools.cached_property
    def _first(self) -> Reference:
        from nfexport.verification.torch_reference import evaluate

        return evaluate(self._module, self._images, self._names, unit=self._unit)

    def judge(self, tolerance: Tolerance, judged: Callable[[Reference], Iterable[CaseResult]]) -> list[CaseResult]:
        """Return how a file compares with the reference, by a yardstick of more runs where the first is too short.

        judged compares it with a reference, under the tolerance."""
        found = list(judged(self.reference))
        if self._surer is None and is_marginal(found, tolerance):
            from nfexport.verification.torch_reference import with_more_runs

            self._surer = with_more_runs(self._module, self._images, self._first, unit=self._unit)
            found = list(judged(self._surer))
        return found


def is_marginal(results: Iterable[CaseResult], tolerance: Tolerance) -> bool:
    """Say whether an output is beyond what is allowed by so little that the yardstick has to be measured better."""
    return isinstance(tolerance, Float32Tolerance) and any(
        1.0 < result.comparison.severity <= MARGINAL for result in results
    )

"""Whether the verification of a file notices faults: shown on copies of the file with one fault each.

All of these faults have an effect, and are small: what `nfexport verify` overlooks here it would overlook in the
file itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from nfexport.errors import OnnxFileError
from nfexport.runtimes.session.in_memory import open_in_memory
from nfexport.verification.faults import Fault, all_faults, inject
from nfexport.verification.model_under_test import ModelUnderTest
from nfexport.verification.verifier import Computed, compare_with, reference_for

if TYPE_CHECKING:
    import torch

KINDS = (
    "a weight 1 % too large",
    "a weight with 1 % of noise",
    "two output channels swapped",
    "a mean left in the filters",
    "a branch of a sum at 0.99",
    "padding shifted down by one",
    "a hard Sigmoid",
    "Gelu by tanh",
    "BGR for RGB",
    "two classes swapped",
)
"""Kinds of faults that show on any image, wherever they are."""

COARSE = ("padding shifted down by one", "BGR for RGB", "two classes swapped")
"""Those that also show in a file of float16 arithmetic, whose rounding hides smaller ones."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """One fault: where it was put, whether it was noticed, and the error in units of what is allowed.

    excess is None where there was nothing to compare, such as where the runtime refused the file."""

    kind: str
    node: str
    noticed: bool
    excess: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelfTest:
    """Every fault that was tried on a file."""

    trials: tuple[Trial, ...]

    @property
    def passed(self) -> bool:
        """True if there was at least one fault, and each was noticed."""
        return bool(self.trials) and all(trial.noticed for trial in self.trials)

    def summary(self) -> str:
        """Return the result as one sentence, without a full stop at its end."""
        noticed = sum(trial.noticed for trial in self.trials)
        if self.passed:
            return f"all {noticed} faults put into copies of the file were noticed"
        missed = [f"{trial.kind} at {trial.node}" for trial in self.trials if not trial.noticed]
        return f"{noticed} of {len(self.trials)} faults were noticed, and not: {', '.join(missed) or 'none applied'}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values for JSON."""
        return {
            "passed": self.passed,
            "summary": self.summary(),
            "trials": [dataclasses.asdict(trial) for trial in self.trials],
        }


def self_test(
    module: torch.nn.Module,
    model: onnx.ModelProto,
    under_test: ModelUnderTest,
    *,
    seed: int = 0,
    computed: Sequence[Computed] = (),
    progress: Callable[[str], None] | None = None,
) -> SelfTest:
    """Put one fault of each kind that applies into copies of a file, and compare each with the module.

    The place is drawn from seed. module: see verify_in_runtimes. computed: all batches of that seed with what PyTorch
    computes on them by the default rule, if it ran before. Only outputs are compared, batch by batch until one
    differs. Raises OnnxFileError if ONNX Runtime refuses the file itself."""
    say = progress or (lambda _: None)
    cases = [case for case, _ in computed] or under_test.cases(seed)
    references = {index: reference for index, (_, reference) in enumerate(computed)}
    rule = under_test.tolerance
    trials = []
    for fault in choose(model, seed, KINDS if under_test.precision != "fp16" else COARSE):
        say(f"trying: {fault.kind} at {fault.node}")
        excess: float | None = 0.0
        try:
            session = open_in_memory(inject(model, fault))
        except OnnxFileError:
            trials.append(Trial(kind=fault.kind, node=fault.node, noticed=True, excess=None))
            continue
        for index, case in enumerate(cases):
            if index not in references:
                references[index] = reference_for(module, case, under_test, rule)
            found = [r.comparison for r in compare_with(references[index], session, case, under_test, rule)]
            worst = max(comparison.severity for comparison in found)
            excess = max(excess or 0.0, worst) if np.isfinite(worst) else None
            if not all(comparison.passed for comparison in found):
                trials.append(Trial(kind=fault.kind, node=fault.node, noticed=True, excess=excess))
                break
        else:
            trials.append(Trial(kind=fault.kind, node=fault.node, noticed=False, excess=excess))
    return SelfTest(trials=tuple(trials))


def choose(model: onnx.ModelProto, seed: int, kinds: Sequence[str] = KINDS) -> list[Fault]:
    """Return one fault of each of these kinds that has a place in the model, the place drawn from seed."""
    by_kind: dict[str, list[Fault]] = {}
    for fault in all_faults(model):
        if fault.kind in kinds:
            by_kind.setdefault(fault.kind, []).append(fault)
    generator = np.random.Generator(np.random.Philox(key=seed))
    return [by_kind[kind][int(generator.integers(len(by_kind[kind])))] for kind in kinds if kind in by_kind]

"""Whether the numbers in a file are those of the model; the file is not run for it.

Images show only what they reach: a filter in front of a Relu that is silent on all of them may hold anything. So
every float tensor that a node of the file reads has to be a parameter or buffer of the module, something that the
module computes from them in float64 (a standardised weight, a table), what a chain of its linear operators adds up to
(BatchNormalization, scales, parallel branches, the normalisation of the image), or a constant of a formula.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from nfexport.runtimes import Model
from nfexport.verification.accounting.accountant import Account, Accountant
from nfexport.verification.accounting.front_steps import front_constants, front_forms
from nfexport.verification.accounting.recording import record
from nfexport.verification.accounting.stored_numbers import Stored, stored_numbers

if TYPE_CHECKING:
    from nfexport.verification.file_preprocessing import FilePreprocessing

MOST_NAMED = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightCheck:
    """What the stored tensors are.

    compared counts them, numbers their numbers. as_parameters are stored as the module holds them, as_folds are
    computed from that, constants belong to formulas. differing maps those that differ from what they stand for to
    their largest difference, relative to the largest number of the tensor, and wrong maps them to how many of their
    numbers are off. unexplained maps those that nothing in the module resembles to how many numbers they hold: the
    check does not judge them."""

    compared: int
    differing: Mapping[str, float]
    wrong: Mapping[str, int] = dataclasses.field(default_factory=dict)
    unexplained: Mapping[str, int] = dataclasses.field(default_factory=dict)
    as_parameters: int = 0
    as_folds: int = 0
    constants: int = 0
    numbers: int = 0

    @property
    def accounted(self) -> int:
        """The number of tensors that are what they stand for."""
        return self.as_parameters + self.as_folds + self.constants

    @property
    def passed(self) -> bool:
        """True if none differs."""
        return not self.differing

    def summary(self) -> str:
        """Return the result as one sentence, without a full stop at its end."""
        if self.passed:
            parts = [f"{self.as_parameters} as stored", f"{self.as_folds} as folds", f"{self.constants} constants"]
            found = ", ".join(part for part in parts if not part.startswith("0 "))
            return (
                f"{self.accounted} of {self.compared} stored tensors accounted for "
                f"({_count(self.numbers)} numbers): {found or 'none'}"
            )
        named = [
            f"'{name}' ({_count(self.wrong.get(name, 0))} numbers, off by up to {error:.1e})"
            for name, error in list(self.differing.items())[:MOST_NAMED]
        ]
        rest = len(self.differing) - len(named)
        more = f" and {rest} more" if rest else ""
        count = f"{len(self.differing)} of {self.compared} stored tensors"
        return f"{count} {'is' if len(self.differing) == 1 else 'are'} not the model's: {', '.join(named)}{more}"

    def caution(self) -> str | None:
        """Return which tensors the check cannot judge, None if it judges all."""
        if not self.unexplained:
            return None
        total, names = sum(self.unexplained.values()), list(self.unexplained)[:MOST_NAMED]
        more = f" and {len(self.unexplained) - len(names)} more" if len(self.unexplained) > len(names) else ""
        return (
            f"{len(self.unexplained)} of {self.compared} stored tensors ({_count(total)} numbers) are not explained "
            f"by the model's parameters, so only the outputs tell whether they are right: "
            f"{', '.join(map(repr, names))}{more}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values for JSON."""
        return {**dataclasses.asdict(self), "accounted": self.accounted, "unaccounted": list(self.differing)}


def check_weights(
    module: torch.nn.Module,
    model: Model,
    example: Callable[[], Sequence[torch.Tensor]] | None = None,
    *,
    factors_moved: bool = False,
    front: FilePreprocessing | None = None,
    was_half: bool = False,
) -> WeightCheck:
    """Account for every float tensor that a node of the file reads.

    module: float32, on the CPU; it is left as it was. example returns its inputs, of which only shapes count as a
    rule; without it, nothing but the module's own tensors is known. factors_moved says that constant factors were
    moved between layers, so that a tensor, or a part of it, may be a multiple; front is the preprocessing that the
    file does itself; was_half says that float32 numbers may have been rounded to float16 before, as when a simplifier
    folds the Cast behind them."""
    accountant = _accountant(module, example, factors_moved, front)
    accounts: list[tuple[str, int, Account]] = []
    unexplained: list[tuple[int, Stored]] = []
    for stored in _read(model):
        stored = dataclasses.replace(stored, was_half=was_half)
        account = accountant.account(stored)
        if account.kind == "unexplained":
            unexplained.append((len(accounts), stored))
        accounts.append((stored.name, stored.array.size, account))
    for index, stored in unexplained:
        if accountant.has_spare(stored):
            name, size, account = accounts[index]
            accounts[index] = (name, size, dataclasses.replace(account, kind="wrong"))
    return _summed_up(accounts)


def _read(model: Model) -> Iterable[Stored]:
    if isinstance(model, bytes) or not str(model).endswith(".xml"):
        return stored_numbers(model)
    from nfexport.verification.accounting.ir_numbers import ir_numbers  # OpenVINO, which is optional

    return ir_numbers(model)


def _accountant(
    module: torch.nn.Module,
    example: Callable[[], Sequence[torch.Tensor]] | None,
    factors_moved: bool,
    front: FilePreprocessing | None,
) -> Accountant:
    state = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    parameters = {name: tensor.detach().numpy() for name, tensor in state if tensor.is_floating_point()}
    if example is None:
        return Accountant(parameters, factors_moved=factors_moved)
    recording = record(module, example, front_forms(front))
    return Accountant(
        parameters,
        (*recording.constants, *front_constants(front)),
        recording.vectors,
        recording.chains,
        factors_moved=factors_moved,
    )


def _summed_up(accounts: Sequence[tuple[str, int, Account]]) -> WeightCheck:
    kinds = [account.kind for _, _, account in accounts]
    return WeightCheck(
        compared=len(accounts),
        differing={name: account.error for name, _, account in accounts if account.kind == "wrong"},
        wrong={name: account.wrong for name, _, account in accounts if account.kind == "wrong"},
        unexplained={name: size for name, size, account in accounts if account.kind == "unexplained"},
        as_parameters=kinds.count("parameter"),
        as_folds=kinds.count("fold"),
        constants=kinds.count("constant"),
        numbers=sum(size for _, size, _ in accounts),
    )


def _count(number: int) -> str:
    return f"{number / 1e6:.1f} M" if number >= 1_000_000 else f"{number:,}"

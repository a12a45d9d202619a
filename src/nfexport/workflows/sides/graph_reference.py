"""Which side is computed in float64: a module if there is one, else the graph of a file itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nfexport.graph.model_reader import read_model
from nfexport.interpreter import GraphModule, uncovered_operators
from nfexport.recipe.recipe import Output
from nfexport.verification.input_cases import InputCase
from nfexport.verification.model_under_test import ModelUnderTest
from nfexport.verification.referee import Referee
from nfexport.workflows.sides.input_forms import converted
from nfexport.workflows.sides.side import FileSide, ModuleSide, Side

if TYPE_CHECKING:
    import torch

PREFERENCE = ("float32", "fp16-weights", "fp16", "int8")
"""Of two files, the graph of the more exact one is the reference."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReferenceSide:
    """The side that is computed in float64, and the outputs that it returns, in order."""

    side: Side
    outputs: tuple[Output, ...]
    module: torch.nn.Module

    @property
    def claim(self) -> ModelUnderTest:
        """What it takes."""
        return self.side.claim

    @property
    def is_module(self) -> bool:
        """False for the graph of a file."""
        return isinstance(self.side, ModuleSide)

    def referee(self, case: InputCase, given_as: ModelUnderTest, unit: float) -> Referee:
        """Return what it computes on a batch that is in the form of given_as, for a relative rounding."""
        images = converted(case.arrays, given_as, self.claim)
        return Referee(self.module, images, [output.name for output in self.outputs], unit=unit)

    def is_self(self, side: Side) -> bool:
        """Say whether a side is the module that is the reference; a file still has to run as its graph says."""
        return self.is_module and side is self.side

    @property
    def title(self) -> str:
        """What it is, for a message."""
        if isinstance(self.side, ModuleSide):
            return f"{self.side.loaded.model_name} in PyTorch"
        return f"the graph of '{self.side.name.subject}'"


def choose_reference(sides: Sequence[Side]) -> tuple[ReferenceSide | None, str]:
    """Return the side that is computed in float64, or None and why there is none."""
    for side in sides:
        if isinstance(side, ModuleSide):
            return ReferenceSide(side=side, outputs=side.claim.outputs, module=side.loaded.module), ""
    files = [side for side in sides if isinstance(side, FileSide) and side.is_onnx]
    files.sort(key=lambda side: PREFERENCE.index(side.claim.precision))
    reason = "neither side is a torch module or an ONNX file"
    for side in files:
        model = read_model(side.path)
        if missing := uncovered_operators(model):
            reason = f"the float64 evaluator does not cover {', '.join(missing)} of '{side.path}'"
            continue
        module = GraphModule(model, widen=side.claim.precision in ("fp16", "fp16-weights"))
        outputs = tuple(
            Output(kind="tensor", name=name, index=index) for index, name in enumerate(module.output_names)
        )
        return ReferenceSide(side=side, outputs=outputs, module=module), ""
    return None, reason

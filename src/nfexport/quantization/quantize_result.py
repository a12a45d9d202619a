"""The result of a quantisation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from nfexport.inspection import FileFacts
from nfexport.quantization.agreement import Agreement
from nfexport.recipe.quantize_step import CalibrationRecord
from nfexport.recipe.recipe import Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuantizeResult:
    """The int8 file, the layers that stay in float and why, and the distance from the float file.

    int8_products of `products` layers (Conv, Gemm, MatMul) compute in int8. kept maps the names of the others to the
    reason; noise is the relative noise power of each layer when all but the first, the last and the named layers
    compute in int8. on_calibration is measured on the calibration images, which is optimistic, on_seeded on those of
    the verifier. bound is the rms error, relative to the range of the output, that verify allows. Sizes in bytes."""

    source: Path
    path: Path
    recipe: Recipe
    facts: FileFacts
    products: int
    int8_products: int
    kept: Mapping[str, str]
    noise: Mapping[str, float]
    calibration: CalibrationRecord
    method: str
    on_calibration: Agreement
    on_seeded: Agreement
    bound: float
    size_before: int
    seconds: Mapping[str, float]

    @property
    def summary(self) -> str:
        """The numbers of layers in int8 and in float, in a few words."""
        return f"{self.int8_products} of {self.products} layers in int8, {len(self.kept)} kept in float"

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values for JSON."""
        return {
            "source": str(self.source),
            "path": str(self.path),
            "recipe_sha256": self.recipe.digest,
            "file": self.facts.to_dict(),
            "products": self.products,
            "int8_products": self.int8_products,
            "kept": dict(self.kept),
            "noise": dict(self.noise),
            "calibration": msgspec.to_builtins(self.calibration),
            "method": self.method,
            "on_calibration": dataclasses.asdict(self.on_calibration),
            "on_seeded": dataclasses.asdict(self.on_seeded),
            "bound": self.bound,
            "size_before": self.size_before,
            "size": self.facts.total_size,
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
        }

"""A golden of a file that has no model to be held against: what ONNX Runtime makes of it is taken for right.

The yardstick is surgery's: the same file without the runtime's optimisations, and with its weights off by a
unit in the last place.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nfexport.errors import VerificationFailed
from nfexport.goldens.limits import Expected, expect_exactly, expect_values
from nfexport.goldens.recorded import Recorded, RecordedBatch
from nfexport.graph.model_reader import read_model
from nfexport.verification.input_cases import default_cases
from nfexport.verification.surgery import source_feeds as feeds
from nfexport.verification.surgery.source_reference import FileReference
from nfexport.verification.tolerance import default_tolerance

Array = NDArray[Any]


def run_itself(file: Path, *, seed: int) -> Recorded:
    """Run the file on seeded pictures, or on seeded numbers where it takes no pictures.

    Raises OnnxFileError if it cannot be read or run, or nothing is known of an input, and VerificationFailed
    if it gives numbers that are not finite."""
    model = read_model(file)
    rule = default_tolerance("float32")
    reference = FileReference(model, unit=rule.unit, widen=False)
    batches = []
    cases = _cases(model, seed)
    answers = reference.run([given for _, _, given in cases])
    for (case, batch, given), (plain, runs) in zip(cases, answers, strict=True):
        outputs: list[Expected] = []
        for name, array in plain.items():
            if array.dtype.kind != "f" or array.ndim == 0 or array.size == 0:
                outputs.append(expect_exactly(name, array))
                continue
            if not np.isfinite(array).all():
                raise VerificationFailed(
                    f"'{file}' gives values that are not finite in '{name}', on '{case}'",
                    fix="nothing was recorded; such a file cannot be held to anything",
                )
            others = [run[name] for run in runs[1:]]
            outputs.append(expect_values(name, array.astype(np.float64), others, rule, array.dtype))
        batches.append(RecordedBatch(case=case, batch=batch, inputs=given, outputs=outputs))
    return Recorded(
        reference="onnxruntime",
        batches=batches,
        tolerance=f"{rule.factor:g} times what rounding costs the file",
        subject=None,
        summary="not compared with any model: ONNX Runtime's own results were recorded",
    )


def _cases(model: ir.Model, seed: int) -> list[tuple[str, int, dict[str, Array]]]:
    """Return what each batch is made of, its size, and what it feeds."""
    source = feeds.image_input(model)
    if source is None:
        first = next((value.shape for value in model.graph.inputs if value.shape is not None), None)
        fixed = first is not None and first.rank() > 0 and isinstance(first[0], int)
        sizes = (int(first[0]),) if fixed and first is not None else (3, 1)  # type: ignore[arg-type]
        return [("seeded numbers", size, feeds.numbers(model, seed=seed, batch=size)) for size in sizes]
    drawn = default_cases(
        seed=seed,
        batch=source.batch or "dynamic",
        in_channels=source.channels,
        image_size=source.image_size,
        preprocessing=feeds.PLAIN,
    )
    return [(case.name, case.batch, {source.name: source.form.from_network(case.array)}) for case in drawn]

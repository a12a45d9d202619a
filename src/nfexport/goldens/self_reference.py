"""The reference of a file without a model: the results of ONNX Runtime are taken for right.

The limits are those of surgery: they are measured on the same file without the runtime's optimisations, and with its
weights changed by a unit in the last place.
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
    """Return the results of a file on seeded images, or on seeded numbers if its input is not an image.

    Raises OnnxFileError if it cannot be read or run, or the shape of an input is unknown, and VerificationFailed
    if an output is not finite."""
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
                    f"the output '{name}' of '{file}' is not finite on '{case}'",
                    fix="nothing was recorded; record a file whose outputs are finite",
                )
            others = [run[name] for run in runs[1:]]
            outputs.append(expect_values(name, array.astype(np.float64), others, rule, array.dtype))
        batches.append(RecordedBatch(case=case, batch=batch, inputs=given, outputs=outputs))
    return Recorded(
        reference="onnxruntime",
        batches=batches,
        tolerance=f"{rule.factor:g} times the error of rounding in the file",
        subject=None,
        summary="not compared with any model: ONNX Runtime's own results were recorded",
    )


def _cases(model: ir.Model, seed: int) -> list[tuple[str, int, dict[str, Array]]]:
    """Return the name, the size and the inputs of each batch."""
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

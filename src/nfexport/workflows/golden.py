"""Record a golden: verify the file, and store PyTorch's results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nfexport.errors import GoldenError, OnnxFileError, VerificationFailed
from nfexport.goldens import layout
from nfexport.goldens.data_sets import input_spec
from nfexport.goldens.fingerprint import Fingerprint, fingerprint
from nfexport.goldens.limits import expect_indices, expect_values
from nfexport.goldens.manifest import read_manifest
from nfexport.goldens.recorded import Recorded, RecordedBatch
from nfexport.goldens.self_reference import run_itself
from nfexport.goldens.writer import GoldenResult, check_folder, keeps_model, write_golden
from nfexport.progress import Progress
from nfexport.verification.input_cases import InputCase
from nfexport.verification.model_under_test import ModelUnderTest
from nfexport.workflows.verify import verify

if TYPE_CHECKING:
    from nfexport.verification.torch_reference import Reference as PyTorchReference


def record_golden(
    file: str | Path,
    folder: str | Path | None = None,
    *,
    checkpoint: str | Path | None = None,
    model: object = None,
    seed: int = 0,
    force: bool = False,
    compact: bool = False,
    with_model: bool | None = None,
    trust: bool = False,
    progress: Progress | None = None,
) -> GoldenResult:
    """Verify an ONNX file against its PyTorch model, and record what it has to compute as a golden.

    folder defaults to the file's name with '.golden' for its suffix; an existing one is replaced only with force.
    checkpoint supplies the weights of a file that was exported from one, and model the user's own torch module, its
    factory or its file, where the recipe names one. compact leaves the inputs out, which are then drawn anew from the
    seed. with_model keeps a copy of the file in the golden, by default of a file of less than 5 MB whose inputs are
    kept. trust takes the results of ONNX Runtime for right, for a file that has no recipe. Raises VerificationFailed
    if the file does not equal its model, OutputError if the folder cannot be written or is something else, and what
    `nfexport.verify` raises; nothing is written then."""
    file = Path(file)
    target = layout.default_folder(file) if folder is None else Path(folder)
    check_folder(target, force=force)
    facts = fingerprint(file)
    with_model = keeps_model(file, facts, with_model, compact=compact)
    if compact and facts.recipe is not None and facts.recipe.get("inputs"):
        raise GoldenError(
            "a golden of a model that takes other than one image keeps its inputs", fix="leave --compact out"
        )
    if trust and compact:
        raise GoldenError("a golden recorded with --trust keeps its inputs", fix="leave --compact out")
    recorded = (
        run_itself(file, seed=seed)
        if trust
        else _run_pytorch(file, facts, checkpoint=checkpoint, model=model, seed=seed, progress=progress)
    )
    return write_golden(target, file, facts, recorded, seed=seed, compact=compact, with_model=with_model)


def record_again(
    file: Path,
    folder: Path,
    *,
    checkpoint: Path | None = None,
    model: object = None,
    progress: Progress | None = None,
) -> GoldenResult:
    """Replace a golden by a new recording of the current file, with the same seed and form.

    Raises what record_golden does; the old golden is kept in that case."""
    manifest = read_manifest(folder)
    return record_golden(
        file,
        folder,
        checkpoint=checkpoint,
        model=model,
        seed=manifest.seed,
        force=True,
        compact=manifest.compact,
        with_model=(folder / layout.MODEL).is_file(),
        trust=manifest.reference == "onnxruntime",
        progress=progress,
    )


def _run_pytorch(
    file: Path,
    facts: Fingerprint,
    *,
    checkpoint: str | Path | None,
    model: object,
    seed: int,
    progress: Progress | None,
) -> Recorded:
    if facts.recipe is None and facts.recipe_problem is None:
        raise OnnxFileError(
            f"'{file}' has no recipe, so there is no model to compare it with",
            fix="pass --trust to record the results of ONNX Runtime",
        )
    dtypes = {value.name: np.dtype(value.dtype) for value in facts.interface.outputs}
    batches: list[RecordedBatch] = []
    subjects: list[ModelUnderTest] = []

    def keep(subject: ModelUnderTest, case: InputCase, reference: PyTorchReference) -> None:
        subjects.append(subject)
        rule = subject.tolerance
        outputs = []
        for output in subject.outputs:
            expected, runs = reference.expected[output.name], reference.float32[output.name]
            dtype = dtypes[output.name]
            if output.kind == "topk-indices":
                outputs.append(expect_indices(output.name, expected, runs, rule, dtype, output.k or 1))
            else:
                outputs.append(expect_values(output.name, expected, runs, rule, dtype))
        batches.append(
            RecordedBatch(case=case.name, batch=case.batch, inputs=dict(subject.feeds(case.arrays)), outputs=outputs)
        )

    result = verify(file, checkpoint=checkpoint, model=model, seed=seed, progress=progress, observe=keep)
    if not result.passed:
        why = "; ".join((*result.disagreements, *([] if result.report.passed else [result.report.summary()])))
        raise VerificationFailed(
            f"'{file}' does not equal {result.model_name}: {why}",
            fix="nothing was recorded; export it again",
            report=result.report,
        )
    return Recorded(
        reference="pytorch",
        batches=batches,
        tolerance=result.report.tolerance,
        subject=input_spec(subjects[0]),
        summary=result.report.summary(),
    )

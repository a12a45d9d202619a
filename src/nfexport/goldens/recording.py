"""Record a golden: verify the file, keep what PyTorch gave, write the folder whole or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nfexport import __version__
from nfexport.errors import GoldenError, OnnxFileError, OutputError, VerificationFailed
from nfexport.goldens import expecting, layout
from nfexport.goldens.expecting import Expected
from nfexport.goldens.feeding import digest, subject_to_dict, to_pb
from nfexport.goldens.fingerprint import Fingerprint, fingerprint
from nfexport.goldens.manifest import DataSet, Manifest, Reference, Tensor, read_manifest
from nfexport.graph.artefact import check_target, staged_folder, write_files
from nfexport.progress import Progress
from nfexport.verification.inputs import InputCase
from nfexport.verification.subject import Subject
from nfexport.workflows.verify import verify

if TYPE_CHECKING:
    from nfexport.verification.reference import Reference as PyTorchReference

Array = NDArray[Any]
SMALL = 5_000_000
"""Bytes below which a golden gets a copy of its file, so that other runners of ONNX's layout find it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """One data set to be: case says what it is made of; the outputs are in the order of the file."""

    case: str
    batch: int
    inputs: dict[str, Array]
    outputs: list[Expected]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recorded:
    """What the expected outputs are, and where they come from; fields as in Manifest."""

    reference: Reference
    batches: list[Batch]
    tolerance: str
    subject: dict[str, Any] | None
    summary: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class GoldenResult:
    """What was recorded: the folder, its manifest, its size in bytes, and the verification in one sentence."""

    folder: Path
    manifest: Manifest
    size: int
    summary: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "golden": str(self.folder),
            "size": self.size,
            "summary": self.summary,
            "manifest": dataclasses.asdict(self.manifest),
        }


def record(
    file: str | Path,
    folder: str | Path | None = None,
    *,
    checkpoint: str | Path | None = None,
    seed: int = 0,
    force: bool = False,
    compact: bool = False,
    with_model: bool | None = None,
    trust: bool = False,
    progress: Progress | None = None,
) -> GoldenResult:
    """Verify an ONNX file against its PyTorch model, and record what it has to compute as a golden.

    folder defaults to the file's name with '.golden' for its suffix; one that is there is replaced only by
    force. checkpoint supplies the weights of a file that was exported from one. compact leaves the inputs
    out, which are then drawn anew from the seed. with_model keeps a copy of the file in the golden, by default
    of a file of less than 5 MB whose inputs are kept. trust takes what ONNX Runtime itself gives for right,
    for a file of others.
    Raises VerificationFailed if the file does not equal its model, OutputError if the folder cannot be
    written or is something else, and what `nfexport.verify` raises; nothing is written then."""
    file = Path(file)
    target = layout.default_folder(file) if folder is None else Path(folder)
    _check_folder(target, force=force)
    facts = fingerprint(file)
    with_model = _check_model(file, facts, with_model, compact=compact)
    if trust:
        if compact:
            raise GoldenError("a golden recorded with --trust keeps its inputs", fix="leave --compact out")
        from nfexport.goldens.trusting import run_itself

        recorded = run_itself(file, seed=seed)
    else:
        recorded = _run_pytorch(file, facts, checkpoint=checkpoint, seed=seed, progress=progress)
    files: dict[str, bytes] = {}
    data_sets = tuple(_data_set(index, batch, files, compact=compact) for index, batch in enumerate(recorded.batches))
    manifest = Manifest(
        file=file.name,
        reference=recorded.reference,
        seed=seed,
        recipe_sha256=facts.recipe_sha256,
        recipe=facts.recipe,
        interface=facts.interface,
        opset_imports=facts.opset_imports,
        operators=facts.operators,
        nodes_sha256=facts.nodes_sha256,
        weights_sha256=facts.weights_sha256,
        weights=facts.weights,
        tolerance=recorded.tolerance,
        data_sets=data_sets,
        subject=recorded.subject,
        versions={**_versions(recorded.reference), "nfexport": __version__},
    )
    files[layout.MANIFEST] = manifest.to_json().encode()
    if with_model:
        files[layout.MODEL] = file.read_bytes()
        limits = [max(tensor.max_abs) for data in data_sets for tensor in data.outputs if tensor.max_abs]
        files[layout.RUNNER] = json.dumps({"atol": max(limits, default=0.0), "rtol": 0.0}).encode() + b"\n"
    with staged_folder(target) as partial:
        write_files(partial, files)
    size = sum(map(len, files.values()))
    return GoldenResult(folder=target, manifest=manifest, size=size, summary=recorded.summary)


def record_again(
    file: Path,
    folder: Path,
    *,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> GoldenResult:
    """Replace a golden by one of the file as it is now, with the seed and in the form of the old one.

    Raises what record does; the old one stays then."""
    manifest = read_manifest(folder)
    return record(
        file,
        folder,
        checkpoint=checkpoint,
        seed=manifest.seed,
        force=True,
        compact=manifest.compact,
        with_model=(folder / layout.MODEL).is_file(),
        trust=manifest.reference == "onnxruntime",
        progress=progress,
    )


def _check_folder(target: Path, *, force: bool) -> None:
    if target.is_file():
        raise OutputError(f"'{target}' is a file", fix="name a folder with -o")
    check_target(target / layout.MANIFEST if target.is_dir() else target)
    if not target.is_dir():
        return
    if entries := layout.foreign_entries(target):
        raise OutputError(
            f"the folder '{target}' holds '{entries[0]}', which is no part of a golden",
            fix="move it elsewhere, or name another folder with -o",
        )
    if not force and any(target.iterdir()):
        raise OutputError(
            f"the golden '{target}' is there already",
            fix="pass --force to replace it, or use 'nfexport golden check --update'",
        )


def _check_model(file: Path, facts: Fingerprint, with_model: bool | None, *, compact: bool) -> bool:
    if with_model and facts.external_data:
        raise OnnxFileError(
            f"'{file}' keeps weights in other files, so one copy does not hold it", fix="leave --with-model out"
        )
    if with_model is None:
        # without inputs there is nothing for other runners
        return not compact and not facts.external_data and file.stat().st_size < SMALL
    return with_model


def _run_pytorch(
    file: Path, facts: Fingerprint, *, checkpoint: str | Path | None, seed: int, progress: Progress | None
) -> Recorded:
    if facts.recipe is None and facts.recipe_problem is None:
        raise OnnxFileError(
            f"'{file}' has no recipe, so there is no model to record it against",
            fix="pass --trust to record what ONNX Runtime makes of it",
        )
    dtypes = {entry["name"]: np.dtype(entry["dtype"]) for entry in facts.interface["outputs"]}
    batches: list[Batch] = []
    subjects: list[Subject] = []

    def keep(subject: Subject, case: InputCase, reference: PyTorchReference) -> None:
        subjects.append(subject)
        rule = subject.tolerance
        outputs = []
        for output in subject.outputs:
            expected, runs = reference.expected[output.name], reference.float32[output.name]
            dtype = dtypes[output.name]
            if output.kind == "topk-indices":
                outputs.append(expecting.expect_indices(output.name, expected, runs, rule, dtype, output.k or 1))
            else:
                outputs.append(expecting.expect_values(output.name, expected, runs, rule, dtype))
        batches.append(
            Batch(case=case.name, batch=case.batch, inputs={subject.input_name: case.array}, outputs=outputs)
        )

    result = verify(file, checkpoint=checkpoint, seed=seed, progress=progress, observe=keep)
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
        subject=subject_to_dict(subjects[0]),
        summary=result.report.summary(),
    )


def _data_set(index: int, batch: Batch, files: dict[str, bytes], *, compact: bool) -> DataSet:
    """Describe a data set, and put the bytes of its files where they are collected."""
    folder = f"{layout.DATA_SET}{index}"
    inputs = [
        Tensor(
            name=name,
            dtype=str(array.dtype),
            shape=array.shape,
            file=f"input_{place}.pb",
            sha256=None if compact else _put(files, f"{folder}/input_{place}.pb", name, array),
            values_sha256=digest(array),
        )
        for place, (name, array) in enumerate(batch.inputs.items())
    ]
    outputs = [
        dataclasses.replace(
            tensor,
            file=f"output_{place}.pb",
            sha256=_put(files, f"{folder}/output_{place}.pb", tensor.name, array),
        )
        for place, (tensor, array) in enumerate(batch.outputs)
    ]
    return DataSet(folder=folder, case=batch.case, batch=batch.batch, inputs=tuple(inputs), outputs=tuple(outputs))


def _put(files: dict[str, bytes], path: str, name: str, array: Array) -> str:
    files[path] = to_pb(name, array)
    return hashlib.sha256(files[path]).hexdigest()


def _versions(reference: Reference) -> dict[str, str]:
    # '2.13.0+cpu' and '2.13.0' compute alike
    names = ("numpy", "onnx", "onnxruntime", *(("timm", "torch") if reference == "pytorch" else ()))
    return {name: importlib.metadata.version(name).partition("+")[0] for name in names}

"""Write a golden: the folder whole, or nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from nfexport.errors import OnnxFileError, OutputError
from nfexport.goldens import layout
from nfexport.goldens.data_sets import digest, to_pb
from nfexport.goldens.fingerprint import Fingerprint
from nfexport.goldens.manifest import DataSet, Manifest, Reference, Tensor
from nfexport.goldens.recorded import Recorded, RecordedBatch
from nfexport.graph.atomic_files import check_target, staged_folder, write_files
from nfexport.recipe.versions import version

Array = NDArray[Any]
SMALL = 5_000_000
"""Bytes below which a golden gets a copy of its file, for other runners of ONNX's test layout."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GoldenResult:
    """A recorded golden: its folder, its manifest, its size in bytes, and the verification in one sentence."""

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
            "manifest": msgspec.to_builtins(self.manifest),
        }


def check_folder(target: Path, *, force: bool) -> None:
    """Raise OutputError unless a golden can be written to this folder; force allows for one that exists."""
    if target.is_file():
        raise OutputError(f"'{target}' is a file", fix="name a folder with -o")
    check_target(target / layout.MANIFEST if target.is_dir() else target)
    if not target.is_dir():
        return
    if entries := layout.foreign_entries(target):
        raise OutputError(
            f"the folder '{target}' holds '{entries[0]}', which is not part of a golden",
            fix="move it elsewhere, or name another folder with -o",
        )
    if not force and any(target.iterdir()):
        raise OutputError(
            f"the golden '{target}' exists already",
            fix="pass --force to replace it, or use 'nfexport golden check --update'",
        )


def keeps_model(file: Path, facts: Fingerprint, with_model: bool | None, *, compact: bool) -> bool:
    """Say whether the golden gets a copy of its file; with_model is the caller's choice, None for the default.

    Raises OnnxFileError if a copy is asked for and the file has external data."""
    if with_model and facts.external_data:
        raise OnnxFileError(
            f"'{file}' keeps its weights in other files, which a copy would lack", fix="leave --with-model out"
        )
    if with_model is None:
        # without inputs there is nothing for other runners
        return not compact and not facts.external_data and file.stat().st_size < SMALL
    return with_model


def write_golden(
    target: Path,
    file: Path,
    facts: Fingerprint,
    recorded: Recorded,
    *,
    seed: int,
    compact: bool,
    with_model: bool,
) -> GoldenResult:
    """Write the golden of a file in place of what the folder held.

    Raises OutputError if it cannot be written; what was there before stays."""
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
        versions=_versions(recorded.reference),
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


def _data_set(index: int, batch: RecordedBatch, files: dict[str, bytes], *, compact: bool) -> DataSet:
    """Return the description of a data set, and add the bytes of its files to those to be written."""
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
        msgspec.structs.replace(
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
    names = ("nfexport", "numpy", "onnx", "onnxruntime", *(("timm", "torch") if reference == "pytorch" else ()))
    return {name: version(name) for name in names}

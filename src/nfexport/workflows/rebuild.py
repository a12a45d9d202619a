"""Build a file again from the recipe inside it, and compare the two byte by byte."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from nfexport.errors import EXIT_OK, EXIT_VERIFICATION
from nfexport.graph.atomic_files import check_target, temporary_folder
from nfexport.graph.file_digest import file_digest
from nfexport.graph.model_reader import read_model
from nfexport.graph.model_writer import staged_model, write_model
from nfexport.inspection import FileFacts, inspect
from nfexport.inspection.difference import diff
from nfexport.progress import Progress
from nfexport.recipe.recipe import Recipe
from nfexport.workflows.export import export
from nfexport.workflows.recipe_changes import code_changes, field_changes, recipe_of, request_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class RebuildResult:
    """What building a file again found.

    digests and rebuilt_digests are the sha256 of each file, by its name: the ONNX file, and its external data.
    differences says what is not equal, the cause first. rebuilt is the path of the new file, None if it was not
    kept."""

    path: Path
    recipe: Recipe
    digests: Mapping[str, str]
    rebuilt_digests: Mapping[str, str]
    differences: tuple[str, ...]
    rebuilt: Path | None = None

    @property
    def reproduced(self) -> bool:
        """True if the bytes are equal."""
        return self.digests == self.rebuilt_digests

    @property
    def exit_code(self) -> int:
        """0 if the bytes are equal, else 1."""
        return EXIT_OK if self.reproduced else EXIT_VERIFICATION

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values for JSON."""
        return {
            "path": str(self.path),
            "reproduced": self.reproduced,
            "recipe_sha256": self.recipe.digest,
            "sha256": dict(self.digests),
            "rebuilt_sha256": dict(self.rebuilt_digests),
            "differences": list(self.differences),
            "rebuilt": None if self.rebuilt is None else str(self.rebuilt),
        }


def rebuild(
    file: str | Path,
    output: str | Path | None = None,
    *,
    checkpoint: str | Path | None = None,
    model: object = None,
    verify: bool = True,
    progress: Progress | None = None,
) -> RebuildResult:
    """Build an ONNX file again from the recipe inside it, and compare the two.

    output keeps the new file. checkpoint supplies weights that came from a file; model is the user's own torch
    module, its factory or its file, where the recipe names one. With verify the new file is compared with PyTorch
    too, as in an export. Raises OnnxFileError if the file has no recipe, WeightsUnreachable if its weights are not
    here, and what export raises."""
    path = Path(file)
    target = None if output is None else Path(output)
    if target is not None:
        check_target(target)
    facts = inspect(path)
    recipe = recipe_of(facts)
    request = request_of(recipe, checkpoint)
    stored_outside = replace(request.options, external_data=bool(facts.external_data))
    request = replace(request, options=stored_outside)
    with _working_folder(target) as folder:
        # the name of the external data is part of the file
        made = folder / _original_name(path, facts)
        result = export(request, made, about=facts.about, named=model, verify=verify, progress=progress)
        if facts.evaluation is not None:
            _record_evaluation(made, facts)
        digests, rebuilt_digests = _digests(path, facts), _digests(made, inspect(made), as_name=path.name)
        differences = () if digests == rebuilt_digests else _differences(path, made, recipe, result.recipe)
        if target is not None:
            _keep(made, target, external_data=bool(facts.external_data))
    return RebuildResult(
        path=path,
        recipe=recipe,
        digests=digests,
        rebuilt_digests=rebuilt_digests,
        differences=differences,
        rebuilt=target,
    )


@contextlib.contextmanager
def _working_folder(target: Path | None) -> Iterator[Path]:
    """Yield a folder for the new file: next to the target, or where temporary files go if it is not kept."""
    if target is not None:
        with temporary_folder(target) as folder:
            yield folder
        return
    with tempfile.TemporaryDirectory(prefix="nfexport-") as name:
        yield Path(name)


def _keep(made: Path, target: Path, *, external_data: bool) -> None:
    """Copy the new file to its place; one with external data is written again, as it names that file."""
    with staged_model(target) as partial:
        if external_data:
            write_model(read_model(made), partial, external_data=True)
        else:
            shutil.copyfile(made, partial)


def _original_name(path: Path, facts: FileFacts) -> str:
    names = [
        name.removesuffix(".data") for name in facts.external_data if "/" not in name and name.endswith(".onnx.data")
    ]
    return names[0] if names else path.name


def _record_evaluation(path: Path, facts: FileFacts) -> None:
    """Put the accuracy that was measured of the old file into the new one, as `nfexport evaluate --record` does."""
    from nfexport.images.evaluate.accuracy_record import record_accuracy

    assert facts.evaluation is not None
    record_accuracy(path, facts.evaluation)


def _digests(path: Path, facts: FileFacts, as_name: str | None = None) -> dict[str, str]:
    named = {as_name or path.name: path} | {name: path.parent / name for name in facts.external_data}
    return {name: file_digest(file) for name, file in named.items()}


def _differences(path: Path, made: Path, old: Recipe, new: Recipe) -> tuple[str, ...]:
    """Say what differs: the causes that the recipes tell first, then what the graphs show."""
    found = (
        *code_changes(old, new),
        *field_changes(old, new),
        *(f"graph: {one}" for one in diff(path, made).changes),
    )
    return found or ("bytes: the same graph is serialised differently",)

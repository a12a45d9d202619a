"""Prove that a file's graph is the one that its recipe gives: build it again, and compare the two.

    recipe ─tracing, passes▶ graph ─verification.structure▶ check ◀─ file

Names, the order of nodes and how the file is serialised do not count; `nfexport rebuild` compares bytes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from nfexport.formats import Format
from nfexport.graph.checker import refusal
from nfexport.graph.file_digest import file_digest
from nfexport.inspection import inspect
from nfexport.progress import Progress
from nfexport.recipe.about import read_about
from nfexport.recipe.recipe import Recipe
from nfexport.verification.structure.structure_check import StructureCheck
from nfexport.workflows.recipe_changes import code_changes, field_changes, recipe_of, request_of

if TYPE_CHECKING:
    import onnx_ir as ir

CAUSE = "the cause may be a version"
"""Beginning of the last difference where the recipe was written with other versions than the installed ones."""


def prove_structure(
    path: Path,
    *,
    checkpoint: str | Path | None = None,
    model: object = None,
    progress: Progress | None = None,
) -> StructureCheck:
    """Build the graph of an ONNX file again from its recipe, and compare the two node by node, number by number.

    The recipe itself has to be the one that comes of it too. checkpoint supplies weights that came from a file; model
    is the user's own module, its factory or its file, where the recipe names one. Without operations on the finished
    file, such as a surgery, nothing is written; else the steps between are written to a temporary folder. Where
    versions of packages differ, floating weights may be off by a few units in the last place.
    Raises what rebuild raises where a file cannot be built again."""
    import onnx_ir as ir

    from nfexport.verification.structure.isomorphism import compare_graphs
    from nfexport.verification.structure.tensor_equality import ROUNDING

    recipe = recipe_of(inspect(path))
    if (reason := refusal(path)) is not None:
        return StructureCheck(proven=False, differences=(f"onnx's checker refuses the file ({reason})",))
    with _built_again(path, recipe, checkpoint, model, progress) as (graph, again):
        code = code_changes(recipe, again)
        found = compare_graphs(ir.load(path), graph, units=ROUNDING if code else 0.0)
    return _judged(found, recipe, again)


def prove_converted(
    path: Path,
    converted: Format,
    recipe: Recipe,
    *,
    checkpoint: str | Path | None = None,
    model: object = None,
    progress: Progress | None = None,
) -> StructureCheck:
    """Build the ONNX file behind one of another format again, convert it, and compare the files byte by byte, as the
    same ONNX file gives the same bytes.

    Arguments and errors are those of prove_structure."""
    from nfexport.workflows.export import export

    request = request_of(recipe, checkpoint)
    about = read_about(converted.read_metadata(path))
    with tempfile.TemporaryDirectory(prefix="nfexport-") as name:
        source = Path(name) / f"{path.stem}.onnx"
        made = export(request, source, about=about, named=model, verify=False, progress=progress)
        converted.convert(source, Path(name), path.stem, converted.options_of(path))
        differing = [
            f"'{file.name}' is not what {converted.title} of the rebuilt ONNX file is"
            for file in converted.targets(path)
            if file_digest(file) != file_digest(Path(name) / file.name)
        ]
    return _judged(StructureCheck(proven=not differing, differences=tuple(differing)), recipe, made.recipe)


def _judged(found: StructureCheck, recipe: Recipe, again: Recipe) -> StructureCheck:
    """Return the check with the differences of the recipes, and versions of packages as a possible cause."""
    found = found.preceded(field_changes(recipe, again))
    code = code_changes(recipe, again)
    if not found.failed or not code:
        return found
    return dataclasses.replace(found, differences=(*found.differences, f"{CAUSE}: {'; '.join(code)}"))


@contextlib.contextmanager
def _built_again(
    path: Path, recipe: Recipe, checkpoint: str | Path | None, model: object, progress: Progress | None
) -> Iterator[tuple[ir.Model, Recipe]]:
    """Yield the graph that the recipe gives, and its own recipe; its weights may be mapped from a temporary file."""
    import onnx_ir as ir

    from nfexport.workflows.export import build, export

    request = request_of(recipe, checkpoint)
    if not request.operations:
        yield build(request, named=model, progress=progress)
        return
    stored_outside = bool(inspect(path).external_data)
    request = replace(request, options=replace(request.options, external_data=stored_outside))
    with tempfile.TemporaryDirectory(prefix="nfexport-") as name:
        made = export(request, Path(name) / path.name, named=model, verify=False, progress=progress)
        yield ir.load(made.path), made.recipe

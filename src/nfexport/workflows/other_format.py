"""The form of an exported file in another format: written next to it, and verified in the runtime that reads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nfexport import formats
from nfexport.graph.atomic_files import staged_files
from nfexport.progress import Stages
from nfexport.recipe.export_options import ExportOptions
from nfexport.recipe.recipe import Recipe
from nfexport.workflows.file_verification import demand, verify_file
from nfexport.workflows.results import ConvertedResult
from nfexport.workflows.subjects import converted_subject

if TYPE_CHECKING:
    from nfexport.sources import LoadedModel
    from nfexport.verification import ModelUnderTest

ONNX = "onnx"


def check(options: ExportOptions) -> None:
    """Raise, before any long work is done, if the format does not exist or cannot be written here."""
    formats.check_options(None if options.to == ONNX else options.to, options.to_options)
    if options.to != ONNX:
        found = formats.get(options.to)
        found.values(options.to_options)
        found.check()


def write(
    onnx_file: Path,
    target: Path,
    options: ExportOptions,
    recipe: Recipe,
    loaded: LoadedModel,
    subject: ModelUnderTest | None,
    stages: Stages,
) -> ConvertedResult:
    """Write the other format next to the target, verified if there is a subject and a runtime for the format."""
    found = formats.get(options.to)
    values = found.values(options.to_options)
    files = found.targets(target)
    # the file that stands for the others gets its name last
    with staged_files([*files[1:], files[0]]) as folder:
        with stages.stage("convert"):
            written = found.convert(onnx_file, folder, target.stem, values)
            size = sum((folder / path.name).stat().st_size for path in files)
        report = None
        if subject is not None and found.runtime is not None:
            with stages.stage("verify-converted"):
                other = converted_subject(subject, found.stored_precision(written))
                (report,) = verify_file(written, loaded, other, stages=stages, runtimes=[found.runtime])
            demand(report, f"{found.title} of the file", recipe)
    return ConvertedResult(
        format=options.to, title=found.title, files=files, options=values, size=size, verification=report
    )

"""Compare a file with the model that is loaded, as an export and a verification do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nfexport.errors import VerificationFailed
from nfexport.progress import Stages

if TYPE_CHECKING:
    from nfexport.recipe.recipe import Recipe
    from nfexport.sources import LoadedModel
    from nfexport.verification import ModelUnderTest
    from nfexport.verification.verification_report import VerificationReport


def verify_file(
    path: Path, loaded: LoadedModel, subject: ModelUnderTest, *, stages: Stages, **options: Any
) -> tuple[VerificationReport, ...]:
    """Compare a file with the model that is loaded; options are those of verify_in_runtimes."""
    from nfexport.sources.model import heads
    from nfexport.verification import verify_in_runtimes

    with heads.giving(loaded.module, subject.outputs, loaded.call):
        return verify_in_runtimes(loaded.module, path, subject, progress=stages.progress.step, **options)


def demand(report: VerificationReport, what: str, recipe: Recipe) -> None:
    """Raise VerificationFailed unless the report has passed."""
    if not report.passed:
        raise VerificationFailed(
            f"{what} does not equal {recipe.model_name}: {report.summary()}",
            fix="nothing was written; try another --opset or --exporter, and report it",
            report=report,
        )

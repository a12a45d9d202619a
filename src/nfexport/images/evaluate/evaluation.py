"""The result of an evaluation."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfexport.errors import EXIT_OK, EXIT_VERIFICATION
from nfexport.images.evaluate.dataset import DataSet
from nfexport.images.evaluate.tally import Agreement, ClassScore, RuntimeScore
from nfexport.recipe.about import About, Accuracy


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Accuracy of a file on a data set, in one or several runtimes.

    images is the number of images that were read, skipped names the others with the reason. scores has an entry for
    each runtime, agreements one for each but the first, classes one for each class that has images. truth and
    predicted [images] are the class and the top class in the first runtime (−1 for NaN); about is the metadata of the
    model in the file. seconds are those of this run, from_journal is the number of images that a journal had."""

    path: Path
    model_name: str
    recipe_sha256: str
    data: DataSet
    transform: str
    images: int
    skipped: tuple[tuple[str, str], ...]
    scores: tuple[RuntimeScore, ...]
    agreements: tuple[Agreement, ...]
    classes: tuple[ClassScore, ...]
    class_names: tuple[str, ...] | None
    truth: NDArray[np.int32]
    predicted: NDArray[np.int32]
    about: About | None
    seconds: Mapping[str, float]
    from_journal: int = 0

    @property
    def score(self) -> RuntimeScore:
        """The score in the first runtime."""
        return self.scores[0]

    @property
    def images_per_second(self) -> float:
        """The images that were read or skipped in this run, per second."""
        return (self.images + len(self.skipped) - self.from_journal) / max(self.seconds["evaluate"], 1e-9)

    @property
    def exit_code(self) -> int:
        """1 if images were skipped, as the accuracy is not that of the whole data set; else 0."""
        return EXIT_VERIFICATION if self.skipped else EXIT_OK

    def accuracy(self, dataset: str | None = None) -> Accuracy:
        """Return the score in the first runtime as it is stored in a file.

        dataset is the name of the data set, by default that of its folder."""
        return Accuracy(
            top1=round(self.score.top1, 4),
            top5=None if self.score.top5 is None else round(self.score.top5, 4),
            dataset=dataset or self.data.root.resolve().name,
            images=self.images,
            source=f"nfexport evaluate, {self.score.runtime} {self.score.version}",
        )

    def to_dict(self, *, per_class: bool = False) -> dict[str, Any]:
        """Return plain values for JSON, with the classes if per_class; only 'timing' differs from run to run."""
        result: dict[str, Any] = {
            "path": str(self.path),
            "model": self.model_name,
            "recipe_sha256": self.recipe_sha256,
            "data": str(self.data.root),
            "classes_by": self.data.rule,
            "transform": self.transform,
            "images": self.images,
            "left_out": self.data.left_out,
            "skipped": [{"image": image, "reason": reason} for image, reason in self.skipped],
            "runtimes": [dataclasses.asdict(score) for score in self.scores],
            "agreement": [dataclasses.asdict(agreement) for agreement in self.agreements],
            "timing": {
                "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
                "images_per_second": round(self.images_per_second, 1),
                "from_journal": self.from_journal,
            },
        }
        if per_class:
            result["classes"] = [dataclasses.asdict(score) for score in self.classes]
        return result

    def to_csv(self) -> str:
        """Return the classes as CSV with a header; unknown values are empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([field.name for field in dataclasses.fields(ClassScore)])
        for score in self.classes:
            writer.writerow(["" if value is None else value for value in dataclasses.astuple(score)])
        return text.getvalue()

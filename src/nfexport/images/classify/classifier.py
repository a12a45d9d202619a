"""From a file and images to the classes of each image."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from nfexport.errors import ImageError
from nfexport.images.classify.description import Description, describe
from nfexport.images.classify.inference import ImageOutputs, Skipped, infer
from nfexport.images.classify.top_classes import ScoredClass, choose_top, top_classes
from nfexport.images.files import find_images, printable
from nfexport.images.labels import check_count, label_names, read_labels
from nfexport.inspection import inspect
from nfexport.runtimes import Session, open_session

Labels = str | Path | Sequence[str] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """The top classes of one image, the most probable one first."""

    image: Path
    classes: tuple[ScoredClass, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"image": printable(self.image), "classes": [scored.to_dict() for scored in self.classes]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classifier:
    """A file that is loaded into a runtime, and the description of its input and outputs."""

    path: Path
    description: Description
    session: Session

    def infer(
        self, images: Iterable[Path], *, batch: int | None = None
    ) -> Generator[ImageOutputs | Skipped, None, None]:
        """Yield the outputs for each image: see nfexport.images.classify.inference."""
        return infer(self.session, self.description.preprocessor, images, batch=batch)

    def predictor(self, *, top: int | None = None, labels: Labels = None) -> Callable[[ImageOutputs], Prediction]:
        """Return the function that turns outputs into a prediction of the top classes; arguments as for classify.

        Raises RecipeError if the file has no classes, InputError for labels or a top that do not fit the file."""
        self.description.check_classes()
        count = choose_top(self.description, top)
        names = _names(labels, self.description)

        def predict(result: ImageOutputs) -> Prediction:
            return Prediction(image=result.image, classes=top_classes(result.outputs, self.description, names, count))

        return predict


def open_classifier(
    path: str | Path,
    *,
    runtime: str = "onnxruntime",
    providers: Sequence[str] = (),
    description: Description | None = None,
) -> Classifier:
    """Load a file into a runtime; description replaces that of its recipe.

    Raises OnnxFileError if the file cannot be read or the runtime refuses it, RecipeError if it has no recipe,
    InputError or MissingPackage for a runtime or provider that is not available."""
    path = Path(path)
    known = describe(inspect(path)) if description is None else description
    session = open_session(path, runtime=runtime, providers=providers)
    known.check_names(str(path), tuple(session.inputs), session.outputs)
    return Classifier(path=path, description=known, session=session)


def classify(
    path: str | Path,
    images: str | Path | Iterable[str | Path],
    *,
    top: int | None = None,
    labels: Labels = None,
    runtime: str = "onnxruntime",
    providers: Sequence[str] = (),
    batch: int | None = None,
    on_skip: Callable[[ImageError], None] | None = None,
) -> Iterator[Prediction]:
    """Yield the top classes of each image by an exported file, lazily and in order.

    images are files, folders and glob patterns (see nfexport.images.files). top is the number of classes, by default
    5, or all if there are fewer. labels are the class names, or a file with them; by default the recipe's. batch is
    the number of images per run (see nfexport.images.classify.inference). on_skip is called with the error of each
    image that cannot be read; without it the first such error is raised.

    Raises, before anything runs: what open_classifier raises, RecipeError if the file has no classes, InputError for
    labels, a top or a batch size that do not fit the file, ImageError for arguments that name no image. While it
    runs: OnnxFileError if the runtime fails or an output is not finite."""
    classifier = open_classifier(path, runtime=runtime, providers=providers)
    predict = classifier.predictor(top=top, labels=labels)
    found = find_images([images] if isinstance(images, str | Path) else images)
    return _predictions(classifier.infer(found, batch=batch), predict, on_skip)


def _predictions(
    results: Generator[ImageOutputs | Skipped, None, None],
    predict: Callable[[ImageOutputs], Prediction],
    on_skip: Callable[[ImageError], None] | None,
) -> Iterator[Prediction]:
    with contextlib.closing(results):
        for result in results:
            if isinstance(result, ImageOutputs):
                yield predict(result)
            elif on_skip is None:
                raise result.error
            else:
                on_skip(result.error)


def _names(labels: Labels, description: Description) -> tuple[str, ...]:
    count = description.num_classes
    if labels is None:
        return label_names(description.labels, count)
    if isinstance(labels, str | Path):
        return read_labels(Path(labels), count)
    names = tuple(labels)
    check_count(names, count, what="the list of labels")
    return names

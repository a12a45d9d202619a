"""The way of a classification, from a file and pictures to what is on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from nfexport.errors import ImageError
from nfexport.images.classify.description import Description, describe
from nfexport.images.classify.inference import Answer, Skipped, answers
from nfexport.images.classify.top_classes import Guess, best, how_many
from nfexport.images.files import find_images, spelled
from nfexport.images.labels import check_count, label_names, read_labels
from nfexport.inspection import inspect
from nfexport.runtimes import Session, open_session

Labels = str | Path | Sequence[str] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """The best classes of one picture, the most probable first."""

    picture: Path
    classes: tuple[Guess, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"picture": spelled(self.picture), "classes": [guess.to_dict() for guess in self.classes]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenFile:
    """A file that is ready to run, and what is known of it."""

    path: Path
    description: Description
    session: Session

    def answers(self, pictures: Iterable[Path], *, batch: int | None = None) -> Iterator[Answer | Skipped]:
        """Yield what the file gives for each picture: see nfexport.images.classify.inference."""
        return answers(self.session, self.description.form, pictures, batch=batch)

    def namer(self, *, top: int | None = None, labels: Labels = None) -> Callable[[Answer], Prediction]:
        """Return what makes a prediction of an answer, of the best top classes; labels as for classify.

        Raises RecipeError if the file gives no classes, InputError for labels or a top that do not fit."""
        self.description.check_classes()
        count = how_many(self.description, top)
        names = _names(labels, self.description)

        def predict(answer: Answer) -> Prediction:
            return Prediction(picture=answer.picture, classes=best(answer.outputs, self.description, names, count))

        return predict


def open_file(
    path: str | Path,
    *,
    runtime: str = "onnxruntime",
    providers: Sequence[str] = (),
    description: Description | None = None,
) -> OpenFile:
    """Open a file for pictures; description is what its recipe says unless told otherwise.

    Raises OnnxFileError if it cannot be read or is refused, RecipeError if it tells not how pictures go in,
    InputError or MissingPackage for a runtime or provider that is not there."""
    path = Path(path)
    known = describe(inspect(path)) if description is None else description
    session = open_session(path, runtime=runtime, providers=providers)
    known.check_names(str(path), tuple(session.inputs), session.outputs)
    return OpenFile(path=path, description=known, session=session)


def classify(
    path: str | Path,
    pictures: str | Path | Iterable[str | Path],
    *,
    top: int | None = None,
    labels: Labels = None,
    runtime: str = "onnxruntime",
    providers: Sequence[str] = (),
    batch: int | None = None,
    on_skip: Callable[[ImageError], None] | None = None,
) -> Iterator[Prediction]:
    """Yield what an exported file sees on each picture, in order, as it is asked for.

    pictures are files, folders and patterns (see nfexport.images.files). top is how many classes are given,
    5 by default where there are as many. labels is a file of names, or the names; by default those that the
    recipe tells. batch is how many pictures run at once (see nfexport.images.classify.inference). on_skip hears
    of each picture that cannot be read; without it the first one raises ImageError.

    Raises, before anything is run: what open_file raises, RecipeError if the file gives no classes, InputError
    for labels, a top or a batch that do not fit, ImageError for words that name no picture. While it runs:
    OnnxFileError if the runtime stops or gives numbers that are not finite."""
    file = open_file(path, runtime=runtime, providers=providers)
    predict = file.namer(top=top, labels=labels)
    found = find_images([pictures] if isinstance(pictures, str | Path) else pictures)
    return _predictions(file.answers(found, batch=batch), predict, on_skip)


def _predictions(
    found: Iterator[Answer | Skipped],
    predict: Callable[[Answer], Prediction],
    on_skip: Callable[[ImageError], None] | None,
) -> Iterator[Prediction]:
    for answer in found:
        if isinstance(answer, Answer):
            yield predict(answer)
        elif on_skip is None:
            raise answer.error
        else:
            on_skip(answer.error)


def _names(labels: Labels, description: Description) -> tuple[str, ...]:
    count = description.num_classes
    if labels is None:
        return label_names(description.labels, count)
    if isinstance(labels, str | Path):
        return read_labels(Path(labels), count)
    names = tuple(labels)
    check_count(names, count, what="the list of labels")
    return names

"""How an evaluation works, from a file and a folder of images to the result."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nfexport.errors import ImageError, InputError, OnnxFileError
from nfexport.images.evaluate.accuracy_record import model_digest
from nfexport.images.evaluate.batches import cores, run_batches
from nfexport.images.evaluate.classes import Classes, classes_of
from nfexport.images.evaluate.dataset import DataSet, open_dataset
from nfexport.images.evaluate.evaluation import Evaluation
from nfexport.images.evaluate.evaluation_options import EvaluationOptions
from nfexport.images.evaluate.journal import Header, Journal
from nfexport.images.evaluate.predictions import TOP, ClassOutputs, class_outputs
from nfexport.images.evaluate.runners import TORCH, Runner, TorchRunner, open_runners
from nfexport.images.evaluate.tally import Tally
from nfexport.images.evaluate.truth import read_class_map
from nfexport.images.preprocessor import Preprocessor, preprocessor_of
from nfexport.inspection import FileFacts, inspect
from nfexport.progress import Progress, Stages
from nfexport.recipe.recipe import Recipe

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from nfexport.images.evaluate.evaluation_options import EvaluationKeywords

BATCH = 8
"""Images per run in each thread, for files with a dynamic batch size: larger batches are no faster on one core, and
take more memory."""

INTERVAL = 0.2
"""Seconds between two reports of progress."""

Check = Callable[[FileFacts, ClassOutputs], None]


def evaluate(
    path: str | Path,
    data: str | Path,
    *,
    check: Check | None = None,
    progress: Progress | None = None,
    **keywords: Unpack[EvaluationKeywords],
) -> Evaluation:
    """Measure top-1 and top-5 of a file on the images of a folder, in each of the runtimes.

    data has a folder for each class, or images whose classes a truth file lists. keywords are the fields of
    EvaluationOptions (nfexport.images.evaluate.evaluation_options). check is called with the facts of the file and
    its outputs before the work begins, and may raise.
    Images that cannot be read are skipped, and named in the result.
    Raises OnnxFileError if the file has no recipe or does not return classes, or a runtime refuses it; InputError if
    the data does not fit the file's classes, or the journal is of another evaluation; ImageError if no image can be
    read; what nfexport.sources.load_from_recipe raises, for against; TypeError for a keyword that does not exist."""
    options = EvaluationOptions(**keywords)
    stages = Stages(progress)
    with stages.stage("read"):
        task = _open(Path(path), Path(data), options, check)
    if options.against is not None:
        with stages.stage("model"):
            task.runners.append(_torch_runner(task.recipe, options.checkpoint))
    tally = Tally(task.dataset.truth, task.depths)
    with contextlib.ExitStack() as stack:
        journal = None
        if options.resume is not None:
            journal = stack.enter_context(Journal(Path(options.resume), _header(task, options), tally.add))
        from_journal = tally.read + len(tally.skipped)
        with stages.stage("evaluate"):
            _run(task, tally, journal, stages.progress, workers=options.workers or cores())
    return _result(task, tally, stages.seconds, from_journal)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Task:
    """An evaluation that is ready to run; batch is the number of images per run."""

    path: Path
    facts: FileFacts
    recipe: Recipe
    preprocessor: Preprocessor
    outputs: ClassOutputs
    classes: Classes
    dataset: DataSet
    batch: int
    runners: list[Runner]

    @property
    def full_depth(self) -> int:
        """The number of top classes that make a top-5."""
        return min(TOP, self.recipe.num_classes)

    @property
    def depths(self) -> dict[str, int]:
        """The number of top classes that each runtime returns."""
        return {
            runner.name: self.full_depth if runner.name == TORCH else self.outputs.depth for runner in self.runners
        }

    @property
    def versions(self) -> dict[str, str]:
        """The version of each runtime."""
        return {runner.name: runner.version for runner in self.runners}


def _open(path: Path, data: Path, options: EvaluationOptions, check: Check | None) -> _Task:
    facts = inspect(path)
    recipe = _recipe(facts)
    outputs = class_outputs(recipe)
    preprocessor = preprocessor_of(recipe)
    if check is not None:
        check(facts, outputs)
    batch = _batch_size(recipe, options.batch)
    classes = classes_of(recipe)
    if options.class_map is not None:
        classes = classes_of(recipe, read_class_map(Path(options.class_map), classes))
    truth = None if options.truth is None else Path(options.truth)
    dataset = open_dataset(data, classes, truth=truth, truth_base=options.truth_base).limited(options.limit)
    return _Task(
        path=path,
        facts=facts,
        recipe=recipe,
        preprocessor=preprocessor,
        outputs=outputs,
        classes=classes,
        dataset=dataset,
        batch=batch,
        runners=open_runners(path, recipe, outputs, runtimes=options.runtimes, providers=options.providers),
    )


def _header(task: _Task, options: EvaluationOptions) -> Header:
    return Header(
        model_sha256=model_digest(task.path, task.facts.external_data),
        data_sha256=task.dataset.digest,
        images=len(task.dataset.images),
        batch=task.batch,
        runtimes={**task.versions, "providers": ",".join(options.providers)},
        transform=describe(task.preprocessor),
    )


def _result(task: _Task, tally: Tally, seconds: Mapping[str, float], from_journal: int) -> Evaluation:
    dataset = task.dataset
    if tally.read == 0:
        raise ImageError(
            f"none of the {len(dataset.images):,} images in '{dataset.root}' can be read, the first because "
            f"{tally.skipped[0][1]}",
            fix="check the folder",
        )
    names = task.classes.names
    truth, predicted = tally.predicted()
    return Evaluation(
        path=task.path,
        model_name=task.recipe.model_name,
        recipe_sha256=task.recipe.digest,
        data=dataset,
        transform=describe(task.preprocessor),
        images=tally.read,
        skipped=tuple((dataset.images[index], reason) for index, reason in tally.skipped),
        scores=tally.scores(task.versions, full=task.full_depth),
        agreements=tally.agreements(full=task.full_depth),
        classes=tally.classes(names),
        class_names=names,
        truth=truth,
        predicted=predicted,
        about=task.facts.about,
        seconds=seconds,
        from_journal=from_journal,
    )


def describe(preprocessor: Preprocessor) -> str:
    """Return in words what is done to an image before it enters the file."""
    pre = preprocessor.preprocessing
    size = "any size" if preprocessor.size is None else f"{preprocessor.size[0]}×{preprocessor.size[1]}"
    if pre.crop_mode == "none":
        how = f"{size}, as it is"
    else:
        how = f"{size}, {pre.interpolation}, crop {pre.crop_pct:g} ({pre.crop_mode})"
    mean, std = ("/".join(f"{value:.6g}" for value in values) for values in (pre.mean, pre.std))
    low, high = pre.value_range
    return f"{how}; {pre.channel_order} {pre.layout} {pre.dtype} in {low:g}..{high:g}, mean {mean}, std {std}"


def _recipe(facts: FileFacts) -> Recipe:
    if facts.recipe_error is not None:
        raise facts.recipe_error
    if facts.recipe is None:
        raise OnnxFileError(
            f"'{facts.path}' has no recipe, so how its images are prepared is unknown",
            fix="export the model with nfexport, which writes a recipe into the file",
        )
    return facts.recipe


def _batch_size(recipe: Recipe, wanted: int | None) -> int:
    if recipe.batch == "dynamic":
        return wanted or BATCH
    if wanted not in (None, recipe.batch):
        raise InputError(
            f"the file has a fixed batch size of {recipe.batch} and cannot run batches of {wanted}",
            fix="leave --batch out, or export the model again",
        )
    return recipe.batch


def _torch_runner(recipe: Recipe, checkpoint: str | Path | None) -> Runner:
    from nfexport import sources

    return TorchRunner(
        recipe, sources.load_from_recipe(recipe, checkpoint=None if checkpoint is None else Path(checkpoint))
    )


def _run(task: _Task, tally: Tally, journal: Journal | None, progress: Progress, *, workers: int) -> None:
    started = reported = time.perf_counter()
    known = done = tally.read + len(tally.skipped)
    first = 0 if journal is None else journal.batches
    batches = run_batches(task.dataset, task.runners, size=task.batch, first=first, workers=workers)
    with contextlib.closing(batches):
        for record in batches:
            if journal is not None:
                journal.add(record)
            tally.add(record)
            done += len(record.read) + len(record.skipped)
            now = time.perf_counter()
            if now - reported >= INTERVAL:
                reported = now
                rate = (done - known) / (now - started)
                progress.step(_progress_text(done, len(task.dataset.images), tally, rate))


def _progress_text(done: int, count: int, tally: Tally, rate: float) -> str:
    left = (count - done) / rate
    return (
        f"{done:,} of {count:,} images, top-1 {tally.top1():.2f} %, {rate:.0f} images/s, "
        f"{left // 60:.0f}:{left % 60:02.0f} left"
    )

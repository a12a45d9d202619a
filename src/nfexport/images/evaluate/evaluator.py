"""The way of an evaluation, from a file and a folder to what was found."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from nfexport.errors import ImageError, InputError, OnnxFileError
from nfexport.images.evaluate.accuracy_record import model_digest
from nfexport.images.evaluate.batches import cores, run_batches
from nfexport.images.evaluate.classes import classes_of
from nfexport.images.evaluate.dataset import DataSet, open_dataset
from nfexport.images.evaluate.evaluation import Evaluation
from nfexport.images.evaluate.journal import Header, Journal
from nfexport.images.evaluate.predictions import BEST, Reading, reading_of
from nfexport.images.evaluate.runners import TORCH, Runner, TorchRunner, open_runners
from nfexport.images.evaluate.tally import Tally
from nfexport.images.evaluate.truth import read_class_map
from nfexport.images.preprocessor import Preprocessor, preprocessor_of
from nfexport.inspection import FileFacts, inspect
from nfexport.progress import Progress, Stages
from nfexport.recipe.recipe import Recipe

BATCH = 8
"""Pictures run at once in each thread, for files of any batch: more gain nothing on one core, and take memory."""

EVERY = 0.2
"""Seconds between two words on how far it is."""


def evaluate(
    path: str | Path,
    data: str | Path,
    *,
    truth: str | Path | None = None,
    truth_base: int | None = None,
    class_map: str | Path | None = None,
    runtimes: Sequence[str] = ("onnxruntime",),
    providers: Sequence[str] = (),
    against: Literal["torch"] | None = None,
    checkpoint: str | Path | None = None,
    batch: int | None = None,
    workers: int | None = None,
    limit: int | None = None,
    resume: str | Path | None = None,
    check: Callable[[FileFacts, Reading], None] | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure top-1 and top-5 of a file on the pictures of a folder, in each of the runtimes.

    data has a folder for each class, or pictures whose classes truth lists, from truth_base on; class_map
    says which class a folder's or a truth's name stands for. against 'torch' runs the recipe's model in
    PyTorch beside the file, with the weights of checkpoint if they came from one. batch is the number of
    pictures run at once, workers that of threads that read and run them (by default the cores); limit takes
    so many pictures, spread over all. resume is a journal to go on with, or to start. check is shown the file
    and what it tells before the work begins, and may raise.
    Pictures that cannot be read are skipped, and named in the result.
    Raises OnnxFileError for a file without a recipe or classes, or that a runtime refuses; InputError for
    data that do not fit the file's classes, and for a journal of something else; ImageError if no picture
    can be read; what nfexport.sources.load_from_recipe raises, for against."""
    path, data = Path(path), Path(data)
    stages = Stages(progress)
    with stages.stage("read"):
        facts = inspect(path)
        recipe = _recipe(facts)
        reading = reading_of(recipe)
        form = preprocessor_of(recipe)
        if check is not None:
            check(facts, reading)
        size = _batch(recipe, batch)
        classes = classes_of(recipe)
        if class_map is not None:
            classes = classes_of(recipe, read_class_map(Path(class_map), classes))
        truth = None if truth is None else Path(truth)
        dataset = open_dataset(data, classes, truth=truth, truth_base=truth_base).limited(limit)
        runners = open_runners(path, recipe, reading, runtimes=runtimes, providers=providers)
    if against is not None:
        with stages.stage("model"):
            runners.append(_torch(recipe, checkpoint))
    full = min(BEST, recipe.num_classes)
    depths = {runner.name: full if runner.name == TORCH else reading.depth for runner in runners}
    tally = Tally(dataset.truth, depths)
    versions = {runner.name: runner.version for runner in runners}
    with contextlib.ExitStack() as stack:
        journal = None
        if resume is not None:
            header = Header(
                model_sha256=model_digest(path, facts.external_data),
                data_sha256=dataset.digest,
                pictures=len(dataset.pictures),
                batch=size,
                runtimes={**versions, "providers": ",".join(providers)},
                transform=describe(form),
            )
            journal = stack.enter_context(Journal(Path(resume), header, tally.add))
        known = tally.read + len(tally.skipped)
        with stages.stage("evaluate"):
            _run(dataset, runners, tally, journal, stages.progress, size=size, workers=workers or cores())
    if tally.read == 0:
        raise ImageError(
            f"none of the {len(dataset.pictures):,} pictures in '{data}' can be read, the first as "
            f"{tally.skipped[0][1]}",
            fix="check the folder",
        )
    class_names = classes.names
    true, predicted = tally.predicted()
    return Evaluation(
        path=path,
        model_name=recipe.model_name,
        recipe_sha256=recipe.digest,
        data=dataset,
        transform=describe(form),
        pictures=tally.read,
        skipped=tuple((dataset.pictures[place], reason) for place, reason in tally.skipped),
        scores=tally.scores(versions, full=full),
        agreements=tally.agreements(full=full),
        classes=tally.classes(class_names),
        class_names=class_names,
        truth=true,
        predicted=predicted,
        about=facts.about,
        seconds=stages.seconds,
        from_journal=known,
    )


def describe(form: Preprocessor) -> str:
    """Say in words what is done to a picture before it enters the file."""
    pre = form.preprocessing
    size = "any size" if form.size is None else f"{form.size[0]}×{form.size[1]}"
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
            f"'{facts.path}' has no recipe, so nobody knows how pictures enter it",
            fix="export the model with nfexport",
        )
    return facts.recipe


def _batch(recipe: Recipe, wanted: int | None) -> int:
    if recipe.batch == "dynamic":
        return wanted or BATCH
    if wanted not in (None, recipe.batch):
        raise InputError(
            f"the file takes batches of {recipe.batch}, not of {wanted}", fix="leave --batch out, or export it anew"
        )
    return recipe.batch


def _torch(recipe: Recipe, checkpoint: str | Path | None) -> Runner:
    from nfexport import sources

    return TorchRunner(
        recipe, sources.load_from_recipe(recipe, checkpoint=None if checkpoint is None else Path(checkpoint))
    )


def _run(
    dataset: DataSet,
    runners: Sequence[Runner],
    tally: Tally,
    journal: Journal | None,
    progress: Progress,
    *,
    size: int,
    workers: int,
) -> None:
    started = spoken = time.perf_counter()
    known = done = tally.read + len(tally.skipped)
    first = 0 if journal is None else journal.batches
    batches = run_batches(dataset, runners, size=size, first=first, workers=workers)
    with contextlib.closing(batches):
        for record in batches:
            if journal is not None:
                journal.add(record)
            tally.add(record)
            done += len(record.read) + len(record.skipped)
            now = time.perf_counter()
            if now - spoken >= EVERY:
                spoken = now
                rate = (done - known) / (now - started)
                progress.step(_words(done, len(dataset.pictures), tally, rate))


def _words(done: int, count: int, tally: Tally, rate: float) -> str:
    left = (count - done) / rate
    return (
        f"{done:,} of {count:,} pictures, top-1 {tally.top1():.2f} %, {rate:.0f} a second, "
        f"{left // 60:.0f}:{left % 60:02.0f} left"
    )

"""Compare the result of surgery with the file that it started from, in ONNX Runtime at its defaults.

There is no PyTorch model here, so the file itself is the reference. PyTorch computes its graph: in float64, and in
float32 with and without random rounding, which shows what float32 costs. Where the file has operators that PyTorch
does not compute here, or rounds to whole steps, ONNX Runtime does it instead: at its defaults, without optimisations,
and with every weight off by a unit in the last place at random. The limit is that of the verifier: five times the
worst of these, for each image and output.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from nfexport.errors import OnnxFileError
from nfexport.recipe.recipe import PassStep, Preprocessing
from nfexport.runtimes import Model, Session, open_session
from nfexport.verification.comparison import Comparison, compare
from nfexport.verification.surgery import source_feeds as feeds
from nfexport.verification.surgery.evaluated_source import evaluate_source, why_not_evaluated
from nfexport.verification.surgery.source_reference import Array, Arrays, FileReference, run_in_chunks
from nfexport.verification.tolerance import Float32Tolerance, default_tolerance
from nfexport.verification.verification_report import CaseResult, VerificationReport


@dataclasses.dataclass(frozen=True, kw_only=True)
class Surgery:
    """What surgery did, as far as the comparison has to know it."""

    steps: tuple[PassStep, ...]
    known: Preprocessing | None
    precision: str

    def params(self, name: str) -> Mapping[str, Any]:
        """Return the parameters of a pass; none if it did not run."""
        return next((step.params for step in self.steps if step.name == name), {})


def compare_with_source(
    source: ir.Model,
    result: Model,
    done: Surgery,
    *,
    front: Sequence[PassStep],
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> VerificationReport:
    """Return how far the result is from the source on seeded inputs.

    source is left as it was. front are the preprocessing steps that surgery put into the file.
    Raises OnnxFileError if the runtime refuses either of them, or if the shape of an input is unknown."""
    say = progress or (lambda _: None)
    cut_inputs, cut_outputs = (tuple(done.params("extract").get(end, ())) for end in ("inputs", "outputs"))
    say("loading both files")
    new = open_session(result)
    tolerance = default_tolerance(done.precision)
    cases: list[CaseResult] = []
    fed_with = list(_cases(source, new, done, front, seed))
    say("running the file as it was")
    batches = [old_feeds for _, old_feeds, _, _ in fed_with]
    references, rule = _references(source, batches, (*cut_inputs, *cut_outputs), tolerance)
    for (name, _, new_feeds, batch), (expected, runs) in zip(fed_with, references, strict=True):
        say(f"comparing '{name}', batch {batch}")
        for given in cut_inputs:
            new_feeds[_renamed(done, given)] = expected[given].astype(runs[-1][given].dtype)
        fed = {key: value for key, value in new_feeds.items() if key in new.inputs}
        try:
            actual = run_in_chunks(new, fed)
        except RuntimeError as error:
            stopped = Comparison(passed=False, reason=f"{new.runtime} stopped: {error}")
            cases.append(CaseResult(name=name, batch=batch, output=new.outputs[0], comparison=stopped))
            continue
        for output, judge in _expectations(done, new.outputs, expected):
            comparison = judge(actual, expected, runs, tolerance)
            cases.append(CaseResult(name=name, batch=batch, output=output, comparison=comparison))
    return VerificationReport(
        runtime=new.runtime,
        runtime_version=new.version,
        seed=seed,
        tolerance=rule,
        cases=tuple(cases),
        against="the input file",
    )


def _references(
    source: ir.Model, batches: Sequence[Arrays], extra: Sequence[str], tolerance: Float32Tolerance
) -> tuple[list[tuple[Arrays, list[Arrays]]], str]:
    """Return what the source computes on each batch, in float64 where PyTorch can, and the rule in words."""
    rule = f"{tolerance.factor:g} times what rounding costs the input file"
    reason = why_not_evaluated(source)
    if reason is None:
        try:
            return evaluate_source(source, batches, extra=extra, unit=tolerance.unit), f"{rule} in PyTorch"
        except OnnxFileError as error:
            reason = error.problem
    reference = FileReference(source, extra=extra, unit=tolerance.unit)
    return reference.run(batches), f"{rule} in ONNX Runtime, as {reason}"


def _cases(
    source: ir.Model, new: Session, done: Surgery, front: Sequence[PassStep], seed: int
) -> Iterator[tuple[str, Arrays, Arrays, int]]:
    """Yield a name, feeds for the source, feeds for the result, and the number of entries."""
    images = feeds.image_input(source)
    first = next(iter(new.inputs.values()), ())
    batches = [first[0] if first and isinstance(first[0], int) else None]
    if images is not None:
        batches.append(images.batch)
        fixed = [batch for batch in batches if batch is not None]
        for batch in [math.lcm(*fixed)] if len(fixed) == len(batches) else [math.lcm(*fixed, 3), math.lcm(*fixed)]:
            renamed = _renamed(done, images.name)
            for name, before, after in feeds.image_batches(images, front, done.known, seed=seed, batch=batch):
                yield name, {images.name: before}, {renamed: after}, batch
        return
    for batch in (3, 1) if batches[0] is None else (batches[0],):
        given = feeds.numbers(source, seed=seed, batch=batch)
        yield "seeded numbers", given, {_renamed(done, name): value for name, value in given.items()}, batch


def _renamed(done: Surgery, name: str) -> str:
    return str(done.params("rename").get("names", {}).get(name, name))


Judge = Callable[[Arrays, Arrays, list[Arrays], Any], Comparison]


def _expectations(done: Surgery, outputs: Sequence[str], expected: Arrays) -> Iterator[tuple[str, Judge]]:
    """Yield each output of the result with what judges it."""
    head, old_names = done.params("head"), {new: old for old, new in done.params("rename").get("names", {}).items()}
    topk = head.get("topk") or {}
    logits = head.get("logits") or (next(iter(expected)) if head else None)
    for output in outputs:
        old = old_names.get(output, output)
        if old in (head.get("probs"), topk.get("values"), topk.get("indices")) and logits is not None:
            yield output, _judge_scores(output, logits, topk.get("k"), old == topk.get("indices"))
        elif old == head.get("sigmoid") and logits is not None:
            yield output, _judge_labels(output, logits)
        else:
            yield output, _judge_values(output, old)


def _judge_values(output: str, old: str) -> Judge:
    def judge(actual: Arrays, expected: Arrays, runs: list[Arrays], tolerance: Any) -> Comparison:
        if old not in expected:
            return Comparison(passed=False, reason="the input file has no such output")
        return _compare(actual[output], expected[old], [run[old] for run in runs[1:]], tolerance)

    return judge


def _judge_scores(output: str, logits: str, k: int | None, indices: bool) -> Judge:
    def judge(actual: Arrays, expected: Arrays, runs: list[Arrays], tolerance: Any) -> Comparison:
        scores = softmax(expected[logits])
        others = [softmax(run[logits]) for run in runs[1:]]
        given = actual[output]
        if k is not None and given.shape == (scores.shape[0], k):
            if indices:
                given = np.take_along_axis(scores, np.clip(given, 0, scores.shape[1] - 1), axis=1)
            scores, others = _best(scores, k), [_best(other, k) for other in others]
        return _compare(given, scores, others, tolerance)

    return judge


def _judge_labels(output: str, logits: str) -> Judge:
    def judge(actual: Arrays, expected: Arrays, runs: list[Arrays], tolerance: Any) -> Comparison:
        others = [sigmoid(run[logits]) for run in runs[1:]]
        return _compare(actual[output], sigmoid(expected[logits]), others, tolerance)

    return judge


def _compare(actual: Array, expected: Array, runs: Sequence[Array], tolerance: Any) -> Comparison:
    if actual.dtype.kind in "biu" or actual.ndim == 0:
        same = actual.shape == expected.shape and bool(np.array_equal(actual, expected))
        return Comparison(passed=same, reason="" if same else "its values differ", excess=0.0 if same else None)
    return compare(actual, expected.astype(np.float64), runs, tolerance)


def softmax(logits: Array) -> Array:
    """Return the softmax over the last axis, in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def sigmoid(logits: Array) -> Array:
    """Return the sigmoid of each element, in float64."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits.astype(np.float64))))


def _best(scores: Array, k: int) -> Array:
    return np.asarray(-np.sort(-scores, axis=-1)[:, :k])

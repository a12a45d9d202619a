"""Compare the result of surgery with the file that it started from, in ONNX Runtime at its defaults.

There is no PyTorch model here, so the file itself is the reference, and what float32 costs is measured on it: the
same file without the runtime's optimisations, and with every weight off by a unit in the last place at random. The
limit is that of the verifier: five times the worst of these, for each image and output.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from nfexport.errors import OnnxFileError
from nfexport.recipe.recipe import PassStep, Preprocessing
from nfexport.runtimes import Model, Session, open_session
from nfexport.runtimes.session.in_memory import open_in_memory
from nfexport.verification.comparison import Comparison, compare
from nfexport.verification.surgery import source_feeds as feeds
from nfexport.verification.tolerance import default_tolerance
from nfexport.verification.verification_report import CaseResult, VerificationReport

Array = NDArray[Any]
Arrays = dict[str, Array]

FEWEST_WEIGHTS = 16
"""Elements from which an initializer counts as weights; smaller ones may be sizes, scales or exponents."""


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
    reference = FileReference(source, extra=(*cut_inputs, *cut_outputs), unit=default_tolerance(done.precision).unit)
    tolerance = default_tolerance(done.precision)
    cases: list[CaseResult] = []
    fed_with = list(_cases(source, new, done, front, seed))
    say("running the file as it was")
    answers = reference.run([old_feeds for _, old_feeds, _, _ in fed_with])
    for (name, _, new_feeds, batch), (expected, runs) in zip(fed_with, answers, strict=True):
        say(f"comparing '{name}', batch {batch}")
        for given in cut_inputs:
            new_feeds[_renamed(done, given)] = expected[given]
        fed = {key: value for key, value in new_feeds.items() if key in new.inputs}
        try:
            actual = _in_chunks(new, fed)
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
        tolerance=f"{tolerance.factor:g} times what rounding costs the input file",
        cases=tuple(cases),
        against="the input file",
    )


class FileReference:
    """The source, with the tensors where it was cut as further outputs, run in three ways: one after the other, so
    that the runtime holds its copy of the weights once."""

    def __init__(self, source: ir.Model, *, extra: Sequence[str] = (), unit: float, widen: bool = True) -> None:
        self._model = source.clone()
        self._unit = unit
        if widen:
            _widen_input(self._model)
        values = _values_by_name(self._model)
        known = {value.name for value in self._model.graph.outputs}
        self._model.graph.outputs.extend(values[name] for name in dict.fromkeys(extra) if name not in known)

    def run(self, batches: Sequence[Mapping[str, Array]]) -> list[tuple[Arrays, list[Arrays]]]:
        """Return, for each batch, the outputs at the default level, and those of all runs, the default one first."""
        runs = [self._run_all(open_in_memory(self._model), batches)]
        runs.append(self._run_all(open_in_memory(self._model, optimise=False), batches))
        runs.append(self._run_all(open_in_memory(_shaken(self._model, self._unit)), batches))
        return [(results[0], list(results)) for results in zip(*runs, strict=True)]

    def _run_all(self, session: Session, batches: Sequence[Mapping[str, Array]]) -> list[Arrays]:
        return [self._run_one(session, given) for given in batches]

    def _run_one(self, session: Session, given: Mapping[str, Array]) -> Arrays:
        try:
            return _in_chunks(session, given)
        except RuntimeError as error:
            raise OnnxFileError(
                f"ONNX Runtime cannot run the input file on {feeds.shapes(given)}: {error}",
                fix="pass --no-verify",
            ) from error


def _values_by_name(model: ir.Model) -> dict[str | None, ir.Value]:
    values = [*model.graph.inputs, *model.graph.initializers.values()]
    values += [output for node in model.graph for output in node.outputs]
    return {value.name: value for value in values}


def _widen_input(model: ir.Model) -> None:
    """Let an input of bytes that is only cast take float32: normalised bytes are not whole numbers."""
    for value in model.graph.inputs:
        readers = [use.node for use in value.uses()]
        if readers and all(node.op_type == "Cast" for node in readers):
            value.type = ir.TensorType(ir.DataType.FLOAT)


def _shaken(model: ir.Model, unit: float) -> ir.Model:
    """Return the model with every weight off by a unit in the last place, up, down or not at all. The weights
    are computed when they are written."""
    shaken = model.clone()
    for index, value in enumerate(shaken.graph.initializers.values()):
        tensor = value.const_value
        if tensor is None or tensor.dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
            continue
        if tensor.size >= FEWEST_WEIGHTS:
            grain = unit if tensor.dtype == ir.DataType.FLOAT else max(unit, 2.0**-10)
            value.const_value = ir.LazyTensor(
                functools.partial(_shake, tensor, grain, index),
                tensor.dtype,
                ir.Shape(tensor.shape.numpy()),
                name=tensor.name,
            )
    return shaken


def _shake(tensor: ir.TensorProtocol, grain: float, index: int) -> ir.TensorProtocol:
    array = tensor.numpy()
    noise = np.random.Generator(np.random.Philox(key=index)).integers(-1, 2, array.shape, dtype=np.int8)
    return ir.Tensor((array * (1.0 + grain * noise)).astype(array.dtype), name=tensor.name)


def _in_chunks(session: Session, given: Mapping[str, Array]) -> Arrays:
    """Run a file of a fixed batch as often as needed, and concatenate the outputs."""
    fixed = next((shape[0] for shape in session.inputs.values() if shape and isinstance(shape[0], int)), None)
    total = next((array.shape[0] for array in given.values() if array.ndim), 1)
    if fixed is None or fixed == total or total % fixed:
        return session.run(given)
    parts = [session.run({k: v[i : i + fixed] for k, v in given.items()}) for i in range(0, total, fixed)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


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


def _compare(actual: Array, expected: Array, runs: Sequence[Array], tolerance: Any) -> Comparison:
    if actual.dtype.kind in "biu" or actual.ndim == 0:
        same = actual.shape == expected.shape and bool(np.array_equal(actual, expected))
        return Comparison(passed=same, reason="" if same else "its values differ", excess=0.0 if same else None)
    return compare(actual, expected.astype(np.float64), runs, tolerance)


def softmax(logits: Array) -> Array:
    """Return the softmax over the last axis, in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def _best(scores: Array, k: int) -> Array:
    return np.asarray(-np.sort(-scores, axis=-1)[:, :k])

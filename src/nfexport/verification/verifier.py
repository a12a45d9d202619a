"""Run a file and its PyTorch model on the same images, and compare the outputs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nfexport.errors import OnnxFileError
from nfexport.recipe.recipe import Output
from nfexport.runtimes import Model, Session, open_session, source_of
from nfexport.verification.comparison import Comparison, compare, compare_exact
from nfexport.verification.input_cases import InputCase
from nfexport.verification.larger_batch import chosen, joined, joined_reference
from nfexport.verification.model_under_test import ImageModelUnderTest, ModelUnderTest
from nfexport.verification.referee import Referee
from nfexport.verification.tolerance import Tolerance
from nfexport.verification.verification_report import CaseResult, VerificationReport

if TYPE_CHECKING:
    import torch

    from nfexport.verification.torch_reference import Reference
    from nfexport.verification.weight_check import WeightCheck

REVERSED = ", entries reversed"
"""Ending of the name of a batch that runs in the opposite order."""

Progress = Callable[[str], None]
Observer = Callable[[ModelUnderTest, InputCase, "Reference"], None]
"""Called for each batch with what PyTorch computes on it."""

Computed = tuple[InputCase, "Reference"]
"""A batch, and what PyTorch computes on it."""


def verify_session_against(
    module: torch.nn.Module,
    model: Model,
    under_test: ModelUnderTest,
    *,
    seed: int = 0,
    runtime: str = "onnxruntime",
    tolerance: Tolerance | None = None,
    progress: Progress | None = None,
    observe: Observer | None = None,
) -> VerificationReport:
    """Compare a file in one runtime with the PyTorch model that it came from: see verify_in_runtimes."""
    (report,) = verify_in_runtimes(
        module,
        model,
        under_test,
        seed=seed,
        runtimes=[runtime],
        tolerance=tolerance,
        progress=progress,
        observe=observe,
    )
    return report


def verify_in_runtimes(
    module: torch.nn.Module,
    model: Model,
    under_test: ModelUnderTest,
    *,
    seed: int = 0,
    runtimes: Sequence[str] = ("onnxruntime",),
    providers: Sequence[str] = (),
    tolerance: Tolerance | None = None,
    progress: Progress | None = None,
    observe: Observer | None = None,
) -> tuple[VerificationReport, ...]:
    """Compare an ONNX file, given as a path or as bytes, with the PyTorch model that it came from, in each of
    the runtimes; PyTorch computes each batch once for all of them.

    module: float32, on the CPU, in evaluation mode, returning what under_test.outputs lists; it is run and left
    as it was. Runs every batch of `under_test.cases(seed)`; where a batch
    holds several images, the file also runs them in the opposite order, and the first batches joined to a larger
    one, so that entries which influence one another show; the smallest runs twice more, so that chance does. Under
    the default tolerance every stored number is accounted for too (weight_check.py), where
    under_test.weights_explained says that the module can. progress is called with a few words before each step,
    observe with each batch and its reference.

    providers are ONNX Runtime's execution providers, the preferred one first. Returns a report for each
    runtime, in their order. A file that differs is a report that has not passed. Raises OnnxFileError if a
    runtime refuses the file or the file has no such input or output, InputError or MissingPackage for a
    runtime or provider that is not there, ValueError if the module is in training mode."""
    say = progress or (lambda _: None)
    rule = tolerance or under_test.tolerance
    sessions = [_opened(model, runtime, providers, under_test, say) for runtime in runtimes]
    results: list[list[CaseResult]] = [[] for _ in sessions]
    cases = under_test.cases(seed)
    together, references = chosen(cases), []
    for case in cases:
        say(f"comparing '{case.name}', batch {case.batch}")
        referee = _referee(module, case, under_test, rule)
        for session, found in zip(sessions, results, strict=True):
            judged = functools.partial(
                compare_with, session=session, case=case, under_test=under_test, tolerance=rule
            )
            found += referee.judge(rule, judged)
        if observe is not None:
            observe(under_test, case, referee.reference)
        if any(case is one for one in together) and referee.reference.has_entries(case.batch):
            references.append(referee.reference)
    say("comparing a larger batch")
    smallest = min(cases, key=lambda case: case.batch)
    known = references if len(references) == len(together) else []
    for session, found in zip(sessions, results, strict=True):
        if known:
            found += _larger(module, session, joined(together), joined_reference(known), under_test, rule)
        found += repeated(session, smallest, under_test)
    # after the runs: some models (LeViT) keep what they compute first, in the type of that run
    weights = _account(module, model, under_test, seed, say) if tolerance is None else None
    shared: dict[str, Any] = {"seed": seed, "tolerance": rule.describe(), "weights": weights}
    return tuple(_report(session, found, **shared) for session, found in zip(sessions, results, strict=True))


def _report(session: Session, cases: Sequence[CaseResult], **shared: Any) -> VerificationReport:
    return VerificationReport(
        runtime=session.runtime,
        runtime_version=session.version,
        providers=session.providers,
        cases=tuple(cases),
        **shared,
    )


def _account(
    module: torch.nn.Module, model: Model, under_test: ModelUnderTest, seed: int, say: Progress
) -> WeightCheck | None:
    """Account for the numbers that a file stores; None where the module cannot."""
    if not under_test.weights_explained:
        return None
    from nfexport.verification.weight_check import check_weights  # torch, which only a comparison needs

    say("accounting for the stored numbers")
    return check_weights(
        module,
        model,
        lambda: example_of(under_test, seed),
        factors_moved=under_test.factors_moved,
        front=under_test.form if isinstance(under_test, ImageModelUnderTest) else None,
        was_half=under_test.precision.startswith("fp16"),
    )


def example_of(under_test: ModelUnderTest, seed: int) -> Sequence[torch.Tensor]:
    """Return the smallest batch as the network receives it, in float64."""
    from nfexport.verification.torch_reference import tensors_of

    case = min(under_test.cases(seed), key=lambda case: case.batch)
    return tensors_of(one.exact for one in under_test.to_network(case.arrays))


def _opened(
    model: Model, runtime: str, providers: Sequence[str], under_test: ModelUnderTest, say: Callable[[str], None]
) -> Session:
    """Load the file into a runtime, and hold its inputs and outputs to what is claimed."""
    say(f"loading into {runtime}")
    session = open_session(model, runtime=runtime, providers=providers)
    check_interface(session, under_test.input_names, [output.name for output in under_test.outputs], source_of(model))
    return session


def check_interface(session: Session, input_names: Sequence[str], output_names: Sequence[str], source: str) -> None:
    """Raise OnnxFileError unless the file has exactly these inputs, and outputs of these names."""
    if set(session.inputs) != set(input_names):
        names = ", ".join(session.inputs) or "none"
        raise OnnxFileError(
            f"{source} has the inputs {names} where its recipe says '{', '.join(input_names)}'",
            fix="export the model again",
        )
    for name in output_names:
        if name not in session.outputs:
            raise OnnxFileError(
                f"{source} has the outputs {', '.join(session.outputs)} where its recipe says '{name}'",
                fix="export the model again",
            )


def reference_for(
    module: torch.nn.Module, case: InputCase, under_test: ModelUnderTest, tolerance: Tolerance
) -> Reference:
    """Return what PyTorch computes on one batch; it does not depend on a runtime."""
    return _referee(module, case, under_test, tolerance).reference


def _referee(module: torch.nn.Module, case: InputCase, under_test: ModelUnderTest, tolerance: Tolerance) -> Referee:
    names = [output.name for output in under_test.outputs]
    return Referee(module, under_test.to_network(case.arrays), names, unit=tolerance.unit)


def compare_with(
    reference: Reference, session: Session, case: InputCase, under_test: ModelUnderTest, tolerance: Tolerance
) -> Iterator[CaseResult]:
    """Compare one batch with what reference_for returned, and the same batch with its entries in the opposite
    order, output by output."""
    yield from _results(session, case, reference, under_test, tolerance)
    if case.batch > 1 and reference.has_entries(case.batch):
        backwards = case.with_arrays([array[::-1] for array in case.arrays], name=f"{case.name}{REVERSED}")
        yield from _results(session, backwards, reference.reversed(), under_test, tolerance)


def _larger(
    module: torch.nn.Module,
    session: Session,
    case: InputCase,
    expected: Reference,
    under_test: ModelUnderTest,
    tolerance: Tolerance,
) -> Sequence[CaseResult]:
    """Compare a larger batch with what PyTorch computes of its parts; where they differ, of the whole, as the entries
    of a user's own module may influence one another."""
    found = list(_results(session, case, expected, under_test, tolerance))
    if all(result.comparison.passed for result in found):
        return found
    whole = _referee(module, case, under_test, tolerance)
    return whole.judge(tolerance, lambda reference: _results(session, case, reference, under_test, tolerance))


def repeated(session: Session, case: InputCase, under_test: ModelUnderTest) -> Iterator[CaseResult]:
    """Run one batch twice in ONNX Runtime on the CPU, which is deterministic, and yield each output whose bits
    differ."""
    if session.runtime != "onnxruntime" or set(session.providers) - {"CPUExecutionProvider"}:
        return
    try:
        first, second = (session.run(under_test.feeds(case.arrays)) for _ in range(2))
    except RuntimeError:
        return  # that it stops is said of this batch already
    for output in under_test.outputs:
        if first[output.name].tobytes() != second[output.name].tobytes():
            differs = Comparison(passed=False, reason="two runs on the same inputs differ: it computes at random")
            yield CaseResult(name=case.name, batch=case.batch, output=output.name, comparison=differs)


def _results(
    session: Session, case: InputCase, wanted: Reference, under_test: ModelUnderTest, tolerance: Tolerance
) -> Iterator[CaseResult]:
    try:
        actual = session.run(under_test.feeds(case.arrays))
    except RuntimeError as error:
        stopped = Comparison(passed=False, reason=f"{session.runtime} stopped: {error}")
        yield CaseResult(name=case.name, batch=case.batch, output=under_test.outputs[0].name, comparison=stopped)
        return
    for output in under_test.outputs:
        expected, float32 = wanted.expected[output.name], wanted.float32[output.name]
        judge = _compare_indices if output.kind == "topk-indices" else _compare_values
        comparison = judge(actual[output.name], expected, float32, output, tolerance)
        yield CaseResult(name=case.name, batch=case.batch, output=output.name, comparison=comparison)


def _compare_values(
    actual: NDArray[Any], expected: NDArray[Any], float32: Sequence[NDArray[Any]], _: Output, tolerance: Tolerance
) -> Comparison:
    if expected.dtype.kind in "biu":
        return compare_exact(actual, expected, float32)
    return compare(actual, expected, float32, tolerance)


def _compare_indices(
    actual: NDArray[Any],
    scores: NDArray[Any],
    float32: Sequence[NDArray[Any]],
    output: Output,
    tolerance: Tolerance,
) -> Comparison:
    """Judge the indices of a TopK by the scores that they point at: where two scores differ by less than rounding,
    either order is right."""
    k = output.k or 1
    if actual.shape != (scores.shape[0], k):
        return Comparison(passed=False, reason=f"its shape is {actual.shape} instead of {(scores.shape[0], k)}")
    if actual.dtype.kind != "i" or ((actual < 0) | (actual >= scores.shape[1])).any():
        return Comparison(passed=False, reason=f"its values are not indices of {scores.shape[1]} classes")
    if any(len(set(row)) != k for row in actual.tolist()):
        return Comparison(passed=False, reason="it names a class twice")
    picked = np.take_along_axis(scores, actual, axis=1)
    return compare(picked, _largest(scores, k), [_largest(run, k) for run in float32], tolerance)


def _largest(scores: NDArray[Any], k: int) -> NDArray[Any]:
    return -np.sort(-scores, axis=1)[:, :k]

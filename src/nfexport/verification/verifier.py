"""Run a file and its PyTorch model on the same pictures and compare: the spine of this package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

from nfexport.errors import OnnxFileError
from nfexport.recipe import Preprocessing
from nfexport.verification.compare import Comparison, compare
from nfexport.verification.inputs import InputCase, default_cases
from nfexport.verification.report import CaseResult, VerificationReport
from nfexport.verification.runtimes import Model, Session, open_session, source_of
from nfexport.verification.tolerance import Float32Tolerance, Tolerance

if TYPE_CHECKING:
    import torch

    from nfexport.verification.reference import Reference

Progress = Callable[[str], None]


def verify_session_against(
    module: torch.nn.Module,
    model: Model,
    *,
    input_name: str,
    output_name: str,
    batch: int | Literal["dynamic"],
    image_size: tuple[int, int],
    in_channels: int,
    preprocessing: Preprocessing,
    seed: int = 0,
    runtime: str = "onnxruntime",
    tolerance: Tolerance | None = None,
    progress: Progress | None = None,
) -> VerificationReport:
    """Compare an ONNX file, given as a path or as bytes, with the PyTorch model that it came from.

    module: float32, on the CPU, in evaluation mode; it is run and left as it was. image_size is (height,
    width) in pixels. Runs every batch of `default_cases(seed)`; where a batch holds several pictures, the
    file also runs them in the opposite order, so entries that influence one another show. progress is told
    in a few words what is being done.

    A file that differs is a report that has not passed. Raises OnnxFileError if the runtime refuses the file
    or the file has no such input or output, InputError or MissingPackage for a runtime that is not there,
    ValueError if the module is in training mode."""
    say = progress or (lambda _: None)
    rule = tolerance or Float32Tolerance()
    say(f"loading into {runtime}")
    session = open_session(model, runtime=runtime)
    check_interface(session, input_name, output_name, source_of(model))
    cases = default_cases(
        seed=seed,
        batch=batch,
        in_channels=in_channels,
        image_size=image_size,
        preprocessing=preprocessing,
    )
    results: list[CaseResult] = []
    for case in cases:
        say(f"comparing '{case.name}', batch {case.batch}")
        results += compare_case(module, session, case, input_name, output_name, rule)
    return VerificationReport(
        runtime=session.runtime,
        runtime_version=session.version,
        seed=seed,
        tolerance=rule.describe(),
        cases=tuple(results),
    )


def check_interface(session: Session, input_name: str, output_name: str, source: str) -> None:
    """Raise OnnxFileError unless the file has this one input, and an output of this name."""
    if tuple(session.inputs) != (input_name,):
        names = ", ".join(session.inputs) or "none"
        raise OnnxFileError(
            f"{source} has the inputs {names} where its recipe says '{input_name}'",
            fix="export the model again",
        )
    if output_name not in session.outputs:
        raise OnnxFileError(
            f"{source} has the outputs {', '.join(session.outputs)} where its recipe says '{output_name}'",
            fix="export the model again",
        )


def compare_case(
    module: torch.nn.Module,
    session: Session,
    case: InputCase,
    input_name: str,
    output_name: str,
    tolerance: Tolerance,
) -> Iterator[CaseResult]:
    """Compare one batch, and the same batch with its entries in the opposite order."""
    from nfexport.verification.reference import evaluate  # torch, which only a comparison needs

    reference = evaluate(module, case.array, [output_name])

    def outcome(name: str, batch: InputCase, wanted: Reference) -> CaseResult:
        try:
            actual = session.run({input_name: batch.array})[output_name]
        except RuntimeError as error:
            comparison = Comparison(passed=False, reason=f"{session.runtime} stopped: {error}")
        else:
            comparison = compare(actual, wanted.expected[output_name], wanted.float32[output_name], tolerance)
        return CaseResult(name=name, batch=batch.batch, output=output_name, comparison=comparison)

    yield outcome(case.name, case, reference)
    if case.batch > 1:
        backwards = InputCase(name=case.name, batch=case.batch, array=case.array[::-1].copy())
        yield outcome(f"{case.name}, entries reversed", backwards, reference.reversed())

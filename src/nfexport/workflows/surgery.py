"""Surgery on any ONNX file: read, plan, run the passes, write, compare, and only then move it to its final name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from nfexport.errors import OnnxFileError, PassError, RecipeError, UnknownOption, VerificationFailed
from nfexport.graph.atomic_files import check_target
from nfexport.graph.model_writer import staged_model, write_model
from nfexport.inspection import FileFacts, inspect
from nfexport.passes import registry
from nfexport.passes.base import Bundle, Pass, Request
from nfexport.passes.ledger import LedgerEntry, run_with_ledger
from nfexport.passes.plan import plan, step_of
from nfexport.progress import Progress, Stages
from nfexport.recipe.export_options import SurgeryOptions
from nfexport.recipe.interface import precision as precision_of
from nfexport.recipe.interface import steps_in_front
from nfexport.recipe.opsets import check_opset
from nfexport.recipe.recipe import Operation, PassStep, Preprocessing, Recipe
from nfexport.recipe.statistics import statistics
from nfexport.workflows.requests import surgery_options
from nfexport.workflows.surgery_record import Record, check_once, read_record, updated_metadata

if TYPE_CHECKING:
    import onnx_ir as ir
    from typing_extensions import Unpack

    from nfexport.runtimes import Model
    from nfexport.verification.verification_report import VerificationReport
    from nfexport.workflows.keywords import SurgeryKeywords

Source = Any
"""A path, an onnx.ModelProto or an onnx_graphsurgeon.Graph."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SurgeryResult:
    """What surgery did: the steps in order, the ledger of what each did, and the comparison with the input.

    path is None if nothing was written. model is the result, of the kind that the source was (a ModelProto
    for a path); None if a file was written, or after a dry run, which fills in no more than steps."""

    source: str
    path: Path | None
    steps: tuple[PassStep, ...]
    ledger: tuple[LedgerEntry, ...]
    facts: FileFacts | None
    recipe: Recipe | None
    verification: VerificationReport | None
    seconds: dict[str, float]
    model: Any = None

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values for JSON."""
        return {
            "source": self.source,
            "path": None if self.path is None else str(self.path),
            "plan": [
                {
                    **msgspec.to_builtins(step),
                    "params": dict(step.params),
                    "does": registry.get(step.name).headline(),
                    "formula": registry.get(step.name).formula,
                }
                for step in self.steps
            ],
            "ledger": [dataclasses.asdict(entry) for entry in self.ledger],
            "file": None if self.facts is None else self.facts.to_dict(),
            "verification": None if self.verification is None else self.verification.to_dict(),
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
        }


def surgery(
    source: Source,
    output: str | Path | None = None,
    *,
    force: bool = False,
    dry_run: bool = False,
    verify: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
    **keywords: Unpack[SurgeryKeywords],
) -> SurgeryResult:
    """Apply graph passes to an ONNX model from any producer, and compare the result with it.

    source: a path, a ModelProto or a graphsurgeon Graph; the last two are left as they were. With output the
    result is written there, under a temporary name first; without it is returned, of the kind that source is.
    keywords are the options of the graph passes and the fields of SurgeryOptions (nfexport.recipe.export_options).
    What is asked for is a set: the passes run in their own order (`nfexport passes`); optimize stands for every fold
    and rewrite that makes the file faster. mean and std are the statistics that the network was trained with, for
    normalize. With external_data the weights are stored in '<output>.data' next to the file, wherever those of the
    source are; None keeps them in it where 2 GiB hold them.

    A recipe in the file is kept up to date. A step in front of the network that the file has had is refused
    unless forced. Raises NfexportError (see nfexport.errors); VerificationFailed if the result differs from
    the input beyond rounding."""
    from nfexport.graph.model_reader import read_model

    options = _checked(keywords)
    target = None if output is None else Path(output)
    if target is not None:
        check_target(target)
    stages = Stages(progress)
    with stages.stage("read"):
        model = read_model(source)
        record = read_record(model.metadata_props)
    _check_not_int8(record, options)
    if not force and options.passes.get("resize") is not None:
        # planned without the recipe's own crop, which a resize in the file has taken over
        check_once(record, [PassStep(name="resize")])
    network = _network(record, options)
    passes = _planned(model, options, network)
    steps = tuple(step_of(item) for item in passes)
    in_front = steps_in_front(steps)
    if not force:
        check_once(record, in_front)
        _check_not_normalised(model, record, in_front)
    name = str(source) if isinstance(source, str | Path) else "the model"
    result = SurgeryResult(
        source=name,
        path=None,
        steps=steps,
        ledger=(),
        facts=None,
        recipe=record.recipe,
        verification=None,
        seconds=stages.seconds,
    )
    if dry_run:
        return result
    compared = _Comparing(model.clone(), network, steps, in_front, seed, stages) if verify else None
    with stages.stage("passes"):
        ledger = run_with_ledger(model, passes, stages.progress.step)
    operation = Operation(command="surgery", options=_recorded(options), steps=steps)
    own = network if options.mean is not None else None
    metadata = updated_metadata(record, operation, model.metadata_props, own)
    model.metadata_props.clear()
    model.metadata_props.update(metadata)
    result = dataclasses.replace(result, ledger=tuple(ledger), recipe=read_record(metadata).recipe, path=target)
    if target is None:
        return _returned(model, source, result, compared)
    return _written(model, target, result, compared, stages, external_data=options.external_data)


def _checked(keywords: Mapping[str, Any]) -> SurgeryOptions:
    """Return the options of a surgery.

    Raises TypeError for a keyword that does not exist, RecipeError for a value that an option does not take."""
    try:
        options = surgery_options(keywords)
    except UnknownOption as error:
        raise TypeError(f"surgery(): {error}") from error
    if (opset := options.passes.get("opset")) is not None:
        check_opset(opset)
    return options


def _written(
    model: ir.Model,
    target: Path,
    result: SurgeryResult,
    compared: _Comparing | None,
    stages: Stages,
    *,
    external_data: bool | None,
) -> SurgeryResult:
    """Write the model, and return the result once it is checked, compared and has its name."""
    with staged_model(target) as partial:
        with stages.stage("write"):
            write_model(model, partial, external_data=external_data)
            facts = dataclasses.replace(inspect(partial), path=target)
            _check(partial)
        report = compared.check(partial) if compared else None
    return dataclasses.replace(result, facts=facts, verification=report)


def _returned(model: ir.Model, source: Source, result: SurgeryResult, compared: _Comparing | None) -> SurgeryResult:
    """Return the result with the model itself, of the kind that the source is."""
    from nfexport.graph.model_reader import write_back
    from nfexport.runtimes.session.in_memory import openable

    made = write_back(model, like=source)
    with openable(model) as written:
        _check(written)
        report = compared.check(written) if compared else None
    return dataclasses.replace(result, model=made, verification=report)


def _check_not_int8(record: Record, options: SurgeryOptions) -> None:
    extracts = options.passes.get("extract_inputs") or options.passes.get("extract_outputs")
    if record.recipe is not None and precision_of(record.recipe) == "int8" and not extracts:
        raise PassError(
            "the file is int8, and its recipe holds the digest of the graph that was quantised",
            fix="do it to the float file, and quantise the result",
        )


def _network(record: Record, options: SurgeryOptions) -> Preprocessing | None:
    """Return the preprocessing that the file's input expects, from its recipe or the user's options."""
    known = None
    if record.recipe is not None and not record.recipe.tensors:
        known = msgspec.structs.replace(record.recipe.preprocessing, dtype="float32", layout="nchw")
    if options.mean is None and options.std is None:
        return known
    if options.passes.get("normalize") is None:
        flag = "--std" if options.mean is None else "--mean"
        raise RecipeError(f"{flag} is for normalising, which is not requested", fix="add --normalize")
    if options.mean is None or options.std is None:
        raise RecipeError("--mean and --std belong together", fix="pass both, or neither for the model's own")
    own = statistics(options.mean, options.std)
    if known is None:
        # how images are resized stays unknown
        known = Preprocessing(mean=own.mean, std=own.std, crop_pct=1.0, crop_mode="none", interpolation="none")
    return msgspec.structs.replace(known, mean=own.mean, std=own.std)


def _planned(model: ir.Model, options: SurgeryOptions, network: Preprocessing | None) -> tuple[Pass, ...]:
    """Return the passes that the options ask for. Raises RecipeError if they ask for nothing."""
    from nfexport.verification.surgery.source_feeds import image_input

    source = image_input(model)
    opset = options.passes.get("opset")
    request = Request(
        command="surgery",
        values=options.passes,
        network=network,
        channels=None if source is None else source.channels,
        opset=opset if opset is not None else model.opset_imports.get("", 1),
    )
    bundles = {Bundle.SURGERY, *([Bundle.OPTIMIZE] if options.optimize else [])}
    passes = plan(request, bundles, extra=options.extra_passes)
    if all(Bundle.SURGERY in item.implied_by for item in passes):
        raise RecipeError("no pass is requested", fix="name a pass, such as --fold-ws; see 'nfexport surgery --help'")
    return passes


def _recorded(options: SurgeryOptions) -> dict[str, Any]:
    """Return the options as the recipe keeps them: by keyword, without those that have their default, and without
    where the weights are stored."""
    plain: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(options, external_data=None))
    passes = plain.pop("passes", {})
    return {**plain, **passes}


@dataclasses.dataclass(frozen=True)
class _Comparing:
    original: ir.Model
    known: Preprocessing | None
    steps: tuple[PassStep, ...]
    in_front: Sequence[PassStep]
    seed: int
    stages: Stages

    def check(self, result: Model) -> VerificationReport:
        """Compare, and raise VerificationFailed where the result differs."""
        from nfexport.verification.surgery.source_comparison import Surgery, compare_with_source

        precision = next((str(s.params["form"]) for s in self.steps if s.name == "precision"), "float32")
        done = Surgery(steps=self.steps, known=self.known, precision=precision)
        with self.stages.stage("verify"):
            report = compare_with_source(
                self.original,
                result,
                done,
                front=steps_in_front(self.in_front),
                seed=self.seed,
                progress=self.stages.progress.step,
            )
        if not report.passed:
            raise VerificationFailed(
                f"the result does not compute what the input file does: {report.summary()}",
                fix="nothing was written; leave out passes one by one to find the one, and report it",
                report=report,
            )
        return report


def _check_not_normalised(model: ir.Model, record: Record, in_front: Sequence[PassStep]) -> None:
    """Raise PassError if a file without a record of its passes seems to normalise its input."""
    from nfexport.passes.front.preprocessing.first_convolutions import per_channel_nodes
    from nfexport.passes.front.preprocessing.graph_head import find_head

    if record.front or record.recipe is not None or not any(step.name == "normalize" for step in in_front):
        return
    nodes, _ = per_channel_nodes(find_head(model))
    if nodes:
        raise PassError(
            f"the file seems to normalise its input already: it starts with '{nodes[0].name}' ({nodes[0].op_type})",
            fix="leave out --normalize, or pass --force to normalise what that node is given",
        )


def _check(model: Model) -> None:
    """Run onnx's checker on the result, with shape inference."""
    import onnx

    from nfexport.graph.checker import refusal

    reason: str | None
    if isinstance(model, bytes):
        try:
            onnx.checker.check_model(model, full_check=True)
            return
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            reason = str(error).strip().splitlines()[0]
    elif (reason := refusal(Path(model))) is None:
        return
    raise OnnxFileError(
        f"the result is refused by onnx's checker ({reason})",
        fix="nothing was written; leave out passes one by one to find the one, and report it",
    )

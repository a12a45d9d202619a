"""Surgery on any ONNX file: read, plan, run with a ledger, write, compare, and only then give it its name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nfexport.errors import OnnxFileError, PassError, RecipeError, VerificationFailed
from nfexport.graph.atomic_files import check_target
from nfexport.graph.model_writer import staged_model, write_model
from nfexport.inspection import FileFacts, inspect
from nfexport.passes import plan
from nfexport.passes.ledger import LedgerEntry, formula, headline, run_with_ledger
from nfexport.progress import Progress, Stages
from nfexport.recipe import speed
from nfexport.recipe.interface import precision as precision_of
from nfexport.recipe.interface import steps_in_front
from nfexport.recipe.opsets import check_opset
from nfexport.recipe.recipe import PassStep, Preprocessing, Recipe
from nfexport.recipe.record import Record, check_once, read_record, updated_metadata
from nfexport.recipe.speed import Speed
from nfexport.recipe.steps import Front

if TYPE_CHECKING:
    import onnx_ir as ir

    from nfexport.runtimes import Model
    from nfexport.verification.verification_report import VerificationReport

Source = Any
"""A path, an onnx.ModelProto or an onnx_graphsurgeon.Graph."""

CLEARING = ("fold-constants", "drop-expand", "static-shapes")
"""What the folding passes need to see constants and shapes; they change no number and no interface."""

CLEARED_FOR = (
    "fold-ws",
    "fold-scales",
    "merge-groups",
    "merge-affine",
    "merge-pads",
    "multiply-gates",
    "convert-opset",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SurgeryResult:
    """What surgery did: the steps in order, the ledger of what each did, and the comparison with the input.

    path is None if nothing was written. model is the outcome, of the kind that the source was (a ModelProto
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
                {**dataclasses.asdict(step), "does": headline(step.name), "formula": formula(step.name)}
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
    fold_ws: bool = False,
    fold_bn: bool = False,
    fold_scales: bool = False,
    optimize: bool = False,
    merge_groups: bool | None = None,
    merge_affine: bool | None = None,
    pool_globally: bool | None = None,
    merge_pads: bool | None = None,
    multiply_gates: bool | None = None,
    normalize: Literal["nodes", "fold"] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    input_range: float | None = None,
    channels: Literal["rgb", "bgr"] | None = None,
    input_dtype: Literal["uint8", "float32", "float16"] | None = None,
    input_layout: Literal["nchw", "nhwc"] | None = None,
    resize: Literal["any"] | tuple[int, int] | None = None,
    outputs: Sequence[Literal["logits", "probs", "topk"]] = (),
    logits: str | None = None,
    top_k: int = 5,
    extract_inputs: Sequence[str] = (),
    extract_outputs: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    batch: int | Literal["dynamic"] | None = None,
    opset: int | None = None,
    precision: Literal["fp16", "fp16-weights"] | None = None,
    simplify: bool = False,
    strip: bool = False,
    external_data: bool | None = None,
    force: bool = False,
    dry_run: bool = False,
    verify: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> SurgeryResult:
    """Apply graph passes to an ONNX model, whoever made it, and compare the outcome with it.

    source: a path, a ModelProto or a graphsurgeon Graph; the last two are left as they were. With output the
    outcome is written there, beside the target first; without it is returned, of the kind that source is.
    What is asked for is a set: the passes run in their own order (nfexport.passes.ORDER); optimize stands for
    every fold and rewrite that makes the file faster (nfexport.speed). normalize to resize
    say what stands in front of the network (nfexport.recipe.steps.Front); outputs what the file gives instead of
    the logits; logits names them where there are several outputs. With external_data the weights lie in
    '<output>.data' beside the file, wherever those of the source lie; None keeps them in it where 2 GiB hold
    them.

    A recipe in the file is kept up to date. A step in front of the network that the file has had is refused
    unless forced. Raises NfexportError (see nfexport.errors); VerificationFailed if the outcome differs from
    the input beyond rounding."""
    from nfexport.graph.model_reader import read_model, write_back
    from nfexport.runtimes.session.in_memory import openable

    target = None if output is None else Path(output)
    if target is not None:
        check_target(target)
    if opset is not None:
        check_opset(opset)
    stages = Stages(progress)
    with stages.stage("read"):
        model = read_model(source)
        record = read_record(model.metadata_props)
    if (
        record.recipe is not None
        and precision_of(record.recipe) == "int8"
        and not (extract_inputs or extract_outputs)
    ):
        raise PassError(
            "the file is int8, and its recipe holds the digest of the graph that was quantised",
            fix="do it to the float file, and quantise the outcome",
        )
    front = Front(
        normalize=normalize,
        mean=mean,
        std=std,
        input_range=input_range,
        channels=channels,
        input_dtype=input_dtype,
        input_layout=input_layout,
        resize=resize,
    )
    in_front = _front_steps(front, record, model, opset)
    rewrites = Speed(
        optimize=optimize,
        merge_groups=merge_groups,
        merge_affine=merge_affine,
        pool_globally=pool_globally,
        merge_pads=merge_pads,
        multiply_gates=multiply_gates,
    )
    wanted: dict[str, Mapping[str, Any] | None] = {
        "head": _head_params(outputs, logits, top_k),
        "extract": _extract_params(extract_inputs, extract_outputs),
        "rename": {"names": dict(rename)} if rename else None,
        "batch": None if batch is None else {"size": batch},
        "convert-opset": None if opset is None else {"opset": opset},
        "precision": None if precision is None else {"form": precision},
    }
    asked = [PassStep(name=name, params=params) for name, params in wanted.items() if params is not None] + in_front
    asked += speed.steps(
        *speed.flagged(fold_ws=fold_ws, fold_bn=fold_bn, fold_scales=fold_scales, simplify=simplify, strip=strip),
        *rewrites.names("fold-ws", "fold-bn", "fold-scales"),
    )
    if not asked:
        raise RecipeError("nothing is asked for", fix="name a pass, such as --fold-ws; see 'nfexport surgery --help'")
    steps = plan(asked, always=_always({step.name for step in asked}))
    if not force:
        check_once(record, in_front)
        _check_not_normalised(model, record, in_front)
    name = str(source) if isinstance(source, str | Path) else "the model"
    if dry_run:
        return SurgeryResult(
            source=name,
            path=None,
            steps=steps,
            ledger=(),
            facts=None,
            recipe=record.recipe,
            verification=None,
            seconds=stages.seconds,
        )
    original = model.clone() if verify else model
    with stages.stage("passes"):
        ledger = run_with_ledger(model, steps, stages.progress.step)
    metadata = updated_metadata(record, steps, model.metadata_props)
    model.metadata_props.clear()
    model.metadata_props.update(metadata)
    after = read_record(metadata)
    compared = _Comparing(original, record, steps, in_front, seed, stages) if verify else None
    if target is None:
        outcome = write_back(model, like=source)
        with openable(model) as written:
            _check(written)
            report = compared.check(written) if compared else None
        facts = None
    else:
        outcome = None
        with staged_model(target) as partial:
            with stages.stage("write"):
                write_model(model, partial, external_data=external_data)
                facts = dataclasses.replace(inspect(partial), path=target)
                _check(partial)
            report = compared.check(partial) if compared else None
    return SurgeryResult(
        source=name,
        path=target,
        steps=steps,
        ledger=tuple(ledger),
        facts=facts,
        recipe=after.recipe,
        verification=report,
        seconds=stages.seconds,
        model=outcome,
    )


@dataclasses.dataclass(frozen=True)
class _Comparing:
    original: ir.Model
    record: Record
    steps: tuple[PassStep, ...]
    in_front: Sequence[PassStep]
    seed: int
    stages: Stages

    def check(self, outcome: Model) -> VerificationReport:
        """Compare, and raise VerificationFailed where the outcome differs."""
        from nfexport.verification.surgery.source_comparison import Surgery, compare_with_source

        precision = next((str(s.params["form"]) for s in self.steps if s.name == "precision"), "float32")
        done = Surgery(steps=self.steps, known=_known(self.record, self.in_front), precision=precision)
        with self.stages.stage("verify"):
            report = compare_with_source(
                self.original,
                outcome,
                done,
                front=steps_in_front(self.in_front),
                seed=self.seed,
                progress=self.stages.progress.step,
            )
        if not report.passed:
            raise VerificationFailed(
                f"the outcome does not compute what the input file does: {report.summary()}",
                fix="nothing was written; leave out passes one by one to find the one, and report it",
                report=report,
            )
        return report


def _known(record: Record, in_front: Sequence[PassStep]) -> Preprocessing | None:
    """Return what the source's own input is to be filled with."""
    if record.recipe is None:
        return None
    return dataclasses.replace(record.recipe.preprocessing, dtype="float32", layout="nchw")


def _front_steps(front: Front, record: Record, model: ir.Model, opset: int | None) -> list[PassStep]:
    from nfexport.verification.surgery.source_feeds import image_input

    network = record.recipe.preprocessing if record.recipe is not None else None
    source = image_input(model)
    final = opset if opset is not None else model.opset_imports.get("", 1)
    return front.steps(network=network, channels=None if source is None else source.channels, opset=final)


def _check_not_normalised(model: ir.Model, record: Record, in_front: Sequence[PassStep]) -> None:
    """Raise PassError if a file that tells nothing of itself starts as one that normalises its input."""
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


def _head_params(outputs: Sequence[str], logits: str | None, k: int) -> dict[str, Any] | None:
    asked = set(outputs)
    if not asked - {"logits"}:
        if logits is not None:
            raise RecipeError("--logits is for --output, which nobody asked for", fix="add --output probs or topk")
        return None
    return {
        "logits": logits,
        "probs": "probs" if "probs" in asked else None,
        "topk": {"k": k, "values": "topk_values", "indices": "topk_indices"} if "topk" in asked else None,
        "keep_logits": "logits" in asked,
    }


def _extract_params(inputs: Sequence[str], outputs: Sequence[str]) -> dict[str, Any] | None:
    return {"inputs": list(inputs), "outputs": list(outputs)} if inputs or outputs else None


def _always(asked: set[str]) -> tuple[str, ...]:
    clearing = CLEARING if asked & set(CLEARED_FOR) and "batch" not in asked else ()
    return ("tidy", *clearing)


def _check(model: Model) -> None:
    """Let onnx's own checker read the outcome, shapes included."""
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
        f"the outcome is refused by onnx's checker ({reason})",
        fix="nothing was written; leave out passes one by one to find the one, and report it",
    )

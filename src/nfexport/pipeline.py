"""The spine: where the stages meet.

    ModelSpec ─models▶ torch model ─tracing▶ graph ─passes▶ graph ─artefact▶ file ─verification▶ report

Stages know nothing of each other; this file hands the result of one to the next.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nfexport import __version__
from nfexport.artefact import check_target, staged, write_model
from nfexport.errors import (
    EXIT_OK,
    EXIT_VERIFICATION,
    ExportError,
    OnnxFileError,
    PassError,
    RecipeError,
    VerificationFailed,
)
from nfexport.inspection import FileFacts, inspect
from nfexport.metadata import write_recipe
from nfexport.models.spec import ModelSpec
from nfexport.opsets import check_opset
from nfexport.passes import plan, run
from nfexport.progress import Progress, Stages
from nfexport.recipe import PassStep, Recipe

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

    from nfexport.models import LoadedModel
    from nfexport.passes.report import PassReport
    from nfexport.tracing import Exporter, TraceRequest
    from nfexport.verification.report import VerificationReport
    from nfexport.verification.tolerance import Tolerance

ExporterChoice = Literal["auto", "torchscript", "dynamo"]

_RECORDED = ("torch", "timm", "onnx")
"""The packages whose version the recipe records, next to nfexport's own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportResult:
    """What an export made: the file, its recipe, its facts, and what each stage reports.

    seconds maps each stage to its duration. verification is None if it was not asked for."""

    path: Path
    recipe: Recipe
    facts: FileFacts
    passes: Sequence[PassReport]
    verification: VerificationReport | None
    seconds: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values for JSON."""
        return {
            "path": str(self.path),
            "recipe": dataclasses.asdict(self.recipe),
            "recipe_sha256": self.recipe.digest,
            "weights": self.recipe.weights.describe(),
            "file": self.facts.to_dict(),
            "passes": [dataclasses.asdict(report) for report in self.passes],
            "verification": None if self.verification is None else self.verification.to_dict(),
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerifyResult:
    """What a verification found: the report on the numbers, and where file and recipe disagree."""

    path: Path
    recipe: Recipe
    report: VerificationReport
    disagreements: tuple[str, ...]
    seconds: dict[str, float]

    @property
    def passed(self) -> bool:
        """True if the numbers agree and the file is what its recipe says."""
        return self.report.passed and not self.disagreements

    @property
    def exit_code(self) -> int:
        return EXIT_OK if self.passed else EXIT_VERIFICATION

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values for JSON."""
        return {
            "path": str(self.path),
            "passed": self.passed,
            "recipe_sha256": self.recipe.digest,
            "weights": self.recipe.weights.describe(),
            "disagreements": list(self.disagreements),
            "verification": self.report.to_dict(),
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
        }


def export(
    model: str,
    output: str | Path | None = None,
    *,
    opset: int = 17,
    exporter: ExporterChoice = "auto",
    fold_ws: bool = False,
    fold_scales: bool = False,
    pretrained: bool = False,
    checkpoint: str | Path | None = None,
    seed: int = 0,
    image_size: int | tuple[int, int] | Literal["train", "test"] | None = None,
    num_classes: int | None = None,
    batch: int | Literal["dynamic"] = "dynamic",
    input_name: str = "input",
    output_name: str = "output",
    verify: bool = True,
    progress: Progress | None = None,
) -> ExportResult:
    """Export a timm model to an ONNX file that carries its recipe, and verify it before it gets its name.

    model is a timm name; with a tag ('nfnet_l0.ra2_in1k') it stands for those trained weights. output
    defaults to '<model>.onnx' in the current folder. fold_ws and fold_scales ask for those passes.
    The file takes float32 [batch, channels, height, width] and gives float32 [batch, num_classes].
    Raises NfexportError (see nfexport.errors); VerificationFailed if the file does not equal the model."""
    target = Path(output) if output is not None else Path(f"{model.rsplit('/', 1)[-1]}.onnx")
    check_target(target)
    check_opset(opset)
    _check_names(batch, input_name, output_name)
    stages = Stages(progress)
    with stages.stage("import"):
        from nfexport import tracing
        from nfexport.models import loading
        from nfexport.models.torchvision_operators import import_timm

        import_timm()
    spec = ModelSpec(
        name=model,
        pretrained=pretrained,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        seed=seed,
        num_classes=num_classes,
        image_size=image_size,
    )
    with stages.stage("model"):
        loaded = loading.load(spec)
    wanted = {"fold-ws": fold_ws, "fold-scales": fold_scales}
    steps = plan(
        [
            PassStep(name="convert-opset", params={"opset": opset}),
            *(PassStep(name=name) for name, asked in wanted.items() if asked),
        ]
    )
    request = tracing.TraceRequest(
        batch=batch,
        in_channels=loaded.in_channels,
        image_size=loaded.image_size,
        opset=opset,
        input_name=input_name,
        output_name=output_name,
    )
    graph, used, reports = _trace_and_pass(loaded.module, request, exporter, steps, stages)
    recipe = Recipe(
        architecture=loaded.architecture,
        weights=loaded.weights,
        image_size=loaded.image_size,
        in_channels=loaded.in_channels,
        num_classes=loaded.num_classes,
        batch=batch,
        opset=opset,
        exporter=used,
        passes=steps,
        input_name=input_name,
        output_name=output_name,
        preprocessing=loaded.preprocessing,
        labels=loaded.labels,
        versions=_versions(),
    )
    graph.graph.name = recipe.model_name
    graph.metadata_props.update(write_recipe(recipe))
    with staged(target) as partial:
        with stages.stage("write"):
            write_model(graph, partial)
            facts = dataclasses.replace(inspect(partial), path=target)
            _check(partial)
        report = None
        if verify:
            with stages.stage("verify"):
                report = _verify_file(partial, recipe, loaded, seed=0, tolerance=None, stages=stages)
            if not report.passed:
                raise VerificationFailed(
                    f"the exported file does not equal {recipe.model_name}: {report.summary()}",
                    fix="nothing was written; try another --opset or --exporter, and report it",
                    report=report,
                )
    return ExportResult(
        path=target,
        recipe=recipe,
        facts=facts,
        passes=tuple(reports),
        verification=report,
        seconds=stages.seconds,
    )


def verify(
    path: str | Path,
    *,
    checkpoint: str | Path | None = None,
    seed: int = 0,
    tolerance: Tolerance | None = None,
    progress: Progress | None = None,
) -> VerifyResult:
    """Rebuild the model from the recipe in the file, and compare the file with it in ONNX Runtime.

    checkpoint supplies the weights of a file that was exported from one; tolerance replaces the default
    rule. A mismatch is a report (passed is False), not an exception.
    Raises OnnxFileError if the file cannot be read or has no recipe, and RecipeError or WeightsUnreachable
    if the model cannot be rebuilt here."""
    path = Path(path)
    stages = Stages(progress)
    with stages.stage("read"):
        facts = inspect(path)
        if facts.recipe_error is not None:
            raise facts.recipe_error
        if facts.recipe is None:
            raise OnnxFileError(
                f"'{path}' has no recipe, so there is no model to compare it with",
                fix="verify a file that nfexport exported",
            )
        recipe = facts.recipe
    with stages.stage("import"):
        from nfexport.models import loading
        from nfexport.models.torchvision_operators import import_timm

        import_timm()
    with stages.stage("model"):
        loaded = loading.load_from_recipe(recipe, checkpoint=None if checkpoint is None else Path(checkpoint))
    with stages.stage("verify"):
        report = _verify_file(path, recipe, loaded, seed=seed, tolerance=tolerance, stages=stages)
    return VerifyResult(
        path=path,
        recipe=recipe,
        report=report,
        disagreements=_disagreements(facts, recipe),
        seconds=stages.seconds,
    )


def _trace_and_pass(
    module: torch.nn.Module,
    request: TraceRequest,
    exporter: ExporterChoice,
    steps: Sequence[PassStep],
    stages: Stages,
) -> tuple[ir.Model, Exporter, list[PassReport]]:
    """Trace and run the passes with the first exporter whose graph can be brought to the opset.

    Raises ExportError with the reason of each exporter if none can."""
    from nfexport import tracing

    reasons: list[str] = []
    for name in tracing.order_of_exporters(request.opset, exporter):
        try:
            with stages.stage("trace"):
                graph = tracing.trace(module, request, name)
            with stages.stage("passes"):
                return graph, name, run(graph, steps, stages.progress.step)
        except (ExportError, PassError) as error:
            reasons.append(error.problem)
            last = error
    raise ExportError(
        f"the model cannot be exported at opset {request.opset} ({'; '.join(reasons)})", fix=last.fix
    ) from last


def _verify_file(
    path: Path,
    recipe: Recipe,
    loaded: LoadedModel,
    *,
    seed: int,
    tolerance: Tolerance | None,
    stages: Stages,
) -> VerificationReport:
    from nfexport.verification import verify_session_against

    return verify_session_against(
        loaded.module,
        path,
        input_name=recipe.input_name,
        output_name=recipe.output_name,
        batch=recipe.batch,
        image_size=recipe.image_size,
        in_channels=recipe.in_channels,
        preprocessing=recipe.preprocessing,
        seed=seed,
        tolerance=tolerance,
        progress=stages.progress.step,
    )


def _check(path: Path) -> None:
    """Let onnx's own checker read the file, shapes included."""
    import onnx

    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().splitlines()[0]
        raise OnnxFileError(
            f"the exported graph is refused by onnx's checker ({reason})",
            fix="nothing was written; try another --opset or --exporter, and report it",
        ) from error


def _check_names(batch: int | Literal["dynamic"], input_name: str, output_name: str) -> None:
    if batch != "dynamic" and batch < 1:
        raise RecipeError(f"a batch of {batch} is no batch", fix="pass --batch dynamic, or a size from 1 up")
    for option, name in (("--input-name", input_name), ("--output-name", output_name)):
        if not name or name != name.strip() or "/" in name:
            raise RecipeError(f"'{name}' cannot be the name of a tensor", fix=f"pass another {option}")
    if input_name == output_name:
        raise RecipeError(
            f"input and output are both named '{input_name}'",
            fix="pass another --input-name or --output-name",
        )


def _versions() -> dict[str, str]:
    # '2.13.0+cpu' and '2.13.0' trace alike; the build must not change the bytes
    versions = {name: importlib.metadata.version(name).partition("+")[0] for name in _RECORDED}
    return {**versions, "nfexport": __version__}


def _disagreements(facts: FileFacts, recipe: Recipe) -> tuple[str, ...]:
    """Say where the file's outside is not what its recipe tells."""
    expected_batch = "batch" if recipe.batch == "dynamic" else recipe.batch
    claims: list[tuple[str, Any, Any]] = [
        ("opset", recipe.opset, facts.opset_imports.get("")),
        ("inputs", [recipe.input_name], [tensor.name for tensor in facts.inputs]),
        ("outputs", [recipe.output_name], [tensor.name for tensor in facts.outputs]),
    ]
    if len(facts.inputs) == 1:
        shape = [expected_batch, recipe.in_channels, *recipe.image_size]
        claims.append(("input shape", shape, list(facts.inputs[0].shape or ())))
    return tuple(
        f"{what}: the recipe says {claimed}, the file has {found}"
        for what, claimed, found in claims
        if claimed != found
    )

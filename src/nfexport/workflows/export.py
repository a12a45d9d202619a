"""The spine: where the stages meet.

    ModelSpec ─models▶ torch model ─tracing▶ graph ─passes▶ graph ─model_writer▶ file ─verification▶ report

Stages know nothing of each other; this file hands the result of one to the next.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nfexport import __version__, process
from nfexport.errors import ExportError, OnnxFileError, PassError, RecipeError, VerificationFailed
from nfexport.formats import openvino as openvino_ir
from nfexport.graph.atomic_files import check_target, staged_files
from nfexport.graph.model_writer import staged_model, write_model
from nfexport.inspection import inspect
from nfexport.passes import plan, run
from nfexport.progress import Progress, Stages
from nfexport.quantization.int8 import Int8
from nfexport.recipe import speed
from nfexport.recipe.about import About, write_about
from nfexport.recipe.interface import callers_part, steps_in_front
from nfexport.recipe.metadata import write_recipe
from nfexport.recipe.opsets import DEFAULT_OPSET, check_opset
from nfexport.recipe.recipe import PassStep, Recipe
from nfexport.recipe.speed import Speed
from nfexport.recipe.steps import Front, head_step, traced_outputs
from nfexport.sources.model.spec import ModelSpec
from nfexport.workflows.results import ExportResult, IrResult
from nfexport.workflows.subjects import ir_subject, subject_of_recipe
from nfexport.workflows.verify import verify_file

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

    from nfexport.passes.report import PassReport
    from nfexport.sources import LoadedModel
    from nfexport.sources.model.heads import Asked
    from nfexport.tracing import Exporter, TraceRequest
    from nfexport.verification import ModelUnderTest
    from nfexport.verification.verification_report import VerificationReport

ExporterChoice = Literal["auto", "torchscript", "dynamo"]

_RECORDED = ("torch", "timm", "onnx")
"""The packages whose version the recipe records, next to nfexport's own."""


def export(
    model: str,
    output: str | Path | None = None,
    *,
    opset: int = DEFAULT_OPSET,
    exporter: ExporterChoice = "auto",
    fold_ws: bool = False,
    fold_scales: bool = False,
    optimize: bool = False,
    merge_groups: bool | None = None,
    merge_affine: bool | None = None,
    pool_globally: bool | None = None,
    merge_pads: bool | None = None,
    multiply_gates: bool | None = None,
    pretrained: bool = False,
    checkpoint: str | Path | None = None,
    seed: int = 0,
    image_size: int | tuple[int, int] | Literal["train", "test"] | None = None,
    dynamic_size: bool = False,
    num_classes: int | None = None,
    batch: int | Literal["dynamic"] = "dynamic",
    input_name: str = "input",
    output_name: str | None = None,
    outputs: Sequence[Asked] = ("logits",),
    top_k: int = 5,
    feature_levels: Sequence[int] = (),
    rename: Mapping[str, str] | None = None,
    normalize: Literal["nodes", "fold"] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    input_range: float | None = None,
    channels: Literal["rgb", "bgr"] | None = None,
    input_dtype: Literal["uint8", "float32", "float16"] | None = None,
    input_layout: Literal["nchw", "nhwc"] | None = None,
    resize: Literal["any"] | tuple[int, int] | None = None,
    precision: Literal["fp16", "fp16-weights"] | None = None,
    simplify: bool = False,
    strip: bool = False,
    network: Mapping[str, Any] | None = None,
    labels: Sequence[str] | None = None,
    about: About | None = None,
    to: Literal["onnx", "openvino"] = "onnx",
    ir_precision: Literal["fp32", "fp16"] = "fp32",
    external_data: bool | None = None,
    quantize: Int8 | None = None,
    verify: bool = True,
    progress: Progress | None = None,
) -> ExportResult:
    """Export a timm model to an ONNX file that carries its recipe, and verify it before it gets its name.

    model is a timm name; with a tag ('nfnet_l0.ra2_in1k') it stands for those trained weights. output
    defaults to '<model>.onnx' in the current folder. By default the file takes float32 [batch, channels,
    height, width], normalised, and gives float32 logits [batch, num_classes].

    fold_ws, fold_scales, simplify and strip ask for those passes; optimize for every fold and rewrite that makes
    the file faster, of which merge_groups, merge_affine, pool_globally, merge_pads and multiply_gates can be
    left out (False) or asked for alone (True). precision is for float16. normalize to resize
    say what stands in front of the network (see nfexport.recipe.steps.Front); outputs what it gives: 'logits',
    'probs', 'topk' (the best top_k), 'features' (the maps of feature_levels, or timm's own choice),
    'embedding', 'embedding-unpooled' (see nfexport.sources.model.heads). output_name is that of a lone output;
    rename gives any input or output another name. network overrides what timm's configuration says of the
    pictures that the weights were trained on, by the fields of nfexport.recipe.recipe.Preprocessing (mean, std,
    crop_pct, crop_mode, interpolation); labels are the names of the classes; about goes into the file as it
    is. to 'openvino' writes OpenVINO's IR beside the file too, its weights in ir_precision. With external_data
    the weights lie in '<output>.data' beside the file; None keeps them in it where 2 GiB hold them. quantize
    writes the int8 form of the file in its place, after the float file was verified.
    Raises NfexportError (see nfexport.errors); VerificationFailed if the file does not equal the model."""
    target = Path(output) if output is not None else Path(f"{model.rsplit('/', 1)[-1]}.onnx")
    check_target(target)
    check_opset(opset)
    _check_names(batch, input_name, output_name)
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
    rewrites = Speed(
        optimize=optimize,
        merge_groups=merge_groups,
        merge_affine=merge_affine,
        pool_globally=pool_globally,
        merge_pads=merge_pads,
        # the gates compute in int8 as convolutions only
        multiply_gates=False if multiply_gates is None and quantize is not None else multiply_gates,
    )
    if dynamic_size and resize is not None:
        raise RecipeError("--dynamic-size and --resize both change the size", fix="pass one of them")
    if to == "openvino":
        openvino_ir.check_openvino()
    elif ir_precision != "fp32":
        raise RecipeError(f"an IR in {ir_precision} was asked for, but no IR", fix="add --to openvino")
    if quantize is not None:
        _check_int8(quantize, opset=opset, precision=precision, to=to)
    stages = Stages(progress)
    with stages.stage("import"), process.garbage_collection_paused():
        from nfexport import sources, tracing
        from nfexport.sources.model import heads
        from nfexport.sources.timm.standardised_layers import standardisations
        from nfexport.sources.timm.torchvision_operators import import_timm

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
        loaded = _with_own(sources.load(spec), network, labels)
        if dynamic_size:
            from nfexport.sources.model import accepted_sizes

            accepted_sizes.check_flexible(loaded.module, loaded.architecture, loaded.image_size, loaded.in_channels)
    given = heads.plan_outputs(
        loaded.module, loaded.architecture, outputs, k=top_k, levels=feature_levels, name=output_name
    )
    asked = [
        PassStep(name="convert-opset", params={"opset": opset}),
        *front.steps(network=loaded.preprocessing, channels=loaded.in_channels, opset=opset),
        *head_step(given),
    ]
    asked += speed.steps(
        *speed.flagged(fold_ws=fold_ws, fold_scales=fold_scales, simplify=simplify, strip=strip),
        *rewrites.names("fold-ws", "fold-scales"),
    )
    if rename:
        asked.append(PassStep(name="rename", params={"names": dict(rename)}))
    if precision is not None:
        asked.append(PassStep(name="precision", params={"form": precision}))
    steps = plan(asked)
    traced = traced_outputs(given)
    request = tracing.TraceRequest(
        batch=batch,
        in_channels=loaded.in_channels,
        image_size=loaded.image_size,
        opset=opset,
        input_name=input_name,
        output_names=tuple(output.name for output in traced),
        dynamic_size=dynamic_size,
        standardised=standardisations(loaded.module) if any(step.name == "fold-ws" for step in steps) else {},
    )
    with heads.giving(loaded.module, traced):
        rebuild = None if verify else lambda: sources.load(spec).module
        graph, used, reports = _trace_and_pass(loaded.module, request, exporter, steps, stages, rebuild)
    names = rename or {}
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
        input_name=names.get(input_name, input_name),
        outputs=tuple(dataclasses.replace(output, name=names.get(output.name, output.name)) for output in given),
        preprocessing=callers_part(loaded.preprocessing, steps_in_front(steps)),
        labels=loaded.labels,
        versions=_versions(),
        dynamic_size=dynamic_size,
    )
    graph.graph.name = recipe.model_name
    graph.metadata_props.update(write_recipe(recipe))
    if (said := about or loaded.about) is not None:
        graph.metadata_props.update(write_about(said))
    with staged_model(target) as partial:
        with stages.stage("write"):
            write_model(graph, partial, external_data=external_data)
            del graph  # a second copy of the weights, where they were folded
            facts = dataclasses.replace(inspect(partial), path=target)
            _check(partial)
        if quantize is not None:
            from nfexport.quantization.operation import check_file, quantize_file

            check_file(target, facts, quantize)
        subject = subject_of_recipe(recipe, loaded)
        report = None
        if verify:
            with stages.stage("verify"):
                (report,) = verify_file(partial, loaded, subject, stages=stages)
            _demand(report, "the exported file", recipe)
        ir_result = None
        if to == "openvino":
            ir_result = _write_ir(partial, target, ir_precision, recipe, loaded, subject if verify else None, stages)
        int8 = None
        if quantize is not None:
            made = quantize_file(partial, partial, quantize, progress=stages.progress)
            facts = dataclasses.replace(made.facts, path=target)
            int8 = dataclasses.replace(made, source=target, path=target, facts=facts)
            recipe = made.recipe
            stages.seconds["quantize"] = sum(made.seconds.values())
    return ExportResult(
        path=target,
        recipe=recipe,
        facts=facts,
        passes=tuple(reports),
        verification=report,
        seconds=stages.seconds,
        openvino=ir_result,
        quantization=int8,
    )


def _check_int8(quantize: Int8, *, opset: int, precision: str | None, to: str) -> None:
    """Raise RecipeError, before any long work is done, for what cannot be had together with int8."""
    quantize.check(opset)
    if precision is not None:
        raise RecipeError(f"a file cannot be both int8 and {precision}", fix="leave --precision or --quantize out")
    if to == "openvino":
        raise RecipeError(
            "OpenVINO's form would be that of the float file", fix="leave --to openvino or --quantize out"
        )


def _write_ir(
    onnx_file: Path,
    target: Path,
    precision: Literal["fp32", "fp16"],
    recipe: Recipe,
    loaded: LoadedModel,
    subject: ModelUnderTest | None,
    stages: Stages,
) -> IrResult:
    """Write OpenVINO's form of the file beside the target, verified in OpenVINO if there is a subject."""
    graph_file, weights_file = openvino_ir.targets_of(target)
    with staged_files([weights_file, graph_file]) as folder:
        with stages.stage("convert"):
            written = openvino_ir.convert(onnx_file, folder, target.stem, precision=precision)
            size = written.stat().st_size + (folder / weights_file.name).stat().st_size
        report = None
        if subject is not None:
            with stages.stage("verify-ir"):
                (report,) = verify_file(
                    written, loaded, ir_subject(subject, precision), stages=stages, runtimes=["openvino"]
                )
            _demand(report, "OpenVINO's form of the file", recipe)
    return IrResult(path=graph_file, weights=weights_file, precision=precision, size=size, verification=report)


def _demand(report: VerificationReport, what: str, recipe: Recipe) -> None:
    """Raise VerificationFailed unless the report has passed."""
    if not report.passed:
        raise VerificationFailed(
            f"{what} does not equal {recipe.model_name}: {report.summary()}",
            fix="nothing was written; try another --opset or --exporter, and report it",
            report=report,
        )


def _with_own(loaded: LoadedModel, network: Mapping[str, Any] | None, labels: Sequence[str] | None) -> LoadedModel:
    """Return the model with what the user knows better than timm's configuration.

    Raises RecipeError if no picture can be prepared so, or for another number of labels than of classes."""
    from nfexport.sources.timm.image_sizes import checked

    if network:
        own = dataclasses.replace(loaded.preprocessing, **network)
        loaded = dataclasses.replace(loaded, preprocessing=checked(own, loaded.in_channels))
    if labels is not None:
        if len(labels) != loaded.num_classes:
            raise RecipeError(
                f"there are {len(labels)} labels for the {loaded.num_classes} classes of {loaded.model_name}",
                fix="pass one label for each class",
            )
        loaded = dataclasses.replace(loaded, labels=tuple(labels))
    return loaded


def _trace_and_pass(
    module: torch.nn.Module,
    request: TraceRequest,
    exporter: ExporterChoice,
    steps: Sequence[PassStep],
    stages: Stages,
    rebuild: Callable[[], torch.nn.Module] | None = None,
) -> tuple[ir.Model, Exporter, list[PassReport]]:
    """Trace and run the passes with the first exporter whose graph can be brought to the opset.

    With rebuild, which builds the module again, nobody needs the module's weights afterwards: the graph alone
    has them then, and passes that replace them free their memory.
    Raises ExportError with the reason of each exporter if none can."""
    from nfexport import tracing
    from nfexport.sources.model import released_weights

    reasons: list[str] = []
    for name in tracing.order_of_exporters(request.opset, exporter):
        try:
            with stages.stage("trace"):
                if reasons and rebuild is not None:
                    released_weights.take_weights(module, rebuild())
                graph = tracing.trace(module, request, name)
                if rebuild is not None:
                    released_weights.release_weights(module)
            with stages.stage("passes"):
                return graph, name, run(graph, steps, stages.progress.step)
        except (ExportError, PassError) as error:
            reasons.append(error.problem)
            last = error
    raise ExportError(
        f"the model cannot be exported at opset {request.opset} ({'; '.join(dict.fromkeys(reasons))})", fix=last.fix
    ) from last


def _check(path: Path) -> None:
    """Let onnx's own checker judge the file, shapes included."""
    from nfexport.graph.checker import refusal

    if (reason := refusal(path)) is not None:
        raise OnnxFileError(
            f"the exported graph is refused by onnx's checker ({reason})",
            fix="nothing was written; try another --opset or --exporter, and report it",
        )


def _check_names(batch: int | Literal["dynamic"], input_name: str, output_name: str | None) -> None:
    if batch != "dynamic" and batch < 1:
        raise RecipeError(f"a batch of {batch} is no batch", fix="pass --batch dynamic, or a size from 1 up")
    for option, name in (("--input-name", input_name), ("--output-name", output_name)):
        if name is not None and (not name or name != name.strip() or "/" in name):
            raise RecipeError(f"'{name}' cannot be the name of a tensor", fix=f"pass another {option}")
    if input_name == (output_name or "output"):
        raise RecipeError(
            f"input and output are both named '{input_name}'",
            fix="pass another --input-name or --output-name",
        )


def _versions() -> dict[str, str]:
    # '2.13.0+cpu' and '2.13.0' trace alike; the build must not change the bytes
    versions = {name: importlib.metadata.version(name).partition("+")[0] for name in _RECORDED}
    return {**versions, "nfexport": __version__}

"""Export a model: run the stages one after the other.

    request ─sources▶ torch model ─tracing▶ graph ─passes▶ graph ─graph▶ file ─verification▶ report

The stages are independent of each other; this module passes the result of one to the next.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import UNSET
from msgspec.structs import replace

from nfexport import process, sources
from nfexport.errors import ExportError, OnnxFileError, OpsetTooOld
from nfexport.graph.model_writer import staged_model, write_model
from nfexport.inspection import inspect
from nfexport.passes.base import Bundle, Pass, Request
from nfexport.passes.plan import oldest_opset, plan, step_of
from nfexport.progress import Progress, Stages
from nfexport.quantization.int8 import Int8
from nfexport.recipe.about import About, write_about
from nfexport.recipe.export_options import ExportOptions, Source, recorded_options
from nfexport.recipe.interface import callers_part, steps_in_front
from nfexport.recipe.metadata import write_recipe
from nfexport.recipe.opsets import DEFAULT_OPSET
from nfexport.recipe.outputs import traced_outputs
from nfexport.recipe.recipe import Output, Recipe
from nfexport.recipe.request import RecipeRequest
from nfexport.recipe.tensor_spec import TensorSpec
from nfexport.recipe.versions import recorded_versions
from nfexport.sources.model.file_name import default_file_name
from nfexport.workflows import other_format
from nfexport.workflows.corrections import corrected
from nfexport.workflows.export_checks import check_no_image_options, check_request, explained
from nfexport.workflows.file_verification import demand, verify_file
from nfexport.workflows.operations import repeat_operations
from nfexport.workflows.requests import named_request
from nfexport.workflows.results import ExportResult
from nfexport.workflows.subjects import subject_of_recipe
from nfexport.workflows.traced_graph import TracedGraph, Tracer

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch
    from typing_extensions import Unpack

    from nfexport.passes.report import PassReport
    from nfexport.sources import LoadedModel
    from nfexport.tracing import Exporter
    from nfexport.workflows.keywords import ExportKeywords


def export(
    model: str | Recipe | RecipeRequest | torch.nn.Module | torch.export.ExportedProgram,
    output: str | Path | None = None,
    *,
    about: About | None = None,
    quantize: Int8 | None = None,
    named: object = None,
    verify: bool = True,
    progress: Progress | None = None,
    **keywords: Unpack[ExportKeywords],
) -> ExportResult:
    """Export a model to an ONNX file that carries its recipe, and verify it before it gets its name.

    model is a timm name; with a tag ('nfnet_l0.ra2_in1k') it stands for those trained weights. Or it is a repository
    ('hf-hub:org/name'), a folder with config.json, or a checkpoint that says its architecture ('model_best.pth.tar').
    Or it is a torch
    module in evaluation mode, a program of torch.export, or the name of a factory ('package.module:factory'); inputs
    then says what it takes: descriptions ('image=float32[batch,3,224,224]'), an example tensor, a tuple of them, or a
    dict by name. Or it is a recipe, which is executed again; keywords then replace what it asks for, and named is the
    user's own module, its factory or its file, where the recipe names one. output defaults to '<model>.onnx' in the
    current folder. By default the file takes float32 [batch, channels, height, width], normalised, and returns
    float32 logits [batch, num_classes].

    keywords are the fields of Source and ExportOptions (nfexport.recipe.export_options), and the options of the graph
    passes: fold_ws=True, normalize='fold', precision='fp16' … (`nfexport passes` lists them). about goes into the
    file as it is. quantize writes the int8 form of the file in its place, after the float file was verified.
    Raises NfexportError (see nfexport.errors), TypeError for a keyword that does not exist, and VerificationFailed if
    the file does not equal the model; nothing is written then."""
    subject, request = named_request(model, dict(keywords), named)
    target = Path(output) if output is not None else Path(default_file_name(request.source.model))
    check_request(request, target, quantize)
    if request.operations:
        again = functools.partial(export, named=named)
        return repeat_operations(again, request, target, about=about, verify=verify, progress=progress)
    made = _Export(request, target, about=about, quantize=quantize, verify=verify, stages=Stages(progress))
    made.named, made.instance = subject is not None, None if isinstance(subject, str) else subject
    return made.run()


def build(
    model: Recipe | RecipeRequest, *, named: object = None, progress: Progress | None = None
) -> tuple[ir.Model, Recipe]:
    """Return the graph that an export of a recipe writes, and its recipe; nothing is written or compared.

    named is as in export. Operations on the finished file are not repeated. Raises as export does."""
    subject, request = named_request(model, {}, named)
    target = Path(default_file_name(request.source.model))
    options = replace(request.options, to=other_format.ONNX, to_options={})
    request = replace(request, options=options, operations=())
    made = _Export(request, target, about=None, quantize=None, verify=False, stages=Stages(progress))
    made.named, made.instance = subject is not None, None if isinstance(subject, str) else subject
    graph, recipe, _, _ = made.build()
    return graph, recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Planned:
    """The opset of the file, its outputs, the outputs that the network itself has to return, and the passes."""

    opset: int
    outputs: tuple[Output, ...]
    traced: tuple[Output, ...]
    passes: tuple[Pass, ...]


class _Export:
    """One export, from a validated request to the finished file."""

    def __init__(
        self,
        request: RecipeRequest,
        target: Path,
        *,
        about: About | None,
        quantize: Int8 | None,
        verify: bool,
        stages: Stages,
    ) -> None:
        self.source: Source = request.source
        self.options: ExportOptions = request.options
        self.target, self.about, self.quantize, self.verify, self.stages = target, about, quantize, verify, stages
        if quantize is not None and self.options.optimize:
            # ONNX Runtime computes the gates in int8 only as convolutions; recorded, so that it is repeated
            passes = {"multiply_gates": False, **self.options.passes}
            self.options = replace(self.options, passes=passes)
        self.instance: object = None
        self.named = False
        self.notes: list[str] = []

    def run(self) -> ExportResult:
        graph, recipe, loaded, reports = self.build()
        return self.write(graph, recipe, loaded, reports)

    def build(self) -> tuple[ir.Model, Recipe, LoadedModel, Sequence[PassReport]]:
        """Return the graph with its recipe inside, and what it was made from."""
        with self.stages.stage("import"), process.garbage_collection_paused():
            from nfexport import tracing  # noqa: F401  (torch and timm are imported here, and timed)
            from nfexport.sources.timm.torchvision_operators import import_timm

            import_timm()
        with self.stages.stage("model"):
            loaded = self.load()
        planned, traced = self.trace_and_pass(loaded)
        graph, reports = traced.model, traced.reports
        recipe = self.recipe(loaded, planned, traced.exporter)
        graph.graph.name = recipe.model_name
        graph.metadata_props.update(write_recipe(recipe))
        if (said := self.about or loaded.about) is not None:
            graph.metadata_props.update(write_about(said))
        return graph, recipe, loaded, reports

    def load(self) -> LoadedModel:
        """Return the model, with the user's corrections to what its source says."""
        from nfexport.sources.model import accepted_sizes
        from nfexport.sources.model.spec import ModelSpec

        self.spec = ModelSpec.of(
            self.source, instance=self.instance, named_by_user=self.named, output_names=self.options.output_names
        )
        loaded = sources.load(self.spec)
        self.options = replace(self.options, **loaded.options)
        if loaded.tensors:
            check_no_image_options(loaded, self.options)
            return loaded
        loaded = corrected(loaded, self.options)
        if self.options.dynamic_size and loaded.call is None:
            accepted_sizes.check_flexible(loaded.module, loaded.architecture, loaded.image_size, loaded.in_channels)
        return loaded

    def plan(self, loaded: LoadedModel, opset: int | None) -> _Planned:
        """Return the outputs and the passes that the options ask for, at an opset; None stands for the default one,
        or the oldest that the options need."""
        from nfexport.sources.model import heads
        from nfexport.sources.model.module_outputs import plan_module_outputs

        options = self.options
        if loaded.call is not None:
            outputs = plan_module_outputs(
                loaded.call, loaded.architecture, options.outputs, k=options.top_k, name=options.output_name
            )
        else:
            outputs = heads.plan_outputs(
                loaded.module,
                loaded.architecture,
                options.outputs,
                k=options.top_k,
                levels=options.feature_levels,
                name=options.output_name,
            )
        if not options.outputs and outputs[0].kind == "embedding":
            self.notes.append(f"the file returns the embedding, as {loaded.architecture} has no classifier")
        request = Request(
            command="export",
            values=options.passes,
            network=loaded.preprocessing,
            channels=None if loaded.tensors else loaded.in_channels,
            opset=opset or DEFAULT_OPSET,
            outputs=outputs,
        )
        if opset is None and (needed := oldest_opset(request)) > DEFAULT_OPSET:
            request = replace(request, opset=needed)
            self.notes.append(f"opset {needed} instead of {DEFAULT_OPSET}, as the options need it")
        bundles = {Bundle.EXPORT, *([Bundle.OPTIMIZE] if options.optimize else [])}
        return _Planned(
            opset=request.opset or DEFAULT_OPSET,
            outputs=outputs,
            traced=traced_outputs(outputs),
            passes=plan(request, bundles, extra=options.extra_passes),
        )

    def trace_and_pass(self, loaded: LoadedModel) -> tuple[_Planned, TracedGraph]:
        """Return the graph after the passes, at the opset asked for or else at the oldest possible from the default
        one on."""
        # a user's own module keeps its weights: another one may have others
        rebuild = None if self.verify or loaded.call else lambda: sources.load(self.spec).module
        tracer = Tracer(loaded.module, self.options.exporter, self.stages, rebuild)
        planned = self.plan(loaded, self.options.opset)
        try:
            return planned, self.trace(tracer, loaded, planned)
        except OpsetTooOld as error:
            if self.options.opset is not None or error.needed is None:
                raise ExportError(error.problem, fix=error.fix) from error
            self.notes.append(f"opset {error.needed} instead of {planned.opset}, which has no {error.operator}")
            planned = self.plan(loaded, error.needed)
        return planned, self.trace(tracer, loaded, planned)

    def trace(self, tracer: Tracer, loaded: LoadedModel, planned: _Planned) -> TracedGraph:
        """Return the graph after the passes that were planned, at their opset."""
        from nfexport import tracing
        from nfexport.sources.model import heads
        from nfexport.sources.timm.standardised_layers import standardisations

        folds = any(item.name == "fold-ws" for item in planned.passes)
        request = tracing.TraceRequest(
            inputs=loaded.tensors or (self.image_input(loaded),),
            opset=planned.opset,
            output_names=tuple(output.name for output in planned.traced),
            output_shapes=self.output_shapes(loaded, planned),
            standardised=standardisations(loaded.module) if folds else {},
        )
        with heads.giving(loaded.module, planned.traced, loaded.call), explained(loaded):
            return tracer.graph(request, planned.passes)

    def image_input(self, loaded: LoadedModel) -> TensorSpec:
        """Return the image that the network takes, as it is traced."""
        from nfexport.tracing.request import image_input

        return image_input(
            self.options.input_name,
            batch=self.options.batch,
            channels=loaded.in_channels,
            image_size=loaded.image_size,
            dynamic_size=self.options.dynamic_size,
        )

    def output_shapes(self, loaded: LoadedModel, planned: _Planned) -> dict[str, tuple[int | str, ...]]:
        """Return the shapes of the outputs that the network returns: those seen, or a symbolic batch alone."""
        if loaded.call is None:
            batch = ("batch",) if self.options.batch == "dynamic" else ()
            return {output.name: batch for output in planned.traced}
        return {output.name: loaded.call.shapes[output.index or 0] for output in planned.traced}

    def recipe(self, loaded: LoadedModel, planned: _Planned, exporter: Exporter) -> Recipe:
        """Return the recipe of the file."""
        steps = tuple(step_of(item) for item in planned.passes)
        names = self.options.passes.get("rename") or {}
        return Recipe(
            source=self.recorded_source(loaded),
            options=recorded_options(self.options),
            architecture=loaded.architecture,
            weights=loaded.weights,
            stored_image_size=None if loaded.tensors else loaded.image_size,
            stored_in_channels=None if loaded.tensors else loaded.in_channels,
            num_classes=loaded.num_classes,
            batch=self.options.batch,
            opset=planned.opset,
            exporter=exporter,
            passes=steps,
            input_name=names.get(self.options.input_name, self.options.input_name),
            outputs=tuple(replace(output, name=names.get(output.name, output.name)) for output in planned.outputs),
            stored_preprocessing=None
            if loaded.tensors
            else callers_part(loaded.preprocessing, steps_in_front(steps)),
            labels=loaded.labels,
            versions=recorded_versions(loaded.packages),
            dynamic_size=self.options.dynamic_size,
            provenance=loaded.provenance or UNSET,
            inputs=tuple(replace(spec, name=names.get(spec.name, spec.name)) for spec in loaded.tensors) or UNSET,
        )

    def recorded_source(self, loaded: LoadedModel) -> Source:
        """Return the source as a recipe keeps it: without paths, and with what a checkpoint says of itself."""
        found = replace(self.source, checkpoint=None, **loaded.resolved)
        # one form in a recipe: 0 is the default seed of what is seeded anyway
        return replace(found, seed=None) if found.seed == 0 and loaded.provenance is None else found

    def write(
        self, graph: ir.Model, recipe: Recipe, loaded: LoadedModel, reports: Sequence[PassReport]
    ) -> ExportResult:
        """Write, check, verify and convert the file, and move it to its final name."""
        report, other, int8 = None, None, None
        with staged_model(self.target) as partial:
            with self.stages.stage("write"):
                write_model(graph, partial, external_data=self.options.external_data)
                del graph  # a second copy of the weights, where they were folded
                facts = dataclasses.replace(inspect(partial), path=self.target)
                _check_file(partial)
            if self.quantize is not None:
                from nfexport.quantization.operation import check_file, quantize_file

                check_file(self.target, facts, self.quantize)
            subject = subject_of_recipe(recipe, loaded)
            if self.verify:
                with self.stages.stage("verify"):
                    (report,) = verify_file(partial, loaded, subject, stages=self.stages)
                with explained(loaded):
                    demand(report, "the exported file", recipe)
            if self.options.to != "onnx":
                other = other_format.write(
                    partial, self.target, self.options, recipe, loaded, subject if self.verify else None, self.stages
                )
            if self.quantize is not None:
                made = quantize_file(partial, partial, self.quantize, progress=self.stages.progress)
                facts = dataclasses.replace(made.facts, path=self.target)
                int8 = dataclasses.replace(made, source=self.target, path=self.target, facts=facts)
                recipe = made.recipe
                self.stages.seconds["quantize"] = sum(made.seconds.values())
        return ExportResult(
            path=self.target,
            recipe=recipe,
            facts=facts,
            passes=tuple(reports),
            verification=report,
            seconds=self.stages.seconds,
            converted=other,
            quantization=int8,
            notes=tuple(dict.fromkeys((*loaded.notes, *self.notes))),
        )


def _check_file(path: Path) -> None:
    """Run onnx's checker on the file, with shape inference."""
    from nfexport.graph.checker import refusal

    if (reason := refusal(path)) is not None:
        raise OnnxFileError(
            f"the exported graph is refused by onnx's checker ({reason})",
            fix="nothing was written; try another --opset or --exporter, and report it",
        )

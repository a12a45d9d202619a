"""How a verification works, from the file to the result.

file ─inspection▶ recipe ─models▶ torch model ─verification▶ reports ─diagnosis▶ where, and why
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from nfexport import formats
from nfexport.errors import InputError, OnnxFileError, RecipeError
from nfexport.graph.external_data import check_digest
from nfexport.inspection import FileFacts, inspect
from nfexport.passes.recorded import read_recipe
from nfexport.progress import Progress, Stages
from nfexport.quantization.identity import disagreements as graph_changes
from nfexport.verification.structure.rare_operators import rare_operators
from nfexport.verification.structure.structure_check import StructureCheck
from nfexport.verification.tolerance import default_tolerance
from nfexport.workflows.file_claims import disagreements
from nfexport.workflows.file_verification import verify_file
from nfexport.workflows.metadata_claims import metadata_disagreements
from nfexport.workflows.own_modules import is_own, load_own
from nfexport.workflows.results import VerifyResult
from nfexport.workflows.structural_proof import prove_converted, prove_structure
from nfexport.workflows.subjects import NamedModel, converted_subject, load_named, subject_of_recipe

if TYPE_CHECKING:
    from nfexport.formats import Format
    from nfexport.recipe.recipe import Recipe
    from nfexport.sources import LoadedModel
    from nfexport.verification import ModelUnderTest
    from nfexport.verification.diagnosis.diagnosis import Diagnosis
    from nfexport.verification.input_cases import InputCase
    from nfexport.verification.self_test import SelfTest
    from nfexport.verification.tolerance import Tolerance
    from nfexport.verification.torch_reference import Reference
    from nfexport.verification.verification_report import VerificationReport
    from nfexport.verification.verifier import Computed, Observer


DEFAULT = ("onnxruntime",)


def verify(
    path: str | Path,
    *,
    checkpoint: str | Path | None = None,
    seed: int = 0,
    tolerance: Tolerance | None = None,
    runtimes: Sequence[str] = DEFAULT,
    providers: Sequence[str] = (),
    named: NamedModel | None = None,
    model: object = None,
    bisect: bool = False,
    self_test: bool = False,
    strict: bool = False,
    progress: Progress | None = None,
    observe: Observer | None = None,
) -> VerifyResult:
    """Rebuild the model from the recipe in the file, and compare the file with it in each of the runtimes.

    path is an ONNX file, or the .xml of OpenVINO's form of one, which runs in OpenVINO whatever the runtimes.
    checkpoint supplies the weights of a file that was exported from one; tolerance replaces the default
    rule; providers are ONNX Runtime's execution providers, the preferred one first; named is the model to
    compare a file with that has no recipe, or none that can be read. model is the user's own torch module, its
    factory or its file, where the recipe of the file names one. bisect looks at every tensor of the file
    on the worst batch, to tell where it leaves the model; self_test puts faults into copies of the file, to
    show that each is noticed; strict builds the graph again from the recipe, and compares the two, which finds
    what no image reaches; observe is shown each batch with PyTorch's outputs. A mismatch is a report (passed is
    False), not an exception.
    Raises OnnxFileError if the file cannot be read, has no recipe, or other external data than it was written
    with, or a runtime refuses it; RecipeError or WeightsUnreachable if the model cannot be rebuilt here;
    InputError or MissingPackage for a runtime or provider that is not there."""
    path = Path(path)
    stages = Stages(progress)
    claim = _read(path, named, stages)
    if named is not None and claim.recipe is not None:
        model, named = named.name, None
    if claim.format is not None:
        if bisect or self_test or providers or set(runtimes) - {*DEFAULT, claim.format.runtime}:
            raise _alone(path, claim.format)
        runtimes = (str(claim.format.runtime),)
    loaded, subject = _claimed_model(claim, named, checkpoint, model, stages)
    if subject.precision == "int8" and (bisect or self_test):
        raise InputError(
            f"'{path}' is int8: every tensor is off by its rounding, and what changed its graph shows in its digest",
            fix="look inside the float file that it was made from",
        )
    if strict and claim.recipe is None:
        raise OnnxFileError(f"'{path}' has no recipe, so its graph cannot be built again", fix="leave --strict out")
    computed: list[Computed] = []
    with stages.stage("verify"):
        reports = verify_file(
            path,
            loaded,
            subject,
            stages=stages,
            seed=seed,
            tolerance=tolerance,
            runtimes=tuple(dict.fromkeys(runtimes)),
            providers=providers,
            observe=_keeping(computed, observe, tolerance) if bisect or self_test else observe,
        )
    result = VerifyResult(
        path=path,
        recipe=claim.recipe,
        model_name=loaded.model_name,
        weights=loaded.weights,
        image_size=None if loaded.tensors else loaded.image_size,
        reports=reports,
        disagreements=claim.disagreements(path, loaded, checkpoint),
        structure=claim.sampled(path),
        seconds=stages.seconds,
    )
    if strict:
        with stages.stage("rebuild"):
            result = dataclasses.replace(result, structure=claim.structure(path, checkpoint, model, stages))
    if bisect:
        with stages.stage("bisect"):
            diagnosis = _diagnose(path, loaded, subject, reports, computed, stages)
        result = dataclasses.replace(result, diagnosis=diagnosis)
    if self_test:
        with stages.stage("self-test"):
            trials = _try_faults(path, loaded, subject, seed, computed, stages)
        result = dataclasses.replace(result, self_test=trials)
    return result


def _read(path: Path, named: NamedModel | None, stages: Stages) -> _Claim:
    """Return what a file of any format claims to be."""
    with stages.stage("read"):
        converted = formats.of_file(path)
        if converted is None:
            return _read_onnx(path, named)
        if converted.runtime is None or named is not None:
            raise _alone(path, converted)
        return _read_converted(path, converted)


def _alone(path: Path, converted: Format) -> InputError:
    return InputError(
        f"'{path}' is {converted.title}, which runs in {converted.runtime or 'no runtime of nfexport'} only",
        fix="verify the ONNX file that it was converted from, or leave the other options out",
    )


def _claimed_model(
    claim: _Claim, named: NamedModel | None, checkpoint: str | Path | None, model: object, stages: Stages
) -> tuple[LoadedModel, ModelUnderTest]:
    """Build the model that the file is compared with, and say what to compare."""
    with stages.stage("import"):
        from nfexport import sources
        from nfexport.sources.timm.torchvision_operators import import_timm

        import_timm()
    with stages.stage("model"):
        if claim.recipe is None:
            assert named is not None
            assert claim.facts is not None
            return load_own(named, claim.facts) if is_own(named.name) else load_named(named, claim.facts)
        weights = None if checkpoint is None else Path(checkpoint)
        loaded = sources.load_from_recipe(claim.recipe, checkpoint=weights, model=model)
        subject = subject_of_recipe(claim.recipe, loaded)
        if claim.stored_precision is not None:
            subject = converted_subject(subject, claim.stored_precision)
        return loaded, subject


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Claim:
    """What a file claims to be. facts are those of an ONNX file, stored_precision is what the weights of a file of
    another format are stored in."""

    recipe: Recipe | None
    facts: FileFacts | None = None
    format: Format | None = None
    stored_precision: str | None = None

    def disagreements(self, path: Path, loaded: LoadedModel, checkpoint: object) -> tuple[str, ...]:
        """Say where a file is not what its recipe tells, and the recipe not what the model that it names says."""
        if self.recipe is None:
            return ()
        of_model = metadata_disagreements(self.recipe, loaded, checkpoint=checkpoint)
        if self.facts is None:
            return of_model
        return (*disagreements(self.facts, self.recipe), *graph_changes(path, self.recipe), *of_model)

    def sampled(self, path: Path) -> StructureCheck:
        """Return what is known of the structure without a proof."""
        return StructureCheck(proven=None, rare="" if self.facts is None else rare_operators(path).describe())

    def structure(self, path: Path, checkpoint: str | Path | None, model: object, stages: Stages) -> StructureCheck:
        """Build the file again, and compare the two."""
        assert self.recipe is not None
        options: dict[str, Any] = {"checkpoint": checkpoint, "model": model, "progress": stages.progress}
        if self.format is not None:
            return prove_converted(path, self.format, self.recipe, **options)
        return prove_structure(path, **options)


def _read_onnx(path: Path, named: NamedModel | None) -> _Claim:
    facts = inspect(path)
    if facts.external_record is not None:
        check_digest(path, facts.external_record)
    recipe = facts.recipe
    if named is not None and recipe is not None and recipe.provenance is UNSET:
        raise RecipeError(
            f"'{path}' has a recipe, which says that it is {recipe.model_name}", fix="leave --model out"
        )
    if named is None and facts.recipe_error is not None:
        raise facts.recipe_error
    if named is None and recipe is None:
        raise OnnxFileError(
            f"'{path}' has no recipe, so there is no model to compare it with",
            fix="name the timm model that it holds with --model NAME, or compare it with recorded answers: "
            f"nfexport golden check '{path}' --golden DIR",
        )
    return _Claim(recipe=recipe, facts=facts)


def _read_converted(path: Path, converted: Format) -> _Claim:
    converted.check()
    recipe = read_recipe(converted.read_metadata(path))
    if recipe is None:
        raise OnnxFileError(
            f"'{path}' has no recipe, so there is no model to compare it with",
            fix=f"convert a file that has one: nfexport MODEL --to {converted.name}",
        )
    return _Claim(recipe=recipe, format=converted, stored_precision=converted.stored_precision(path))


def _keeping(computed: list[Computed], observe: Observer | None, tolerance: Tolerance | None) -> Observer:
    """Return an observer that keeps what PyTorch computes for the looks that follow, by the default rule.

    A tolerance of another unit has another yardstick, and is not kept."""

    def keep(subject: ModelUnderTest, case: InputCase, reference: Reference) -> None:
        if observe is not None:
            observe(subject, case, reference)
        if tolerance is None or tolerance.unit == default_tolerance(subject.precision).unit:
            computed.append((case, reference))

    return keep


def _diagnose(
    path: Path,
    loaded: LoadedModel,
    subject: ModelUnderTest,
    reports: Sequence[VerificationReport],
    computed: Sequence[Computed],
    stages: Stages,
) -> Diagnosis:
    from nfexport.sources.model import heads
    from nfexport.verification.diagnosis.diagnosis import diagnose

    report = next((report for report in reports if not report.passed), reports[0])
    with heads.giving(loaded.module, subject.outputs, loaded.call):
        return diagnose(loaded.module, path, subject, report, computed=computed, progress=stages.progress.step)


def _try_faults(
    path: Path, loaded: LoadedModel, subject: ModelUnderTest, seed: int, computed: Sequence[Computed], stages: Stages
) -> SelfTest:
    from nfexport.runtimes.session.declared import load
    from nfexport.sources.model import heads
    from nfexport.verification.self_test import self_test

    with heads.giving(loaded.module, subject.outputs, loaded.call):
        return self_test(
            loaded.module, load(path), subject, seed=seed, computed=computed, progress=stages.progress.step
        )

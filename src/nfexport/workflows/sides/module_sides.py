"""Torch modules on a side of a comparison: whatever a source loads, or a recipe names."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nfexport import sources
from nfexport.errors import InputError
from nfexport.recipe.second_sizes import second_sizes
from nfexport.recipe.tensor_spec import parse_inputs
from nfexport.sources.model.spec import ModelSpec
from nfexport.verification.model_under_test import ImageModelUnderTest, ModelUnderTest, TensorsUnderTest
from nfexport.workflows.own_modules import is_own, load_own
from nfexport.workflows.requests import read_request
from nfexport.workflows.sides.side import FileSide, ModuleSide
from nfexport.workflows.sides.side_name import TORCH, SideName
from nfexport.workflows.subjects import NamedModel, load_named

if TYPE_CHECKING:
    from nfexport.inspection import FileFacts
    from nfexport.sources import LoadedModel

RECIPES = (".json", ".toml")


def module_side(name: SideName, beside: FileSide | None, inputs: Sequence[str]) -> ModuleSide:
    """Return a module in PyTorch, built for the images, the classes and the outputs of the file beside it.

    The module is named as for an export, or by a recipe (.toml or .json). inputs describe what a user's own module
    takes, where no file says so. Raises InputError for a runtime that modules do not run in, and what
    nfexport.sources.load does."""
    if name.where not in (None, TORCH):
        raise InputError(
            f"'{name.written}' names a module, which runs in PyTorch and not in {name.where}",
            fix="export it first, or leave the runtime out",
        )
    from nfexport.sources.timm.torchvision_operators import import_timm

    import_timm()
    if name.path.suffix in RECIPES and name.path.is_file():
        return _of_recipe(name)
    if beside is not None and beside.recipe is None and beside.facts is not None:
        return _for_foreign(name, beside.facts)
    loaded = sources.load(_spec(name, beside, inputs))
    if beside is not None:
        return ModuleSide(name=name, claim=_network(beside.claim, loaded), loaded=loaded)
    return ModuleSide(name=name, claim=claim_of(loaded), loaded=loaded)


def _checkpoint(name: SideName) -> Path | None:
    return Path(name.options["checkpoint"]) if "checkpoint" in name.options else None


def _for_foreign(name: SideName, facts: FileFacts) -> ModuleSide:
    """Return the module of a file that does not say what it holds: the file's own inputs and outputs count."""
    named = NamedModel(name=name.subject, checkpoint=_checkpoint(name), weights_seed=name.number("seed") or 0)
    loaded, claim = load_own(named, facts) if is_own(named.name) else load_named(named, facts)
    return ModuleSide(name=name, claim=_network(claim, loaded), loaded=loaded)


def _spec(name: SideName, beside: FileSide | None, inputs: Sequence[str]) -> ModelSpec:
    recipe = None if beside is None else beside.recipe
    checkpoint = _checkpoint(name)
    trained = checkpoint is not None or "." in name.subject.rpartition("/")[2]
    classes = name.number("num-classes")
    own = is_own(name.subject)
    if recipe is not None and classes is None and not trained and not own:
        classes = recipe.num_classes
    return ModelSpec(
        name=name.subject,
        checkpoint=checkpoint,
        seed=name.number("seed"),
        num_classes=classes,
        in_chans=name.number("in-chans") or (None if recipe is None or own else recipe.source.in_chans),
        inputs=(recipe.tensors if recipe is not None and recipe.tensors else parse_inputs(inputs)) if own else (),
        image_size=None if recipe is None or own else recipe.stored_image_size,
        named_by_user=True,
    )


def _of_recipe(name: SideName) -> ModuleSide:
    request = read_request(name.path)
    if name.options:
        raise InputError(f"'{name.written}' names a recipe, which says all of its model", fix="leave its options out")
    loaded = sources.load(ModelSpec.of(request.source, output_names=request.options.output_names))
    return ModuleSide(name=name, claim=claim_of(loaded), loaded=loaded)


def _network(claim: ModelUnderTest, loaded: LoadedModel) -> ModelUnderTest:
    """Return the claim of the network inside a file: without the steps in front of it, in float32."""
    plain = dataclasses.replace(claim, precision="float32", int8_bound=None, weights_kept=False, factors_moved=False)
    if isinstance(plain, ImageModelUnderTest):
        return dataclasses.replace(plain, steps=(), preprocessing=loaded.preprocessing)
    return plain


def claim_of(loaded: LoadedModel) -> ModelUnderTest:
    """Return what a module takes and returns by itself: images and logits, or the user's own tensors."""
    from nfexport.sources.model import heads
    from nfexport.sources.model.module_outputs import plan_module_outputs

    if loaded.tensors:
        assert loaded.call is not None
        outputs = plan_module_outputs(loaded.call, loaded.architecture, ())
        others = (sizes,) if (sizes := second_sizes(loaded.tensors)) else ()
        return TensorsUnderTest(outputs=outputs, tensors=loaded.tensors, other_sizes=others)
    outputs = (
        heads.plan_outputs(loaded.module, loaded.architecture, ())
        if loaded.call is None
        else plan_module_outputs(loaded.call, loaded.architecture, ())
    )
    return ImageModelUnderTest(
        outputs=outputs,
        input_name="input",
        batch="dynamic",
        image_size=loaded.image_size,
        in_channels=loaded.in_channels,
        preprocessing=loaded.preprocessing,
    )

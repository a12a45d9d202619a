"""A model with the weights of a checkpoint, and with what the checkpoint says of itself."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from nfexport.errors import CheckpointError, NfexportError, RecipeError, UnknownModelError
from nfexport.recipe.recipe import Weights
from nfexport.recipe.statistics import statistics
from nfexport.recipe.validation import printable
from nfexport.sources.model.digest import state_digest
from nfexport.sources.model.loaded_model import LoadedModel
from nfexport.sources.model.spec import ModelSpec
from nfexport.sources.timm import checkpoints, construction, image_sizes
from nfexport.sources.timm.blueprint import Blueprint, blueprint, build, resolved
from nfexport.sources.timm.checkpoint_facts import Facts, counted, facts_of
from nfexport.sources.timm.checkpoint_reader import Checkpoint, read_checkpoint
from nfexport.sources.timm.names import ResolvedName, resolve_name
from nfexport.sources.timm.prefixes import under_prefix
from nfexport.sources.timm.torchvision_operators import import_timm


def load(spec: ModelSpec) -> LoadedModel:
    """Build the architecture that the spec names, with the weights of its checkpoint, whose own word counts where the
    spec says nothing.

    Raises UnknownModelError, RecipeError or CheckpointError."""
    assert spec.checkpoint is not None
    name = resolve_name(spec.name, pretrained=False)
    checkpoint = read_checkpoint(spec.checkpoint, ema=spec.ema)
    facts = facts_of(checkpoint)
    name = _agreed(name, facts, checkpoint)
    return _loaded(spec, name, checkpoint, facts)


def load_alone(spec: ModelSpec) -> LoadedModel:
    """Build the model of a checkpoint that says its architecture; the spec names the checkpoint only.

    Raises CheckpointError if it does not say it, and what load does."""
    assert spec.checkpoint is not None
    checkpoint = read_checkpoint(spec.checkpoint, ema=spec.ema)
    facts = facts_of(checkpoint)
    return _loaded(spec, _named(facts, checkpoint), checkpoint, facts)


def _named(facts: Facts, checkpoint: Checkpoint) -> ResolvedName:
    fix = f"name it: nfexport ARCHITECTURE --checkpoint {checkpoint.path}"
    if facts.architecture is None:
        raise CheckpointError(f"'{checkpoint.path}' does not say its architecture", fix=fix)
    try:
        return _known(facts.architecture)
    except NfexportError as error:
        raise CheckpointError(
            f"'{checkpoint.path}' says that its architecture is {printable(facts.architecture)}, which timm does not "
            "have",
            fix=fix,
        ) from error


def _known(said: str) -> ResolvedName:
    """Return the name that a checkpoint says, with the tag whose configuration it was trained by, if timm knows it.

    Raises UnknownModelError for an architecture that timm does not have."""
    name = _current(said)
    try:
        return resolve_name(name, pretrained=False)
    except UnknownModelError:
        return resolve_name(name.partition(".")[0], pretrained=False)


def _agreed(name: ResolvedName, facts: Facts, checkpoint: Checkpoint) -> ResolvedName:
    """Return the name that the user passes, with the tag that the checkpoint says where the user names none.

    Raises CheckpointError if the checkpoint says that it is of another architecture of timm."""
    if facts.architecture is None:
        return name
    said = _current(facts.architecture).partition(".")[0]
    if said != name.architecture and import_timm().is_model(said):
        raise CheckpointError(
            f"'{checkpoint.path}' says that it is a checkpoint of {said}, not of {name.architecture}",
            fix=f"pass {said}, or the checkpoint alone",
        )
    return _known(facts.architecture) if name.tag is None and said == name.architecture else name


def _current(name: str) -> str:
    """Return the name by which timm knows an architecture today."""
    architecture, dot, tag = name.partition(".")
    return import_timm().models.get_deprecated_models().get(architecture) or f"{architecture}{dot}{tag}"


def _loaded(spec: ModelSpec, name: ResolvedName, checkpoint: Checkpoint, facts: Facts) -> LoadedModel:
    plan = blueprint(spec, name, cfg=_configuration(name, facts, checkpoint), model_kwargs=facts.model_kwargs)
    module, plan, prefix, averaged = _fill(spec, plan, checkpoint, facts)
    labels = None if facts.labels is None or _differ(spec.num_classes, facts.num_classes) else facts.labels
    classes = int(getattr(module, "num_classes", plan.cfg.num_classes))
    if labels is not None and len(labels) != classes:
        raise CheckpointError(
            f"'{checkpoint.path}' has {len(labels)} labels for {classes} classes",
            fix="save its state dict alone, and pass --labels FILE",
        )
    return construction.finished(
        spec,
        plan,
        module,
        Weights(kind="checkpoint", digest=state_digest(module)),
        labels=labels,
        classes=facts.num_classes,
        notes=(*_notes(spec, facts, plan), *_weight_notes(averaged, prefix)),
        resolved=_resolved(spec, plan, facts, averaged),
    )


def _fill(
    spec: ModelSpec, plan: Blueprint, checkpoint: Checkpoint, facts: Facts
) -> tuple[torch.nn.Module, Blueprint, str, bool | None]:
    """Build the network and load the weights into it: return it, what was built, the prefix that the weights had, and
    whether they are averaged ones. Numbers of classes and channels that are not said follow from the tensors."""
    module = build(plan)
    state, prefix, averaged = under_prefix(
        checkpoint.state,
        module.state_dict().keys(),
        checkpoint.path,
        ema=spec.ema if checkpoint.averaged is None else None,
    )
    known = (spec.num_classes, facts.num_classes), (spec.in_chans, facts.in_chans)
    found = _from_tensors(plan, module, state)
    for index, what in enumerate(("num_classes", "in_chans")):
        if any(value is not None for value in known[index]):
            found.pop(what, None)
    if found:
        plan = plan.changed(**found)
        module = build(plan)
    checkpoints.load_state(
        module,
        state,
        checkpoint.path,
        classifiers=plan.classifiers,
        first_convolutions=plan.first_convolutions,
    )
    return module, plan, prefix, checkpoint.averaged if averaged is None else averaged


def _from_tensors(plan: Blueprint, module: torch.nn.Module, state: dict[str, torch.Tensor]) -> dict[str, int]:
    """Return the numbers of classes and of channels that the tensors show, where they differ from the module's."""
    own, found = module.state_dict(), {}
    for what, layers, axis in (("num_classes", plan.classifiers, 0), ("in_chans", plan.first_convolutions, 1)):
        name = f"{layers[0]}.weight" if layers else ""
        if name not in state or name not in own or state[name].ndim != own[name].ndim or own[name].ndim < 2:
            continue
        there, here = list(state[name].shape), list(own[name].shape)
        expected = plan.cfg.num_classes if axis == 0 else plan.in_chans
        if (
            there[axis] != here[axis] == expected
            and there[:axis] + there[axis + 1 :] == here[:axis] + here[axis + 1 :]
        ):
            found[what] = there[axis]
    return found


def _configuration(name: ResolvedName, facts: Facts, checkpoint: Checkpoint) -> Any:
    """Return timm's configuration with what the checkpoint says in its place."""
    own: dict[str, Any] = {
        key: getattr(facts, key)
        for key in ("num_classes", "mean", "std", "crop_pct", "crop_mode", "interpolation")
        if getattr(facts, key) is not None
    }
    if facts.mean is not None and facts.std is not None and max(*facts.mean, *facts.std) > 1:
        try:
            found = statistics(facts.mean * len(facts.std), facts.std * len(facts.mean))
        except RecipeError as error:
            problem = f"mean and std of '{checkpoint.path}' are not in one unit"
            raise CheckpointError(problem, fix="save its state dict alone, and pass --mean and --std") from error
        own |= {"mean": found.mean[: len(facts.mean)], "std": found.std[: len(facts.std)]}
    if facts.crop_pct is not None:
        own["test_crop_pct"] = None
    cfg = dataclasses.replace(name.cfg, **own)
    if facts.in_chans is not None:
        cfg = image_sizes.with_channels(cfg, facts.in_chans)
    return cfg if facts.image_size is None else image_sizes.with_size(cfg, facts.image_size)


def _resolved(spec: ModelSpec, plan: Blueprint, facts: Facts, averaged: bool | None) -> dict[str, Any]:
    """Return the fields of a recipe's source that were not asked for, but found."""
    found = {"model": plan.name.full, **resolved(spec, plan)}
    if spec.image_size is None and facts.image_size is not None:
        found["image_size"] = plan.size
    if spec.ema is None and averaged is not None:
        found["ema"] = averaged
    return found


def _notes(spec: ModelSpec, facts: Facts, plan: Blueprint) -> tuple[str, ...]:
    """Return what was read from the checkpoint, what follows from its tensors, and where the user contradicts it."""
    notes = [f"{text}: from the checkpoint"] if (text := facts.describe()) else []
    for what, one, several, said, given, built in (
        ("num_classes", "class", "classes", facts.num_classes, spec.num_classes, plan.cfg.num_classes),
        ("in_chans", "channel", "channels", facts.in_chans, spec.in_chans, plan.in_chans),
    ):
        option = f"--{what.replace('_', '-')}"
        if _differ(given, said):
            notes.append(f"{option} {given} replaces the {counted(said, one, several)} that the checkpoint says")
        elif given is None and said is None and built != getattr(plan.name, what):
            notes.append(f"{counted(built, one, several)}: from the shapes of the checkpoint's tensors")
    if facts.image_size is not None and not spec.is_size_known and plan.size != facts.image_size:
        said_size, size = ("×".join(map(str, pixels)) for pixels in (facts.image_size, plan.size))
        notes.append(f"the image size {size} replaces the {said_size} that the checkpoint says")
    for key, value in spec.model_kwargs.items():
        if _differ(value, facts.model_kwargs.get(key)):
            notes.append(
                f"--model-kwargs {key}={value} replaces the {facts.model_kwargs[key]} that the checkpoint says"
            )
    return tuple(notes)


def _weight_notes(averaged: bool | None, prefix: str) -> tuple[str, ...]:
    notes = []
    if averaged is not None:
        taken, left = ("averaged (EMA)", "raw") if averaged else ("raw", "averaged (EMA)")
        option = "--no-ema" if averaged else "--ema"
        notes.append(f"the {taken} weights of the checkpoint are taken; {option} takes the {left} ones")
    if prefix:
        notes.append(f"the weights are those under '{prefix}' in the checkpoint")
    return tuple(notes)


def _differ(given: Any, said: Any) -> bool:
    """Say whether two values are known, and not the same."""
    return given is not None and said is not None and given != said

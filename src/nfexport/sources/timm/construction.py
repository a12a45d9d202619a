"""From a name of timm to a torch model with its weights: seeded, trained, or those of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from nfexport.errors import RecipeError
from nfexport.recipe.about import About
from nfexport.recipe.recipe import Provenance, Weights
from nfexport.sources.model.digest import state_digest
from nfexport.sources.model.loaded_model import InputSpec, LoadedModel
from nfexport.sources.model.spec import ModelSpec
from nfexport.sources.timm import adapted_weights, hub, image_sizes
from nfexport.sources.timm.blueprint import Blueprint, blueprint, build
from nfexport.sources.timm.names import ResolvedName, resolve_name
from nfexport.sources.timm.seeded_weights import seed_weights


def load(spec: ModelSpec) -> LoadedModel:
    """Build the model that the spec names, without a checkpoint, with its weights.

    Raises UnknownModelError, RecipeError, CheckpointError or WeightsUnreachable."""
    if spec.ema is not None:
        raise RecipeError("--ema is about the weights of a checkpoint", fix="pass --checkpoint FILE, or leave it out")
    plan = blueprint(spec, resolve_name(spec.name, pretrained=spec.pretrained))
    seed = spec.seed or 0
    if plan.name.tag is None:
        module = build(plan)
        seed_weights(module, seed, image_size=plan.size, in_channels=plan.in_chans)
        weights = Weights(kind="seeded", digest=state_digest(module), seed=seed)
        return finished(spec, plan, module, weights)
    module, seeded, notes = _pretrained(plan, seed)
    weights = Weights(
        kind="pretrained", digest=state_digest(module), tag=plan.name.tag, seed=seed if seeded else None
    )
    return finished(spec, plan, module, weights, about=_about(plan.name), notes=notes)


def finished(
    spec: ModelSpec,
    plan: Blueprint,
    module: torch.nn.Module,
    weights: Weights,
    *,
    labels: tuple[str, ...] | None = None,
    classes: int | None = None,
    about: About | None = None,
    notes: tuple[str, ...] = (),
    provenance: Provenance | None = None,
    resolved: Mapping[str, Any] | None = None,
) -> LoadedModel:
    """Return the model with what is known of it; labels and classes, their number, are what a checkpoint or a
    repository says.

    Raises RecipeError if the user asks for an image size that the network does not accept."""
    if spec.image_size is not None and not spec.is_size_known:
        image_sizes.check_forward(module, plan.name.architecture, plan.size, plan.cfg)
    cfg = plan.cfg
    if len(cfg.mean) not in (1, plan.in_chans):
        notes += (_averaged(plan),)
    return LoadedModel(
        module=module,
        architecture=plan.name.architecture,
        weights=weights,
        input=InputSpec(channels=plan.in_chans, height=plan.size[0], width=plan.size[1]),
        num_classes=int(getattr(module, "num_classes", cfg.num_classes)),
        preprocessing=image_sizes.preprocessing(cfg, plan.size),
        labels=labels if labels is not None else _labels(plan, classes),
        about=about,
        packages=("timm",),
        provenance=provenance,
        resolved=resolved or {},
        notes=notes,
    )


def _pretrained(plan: Blueprint, seed: int) -> tuple[torch.nn.Module, bool, tuple[str, ...]]:
    """Return the network with trained weights, whether its classifier is seeded, and notes."""
    name = plan.name
    reshaped = plan.cfg.num_classes not in (0, name.num_classes)
    trained_plan = plan.changed(num_classes=name.num_classes) if reshaped else plan
    notes: tuple[str, ...] = ()
    if plan.in_chans != name.in_chans or {"img_size", *plan.model_kwargs} & plan.arguments.keys():
        # without this, arguments that are refused would look like weights that do not fit
        module = build(trained_plan)
        if plan.in_chans != name.in_chans:
            adapted_weights.check_adaptable(module, plan, name.in_chans)
            notes += (adapted_weights.note_of_channels(plan, name.in_chans),)
    trained = hub.load_pretrained(name, **trained_plan.arguments).float().eval()
    if not reshaped:
        return trained, False, notes
    module = build(plan)
    state = adapted_weights.with_seeded_classifier(dict(trained.state_dict()), module, plan, seed)
    adapted_weights.load_all(module, state, plan)
    return module, True, (*notes, adapted_weights.note_of_classes(plan, name.num_classes, seed))


def _averaged(plan: Blueprint) -> str:
    return (
        f"mean and std are known for {len(plan.cfg.mean)} channels; the network of {plan.in_chans} gets their "
        "average, as in timm's loaders, unless --mean and --std say otherwise"
    )


def _labels(plan: Blueprint, said: int | None) -> str | None:
    """Return timm's own name for the classes, such as 'imagenet-1k'; None if the user asks for another number."""
    from timm.data import infer_imagenet_subset

    if plan.cfg.num_classes not in (plan.name.num_classes, said):
        return None
    subset = infer_imagenet_subset(plan.cfg.to_dict())
    return None if subset is None else str(subset)


def _about(resolved: ResolvedName) -> About:
    """Return the licence, origin and papers of these weights, from timm's configuration."""
    cfg, name = resolved.cfg, resolved.full
    papers = cfg.paper_ids or ()
    hub = cfg.hf_hub_id and (f"{cfg.hf_hub_id}{name}" if cfg.hf_hub_id.endswith("/") else cfg.hf_hub_id)
    return About(
        title=name,
        licence=cfg.license,
        origin=cfg.origin_url or hub or None,
        citations=(papers,) if isinstance(papers, str) else tuple(papers),
    )

"""From a name of timm, or from a recipe with one, to a torch model with its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from nfexport.errors import CheckpointError, RecipeError, WeightsUnreachable
from nfexport.recipe.about import About
from nfexport.recipe.recipe import Recipe, Weights
from nfexport.sources.model.accepted_sizes import REFUSALS
from nfexport.sources.model.digest import state_digest
from nfexport.sources.model.loaded_model import InputSpec, LoadedModel
from nfexport.sources.model.quick_init import without_random_init
from nfexport.sources.model.spec import ModelSpec
from nfexport.sources.timm import checkpoints, hub, image_sizes
from nfexport.sources.timm.names import ResolvedName, resolve_name
from nfexport.sources.timm.seeded_weights import seed_weights
from nfexport.sources.timm.torchvision_operators import import_timm


def load(spec: ModelSpec) -> LoadedModel:
    """Build the model that the spec names, with its weights.

    Raises UnknownModelError, RecipeError, CheckpointError or WeightsUnreachable."""
    loaded, cfg = _load(spec)
    if spec.image_size is not None:
        image_sizes.check_forward(loaded.module, loaded.architecture, loaded.image_size, loaded.in_channels, cfg)
    return loaded


def _load(spec: ModelSpec) -> tuple[LoadedModel, Any]:
    if spec.checkpoint is not None and spec.pretrained:
        raise RecipeError("--checkpoint and --pretrained both name weights", fix="pass one of them")
    if spec.num_classes is not None and spec.num_classes < 0:
        raise RecipeError(f"{spec.num_classes} classes cannot be", fix="pass --num-classes with 0 or more")
    if spec.checkpoint is not None and not spec.checkpoint.exists():
        raise CheckpointError(f"there is no file '{spec.checkpoint}'", fix="check the path given to --checkpoint")
    resolved = resolve_name(spec.name, pretrained=spec.pretrained)
    cfg = resolved.cfg
    size = image_sizes.choose_size(spec.image_size, cfg)
    arguments = image_sizes.size_arguments(size, cfg)
    if spec.num_classes is not None and spec.num_classes != cfg.num_classes:
        arguments["num_classes"] = spec.num_classes
    if spec.checkpoint is not None:
        module, weights = _from_checkpoint(resolved, spec.checkpoint, arguments)
    elif resolved.tag is not None:
        module, weights = _from_hub(resolved, arguments)
    else:
        module, weights = _from_seed(resolved, spec.seed, size, arguments)
    loaded = LoadedModel(
        module=module,
        architecture=resolved.architecture,
        weights=weights,
        input=InputSpec(channels=cfg.input_size[0], height=size[0], width=size[1]),
        num_classes=int(getattr(module, "num_classes", cfg.num_classes)),
        preprocessing=image_sizes.preprocessing(cfg, size),
        labels=None if "num_classes" in arguments else _labels(cfg),
        about=_about(resolved) if weights.kind == "pretrained" else None,
    )
    return loaded, cfg


def load_from_recipe(recipe: Recipe, *, checkpoint: Path | None = None) -> LoadedModel:
    """Rebuild the model of a recipe; its weights are compared with the recipe's digest.

    checkpoint supplies weights that came from a file, or that cannot be fetched here.
    Raises WeightsUnreachable if they are missing, RecipeError if they are others."""
    kind = recipe.weights.kind
    if kind == "checkpoint" and checkpoint is None:
        raise WeightsUnreachable(
            f"the file was exported from a checkpoint of {recipe.architecture}, which is not here",
            fix="pass it with --checkpoint FILE",
        )
    spec = ModelSpec(
        name=recipe.model_name if checkpoint is None else recipe.architecture,
        checkpoint=checkpoint,
        seed=recipe.weights.seed or 0,
        num_classes=recipe.num_classes,
        image_size=recipe.image_size,
    )
    try:
        loaded, _ = _load(spec)
    except WeightsUnreachable as error:
        raise WeightsUnreachable(error.problem, fix="pass them with --checkpoint FILE") from error
    if loaded.weights.digest != recipe.weights.digest:
        raise RecipeError(
            f"the weights found for {recipe.model_name} are not those of the recipe (sha256 "
            f"{loaded.weights.digest[:12]}… instead of {recipe.weights.digest[:12]}…)",
            fix=_way_to_the_weights(recipe, checkpoint),
        )
    return loaded


def _way_to_the_weights(recipe: Recipe, checkpoint: Path | None) -> str:
    if recipe.weights.kind != "seeded":
        return "pass the checkpoint that the file was exported from with --checkpoint FILE"
    if checkpoint is not None:
        return "leave --checkpoint out, as the file holds seeded weights"
    versions = ", ".join(f"{name} {version}" for name, version in sorted(recipe.versions.items()))
    return f"install the versions that seeded them ({versions}), or export the model again"


def _from_seed(
    resolved: ResolvedName, seed: int, size: tuple[int, int], arguments: dict[str, Any]
) -> tuple[torch.nn.Module, Weights]:
    module = _build(resolved, arguments)
    seed_weights(module, seed, image_size=size, in_channels=resolved.cfg.input_size[0])
    return module, Weights(kind="seeded", digest=state_digest(module), seed=seed)


def _from_checkpoint(
    resolved: ResolvedName, path: Path, arguments: dict[str, Any]
) -> tuple[torch.nn.Module, Weights]:
    module = _build(resolved, arguments)
    classifier = resolved.cfg.classifier
    checkpoints.load_checkpoint(module, path, classifier=classifier if isinstance(classifier, str) else None)
    return module, Weights(kind="checkpoint", digest=state_digest(module))


def _from_hub(resolved: ResolvedName, arguments: dict[str, Any]) -> tuple[torch.nn.Module, Weights]:
    classes = arguments.get("num_classes")
    if classes:
        raise RecipeError(
            f"the trained classifier of {resolved.full} has {resolved.cfg.num_classes} classes, not {classes}",
            fix="leave --num-classes out, or pass --checkpoint FILE with a classifier of that size",
        )
    if "img_size" in arguments:
        _build(resolved, arguments)  # a size that is refused must not look like weights that do not fit
    module = hub.load_pretrained(resolved, **arguments).float().eval()
    return module, Weights(kind="pretrained", digest=state_digest(module), tag=resolved.tag)


def _build(resolved: ResolvedName, arguments: dict[str, Any]) -> torch.nn.Module:
    try:
        with without_random_init():
            module: torch.nn.Module = import_timm().create_model(resolved.architecture, **arguments)
    except REFUSALS as error:
        if "img_size" not in arguments:
            raise
        raise image_sizes.refused_size(resolved.architecture, arguments["img_size"], resolved.cfg, error) from error
    return module.float().eval()


def _labels(cfg: Any) -> str | None:
    """Return timm's own name for the classes, such as 'imagenet-1k'."""
    from timm.data import infer_imagenet_subset

    subset = infer_imagenet_subset(cfg.to_dict())
    return None if subset is None else str(subset)


def _about(resolved: ResolvedName) -> About:
    """Return what timm's configuration says of these weights."""
    cfg, name = resolved.cfg, resolved.full
    papers = cfg.paper_ids or ()
    hub = cfg.hf_hub_id and (f"{cfg.hf_hub_id}{name}" if cfg.hf_hub_id.endswith("/") else cfg.hf_hub_id)
    return About(
        title=name,
        licence=cfg.license,
        origin=cfg.origin_url or hub or None,
        citations=(papers,) if isinstance(papers, str) else tuple(papers),
    )

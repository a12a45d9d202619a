"""From a name of timm to a torch model with its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from nfexport.errors import RecipeError
from nfexport.recipe.about import About
from nfexport.recipe.recipe import Weights
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
        module, weights = _from_seed(resolved, spec.seed or 0, size, arguments)
    if spec.image_size is not None and not spec.is_size_known:
        image_sizes.check_forward(module, resolved.architecture, size, cfg)
    return LoadedModel(
        module=module,
        architecture=resolved.architecture,
        weights=weights,
        input=InputSpec(channels=cfg.input_size[0], height=size[0], width=size[1]),
        num_classes=int(getattr(module, "num_classes", cfg.num_classes)),
        preprocessing=image_sizes.preprocessing(cfg, size),
        labels=None if "num_classes" in arguments else _labels(cfg),
        about=_about(resolved) if weights.kind == "pretrained" else None,
        packages=("timm",),
    )


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
        # without this, a size that is refused would look like weights that do not fit
        _build(resolved, arguments)
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

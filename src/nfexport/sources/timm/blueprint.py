"""What is to be built: an architecture of timm, its configuration, and the arguments of timm.create_model."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Mapping
from typing import Any

import torch

from nfexport.errors import RecipeError, did_you_mean
from nfexport.sources.model.accepted_sizes import REFUSALS
from nfexport.sources.model.quick_init import without_random_init
from nfexport.sources.model.spec import ModelSpec
from nfexport.sources.timm import image_sizes
from nfexport.sources.timm.names import ResolvedName
from nfexport.sources.timm.plain_values import is_plain
from nfexport.sources.timm.torchvision_operators import import_timm

_OPTIONS = {
    "num_classes": "pass --num-classes",
    "in_chans": "pass --in-chans",
    "features_only": "pass --features",
    "out_indices": "pass --features with the levels",
    "pretrained": "pass --pretrained",
    "checkpoint_path": "pass --checkpoint",
    "pretrained_cfg": "pass --mean, --std and the like",
    "pretrained_cfg_overlay": "pass --mean, --std and the like",
}
"""Arguments of timm.create_model that are no arguments of a model, and what to pass instead."""

_NEVER = (
    "cache_dir",
    "device",
    "dtype",
    "scriptable",
    "exportable",
    "no_jit",
    "feature_cls",
    "pretrained_model_args",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Blueprint:
    """What is to be built.

    cfg is timm's configuration with everything that is known better: from a checkpoint, a repository or the user.
    size is (height, width) in pixels; model_kwargs are arguments of the model's constructor."""

    name: ResolvedName
    cfg: Any
    size: tuple[int, int]
    model_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def in_chans(self) -> int:
        """The number of channels of the network's input."""
        return int(self.cfg.input_size[0])

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of timm.create_model that differ from timm's own configuration."""
        own = self.name.cfg
        found = dict(self.model_kwargs)
        if own.fixed_input_size and not image_sizes.is_dynamic(found):
            found.pop("img_size", None)
            if self.size != tuple(own.input_size[1:]):
                found["img_size"] = self.size
        if self.cfg.num_classes != own.num_classes:
            found["num_classes"] = self.cfg.num_classes
        if self.in_chans != own.input_size[0]:
            found["in_chans"] = self.in_chans
        return found

    @property
    def classifiers(self) -> tuple[str, ...]:
        """The names of the network's last layers."""
        return _names(self.name.cfg.classifier)

    @property
    def first_convolutions(self) -> tuple[str, ...]:
        """The names of the layers that take the image."""
        return _names(self.name.cfg.first_conv)

    def changed(self, *, num_classes: int | None = None, in_chans: int | None = None) -> Blueprint:
        """Return the same with another number of classes or channels; None leaves it."""
        cfg = self.cfg if num_classes is None else dataclasses.replace(self.cfg, num_classes=num_classes)
        return dataclasses.replace(self, cfg=cfg if in_chans is None else image_sizes.with_channels(cfg, in_chans))


def resolved(spec: ModelSpec, plan: Blueprint) -> dict[str, Any]:
    """Return the fields of a recipe's source that a spec leaves open and a checkpoint, or a repository, fills in."""
    found: dict[str, Any] = {}
    if spec.num_classes is None and plan.cfg.num_classes != plan.name.num_classes:
        found["num_classes"] = plan.cfg.num_classes
    if spec.in_chans is None and plan.in_chans != plan.name.in_chans:
        found["in_chans"] = plan.in_chans
    if plan.model_kwargs != spec.model_kwargs:
        found["model_kwargs"] = {**spec.model_kwargs, **plan.model_kwargs}
    return found


def blueprint(
    spec: ModelSpec, name: ResolvedName, *, cfg: Any = None, model_kwargs: Mapping[str, Any] | None = None
) -> Blueprint:
    """Return what a spec asks for: cfg and model_kwargs are what a source knows, and the spec wins over them.

    Raises RecipeError for an image size without pixels, or an argument that no model takes."""
    cfg = name.cfg if cfg is None else cfg
    said = {key: _as_list(value) for key, value in (model_kwargs or {}).items()}
    keywords = {**said, **_checked(spec.model_kwargs)}
    if cfg.fixed_input_size and not image_sizes.is_dynamic(keywords) and "img_size" in keywords:
        cfg = image_sizes.with_size(cfg, keywords.pop("img_size"))
    size = image_sizes.choose_size(spec.image_size, cfg)
    made = Blueprint(name=name, cfg=cfg, size=size, model_kwargs=keywords)
    return made.changed(num_classes=spec.num_classes, in_chans=spec.in_chans)


def build(blueprint: Blueprint) -> torch.nn.Module:
    """Build the network, in evaluation mode and float32, with weights that the caller overwrites.

    Raises RecipeError if the architecture does not accept its arguments."""
    name, arguments = blueprint.name, blueprint.arguments
    try:
        with without_random_init():
            module: torch.nn.Module = import_timm().create_model(name.full, **arguments)
    except (*REFUSALS, LookupError) as error:
        if "img_size" in arguments and "img_size" not in blueprint.model_kwargs:
            raise image_sizes.refused_size(name.architecture, blueprint.size, name.cfg, error) from error
        if blueprint.model_kwargs or "in_chans" in arguments:
            raise _refused(blueprint, error) from error
        raise
    return module.float().eval()


def refused_argument(key: str) -> str | None:
    """Return how to mend an argument of timm.create_model that is not one of the model; None if it may be one."""
    if key in _OPTIONS:
        return f"{_OPTIONS[key]} instead"
    return "leave it out" if key in _NEVER else None


def _checked(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return a user's arguments of a model. Raises RecipeError for one that has an option of its own, or a value that
    no recipe can hold."""
    for key, value in keywords.items():
        if (fix := refused_argument(key)) is not None:
            raise RecipeError(f"{key} is no argument of a model's constructor", fix=fix)
        if not is_plain(value):
            raise RecipeError(
                f"--model-kwargs {key} cannot be {value!r}", fix="pass text, a number, True, False or a list of them"
            )
    return {key: _as_list(value) for key, value in keywords.items()}


def _as_list(value: Any) -> Any:
    """Return a value as a recipe gives it back: tuples as lists."""
    return [_as_list(part) for part in value] if isinstance(value, list | tuple) else value


def _refused(blueprint: Blueprint, error: Exception) -> RecipeError:
    """Return the error for arguments that a model's constructor does not accept."""
    name, keywords = blueprint.name, blueprint.model_kwargs
    unknown = re.search(r"(?:(\w+)\.__init__\(\))?.*unexpected keyword argument '(\w+)'", str(error))
    if isinstance(error, TypeError) and unknown is not None:
        owner, key = unknown.groups()
        if key == "in_chans":
            return RecipeError(f"the number of channels of {name.architecture} is fixed", fix="leave --in-chans out")
        known = _parameters(name, owner)
        listed = f"its constructor takes {', '.join(known)}" if known else "leave it out"
        return RecipeError(f"{name.architecture} has no argument '{key}'", fix=did_you_mean(key, known) or listed)
    given = ", ".join(f"{key}={value!r}" for key, value in keywords.items()) or f"in_chans={blueprint.in_chans}"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return RecipeError(
        f"{name.architecture} cannot be built with {given} ({lines[0].rstrip('.')})",
        fix="pass values that its constructor accepts to --model-kwargs" if keywords else "leave --in-chans out",
    )


def _parameters(name: ResolvedName, owner: str | None) -> list[str]:
    """Return the parameters of an architecture's constructor, and of the class that refused one of them."""
    with without_random_init():
        cls = type(import_timm().create_model(name.full))
    helper = getattr(sys.modules.get(cls.__module__), owner or "", None)
    found: dict[str, None] = {}
    for taker in (cls, helper) if isinstance(helper, type) else (cls,):
        parameters = inspect.signature(taker.__init__).parameters.values()  # type: ignore[misc]
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        found |= dict.fromkeys(parameter.name for parameter in parameters if parameter.kind in kinds)
    return [key for key in found if key not in ("self", "cfg", "num_classes", "in_chans")]


def _names(layers: Any) -> tuple[str, ...]:
    return (layers,) if isinstance(layers, str) else tuple(layers or ())

"""From the name that a user passes to an architecture and, if trained weights are asked for, a tag."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from nfexport.errors import UnknownModelError
from nfexport.sources.timm.torchvision_operators import import_timm


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResolvedName:
    """An architecture of timm; tag is None where no trained weights are asked for.

    cfg is timm's own configuration of these weights, or of the architecture's default."""

    architecture: str
    tag: str | None
    cfg: Any

    @property
    def full(self) -> str:
        """The name with its tag, by which timm knows the weights."""
        return self.architecture if self.tag is None else f"{self.architecture}.{self.tag}"

    @property
    def num_classes(self) -> int:
        """The number of classes that timm builds it with."""
        return int(self.cfg.num_classes)

    @property
    def in_chans(self) -> int:
        """The number of channels that timm builds it with."""
        return int(self.cfg.input_size[0])


def resolve_name(name: str, *, pretrained: bool) -> ResolvedName:
    """Return the architecture, and the tag, of a name.

    Raises UnknownModelError, with the nearest names, for an unknown architecture or tag, and with a sibling
    that has weights where the architecture has none published."""
    timm = import_timm()
    architecture, _, tag = name.partition(".")
    renamed = timm.models.get_deprecated_models()
    if architecture in renamed:
        raise _renamed(architecture, renamed[architecture])
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture.lower(), timm.list_models(), n=4, cutoff=0.6)
        fix = f"did you mean {_listed(near)}?" if near else "see 'nfexport list' for all of them"
        raise UnknownModelError(f"timm {timm.__version__} has no architecture '{architecture}'", fix=fix)
    tags = published_tags(architecture)
    if tag:
        return _with_tag(architecture, tag, tags)
    cfg = timm.get_pretrained_cfg(architecture)
    if not pretrained:
        return ResolvedName(architecture=architecture, tag=None, cfg=cfg)
    if not tags:
        raise _unpublished(architecture)
    default = cfg.tag if cfg is not None and cfg.tag in tags else tags[0]
    return ResolvedName(
        architecture=architecture, tag=default, cfg=timm.get_pretrained_cfg(f"{architecture}.{default}")
    )


def published_tags(architecture: str) -> tuple[str, ...]:
    """Return the tags of an architecture whose weights timm can fetch, the default first."""
    cfgs = import_timm().models.get_arch_pretrained_cfgs(architecture)
    return tuple(name.partition(".")[2] for name, cfg in cfgs.items() if cfg.has_weights)


def _with_tag(architecture: str, tag: str, tags: tuple[str, ...]) -> ResolvedName:
    if tag not in tags:
        if not tags:
            raise _unpublished(architecture)
        near = difflib.get_close_matches(tag, tags, n=4, cutoff=0.3) or list(tags[:6])
        raise UnknownModelError(
            f"timm has no weights '{tag}' for {architecture}",
            fix=f"it has {_listed([f'{architecture}.{known}' for known in near])}",
        )
    cfg = import_timm().get_pretrained_cfg(f"{architecture}.{tag}")
    return ResolvedName(architecture=architecture, tag=tag, cfg=cfg)


def _renamed(old: str, new: str | None) -> UnknownModelError:
    """Return the error for a name that timm maps to a new one, with the tag of the weights that it stood for."""
    if new is None:
        return UnknownModelError(f"timm has removed {old}", fix="see 'nfexport list' for all of them")
    architecture, _, tag = new.partition(".")
    trained = f", or '{new}' for its trained weights" if tag else ""
    return UnknownModelError(f"timm has renamed {old} to {architecture}", fix=f"pass '{architecture}'{trained}")


def _unpublished(architecture: str) -> UnknownModelError:
    sibling = _sibling_with_weights(architecture)
    offer = f"use {sibling}, or " if sibling else ""
    return UnknownModelError(
        f"timm publishes no weights for {architecture}",
        fix=f"{offer}use the bare name '{architecture}' for seeded, untrained weights, or --checkpoint FILE",
    )


def _sibling_with_weights(architecture: str) -> str | None:
    """Return the name, with its default tag, of the nearest architecture that has weights.

    Nearest is a name that contains this one, such as dm_nfnet_f0 for nfnet_f0; then by spelling."""
    timm = import_timm()
    trained = sorted({name.partition(".")[0] for name in timm.list_models(pretrained=True)})
    holding = sorted((name for name in trained if architecture in name), key=len)
    near = holding[:1] or difflib.get_close_matches(architecture, trained, n=1, cutoff=0.75)
    return f"{near[0]}.{published_tags(near[0])[0]}" if near else None


def _listed(names: list[str]) -> str:
    return ", ".join(names[:-1]) + " or " + names[-1] if len(names) > 1 else "".join(names)

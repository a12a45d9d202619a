"""The config.json of a repository, or a folder, in the layout of timm's push to the hub.

    {"architecture": "nf_regnet_b0", "num_classes": 7, "label_names": […], "label_descriptions": {…},
     "model_args": {…}, "pretrained_cfg": {"input_size": [3, 256, 256], "mean": […], "std": […], "crop_pct": 0.94, …}}

In an older layout everything is at the top level. Source: timm, models/_hub.py (_parse_model_cfg). Whatever it says
is data of others: it is read by a schema, and fields that are not used here are not looked at.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from nfexport.errors import CheckpointError, NfexportError, RecipeError
from nfexport.recipe.recipe import CropMode, Interpolation
from nfexport.recipe.validation import Above0, Finite, Natural, Pixels, check_strings, convert, printable
from nfexport.sources.timm.blueprint import refused_argument
from nfexport.sources.timm.checkpoint_facts import Facts
from nfexport.sources.timm.names import ResolvedName, resolve_name
from nfexport.sources.timm.plain_values import is_plain

_LARGEST = 64 * 2**20
"""Bytes of a config.json; the one of 21,843 labels with descriptions has two million."""

_FIX = "write it again with timm.models.save_for_hf"

Size = tuple[Pixels, Pixels, Pixels]


class _Pretrained(msgspec.Struct, frozen=True, kw_only=True):
    """The part about the trained weights, with timm's defaults; sizes are (channels, height, width)."""

    input_size: Size = (3, 224, 224)
    test_input_size: Size | None = None
    fixed_input_size: bool = False
    interpolation: Interpolation = "bicubic"
    crop_pct: Above0 = 0.875
    test_crop_pct: Above0 | None = None
    crop_mode: CropMode = "center"
    mean: tuple[Finite, ...] = (0.485, 0.456, 0.406)
    std: tuple[Above0, ...] = (0.229, 0.224, 0.225)
    num_classes: Natural = 1000
    label_names: list[str] | dict[str, str] | None = None
    label_descriptions: list[str] | dict[str, str] | None = None
    labels: list[str] | dict[str, str] | None = None
    license: str | None = None
    origin_url: str | None = None
    paper_ids: str | list[str] | None = None

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std) or self.crop_pct > 1:
            raise ValueError(f"mean {self.mean}, std {self.std} or crop_pct {self.crop_pct:g} is not possible")


class _Config(msgspec.Struct, frozen=True, kw_only=True):
    architecture: str
    num_classes: Natural | None = None
    pretrained_cfg: dict[str, Any] | None = None
    label_names: list[str] | dict[str, str] | None = None
    label_descriptions: list[str] | dict[str, str] | None = None
    model_args: dict[str, Any] | None = None
    license: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class RepositoryConfig:
    """What a config.json says: the architecture, timm's configuration of its weights, and the rest."""

    name: ResolvedName
    cfg: Any
    model_kwargs: Mapping[str, Any]
    labels: tuple[str, ...] | None
    licence: str | None
    origin: str | None
    papers: tuple[str, ...]

    @property
    def facts(self) -> Facts:
        """What it says, for a report."""
        cfg = self.cfg
        return Facts(
            architecture=self.name.architecture,
            num_classes=cfg.num_classes,
            in_chans=cfg.input_size[0],
            image_size=tuple(cfg.input_size[1:]),
            mean=cfg.mean,
            std=cfg.std,
            crop_pct=cfg.crop_pct,
            crop_mode=cfg.crop_mode,
            interpolation=cfg.interpolation,
            model_kwargs=self.model_kwargs,
            labels=self.labels,
        )


def read_config(path: Path, what: str) -> RepositoryConfig:
    """Read a config.json; what names the place that it is in, for messages.

    Raises CheckpointError if it is damaged, names an architecture that timm does not have, or contradicts itself."""
    place = f"config.json of {what}"
    raw = _decoded(path, place)
    try:
        config: _Config = convert(raw, _Config, place, fix=_FIX)
        weights: _Pretrained = convert(
            raw if config.pretrained_cfg is None else config.pretrained_cfg, _Pretrained, place, fix=_FIX
        )
    except RecipeError as error:
        raise CheckpointError(error.problem, fix=error.fix) from error
    try:
        name = resolve_name(config.architecture.partition(".")[0], pretrained=False)
    except NfexportError as error:
        raise CheckpointError(
            f"{place} names the architecture {printable(config.architecture)}, which timm does not have",
            fix=error.fix,
        ) from error
    arguments = _arguments(config.model_args or {}, place)
    cfg = _configuration(name.cfg, config, weights, arguments)
    names = config.label_names or weights.label_names or weights.labels
    descriptions = config.label_descriptions or weights.label_descriptions
    found = RepositoryConfig(
        name=name,
        cfg=cfg,
        model_kwargs=arguments,
        labels=None if not names else _labels(names, descriptions, cfg.num_classes, place),
        licence=weights.license or config.license,
        origin=weights.origin_url,
        papers=(weights.paper_ids,) if isinstance(weights.paper_ids, str) else tuple(weights.paper_ids or ()),
    )
    used = [found.model_kwargs, found.labels, found.licence, found.origin, found.papers]
    try:
        check_strings(used, place, fix="correct the text in it")
    except RecipeError as error:
        raise CheckpointError(error.problem, fix=error.fix) from error
    return found


def _decoded(path: Path, place: str) -> Any:
    """Return the plain values, without those that are null."""
    try:
        if path.stat().st_size > _LARGEST:
            raise CheckpointError(f"{place} has more than {_LARGEST:,} bytes", fix=_FIX)
        raw = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{place} cannot be read ({error.strerror})", fix="check its permissions") from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise CheckpointError(f"{place} is damaged: it is not JSON ({reason})", fix=_FIX) from error
    if not isinstance(raw, dict):
        raise CheckpointError(f"{place} is damaged: it is not a JSON object", fix=_FIX)
    if not isinstance(raw.get("architecture"), str):
        kind = " (it is one of transformers)" if "model_type" in raw or "architectures" in raw else ""
        raise CheckpointError(
            f"{place} names no architecture of timm{kind}", fix="pass a repository that timm's push_to_hf_hub wrote"
        )
    for part in (raw, raw.get("pretrained_cfg")):
        if isinstance(part, dict):
            for key in [key for key, value in part.items() if value is None]:
                del part[key]
    return raw


def _arguments(given: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return the arguments of the model's constructor, checked."""
    found = {key: value for key, value in given.items() if value is not None}
    for key, value in found.items():
        if key not in ("num_classes", "in_chans") and (refused_argument(key) is not None or not is_plain(value)):
            raise CheckpointError(
                f"{place} has model_args {printable(key)} = {printable(str(value))}, which is no argument of a model",
                fix="correct its model_args",
            )
    for key, least in (("num_classes", 0), ("in_chans", 1)):
        value = found.get(key, least)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**31:
            raise CheckpointError(
                f"{place} has model_args {key} = {printable(str(value))}, which is no whole number from {least} up",
                fix="correct its model_args",
            )
    return found


def _configuration(own: Any, config: _Config, weights: _Pretrained, arguments: dict[str, Any]) -> Any:
    """Return timm's configuration of these weights; arguments of the model win, as in timm, and lose these two."""
    classes = arguments.pop("num_classes", weights.num_classes if config.num_classes is None else config.num_classes)
    channels = arguments.pop("in_chans", weights.input_size[0])
    test = weights.test_input_size
    return dataclasses.replace(
        own,
        num_classes=classes,
        input_size=(channels, *weights.input_size[1:]),
        test_input_size=(channels, *test[1:]) if test else None,
        fixed_input_size=weights.fixed_input_size,
        interpolation=weights.interpolation,
        crop_pct=weights.crop_pct,
        test_crop_pct=weights.test_crop_pct,
        crop_mode=weights.crop_mode,
        mean=weights.mean,
        std=weights.std,
    )


def _labels(
    names: list[str] | dict[str, str], descriptions: list[str] | dict[str, str] | None, classes: int, place: str
) -> tuple[str, ...]:
    """Return the text of each class: its description where there is one, else its name."""
    if isinstance(names, dict):
        if sorted(names) != sorted(map(str, range(len(names)))):
            raise CheckpointError(
                f"{place} numbers its labels with gaps", fix="number label_names from 0, or give a list of them"
            )
        names = [names[str(number)] for number in range(len(names))]
    if len(names) != classes:
        raise CheckpointError(
            f"{place} has {len(names)} labels for {classes} classes", fix="correct its label_names, or leave them out"
        )
    if isinstance(descriptions, list):
        descriptions = dict(zip(names, descriptions, strict=False))
    return tuple((descriptions or {}).get(name) or name for name in names)

"""What a model gives: its logits, its feature maps, its embedding, or several of them from one pass.

timm splits every network into features, pooling and classifier. With x = forward_intermediates(picture):

    features             the maps between the stages, as timm's features_only gives them, in NCHW
    embedding-unpooled   x, as forward_features gives it
    embedding            forward_head(x, pre_logits=True)
    logits               forward_head(x)
    probs                softmax(logits);     top-k: its k largest, in order
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch

from nfexport.errors import RecipeError
from nfexport.recipe.recipe import SCORES, Output

Asked = Literal["logits", "probs", "topk", "features", "embedding", "embedding-unpooled"]
ISOTROPIC_LEVELS = 3
"""Networks whose maps all have one size, such as ViT, give the last three, as timm does."""


def plan_outputs(
    module: torch.nn.Module,
    architecture: str,
    asked: Sequence[Asked],
    *,
    k: int = 5,
    levels: Sequence[int] = (),
    name: str | None = None,
) -> tuple[Output, ...]:
    """Return the outputs of a file, with their names, in the order of the kinds asked for.

    levels are indices of feature maps, counted from the end if negative; none means timm's default. name is
    that of a lone output; without it a lone output of logits is 'output', and others are named by what they
    are. Raises RecipeError for what the architecture cannot give."""
    kinds = tuple(dict.fromkeys(asked))
    outputs: list[Output] = []
    for kind in kinds:
        if kind == "features":
            outputs += [
                Output(kind=kind, name=f"features_{n}", level=n) for n in _levels(module, architecture, levels)
            ]
        elif kind == "topk":
            _check_k(module, k)
            outputs += [
                Output(kind="topk-values", name="topk_values", k=k),
                Output(kind="topk-indices", name="topk_indices", k=k),
            ]
        else:
            outputs.append(Output(kind=kind, name=kind.replace("-", "_")))
    if {"logits", "probs", "topk"} & set(kinds) and not getattr(module, "num_classes", 1):
        raise RecipeError(
            f"{architecture} has no classifier here",
            fix="ask for --embedding, or pass --num-classes with another number",
        )
    if any(needs_stages([output]) for output in outputs):
        _check_stages(module, architecture)
    if len(outputs) == 1:
        lone = outputs[0]
        default = "output" if lone.kind == "logits" else lone.name
        return (Output(kind=lone.kind, name=name or default, level=lone.level, k=lone.k),)
    if name is not None:
        raise RecipeError(
            f"--output-name names one output, and there are {len(outputs)}",
            fix="rename them with --rename OLD=NEW: " + ", ".join(output.name for output in outputs),
        )
    return tuple(outputs)


def needs_stages(outputs: Sequence[Output]) -> bool:
    """Say whether the outputs want more than the network as it is called."""
    return any(output.kind in ("features", "embedding", "embedding-unpooled") for output in outputs)


@contextlib.contextmanager
def giving(module: torch.nn.Module, outputs: Sequence[Output]) -> Iterator[None]:
    """Let the module return these outputs, in order, as a tuple (one alone as a tensor).

    The indices of a TopK are given as the scores [batch, classes] that they point into: two scores that
    rounding cannot tell apart have no right order. The module is left as it was."""
    if [output.kind for output in outputs] == ["logits"]:
        yield
        return
    call = type(module).forward
    kinds = {output.kind for output in outputs}

    def forward(picture: torch.Tensor) -> Any:
        found: dict[tuple[str, int | None], torch.Tensor] = {}
        if needs_stages(outputs):
            levels = [output.level for output in outputs if output.kind == "features"]
            features, maps = _stages(module, picture, levels)
            found |= {("features", level): value for level, value in zip(levels, maps, strict=True)}
            found["embedding-unpooled", None] = features
            if "embedding" in kinds:
                found["embedding", None] = module.forward_head(features, pre_logits=True)  # type: ignore[operator]
            if kinds & {"logits", *SCORES}:
                found["logits", None] = module.forward_head(features)  # type: ignore[operator]
        else:
            found["logits", None] = call(module, picture)
        given = tuple(_pick(found, output) for output in outputs)
        return given if len(given) > 1 else given[0]

    module.forward = forward
    try:
        yield
    finally:
        del module.forward


def _pick(found: dict[tuple[str, int | None], torch.Tensor], output: Output) -> torch.Tensor:
    if output.kind not in SCORES:
        return found[output.kind, output.level]
    scores = torch.softmax(found["logits", None], dim=-1)
    return scores.topk(output.k or 1, dim=-1).values if output.kind == "topk-values" else scores


def _stages(
    module: Any, picture: torch.Tensor, levels: Sequence[int | None]
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    if not levels:
        return module.forward_features(picture), []
    order = sorted(set(levels))  # type: ignore[type-var]
    features, maps = module.forward_intermediates(picture, indices=order, output_fmt="NCHW")
    by_level = dict(zip(order, maps, strict=True))
    return features, [by_level[level] for level in levels]


def _levels(module: torch.nn.Module, architecture: str, wanted: Sequence[int]) -> list[int]:
    info = _feature_info(module)
    if not info or not hasattr(module, "forward_intermediates"):
        raise RecipeError(
            f"timm gives no feature maps of {architecture}",
            fix="ask for --embedding unpooled, or another architecture",
        )
    count = len(info)
    if not wanted:
        isotropic = len({entry.get("reduction") for entry in info}) == 1 and count > ISOTROPIC_LEVELS
        return list(range(count - ISOTROPIC_LEVELS if isotropic else 0, count))
    levels = [level + count if level < 0 else level for level in wanted]
    if wrong := [given for given, level in zip(wanted, levels, strict=True) if not 0 <= level < count]:
        raise RecipeError(
            f"{architecture} has no feature map {wrong[0]}", fix=f"pass levels from 0 to {count - 1} to --features"
        )
    if len(set(levels)) != len(levels):
        raise RecipeError("--features names a level twice", fix="name each level once")
    return levels


def _feature_info(module: Any) -> list[dict[str, Any]]:
    info = getattr(module, "feature_info", None) or []
    return list(info.get_dicts()) if hasattr(info, "get_dicts") else list(info)


def _check_stages(module: torch.nn.Module, architecture: str) -> None:
    if not hasattr(module, "forward_features") or not hasattr(module, "forward_head"):
        raise RecipeError(
            f"{architecture} does not tell its features from its classifier",
            fix="ask for --output logits, probs or topk",
        )


def _check_k(module: torch.nn.Module, k: int) -> None:
    classes = int(getattr(module, "num_classes", k))
    if not 1 <= k <= max(classes, 1):
        raise RecipeError(f"the best {k} of {classes} classes cannot be had", fix=f"pass --top-k from 1 to {classes}")

"""What a model returns: its logits, its feature maps, its embedding, or several of them from one forward pass.

timm splits every network into features, pooling and classifier. With x = forward_intermediates(image):

    features             the maps between the stages, as timm's features_only returns them, in NCHW
    embedding-unpooled   x, as forward_features returns it
    embedding            forward_head(x, pre_logits=True)
    logits               forward_head(x)
    probs                softmax(logits);     top-k: its k largest, in order
    sigmoid              sigmoid(logits), a probability for each label of a multi-label network

A network without a classifier gives its embedding unless something else is asked for. Where such a network is not
split, its embedding is the tensor that forward returns.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from nfexport.errors import RecipeError
from nfexport.recipe.export_options import Asked
from nfexport.recipe.recipe import SCORES, Output
from nfexport.sources.model import module_outputs
from nfexport.sources.model.module_call import ModuleCall

ISOTROPIC_LEVELS = 3
"""Feature maps of networks whose maps all have one size, such as ViT: the last three, as timm has it."""


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

    Without any kind these are the logits, or the embedding of a network that has no classifier.
    levels are indices of feature maps, counted from the end if negative; without them timm's default is used. name is
    that of a single output; by default a single output of logits is 'output', and any other is named by its kind.
    Raises RecipeError for what the architecture cannot return."""
    has_classifier = bool(getattr(module, "num_classes", 1))
    kinds = tuple(dict.fromkeys(asked)) or (("logits",) if has_classifier else ("embedding",))
    if {"logits", "probs", "sigmoid", "topk"} & set(kinds) and not has_classifier:
        raise RecipeError(
            f"{architecture} has no classifier",
            fix="ask for --embedding, or pass --num-classes with another number",
        )
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
    if needs_stages(outputs) and (has_classifier or set(kinds) != {"embedding"}):
        _check_stages(module, architecture)
    if len(outputs) == 1:
        single = outputs[0]
        default = "output" if single.kind == "logits" else single.name
        return (Output(kind=single.kind, name=name or default, level=single.level, k=single.k),)
    if name is not None:
        raise RecipeError(
            f"--output-name names one output, and there are {len(outputs)}",
            fix="rename them with --rename OLD=NEW: " + ", ".join(output.name for output in outputs),
        )
    return tuple(outputs)


def needs_stages(outputs: Sequence[Output]) -> bool:
    """Say whether the outputs need more than a call of the network."""
    return any(output.kind in ("features", "embedding", "embedding-unpooled") for output in outputs)


@contextlib.contextmanager
def giving(module: torch.nn.Module, outputs: Sequence[Output], call: ModuleCall | None = None) -> Iterator[None]:
    """Let the module return these outputs, in order, as a tuple (a single one as a tensor), until the block ends.

    In place of the indices of a TopK it returns the scores [batch, classes] that they point into: two scores that
    differ by less than rounding have no defined order. The module is restored, also if the block raises."""
    if call is not None:
        with module_outputs.giving(module, outputs, call, scores_of):
            yield
        return
    kinds = {output.kind for output in outputs}
    if kinds == {"logits"} or (kinds == {"embedding"} and not hasattr(module, "forward_head")):
        yield
        return
    own = type(module).forward

    def forward(image: torch.Tensor) -> Any:
        found: dict[tuple[str, int | None], torch.Tensor] = {}
        if needs_stages(outputs):
            levels = [output.level for output in outputs if output.kind == "features"]
            features, maps = _stages(module, image, levels)
            found |= {("features", level): value for level, value in zip(levels, maps, strict=True)}
            found["embedding-unpooled", None] = features
            if "embedding" in kinds:
                found["embedding", None] = module.forward_head(features, pre_logits=True)  # type: ignore[operator]
            if kinds & {"logits", *SCORES}:
                found["logits", None] = module.forward_head(features)  # type: ignore[operator]
        else:
            found["logits", None] = own(module, image)
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
    return scores_of(found["logits", None], output)


def scores_of(logits: torch.Tensor, output: Output) -> torch.Tensor:
    """Return the scores, or the largest of them, that an output takes from the logits [batch, classes]."""
    if output.kind == "sigmoid":
        return torch.sigmoid(logits)
    scores = torch.softmax(logits, dim=-1)
    return scores.topk(output.k or 1, dim=-1).values if output.kind == "topk-values" else scores


def _stages(
    module: Any, image: torch.Tensor, levels: Sequence[int | None]
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    if not levels:
        return module.forward_features(image), []
    order = sorted(set(levels))  # type: ignore[type-var]
    features, maps = module.forward_intermediates(image, indices=order, output_fmt="NCHW")
    by_level = dict(zip(order, maps, strict=True))
    return features, [by_level[level] for level in levels]


def _levels(module: torch.nn.Module, architecture: str, wanted: Sequence[int]) -> list[int]:
    info = _feature_info(module)
    if not info or not hasattr(module, "forward_intermediates"):
        raise RecipeError(
            f"timm has no feature maps of {architecture}",
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
        raise RecipeError("--features names a level twice", fix="pass each level once")
    return levels


def _feature_info(module: Any) -> list[dict[str, Any]]:
    info = getattr(module, "feature_info", None) or []
    return list(info.get_dicts()) if hasattr(info, "get_dicts") else list(info)


def _check_stages(module: torch.nn.Module, architecture: str) -> None:
    if not hasattr(module, "forward_features") or not hasattr(module, "forward_head"):
        raise RecipeError(
            f"{architecture} does not separate its features from its classifier",
            fix="ask for --output logits, probs, sigmoid or topk",
        )


def _check_k(module: torch.nn.Module, k: int) -> None:
    classes = int(getattr(module, "num_classes", k))
    if not 1 <= k <= max(classes, 1):
        raise RecipeError(f"there is no top {k} of {classes} classes", fix=f"pass --top-k from 1 to {classes}")

"""A model with the weights of a repository of the hub, or of a folder like one."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import torch

from nfexport.graph.file_digest import file_digest
from nfexport.recipe.about import About
from nfexport.recipe.recipe import Provenance, Weights
from nfexport.recipe.validation import UNSAFE
from nfexport.sources.model.digest import state_digest
from nfexport.sources.model.loaded_model import LoadedModel
from nfexport.sources.model.spec import ModelSpec
from nfexport.sources.timm import adapted_weights, checkpoints, construction
from nfexport.sources.timm.blueprint import Blueprint, blueprint, build, resolved
from nfexport.sources.timm.checkpoint_reader import read_checkpoint
from nfexport.sources.timm.prefixes import under_prefix
from nfexport.sources.timm.repository_config import RepositoryConfig, read_config


@dataclasses.dataclass(frozen=True, kw_only=True)
class Repository:
    """The files of a repository, and what it is called.

    model is its name in a recipe, name the one without its kind and revision, what the one in messages. source is the
    kind of source. weights finds the file with the weights, or fetches it, once config.json is known to be good.
    revision is the commit of a repository of the hub, None for a folder."""

    source: str
    model: str
    name: str
    what: str
    config: Path
    weights: Callable[[], Path]
    readme: Path | None = None
    revision: str | None = None


def load(spec: ModelSpec, repository: Repository) -> LoadedModel:
    """Build the model that config.json describes, with the repository's weights, or those of the spec's checkpoint.

    Raises CheckpointError if config.json or the weights are damaged or do not fit, and RecipeError."""
    config = read_config(repository.config, repository.what)
    plan = blueprint(spec, config.name, cfg=config.cfg, model_kwargs=config.model_kwargs)
    own_file = spec.checkpoint is not None and spec.checkpoint.is_file()
    path = spec.checkpoint if own_file and spec.checkpoint is not None else repository.weights()
    module, seeded, notes = _fill(spec, plan, config, path)
    from_hub = repository.revision is not None and not own_file
    files = {file.name: file_digest(file) for file in (repository.config, path)}
    licence = config.licence or _licence(repository.readme)
    if repository.readme is not None and licence and not config.licence:
        files[repository.readme.name] = file_digest(repository.readme)
    seed = spec.seed or 0
    at = f" at revision {repository.revision[:12]}" if repository.revision else ""
    return construction.finished(
        spec,
        plan,
        module,
        Weights(kind="hub" if from_hub else "checkpoint", digest=state_digest(module), seed=seed if seeded else None),
        labels=config.labels if plan.cfg.num_classes == config.cfg.num_classes else None,
        classes=config.cfg.num_classes,
        about=About(title=repository.name, licence=licence, origin=config.origin, citations=config.papers),
        notes=(f"{config.facts.describe()}: from config.json of {repository.what}{at}", *notes),
        provenance=Provenance(
            source=repository.source,
            name=repository.name,
            revision=repository.revision,
            # a recipe holds no file names of a user's own
            files=files if not own_file else {repository.config.name: files[repository.config.name]},
        ),
        resolved={"model": repository.model, **resolved(spec, plan)},
    )


def _fill(
    spec: ModelSpec, plan: Blueprint, config: RepositoryConfig, path: Path
) -> tuple[torch.nn.Module, bool, tuple[str, ...]]:
    """Return the network with its weights, whether its classifier is seeded, and notes."""
    checkpoint = read_checkpoint(path, ema=spec.ema)
    module = build(plan)
    ema = spec.ema if checkpoint.averaged is None else None
    state, _, _ = under_prefix(checkpoint.state, module.state_dict().keys(), path, ema=ema)
    trained_channels, trained_classes = config.cfg.input_size[0], config.cfg.num_classes
    classes, seed = plan.cfg.num_classes, spec.seed or 0
    seeded, notes = False, []
    if plan.in_chans != trained_channels:
        state = adapted_weights.adapt_channels(state, module, plan, trained_channels)
        notes.append(adapted_weights.note_of_channels(plan, trained_channels))
    if classes != trained_classes:
        if seeded := classes != 0:
            state = adapted_weights.with_seeded_classifier(state, module, plan, seed)
            notes.append(adapted_weights.note_of_classes(plan, trained_classes, seed))
        else:
            prefixes = tuple(f"{layer}." for layer in plan.classifiers)
            state = {name: tensor for name, tensor in state.items() if not name.startswith(prefixes)}
    checkpoints.load_state(
        module, state, path, classifiers=plan.classifiers, first_convolutions=plan.first_convolutions
    )
    return module, seeded, tuple(notes)


def _licence(readme: Path | None) -> str | None:
    """Return the licence in the front matter of a README, 'license: apache-2.0'."""
    if readme is None:
        return None
    try:
        with readme.open(encoding="utf-8") as file:
            head = file.read(10_000)
    except (OSError, UnicodeDecodeError):
        return None
    front = re.match(r"---\r?\n(.*?)\r?\n---", head, re.DOTALL)
    found = None if front is None else re.search(r"^license: *['\"]?([\w.+-]+)['\"]? *\r?$", front[1], re.MULTILINE)
    return None if found is None or re.search(UNSAFE, found[1]) else found[1]

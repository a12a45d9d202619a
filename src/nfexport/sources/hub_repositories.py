"""Repositories of the model hub in timm's layout: 'hf-hub:org/name', 'hf-hub:org/name@revision', 'timm/name'."""

from __future__ import annotations

import functools
import re

from nfexport.errors import UnknownModelError
from nfexport.sources.model.checkpoint_names import is_checkpoint
from nfexport.sources.model.loaded_model import LoadedModel
from nfexport.sources.model.spec import ModelSpec

_PREFIXES = ("hf-hub:", "hf_hub:")
_OWN = "timm/"
"""The organisation of timm's own repositories, which needs no prefix."""

_NAME = re.compile(r"(?P<repository>[\w][\w.-]*/[\w][\w.-]*)(?:@(?P<revision>[\w][\w./-]*))?")


def matches(model: object) -> bool:
    """Say whether it is the name of a repository: it begins with 'hf-hub:' or 'timm/'."""
    if not isinstance(model, str):
        return False
    return model.startswith(_PREFIXES) or (
        model.startswith(_OWN) and _NAME.fullmatch(model) is not None and not is_checkpoint(model)
    )


def load(spec: ModelSpec) -> LoadedModel:
    """Build the model that the repository's config.json describes, with its weights.

    The spec's checkpoint may be a file with other weights, or a folder that is taken in place of the repository.
    Raises UnknownModelError for what cannot be a repository, WeightsUnreachable if it cannot be fetched and is not in
    the hub's cache, and CheckpointError or RecipeError as a folder does."""
    if spec.checkpoint is not None and spec.checkpoint.is_dir():
        from nfexport.sources import local_folders

        return local_folders.load(spec)
    name = spec.name
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    found = _NAME.fullmatch(name)
    if found is None:
        raise UnknownModelError(
            f"'{name}' cannot be a repository of the hub", fix="pass hf-hub:org/name, or hf-hub:org/name@revision"
        )
    from nfexport.sources.timm import from_repository, hub_files

    files = hub_files.fetch_config(found["repository"], found["revision"])
    return from_repository.load(
        spec,
        from_repository.Repository(
            source="hub_repositories",
            model=f"hf-hub:{found['repository']}@{files.revision}",
            name=found["repository"],
            what=f"the repository {found['repository']}",
            config=files.config,
            weights=functools.partial(hub_files.fetch_weights, found["repository"], files.revision),
            readme=files.readme,
            revision=files.revision,
        ),
    )

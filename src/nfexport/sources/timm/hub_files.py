"""Fetch the files of a repository through the hub's own client, or find them in its cache."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from nfexport.errors import CheckpointError, WeightsUnreachable
from nfexport.sources.timm import hub

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""The files with weights that timm's push to the hub writes, the preferred one first."""

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class HubFiles:
    """The small files of one commit of a repository, in the hub's cache."""

    revision: str
    config: Path
    readme: Path | None


def fetch_config(repository: str, revision: str | None) -> HubFiles:
    """Return config.json and README.md of a revision, 'main' by default, and its commit.

    Raises WeightsUnreachable if the hub cannot be reached and its cache does not hold them, or if the hub does not
    have the repository or revision; CheckpointError if the repository has no config.json."""
    with _client(repository, revision, "config.json"):
        config = _file(repository, "config.json", revision)
        if config is None:
            raise CheckpointError(
                f"the repository {repository} has no config.json",
                fix="pass a repository that timm's push_to_hf_hub wrote",
            )
        # all files are of one commit, whatever is pushed meanwhile
        commit = config.parent.name if _COMMIT.fullmatch(config.parent.name) else str(revision)
        return HubFiles(revision=commit, config=config, readme=_readme(repository, commit))


def fetch_weights(repository: str, commit: str) -> Path:
    """Return the file with the weights of a commit; nothing is fetched twice.

    Raises WeightsUnreachable as fetch_config does, CheckpointError if the repository has no weights."""
    unreachable: WeightsUnreachable | None = None
    with _client(repository, commit, *WEIGHTS):
        for name in WEIGHTS:
            try:
                if (found := _file(repository, name, commit)) is not None:
                    return found
            except WeightsUnreachable as error:
                unreachable = unreachable or error
    if unreachable is not None:
        raise unreachable
    raise CheckpointError(
        f"the repository {repository} has no weights: neither {WEIGHTS[0]} nor {WEIGHTS[1]}",
        fix="pass --checkpoint FILE",
    )


@contextlib.contextmanager
def _client(repository: str, revision: str | None, *names: str) -> Iterator[None]:
    """Keep the hub's client quiet, and offline if the hub does not answer.

    A file of a commit that is in the cache needs no connection, and no wait for one."""
    known = revision is not None and _COMMIT.fullmatch(revision) is not None
    with hub.quiet(), contextlib.ExitStack() as stack:
        if not (known and any(_is_cached(repository, name, revision) for name in names)):
            stack.enter_context(hub.offline_if_unreachable(repository))
        yield


def _readme(repository: str, commit: str) -> Path | None:
    try:
        return _file(repository, "README.md", commit)
    except WeightsUnreachable:  # a cache that timm filled has none
        return None


def _is_cached(repository: str, name: str, revision: str | None) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repository, name, revision=revision), str)


def _file(repository: str, name: str, revision: str | None) -> Path | None:
    """Return the path of a file in the cache, None if the hub says that the repository has no such file."""
    from huggingface_hub import errors, hf_hub_download

    try:
        return Path(hf_hub_download(repository, name, revision=revision))
    except Exception as error:  # the hub's client raises kinds of its own, and those of its transport
        if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
            return None
        at = f" at revision {revision}" if revision else ""
        if isinstance(error, errors.RevisionNotFoundError):
            raise WeightsUnreachable(
                f"the repository {repository} has no revision {revision}", fix="pass a branch, tag or commit of it"
            ) from error
        if hub.is_unreachable(error):
            raise WeightsUnreachable(
                f"{name} of the repository {repository}{at} cannot be fetched: {hub.reason_of(error)}",
                fix="bring the hub's cache of a machine that has it (HF_HOME), or pass a copy of the repository: "
                "local-dir:PATH",
            ) from error
        raise CheckpointError(
            f"{name} of the repository {repository}{at} could not be fetched ({hub.first_line(error)})",
            fix="clear the hub's cache and try again, or pass a copy of the repository: local-dir:PATH",
        ) from error

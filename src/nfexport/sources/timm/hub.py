"""Trained weights from the model hub, through timm's own client code."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import torch

from nfexport import process
from nfexport.errors import CheckpointError, WeightsUnreachable
from nfexport.sources.timm.names import ResolvedName
from nfexport.sources.timm.torchvision_operators import import_timm

_PATIENCE = 5.0
"""Seconds within which the hub has to answer a first request."""

_STALL = 30.0
"""Seconds without data after which a download from a plain address fails; Python's own default is no limit."""


def load_pretrained(resolved: ResolvedName, **kwargs: Any) -> torch.nn.Module:
    """Build the architecture and load its trained weights from the hub, or from the hub's cache.

    kwargs go to timm.create_model. Raises WeightsUnreachable if the hub cannot be reached or does not have the
    file, and CheckpointError if what it delivers does not fit."""
    name = resolved.full
    try:
        with quiet(), offline_if_unreachable(resolved.cfg.hf_hub_id), torch.random.fork_rng(devices=[]):
            model: torch.nn.Module = import_timm().create_model(name, pretrained=True, **kwargs)
    except Exception as error:  # the hub's client raises kinds of its own, and those of its transport
        if is_unreachable(error):
            raise WeightsUnreachable(
                f"the weights of {name} cannot be fetched: {reason_of(error)}",
                fix=f"pass --checkpoint FILE, or the bare name '{resolved.architecture}' for seeded weights",
            ) from error
        if isinstance(error, TypeError):
            raise
        raise CheckpointError(
            f"the published weights of {name} could not be loaded ({first_line(error)})",
            fix="clear the hub's cache and try again, or pass --checkpoint FILE",
        ) from error
    return model


def is_unreachable(error: BaseException) -> bool:
    """Say whether the hub, or what is asked of it, cannot be reached."""
    from huggingface_hub import errors

    unreachable: tuple[type[BaseException], ...] = (
        errors.HfHubHTTPError,
        errors.LocalEntryNotFoundError,
        errors.OfflineModeIsEnabled,
        errors.EntryNotFoundError,
        ConnectionError,
        TimeoutError,
    )
    chain: BaseException | None = error
    while chain is not None:
        # urllib, requests and httpx each have their own kinds; their names are what they share
        names = {kind.__name__ for kind in type(chain).__mro__}
        if isinstance(chain, unreachable) or names & {"URLError", "RequestException", "TransportError"}:
            return True
        chain = chain.__cause__ or chain.__context__
    return False


def reason_of(error: BaseException) -> str:
    """Return why that is, in words."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return "the hub has them only for users who have accepted their terms"
    if isinstance(error, errors.RepositoryNotFoundError | errors.EntryNotFoundError) and not isinstance(
        error, errors.LocalEntryNotFoundError
    ):
        return "the hub does not have them"
    return "the model hub is unreachable, and its cache does not hold them"


def first_line(error: BaseException) -> str:
    """Return the first line of an error, or its kind if it has no words."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@contextlib.contextmanager
def offline_if_unreachable(repository: str | None) -> Iterator[None]:
    """Put the hub's client into its offline mode, until the block ends, if the hub does not answer.

    It would otherwise retry for most of a minute, and for many minutes where packets are dropped, before it looks
    into its cache or fails. repository is None for weights with an address of their own."""
    from huggingface_hub import constants

    offline = constants.HF_HUB_OFFLINE or (repository is not None and not _answers(repository))
    with (
        process.attribute(constants, "HF_HUB_OFFLINE", offline),
        process.setting(socket.getdefaulttimeout, socket.setdefaulttimeout, _STALL),
    ):
        yield


def _answers(repository: str) -> bool:
    """Send one request through the hub's own client, so that its proxies and certificates apply."""
    from huggingface_hub import errors, get_hf_file_metadata, hf_hub_url

    try:
        get_hf_file_metadata(hf_hub_url(repository.partition("@")[0], "model.safetensors"), timeout=_PATIENCE)
    except errors.HfHubHTTPError as error:
        return error.response.status_code < 500
    except Exception:  # noqa: BLE001  # the transport's own kinds differ between releases of the client
        return False
    return True


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the client's log, warnings and progress bars from the terminal: an error becomes one sentence."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled

    with (
        process.quiet_loggers("timm", "huggingface_hub", "httpx", "urllib3"),
        process.warnings_ignored(),
        process.setting(are_progress_bars_disabled, _disable_progress_bars, True),
    ):
        yield


def _disable_progress_bars(disabled: bool) -> None:
    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

    (disable_progress_bars if disabled else enable_progress_bars)()

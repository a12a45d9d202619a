"""What can stand on a side of a comparison, and how it is run."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nfexport.runtimes import Session, open_session
from nfexport.verification.model_under_test import ModelUnderTest
from nfexport.workflows.sides.side_name import SideName

if TYPE_CHECKING:
    from nfexport.inspection import FileFacts
    from nfexport.recipe.recipe import Recipe
    from nfexport.sources import LoadedModel

Arrays = Mapping[str, NDArray[Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side(abc.ABC):
    """One side: claim says which inputs it takes, in which form, and what it returns."""

    name: SideName
    claim: ModelUnderTest

    @property
    @abc.abstractmethod
    def title(self) -> str:
        """What it is, for a message."""

    @abc.abstractmethod
    def open(self) -> Session:
        """Return it, ready to be run. Raises OnnxFileError, InputError or MissingPackage as open_session does."""

    def running(self) -> contextlib.AbstractContextManager[None]:
        """Return the context that it runs in."""
        return contextlib.nullcontext()


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileSide(Side):
    """A file in a runtime; recipe is None for one that has none, facts for a file of another format than ONNX."""

    path: Path
    runtime: str
    recipe: Recipe | None
    facts: FileFacts | None

    @property
    def is_onnx(self) -> bool:
        """False for a file of another format."""
        return self.facts is not None

    @property
    def title(self) -> str:
        """See Side."""
        return f"'{self.path}'" + ("" if self.name.optimises else ", not optimised")

    def open(self) -> Session:
        """See Side."""
        name = self.name
        options: dict[str, Any] = {} if name.optimises else {"optimise": False}
        return open_session(
            self.path, runtime=self.runtime, providers=name.providers, threads=name.threads, **options
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModuleSide(Side):
    """A torch module in PyTorch."""

    loaded: LoadedModel

    @property
    def title(self) -> str:
        """See Side."""
        return self.loaded.model_name

    def open(self) -> Session:
        """See Side."""
        return TorchSession(self.loaded, self.claim)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """See Side: let the module return what the claim lists."""
        from nfexport.sources.model import heads

        with heads.giving(self.loaded.module, self.claim.outputs, self.loaded.call):
            yield


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordedSide(Side):
    """Outputs that were recorded, batch by batch; each batch of inputs too, if the recording holds them."""

    inputs: tuple[Arrays, ...]
    outputs: tuple[Arrays, ...]

    @property
    def title(self) -> str:
        """See Side."""
        return f"the recording '{self.name.subject}'"

    def open(self) -> Session:
        """See Side."""
        return RecordedSession(self.outputs)


class TorchSession:
    """A torch module in float32 as a Session, to be used while its side is running."""

    runtime = "torch"
    providers: tuple[str, ...] = ()

    def __init__(self, loaded: LoadedModel, claim: ModelUnderTest) -> None:
        import torch

        self._loaded, self._claim = loaded, claim
        self.version = str(torch.__version__)
        self.inputs: Mapping[str, tuple[int | str, ...]] = dict.fromkeys(claim.input_names, ())
        self.outputs = tuple(output.name for output in claim.outputs)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See Session."""
        from nfexport.verification.torch_reference import run_in_float32

        arrays = [feeds[name] for name in self._claim.input_names]
        found = run_in_float32(self._loaded.module, arrays, self.outputs)
        for output in self._claim.outputs:
            if output.kind == "topk-indices":  # heads gives the scores that they point into
                best = np.argsort(-found[output.name], axis=1, kind="stable")
                found[output.name] = best[:, : output.k or 1]
        return found


class RecordedSession:
    """Recorded outputs as a Session: each run returns those of the next batch."""

    runtime = "recorded"
    version = ""
    providers: tuple[str, ...] = ()
    inputs: Mapping[str, tuple[int | str, ...]] = {}

    def __init__(self, outputs: Sequence[Arrays]) -> None:
        self.outputs = tuple(outputs[0]) if outputs else ()
        self._left = iter(outputs)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See Session."""
        found = next(self._left, None)
        if found is None:
            raise RuntimeError("the recording holds fewer batches than there are inputs")
        return dict(found)

"""What predicts the classes of a batch: the file in each of its runtimes, and its model in PyTorch.

Batches are spread over threads, and each batch runs in the thread that decoded it. So ONNX Runtime and PyTorch use
one thread per batch: threads of their own would wait for one another at every operator, and for the decoding.
Runtimes whose sessions are not safe to call from several threads run one batch at a time.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nfexport import process
from nfexport.errors import OnnxFileError
from nfexport.images.evaluate.predictions import ClassOutputs, Predictions, rank
from nfexport.images.preprocessor import Preprocessor, fill_colour, preprocessor_of
from nfexport.recipe.interface import network_preprocessing
from nfexport.recipe.recipe import Recipe
from nfexport.runtimes import Session, find, open_session

if TYPE_CHECKING:
    from nfexport.sources import LoadedModel

Pixels = NDArray[np.uint8]
TORCH = "torch"


class Runner(Protocol):
    """Predicts the classes of images; safe to call from several threads."""

    name: str
    version: str
    preprocessor: Preprocessor

    def predict(self, pixels: Sequence[Pixels]) -> Predictions:
        """Return the predictions for a batch of pixels [height, width, channels] of one size, from preprocessor."""


class SessionRunner:
    """A file in a runtime. See Runner.

    Where the file has a fixed batch size, a smaller batch is filled with copies of its last image."""

    def __init__(self, path: Path, recipe: Recipe, session: Session, outputs: ClassOutputs) -> None:
        self.name, self.version = session.runtime, session.version
        self.preprocessor = preprocessor_of(recipe)
        self._path, self._session, self._outputs = path, session, outputs
        self._batch = recipe.batch
        concurrent = find(session.runtime).concurrent
        self._turn: Any = contextlib.nullcontext() if concurrent else threading.Lock()

    def predict(self, pixels: Sequence[Pixels]) -> Predictions:
        """Run the file. Raises OnnxFileError if the runtime fails."""
        count = len(pixels)
        padded = list(pixels) + [pixels[-1]] * (0 if self._batch == "dynamic" else self._batch - count)
        feeds = {self.preprocessor.input_name: self.preprocessor.batch(padded)}
        try:
            with self._turn:
                outputs = self._session.run(feeds)
        except RuntimeError as error:
            raise OnnxFileError(
                f"{self.name} failed on '{self._path}': {error}", fix="check it with 'nfexport verify'"
            ) from error
        return self._outputs.predictions({name: array[:count] for name, array in outputs.items()})


class TorchRunner:
    """The model of the recipe in PyTorch, in float32, on the network's own input. See Runner."""

    name = TORCH

    def __init__(self, recipe: Recipe, loaded: LoadedModel) -> None:
        import torch

        self.version = str(torch.__version__)
        self.preprocessor = network_preprocessor(recipe)
        self._module, self._torch = loaded.module, torch
        self._warm = threading.Lock()
        self._runs = 0

    def predict(self, pixels: Sequence[Pixels]) -> Predictions:
        """Run the module."""
        # some models cache derived values in their first forward pass, so no other thread may run it meanwhile
        with self._warm if self._runs == 0 else contextlib.nullcontext():
            with self._torch.inference_mode():
                logits = self._module(self._torch.from_numpy(self.preprocessor.batch(pixels)))
            self._runs += 1
        return rank(logits.numpy(), probabilities=False)


def network_preprocessor(recipe: Recipe) -> Preprocessor:
    """Return the preprocessor for the network itself: it does what the file and its caller share."""
    preprocessing = network_preprocessing(recipe)
    return Preprocessor(
        input_name=recipe.input_name,
        size=recipe.image_size,
        channels=recipe.in_channels,
        preprocessing=preprocessing,
        fill=fill_colour(preprocessing),
    )


def open_runners(
    path: Path, recipe: Recipe, outputs: ClassOutputs, *, runtimes: Sequence[str], providers: Sequence[str]
) -> list[Runner]:
    """Load the file into each runtime. Raises what nfexport.runtimes.open_session does."""
    runners: list[Runner] = []
    for name in dict.fromkeys(runtimes):
        # one thread per batch is faster than several threads for one batch after another
        threads = 1 if find(name).concurrent else None
        session = open_session(path, runtime=name, providers=providers, threads=threads)
        runners.append(SessionRunner(path, recipe, session, outputs))
    return runners


@contextlib.contextmanager
def one_thread_each(runners: Sequence[Runner]) -> Iterator[None]:
    """Let PyTorch use one thread per call until the block ends, if it is among the runners."""
    if not any(runner.name == TORCH for runner in runners):
        yield
        return
    import torch

    with process.setting(torch.get_num_threads, torch.set_num_threads, 1):
        yield


def pixels_for(runners: Sequence[Runner], image: Image.Image) -> list[Pixels]:
    """Return the pixels of an image for each runner, computed once where they are the same.

    Raises ImageError as Preprocessor.pixels does."""
    done: dict[Any, Pixels] = {}
    result = []
    for runner in runners:
        pre = runner.preprocessor.preprocessing
        key = (runner.preprocessor.size, pre.crop_pct, pre.crop_mode, pre.interpolation, runner.preprocessor.fill)
        if key not in done:
            done[key] = runner.preprocessor.pixels(image)
        result.append(done[key])
    return result

"""What runs the network on a batch: the file in each of its runtimes, and PyTorch beside them.

Pictures are spread over threads, one batch each, and a batch runs in the thread that decoded it. So ONNX
Runtime and PyTorch get one thread a batch: their own threads would wait for one another at every operator,
and for the decoding. Runtimes whose sessions are not made for several threads at once run one batch at a time.
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
from nfexport.images.evaluate.predictions import Answers, Reading, rank
from nfexport.images.preprocessor import Preprocessor, fill_colour, preprocessor_of
from nfexport.recipe.interface import network_preprocessing
from nfexport.recipe.recipe import Recipe
from nfexport.runtimes import Session, open_session

if TYPE_CHECKING:
    from nfexport.sources import LoadedModel

Pixels = NDArray[np.uint8]
CONCURRENT = ("onnxruntime",)
"""Runtimes whose sessions may run in several threads at once."""

TORCH = "torch"


class Runner(Protocol):
    """Answers for pictures of one size; safe to call from several threads."""

    name: str
    version: str
    form: Preprocessor

    def answers(self, pixels: Sequence[Pixels]) -> Answers:
        """Return what it says of these pixels [height, width, channels], as form makes them."""


class SessionRunner:
    """A file in a runtime. See Runner.

    A file of a fixed batch gets its last picture several times where pictures are missing."""

    def __init__(self, path: Path, recipe: Recipe, session: Session, reading: Reading) -> None:
        self.name, self.version = session.runtime, session.version
        self.form = preprocessor_of(recipe)
        self._path, self._session, self._reading = path, session, reading
        self._batch = recipe.batch
        one_at_a_time = session.runtime not in CONCURRENT
        self._turn: Any = threading.Lock() if one_at_a_time else contextlib.nullcontext()

    def answers(self, pixels: Sequence[Pixels]) -> Answers:
        count = len(pixels)
        padded = list(pixels) + [pixels[-1]] * (0 if self._batch == "dynamic" else self._batch - count)
        feeds = {self.form.input_name: self.form.batch(padded)}
        try:
            with self._turn:
                outputs = self._session.run(feeds)
        except RuntimeError as error:
            raise OnnxFileError(
                f"'{self._path}' stops in {self.name}: {error}", fix="check it with 'nfexport verify'"
            ) from error
        return self._reading.answers({name: array[:count] for name, array in outputs.items()})


class TorchRunner:
    """The model of the recipe in PyTorch, in float32, on the network's own input. See Runner."""

    name = TORCH

    def __init__(self, recipe: Recipe, loaded: LoadedModel) -> None:
        import torch

        self.version = str(torch.__version__)
        self.form = network_preprocessor(recipe)
        self._module, self._torch = loaded.module, torch
        self._warm = threading.Lock()
        self._runs = 0

    def answers(self, pixels: Sequence[Pixels]) -> Answers:
        # some models keep what they derive on their first pass: nobody else may be in it meanwhile
        with self._warm if self._runs == 0 else contextlib.nullcontext():
            with self._torch.inference_mode():
                logits = self._module(self._torch.from_numpy(self.form.batch(pixels)))
            self._runs += 1
        return rank(logits.numpy(), probabilities=False)


def network_preprocessor(recipe: Recipe) -> Preprocessor:
    """Return how images enter the network itself: all that the recipe asks for, done outside the file."""
    preprocessing = network_preprocessing(recipe)
    return Preprocessor(
        input_name=recipe.input_name,
        size=recipe.image_size,
        channels=recipe.in_channels,
        preprocessing=preprocessing,
        fill=fill_colour(preprocessing),
    )


def open_runners(
    path: Path, recipe: Recipe, reading: Reading, *, runtimes: Sequence[str], providers: Sequence[str]
) -> list[Runner]:
    """Load the file into each runtime. Raises what nfexport.runtimes.open_session does."""
    return [
        SessionRunner(
            path,
            recipe,
            # a thread for each picture is better than several for one
            open_session(
                path,
                runtime=name,
                providers=providers if name == "onnxruntime" else (),
                threads=1 if name in CONCURRENT else None,
            ),
            reading,
        )
        for name in dict.fromkeys(runtimes)
    ]


@contextlib.contextmanager
def one_thread_each(runners: Sequence[Runner]) -> Iterator[None]:
    """Inside, PyTorch computes each batch in the thread that asks for it, if it is among the runners."""
    if not any(runner.name == TORCH for runner in runners):
        yield
        return
    import torch

    with process.setting(torch.get_num_threads, torch.set_num_threads, 1):
        yield


def pixels_for(runners: Sequence[Runner], picture: Image.Image) -> list[Pixels]:
    """Return the pixels that each runner wants of a picture; computed once where they are the same.

    Raises ImageError as Preprocessor.pixels does."""
    done: dict[Any, Pixels] = {}
    result = []
    for runner in runners:
        pre = runner.form.preprocessing
        key = (runner.form.size, pre.crop_pct, pre.crop_mode, pre.interpolation, runner.form.fill)
        if key not in done:
            done[key] = runner.form.pixels(picture)
        result.append(done[key])
    return result

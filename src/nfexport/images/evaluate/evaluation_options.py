"""The options of an evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict


class EvaluationKeywords(TypedDict, total=False):
    """The keyword arguments of nfexport.evaluate: the fields of EvaluationOptions."""

    truth: str | Path | None
    truth_base: int | None
    class_map: str | Path | None
    limit: int | None
    runtimes: Sequence[str]
    providers: Sequence[str]
    against: Literal["torch"] | None
    checkpoint: str | Path | None
    batch: int | None
    workers: int | None
    resume: str | Path | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """Which images are evaluated, by what, and how.

    truth is a file that lists the class of each image, and truth_base the number of the first class in it (found out
    if None); class_map is a file with the class that each name of a folder, or of a class in truth, stands for. limit
    is the number of images to evaluate, spread evenly over all of them.
    runtimes are those that run the file, providers the execution providers of ONNX Runtime. against 'torch' also runs
    the model of the recipe in PyTorch; checkpoint has its weights, if the file was exported from a checkpoint.
    batch is the number of images per run, by default 8, or the file's own batch size if that is fixed. workers is the
    number of threads, by default the number of cores. resume is a journal to continue, or to start."""

    truth: str | Path | None = None
    truth_base: int | None = None
    class_map: str | Path | None = None
    limit: int | None = None
    runtimes: Sequence[str] = ("onnxruntime",)
    providers: Sequence[str] = ()
    against: Literal["torch"] | None = None
    checkpoint: str | Path | None = None
    batch: int | None = None
    workers: int | None = None
    resume: str | Path | None = None

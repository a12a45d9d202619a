"""One file in one runtime, kept warm in a process of its own, which benchmarks/latency.py asks in turn.

    python -m benchmarks.serving RUNTIME FILE_OR_MODEL --size 192 --threads 2

Reads requests from standard input, one JSON object a line, and answers each with one line:

    {"do": "load"}                           open the file once more: {"seconds": 0.31}
    {"do": "run", "batch": 8, "times": 2}    {"seconds": [0.41, 0.40]}, after one that does not count: the processes
                                             that were asked meanwhile have filled the caches with their weights

RUNTIME is onnxruntime, openvino, eager, compiled (torch with a timm name) or gemm (a product of two square
matrices of GEMM_SIZE, what the machine can do at most). What fails is answered with {"error": "…"}.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

GEMM_SIZE = 2048

Infer = Callable[[int], Any]
"""Runs one batch of this many images."""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runtime", choices=OPENERS)
    parser.add_argument("name")
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    # libraries print to standard output; the answers keep it for themselves
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    opener = OPENERS[options.runtime](options.size, options.threads)
    infer: Infer | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "load":
                infer = None  # freed first: two of them may not fit into memory
                started = time.perf_counter()
                infer = opener(options.name)
                answer: dict[str, Any] = {"seconds": time.perf_counter() - started}
            else:
                assert infer is not None, "nothing is loaded"
                infer(request["batch"])
                answer = {"seconds": [_timed(infer, request["batch"]) for _ in range(request["times"])]}
        except Exception as error:  # noqa: BLE001 (whatever a runtime raises is its answer)
            lines = str(error).strip().splitlines()
            answer = {"error": f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _timed(infer: Infer, batch: int) -> float:
    started = time.perf_counter()
    infer(batch)
    return time.perf_counter() - started


def _images(size: int) -> Callable[[int], Any]:
    import numpy as np

    drawn: dict[int, Any] = {}

    def images(batch: int) -> Any:
        if batch not in drawn:
            drawn[batch] = np.random.default_rng(batch).standard_normal((batch, 3, size, size)).astype(np.float32)
        return drawn[batch]

    return images


def _onnxruntime(size: int, threads: int) -> Callable[[str], Infer]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    images = _images(size)

    def open_file(file: str) -> Infer:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda batch: session.run(None, {name: images(batch)})

    return open_file


def _openvino(size: int, threads: int) -> Callable[[str], Infer]:
    import openvino

    core = openvino.Core()
    # float32 arithmetic: some processors would take bfloat16 by default
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    images = _images(size)

    def open_file(file: str) -> Infer:
        model = core.read_model(file)
        # a image's size is fixed; the batch stays as the file has it
        model.reshape([-1, 3, size, size])
        request = core.compile_model(model, "CPU", hints).create_infer_request()
        return lambda batch: request.infer({0: images(batch)})

    return open_file


def _torch(size: int, threads: int) -> Callable[[str], Infer]:
    from benchmarks.peers import timm_network

    timm_network.import_timm()
    import torch

    torch.set_num_threads(threads)
    images = _images(size)

    def build(name: str) -> Infer:
        model = timm_network.create(name)

        def infer(batch: int) -> Any:
            with torch.inference_mode():
                return model(torch.from_numpy(images(batch)))

        return infer

    return build


def _compiled(size: int, threads: int) -> Callable[[str], Infer]:
    eager = _torch(size, threads)
    import torch

    return lambda name: torch.compile(eager(name), dynamic=False)


def _gemm(size: int, threads: int) -> Callable[[str], Infer]:
    import torch

    torch.set_num_threads(threads)
    left, right, product = (torch.ones(GEMM_SIZE, GEMM_SIZE) for _ in range(3))
    return lambda _: lambda batch: torch.mm(left, right, out=product)


OPENERS = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "eager": _torch,
    "compiled": _compiled,
    "gemm": _gemm,
}

if __name__ == "__main__":
    main()

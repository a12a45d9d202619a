"""What --fold-scales brings in ONNX Runtime and in OpenVINO, measured in one run.

    python benchmarks/scales.py [MODEL …] [--rounds 15] [-o benchmarks/results/scales.md]

Two files of each model at opset 11, both with --fold-ws, at the training size, batch 1, with the runtimes'
defaults on the CPU; inferences of the files are interleaved, medians given. OpenVINO is left out if it is
not installed (`pip install openvino`). Writes a Markdown table, and the same numbers as JSON beside it.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import nfexport
from measuring import main

MODELS = ("nfnet_f0", "dm_nfnet_f0", "nfnet_l0")
Run = Callable[[], Any]


def measure(name: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Return node counts and median latencies in milliseconds of the two files."""
    results: dict[str, Any] = {"model": name}
    runs: dict[str, Run] = {}
    for variant, fold in (("plain", False), ("folded", True)):
        path = folder / f"{variant}.onnx"
        exported = nfexport.export(
            name, path, opset=11, fold_ws=True, fold_scales=fold, image_size="train", verify=False
        )
        results[f"{variant} nodes"] = exported.facts.node_count
        results["size"] = exported.recipe.image_size[0]
        for runtime, opened in sessions(path, exported.recipe.image_size).items():
            runs[f"{runtime} {variant}"] = opened
    times: dict[str, list[float]] = {key: [] for key in runs}
    for run in runs.values():
        run()
        run()
    for _ in range(rounds):
        for key, run in runs.items():
            started = time.perf_counter()
            run()
            times[key].append(1000 * (time.perf_counter() - started))
    return results | {key: round(statistics.median(values), 1) for key, values in times.items()}


def sessions(path: Path, size: tuple[int, int]) -> dict[str, Run]:
    """Return what runs one picture, by runtime."""
    picture = np.random.default_rng(0).standard_normal((1, 3, *size)).astype(np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    runs: dict[str, Run] = {"onnxruntime": lambda: session.run(None, {"input": picture})}
    try:
        import openvino
    except ImportError:
        return runs
    core = openvino.Core()
    model = core.read_model(path)
    model.reshape([1, 3, *size])
    # float32 arithmetic: some processors would take bfloat16 by default
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    return runs | {"openvino": lambda: request.infer({0: picture})}


def row(result: dict[str, Any]) -> str:
    pairs = [f"{result['plain nodes']} → {result['folded nodes']}"]
    for runtime in ("onnxruntime", "openvino"):
        before, after = result.get(f"{runtime} plain"), result.get(f"{runtime} folded")
        pairs.append(f"{before} → {after} ({before / after:.2f}×)" if before and after else "not installed")
    return f"| {result['model']} | {result['size']} | {' | '.join(pairs)} |"


def markdown(results: list[dict[str, Any]], machine: dict[str, Any], rounds: int) -> str:
    lines = ["| model | px | nodes | ONNX Runtime, ms | OpenVINO, ms |", "|---|---|---|---|---|", *map(row, results)]
    about = f"Without → with `--fold-scales`; medians of {rounds} interleaved inferences, batch 1, opset 11, "
    about += f"{machine['cores']} cores of {machine['processor']}."
    return "\n".join([*lines, "", about, ""])


if __name__ == "__main__":
    raise SystemExit(
        main(
            __doc__,
            models=MODELS,
            rounds=15,
            output=Path("benchmarks/results/scales.md"),
            measure=measure,
            row=row,
            markdown=markdown,
            software={"system": platform.system()},
        )
    )

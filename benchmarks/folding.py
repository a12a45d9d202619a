"""What folding brings: nodes, bytes, session load and latency, before and after, measured in one run.

    python benchmarks/folding.py [MODEL …] [--rounds 7] [-o benchmarks/results/folding.md]

'torch.onnx' is torch's own TorchScript export at opset 11 with its defaults; 'unfolded' and 'folded' are
nfexport's, at the same size, with the same seeded weights. Loads and inferences of the three files are
interleaved and the medians given, so that drift of the machine meets them alike. Batch 1, ONNX Runtime on
the CPU at its defaults. Writes a Markdown table, and the same numbers as JSON beside it.
"""

from __future__ import annotations

import io
import platform
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

import nfexport
from measuring import main
from nfexport import models
from nfexport.models.spec import ModelSpec

DEFAULT_MODELS = ("nfnet_f0", "dm_nfnet_f0", "nfnet_l0", "eca_nfnet_l0", "nf_regnet_b1", "resnetv2_50x1_bit")
VARIANTS = ("torch.onnx", "unfolded", "folded")


def measure(name: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Return the figures of the three files of one model."""
    loaded = models.load(ModelSpec(name=name, image_size="train"))
    files = {variant: folder / f"{index}.onnx" for index, variant in enumerate(VARIANTS)}
    plain_export(loaded.module, loaded.image_size, files["torch.onnx"])
    for variant in ("unfolded", "folded"):
        nfexport.export(name, files[variant], opset=11, fold_ws=variant == "folded", image_size="train", verify=False)
    x = np.random.default_rng(0).standard_normal((1, loaded.in_channels, *loaded.image_size)).astype(np.float32)
    loads: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    runs: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for _ in range(rounds):
        for variant, file in files.items():
            started = time.perf_counter()
            session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
            loads[variant].append(time.perf_counter() - started)
            feeds = {session.get_inputs()[0].name: x}
            session.run(None, feeds)  # warm up
            for _ in range(3):
                started = time.perf_counter()
                session.run(None, feeds)
                runs[variant].append(time.perf_counter() - started)
            del session
    facts = {variant: nfexport.inspect(file) for variant, file in files.items()}
    return {
        "model": name,
        "image_size": list(loaded.image_size),
        **{
            variant: {
                "nodes": facts[variant].node_count,
                "bytes": facts[variant].total_size,
                "load_s": statistics.median(loads[variant]),
                "latency_s": statistics.median(runs[variant]),
                "latency_quartiles_s": statistics.quantiles(runs[variant], n=4),
            }
            for variant in VARIANTS
        },
    }


def plain_export(module: torch.nn.Module, image_size: tuple[int, int], file: Path) -> None:
    """Write the file that torch.onnx.export writes at opset 11 when nothing is done about it."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.zeros(2, 3, *image_size),),
            buffer,
            dynamo=False,
            opset_version=11,
            input_names=["input"],
            dynamic_axes={"input": {0: "batch"}},
        )
    file.write_bytes(buffer.getvalue())


def row(result: dict[str, Any]) -> str:
    before, after = result["torch.onnx"], result["folded"]
    cells = [result["model"], f"{result['image_size'][0]}"]
    cells.append(" → ".join(f"{result[v]['nodes']:,}" for v in VARIANTS))
    cells.append(" → ".join(f"{result[v]['bytes'] / 1e6:.0f}" for v in VARIANTS))
    cells.append(" → ".join(f"{result[v]['load_s']:.2f}" for v in VARIANTS))
    cells.append(" → ".join(f"{result[v]['latency_s'] * 1e3:.0f}" for v in VARIANTS))
    cells.append(f"{before['load_s'] / after['load_s']:.1f}×, {before['latency_s'] / after['latency_s']:.1f}×")
    return f"| {' | '.join(cells)} |"


def markdown(results: list[dict[str, Any]], machine: dict[str, Any], rounds: int) -> str:
    lines = [
        "| model | px | nodes | MB | session load, s | latency, ms | load and latency gain |",
        "|---|---|---|---|---|---|---|",
        *(row(result) for result in results),
        "",
        f"torch.onnx.export at opset 11 → nfexport unfolded → nfexport `--fold-ws`. Medians of {rounds} loads and "
        f"{3 * rounds} inferences, interleaved; batch 1; {machine['cores']} cores of {machine['processor']}; "
        f"torch {machine['torch']}, ONNX Runtime {machine['onnxruntime']}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(
        main(
            __doc__,
            models=DEFAULT_MODELS,
            rounds=7,
            output=Path("benchmarks/results/folding.md"),
            measure=measure,
            row=row,
            markdown=markdown,
            software={
                "python": platform.python_version(),
                "torch": torch.__version__,
                "onnxruntime": onnxruntime.__version__,
            },
        )
    )

"""Costs and gains of int8: agreement with the float file, and latency at batch 1.

    python -m benchmarks.quantization [MODEL ...] [--digits FOLDER] [--rounds N] [-o FILE.json]

The digits network (examples/digits/train.py, trained here unless --digits names a folder that it wrote) is
calibrated on the first digits of each class that it never saw, and measured on the others. Other networks have
seeded weights and are calibrated and compared on seeded images: their scores lie close together, so top-1
says less of them than the error does. One thread, interleaved inferences, medians.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import nfexport
from benchmarks import host
from nfexport.images.preprocessor import preprocessor_of

MODELS = ("nfnet_l0", "resnetv2_50x1_bit", "efficientnet_b0")
TRAIN = Path(__file__).parents[1] / "examples" / "digits" / "train.py"
OUTPUT = Path(__file__).parent / "results" / "quantization.json"
CALIBRATING = 10
"""Digits of each class to calibrate with."""
SEEDED = 18
"""Seeded images to calibrate with: each of the nine kinds twice."""
THREADS = 1


def main() -> int:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--digits", type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        digits = options.digits or folder / "trained"
        if options.digits is None:
            subprocess.run([sys.executable, str(TRAIN), str(digits)], check=True)
        results = {
            "machine": host.describe(sys.executable, THREADS),
            "rounds": options.rounds,
            "digits": measure_digits(digits, folder, options.rounds),
            "others": [],
        }
        for model in options.models:
            results["others"].append(measure(model, folder, options.rounds))
            print(json.dumps(results["others"][-1]), flush=True)
    options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


def measure_digits(digits: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Return the accuracy and the latency of the float file, and of int8 files made in several ways."""
    known, unseen = split(digits / "images", folder)
    plain = folder / "digits.onnx"
    nfexport.export(
        "test_nfnet",
        plain,
        checkpoint=digits / "digits.safetensors",
        num_classes=10,
        image_size=32,
        network={"crop_pct": 1.0},
        fold_ws=True,
        verify=False,
    )
    form = preprocessor_of(nfexport.inspect(plain).recipe)
    paths = sorted(unseen.rglob("*.png"))
    batch = form.batch([form.read(path) for path in paths])
    targets = np.array([int(path.parent.name) for path in paths])
    exact = session(plain).run(None, {"input": batch})[0]
    variants: dict[str, dict[str, Any]] = {
        f"{method}, {source}, worst {worst}": {"calibrate": images, "method": method, "keep_worst": worst}
        for source, images in (("images", known), ("seeded", SEEDED))
        for method in ("minmax", "entropy", "percentile")
        for worst in ((0, 2, 8) if method == "minmax" else (0,))
    }
    files, found = {"float": plain}, {}
    for name, options in variants.items():
        path = folder / f"{name}.onnx"
        result = nfexport.quantize(plain, path, **options)
        scores = session(path).run(None, {"input": batch})[0]
        found[name] = {
            "top1": float((scores.argmax(1) == targets).mean()),
            "agreement": float((scores.argmax(1) == exact.argmax(1)).mean()),
            "rms_relative": float(np.mean(np.sqrt(np.mean((scores - exact) ** 2, axis=1)) / np.ptp(exact, axis=1))),
            "kept": list(result.kept),
            "bytes": path.stat().st_size,
        }
        print(name, json.dumps(found[name]), flush=True)
        if options == {"calibrate": known, "method": "minmax", "keep_worst": 0}:
            files["int8"] = path
    times = latencies(files, batch[:1], rounds)
    return {
        "images": {"calibration": len(list(known.rglob("*.png"))), "measured": len(paths)},
        "float": {"top1": float((exact.argmax(1) == targets).mean()), "bytes": plain.stat().st_size},
        "int8": found,
        "milliseconds": times,
        "speed_up": round(times["float"] / times["int8"], 2),
    }


def split(images: Path, folder: Path) -> tuple[Path, Path]:
    """Copy the first images of each class into one folder and the others into another."""
    known, unseen = folder / "known", folder / "unseen"
    for group in sorted(path for path in images.iterdir() if path.is_dir()):
        for number, image in enumerate(sorted(group.iterdir())):
            target = (known if number < CALIBRATING else unseen) / group.name
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(image, target)
    return known, unseen


def measure(model: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Return error and latency of one network with seeded weights."""
    plain, rounded = folder / f"{model}.onnx", folder / f"{model}.int8.onnx"
    exported = nfexport.export(model, plain, fold_ws=True, verify=False)
    started = time.perf_counter()
    result = nfexport.quantize(plain, rounded, calibrate=SEEDED)
    seconds = time.perf_counter() - started
    size = exported.recipe.image_size
    image = np.random.default_rng(0).standard_normal((1, 3, *size)).astype(np.float32)
    times = latencies({"float": plain, "int8": rounded}, image, rounds)
    return {
        "model": model,
        "size": size[0],
        "layers": result.products,
        "int8_layers": result.int8_products,
        "kept": list(result.kept),
        "on_seeded": dataclasses.asdict(result.on_seeded),
        "bytes": {"float": result.size_before, "int8": result.facts.total_size},
        "milliseconds": times,
        "speed_up": round(times["float"] / times["int8"], 2),
        "seconds_to_quantise": round(seconds, 1),
    }


def latencies(files: dict[str, Path], image: np.ndarray, rounds: int) -> dict[str, float]:
    """Return medians in milliseconds of interleaved inferences."""
    sessions = {name: session(path) for name, path in files.items()}
    times: dict[str, list[float]] = {name: [] for name in files}
    for opened in sessions.values():
        opened.run(None, {"input": image})
    for _ in range(rounds):
        for name, opened in sessions.items():
            started = time.perf_counter()
            opened.run(None, {"input": image})
            times[name].append(1000 * (time.perf_counter() - started))
    return {name: round(statistics.median(values), 3) for name, values in times.items()}


def session(path: Path) -> onnxruntime.InferenceSession:
    """Return a file in ONNX Runtime, with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    raise SystemExit(main())

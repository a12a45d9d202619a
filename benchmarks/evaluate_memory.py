"""Memory, use of the cores and speed of `nfexport evaluate` on a folder of many images.

    python benchmarks/evaluate_memory.py [--images 50000] [--workers N] [-o benchmarks/results/evaluate.json]

Draws 300 images of 320×240, and links or copies them as JPEG files into 125 class folders of a temporary
folder; exports test_nfnet with seeded weights at its own size; runs `nfexport evaluate` in a process of its own
with no limit on threads, and reads what the system says of that process when it has ended: the peak of its
resident memory, and its CPU time over wall-clock time × cores. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

DRAWN, CLASSES = 300, 125
HEIGHT, WIDTH = 240, 320


def main() -> int:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[5_000, 50_000])
    parser.add_argument("--workers", type=int)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/evaluate.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "test_nfnet.onnx"
        subprocess.run(
            [sys.executable, "-m", "nfexport", "test_nfnet", "--opset", "17", "--fold-ws", "-q", "-o", model],
            check=True,
        )
        drawn = draw(folder / "drawn")
        results = []
        for count in options.images:
            root = folder / "val"
            fill(root, drawn, count)
            results.append(measure(model, root, options.workers))
            shutil.rmtree(root)
            print(json.dumps(results[-1]), flush=True)
    machine = {"processor": processor(), "cores": os.cpu_count(), "system": platform.system()}
    text = json.dumps({"machine": machine, "model": "test_nfnet", "results": results}, indent=1)
    options.output.write_text(text + "\n")
    return 0


def draw(folder: Path) -> list[Path]:
    """Write images with smooth shades, edges and noise: JPEG files of about 40 kB."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    paths = []
    for number in range(DRAWN):
        edge = (x > rng.integers(WIDTH)) * 90.0 + (y > rng.integers(HEIGHT)) * 60.0
        shades = [y * rng.uniform(0, 0.5), x * rng.uniform(0, 0.4), edge]
        array = np.stack(shades, axis=-1) + rng.normal(40, 12, (HEIGHT, WIDTH, 3))
        paths.append(folder / f"{number:03}.jpg")
        Image.fromarray(np.clip(array, 0, 255).astype(np.uint8)).save(paths[-1], quality=90)
    return paths


def fill(root: Path, drawn: list[Path], count: int) -> None:
    """Write a tree of class folders with this number of images, as hard links where the file system supports them."""
    for index in range(CLASSES):
        (root / str(index)).mkdir(parents=True)
    for number in range(count):
        source, target = drawn[number % DRAWN], root / str(number % CLASSES) / f"{number:06}.jpg"
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)


def measure(model: Path, root: Path, workers: int | None) -> dict[str, Any]:
    """Run the command and return what it cost."""
    command = [sys.executable, "-m", "nfexport", "evaluate", str(model), str(root), "--json"]
    if workers is not None:
        command += ["--workers", str(workers)]
    started = time.perf_counter()
    # wait4 tells of this child alone; RUSAGE_CHILDREN keeps the largest of all, which is the exporter
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    result = json.loads(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    assert os.waitstatus_to_exitcode(status) == 0
    cpu = usage.ru_utime + usage.ru_stime
    cores = len(os.sched_getaffinity(0))
    kilo = 1 if platform.system() == "Linux" else 1024
    return {
        "images": result["images"],
        "peak_rss_mb": round(usage.ru_maxrss / kilo * 1024 / 1e6, 1),
        "cpu_utilisation": round(cpu / (wall * cores), 3),
        "wall_seconds": round(wall, 1),
        "cpu_seconds": round(cpu, 1),
        "images_per_second": result["timing"]["images_per_second"],
        "load_average_after": [round(value, 1) for value in os.getloadavg()],
    }


def processor() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    raise SystemExit(main())

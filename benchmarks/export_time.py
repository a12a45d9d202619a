"""What an export costs, against what it cannot do without and against torch's own exporters.

    python benchmarks/export_time.py [--rounds 5] [--rivals] [MODEL]

'limit' imports torch and timm, builds the model with seeded weights, runs it once on one picture and writes its
weights. 'nfexport' is `nfexport MODEL --opset 11 --fold-ws --no-verify`. With --rivals: 'torchscript' is torch's
TorchScript exporter at opset 11 followed by onnxsim, 'dynamo' its dynamo exporter at opset 18, optimised; both
write the same seeded weights. Each run is a process of its own, and the runs are interleaved. Prints medians: wall
and processor time in seconds, and the peak of resident memory in MB.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_MODEL = """
import os, sys, warnings
warnings.simplefilter("ignore")
import torch
from nfexport.models.torchvision_operators import import_timm
timm = import_timm()
from nfexport.models.quick_init import without_random_init
from nfexport.models.seeded import seed_weights
with without_random_init():
    model = timm.create_model(sys.argv[1]).float().eval()
size = tuple(model.default_cfg.get("test_input_size") or model.default_cfg["input_size"])
seed_weights(model, 0, image_size=size[1:], in_channels=size[0])
target = sys.argv[2]
"""

_LIMIT = """
with torch.inference_mode():
    model(torch.zeros(1, *size))
with open(target, "wb") as file:
    for tensor in model.state_dict().values():
        file.write(tensor.numpy().reshape(-1).view("u1").data)
    file.flush()
    os.fsync(file.fileno())
"""

_TORCHSCRIPT = """
axes = {"input": {0: "batch"}, "output": {0: "batch"}}
torch.onnx.export(model, (torch.zeros(2, *size),), target, dynamo=False, opset_version=11, export_params=True,
                  input_names=["input"], output_names=["output"], dynamic_axes=axes)
import onnx, onnxsim
simplified, _ = onnxsim.simplify(onnx.load(target))
onnx.save(simplified, target)
"""

_DYNAMO = """
torch.onnx.export(model, (torch.zeros(2, *size),), target, dynamo=True, opset_version=18, optimize=True,
                  input_names=["input"], output_names=["output"], dynamic_shapes=({0: torch.export.Dim("batch")},),
                  external_data=False, verbose=False)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="nfnet_f0")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rivals", action="store_true", help="run torch's exporters too; needs onnxsim")
    options = parser.parse_args()
    programs = {"limit": _LIMIT, **({"torchscript": _TORCHSCRIPT, "dynamo": _DYNAMO} if options.rivals else {})}
    runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ("nfexport", *programs)}
    with tempfile.TemporaryDirectory() as folder:
        target = str(Path(folder) / "model.onnx")
        flags = ["--opset", "11", "--fold-ws", "--no-verify", "-q", "-o", target]
        commands = {"nfexport": [sys.executable, "-m", "nfexport", options.model, *flags]}
        for name, program in programs.items():
            commands[name] = [sys.executable, "-c", _MODEL + program, options.model, target]
        for _ in range(options.rounds):
            for name, command in commands.items():
                runs[name].append(measure(command))
    base = [statistics.median(column) for column in zip(*runs["nfexport"], strict=True)]
    print(f"{'':12}{'wall s':>8}{'cpu s':>8}{'peak MB':>9}   over nfexport: wall, cpu, peak")
    for name, rows in runs.items():
        wall, cpu, peak = (statistics.median(column) for column in zip(*rows, strict=True))
        ratios = f"{wall / base[0]:.2f} {cpu / base[1]:.2f} {peak / base[2]:.2f}"
        print(f"{name:12}{wall:8.2f}{cpu:8.2f}{peak:9.0f}   {ratios}")
    return 0


def measure(command: list[str]) -> tuple[float, float, float]:
    """Return wall seconds, processor seconds and peak MB of one process."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command[:4])} failed")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())

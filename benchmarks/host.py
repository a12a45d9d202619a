"""The machine and the package versions of a run."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch",
    "timm",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "onnxsim",
    "onnxslim",
    "openvino",
    "optimum-onnx",
    "transformers",
)


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe(peers_python: str, threads: int) -> dict[str, Any]:
    """Return processor, cores, memory, the threads that runtimes get, and the versions in the peers' environment."""
    return {
        "processor": _of_cpuinfo("model name") or platform.machine(),
        "cores": cores(),
        "threads": threads,
        "avx512": "avx512f" in _of_cpuinfo("flags").split(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": _versions(peers_python),
    }


def _of_cpuinfo(field: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")


def _versions(python: str) -> dict[str, str]:
    code = "import importlib.metadata as m, sys\nfor p in sys.argv[1:]:\n"
    code += "    try: print(p, m.version(p))\n    except m.PackageNotFoundError: pass"
    lines = subprocess.run([python, "-c", code, *PACKAGES], check=True, capture_output=True, text=True).stdout
    return dict(line.split(" ", 1) for line in lines.splitlines())

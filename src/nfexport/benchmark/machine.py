"""The machine that a measurement ran on: its processor, cores, system and Python."""

from __future__ import annotations

import dataclasses
import os
import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine:
    """processor is its name, or its architecture where the system does not report a name; cores are those that this
    process may use; vectors is the widest vector extension that the system reports, None if it reports none."""

    processor: str
    cores: int
    vectors: str | None
    system: str
    python: str


def this_machine() -> Machine:
    """Return a description of this machine."""
    lines = _cpuinfo()
    flags = set(next((line for name, line in lines if name == "flags"), "").split())
    names = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX"}
    return Machine(
        processor=next((line for name, line in lines if name == "model name"), "") or platform.machine(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        vectors=next((name for flag, name in names.items() if flag in flags), None),
        system=platform.system(),
        python=platform.python_version(),
    )


def _cpuinfo() -> list[tuple[str, str]]:
    try:
        text = CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    pairs = (line.partition(":") for line in text.splitlines())
    return [(name.strip(), value.strip()) for name, _, value in pairs]

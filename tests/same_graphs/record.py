"""Hold the commands to record.json, or write it anew.

    python -m tests.same_graphs.record [--write] [NAME...]

prints what differs, of the commands named or of all. With --write each command runs twice, in two rounds, and the
record gets what both gave; nothing is written if the rounds differ. The digest of an int8 graph's calibration holds
for the kind of processor that it was recorded on (digest.py says why), and is not compared on another.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.same_graphs.commands import COMMANDS, Command, CommandError, run
from tests.same_graphs.digest import Record, differing, record_of

FILE = Path(__file__).with_name("record.json")

VERSIONS = ("torch", "timm", "onnx", "onnx-ir", "onnxruntime", "onnxscript", "onnxsim", "numpy", "pillow")
"""The packages that have a say in a graph."""

FEATURES = ("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "asimd", "sve")
"""What a processor can do that its kernels for float32 and int8 depend on."""


def environment() -> dict[str, Any]:
    """Return what the record depends on beside the code: versions, and the kind of processor."""
    return {
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
        "processor": _processor(),
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return "unknown"
    known = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    facts = {key.strip(): value.split() for key, value in known.items()}
    flags = facts.get("flags", facts.get("Features", []))
    vendor = " ".join(facts.get("vendor_id", facts.get("CPU implementer", ["unknown"])))
    return " ".join([vendor, *(name for name in FEATURES if name in flags)])


def read() -> dict[str, Any]:
    """Return the whole record: environment and commands."""
    content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return content


def found(command: Command, shared: Path) -> Record:
    """Run a command in a folder of its own and return what it wrote. shared is a folder for inputs.

    Raises CommandError."""
    with tempfile.TemporaryDirectory() as folder:
        return record_of(run(command, Path(folder), shared))


def differences(name: str, now: Mapping[str, object], record: Mapping[str, Any]) -> list[str]:
    """Return the names of the digests and facts by which a command's graph is another one than was recorded."""
    wanted = record["commands"].get(name)
    if wanted is None:
        return ["nothing is recorded"]
    names = differing(wanted, now)
    if "calibration" in names and record["environment"]["processor"] != _processor():
        names.remove("calibration")
    return names


def other_environment(record: Mapping[str, Any]) -> str:
    """Say which packages have another version than when it was recorded; nothing if none has."""
    recorded, here = record["environment"]["versions"], environment()["versions"]
    return ", ".join(
        f"{name} {recorded.get(name)} → {here[name]}" for name in here if recorded.get(name) != here[name]
    )


def _round(names: Iterable[str], shared: Path) -> dict[str, Record]:
    records: dict[str, Record] = {}
    for name in names:
        started = time.perf_counter()
        try:
            records[name] = found(COMMANDS[name], shared)
            outcome = f"{records[name]['nodes']} nodes"
        except CommandError as error:
            outcome = f"failed: {error}"
        print(f"{name:<32} {time.perf_counter() - started:6.1f} s  {outcome}", flush=True)
    return records


def _write(names: Sequence[str], first: dict[str, Record], second: dict[str, Record]) -> int:
    unstable = [name for name in names if name not in first or first[name] != second.get(name)]
    for name in unstable:
        print(f"{name}: two runs differ in {', '.join(differing(first.get(name, {}), second.get(name, {})))}")
    if unstable:
        return 1
    kept = read() if FILE.exists() else {"commands": {}}
    if set(names) != set(COMMANDS) and environment() != kept.get("environment"):
        print("the record is of other versions or another processor: record all of it")
        return 1
    recorded = kept["commands"] | first
    content = {
        "environment": environment(),
        "commands": {name: recorded[name] for name in COMMANDS if name in recorded},
    }
    FILE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


def _main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.same_graphs.record", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--write", action="store_true", help="write the record anew")
    parser.add_argument("names", nargs="*", metavar="NAME", help="commands [default: all]")
    arguments = parser.parse_args()
    names = arguments.names or list(COMMANDS)
    if unknown := [name for name in names if name not in COMMANDS]:
        parser.error(f"there is no command '{unknown[0]}'")
    with tempfile.TemporaryDirectory() as folder:
        now = _round(names, Path(folder))
        if arguments.write:
            return _write(names, now, _round(names, Path(folder)))
    record = read()
    if other := other_environment(record):
        print(f"recorded with other versions: {other}")
    failed = [name for name in names if name not in now]
    others = {name: found for name in now if (found := differences(name, now[name], record))}
    for name, digests in others.items():
        print(f"{name}: another graph, by {', '.join(digests)}  ({COMMANDS[name]})")
    print(f"{len(now) - len(others)} of {len(names)} commands write what they did")
    return int(bool(others or failed))


if __name__ == "__main__":
    sys.exit(_main())

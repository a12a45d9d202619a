"""Measure nfexport and its peers, in processes of their own, interleaved; go on where a stopped run ended.

    python -m benchmarks.suite --peers .venv-peers/bin/python [--models A,B] [--rounds N] [--minutes 25] [--quick]
                               [--fresh] [-o benchmarks/results/suite.jsonl]

Run it with the Python that has nfexport, from the repository's root (`make bench` does). This process imports
neither torch nor a runtime. benchmarks/plan.py says what is measured; benchmarks/table.py makes the page.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.records import Record, Records

from benchmarks import child, host, latency, plan

ROOT = Path(__file__).parents[1]
Job = Callable[[], None]


def main() -> int:
    """Run what has not been measured yet."""
    options = _options()
    if options.fresh:
        options.output.unlink(missing_ok=True)
    records = Records(options.output)
    machine = host.describe(options.peers, options.threads)
    earlier = records.select(kind="machine")
    if earlier and earlier[0]["machine"] != machine:
        print(f"{options.output} was made on another machine or with other versions: pass --fresh", file=sys.stderr)
        return 2
    records.add({"kind": "machine", "machine": machine})
    folder = options.output.parent / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    suite = Suite(records=records, peers=options.peers, folder=folder.resolve(), threads=options.threads)
    started = time.monotonic()
    suite.warm_up()
    for job in suite.jobs(options.networks, scaling=options.scaling):
        if time.monotonic() - started > 60 * options.minutes:
            print(f"stopped after {options.minutes:g} minutes; the same command goes on")
            break
        job()
    print(f"{(time.monotonic() - started) / 60:.1f} minutes; wrote {options.output}")
    return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Suite:
    """What all measurements share. Files are kept in folder until their network is done."""

    records: Records
    peers: str
    folder: Path
    threads: int

    def warm_up(self) -> None:
        """Read both environments from the disk once, so that nobody pays for being first."""
        self._child(self.peers, "-c", "from benchmarks.peers import timm_network; timm_network.import_timm()")
        self._child(self.peers, "-c", "import onnxsim, onnxslim, openvino, onnxruntime, onnxscript")
        self._nfexport("export", "test_nfnet", "--fold-ws", "--no-verify", "-q", "-o", f"{self.folder}/warm.onnx")

    def jobs(self, networks: list[plan.Network], *, scaling: bool) -> Iterator[Job]:
        """Yield what is not done yet, the most telling first."""
        for number, of in enumerate(networks):
            if of.big and scaling:
                yield from self._scaling_jobs()
            yield from self._network_jobs(of)
            if number == 0:
                yield from self._command_jobs(of.model)
        if scaling:
            yield from self._scaling_jobs()

    def _network_jobs(self, of: plan.Network) -> Iterator[Job]:
        for number in range(of.rounds):
            for tool in plan.tools(of, number):
                if not self.records.done(kind="export", model=of.model, tool=tool, round=number):
                    yield lambda tool=tool, number=number: self._export(of, tool, number)  # type: ignore[misc]
        if not self.records.done(kind="latency", model=of.model, tool="done"):
            for tool in self._missing_files(of):
                yield lambda tool=tool: self._export(of, tool, 0)  # type: ignore[misc]
            yield lambda: self._facts(of)
            yield lambda: self._latency(of)
        shutil.rmtree(self.folder / of.model, ignore_errors=True)

    def _missing_files(self, of: plan.Network) -> list[str]:
        failed = {
            record["tool"] for record in self.records.select(kind="export", model=of.model) if "error" in record
        }
        return [
            tool
            for tool in (*plan.PEERS, *plan.AFTERWARDS, *plan.OURS)
            if tool in plan.MEASURED_FILES and tool not in failed and not self._file(of.model, tool).exists()
        ]

    def _export(self, of: plan.Network, tool: str, number: int) -> None:
        file = self._file(of.model, tool)
        file.parent.mkdir(parents=True, exist_ok=True)
        for stale in _parts(file):  # some tools append to weights that are there already
            stale.unlink(missing_ok=True)
        if tool in plan.AFTERWARDS:
            source = str(self._file(of.model, plan.BASELINE))
            taken = self._child(self.peers, "-m", f"benchmarks.peers.{plan.AFTERWARDS[tool]}", source, str(file))
        elif tool in plan.OURS:
            arguments = ("--opset", "11", "--image-size", str(of.size), "--no-verify", "--json")
            taken = self._nfexport("export", of.model, *plan.OURS[tool], *arguments, "-o", str(file))
        else:
            module = "benchmarks.limit" if tool == "limit" else f"benchmarks.peers.{plan.PEERS[tool]}"
            taken = self._child(self.peers, "-m", module, of.model, str(file), "--size", str(of.size))
        key = {"kind": "export", "model": of.model, "tool": tool, "round": number}
        error = taken.error() or (None if file.exists() else "no file was written")
        record: Record = key | taken.cost() | ({"error": error} if error else {"bytes": _bytes(file)})
        if error is None and tool in ("limit", *plan.OURS):
            record |= _told(taken.stdout)
        if tool == "limit":
            file.unlink(missing_ok=True)
        self._add(record)

    def _facts(self, of: plan.Network) -> None:
        for tool in (*plan.MEASURED_FILES, "optimum"):
            file = self._file(of.model, tool)
            if not file.exists():
                continue
            record: Record = {"kind": "facts", "model": of.model, "tool": tool, "bytes": _bytes(file)}
            if file.suffix == ".onnx":
                told = json.loads(self._nfexport("inspect", str(file), "--json").stdout or "{}")
                record |= {"nodes": told.get("node_count"), "macs": (told.get("cost") or {}).get("macs")}
            else:
                kinds = [part.split('"', 1)[0] for part in file.read_text().split(' type="')[1:]]
                record["nodes"] = sum(kind not in ("Const", "Parameter", "Result") for kind in kinds)
            self._add(record)

    def _latency(self, of: plan.Network) -> None:
        pairs = [
            (tool, runtime, str(self._file(of.model, tool)))
            for runtime in ("onnxruntime", "openvino")
            for tool in plan.MEASURED_FILES
            if self._file(of.model, tool).exists() and not (tool == "openvino" and runtime == "onnxruntime")
        ]
        pairs += [("torch", "eager", of.model)] + [("torch", "compiled", of.model)] * of.compiled
        for record in latency.measure(of, pairs, python=self.peers, threads=self.threads):
            self._add(record)
        self.records.add({"kind": "latency", "model": of.model, "tool": "done"})

    def _command_jobs(self, model: str) -> Iterator[Job]:
        for number in range(plan.COMMAND_ROUNDS):
            for name in plan.COMMANDS:
                if not self.records.done(kind="command", model=model, tool=name, round=number):
                    yield lambda name=name, number=number: self._command(model, name, number)  # type: ignore[misc]

    def _command(self, model: str, name: str, number: int) -> None:
        file = self.folder / "command.onnx"
        if name == "inspect" and not file.exists():
            self._nfexport("export", model, "--opset", "11", "--fold-ws", "--no-verify", "-q", "-o", str(file))
        taken = self._nfexport(*plan.COMMANDS[name], *([str(file)] if name == "inspect" else []))
        key = {"kind": "command", "model": model, "tool": name, "round": number}
        self._add(key | taken.cost() | ({"error": taken.error()} if taken.exit_code else {}))

    def _scaling_jobs(self) -> Iterator[Job]:
        for model in plan.SCALING:
            if not self.records.done(kind="scaling", model=model, tool="nfexport"):
                yield lambda model=model: self._scaling(model)  # type: ignore[misc]
        for times in plan.DEPTHS:
            if not self.records.done(kind="depth", model=str(times), tool="nfexport"):
                yield lambda times=times: self._depth(times)  # type: ignore[misc]

    def _scaling(self, model: str) -> None:
        file = self.folder / "scaling.onnx"
        arguments = ("--opset", "11", "--fold-ws", "--image-size", str(plan.SCALING_SIZE), "--no-verify", "--json")
        self._grown("scaling", model, self._nfexport("export", model, *arguments, "-o", str(file)))
        for written in self.folder.glob("scaling.*"):
            written.unlink()

    def _depth(self, times: int) -> None:
        file = self.folder / "depth.onnx"
        self._grown("depth", str(times), self._child(sys.executable, "-m", "benchmarks.depth", str(times), str(file)))
        file.unlink(missing_ok=True)

    def _grown(self, kind: str, model: str, taken: child.Usage) -> None:
        key = {"kind": kind, "model": model, "tool": "nfexport"}
        told = {"error": taken.error()} if taken.exit_code else _told(taken.stdout)
        self._add(key | taken.cost() | told)

    def _file(self, model: str, tool: str) -> Path:
        return self.folder / model / f"{tool}{'.xml' if tool == 'openvino' else '.onnx'}"

    def _nfexport(self, *arguments: str) -> child.Usage:
        return self._child(sys.executable, "-m", "nfexport", *arguments)

    def _child(self, python: str, *arguments: str) -> child.Usage:
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        return child.run([python, *arguments], env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)})

    def _add(self, record: Record) -> None:
        self.records.add(record)
        said = [record[name] for name in ("kind", "model", "tool")] + [record.get("error", "")]
        figures = [f"{record['wall_s']:.1f} s, {record['peak_bytes'] / 1e6:.0f} MB"] if "wall_s" in record else []
        print(" ".join(filter(None, [*map(str, said), *figures])), flush=True)


def _parts(file: Path) -> list[Path]:
    """Return the file, and OpenVINO's weights or external data next to it, if they exist."""
    return [path for path in (file, file.with_suffix(".bin"), Path(f"{file}.data")) if path.exists()]


def _bytes(file: Path) -> int:
    return sum(path.stat().st_size for path in _parts(file))


def _told(stdout: str) -> dict[str, Any]:
    """Return the figures that nfexport, limit.py and depth.py print."""
    told = json.loads(stdout)
    facts = told.get("file", told)
    names = {"parameters": "parameters", "nodes": "nodes", "node_count": "nodes", "gains": "gains"}
    found = {new: facts[old] for old, new in names.items() if old in facts}
    size = facts.get("total_size", facts.get("bytes", facts.get("written")))
    return found | {"stages": {name: round(value, 3) for name, value in told["seconds"].items()}, "bytes": size}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help="Python of the peers' environment")
    parser.add_argument("--models", help="networks, separated by commas; by default those of benchmarks/plan.py")
    parser.add_argument("--rounds", type=int, help="exports of each tool, in place of the plan's")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start nothing new after this long")
    parser.add_argument("--threads", type=int, default=host.cores(), help="threads of the runtimes")
    parser.add_argument("--quick", action="store_true", help="two small networks, no scaling")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/suite.jsonl"))
    options = parser.parse_args()
    chosen = plan.QUICK if options.quick else plan.NETWORKS
    networks = [plan.network(name) for name in options.models.split(",")] if options.models else list(chosen)
    if options.rounds is not None:
        networks = [dataclasses.replace(of, rounds=options.rounds) for of in networks]
    options.networks = networks
    options.scaling = not options.quick and options.models is None
    return options


if __name__ == "__main__":
    sys.exit(main())

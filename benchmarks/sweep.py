"""Export and verify one architecture of each of timm's modules, and every weight-standardised one.

    python -m benchmarks.sweep [--again] [--only PATTERN] [--kind KIND] [--opset OPSET] [--prefix COMMAND]
    python -m benchmarks.sweep --choose

Each export is a process of its own, `nfexport export … --json`, as a user would run it, with a limit on its CPU time
and memory. Its result is appended to benchmarks/results/sweep.jsonl when it is done; the next run goes on where this
one was stopped, tries what failed once more, and skips what was done with the same versions. docs/coverage.md is
written at the end. --choose writes benchmarks/timm_modules.json anew: the smallest architecture of each module.
Exits with 1 if an export fails that should not.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import re
import resource
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.coverage_page import page
from benchmarks.records import Record, Records

from nfexport.recipe.versions import recorded_versions
from nfexport.sources.timm.catalogue import list_architectures, parameter_count
from nfexport.sources.timm.torchvision_operators import import_timm

ROOT = Path(__file__).parent
MODULES = ROOT / "timm_modules.json"
RESULTS = ROOT / "results" / "sweep.jsonl"
PAGE = ROOT.parent / "docs" / "coverage.md"

KEY = ("kind", "architecture", "opset")
"""The fields that say which export a record is of; opset is None for the default one."""

OTHERS = ("efficientnet_b0", "resnet50", "convnext_atto", "vit_tiny_patch16_224", "mobilenetv3_small_050")
"""Networks without weight standardisation that are exported together with those that have it."""

TOO_OLD = re.compile(r"pass --opset (\d+), the first at which (\w+) works")


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true", help="start over")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="architectures to export")
    parser.add_argument("--kind", choices=("modules", "folded"), help="one of the two tables")
    parser.add_argument("--opset", choices=("default", "17", "11"), help="one of the opsets")
    parser.add_argument("--largest", type=float, default=110.0, help="of the standardised ones, in millions")
    parser.add_argument("--prefix", default="", metavar="COMMAND", help="put this in front of each export")
    parser.add_argument("--cpu-seconds", type=int, default=4 * 3600, help="limit of one export")
    parser.add_argument("--gibibytes", type=int, default=20, help="limit of one export")
    parser.add_argument("--choose", action="store_true", help="choose the architecture of each module anew")
    options = parser.parse_args()
    if options.choose:
        MODULES.write_text(json.dumps(smallest_architectures(), indent=1) + "\n", encoding="utf-8")
        return 0
    if options.again:
        RESULTS.unlink(missing_ok=True)
    records = Records(RESULTS, key=KEY)
    for job in jobs(options.largest):
        chosen = options.kind in (None, job["kind"]) and options.opset in (None, str(job["opset"] or "default"))
        if not (chosen and fnmatch.fnmatch(job["architecture"], options.only)) or is_done(records, job):
            continue
        record = same_file(records, job) or export(job, options)
        records.add(record)
        print(describe(record), flush=True)
    records = Records(RESULTS, key=KEY)
    kept = [record for job in jobs(options.largest) for record in records.select(**{name: job[name] for name in KEY})]
    modules = len(json.loads(MODULES.read_text(encoding="utf-8")))
    PAGE.write_text(page(kept, modules=modules, largest=options.largest), encoding="utf-8")
    failures = [record for record in kept if record["status"] in ("failed", "stopped")]
    print(f"{len(kept)} exports, {len(failures)} failures; wrote {PAGE.name}")
    return 1 if failures else 0


def smallest_architectures() -> dict[str, Record]:
    """Return the architecture with the fewest parameters of each module; of two, the first by name."""
    import_timm()
    from timm.models._registry import _module_to_models

    current = {entry.architecture for entry in list_architectures(None)}
    return {
        module: dict(zip(("parameters", "architecture"), min((parameter_count(n), n) for n in names), strict=True))
        for module, entries in sorted(_module_to_models.items())
        if (names := sorted(current & entries))
    }


def jobs(largest: float) -> Iterator[Record]:
    """Yield what is to be exported, the smallest networks first: one of each module, then the standardised ones."""
    modules = json.loads(MODULES.read_text(encoding="utf-8"))
    for opset in (None, 17, 11):
        for module, chosen in sorted(modules.items(), key=lambda item: (item[1]["parameters"], item[0])):
            job = {"kind": "modules", "module": module, **chosen, "opset": opset}
            yield {**job, "fold_ws": False, "verify": opset != 11}
    standardised = [entry.architecture for entry in list_architectures(None) if entry.weight_standardised]
    sizes = {name: parameter_count(name) for name in (*standardised, *OTHERS)}
    for name in sorted(sizes, key=lambda name: (name in OTHERS, sizes[name], name)):
        for opset in (11, 17) if sizes[name] <= largest * 1e6 else ():
            job = {"kind": "folded", "architecture": name, "parameters": sizes[name], "opset": opset}
            yield {**job, "fold_ws": True, "verify": True}


def is_done(records: Records, job: Record) -> bool:
    """Say whether the export was made with the installed versions, and did not fail."""
    found = records.select(**{name: job[name] for name in KEY}, versions=versions())
    return any(record["status"] in ("exported", "refused") for record in found)


def versions() -> dict[str, str]:
    """Return the versions that decide what is written."""
    return dict(sorted(recorded_versions(("timm", "onnxscript", "onnxruntime")).items()))


def same_file(records: Records, job: Record) -> Record | None:
    """Return the record of the default opset if that is the opset of the job: the command writes the same bytes."""
    if job["kind"] != "modules" or job["opset"] is None:
        return None
    given = {"kind": "modules", "architecture": job["architecture"], "opset": None, "status": "exported"}
    found = [r for r in records.select(**given, versions=versions()) if r["written_opset"] == job["opset"]]
    return {**found[0], **job, "verify": found[0]["verify"]} if found else None


def export(job: Record, options: argparse.Namespace) -> Record:
    """Return the record of an export: what `nfexport export --json` prints, in short, or how it failed."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*shlex.split(options.prefix), sys.executable, "-m", "nfexport", "export", job["architecture"]]
        command += [] if job["opset"] is None else ["--opset", str(job["opset"])]
        command += ["--fold-ws"] if job["fold_ws"] else []
        command += [] if job["verify"] else ["--no-verify"]
        done = subprocess.run(
            [*command, "--json", "-o", f"{folder}/model.onnx"],
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: limit(options.cpu_seconds, options.gibibytes << 30),
        )
    return {**job, "versions": versions(), **outcome(done.returncode, done.stdout, done.stderr)}


def limit(cpu_seconds: int, size: int) -> None:
    """Limit the CPU time and the memory of this process and of those that it starts."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def outcome(code: int, printed: str, said: str) -> Record:
    """Return what an export came to: exported, refused for its opset, failed, or stopped at a limit."""
    if code == 0:
        return {"status": "exported", **summary(json.loads(printed))}
    reason = (said.strip().splitlines() or [f"exit code {code}"])[-1].removeprefix("nfexport: ")
    if found := TOO_OLD.search(reason):
        return {"status": "refused", "needed": int(found[1]), "operator": found[2], "reason": reason}
    stopped = code < 0 or code > 128 or "MemoryError" in said or "can't allocate memory" in said
    return {"status": "stopped" if stopped else "failed", "reason": reason}


def summary(result: dict[str, Any]) -> Record:
    """Return what the page tells of a successful export."""
    report, recipe = result["verification"], result["recipe"]
    return {
        "written_opset": recipe["opset"],
        "exporter": recipe["exporter"],
        "outputs": [output["kind"] for output in recipe["outputs"]],
        "image_size": recipe["image_size"],
        "nodes": result["file"]["node_count"],
        "counted_parameters": result["file"]["counted_parameters"],
        "folded": next((r["changed"] for r in result["passes"] if r["name"] == "fold-ws"), 0),
        "largest_error": report and report["max_relative_error"],
        "of_allowed": report and max(case["comparison"]["excess"] for case in report["cases"]),
        "seconds": round(sum(result["seconds"].values())),
    }


def describe(record: Record) -> str:
    """Return the result of one export on a line."""
    opset = record["opset"] or "default"
    if record["status"] != "exported":
        return f"{record['architecture']}, opset {opset}: {record['status']}: {record['reason']}"
    error = record["largest_error"]
    checked = "not verified" if error is None else f"error {error:.1e}, {record['of_allowed']:.0%} of what is allowed"
    return f"{record['architecture']}, opset {opset}: {checked}, {record['seconds']} s"


if __name__ == "__main__":
    sys.exit(main())

"""Export, fold and verify every weight-standardised architecture, and a few others; write docs/coverage.md.

    python benchmarks/sweep.py [--only PATTERN] [--largest MILLIONS] [--opsets 11,17] [--unfolded] [-o FILE]

Each export is a process of its own, `nfexport export … --json`, as a user would run it. Architectures above
--largest million parameters are listed as left out. Exits with 1 if any export fails.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from nfexport.sources.timm.catalogue import list_architectures, parameter_count

HEADLESS = ("vit_base_r50_s16_224",)
"""Their default weights come without a classifier."""

OTHERS = ("efficientnet_b0", "resnet50", "convnext_atto", "vit_tiny_patch16_224", "mobilenetv3_small_050")


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*")
    parser.add_argument("--largest", type=float, default=110.0)
    parser.add_argument("--opsets", default="11,17")
    parser.add_argument("--unfolded", action="store_true", help="leave the weights to be standardised at run time")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/coverage.md"))
    options = parser.parse_args()
    opsets = [int(opset) for opset in options.opsets.split(",")]
    standardised = [entry.architecture for entry in list_architectures(None) if entry.weight_standardised]
    names = [name for name in (*standardised, *OTHERS) if fnmatch.fnmatch(name, options.only)]
    sizes = {name: parameter_count(name) for name in names}
    rows, failures, left_out = [], 0, []
    for name in sorted(names, key=lambda name: (name in OTHERS, sizes[name])):
        if sizes[name] > options.largest * 1e6:
            left_out.append(f"{name} ({sizes[name] / 1e6:.1f} M)")
            continue
        results = {opset: export(name, opset, fold=not options.unfolded) for opset in opsets}
        failures += sum("error" in result for result in results.values())
        rows.append((name, sizes[name], results))
        print(describe(name, results), flush=True)
    options.output.write_text(table(rows, opsets, left_out), encoding="utf-8")
    print(f"{len(rows)} architectures, {failures} failures; wrote {options.output}")
    return 1 if failures else 0


def export(name: str, opset: int, *, fold: bool) -> dict[str, Any]:
    """Return what `nfexport export --json` prints, or the error that it gives."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "nfexport",
            "export",
            name,
            "--opset",
            str(opset),
            *(["--fold-ws"] if fold else []),
            *(["--embedding"] if name in HEADLESS else []),
            "--json",
        ]
        done = subprocess.run(
            [*command, "-o", f"{folder}/model.onnx"],
            capture_output=True,
            text=True,
            check=False,
            timeout=1800,
        )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return {"error": lines[-1]}
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def folded(result: dict[str, Any]) -> int:
    """Return the number of convolutions whose weight was folded."""
    return next((r["changed"] for r in result["passes"] if r["name"] == "fold-ws"), 0)


def describe(name: str, results: dict[int, dict[str, Any]]) -> str:
    """Return the results of one architecture on a line."""
    parts = []
    for opset, result in results.items():
        if "error" in result:
            parts.append(f"opset {opset}: {result['error']}")
        else:
            seconds = sum(result["seconds"].values())
            error = result["verification"]["max_relative_error"]
            parts.append(f"opset {opset}: {folded(result)} folded, error {error:.1e}, {seconds:.0f} s")
    return f"{name}: {'; '.join(parts)}"


def table(rows: list[Any], opsets: list[int], left_out: list[str]) -> str:
    """Return the page of docs/coverage.md."""
    head = ["architecture", "size", "parameters", "after folding", "folded"]
    for opset in opsets:
        head += [f"nodes, opset {opset}", "largest error", "of what is allowed"]
    lines = [
        "# Coverage",
        "",
        "Every architecture of the installed timm with weight standardisation, and a few without, exported with",
        "`--fold-ws` and seeded weights, and verified in ONNX Runtime. Made by `make sweep`. 'Folded' counts the",
        "convolutions whose weight became a constant; 'after folding' the parameters in convolutions and",
        "classifier; 'largest error' is against PyTorch in float64, in units of the output's range; 'of what is",
        "allowed' puts the worst case next to the tolerance of docs/verification.md.",
        "A network whose weights come without a classifier gives its embedding.",
        "",
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
    ]
    for name, parameters, results in rows:
        first = next((r for r in results.values() if "error" not in r), None)
        if first is None:
            lines.append(f"| {name} | | {parameters:,} | " + " | ".join(r["error"] for r in results.values()))
            continue
        size = first["recipe"]["image_size"]
        cells = [name, f"{size[0]}×{size[1]}", f"{parameters:,}", f"{first['file']['counted_parameters']:,}"]
        cells.append(str(folded(first)))
        for opset in opsets:
            result = results[opset]
            if "error" in result:
                cells += [result["error"], "", ""]
                continue
            report = result["verification"]
            excess = max(case["comparison"]["excess"] for case in report["cases"])
            cells += [
                str(result["file"]["node_count"]),
                f"{report['max_relative_error']:.1e}",
                f"{excess:.0%}",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    versions = next(r for _, _, results in rows for r in results.values() if "error" not in r)["recipe"]["versions"]
    lines += [
        "",
        "Made with " + ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) + ".",
    ]
    if left_out:
        lines += ["", f"Left out for their size: {', '.join(left_out)}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())

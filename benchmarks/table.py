"""Write the page and the plots of the suite from its records.

    python -m benchmarks.table [benchmarks/results/suite.jsonl] [-o docs/benchmarks.md]

Writes the page, the plots in a folder of the same name next to it, and all medians as suite.json next to the
records. The same records give the same bytes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.records import Record, Records
from benchmarks.serving import GEMM_SIZE
from benchmarks.summary import (
    OURS,
    Exports,
    Spread,
    exponent,
    exports,
    latencies,
    seconds,
    speedup,
    summary,
)
from benchmarks.thresholds import GUARDED, Threshold, thresholds

from benchmarks import plan, plots

HEAD = """# Benchmarks

`make bench` (benchmarks/suite.py) writes this page; the records are in
[suite.jsonl](../benchmarks/results/suite.jsonl), the medians in [suite.json](../benchmarks/results/suite.json).
"""

HOW = """Every export runs in a process of its own; the figures are its wall-clock time from start to end, and its
largest resident set. The tools run in turns, round by round, and ratios compare figures of the same round.
Figures are medians, with the minimum and the maximum where there is more than one round. All tools export
at timm's training size with opset 11 (dynamo: 18; OpenVINO writes its IR, in float32), nfexport with seeded
weights and without verification, the peers with timm's random weights, and with random scales, gains and
biases too: 1 and 0 would be optimised away. Tools that process TorchScript's file are counted with its
export: the sum of the times, and the larger of the peaks.
"""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", nargs="?", type=Path, default=Path("benchmarks/results/suite.jsonl"))
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/benchmarks.md"))
    options = parser.parse_args()
    records = Records(options.records)
    found = summary(records)
    options.records.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    drawn = plots.draw(records, options.output.with_suffix(""))
    options.output.write_text(page(records, found["machine"], drawn), encoding="utf-8")
    print(f"wrote {options.output}")


def page(records: Records, machine: dict[str, Any], drawn: Sequence[str]) -> str:
    """Return the whole page; drawn are the names of the plots."""
    models = list(dict.fromkeys(record["model"] for record in records.select(kind="export")))
    parts = [HEAD, _machine(machine), "", HOW]
    if GUARDED in models:
        parts += ["## Thresholds", "", *_thresholds(thresholds(records)), ""]
    parts += ["## Export", "", *_plot(drawn, "export")]
    for model in models:
        parts += [f"### {model}, {plan.network(model).size} px", "", *_exports(exports(records, model)), ""]
    parts += ["## Session load and latency", "", _threads(machine), "", *_plot(drawn, "latency")]
    for model in models:
        if timed := latencies(records, model):
            parts += [f"### {model}", "", *_latencies(timed, plan.network(model).batches), ""]
    parts += ["## Distance to the limit", "", *_limits(records, models), ""]
    if records.select(kind="scaling") or records.select(kind="depth"):
        parts += ["## Scaling", "", *_plot(drawn, "scaling"), *_scaling(records), ""]
    return "\n".join(parts).rstrip("\n") + "\n"


def _machine(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    avx512 = " with AVX-512" if machine["avx512"] else ""
    return (
        f"Machine: {machine['cores']} cores of {machine['processor']}{avx512}, {machine['memory_gib']} GiB, "
        f"{machine['system']}, Python {machine['python']}; {versions}."
    )


def _thresholds(found: Iterable[Threshold]) -> Iterator[str]:
    yield from ("| | measured | spread | threshold | met |", "|---|---|---|---|---|")
    for threshold in found:
        value = "–" if threshold.value is None else f"{threshold.value:.2f}{threshold.unit}"
        sign = "≥" if threshold.at_least else "≤"
        met = {None: "not measured", True: "yes", False: "**no**"}[threshold.met]
        bound = f"{sign} {threshold.bound:g}{threshold.unit}"
        yield f"| {threshold.what} | {value} | {threshold.detail} | {bound} | {met} |"


def _exports(made: dict[str, Exports]) -> Iterator[str]:
    yield "| tool | time, s | CPU, s | peak, MB | file, MB | nodes | time against nfexport | peak against nfexport |"
    yield "|---|---|---|---|---|---|---|---|"
    ours = made.get(OURS)
    for tool, one in made.items():
        if one.error:
            yield f"| {plan.TITLES[tool]} | {_escaped(one.error)} | | | | | | |"
            continue
        ratios = [one.over(ours, measure) if ours and tool != OURS else None for measure in ("wall_s", "peak_bytes")]
        cells = [
            plan.TITLES[tool],
            _reach(one.spread("wall_s"), 1, "{:.1f}"),
            _reach(one.spread("cpu_s"), 1, "{:.1f}"),
        ]
        cells += [_reach(one.spread("peak_bytes"), 1e-6, "{:,.0f}"), f"{(one.bytes or 0) / 1e6:,.1f}"]
        cells += [f"{one.nodes:,}" if one.nodes else "", *(_reach(ratio, 1, "{:.2f}") for ratio in ratios)]
        yield f"| {' | '.join(cells)} |"


def _threads(machine: dict[str, Any]) -> str:
    return (
        f"In milliseconds; float32, {machine['threads']} threads. Every pair of file and runtime has a warm process "
        "of its own, and the processes run in turns. The gain is the speed-up over the plain opset-11 file in that "
        "runtime."
    )


def _latencies(timed: dict[tuple[str, str], Record], batches: Sequence[int]) -> Iterator[str]:
    measured: tuple[int | None, ...] = (None, *batches)
    titles = ["load" if batch is None else f"batch {batch}" for batch in measured]
    yield f"| runtime | file | {' | '.join(f'{title} | gain' for title in titles)} |"
    yield "|---|---|" + "---|---|" * len(measured)
    for (tool, runtime), record in timed.items():
        if runtime == "gemm":
            continue
        cells = [runtime if tool != "torch" else f"torch, {runtime}", plan.TITLES.get(tool, "")]
        if record.get("error") and not record["runs"]:
            yield f"| {' | '.join(cells)} | {_escaped(record['error'])} |{' |' * (2 * len(measured) - 1)}"
            continue
        for batch in measured:
            gain = speedup(timed.get((plan.BASELINE, runtime)), record, batch)
            cells += [_reach(seconds(record, batch), 1e3, "{:,.1f}"), f"{gain:.2f}×" if gain else ""]
        yield f"| {' | '.join(cells)} |"


def _limits(records: Records, models: Sequence[str]) -> Iterator[str]:
    yield "Time compares the export with the steps that every export needs: import torch and timm, build the"
    yield "network, run one forward pass, write the bytes. Bytes compare the file with four bytes per"
    yield "parameter, without gains. GFLOP/s are 2 × the MACs of the file over its latency in the faster"
    yield f"runtime, compared with a product of two {GEMM_SIZE}² matrices in the same run."
    yield ""
    titles = ("network", "export, s", "limit, s (import, build, forward, write)", "ratio", "bytes over weights")
    yield f"| {' | '.join(titles)} | GFLOP/s | GEMM | share |"
    yield "|---|---|---|---|---|---|---|---|"
    for model in models:
        made, timed = exports(records, model), latencies(records, model)
        ours, limit = made.get(OURS), made.get("limit")
        if ours is None or limit is None or not ours.rounds or not limit.rounds:
            continue
        told = records.select(kind="export", model=model, tool="limit")[-1]
        weights = 4 * (told["parameters"] - told["gains"])
        stages = ", ".join(f"{value:.2f}" for value in limit.stages.values())
        cells = [
            model,
            _reach(ours.spread("wall_s"), 1, "{:.1f}"),
            f"{_median(limit.spread('wall_s')):.1f} ({stages})",
        ]
        cells += [
            _reach(ours.over(limit, "wall_s"), 1, "{:.2f}"),
            f"{100 * ((ours.bytes or 0) / weights - 1):+.3f} %",
        ]
        cells += _speed(records, model, timed)
        yield f"| {' | '.join(cells)} |"


def _speed(records: Records, model: str, timed: dict[tuple[str, str], Record]) -> list[str]:
    facts = [fact for fact in records.select(kind="facts", model=model, tool=OURS) if fact.get("macs")]
    runs = {runtime: seconds(timed.get((OURS, runtime)), 1) for runtime in ("onnxruntime", "openvino")}
    rated = [(one.median, runtime) for runtime, one in runs.items() if one]
    if not facts or not rated:
        return ["", "", ""]
    fastest, runtime = min(rated)
    gemm = seconds(timed.get((f"gemm-{runtime}", "gemm")) or timed.get(("gemm", "gemm")), 1)
    reached = 2 * facts[0]["macs"] / fastest / 1e9
    if gemm is None:
        return [f"{reached:.0f} ({runtime})", "", ""]
    peak = 2 * GEMM_SIZE**3 / gemm.median / 1e9
    return [f"{reached:.0f} ({runtime})", f"{peak:.0f}", f"{100 * reached / peak:.0f} %"]


def _scaling(records: Records) -> Iterator[str]:
    for kind, title, size in (
        ("scaling", "network", "bytes"),
        ("depth", "narrow nfnet_f0, times its depth", "nodes"),
    ):
        made = records.select(kind=kind)
        good = [record for record in made if "error" not in record]
        stages = list(good[0]["stages"]) if good else []
        yield f"| {title} | nodes | file, MB | time, s | peak, MB | {' | '.join(f'{name}, s' for name in stages)} |"
        yield "|---|---|---|---|---|" + "---|" * len(stages)
        for record in made:
            if "error" in record:
                yield f"| {record['model']} | {_escaped(record['error'])} | | | |{' |' * len(stages)}"
                continue
            cells = [
                record["model"],
                f"{record['nodes']:,}",
                f"{record['bytes'] / 1e6:,.1f}",
                f"{record['wall_s']:.1f}",
            ]
            cells += [f"{record['peak_bytes'] / 1e6:,.0f}", *(f"{record['stages'][name]:.2f}" for name in stages)]
            yield f"| {' | '.join(cells)} |"
        sizes = [record[size] for record in good]
        slopes = {name: exponent(sizes, [record["stages"][name] for record in good]) for name in stages}
        told = ", ".join(f"{name} {slope:.2f}" for name, slope in slopes.items() if slope is not None)
        yield from ("", f"Exponent of the time of each stage over {size} (1 is linear): {told}." if told else "", "")


def _plot(drawn: Sequence[str], name: str) -> list[str]:
    return [f"![{name}](benchmarks/{name}.png)", ""] if name in drawn else []


def _reach(found: Spread | None, factor: float, form: str) -> str:
    if found is None:
        return ""
    shown = form.format(factor * found.median)
    if found.count == 1:
        return shown
    return f"{shown} ({form.format(factor * found.low)}–{form.format(factor * found.high)})"


def _median(found: Spread | None) -> float:
    return found.median if found else float("nan")


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    main()

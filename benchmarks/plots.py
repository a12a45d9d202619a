"""Plots of the suite's records: exports, latencies, scaling. The same records give the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.records import Records
from benchmarks.summary import OURS, exports, latencies, seconds
from matplotlib import pyplot

from benchmarks import plan

COLOURS = {tool: f"C{number}" for number, tool in enumerate(plan.TITLES)}


def draw(records: Records, folder: Path) -> list[str]:
    """Draw the plots that the records suffice for, and return their names in folder, without the suffix."""
    pyplot.switch_backend("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    drawers: dict[str, Callable[[Records], Any]] = {"export": _export, "latency": _latency, "scaling": _scaling}
    drawn = []
    for name, drawer in drawers.items():
        figure = drawer(records)
        if figure is None:
            continue
        # the bytes must not depend on the version of matplotlib
        figure.savefig(folder / f"{name}.png", dpi=110, metadata={"Software": None})
        pyplot.close(figure)
        drawn.append(name)
    return drawn


def _export(records: Records) -> Any:
    """Time against peak memory, of the first network and tool by tool."""
    models = list(dict.fromkeys(record["model"] for record in records.select(kind="export")))
    if not models:
        return None
    made = {tool: one for tool, one in exports(records, models[0]).items() if one.rounds}
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 3.2), layout="constrained", sharey=True)
    titles = [plan.TITLES[tool] for tool in made]
    for axis, measure, factor, label in (
        (axes[0], "wall_s", 1.0, "time, s"),
        (axes[1], "peak_bytes", 1e-6, "peak memory, MB"),
    ):
        spreads = [spread for one in made.values() if (spread := one.spread(measure))]
        medians = [factor * spread.median for spread in spreads]
        reach = [
            [factor * (spread.median - spread.low) for spread in spreads],
            [factor * (spread.high - spread.median) for spread in spreads],
        ]
        axis.barh(titles, medians, xerr=reach, color=[COLOURS[tool] for tool in made], error_kw={"linewidth": 1})
        axis.set_xlabel(f"{label}, whole process, {models[0]}")
    axes[0].invert_yaxis()
    return figure


def _latency(records: Records) -> Any:
    """How many times faster than the plain opset-11 file each file is, at batch 1, by runtime."""
    models = list(dict.fromkeys(record["model"] for record in records.select(kind="latency")))
    if not models:
        return None
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 3.8), layout="constrained", sharey=True)
    width = 0.8 / len(plan.MEASURED_FILES)
    for axis, runtime in zip(axes, ("onnxruntime", "openvino"), strict=True):
        for number, tool in enumerate(plan.MEASURED_FILES):
            gains = []
            for model in models:
                timed = latencies(records, model)
                plain, one = (seconds(timed.get((name, runtime)), 1) for name in (plan.BASELINE, tool))
                gains.append(plain.median / one.median if plain and one else 0.0)
            places = [place + width * (number - len(plan.MEASURED_FILES) / 2 + 0.5) for place in range(len(models))]
            if any(gains):
                axis.bar(places, gains, width, label=plan.TITLES[tool], color=COLOURS[tool])
        axis.axhline(1, color="grey", linewidth=0.8)
        axis.set_xticks(range(len(models)), models, rotation=30, ha="right", fontsize=7)
        axis.set_title(f"{runtime}: speed against the plain opset-11 file, batch 1", fontsize=9)
    figure.legend(*_all_labels(axes), fontsize=7, loc="outside lower center", ncols=4)
    return figure


def _scaling(records: Records) -> Any:
    """Stages against bytes and against nodes, on logarithmic axes with a line of slope 1; peak memory."""
    scaling, depth = (
        [record for record in records.select(kind=kind) if "error" not in record] for kind in ("scaling", "depth")
    )
    if len(scaling) < 2 and len(depth) < 2:
        return None
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for axis, made, size, label in (
        (axes[0], scaling, "bytes", "file, bytes"),
        (axes[2], depth, "nodes", "nodes (narrow nfnet_f0, deeper and deeper)"),
    ):
        made = sorted(made, key=lambda record: record[size])
        for stage in made[0]["stages"] if made else ():
            # what rounds to nothing has no place on a logarithmic axis
            times = [max(record["stages"][stage], 1e-3) for record in made]
            axis.loglog([record[size] for record in made], times, "o-", markersize=3, label=stage)
        if made:
            ends = [made[0][size], made[-1][size]]
            last = made[-1]["wall_s"]
            axis.loglog(ends, [last * ends[0] / ends[1], last], ":", color="grey", label="linear")
        axis.set_xlabel(label)
        axis.set_ylabel("time, s")
        axis.legend(fontsize=7)
    ordered = sorted(scaling, key=lambda record: record["bytes"])
    sizes = [record["bytes"] / 1e6 for record in ordered]
    axes[1].loglog(sizes, [record["peak_bytes"] / 1e6 for record in ordered], "o-", markersize=3, label=OURS)
    axes[1].loglog(sizes, sizes, ":", color="grey", label="the file itself")
    axes[1].set_xlabel("file, MB")
    axes[1].set_ylabel("peak memory, MB")
    axes[1].legend(fontsize=7)
    return figure


def _all_labels(axes: Any) -> tuple[list[Any], list[str]]:
    """Every label once: a runtime that takes no file of a tool has no bar of it."""
    found: dict[str, Any] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        for handle, label in zip(handles, labels, strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)

"""From records to medians, spreads and ratios within the same round."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.records import Record, Records

from benchmarks import plan

OURS = "nfexport"
FASTEST = "fastest"
MEASURES = ("wall_s", "cpu_s", "peak_bytes")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spread:
    """The median of some figures and how far they reach."""

    median: float
    low: float
    high: float
    count: int

    def to_dict(self) -> dict[str, float | int]:
        """Return plain Python values for JSON."""
        return dataclasses.asdict(self)


def spread(values: Sequence[float]) -> Spread | None:
    """Return median, least and largest; None of nothing."""
    if not values:
        return None
    return Spread(median=statistics.median(values), low=min(values), high=max(values), count=len(values))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exports:
    """All exports of one tool of one network: figures by measure and round; bytes and nodes of its file."""

    rounds: Mapping[int, Mapping[str, float]]
    bytes: int | None
    nodes: int | None
    error: str | None
    stages: Mapping[str, float]

    def spread(self, measure: str) -> Spread | None:
        """Return the spread of one measure."""
        return spread([figures[measure] for figures in self.rounds.values()])

    def over(self, other: Exports, measure: str) -> Spread | None:
        """Return how many times the other's figure this one is, in the rounds that have both."""
        shared = sorted(self.rounds.keys() & other.rounds.keys())
        return spread([self.rounds[number][measure] / other.rounds[number][measure] for number in shared])


def exports(records: Records, model: str) -> dict[str, Exports]:
    """Return what each tool took for this network, tools that only continue counted with what they continue."""
    facts = {record["tool"]: record for record in records.select(kind="facts", model=model)}
    found = {}
    for tool in plan.TITLES:
        made = {record["round"]: record for record in records.select(kind="export", model=model, tool=tool)}
        if not made:
            continue
        good = {number: record for number, record in made.items() if "error" not in record}
        figures = {number: {measure: record[measure] for measure in MEASURES} for number, record in good.items()}
        if tool in plan.AFTERWARDS:
            first = records.select(kind="export", model=model, tool=plan.BASELINE)
            figures = _continued(figures, {record["round"]: record for record in first if "error" not in record})
        last = good[max(good)] if good else {}
        found[tool] = Exports(
            rounds=figures,
            bytes=last.get("bytes"),
            nodes=facts.get(tool, {}).get("nodes") or last.get("nodes"),
            error=None if good else made[max(made)]["error"],
            stages=_median_stages(list(good.values())),
        )
    return found


def latencies(records: Records, model: str) -> dict[tuple[str, str], Record]:
    """Return the record of each pair of tool and runtime."""
    chosen = [record for record in records.select(kind="latency", model=model) if "/" in record["tool"]]
    pairs = [record["tool"].split("/") for record in chosen]
    return {(tool, runtime): record for (tool, runtime), record in zip(pairs, chosen, strict=True)}


def seconds(record: Record | None, batch: int | None) -> Spread | None:
    """Return the spread of a record's loads (batch None) or of its inferences; None where there are none."""
    if record is None:
        return None
    return spread(record["loads"] if batch is None else record["runs"].get(str(batch), []))


def speedup(before: Record | None, after: Record | None, batch: int | None) -> float | None:
    """Return how many times faster `after` is, by medians of runs that were interleaved."""
    slow, fast = seconds(before, batch), seconds(after, batch)
    return slow.median / fast.median if slow and fast else None


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float | None:
    """Return the slope of log time against log size: 1 is linear. None with fewer than three different sizes."""
    if len(set(sizes)) < 3 or min((*sizes, *times)) <= 0:
        return None
    return statistics.linear_regression([math.log(size) for size in sizes], [math.log(t) for t in times]).slope


def summary(records: Records) -> dict[str, Any]:
    """Return all medians and spreads as plain values for JSON."""
    models = list(dict.fromkeys(record["model"] for record in records.select(kind="export")))
    return {
        "machine": records.select(kind="machine")[0]["machine"],
        "networks": {
            model: {
                "exports": {tool: _plain(one) for tool, one in exports(records, model).items()},
                "latency": {"/".join(pair): _timed(record) for pair, record in latencies(records, model).items()},
            }
            for model in models
        },
        "scaling": records.select(kind="scaling"),
        "depth": records.select(kind="depth"),
        "commands": records.select(kind="command"),
    }


def _continued(figures: dict[int, dict[str, float]], first: Mapping[int, Record]) -> dict[int, dict[str, float]]:
    return {
        number: {
            "wall_s": second["wall_s"] + first[number]["wall_s"],
            "cpu_s": second["cpu_s"] + first[number]["cpu_s"],
            "peak_bytes": max(second["peak_bytes"], first[number]["peak_bytes"]),
        }
        for number, second in figures.items()
        if number in first
    }


def _median_stages(made: Sequence[Record]) -> dict[str, float]:
    names = list(dict.fromkeys(name for record in made for name in record.get("stages", ())))
    return {name: statistics.median(record["stages"][name] for record in made) for name in names}


def _plain(one: Exports) -> dict[str, Any]:
    spreads = {measure: one.spread(measure) for measure in MEASURES}
    found: dict[str, Any] = {measure: value.to_dict() for measure, value in spreads.items() if value}
    return found | {"bytes": one.bytes, "nodes": one.nodes, "stages": dict(one.stages), "error": one.error}


def _timed(record: Record) -> dict[str, Any]:
    spreads = {"load": seconds(record, None), "1": seconds(record, 1), "8": seconds(record, 8)}
    return {name: value.to_dict() for name, value in spreads.items() if value} | {"error": record.get("error")}

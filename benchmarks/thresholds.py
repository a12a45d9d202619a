"""Thresholds for the figures: each with its measured value, and whether it is met."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from benchmarks.records import Records
from benchmarks.summary import FASTEST, OURS, Exports, Spread, exports, latencies, seconds, speedup, spread

from benchmarks import plan

GUARDED = "nfnet_f0"
"""The network whose export has thresholds."""

NOISE = 0.95
"""Files that do the same work differ by this ratio in one run: efficientnet_b0 has nothing to standardise, and the
medians of its six files are about 5 % apart."""

LATENCY_THRESHOLDS = {"nfnet_f0": 1.8, "dm_nfnet_f0": 1.8, "nfnet_l0": 1.5}
COMMAND_THRESHOLDS = {"help": ("wall_s", 0.25), "inspect": ("cpu_s", 1.0)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Threshold:
    """One threshold. value is None if it was not measured; detail gives the spread, or the tool compared with."""

    what: str
    value: float | None
    bound: float
    at_least: bool
    unit: str = "×"
    detail: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the value reaches the bound; None without a value."""
        if self.value is None:
            return None
        return self.value >= self.bound if self.at_least else self.value <= self.bound


def thresholds(records: Records, model: str = GUARDED) -> Iterator[Threshold]:
    """Yield the thresholds of the export of this network, and those of latency, size and start-up."""
    made = exports(records, model)
    ours = made.get(OURS)
    if ours is not None and ours.rounds:
        yield from _against_peers(made, model)
        limit = made.get("limit")
        over = ours.over(limit, "wall_s") if limit else None
        yield _threshold(f"time of the export against {plan.TITLES['limit']}", over, 1.5, False)
    yield from _latency_thresholds(records, model)
    if ours is not None and ours.bytes:
        weights = _weight_bytes(records, model)
        off = None if weights is None else abs(ours.bytes / weights - 1) * 100
        yield Threshold(
            what=f"{model} file, difference from the bytes of its weights",
            value=off,
            bound=0.5,
            at_least=False,
            unit=" %",
        )
    for name, (measure, bound) in COMMAND_THRESHOLDS.items():
        taken = [record[measure] for record in records.select(kind="command", tool=name) if "error" not in record]
        found = spread(taken)
        what = f"nfexport {' '.join(plan.COMMANDS[name])}" + (f" of {model}, CPU" if name == "inspect" else "")
        value = found.median if found else None
        yield Threshold(what=what, value=value, bound=bound, at_least=False, unit=" s", detail=_reach(found, " s"))


def _against_peers(made: Mapping[str, Exports], model: str) -> Iterator[Threshold]:
    ours = made[OURS]
    for tool, bound in (("onnxsim", 4.0), ("dynamo", 2.0)):
        if tool in made:
            title = plan.TITLES[tool]
            yield _threshold(f"{model} export faster than {title}", made[tool].over(ours, "wall_s"), bound, True)
            yield _threshold(f"{model} peak memory against {title}", ours.over(made[tool], "peak_bytes"), 0.5, False)


def _latency_thresholds(records: Records, model: str) -> Iterator[Threshold]:
    for name, bound in LATENCY_THRESHOLDS.items():
        timed = latencies(records, name)
        faster = speedup(timed.get((plan.BASELINE, "onnxruntime")), timed.get((FASTEST, "onnxruntime")), 1)
        what = f"{name} in ONNX Runtime, batch 1, faster than the plain opset-11 file"
        yield Threshold(what=what, value=faster, bound=bound, at_least=True)
    for name in dict.fromkeys(record["model"] for record in records.select(kind="latency")):
        yield from _against_best(records, name)
    timed = latencies(records, model)
    for tool in (FASTEST, OURS):
        loaded = speedup(timed.get((plan.BASELINE, "onnxruntime")), timed.get((tool, "onnxruntime")), None)
        what = f"{model} session load, {plan.TITLES[tool]}, faster than the plain opset-11 file"
        yield Threshold(what=what, value=loaded, bound=3.0, at_least=True)


def _against_best(records: Records, model: str) -> Iterator[Threshold]:
    """Yield the speed-up of the fastest file over the best file of the peers, in each runtime and batch."""
    timed = latencies(records, model)
    for runtime, title in (("onnxruntime", "ONNX Runtime"), ("openvino", "OpenVINO")):
        for batch in plan.network(model).batches:
            ours = seconds(timed.get((FASTEST, runtime)), batch)
            peers = {
                tool: taken.median
                for tool in plan.MEASURED_FILES
                if tool not in plan.OURS and (taken := seconds(timed.get((tool, runtime)), batch))
            }
            if ours and peers:
                best = min(peers, key=peers.__getitem__)
                yield Threshold(
                    what=f"{model} in {title}, batch {batch}, against the best of the peers' files",
                    value=peers[best] / ours.median,
                    bound=NOISE,
                    at_least=True,
                    detail=plan.TITLES[best],
                )


def _weight_bytes(records: Records, model: str) -> int | None:
    """Return four bytes per parameter, without the gains, which are folded into the weights."""
    found = records.select(kind="export", model=model, tool="limit", round=0)
    return 4 * (found[0]["parameters"] - found[0]["gains"]) if found and "parameters" in found[0] else None


def _threshold(what: str, over: Spread | None, bound: float, at_least: bool) -> Threshold:
    value = over.median if over else None
    return Threshold(what=what, value=value, bound=bound, at_least=at_least, detail=_reach(over, "×"))


def _reach(found: Spread | None, unit: str) -> str:
    return f"{found.low:.2f}–{found.high:.2f}{unit} in {found.count}" if found else ""

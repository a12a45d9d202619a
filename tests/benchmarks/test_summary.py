"""Ratios are of the same round, and tools that continue are counted with what they continue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmarks.records import Records
from benchmarks.summary import exponent, exports, speedup
from benchmarks.table import page
from benchmarks.thresholds import thresholds

MACHINE = {
    "processor": "a processor",
    "cores": 2,
    "threads": 2,
    "avx512": False,
    "memory_gib": 8.0,
    "system": "Linux",
    "python": "3.11",
    "versions": {"torch": "2.13.0"},
}


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """Two rounds of three tools: the second round ran on a machine half as fast."""
    records = Records(tmp_path / "suite.jsonl")
    records.add({"kind": "machine", "machine": MACHINE})
    for number, slow in enumerate((1, 2)):
        for tool, wall, peak in (
            ("nfexport", 2, 500),
            ("torchscript", 6, 1000),
            ("onnxsim", 4, 2000),
            ("limit", 1, 400),
        ):
            record = {"kind": "export", "model": "nfnet_f0", "tool": tool, "round": number, "wall_s": wall * slow}
            records.add(
                record | {"cpu_s": wall * slow, "peak_bytes": peak, "bytes": 4004, "parameters": 1001, "gains": 1}
            )
    return records


def latency(tool: str, loads: list[float], runs: list[float]) -> dict[str, Any]:
    name = f"{tool}/onnxruntime"
    return {"kind": "latency", "model": "nfnet_f0", "tool": name, "loads": loads, "runs": {"1": runs}}


def test_a_tool_that_continues_is_counted_from_the_start(records: Records) -> None:
    made = exports(records, "nfnet_f0")
    assert [figures["wall_s"] for figures in made["onnxsim"].rounds.values()] == [10, 20]
    peak = made["onnxsim"].spread("peak_bytes")
    assert peak is not None
    assert peak.median == 2000


def test_ratios_are_of_the_same_round(records: Records) -> None:
    made = exports(records, "nfnet_f0")
    over = made["onnxsim"].over(made["nfexport"], "wall_s")
    assert over is not None
    # 10 / 2 and 20 / 4: medians of either alone, and the slow round against the quick one, would give a spread
    assert (over.low, over.median, over.high, over.count) == (5, 5, 5, 2)


def test_a_round_that_one_of_them_failed_in_does_not_count(records: Records) -> None:
    record = {"kind": "export", "model": "nfnet_f0", "tool": "torchscript", "round": 1, "error": "out of memory"}
    records.add(record)
    made = exports(records, "nfnet_f0")
    assert list(made["torchscript"].rounds) == list(made["onnxsim"].rounds) == [0]


def test_speedup_is_by_medians() -> None:
    slow, fast = latency("torchscript", [1.0], [0.3, 0.2, 9.0]), latency("nfexport", [0.5], [0.1, 0.1, 0.2])
    assert speedup(slow, fast, 1) == pytest.approx(3)
    assert speedup(slow, fast, None) == pytest.approx(2)
    assert speedup(slow, None, 1) is None


def test_thresholds_are_met_or_not_or_were_not_measured(records: Records) -> None:
    records.add(latency("torchscript", [1.0], [0.3]))
    records.add(latency("onnxsim", [0.5], [0.2]))
    records.add(latency("fastest", [0.5], [0.1]))
    found = {threshold.what: threshold for threshold in thresholds(records)}
    met = {what: threshold.met for what, threshold in found.items()}
    assert met["nfnet_f0 export faster than TorchScript + onnxsim"] is True
    assert met["nfnet_f0 peak memory against TorchScript + onnxsim"] is True
    assert met["time of the export against import, build, one forward, write"] is False
    assert met["nfnet_f0 in ONNX Runtime, batch 1, faster than the plain opset-11 file"] is True
    best = found["nfnet_f0 in ONNX Runtime, batch 1, against the best of the peers' files"]
    assert (best.met, best.value, best.detail) == (True, 2, "TorchScript + onnxsim")
    loaded = "nfnet_f0 session load, nfexport --optimize --external-data, faster than the plain opset-11 file"
    assert met[loaded] is False
    assert met["dm_nfnet_f0 in ONNX Runtime, batch 1, faster than the plain opset-11 file"] is None
    # 4,004 bytes where 1,000 weights take 4,000
    assert found["nfnet_f0 file, difference from the bytes of its weights"].value == pytest.approx(0.1)


def test_exponent_is_the_slope_of_the_logarithms() -> None:
    assert exponent([1, 10, 100], [2, 200, 20000]) == pytest.approx(2)
    assert exponent([1, 10], [1, 10]) is None


def test_the_page_holds_the_ratios_and_is_the_same_every_time(records: Records) -> None:
    first, second = (page(records, MACHINE, ["export"]) for _ in range(2))
    assert first == second
    assert "| TorchScript + onnxsim | 15.0 (10.0–20.0) |" in first
    assert "5.00 (5.00–5.00)" in first
    assert "| nfnet_f0 export faster than TorchScript + onnxsim | 5.00× | 5.00–5.00× in 2 | ≥ 4× | yes |" in first

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nfexport.benchmark.bench_result import Spread, make_timing
from nfexport.benchmark.measurement import bench
from nfexport.cli import run
from nfexport.errors import InputError, OnnxFileError
from nfexport.formats.openvino import convert
from tests.benchmark.files import write


def test_the_file_with_more_work_is_slower(tmp_path: Path) -> None:
    """60 convolutions against 1: half as fast is passed by far, even if the machine has other work."""
    small, large = write(tmp_path / "small.onnx"), write(tmp_path / "large.onnx", layers=60)
    result = bench([small, large], threads=1, runs=5, batches=(1, 8))
    assert [(entry.file, entry.batch) for entry in result.timings] == [(small, 1), (large, 1), (small, 8), (large, 8)]
    for first, second in (result.timings[:2], result.timings[2:]):
        assert first.speed == Spread(low=1, median=1, high=1)
        assert second.speed.high < 0.5
        assert second.cpu.median > 2 * first.cpu.median
    assert result.timings[3].wall.median > 2 * result.timings[1].wall.median
    assert all(entry.seconds > 0 for entry in result.loaded)
    assert all(entry.peak_memory is None or entry.peak_memory > 10e6 for entry in result.loaded)
    assert result.machine.cores >= 1


def test_openvino_takes_a_file_and_its_own_form(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", shape=("n", 3, "h", "w"))
    ir = convert(path, tmp_path, "m", precision="fp32")
    result = bench([path, ir], runtimes=["openvino"], size=(16, 24), threads=1, runs=1)
    assert [entry.file.suffix for entry in result.timings] == [".onnx", ".xml"]
    assert {entry.version for entry in result.loaded} == {result.loaded[0].version}


def test_what_cannot_run_is_named_and_the_rest_is_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write(tmp_path / "good.onnx")
    fixed = write(tmp_path / "fixed.onnx", shape=(2, 3, 8, 8))
    (tmp_path / "ir.xml").write_text("<net/>")
    arguments = [str(good), str(fixed), str(tmp_path / "ir.xml"), "--runs", "2", "--json"]
    assert run(["bench", *arguments]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [Path(entry["file"]).name for entry in told["timings"]] == ["good.onnx"]
    reasons = {Path(entry["file"]).name: entry["reason"] for entry in told["refused"]}
    assert reasons["ir.xml"] == "only OpenVINO runs an IR"
    assert reasons["fixed.onnx"].endswith("is fixed to 2, not 1")
    assert told["runs"] == 2


def test_the_table_names_files_ratios_and_the_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", str(write(tmp_path / "m.onnx")), "--runs", "1", "--threads", "1"]) == 0
    shown = capsys.readouterr().out
    for word in ("m.onnx", "batch 1", "speed-up", "1.00 (1.00–1.00)", "threads: 1", "onnxruntime"):
        assert word in shown


def test_nothing_to_time_is_an_error_with_the_runtimes_reason(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match=r"nothing could be timed: onnxruntime with .*bad\.onnx: "):
        bench([tmp_path / "bad.onnx"], runs=1)


def test_a_runtime_without_a_setting_for_threads_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'reference' cannot be told how many threads"):
        bench([write(tmp_path / "m.onnx")], runtimes=["reference"], threads=1, runs=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"runtimes": ["tensorflow"]}, "there is no runtime 'tensorflow'"),
        ({"batches": (0,)}, "the batch size must be at least 1, not 0"),
        ({"runs": 0}, "runs must be at least 1, not 0"),
        ({"threads": 0}, "threads must be at least 1, not 0"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_loaded(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        bench([write(tmp_path / "m.onnx")], **options)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OnnxFileError, match=r"gone\.onnx' does not exist"):
        bench([tmp_path / "gone.onnx"])


def test_ratios_are_those_of_rounds() -> None:
    """A machine that is half as fast from the third round on changes no ratio."""
    result = make_timing(Path("m"), "r", 1, ([1, 1, 2, 2], [1, 1, 1, 1]), ([3, 3, 6, 6], [2, 2, 2, 4]))
    assert result.speed == Spread(low=3, median=3, high=3)
    assert result.wall == Spread(low=1, median=1.5, high=2)
    assert result.cpu_speed == Spread(low=2, median=2, high=2.5)

"""A stopped run goes on."""

from __future__ import annotations

from pathlib import Path

from benchmarks.records import Records


def test_what_was_measured_is_known_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "suite.jsonl"
    Records(path).add({"kind": "export", "model": "a", "tool": "nfexport", "round": 0, "wall_s": 1.0})
    again = Records(path)
    assert again.done(kind="export", model="a", tool="nfexport", round=0)
    assert not again.done(kind="export", model="a", tool="nfexport", round=1)


def test_half_a_line_of_a_killed_run_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "suite.jsonl"
    Records(path).add({"kind": "export", "model": "a", "tool": "nfexport", "round": 0})
    with path.open("a") as file:
        file.write('{"kind": "export", "mod')
    assert len(Records(path).select()) == 1


def test_of_two_records_of_one_measurement_the_later_counts(tmp_path: Path) -> None:
    records = Records(tmp_path / "suite.jsonl")
    for wall in (1.0, 2.0):
        records.add({"kind": "export", "model": "a", "tool": "nfexport", "round": 0, "wall_s": wall})
    assert [record["wall_s"] for record in records.select(kind="export")] == [2.0]
    assert [record["wall_s"] for record in Records(records.path).select(kind="export")] == [2.0]

"""The sweep goes on where it was stopped, and its page says what each network did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.coverage_page import page
from benchmarks.records import Records

from benchmarks import sweep
from nfexport.errors import OpsetTooOld
from nfexport.sources.timm.torchvision_operators import import_timm

JOB: dict[str, Any] = {
    "kind": "modules",
    "module": "resnet",
    "architecture": "test_resnet",
    "parameters": 469688,
    "opset": None,
    "fold_ws": False,
    "verify": True,
}
EXPORTED: dict[str, Any] = {
    "status": "exported",
    "written_opset": 17,
    "exporter": "torchscript",
    "outputs": ["logits"],
    "image_size": [160, 128],
    "nodes": 1234,
    "counted_parameters": 468000,
    "folded": 0,
    "largest_error": 1.7e-07,
    "of_allowed": 0.34,
    "seconds": 5,
}


def record(**other: Any) -> dict[str, Any]:
    return {**JOB, "versions": sweep.versions(), **EXPORTED, **other}


def test_there_is_one_architecture_of_each_module() -> None:
    import_timm()
    from timm.models._registry import _module_to_models

    chosen = json.loads(sweep.MODULES.read_text(encoding="utf-8"))
    assert chosen.keys() == _module_to_models.keys()
    assert all(entry["architecture"] in _module_to_models[module] for module, entry in chosen.items())


@pytest.mark.parametrize(
    ("code", "said", "expected"),
    [
        (2, "nfexport: no col2im; pass --opset 18, the first at which Col2Im works\n", ("refused", "Col2Im", 18)),
        (2, "a warning\nnfexport: the file is refused; try another --opset\n", ("failed", None, None)),
        (-9, "", ("stopped", None, None)),
        (1, "RuntimeError: DefaultCPUAllocator: can't allocate memory\n", ("stopped", None, None)),
    ],
)
def test_an_export_that_ended_otherwise_says_why(code: int, said: str, expected: tuple[Any, ...]) -> None:
    found = sweep.outcome(code, "", said)
    assert (found["status"], found.get("operator"), found.get("needed")) == expected
    assert found["reason"] == (said.strip().splitlines() or ["exit code -9"])[-1].removeprefix("nfexport: ")


def test_the_sentence_is_that_of_the_error() -> None:
    source = Path(sweep.__file__).parents[1] / "src" / "nfexport" / "workflows" / "traced_graph.py"
    assert OpsetTooOld.__name__ in source.read_text(encoding="utf-8")
    assert "pass --opset {too_old.needed}, the first at which {too_old.operator} works" in source.read_text(
        encoding="utf-8"
    )


def test_what_was_done_with_these_versions_is_skipped(tmp_path: Path) -> None:
    records = Records(tmp_path / "sweep.jsonl", key=sweep.KEY)
    assert not sweep.is_done(records, JOB)
    records.add(record(versions={"torch": "1.0"}))
    assert not sweep.is_done(records, JOB)
    records.add(record())
    assert sweep.is_done(Records(records.path, key=sweep.KEY), JOB)
    assert not sweep.is_done(records, {**JOB, "opset": 11})
    records.add(record(status="failed", reason="none"))
    assert not sweep.is_done(records, JOB)


def test_the_default_opset_by_name_is_not_exported_again(tmp_path: Path) -> None:
    records = Records(tmp_path / "sweep.jsonl", key=sweep.KEY)
    job = {**JOB, "opset": 17}
    assert sweep.same_file(records, job) is None
    records.add(record())
    assert sweep.same_file(records, job) == record(opset=17)
    assert sweep.same_file(records, {**JOB, "opset": 11}) is None
    assert sweep.same_file(records, {**JOB, "kind": "folded", "opset": 17}) is None


def test_the_page_names_the_operator_that_an_opset_lacks() -> None:
    volo = {"module": "volo", "architecture": "volo_d1_224", "parameters": 26632040}
    text = page(
        [
            record(),
            record(opset=17),
            record(opset=11, verify=False, largest_error=None, of_allowed=None),
            record(**volo, written_opset=18),
            record(**volo, opset=17, status="refused", operator="Col2Im", needed=18, reason="…"),
            record(kind="folded", opset=11, folded=25),
        ],
        modules=3,
        largest=110.0,
    )
    assert "2 of 3 are exported and verified.\nvolo_d1_224 is written at opset 18.\n" in text
    assert "| resnet | test_resnet | 160×128 | 469,688 | 1,234 | 1.7e-07 | 34% | yes | yes |" in text
    assert "| 1,234 | 1.7e-07 | 34% | Col2Im (opset 18) |  |" in text
    assert "Every file of opset 17 is verified too: 1. Of the 1 files of opset 11, 0 are verified." in text
    assert "| test_resnet | 160×128 | 469,688 | 468,000 | 25 | 1234 | 1.7e-07 | 34% |  |  |  |" in text

"""What nfexport makes today is what it made when the goldens in golden/ were recorded."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import msgspec
import pytest

from nfexport import __version__
from nfexport.cli import run
from nfexport.errors import EXIT_OK
from nfexport.goldens.data_sets import input_spec
from nfexport.goldens.golden_check import check_golden
from nfexport.goldens.layout import MANIFEST, find_goldens
from nfexport.verification.model_under_test import ImageModelUnderTest
from tests.verification.toy import INTERFACE

GOLDEN = Path(__file__).parents[1] / "golden"
FLAGS = sorted(GOLDEN.glob("*.flags"))


def words(flags: Path) -> list[str]:
    lines = flags.read_text(encoding="utf-8").splitlines()
    return " ".join(line for line in lines if not line.startswith("#")).split()


@pytest.mark.parametrize("flags", FLAGS, ids=lambda path: path.stem)
def test_an_export_is_what_it_was(flags: Path, tmp_path: Path) -> None:
    file = tmp_path / f"{flags.stem}.onnx"
    assert run([*words(flags), "-q", "--no-verify", "-o", str(file)]) == EXIT_OK
    outcome = check_golden(file, flags.with_suffix(".golden"), numbers_only=True)
    assert outcome.passed, outcome.changes
    recorded = (outcome.manifest.recipe or {})["versions"]
    here = {name: importlib.metadata.version(name).partition("+")[0] for name in recorded if name != "nfexport"}
    if recorded == {**here, "nfexport": __version__}:
        # other versions trace other graphs; another machine may round a folded weight the other way
        assert {change.kind for change in outcome.forgiven} <= {"weights"}, outcome.forgiven


@pytest.mark.parametrize("golden", list(find_goldens(GOLDEN)), ids=lambda path: path.stem)
def test_what_a_golden_says_of_its_batches_stays(golden: Path) -> None:
    """A new field of ModelUnderTest that has no part in drawing them would change each golden when it is recorded."""
    recorded = json.loads((golden / MANIFEST).read_text(encoding="utf-8"))["subject"]
    assert set(recorded) == set(msgspec.to_builtins(input_spec(ImageModelUnderTest(**INTERFACE, batch="dynamic"))))


def test_each_golden_has_its_flags_and_all_are_small() -> None:
    assert [golden.stem for golden in find_goldens(GOLDEN)] == [flags.stem for flags in FLAGS]
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()) < 1_500_000

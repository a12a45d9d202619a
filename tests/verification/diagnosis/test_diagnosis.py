"""`verify --bisect`, `--self-test`, `--report` and `--plot`, as a user meets them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import pytest

import nfexport
from nfexport.cli import run
from nfexport.passes.front.normalize import Normalize
from nfexport.verification import FixedTolerance, ImageModelUnderTest, verify_session_against
from nfexport.verification import torch_reference as reference
from nfexport.verification.diagnosis.diagnosis import diagnose
from nfexport.verification.faults import all_faults, inject
from tests.verification.toy import INTERFACE, mixing


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("diagnosis") / "m.onnx"
    nfexport.export("test_nfnet", path, opset=11, fold_ws=True, image_size=96, verify=False)
    return path


def broken(right: Path, kind: str, folder: Path, place: int = 0) -> Path:
    model = onnx.load(right)
    fault = [fault for fault in all_faults(model) if fault.kind == kind][place]
    onnx.save(inject(model, fault), folder / "broken.onnx")
    return folder / "broken.onnx"


@pytest.mark.parametrize(
    ("kind", "finding"),
    [
        ("BGR for RGB", "the file agrees if the channels of its input are reversed"),
        ("0..1 for 0..255", "the file agrees if its input is multiplied by 255"),
        ("height for width", "the file agrees if height and width of its input are swapped"),
        ("one filter at half its strength", "1 of 72 stored tensors is not the model's: 'stem.conv1.weight'"),
    ],
)
def test_the_cause_is_named(kind: str, finding: str, right: Path, tmp_path: Path) -> None:
    result = nfexport.verify(broken(right, kind, tmp_path), bisect=True)
    assert not result.passed
    assert result.diagnosis is not None
    assert any(finding in found for found in result.diagnosis.findings)


def test_a_second_normalisation_is_named(right: Path, tmp_path: Path) -> None:
    recipe = nfexport.inspect(right).recipe
    assert recipe is not None
    model = ir.load(right)
    Normalize(mean=recipe.preprocessing.mean, std=recipe.preprocessing.std).apply(model)
    ir.save(model, tmp_path / "twice.onnx")
    result = nfexport.verify(tmp_path / "twice.onnx", bisect=True)
    assert not result.passed
    assert result.diagnosis is not None
    assert "the file agrees if its input is not normalised: it normalises once more than the recipe says" in (
        result.diagnosis.findings
    )


def test_what_shows_in_the_other_order_alone_is_tried_in_both() -> None:
    """In the order in which PyTorch ran the batch this file agrees, optimised or not."""
    module, model = mixing()
    under_test = ImageModelUnderTest(**INTERFACE, batch="dynamic")
    report = verify_session_against(module, model, under_test)
    assert report.worst.name.endswith("entries reversed")
    assert diagnose(module, model, under_test, report).findings == ()


def test_where_is_told_on_request_and_offered_on_failure(
    right: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = broken(right, "padding shifted down by one", tmp_path, 2)
    assert run(["verify", str(wrong)]) == 1
    assert "add --bisect" in capsys.readouterr().out
    assert run(["verify", str(wrong), "--bisect", "--json"]) == 1
    diagnosis = json.loads(capsys.readouterr().out)["diagnosis"]
    assert diagnosis["culprit"]["node"] == "/stem/conv3/Conv"
    assert diagnosis["culprit"]["module"] == "stem.conv3"
    assert diagnosis["culprit"]["shape"][1:] == [64, 48, 48]
    assert len(diagnosis["tensors"]) == 111
    assert run(["verify", str(right), "--bisect"]) == 0
    assert "111 of 111 tensors in the file are steps of the model" in " ".join(capsys.readouterr().out.split())


def test_the_recipe_says_that_tensors_may_be_multiples(tmp_path: Path) -> None:
    nfexport.export("test_nfnet", tmp_path / "m.onnx", fold_ws=True, fold_scales=True, image_size=96, verify=False)
    result = nfexport.verify(tmp_path / "m.onnx", bisect=True)
    assert result.diagnosis is not None
    assert result.diagnosis.bisection.culprit is None
    assert result.diagnosis.bisection.count("scaled") > 5


def test_a_self_test_notices_each_fault(right: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(right), "--self-test", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["self_test"]
    assert result["passed"]
    assert len(result["trials"]) >= 8
    assert all(trial["excess"] > 5 for trial in result["trials"])


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The rounding of each batch that PyTorch runs on, in order."""
    ran: list[float] = []
    evaluate = reference.evaluate

    def counted(*args: Any, unit: float, **options: Any) -> reference.Reference:
        ran.append(unit)
        return evaluate(*args, unit=unit, **options)

    monkeypatch.setattr(reference, "evaluate", counted)
    return ran


def test_pytorch_runs_once_on_each_batch(right: Path, units: list[float]) -> None:
    seen: list[str] = []
    result = nfexport.verify(
        right, bisect=True, self_test=True, observe=lambda under_test, case, reference: seen.append(case.name)
    )
    assert result.passed
    assert len(units) == len(seen) == 4


def test_a_bound_of_another_arithmetic_is_no_yardstick(tmp_path: Path, units: list[float]) -> None:
    """A fixed bound is measured in float32; what is looked at inside a file of float16 is not."""
    nfexport.export("test_nfnet", tmp_path / "m.onnx", image_size=96, fold_ws=True, precision="fp16", verify=False)
    # wide enough for float16 and for anything else: asked is the unit that each look is measured in, not the verdict
    bound = FixedTolerance(rtol=1.0, atol=1e3)
    assert nfexport.verify(tmp_path / "m.onnx", tolerance=bound, bisect=True).passed
    assert units == [*[2.0**-23] * 4, 2.0**-10]


def test_a_verification_that_notices_nothing_fails_its_self_test(
    right: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nfexport.verification import tolerance

    monkeypatch.setattr(tolerance, "FLOOR_MAX", 1e12)
    monkeypatch.setattr(tolerance, "FLOOR_RMS", 1e12)
    result = nfexport.verify(right, self_test=True)
    assert result.self_test is not None
    assert not result.self_test.passed
    assert not result.passed
    assert "0 of 9 faults were noticed" in result.self_test.summary()


def test_a_page_and_a_plot_are_written(right: Path, tmp_path: Path) -> None:
    wrong = broken(right, "a branch of a sum at 0.99", tmp_path)
    page, plot = tmp_path / "r.html", tmp_path / "p.png"
    assert run(["verify", str(wrong), "--report", str(page), "--plot", str(plot), "-q"]) == 1
    assert plot.read_bytes().startswith(b"\x89PNG")
    text = page.read_text(encoding="utf-8")
    assert "the first node at fault is" in text
    assert "it is 0.99 times what it should be" in text
    assert "http" not in text.replace("http-equiv", "")
    again = plot.read_bytes()
    assert run(["verify", str(wrong), "--plot", str(plot), "-q"]) == 1
    assert plot.read_bytes() == again


def test_a_page_that_cannot_be_written_stops_before_the_work(
    right: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify", str(right), "--report", str(tmp_path / "nowhere" / "r.html")]) == 2
    assert "name another file with --report" in capsys.readouterr().err


def test_a_runtime_that_is_wrong_is_told_from_a_file_that_is(right: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nfexport.runtimes.reference import ReferenceSession

    run_right = ReferenceSession.run
    monkeypatch.setattr(
        ReferenceSession,
        "run",
        lambda self, feeds: {name: array * 1.01 for name, array in run_right(self, feeds).items()},
    )
    result = nfexport.verify(right, runtimes=["onnxruntime", "reference"], bisect=True)
    assert [report.passed for report in result.reports] == [True, False]
    assert result.diagnosis is not None
    assert result.diagnosis.findings == (
        "in ONNX Runtime every tensor of the file is right, so reference is at fault",
    )


def test_a_missing_extra_is_named_before_the_work(
    right: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run(["verify", str(right), "--plot", str(tmp_path / "p.png")]) == 3
    assert "--plot needs matplotlib, which is not installed; install it with: pip install" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium to open the page in")
def test_the_page_opens_in_a_browser_without_a_network(right: Path, tmp_path: Path) -> None:
    """Headless Chromium, every name unresolvable: nothing on its console, nothing asked of the network."""
    page = tmp_path / "r.html"
    assert run(["verify", str(right), "--report", str(page), "-q"]) == 0
    log = tmp_path / "net.json"
    done = subprocess.run(
        [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--log-net-log={log}",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert 'id="where"' in done.stdout
    assert "data:image/png;base64" in done.stdout
    assert "CONSOLE" not in done.stderr
    asked = {
        event["params"]["url"]
        for event in json.loads(log.read_text())["events"]
        if "url" in event.get("params", {}) and event["params"].get("initiator", "").startswith("file")
    }
    assert {url for url in asked if url.startswith("http")} == set()

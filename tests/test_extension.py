"""A package adds a pass, a runtime, a source and a format: on the command line, in the recipe, in the verifier."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXTENSION = Path(__file__).parents[1] / "examples" / "extension"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder into which the package was installed, by pip."""
    folder = tmp_path_factory.mktemp("site")
    words = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(folder), str(EXTENSION)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, capture_output=True)
    return folder


def run(site: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    return subprocess.run(
        [sys.executable, "-m", "nfexport", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def as_json(site: Path, *words: str, cwd: Path) -> Any:
    done = run(site, *words, "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_command_line_knows_all_four(installed: Path, tmp_path: Path) -> None:
    text = run(installed, "export", "--help", cwd=tmp_path).stdout
    assert "--limit-relu LIMIT" in text
    assert "onnxtxt" in text
    assert "--limit-relu LIMIT" in run(installed, "surgery", "--help", cwd=tmp_path).stdout
    entry = as_json(installed, "passes", "limit-relu", cwd=tmp_path)
    assert entry["formula"] == "Relu(x) → Min(Relu(x), limit)"
    assert entry["origin"] == "nfexport_extension.limit_relu:LimitRelu"
    without = run(tmp_path, "export", "--help", cwd=tmp_path).stdout
    assert "--limit-relu" not in without


@pytest.fixture(scope="module")
def exported(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("exported")
    words = ("toy:relu", "--limit-relu", "1e6", "--to", "onnxtxt", "-o", "toy.onnx")
    return folder, as_json(installed, *words, cwd=folder)


def test_the_recipe_names_the_pass_with_its_version_and_the_digest_of_its_code(exported: tuple[Path, Any]) -> None:
    _, result = exported
    assert result["recipe"]["architecture"] == "toy:relu"
    (step,) = [step for step in result["recipe"]["passes"] if step["name"] == "limit-relu"]
    assert step["params"] == {"limit": 1e6}
    assert step["origin"]["package"] == "nfexport-extension"
    assert step["origin"]["version"] == "1.2.3"
    assert len(step["origin"]["sha256"]) == 64
    assert step["origin"]["changes"] == ["numbers"]


def test_the_format_is_written_next_to_the_file(exported: tuple[Path, Any]) -> None:
    folder, result = exported
    assert result["converted"]["format"] == "onnxtxt"
    assert "Min" in (folder / "toy.onnxtxt").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_runtime_verifies_the_file(installed: Path, exported: tuple[Path, Any]) -> None:
    folder, _ = exported
    result = as_json(installed, "verify", "toy.onnx", "--runtime", "unoptimised", cwd=folder)
    assert result["passed"] is True
    assert result["verification"]["runtime"] == "unoptimised"
    rebuilt = as_json(installed, "rebuild", "toy.onnx", cwd=folder)
    assert rebuilt["reproduced"] is True


@pytest.mark.slow
def test_a_pass_that_changes_the_function_is_caught(installed: Path, tmp_path: Path) -> None:
    done = run(installed, "toy:relu", "--limit-relu", "0.1", "-o", "toy.onnx", cwd=tmp_path)
    assert done.returncode == 1
    assert "does not equal toy:relu" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_without_the_package_the_file_can_be_looked_at_but_not_rebuilt(
    exported: tuple[Path, Any], tmp_path: Path
) -> None:
    folder, _ = exported
    assert run(tmp_path, "inspect", "toy.onnx", cwd=folder).returncode == 0
    done = run(tmp_path, "rebuild", "toy.onnx", cwd=folder)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


FILE_PASS = '''
from nfexport import Pass

class SwapAdd(Pass):
    """Swap the operands of every Add."""

    name = "swap-add"
    formula = "Add(a, b) → Add(b, a)"
    times: int = 1

    def call(self, model):
        nodes = [node for node in model.graph if node.op_type == "Add"]
        for node in nodes * self.times:
            first, second = node.inputs
            node.replace_input_with(0, second)
            node.replace_input_with(1, first)
        return self.rewrote(model, [node.name for node in nodes], "operands swapped")
'''


@pytest.mark.slow
def test_a_pass_in_a_file_runs_on_export_and_surgery_and_again(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FILE_PASS, encoding="utf-8")
    words = ("test_nfnet", "--image-size", "96", "--fold-ws", "--pass", "mine.py:SwapAdd:times=3", "-o", "m.onnx")
    result = as_json(tmp_path, *words, cwd=tmp_path)
    assert result["verification"]["passed"] is True
    (step,) = [step for step in result["recipe"]["passes"] if step["name"] == "swap-add"]
    assert step["params"] == {"times": 3}
    again = ("rebuild", "m.onnx", "--pass", "mine.py:SwapAdd", "--no-verify")
    assert as_json(tmp_path, *again, cwd=tmp_path)["reproduced"] is True
    surgery = as_json(tmp_path, "surgery", "m.onnx", "-o", "s.onnx", "--pass", "mine.py:SwapAdd", cwd=tmp_path)
    assert [entry["name"] for entry in surgery["ledger"] if entry["changed"]] == ["swap-add"]
    (tmp_path / "mine.py").write_text(FILE_PASS + "\n# changed\n", encoding="utf-8")
    done = run(tmp_path, *again, cwd=tmp_path)
    assert done.returncode == 1
    assert "code of the pass 'swap-add'" in done.stdout


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("missing.py:Pass", "'missing.py' does not exist"),
        ("mine.py:Other", "'mine.py' has no 'Other'"),
        ("mine.py:SwapAdd:times=x", "the parameters of the pass 'swap-add' are not valid"),
        ("mine.py:SwapAdd:often=3", "unknown field `often`"),
        ("broken.py:SwapAdd", "'broken.py' cannot be imported (ZeroDivisionError"),
        ("mine.py:text", "'text' is no"),
        ("no-such-pass", "there is no graph pass 'no-such-pass'"),
    ],
)
def test_a_pass_that_cannot_be_used_is_named_in_one_sentence(reference: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FILE_PASS + "\ntext = 'not a pass'\n", encoding="utf-8")
    (tmp_path / "broken.py").write_text("1 / 0\n", encoding="utf-8")
    done = run(tmp_path, "test_nfnet", "--pass", reference, "-o", "m.onnx", cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "m.onnx").exists()

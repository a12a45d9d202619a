"""A file against its golden: each kind of change has its line, each bad golden is refused in one sentence."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import nfexport
from nfexport.cli import run
from nfexport.errors import EXIT_INPUT, EXIT_OK, EXIT_VERIFICATION, GoldenError, InputError
from nfexport.goldens import golden_check
from nfexport.goldens.fingerprint import fingerprint
from nfexport.goldens.golden_check import check_golden
from nfexport.runtimes import open_session
from nfexport.workflows.golden import record_golden
from tests.goldens.changed import (
    WEIGHT,
    drop_metadata,
    edit,
    fix_batch,
    insert_identity,
    raise_opset,
    rename_node,
    rename_output,
    scale_weight,
)


def golden_of(file: Path) -> Path:
    return file.with_suffix(".golden")


def change_manifest(file: Path, /, **fields: Any) -> None:
    path = golden_of(file) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_the_file_that_was_recorded_passes(small: Path) -> None:
    result = check_golden(small)
    assert result.passed
    assert result.excess is not None
    assert 0 < result.excess <= 1


@pytest.mark.parametrize(
    ("change", "kinds", "words"),
    [
        (scale_weight(1.0000001), {"weights"}, f"1 of 72 changed: '{WEIGHT}'"),
        (scale_weight(1.003), {"weights", "numbers"}, "times what is allowed"),
        (scale_weight(float("nan")), {"weights", "numbers"}, "3000 of 3000 values are not finite"),
        (drop_metadata, {"recipe"}, "the file has none"),
        (rename_node, {"operators"}, "the same numbers, but different names, connections or attributes"),
        (insert_identity, {"operators"}, "Identity 0 → 1"),
        (raise_opset, {"opset"}, "ai.onnx was 11, and is 12"),
        (rename_output, {"interface", "operators"}, "the outputs were 'output' float32 [batch, 1000], and are"),
        (fix_batch, {"interface", "numbers"}, "not compared, because the inputs of the file differ"),
    ],
)
def test_each_kind_of_change_is_told_apart(
    small: Path, change: Callable[[onnx.ModelProto], None], kinds: set[str], words: str
) -> None:
    edit(small, change)
    result = check_golden(small)
    assert {found.kind for found in result.changes} == kinds
    assert any(words in found.text for found in result.changes), result.changes


@pytest.mark.parametrize(
    ("change", "passes"),
    [
        (scale_weight(1.0000001), True),
        (drop_metadata, True),
        (insert_identity, True),
        (scale_weight(1.003), False),
        (raise_opset, False),
        (rename_output, False),
    ],
)
def test_numbers_only_lets_pass_what_leaves_numbers_and_interface_alone(
    small: Path, change: Callable[[onnx.ModelProto], None], passes: bool
) -> None:
    edit(small, change)
    result = check_golden(small, numbers_only=True)
    assert result.passed is passes
    assert result.forgiven or not passes


def test_a_recipe_that_changed_says_in_which_field(small: Path) -> None:
    nfexport.export("test_nfnet", small, opset=12, fold_ws=True, image_size=64, verify=False)
    texts = {change.kind: change.text for change in check_golden(small).changes}
    assert texts["opset"] == "ai.onnx was 11, and is 12"
    assert texts["recipe"].startswith("opset was 11, and is 12")


def test_a_golden_of_another_model_is_bad_input(small: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    nfexport.export("test_efficientnet", other, image_size=64, verify=False)
    with pytest.raises(GoldenError, match=r"is of test_nfnet, and '.*other.onnx' is test_efficientnet; name its own"):
        check_golden(other, golden_of(small))
    with pytest.raises(GoldenError, match="is of test_nfnet"):
        run_raising(["golden", "check", str(other), "--golden", str(golden_of(small)), "--update"])


def run_raising(args: list[str]) -> None:
    from nfexport.cli import nfexport as command

    command.main(args, standalone_mode=False)


def corrupt(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def break_values(file: Path) -> None:
    """A tensor that is damaged, and a manifest that was mended to fit."""
    path = golden_of(file) / "test_data_set_0" / "output_0.pb"
    path.write_bytes(b"\xff" * 40)
    manifest = json.loads((golden_of(file) / "manifest.json").read_text())
    manifest["data_sets"][0]["outputs"][0]["sha256"] = hashlib.sha256(b"\xff" * 40).hexdigest()
    change_manifest(file, **manifest)


def other_shape(file: Path) -> None:
    manifest = json.loads((golden_of(file) / "manifest.json").read_text())
    manifest["data_sets"][0]["outputs"][0]["shape"] = [3, 10]
    change_manifest(file, **manifest)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda f: shutil.rmtree(golden_of(f)),
            "the golden of '.*', does not exist; record one with 'nfexport golden record",
        ),
        (
            lambda f: (golden_of(f) / "manifest.json").unlink(),
            "is not a golden: it has no manifest.json; record it again",
        ),
        (lambda f: (golden_of(f) / "manifest.json").write_text("{"), r"manifest.json' is not JSON \("),
        (lambda f: (golden_of(f) / "manifest.json").write_bytes(b"\xff"), r"manifest.json' is not JSON \("),
        (
            lambda f: (golden_of(f) / "manifest.json").write_text("{}"),
            "is not the manifest of a golden; name another",
        ),
        (lambda f: change_manifest(f, format=9), "has format 9, this nfexport reads 1; update nfexport"),
        (
            lambda f: change_manifest(f, mood="good"),
            r"does not have the fields of format 1 \(object contains unknown field `mood`",
        ),
        (lambda f: change_manifest(f, data_sets=[]), r"`array` of length >= 1 - at `\$.data_sets`"),
        (lambda f: change_manifest(f, operators=[]), r"expected `object`, got `array` - at `\$.operators`"),
        (
            lambda f: change_manifest(f, interface={"inputs": [1], "outputs": []}),
            r"expected `object`, got `int` - at `\$.interface.inputs\[0\]`",
        ),
        (
            lambda f: corrupt(golden_of(f) / "test_data_set_1" / "output_0.pb"),
            "is not the file that was recorded: its sha256",
        ),
        (
            lambda f: corrupt(golden_of(f) / "test_data_set_0" / "input_0.pb"),
            "input_0.pb' is not the file that was recorded",
        ),
        (
            lambda f: (golden_of(f) / "test_data_set_1" / "output_0.pb").unlink(),
            "incomplete: '.*output_0.pb' is miss",
        ),
        (lambda f: shutil.rmtree(golden_of(f) / "test_data_set_2"), "incomplete: '.*input_0.pb' is missing; fetch"),
        (break_values, "output_0.pb' does not hold a tensor"),
        (other_shape, r"holds float32 \[3, 1000\] where the manifest says float32 \[3, 10\]"),
    ],
)
def test_a_bad_golden_is_one_sentence_and_exit_code_2(
    small: Path, damage: Callable[[Path], object], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(small)
    with pytest.raises(GoldenError, match=words):
        check_golden(small)
    assert run(["golden", "check", str(small)]) == EXIT_INPUT
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("nfexport: ")


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in the manifest, the first of each list and the first weight standing for the rest."""
    yield at
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for index, (key, child) in enumerate(children):
        if index == 0 or (isinstance(value, dict) and at not in (("weights",), ("recipe",), ("operators",))):
            yield from places(child, (*at, key))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # images of infinite size
@pytest.mark.parametrize("nonsense", [None, -1, "x", float("inf")])
def test_nonsense_anywhere_in_a_manifest_is_an_error_or_a_result_and_never_a_traceback(
    compact: Path, nonsense: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = compact
    path = golden_of(small) / "manifest.json"
    text = path.read_text()
    session, facts = open_session(small), fingerprint(small)
    monkeypatch.setattr(golden_check, "open_session", lambda *_, **__: session)
    monkeypatch.setattr(golden_check, "fingerprint", lambda _: facts)
    refused = 0
    for place in places(json.loads(text)):
        raw = json.loads(text)
        inner = raw
        for key in place[:-1]:
            inner = inner[key]
        if place:
            inner[place[-1]] = nonsense
        path.write_text(json.dumps(raw if place else nonsense))
        try:
            json.dumps(check_golden(small).to_dict())
        except InputError:
            refused += 1
    assert refused > 20


def change_first_output(file: Path, /, **fields: Any) -> None:
    manifest = json.loads((golden_of(file) / "manifest.json").read_text())
    manifest["data_sets"][0]["outputs"][0] |= fields
    change_manifest(file, **manifest)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"max_abs": [1e-6, 1e301, 1e-6]},
            r"expected `float` <= 1e\+300 - at `\$.data_sets\[0\].outputs\[0\].max_abs",
        ),
        ({"max_abs": [1e-6, -1.0, 1e-6]}, "expected `float` >= 0.0"),
        ({"max_abs": [float("inf")] * 3}, "is not JSON"),
        ({"max_abs": [1.0] * 2}, "'output' has 2 limits for 3 images"),
        ({"max_abs": None}, "'output' has only one of the limits max_abs and rms"),
        ({"dtype": "bool"}, "'output' has limits, but no numbers to compare"),
        ({"choices": [[[1], [2]]] * 3}, "choices for 2 places, which are not those of its shape"),
        ({"sha256": None}, "the output 'output' has no sha256"),
        ({"file": "../../../secret.pb"}, "a string is not of the expected form - at"),
        ({"name": "a\x1b]0;b\x07"}, "a string is not of the expected form - at"),
    ],
)
def test_a_tensor_that_could_pass_anything_or_reach_elsewhere_is_refused(
    small: Path, fields: dict[str, Any], words: str
) -> None:
    change_first_output(small, **fields)
    with pytest.raises(GoldenError, match=words) as caught:
        check_golden(small)
    assert not re.search(r"[\x00-\x1f]", str(caught.value))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"file": "/etc/passwd"}, "a string is not of the expected form - at `\\$.file`"),
        ({"file": ".."}, "a string is not of the expected form - at `\\$.file`"),
        ({"tolerance": "5 times\nnfexport: passed"}, "a string is not of the expected form - at `\\$.tolerance`"),
        ({"seed": 2**70}, "expected `int` <= "),
        ({"seed": True}, "expected `int`, got `bool`"),
        ({"versions": {"torch\x1b[2J": "2"}}, "a string is not of the expected form - at `key` in"),
        ({"\x1b[2J": 1}, r"unknown field `\?\[2J`"),
        ({"reference": "faith"}, "invalid enum value 'faith'"),
    ],
)
def test_strings_and_numbers_of_a_manifest_are_checked(small: Path, fields: dict[str, Any], words: str) -> None:
    change_manifest(small, **fields)
    with pytest.raises(GoldenError, match=words) as caught:
        check_golden(small)
    assert not re.search(r"[\x00-\x1f]", str(caught.value))


def test_a_manifest_nested_10_000_levels_deep_is_one_sentence(small: Path) -> None:
    (golden_of(small) / "manifest.json").write_text("[" * 10_000 + "]" * 10_000)
    with pytest.raises(GoldenError, match="is nested too deeply"):
        check_golden(small)


@pytest.mark.parametrize("recipe", [{"passes": 5}, {"passes": [5]}, {"passes": [{"params": 3}]}, {"weights": [1]}])
def test_a_recipe_of_any_shape_in_a_manifest_is_only_compared(small: Path, recipe: dict[str, Any]) -> None:
    change_manifest(small, recipe={"architecture": "test_nfnet", **recipe})
    assert "recipe" in {change.kind for change in check_golden(small).changes}


@pytest.mark.parametrize(
    ("labels", "words"),
    [("\x1b[2J", "holds a string with control characters or markup"), ([[[]] * 3] * 400_000, "more than 1,000,000")],
)
def test_strings_in_the_recipe_of_a_manifest_are_checked(small: Path, labels: Any, words: str) -> None:
    recipe = json.loads((golden_of(small) / "manifest.json").read_text())["recipe"]
    change_manifest(small, recipe=recipe | {"labels": labels})
    with pytest.raises(GoldenError, match=f"cannot be trusted: its recipe .*{words}"):
        check_golden(small)


def test_names_from_a_file_reach_the_terminal_without_control_characters(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def hostile(proto: onnx.ModelProto) -> None:
        before, after = proto.graph.initializer[0].name, "\x1b]0;INJECTED\x07"
        proto.graph.initializer[0].name = after
        for node in proto.graph.node:
            node.input[:] = [after if name == before else name for name in node.input]

    edit(small, hostile)
    assert run(["golden", "check", str(small)]) == EXIT_VERIFICATION
    captured = capsys.readouterr()
    assert "INJECTED" in captured.err
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", captured.out + captured.err)


def test_values_in_another_file_are_not_read(small: Path) -> None:
    (small.parent / "secret").write_bytes(bytes(12_000))
    proto = onnx.TensorProto(name="output", data_type=1, dims=[3, 1000], data_location=onnx.TensorProto.EXTERNAL)
    proto.external_data.add(key="location", value=str(small.parent / "secret"))
    content = proto.SerializeToString()
    (golden_of(small) / "test_data_set_0" / "output_0.pb").write_bytes(content)
    change_first_output(small, sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(GoldenError, match=r"does not hold a tensor \(its values are in another file"):
        check_golden(small)


def test_inputs_of_gigabytes_are_not_drawn(compact: Path) -> None:
    subject = json.loads((golden_of(compact) / "manifest.json").read_text())["subject"]
    change_manifest(compact, subject=subject | {"image_size": [65_536, 65_536]})
    with pytest.raises(GoldenError, match="a batch has more than 268,435,456 elements"):
        check_golden(compact)


def test_a_runtime_that_is_not_there_is_bad_input(small: Path) -> None:
    with pytest.raises(InputError, match="there is no runtime 'abacus'"):
        check_golden(small, runtime="abacus")


def test_what_the_runtime_cannot_run_is_a_failed_check(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nfexport.goldens import golden_check

    class Stops:
        runtime, version = "abacus", "1"
        inputs, outputs = {"input": ("batch", 3, 64, 64)}, ("output",)

        def run(self, _: object) -> dict[str, np.ndarray]:
            raise RuntimeError("a bead is missing")

    monkeypatch.setattr(golden_check, "open_session", lambda *_, **__: Stops())
    (change,) = check_golden(small).changes
    assert "abacus stopped on 'normal+gradient+blocks' (batch 3): a bead is missing" in change.text


def test_the_command_says_one_line_for_each_change(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["golden", "check", str(small)]) == EXIT_OK
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.splitlines()[-1].split() == ["result", "passed"]
    edit(small, scale_weight(1.01))
    assert run(["golden", "check", "-q", str(small)]) == EXIT_VERIFICATION
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line.split(": ")[2] for line in captured.err.splitlines()] == ["weights", "numbers"]
    assert run(["golden", "check", "--json", str(small)]) == EXIT_VERIFICATION
    result = json.loads(capsys.readouterr().out)
    assert result["passed"] is False
    assert result["changes"][0]["kind"] == "weights"
    assert result["excess"] > 1


def test_update_says_what_differs_and_records_the_file_as_it_is(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nfexport.export("test_nfnet", small, opset=12, fold_ws=True, image_size=64, verify=False)
    assert run(["golden", "check", "--update", str(small)]) == EXIT_OK
    captured = capsys.readouterr()
    assert "opset: ai.onnx was 11, and is 12" in captured.err
    assert check_golden(small).passed
    assert (golden_of(small) / "model.onnx").read_bytes() == small.read_bytes()


def test_update_leaves_a_golden_that_fits(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = golden_of(small).stat().st_ino
    assert run(["golden", "check", "--update", str(small)]) == EXIT_OK
    assert "passed" in capsys.readouterr().out
    assert golden_of(small).stat().st_ino == before
    edit(small, rename_node)
    assert run(["golden", "check", "--update", "--numbers-only", str(small)]) == EXIT_OK
    assert "operators: the same numbers" in capsys.readouterr().err
    assert check_golden(small).passed


def test_update_mends_a_damaged_golden_but_records_no_wrong_file(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corrupt(golden_of(small) / "test_data_set_0" / "output_0.pb")
    assert run(["golden", "check", "--update", "-q", str(small)]) == EXIT_OK
    assert "is not the file that was recorded" in capsys.readouterr().err
    assert check_golden(small).passed
    before = (golden_of(small) / "manifest.json").read_bytes()
    edit(small, scale_weight(1.01))
    assert run(["golden", "check", "--update", "-q", str(small)]) == EXIT_VERIFICATION
    assert "nothing was recorded" in capsys.readouterr().err
    assert (golden_of(small) / "manifest.json").read_bytes() == before


def test_update_keeps_the_form_of_the_golden(small: Path) -> None:
    record_golden(small, force=True, compact=True, seed=5)
    edit(small, rename_node)
    assert run(["golden", "check", "--update", "-q", str(small)]) == EXIT_OK
    result = check_golden(small)
    assert result.manifest.compact
    assert result.manifest.seed == 5
    assert not (golden_of(small) / "model.onnx").exists()


@pytest.mark.parametrize("form", ["small", "compact"])
def test_a_check_runs_where_only_click_numpy_onnx_and_onnxruntime_are_installed(
    form: str, request: pytest.FixtureRequest
) -> None:
    small: Path = request.getfixturevalue(form)
    code = (
        "import sys\n"
        "others = 'torch torchvision timm onnx_ir onnxscript rich safetensors huggingface_hub onnxsim'\n"
        "sys.modules.update({name: None for name in others.split()})\n"
        "from nfexport.cli import run\n"
        f"sys.exit(run(['golden', 'check', {str(small)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (EXIT_OK, "")


def test_that_test_can_fail() -> None:
    code = "import sys; sys.modules['onnx_ir'] = None; import nfexport.workflows.golden"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 1

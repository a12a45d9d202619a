"""What a golden holds, when none is written, and that ONNX's own tools read it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper
from onnx.backend.base import Backend, BackendRep
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

import nfexport
from nfexport.errors import EXIT_OK, EXIT_VERIFICATION, GoldenError, OnnxFileError, OutputError, VerificationFailed
from nfexport.goldens import data_sets, writer
from nfexport.goldens.golden_check import check_golden
from nfexport.goldens.limits import expect_indices, expect_values, judge
from nfexport.goldens.manifest import read_manifest
from nfexport.verification.tolerance import Float32Tolerance, Yardstick
from nfexport.workflows.golden import record_golden
from tests.goldens.changed import drop_metadata, edit, scale_weight


def golden_of(file: Path) -> Path:
    return file.with_suffix(".golden")


class OnnxRuntimeBackend(Backend):
    """ONNX Runtime as onnx's backend tests see a runtime."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **_: object) -> BackendRep:
        session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

        class Prepared(BackendRep):
            def run(self, inputs: list[np.ndarray], **_: object) -> tuple[np.ndarray, ...]:
                names = [entry.name for entry in session.get_inputs()]
                return tuple(session.run(None, dict(zip(names, inputs, strict=True))))

        return Prepared()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning:onnx.backend")  # its node cases overflow on purpose
def test_onnx_s_own_backend_runner_finds_and_passes_it(small: Path, tmp_path: Path) -> None:
    cases = tmp_path / "data" / "model"
    cases.mkdir(parents=True)
    golden_of(small).rename(cases / "test_small")
    (case,) = load_model_tests(str(tmp_path / "data"), "model")
    assert case.model_dir == str(cases / "test_small")
    assert 0 < case.atol < 1e-4  # the golden's own limit, in place of onnx's rtol of 1e-3
    assert case.rtol == 0
    runner = Runner(OnnxRuntimeBackend, None)
    runner._add_model_test(case, "Model")
    item = runner._test_items["ModelModel"]["test_small_cpu"]
    item.func(None)
    # and it can fail: the runner reads our outputs, not its own
    edit(cases / "test_small" / "model.onnx", scale_weight(1.01))
    with pytest.raises(AssertionError):
        item.func(None)


def test_each_data_set_is_a_batch_of_the_verifier_with_pytorch_s_float64_rounded(small: Path) -> None:
    golden = golden_of(small)
    folders = sorted(path.name for path in golden.iterdir() if path.is_dir())
    assert folders == [f"test_data_set_{index}" for index in range(4)]
    shapes = []
    for folder in folders:
        for name in ("input_0.pb", "output_0.pb"):
            tensor = onnx.TensorProto.FromString((golden / folder / name).read_bytes())
            assert tensor.name == name.split("_")[0]
            shapes.append(tuple(numpy_helper.to_array(tensor).shape))
    assert shapes == [shape for batch in (3, 1, 2, 3) for shape in ((batch, 3, 64, 64), (batch, 1000))]


def test_the_manifest_says_what_the_file_is_and_nothing_of_where_it_was_made(small: Path) -> None:
    text = (golden_of(small) / "manifest.json").read_text()
    raw = json.loads(text)
    assert raw["file"] == "small.onnx"
    assert raw["recipe"]["architecture"] == "test_nfnet"
    assert raw["opset_imports"] == {"": 11}
    assert raw["operators"]["Conv"] == 33
    assert raw["versions"].keys() == {"nfexport", "numpy", "onnx", "onnxruntime", "timm", "torch"}
    assert str(small.parent) not in text
    manifest = read_manifest(golden_of(small))
    assert manifest.to_json() == text


def test_recording_twice_gives_the_same_bytes(small: Path, tmp_path: Path) -> None:
    record_golden(small, tmp_path / "again.golden", with_model=True)
    for path in golden_of(small).rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "again.golden" / path.relative_to(golden_of(small))).read_bytes()


def test_a_compact_golden_draws_its_inputs_anew_and_is_small(small: Path, tmp_path: Path) -> None:
    result = record_golden(small, tmp_path / "c.golden", compact=True)
    assert not list((tmp_path / "c.golden").rglob("input_*"))
    assert not (tmp_path / "c.golden" / "model.onnx").exists()
    assert result.size < 60_000
    assert check_golden(small, tmp_path / "c.golden").excess == check_golden(small).excess
    kept = [inputs for _, inputs, _ in data_sets.load_data_sets(golden_of(small), read_manifest(golden_of(small)))]
    anew = [inputs for _, inputs, _ in data_sets.load_data_sets(result.folder, result.manifest)]
    for before, after in zip(kept, anew, strict=True):
        assert before["input"].tobytes() == after["input"].tobytes()


def test_inputs_that_cannot_be_drawn_as_they_were_are_no_golden(small: Path, tmp_path: Path) -> None:
    folder = record_golden(small, tmp_path / "c.golden", compact=True).folder
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["seed"] = 7
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(GoldenError, match="cannot be drawn anew: this nfexport draws different ones"):
        check_golden(small, folder)
    del manifest["subject"]["preprocessing"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(GoldenError, match="object missing required field `preprocessing`"):
        check_golden(small, folder)


def test_a_file_that_is_not_its_model_is_not_recorded(small: Path, tmp_path: Path) -> None:
    edit(small, scale_weight(1.01))
    with pytest.raises(VerificationFailed, match=r"does not equal test_nfnet: onnxruntime .* differs") as caught:
        record_golden(small, tmp_path / "new.golden")
    assert caught.value.exit_code == EXIT_VERIFICATION
    assert not (tmp_path / "new.golden").exists()


def test_a_golden_is_replaced_only_by_force_and_other_folders_never(small: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="exists already; pass --force to replace it"):
        record_golden(small)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(OutputError, match=r"holds 'thesis.tex', which is not part of a golden"):
        record_golden(small, tmp_path / "mine", force=True)
    with pytest.raises(OutputError, match="is a file"):
        record_golden(small, small)
    with pytest.raises(OutputError, match="does not exist"):
        record_golden(small, tmp_path / "no" / "where.golden")
    old = (golden_of(small) / "manifest.json").read_text()
    record_golden(small, seed=3, force=True)
    assert (golden_of(small) / "manifest.json").read_text() != old
    assert sorted(path.name for path in small.parent.iterdir()) == ["small.golden", "small.onnx"]


def test_a_link_to_a_golden_stays_a_link(small: Path, tmp_path: Path) -> None:
    golden_of(small).rename(tmp_path / "elsewhere")
    golden_of(small).symlink_to(tmp_path / "elsewhere")
    record_golden(small, force=True, compact=True)
    assert golden_of(small).is_symlink()
    assert read_manifest(tmp_path / "elsewhere").compact
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "work"]


def test_weights_that_do_not_say_where_they_are(small: Path, tmp_path: Path) -> None:
    onnx.save(onnx.load(small), tmp_path / "p.onnx", save_as_external_data=True, location="p.data", size_threshold=0)
    assert check_golden(tmp_path / "p.onnx", golden_of(small)).passed  # the same weights, in a file of their own
    proto = onnx.load(tmp_path / "p.onnx", load_external_data=False)
    entries = proto.graph.initializer[0].external_data
    del entries[:]
    onnx.save(proto, tmp_path / "p.onnx")
    with pytest.raises(OnnxFileError, match="in another file, and does not name it"):
        check_golden(tmp_path / "p.onnx", golden_of(small))


def test_what_stops_half_way_leaves_the_old_golden(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted((path.name, path.stat().st_size) for path in small.parent.rglob("*"))
    monkeypatch.setattr(writer, "write_files", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OutputError, match="cannot be written"):
        record_golden(small, force=True)
    assert sorted((path.name, path.stat().st_size) for path in small.parent.rglob("*")) == before


def test_an_interrupt_between_the_renames_keeps_the_old_golden(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    golden = golden_of(small)
    replace = Path.replace

    def interrupted(path: Path, target: Path) -> Path:
        moved = replace(path, target)
        if path == golden:
            raise KeyboardInterrupt
        return moved

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record_golden(small, trust=True, force=True, seed=3)
    assert sorted(path.name for path in small.parent.iterdir()) == ["small.golden", "small.onnx"]
    assert read_manifest(golden).seed == 0


def test_without_a_recipe_only_trust_records(small: Path, tmp_path: Path) -> None:
    edit(small, drop_metadata)
    with pytest.raises(OnnxFileError, match=r"has no recipe, so there is no model .* pass --trust"):
        record_golden(small, tmp_path / "t.golden")
    with pytest.raises(GoldenError, match="leave --compact out"):
        record_golden(small, tmp_path / "t.golden", trust=True, compact=True)
    result = record_golden(small, tmp_path / "t.golden", trust=True)
    assert result.manifest.reference == "onnxruntime"
    outcome = check_golden(small, result.folder)
    assert outcome.passed
    assert outcome.excess is not None
    assert outcome.excess <= 1
    edit(small, scale_weight(1.01))
    assert {change.kind for change in check_golden(small, result.folder).changes} == {"weights", "numbers"}


def test_trust_takes_files_that_take_no_images_and_give_whole_numbers(tmp_path: Path) -> None:
    text = """
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[N, 4] x, int64[N] shift) => (float[N, 4] y, int64[N] best, float total) {
            y = Tanh(x)
            top = ArgMax<axis=1, keepdims=0>(x)
            best = Add(top, shift)
            total = ReduceSum<keepdims=0>(y)
        }
    """
    file = tmp_path / "theirs.onnx"
    onnx.save(onnx.parser.parse_model(text), file)
    result = record_golden(file, trust=True)
    data = result.manifest.data_sets[0]
    assert [tensor.name for tensor in data.inputs] == ["x", "shift"]
    assert [tensor.max_abs is None for tensor in data.outputs] == [False, True, True]
    assert check_golden(file).passed


def test_what_gives_nan_is_not_recorded(tmp_path: Path) -> None:
    text = """
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[2, 4] x) => (float[2, 4] y) { y = Log(x) }
    """
    file = tmp_path / "nan.onnx"
    onnx.save(onnx.parser.parse_model(text), file)
    with pytest.raises(VerificationFailed, match=r"the output 'y' of .* is not finite on"):
        record_golden(file, trust=True)
    assert not (tmp_path / "nan.golden").exists()


def test_a_copy_of_a_file_in_pieces_is_refused(small: Path, tmp_path: Path) -> None:
    proto = onnx.load(small)
    onnx.save(proto, tmp_path / "pieces.onnx", save_as_external_data=True, location="pieces.data", size_threshold=0)
    with pytest.raises(OnnxFileError, match="leave --with-model out"):
        record_golden(tmp_path / "pieces.onnx", with_model=True)


def test_every_form_of_file_is_recorded(tmp_path: Path) -> None:
    file = tmp_path / "raw.onnx"
    nfexport.export(
        "test_nfnet",
        file,
        image_size=64,
        fold_ws=True,
        verify=False,
        normalize="fold",
        input_range=255,
        input_dtype="uint8",
        batch=2,
        outputs=["probs", "topk"],
        precision="fp16-weights",
    )
    result = record_golden(file)
    outputs = {tensor.name: tensor for tensor in result.manifest.data_sets[0].outputs}
    assert [outputs[name].dtype for name in ("probs", "topk_values", "topk_indices")] == [
        "float32",
        "float32",
        "int64",
    ]
    assert outputs["topk_indices"].choices is not None
    assert result.manifest.data_sets[0].inputs[0].dtype == "uint8"
    assert check_golden(file).passed


RULE = Float32Tolerance()


def test_limits_are_the_verifier_s_and_what_rounding_to_the_file_s_type_costs() -> None:
    expected = np.array([[1.0, 2.0, 1 + 2**-12]])
    runs = [expected.astype(np.float32)]
    tensor, rounded = expect_values("y", expected, runs, RULE, np.dtype("float16"))
    assert rounded.dtype == np.float16
    limits = RULE.limits(expected, nfexport_measure(runs, expected))
    assert tensor.max_abs == pytest.approx((limits.max_abs[0] + 2**-12,), rel=1e-12)
    assert tensor.rms == pytest.approx((limits.rms[0] + 2**-12 / np.sqrt(3),), rel=1e-12)


def nfexport_measure(runs: list[np.ndarray], expected: np.ndarray) -> Yardstick:
    from nfexport.verification.tolerance import measure

    return measure(runs, expected)


def test_indices_may_stand_in_either_order_only_where_rounding_cannot_tell_them_apart() -> None:
    scores = np.array([[0.5, 0.3, 0.3 + 1e-9, 0.1]])
    tensor, indices = expect_indices("i", scores, [scores.astype(np.float32)], RULE, np.dtype("int64"), k=3)
    assert tensor.choices == (((0,), (1, 2), (1, 2)),)
    assert indices.tolist() == [[0, 2, 1]]
    assert judge(np.array([[0, 1, 2]]), indices, tensor) == (0.0, "")
    assert "class 1 at place 0 instead of 0" in judge(np.array([[1, 0, 2]]), indices, tensor)[1]
    assert "names a class twice" in judge(np.array([[0, 1, 1]]), indices, tensor)[1]


def test_the_command_says_what_it_wrote(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from nfexport.cli import run

    assert run(["golden", "record", str(small), "-o", str(tmp_path / "x"), "--compact"]) == EXIT_OK
    out = " ".join(capsys.readouterr().out.split())
    assert "data sets 4, seed 0; inputs left out, drawn anew from the seed" in out
    assert "of what is allowed" in out
    assert run(["golden", "record", str(small), "-o", str(tmp_path / "y"), "--json"]) == EXIT_OK
    assert json.loads(capsys.readouterr().out)["manifest"]["format"] == 1

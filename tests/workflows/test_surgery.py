"""Surgery from end to end: the outcome equals the source behind the same preprocessing, the recipe is kept
up to date, and what is wrong is refused with nothing written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

import nfexport
from nfexport.cli import run
from nfexport.errors import NfexportError, PassError, RecipeError, VerificationFailed
from nfexport.passes.front.normalize import Normalize
from nfexport.passes.result import PassOutcome
from tests.passes import graphs

if TYPE_CHECKING:
    from nfexport.workflows.keywords import SurgeryKeywords


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "plain.onnx"
    nfexport.export("test_nfnet", path, image_size=96, opset=11, num_classes=20, verify=False)
    return path


@pytest.fixture
def theirs(exported: Path, tmp_path: Path) -> Path:
    """The same file as somebody else would have made it: without a recipe."""
    proto = onnx.load(exported)
    del proto.metadata_props[:]
    path = tmp_path / "theirs.onnx"
    onnx.save(proto, path)
    return path


EVERYTHING: SurgeryKeywords = {
    "fold_ws": True,
    "fold_scales": True,
    "normalize": "fold",
    "channels": "bgr",
    "input_dtype": "uint8",
    "input_layout": "nhwc",
    "outputs": ("probs", "topk"),
    "top_k": 3,
    "rename": {"input": "image"},
    "batch": 2,
    "opset": 13,
    "strip": True,
}


def test_everything_at_once_verifies_against_the_source_and_against_the_model(exported: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.onnx"
    result = nfexport.surgery(exported, target, **EVERYTHING)
    assert result.verification is not None
    assert result.verification.passed
    verified = nfexport.verify(target)
    assert verified.passed, (verified.report.summary(), verified.disagreements)
    assert result.facts is not None
    assert [(t.name, t.dtype, t.shape) for t in result.facts.inputs] == [("image", "uint8", (2, 96, 96, 3))]
    assert [t.name for t in result.facts.outputs] == ["probs", "topk_values", "topk_indices"]
    assert result.facts.opset_imports[""] == 13


def test_a_file_without_recipe_takes_its_statistics_from_options(theirs: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.onnx"
    with pytest.raises(RecipeError, match="the mean and standard deviation to normalise with are unknown"):
        nfexport.surgery(theirs, target, normalize="nodes")
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    nfexport.surgery(theirs, target, normalize="nodes", mean=mean, std=std, input_dtype="uint8", channels="bgr")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 96, 96), dtype=np.uint8)
    before = onnxruntime.InferenceSession(theirs).run(
        None,
        {"input": ((pixels[:, ::-1] - np.reshape(mean, (1, 3, 1, 1))) / np.reshape(std, (1, 3, 1, 1))).astype("f")},
    )[0]
    after = onnxruntime.InferenceSession(target).run(None, {"input": pixels})[0]
    assert np.abs(before - after).max() < 1e-5 * np.ptp(before)
    (operation,) = json.loads(_metadata(target)["nfexport.surgery"])
    assert [step["name"] for step in operation["steps"]][-2:] == ["channels", "input-form"]


def _metadata(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


@pytest.mark.parametrize("form", ["nodes", pytest.param("fold", marks=pytest.mark.slow)])
def test_a_second_normalisation_is_refused_unless_forced(
    form: Literal["nodes", "fold"], theirs: Path, exported: Path, tmp_path: Path
) -> None:
    once = tmp_path / "once.onnx"
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
    for source in (theirs, exported):
        nfexport.surgery(source, once, fold_ws=True, normalize=form, mean=mean, std=std)
        with pytest.raises(PassError, match="already normalises its images"):
            nfexport.surgery(once, tmp_path / "twice.onnx", normalize="nodes", mean=mean, std=std)
        assert not (tmp_path / "twice.onnx").exists()
    nfexport.surgery(once, tmp_path / "twice.onnx", normalize="nodes", force=True, mean=mean, std=std)


def test_a_file_that_starts_with_a_normalisation_of_its_own_is_noticed(theirs: Path, tmp_path: Path) -> None:
    model = ir.load(theirs)
    Normalize(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25)).apply(model)
    ir.save(model, tmp_path / "normalised.onnx")
    with pytest.raises(PassError, match="seems to normalise its input already: it starts with"):
        nfexport.surgery(
            tmp_path / "normalised.onnx", tmp_path / "o.onnx", normalize="nodes", mean=(0.5,) * 3, std=(0.2,) * 3
        )


def test_a_mean_may_not_follow_a_swap(exported: Path, tmp_path: Path) -> None:
    nfexport.surgery(exported, tmp_path / "bgr.onnx", channels="bgr")
    with pytest.raises(PassError, match="'normalize' has to be done before 'channels'"):
        nfexport.surgery(tmp_path / "bgr.onnx", tmp_path / "o.onnx", normalize="nodes")


def test_an_outcome_that_differs_is_rejected(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nfexport.passes.folds.fold_scales import FoldScales

    right = FoldScales.call

    def wrong(self: FoldScales, model: ir.Model) -> PassOutcome:
        report = right(self, model)
        value = next(v for v in model.graph.initializers.values() if graphs.stored(v).ndim == 4)
        value.const_value = ir.Tensor(graphs.stored(value) * np.float32(1.001), name=value.name)
        return report

    monkeypatch.setattr(FoldScales, "call", wrong)
    with pytest.raises(VerificationFailed, match="does not compute what the input file does"):
        nfexport.surgery(exported, tmp_path / "o.onnx", fold_ws=True, fold_scales=True)
    assert list(tmp_path.iterdir()) == []


def test_extract_ends_the_recipe(exported: Path, tmp_path: Path) -> None:
    names = [node.output[0] for node in onnx.load(exported).graph.node if node.op_type == "Conv"]
    target = tmp_path / "part.onnx"
    result = nfexport.surgery(exported, target, fold_ws=True, extract_outputs=[names[3], names[5]])
    assert result.verification is not None
    assert result.verification.passed
    assert nfexport.inspect(target).recipe is None
    inner = nfexport.surgery(target, tmp_path / "inner.onnx", extract_inputs=[names[3]], extract_outputs=[names[5]])
    assert inner.verification is not None
    assert inner.verification.passed


def test_the_ledger_says_what_a_reviewer_has_to_redo(exported: Path, tmp_path: Path) -> None:
    result = nfexport.surgery(exported, tmp_path / "o.onnx", fold_ws=True, normalize="fold", input_range=255)
    by_name = {entry.name: entry for entry in result.ledger}
    fold = by_name["fold-ws"]
    assert "w' = f(constants)" in fold.formula
    assert fold.nodes_after < fold.nodes_before
    assert len(fold.tensors) >= 25
    assert "stem.conv1.weight" in by_name["normalize"].tensors
    weight_error = by_name["normalize"].largest_weight_error
    assert weight_error is not None
    assert weight_error < 2.0**-23


def test_graphsurgeon_graphs_and_protos_come_back_as_they_went_in(exported: Path) -> None:
    gs = pytest.importorskip("onnx_graphsurgeon")
    proto = onnx.load(exported)
    before = proto.SerializeToString(deterministic=True)
    result = nfexport.surgery(proto, fold_ws=True)
    assert isinstance(result.model, onnx.ModelProto)
    assert proto.SerializeToString(deterministic=True) == before
    graph = gs.import_onnx(proto)
    graph.metadata_props = {"author": "somebody"}
    result = nfexport.surgery(graph, fold_ws=True)
    assert isinstance(result.model, gs.Graph)
    assert result.model.metadata_props["author"] == "somebody"
    assert "BatchNormalization" not in {node.op for node in result.model.nodes}


def test_the_plan_is_shown_in_order_and_nothing_is_written(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["surgery", str(exported), "--opset", "13", "--channels", "bgr", "--fold-ws", "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert text.index("fold-ws") < text.index("channels") < text.index("convert-opset")
    assert list(tmp_path.iterdir()) == []


def _text(folder: Path, exported: Path) -> Path:
    path = folder / "a.onnx"
    path.write_text("this is no ONNX file")
    return path


def _truncated(folder: Path, exported: Path) -> Path:
    path = folder / "a.onnx"
    path.write_bytes(exported.read_bytes()[:100_000])
    return path


def _missing(folder: Path, exported: Path) -> Path:
    return folder / "nowhere.onnx"


def _external(folder: Path, exported: Path) -> Path:
    path = folder / "a.onnx"
    onnx.save(onnx.load(exported), path, save_as_external_data=True, location="a.data", size_threshold=0)
    return path


def _external_gone(folder: Path, exported: Path) -> Path:
    path = _external(folder, exported)
    (folder / "a.data").unlink()
    return path


def _external_short(folder: Path, exported: Path) -> Path:
    path = _external(folder, exported)
    os.truncate(folder / "a.data", 1000)
    return path


def _external_escaping(folder: Path, exported: Path) -> Path:
    path = _external(folder, exported)
    (folder / "a.data").rename(folder.parent / "outside.data")
    proto = onnx.load(path, load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../outside.data"
    path.write_bytes(proto.SerializeToString())
    return path


def _external_symlink(folder: Path, exported: Path) -> Path:
    path = _external(folder, exported)
    (folder / "a.data").rename(folder.parent / "elsewhere.data")
    (folder / "a.data").symlink_to(folder.parent / "elsewhere.data")
    return path


def _unsorted(folder: Path, exported: Path) -> Path:
    proto = onnx.load(exported)
    nodes = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend(reversed(nodes))
    path = folder / "a.onnx"
    onnx.save(proto, path)
    return path


def _custom(folder: Path, exported: Path) -> Path:
    proto = onnx.load(exported)
    proto.opset_import.append(onnx.helper.make_opsetid("acme", 1))
    proto.graph.node[-1].domain = "acme"
    path = folder / "a.onnx"
    onnx.save(proto, path)
    return path


def _tampered(folder: Path, exported: Path) -> Path:
    proto = onnx.load(exported)
    for entry in proto.metadata_props:
        entry.value = entry.value.replace('"opset":11', '"opset":12')
    path = folder / "a.onnx"
    onnx.save(proto, path)
    return path


def _external_wrong_length(folder: Path, exported: Path) -> Path:
    path = _external(folder, exported)
    proto = onnx.load(path, load_external_data=False)
    for entry in proto.graph.initializer[0].external_data:
        if entry.key == "length":
            entry.value = str(int(entry.value) - 4)
    path.write_bytes(proto.SerializeToString())
    return path


def _of_the_future(folder: Path, exported: Path) -> Path:
    proto = onnx.load(exported)
    proto.opset_import[0].version = onnx.defs.onnx_opset_version() + 1
    path = folder / "a.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def _of_two_opsets(folder: Path, exported: Path) -> Path:
    proto = onnx.load(exported)
    proto.opset_import.append(onnx.helper.make_opsetid("ai.onnx", 13))
    path = folder / "a.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def _sparse(folder: Path, exported: Path) -> Path:
    proto = onnx.load(exported)
    tensor = proto.graph.sparse_initializer.add()
    tensor.values.CopyFrom(onnx.numpy_helper.from_array(np.ones(1, np.float32), "few"))
    tensor.indices.CopyFrom(onnx.numpy_helper.from_array(np.zeros(1, np.int64), "where"))
    tensor.dims.append(4)
    path = folder / "a.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_external_wrong_length, "bytes, and its shape takes"),
        (_of_the_future, "outside 7.."),
        (_of_two_opsets, "imports ONNX's own operators twice"),
        (_sparse, "sparse initializers, the first is 'few'"),
        (_missing, "nowhere.onnx"),
        (_text, "a.onnx"),
        (_truncated, "a.onnx"),
        (_external_gone, "a.data"),
        (_external_short, "a.data"),
        (_external_escaping, "outside.data"),
        (_external_symlink, "a.data"),
        (_unsorted, "refused by onnx's checker"),
        (_custom, "acme"),
        (_tampered, "does not match its own digest"),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence(
    make: Callable[[Path, Path], Path],
    message: str,
    exported: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "in").mkdir()
    path = make(tmp_path / "in", exported)
    assert run(["surgery", str(path), "-o", str(tmp_path / "o.onnx"), "--fold-ws"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("nfexport: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert not (tmp_path / "o.onnx").exists()


@pytest.mark.parametrize(
    ("body", "weights", "message"),
    [
        (
            "g (float[1, 3, 8, 8] x, float[1, 3, 8, 8] z) => (float[1, 3, 8, 8] y) { y = Add(x, z) }",
            {},
            "inputs",
        ),
        ("g (float[1, C, 8, 8] x) => (float[1, C, 8, 8] y) { y = Neg(x) }", {}, "has no fixed size"),
        ("g (float[1, 3, 8, 8] x) => (float[1, 3, 8, 8] y) { y = Neg(x) }", {}, "only a convolution can be folded"),
    ],
)
def test_graphs_that_cannot_be_normalised_say_why(
    body: str, weights: dict[str, graphs.Array], message: str, tmp_path: Path
) -> None:
    proto = ir.to_proto(graphs.parse(body, opset=13, weights=weights))
    with pytest.raises(NfexportError) as caught:
        nfexport.surgery(proto, tmp_path / "o.onnx", normalize="fold", mean=(0.5,) * 3, std=(0.2,) * 3)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_nothing_asked_for_is_refused(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no pass is requested"):
        nfexport.surgery(exported, tmp_path / "o.onnx")


def test_assertions_of_a_surgery(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["surgery", str(exported), "-o", str(tmp_path / "o.onnx"), "--fold-ws", "-q"]
    assert run([*command, "--assert-no-op", "BatchNormalization", "--max-size", "2MB"]) == 0
    assert run([*command, "--assert-op-count", "Conv=1"]) == 1
    assert "--assert-op-count Conv=1 fails: 33 Conv nodes, not exactly 1" in capsys.readouterr().err

"""The spine: from a name to a proven file, and back from the file to the model."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import safetensors.torch
import torch

import nfexport
from nfexport.errors import EXIT_MISSING, OnnxFileError, RecipeError, VerificationFailed, WeightsUnreachable
from nfexport.passes.result import PassOutcome
from nfexport.recipe.opsets import OLDEST_OPSET, newest_opset
from nfexport.sources import ModelSpec, load
from tests.passes.graphs import Array, stored


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> nfexport.ExportResult:
    """test_nfnet at opset 11, folded."""
    target = tmp_path_factory.mktemp("folded") / "test_nfnet.onnx"
    return nfexport.export("test_nfnet", target, opset=11, fold_ws=True)


def change(source: Path, target: Path, edit: object) -> Path:
    """Write a copy of an ONNX file after an edit, recipe untouched."""
    proto = onnx.load(source)
    edit(proto)  # type: ignore[operator]
    onnx.save(proto, target)
    return target


def weight(proto: onnx.ModelProto, name: str) -> Array:
    tensor = next(t for t in proto.graph.initializer if t.name == name)
    return onnx.numpy_helper.to_array(tensor).copy()


def set_weight(proto: onnx.ModelProto, name: str, array: Array) -> None:
    tensor = next(t for t in proto.graph.initializer if t.name == name)
    tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float32), name))


def test_the_file_is_lean_and_describes_itself(folded: nfexport.ExportResult) -> None:
    facts = nfexport.inspect(folded.path)
    assert facts.recipe == folded.recipe
    assert facts.opset_imports == {"": 11}
    assert facts.ir_version == 6
    assert facts.computed_conv_weights == 0
    assert "BatchNormalization" not in facts.operator_counts
    assert not {"Constant", "Identity", "Shape"} & set(facts.operator_counts)
    assert facts.file_size <= 1.02 * facts.initializer_bytes
    parameters = sum(p.numel() for p in load(ModelSpec(name="test_nfnet")).module.parameters())
    gains = sum(
        p.numel()
        for name, p in load(ModelSpec(name="test_nfnet")).module.named_parameters()
        if name.endswith(".gain")
    )
    assert facts.counted_parameters == parameters - gains


def test_nodes_and_initializers_carry_the_modules_names(folded: nfexport.ExportResult) -> None:
    graph = onnx.load(folded.path).graph
    assert {"/stem/conv1/Conv", "/stages.0.0/conv2b/Conv", "/head/fc/Gemm"} <= {n.name for n in graph.node}
    state = set(load(ModelSpec(name="test_nfnet")).module.state_dict())
    names = {tensor.name for tensor in graph.initializer if len(tensor.dims) > 1}
    assert names <= state
    shapes = {info.name for info in graph.value_info}
    assert {output for node in graph.node for output in node.output} - shapes == {"output"}


def test_a_second_run_writes_the_same_bytes_in_this_process_and_in_another(
    folded: nfexport.ExportResult, tmp_path: Path
) -> None:
    import subprocess
    import sys

    def sha256(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()

    again = nfexport.export("test_nfnet", tmp_path / "again.onnx", opset=11, fold_ws=True, verify=False)
    command = [sys.executable, "-m", "nfexport", "test_nfnet", "--opset", "11", "--fold-ws", "--no-verify"]
    subprocess.run([*command, "-q", "-o", str(tmp_path / "other.onnx")], check=True)
    assert sha256(again.path) == sha256(tmp_path / "other.onnx") == sha256(folded.path)


TRACED: list[ir.Model] = []


@pytest.fixture
def one_dynamo_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every opset from 18 up start from one trace: dynamo writes opset 18 for all, and takes seconds."""
    from nfexport.tracing import dynamo

    trace = dynamo.trace

    def trace_once(*args: Any) -> ir.Model:
        if not TRACED:
            TRACED.append(trace(*args))
        return TRACED[0].clone()

    monkeypatch.setattr(dynamo, "trace", trace_once)


OPSETS = range(OLDEST_OPSET, newest_opset() + 1)
CHOSEN = (9, 10, 11, 13, 16, 17, 18, 20, 22, newest_opset())
"""Those of the default suite: both ends, both sides of the exporters, and those that changed an operator here."""

UNFOLDED = (11, 17)
"""Those at which it tries the unfolded form."""


@pytest.mark.usefixtures("one_dynamo_trace")
@pytest.mark.parametrize(
    ("opset", "fold_ws"),
    [
        pytest.param(opset, fold, id=f"{opset}-{word}", marks=() if opset in usual else pytest.mark.slow)
        for fold, word, usual in ((True, "folded", CHOSEN), (False, "unfolded", UNFOLDED))
        for opset in OPSETS
    ],
)
def test_every_opset_loads_and_agrees(opset: int, fold_ws: bool, tmp_path: Path) -> None:
    result = nfexport.export("test_nfnet", tmp_path / "m.onnx", opset=opset, fold_ws=fold_ws)
    assert result.verification is not None
    assert result.verification.passed
    assert nfexport.inspect(result.path).opset_imports == {"": opset}
    assert result.facts.computed_conv_weights == (0 if fold_ws else 25)
    assert result.recipe.exporter == ("torchscript" if opset < 18 else "dynamo")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_nfnet", "test_efficientnet"])
def test_opset_11_does_not_hang_on_the_deprecated_exporter_alone(name: str, tmp_path: Path) -> None:
    result = nfexport.export(name, tmp_path / "m.onnx", opset=11, fold_ws=True, exporter="dynamo")
    assert result.recipe.exporter == "dynamo"
    assert result.facts.opset_imports == {"": 11}


@pytest.mark.slow
def test_where_torchscript_fails_dynamo_and_conversion_take_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nfexport.tracing import torchscript

    def gone(*_: object) -> None:
        raise RuntimeError("the TorchScript exporter was removed")

    monkeypatch.setattr(torchscript, "trace", gone)
    result = nfexport.export("test_nfnet", tmp_path / "m.onnx", opset=11, fold_ws=True)
    assert result.recipe.exporter == "dynamo"
    with pytest.raises(nfexport.NfexportError, match="the TorchScript exporter was removed"):
        nfexport.export("test_nfnet", tmp_path / "n.onnx", opset=11, exporter="torchscript")


@pytest.mark.slow
def test_dynamo_has_its_weights_where_the_passes_refuse_torchscripts_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a verification the first trace takes the weights of the model with it."""
    from nfexport.errors import PassError
    from nfexport.passes.plan import run
    from nfexport.workflows import traced_graph

    calls = []

    def refuse_once(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 1:
            raise PassError("this graph is not to be had", fix="none")
        return run(*args)

    monkeypatch.setattr(traced_graph, "run", refuse_once)
    result = nfexport.export("test_nfnet", tmp_path / "m.onnx", opset=11, fold_ws=True, image_size=64, verify=False)
    assert result.recipe.exporter == "dynamo"
    assert nfexport.verify(result.path).passed


def test_same_padding_comes_out_constant(tmp_path: Path) -> None:
    result = nfexport.export("test_efficientnet", tmp_path / "m.onnx", opset=11, image_size=(97, 64))
    assert not {"Shape", "Ceil", "Clip", "Gather", "Cast"} & set(result.facts.operator_counts)


def test_folded_scales_leave_no_product_with_a_constant(folded: nfexport.ExportResult, tmp_path: Path) -> None:
    result = nfexport.export("test_nfnet", tmp_path / "m.onnx", opset=11, fold_ws=True, fold_scales=True)
    assert result.verification is not None
    assert result.verification.passed
    graph = onnx.load(result.path).graph
    constants = {tensor.name for tensor in graph.initializer}
    assert [node.name for node in graph.node if node.op_type == "Mul" and set(node.input) & constants] == []
    assert result.facts.node_count < folded.facts.node_count
    assert nfexport.verify(result.path).passed


def test_a_model_without_weight_standardisation_says_so(tmp_path: Path) -> None:
    result = nfexport.export("test_resnet", tmp_path / "m.onnx", opset=11, fold_ws=True)
    report = next(report for report in result.passes if report.name == "fold-ws")
    assert report.summary == "no convolution computes its weight; nothing to fold"
    assert "BatchNormalization" not in result.facts.operator_counts


def test_a_fixed_batch_and_names(tmp_path: Path) -> None:
    result = nfexport.export(
        "test_nfnet", tmp_path / "m.onnx", batch=2, input_name="image", output_name="probs", num_classes=7
    )
    session = onnxruntime.InferenceSession(str(result.path), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].name == "image"
    assert session.get_inputs()[0].shape == [2, 3, 160, 160]
    assert (session.get_outputs()[0].name, session.get_outputs()[0].shape) == ("probs", [2, 7])


def test_verify_needs_nothing_but_the_file(folded: nfexport.ExportResult) -> None:
    result = nfexport.verify(folded.path)
    assert result.passed
    assert result.exit_code == 0
    assert result.disagreements == ()
    assert {case.batch for case in result.report.cases} == {1, 2, 3, 6}


FAULTS = {
    "one filter negated": lambda proto: set_weight(
        proto,
        "stages.2.0.conv2.weight",
        weight(proto, "stages.2.0.conv2.weight") * np.r_[-1, np.ones(63)].reshape(-1, 1, 1, 1)
        if weight(proto, "stages.2.0.conv2.weight").shape[0] == 64
        else -weight(proto, "stages.2.0.conv2.weight"),
    ),
    "one weight 1 % larger": lambda proto: set_weight(
        proto, "stages.1.0.conv3.weight", weight(proto, "stages.1.0.conv3.weight") * 1.01
    ),
    "a bias zeroed": lambda proto: set_weight(
        proto, "stages.0.0.conv1.bias", weight(proto, "stages.0.0.conv1.bias") * 0
    ),
    "input channels swapped": lambda proto: set_weight(
        proto, "stem.conv1.weight", weight(proto, "stem.conv1.weight")[:, ::-1]
    ),
    "weights in float16": lambda proto: set_weight(
        proto, "stages.1.0.conv1.weight", weight(proto, "stages.1.0.conv1.weight").astype(np.float16)
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_wrong_graph_does_not_pass(folded: nfexport.ExportResult, tmp_path: Path, fault: object) -> None:
    result = nfexport.verify(change(folded.path, tmp_path / "wrong.onnx", fault))
    assert not result.passed
    assert result.exit_code == 1


def test_a_file_that_is_not_what_its_recipe_says_fails(folded: nfexport.ExportResult, tmp_path: Path) -> None:
    def raise_opset(proto: onnx.ModelProto) -> None:
        proto.opset_import[0].version = 12
        proto.ir_version = 7

    result = nfexport.verify(change(folded.path, tmp_path / "m.onnx", raise_opset))
    assert result.report.passed
    assert result.disagreements == ("opset: the recipe says 11, the file has 12",)
    assert result.exit_code == 1


def test_a_file_from_a_checkpoint_asks_for_it_and_compares_it(tmp_path: Path) -> None:
    checkpoint, other = tmp_path / "c.safetensors", tmp_path / "other.safetensors"
    for seed, path in ((5, checkpoint), (6, other)):
        safetensors.torch.save_file(load(ModelSpec(name="test_nfnet", seed=seed)).module.state_dict(), path)
    target = tmp_path / "m.onnx"
    nfexport.export("test_nfnet", target, checkpoint=checkpoint, fold_ws=True)
    assert nfexport.verify(target, checkpoint=checkpoint).passed
    with pytest.raises(WeightsUnreachable, match="exported from a checkpoint of test_nfnet") as caught:
        nfexport.verify(target)
    assert caught.value.exit_code == EXIT_MISSING
    with pytest.raises(RecipeError, match="are not those of the recipe"):
        nfexport.verify(target, checkpoint=other)
    assert b"safetensors" not in target.read_bytes()


def test_a_file_without_a_recipe_is_told_apart(folded: nfexport.ExportResult, tmp_path: Path) -> None:
    bare = change(folded.path, tmp_path / "bare.onnx", lambda proto: proto.ClearField("metadata_props"))
    with pytest.raises(OnnxFileError, match="has no recipe"):
        nfexport.verify(bare)


def test_a_recipe_that_was_tampered_with_is_refused(folded: nfexport.ExportResult, tmp_path: Path) -> None:
    def tamper(proto: onnx.ModelProto) -> None:
        for entry in proto.metadata_props:
            entry.value = entry.value.replace('"seed":0', '"seed":1')

    with pytest.raises(RecipeError, match="changed after the export"):
        nfexport.verify(change(folded.path, tmp_path / "m.onnx", tamper))


def test_a_file_that_fails_verification_never_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nfexport.passes.folds.fold_bn import FoldBatchNormalization

    right = FoldBatchNormalization.call

    def wrong(self: FoldBatchNormalization, model: ir.Model) -> PassOutcome:
        report = right(self, model)
        for value in model.graph.initializers.values():
            if value.name == "stages.0.0.conv1.weight":
                value.const_value = ir.Tensor(stored(value) * np.float32(1.01), name=value.name)
        return report

    monkeypatch.setattr(FoldBatchNormalization, "call", wrong)
    target = tmp_path / "m.onnx"
    target.write_bytes(b"what was there before")
    with pytest.raises(VerificationFailed, match="does not equal test_nfnet") as caught:
        nfexport.export("test_nfnet", target, fold_ws=True)
    assert not caught.value.report.passed
    assert target.read_bytes() == b"what was there before"
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_the_callers_model_and_torch_are_left_as_they_were(tmp_path: Path) -> None:
    threads, grad = torch.get_num_threads(), torch.is_grad_enabled()
    state = torch.random.get_rng_state()
    nfexport.export("test_nfnet", tmp_path / "m.onnx", fold_ws=True)
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == (threads, grad)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("opset", [OLDEST_OPSET - 1, newest_opset() + 1])
def test_an_opset_out_of_range_is_refused_with_the_range(opset: int, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=rf"opset {opset} is outside 9\.\.{newest_opset()}"):
        nfexport.export("test_nfnet", tmp_path / "m.onnx", opset=opset)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters", "convolutions"),
    [
        ("nfnet_f0", 71_444_360, 57),
        ("dm_nfnet_f0", 71_444_360, 57),
        ("nfnet_l0", 35_041_672, 57),
        ("eca_nfnet_l0", 24_111_108, 57),
        ("nf_regnet_b1", 10_202_784, None),
        ("nf_resnet50", 25_530_472, None),
        ("resnetv2_50x1_bit", None, 53),
        ("vit_small_r26_s32_224", None, None),
    ],
)
def test_real_networks_fold_completely(
    name: str, parameters: int | None, convolutions: int | None, tmp_path: Path
) -> None:
    """The counts are the parameters of the network less the gains, of which folding leaves nothing."""
    from nfexport.sources.timm.standardised_layers import standardised_convolutions

    result = nfexport.export(name, tmp_path / "m.onnx", opset=11, fold_ws=True)
    standardised = standardised_convolutions(load(ModelSpec(name=name)).module)
    report = next(report for report in result.passes if report.name == "fold-ws")
    assert report.changed == standardised
    assert convolutions in (None, standardised)
    assert parameters in (None, result.facts.counted_parameters)
    assert result.facts.computed_conv_weights == 0
    assert "BatchNormalization" not in result.facts.operator_counts
    assert result.facts.file_size <= 1.002 * result.facts.initializer_bytes + 100_000

"""Any two models on the same inputs: right pairs agree, and of each kind one wrong pair is told."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

import nfexport
from nfexport.cli import run
from nfexport.errors import EXIT_INPUT, EXIT_OK, EXIT_VERIFICATION, InputError
from nfexport.verification.tolerance import FixedTolerance
from nfexport.workflows.compare import compare
from tests import own_modules
from tests.verification import test_real_networks as real_networks

FACTORY = f"{own_modules.__file__}:two_inputs"
INPUTS = ("image=float32[batch,3,height:32,width:40]", "meta=float32[batch,5]")
PIXELS: dict[str, Any] = {"normalize": "nodes", "channels": "bgr", "input_dtype": "uint8", "input_layout": "nhwc"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def exported(folder: Path) -> Callable[..., Path]:
    """Return a function that exports test_resnet, or another model, once for each name of a file."""

    def export(name: str, model: str = "test_resnet", **options: Any) -> Path:
        path = folder / name
        if not path.exists():
            nfexport.export(model, path, verify=False, exporter="torchscript", **{"opset": 17, **options})
        return path

    return export


@pytest.fixture(scope="module")
def plain(exported: Callable[..., Path]) -> Path:
    return exported("plain.onnx")


def changed(path: Path, by: float = 0.05) -> Path:
    """Return a copy, without a recipe, whose largest weight is off by noise, in units of its standard deviation."""
    model = onnx.load(path)
    del model.metadata_props[:]
    floats = [tensor for tensor in model.graph.initializer if tensor.data_type in (1, 10)]
    tensor = max(floats, key=lambda one: int(np.prod(one.dims)))
    array = onnx.numpy_helper.to_array(tensor)
    noise = np.random.default_rng(0).standard_normal(array.shape)
    wrong = (array + by * array.std() * noise).astype(array.dtype)
    tensor.CopyFrom(onnx.numpy_helper.from_array(wrong, tensor.name))
    target = path.with_name(f"{path.stem}-wrong.onnx")
    onnx.save(model, target)
    return target


def without_recipe(path: Path) -> Path:
    target = path.with_name(f"{path.stem}-foreign.onnx")
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, target)
    return target


def test_two_files(plain: Path, exported: Callable[..., Path]) -> None:
    result = compare(plain, exported("optimised.onnx", optimize=True))
    assert result.passed
    assert result.reference == f"the graph of '{plain}', in float64"
    assert [side.report is not None for side in result.sides] == [True, True]
    (one,) = result.likeness
    assert (one.top1, one.top5) == (1.0, 1.0)
    wrong = compare(plain, changed(plain))
    assert not wrong.passed
    assert wrong.sides[0].report is not None
    assert wrong.sides[0].report.passed
    assert "differs from the graph of" in wrong.verdict


def test_a_file_and_a_module(plain: Path) -> None:
    assert compare(plain, "test_resnet").passed
    other_weights = compare(plain, "test_resnet@torch:seed=1")
    assert not other_weights.passed
    assert other_weights.likeness[0].worst[0].max_relative > 0.1


def test_a_file_without_a_recipe_and_a_module(plain: Path) -> None:
    result = compare("test_resnet", without_recipe(plain))
    assert result.passed
    assert result.reference == "test_resnet in PyTorch, in float64"
    assert not compare("test_resnet", changed(plain)).passed


def test_an_ir_and_the_onnx_file_that_it_was_made_from(folder: Path) -> None:
    pytest.importorskip("openvino")
    file = folder / "converted.onnx"
    nfexport.export("test_resnet", file, verify=False, exporter="torchscript", opset=17, to="openvino")
    result = compare(file, file.with_suffix(".xml"))
    assert result.passed
    assert [side.runtime.split()[0] for side in result.sides] == ["onnxruntime", "openvino"]
    assert not compare(changed(file), file.with_suffix(".xml")).passed


def test_two_runtimes_of_one_file(plain: Path, folder: Path) -> None:
    assert compare(f"{plain}@onnxruntime:opt=off,threads=1", f"{plain}@onnxruntime:threads=2").passed
    # ONNX Runtime folds this Pad of zeros into the MaxPool behind it, which pads with the smallest number
    pad = onnx.helper.make_node("Pad", ["x", "pads"], ["padded"])
    pool = onnx.helper.make_node("MaxPool", ["padded"], ["y"], kernel_shape=[3, 3], strides=[2, 2])
    graph = onnx.helper.make_graph(
        [pad, pool],
        "repaired",
        [onnx.helper.make_tensor_value_info("x", 1, ["batch", 3, 32, 32])],
        [onnx.helper.make_tensor_value_info("y", 1, ["batch", 3, 16, 16])],
        [onnx.numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "pads")],
    )
    file = folder / "repaired.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), file)
    result = compare(f"{file}@onnxruntime:opt=off", f"{file}@onnxruntime")
    assert [side.report.passed for side in result.sides if side.report] == [True, False]


def test_two_opsets(plain: Path, exported: Callable[..., Path]) -> None:
    assert compare(exported("eleven.onnx", opset=11), exported("eighteen.onnx", opset=18)).passed
    assert not compare(changed(exported("eleven.onnx", opset=11)), exported("eighteen.onnx", opset=18)).passed


@pytest.mark.parametrize("form", ["fp16", "fp16-weights"])
def test_half_precision(plain: Path, exported: Callable[..., Path], form: str) -> None:
    half = exported(f"{form}.onnx", precision=form)
    result = compare(half, plain)
    assert result.passed
    assert result.reference == f"the graph of '{plain}', in float64"
    assert [side.precision for side in result.sides] == [form, "float32"]
    (one,) = result.likeness
    assert one.sqnr is not None
    assert 40 < one.sqnr < 100
    assert compare(without_recipe(half), plain).sides[0].precision == form
    assert not compare(changed(half, 0.5), plain).passed


def test_a_foreign_file_and_its_surgery(plain: Path, folder: Path) -> None:
    theirs, ours = without_recipe(plain), folder / "ours.onnx"
    statistics: dict[str, Any] = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3)}
    nfexport.surgery(theirs, ours, verify=False, batch=2, **PIXELS, **statistics)
    result = compare(theirs, ours)
    assert result.passed
    assert result.batches == 5
    assert compare(ours, theirs).passed
    swapped = folder / "swapped.onnx"
    nfexport.surgery(theirs, swapped, verify=False, batch=2, **{**PIXELS, "channels": None}, **statistics)
    # its record says that it takes RGB: let it claim what the other one does
    model, record = onnx.load(swapped), onnx.load(ours).metadata_props
    del model.metadata_props[:]
    model.metadata_props.extend(record)
    onnx.save(model, swapped)
    assert not compare(theirs, swapped).passed


def test_a_factory_and_a_file_with_several_inputs(folder: Path) -> None:
    file = folder / "two.onnx"
    nfexport.export(FACTORY, file, inputs=INPUTS, opset=17, verify=False, exporter="torchscript")
    result = compare(without_recipe(file), FACTORY)
    assert result.passed
    assert [one.output for one in result.likeness] == ["score", "maps_0", "maps_1"]
    assert compare(file, without_recipe(file)).passed
    assert not compare(FACTORY, changed(file)).passed
    with pytest.raises(InputError, match="B takes 1 "):
        compare(file, folder / "plain.onnx")


def test_two_factories() -> None:
    file = own_modules.__file__
    assert compare(f"{file}:two_inputs", f"{file}:two_inputs", input_specs=INPUTS).passed
    result = compare(f"{file}:two_inputs", f"{file}:two_inputs@torch:seed=3", input_specs=INPUTS)
    assert not result.passed


def test_the_users_own_arrays(plain: Path, folder: Path) -> None:
    numbers = np.random.default_rng(5).standard_normal((4, 3, 160, 160), dtype=np.float32)
    np.savez(folder / "mine.npz", input=numbers)
    np.save(folder / "mine.npy", numbers[:1])
    given = (folder / "mine.npz", folder / "mine.npy")
    result = compare(plain, "test_resnet", inputs=given)
    assert result.passed
    assert result.batches == 2
    assert str(folder / "mine.npz") in result.inputs
    assert not compare(changed(plain), "test_resnet", inputs=given).passed
    np.savez(folder / "unnamed.npz", images=numbers)
    with pytest.raises(InputError, match=r"'unnamed\.npz' holds no array 'input'"):
        compare(plain, "test_resnet", inputs=[folder / "unnamed.npz"])


def test_images_are_prepared_as_the_file_that_does_most_itself_takes_them(
    exported: Callable[..., Path], folder: Path
) -> None:
    photos = folder / "photos"
    photos.mkdir()
    pixels = np.random.default_rng(1).integers(0, 256, (200, 180, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(photos / "one.png")
    Image.fromarray(pixels[::-1]).save(photos / "two.png")
    pixel_file = exported("pixels.onnx", **PIXELS)
    result = compare("test_resnet", pixel_file, inputs=[photos])
    assert result.passed
    assert result.batches == 2
    assert {worst.case for one in result.likeness for worst in one.worst} == {"one.png", "two.png"}
    foreign = without_recipe(pixel_file)
    with pytest.raises(InputError, match="neither side says how images are prepared"):
        compare(foreign, foreign, inputs=[photos])


def test_recorded_outputs(plain: Path, folder: Path) -> None:
    session = onnxruntime.InferenceSession(plain, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(2).standard_normal((2, 3, 160, 160), dtype=np.float32)
    (logits,) = session.run(None, {"input": images})
    np.savez(folder / "recorded.npz", input=images, output=logits)
    result = compare("test_resnet", folder / "recorded.npz")
    assert result.passed
    assert result.sides[1].title == f"the recording '{folder / 'recorded.npz'}'"
    np.savez(folder / "off.npz", input=images, output=logits * 1.001)
    assert not compare(plain, folder / "off.npz").passed
    np.savez(folder / "outputs.npz", output=logits)
    with pytest.raises(InputError, match="holds no inputs"):
        compare(plain, folder / "outputs.npz")


def test_a_golden_and_onnx_test_sets(plain: Path, folder: Path) -> None:
    golden = folder / "resnet.golden"
    nfexport.record_golden(plain, golden)
    assert compare(plain, golden).passed
    assert not compare(changed(plain), golden).passed
    plain_sets = folder / "sets" / "test_data_set_0"
    plain_sets.mkdir(parents=True)
    for file in (golden / "test_data_set_0").iterdir():
        proto = onnx.load_tensor(file)
        proto.name = ""
        (plain_sets / file.name).write_bytes(proto.SerializeToString())
    assert compare("test_resnet", plain_sets.parent).passed
    (plain_sets / "input_0.pb").write_bytes(b"\xff\xff")
    with pytest.raises(InputError, match="does not hold a tensor"):
        compare("test_resnet", plain_sets.parent)


def test_two_recordings_are_equal_or_within_what_the_user_allows(folder: Path) -> None:
    a, b = folder / "a.npz", folder / "b.npz"
    np.savez(a, output=np.array([[1.0, 2.0]], np.float32))
    np.savez(b, output=np.array([[1.0, 2.001]], np.float32))
    assert compare(a, a).verdict == "the outputs are equal, bit for bit, on 1 batches"
    result = compare(a, b)
    assert not result.passed
    assert "pass --rtol and --atol" in result.verdict
    assert compare(a, b, tolerance=FixedTolerance(rtol=1e-2, atol=0)).passed
    assert not compare(a, b, tolerance=FixedTolerance(rtol=1e-4, atol=0)).passed


def test_indices_of_a_topk_are_exact_but_for_ties(exported: Callable[..., Path]) -> None:
    file = exported("topk.onnx", outputs=("topk",), top_k=3)
    result = compare(file, without_recipe(file))
    assert result.passed
    assert compare(file, "test_resnet").passed
    model = onnx.load(without_recipe(file))
    node = next(node for node in model.graph.node if node.op_type == "TopK")
    node.attribute.append(onnx.helper.make_attribute("largest", 0))
    smallest = file.with_name("smallest.onnx")
    onnx.save(model, smallest)
    wrong = compare(file, smallest)
    assert not wrong.passed
    assert wrong.likeness[1].equal_share is not None
    assert wrong.likeness[1].equal_share < 0.5


def test_an_operator_that_is_not_covered_leaves_equality_or_a_tolerance(folder: Path) -> None:
    node = onnx.helper.make_node("Strange", ["x"], ["y"], domain="nowhere")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph([node], "strange", [value("x", 1, [1, 4])], [value("y", 1, [1, 4])])
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("nowhere", 1)]
    file = folder / "strange.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), file)
    np.savez(folder / "strange.npz", x=np.ones((1, 4), np.float32), y=np.ones((1, 4), np.float32))
    with pytest.raises(InputError, match="refuses"):
        compare(file, folder / "strange.npz")


def test_a_foreign_torchvision_file_is_bisected(folder: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    from nfexport.sources.timm.torchvision_operators import import_timm

    import_timm()
    torch.manual_seed(0)
    module = torchvision.models.squeezenet1_1().eval()
    file = folder / "squeezenet.onnx"
    example = torch.randn(1, 3, 96, 96)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(module, (example,), file, dynamo=False, opset_version=17)
    factory = folder / "theirs.py"
    factory.write_text(
        "import torch\nfrom nfexport.sources.timm.torchvision_operators import import_timm\nimport_timm()\n"
        "import torchvision\n\n"
        "def squeezenet():\n    torch.manual_seed(0)\n    return torchvision.models.squeezenet1_1()\n"
    )
    result = compare(file, f"{factory}:squeezenet", bisect=True)
    assert result.passed
    assert result.diagnosis is not None
    assert result.diagnosis.bisection.culprit is None
    wrong = compare(changed(file), f"{factory}:squeezenet", bisect=True)
    assert not wrong.passed
    assert wrong.diagnosis is not None
    assert wrong.diagnosis.bisection.culprit is not None
    assert wrong.diagnosis.bisection.culprit.operator == "Conv"
    # the graph of the right file is as good a reference as the module
    graphs = compare(file, changed(file), bisect=True)
    assert graphs.diagnosis is not None
    assert graphs.diagnosis.bisection.culprit is not None
    assert graphs.diagnosis.bisection.culprit.node == wrong.diagnosis.bisection.culprit.node


def test_the_command(plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert run(["compare", str(plain), "test_resnet", "--json", "--report", str(page)]) == EXIT_OK
    found = json.loads(capsys.readouterr().out)
    assert found["passed"]
    assert found["sides"]["B"]["runtime"].startswith("torch ")
    assert "agrees with test_resnet in PyTorch" in page.read_text(encoding="utf-8")
    assert run(["compare", str(plain), str(changed(plain)), "-v"]) == EXIT_VERIFICATION
    assert "FAILED" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing.onnx", "test_resnet"], "nothing.onnx"),
        (["{plain}@onyxruntime", "test_resnet"], "'onyxruntime' in"),
        (["{plain}@onnxruntime:fast=yes", "test_resnet"], "'fast=yes' in"),
        (["{plain}@onnxruntime:threads=many", "test_resnet"], "not a whole number"),
        (["{plain}@opencv:opt=off", "test_resnet"], "cannot be told to leave the graph"),
        (["{plain}", "no_such_network"], "no architecture 'no_such_network'"),
        (["{plain}", "test_resnet@openvino"], "runs in PyTorch and not in openvino"),
        (["{plain}", "test_resnet", "--inputs", "none.npz"], "there is no file"),
        (["{plain}", "missing.npz"], "there is no file 'missing.npz'"),
    ],
)
def test_bad_input_gets_one_sentence(
    plain: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", *(argument.format(plain=plain) for argument in arguments)]) == EXIT_INPUT
    complaint = capsys.readouterr().err
    assert sentence in complaint
    assert complaint.count("\n") == 1


def test_a_yardstick_that_is_too_short_is_measured_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    factory = f"{real_networks.__file__}:confident"
    options: dict[str, Any] = {"inputs": ["x=float32[batch,3,96,96]"], "model_kwargs": {"factor": 30.0, "seed": 3}}
    options |= {"exporter": "torchscript", "opset": 17, "outputs": ("probs",)}
    file = folder / "scores.onnx"
    nfexport.export(factory, file, verify=False, **options)
    side = folder / "confident.py"
    side.write_text(
        f"from {real_networks.__name__} import confident\n\n\ndef network():\n    return confident(30.0, 3)\n"
    )
    assert compare(file, f"{side}:network").passed
    # one run with random rounding is not enough for these scores
    monkeypatch.setattr("nfexport.verification.referee.MARGINAL", 0.0)
    assert not compare(file, f"{side}:network").passed

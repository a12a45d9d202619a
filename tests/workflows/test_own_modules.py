"""A user's own torch module is exported, verified, bisected, recorded and rebuilt like a network of timm."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import nfexport
from nfexport.cli import run
from nfexport.errors import EXIT_INPUT, EXIT_OK, EXIT_VERIFICATION, RecipeError, UnknownModelError, VerificationFailed
from nfexport.goldens.golden_check import check_golden
from nfexport.recipe.metadata import write_recipe
from nfexport.recipe.recipe import Recipe
from nfexport.workflows.golden import record_golden
from nfexport.workflows.subjects import NamedModel
from tests import own_modules
from tests.own_modules import Kinds, Small, Tokens, TwoInputs

FILE = own_modules.__file__
FACTORY = f"{FILE}:two_inputs"
INPUTS = ("image=float32[batch,3,height:32,width:40]", "meta=float32[batch,5]")
FAST: dict[str, Any] = {"exporter": "torchscript"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "two.onnx"
    nfexport.export(FACTORY, path, inputs=INPUTS, opset=17, fold_ws=True)
    return path


@pytest.mark.parametrize("opset", [11, 17, pytest.param(18, marks=pytest.mark.slow)])
def test_two_inputs_and_three_outputs(tmp_path: Path, opset: int) -> None:
    path = tmp_path / "two.onnx"
    result = nfexport.export(FACTORY, path, inputs=INPUTS, opset=opset, fold_ws=True)
    assert result.verification is not None
    assert result.verification.passed
    assert result.facts.computed_conv_weights == 0
    assert result.recipe.inputs
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["image", "meta"]
    assert [o.name for o in session.get_outputs()] == ["score", "maps_0", "maps_1"]
    assert [o.shape for o in session.get_outputs()] == [
        ["batch", 8],
        ["batch", 8, "height", "width"],
        ["batch", "height", "width"],
    ]


def test_it_computes_what_the_module_computes_on_other_sizes(exported: Path) -> None:
    torch.manual_seed(0)  # the state that a factory starts from
    module = own_modules.two_inputs().eval()
    image, meta = torch.randn(5, 3, 21, 50), torch.randn(5, 5)
    with torch.inference_mode():
        answer = module(image, meta)
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    found = session.run(None, {"image": image.numpy(), "meta": meta.numpy()})
    for actual, expected in zip(found, (answer.score, *answer.maps), strict=True):
        np.testing.assert_allclose(actual, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_verify_needs_the_factory_and_takes_it(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(exported)]) == EXIT_INPUT
    assert f"--model {Path(FILE).name}:two_inputs" in capsys.readouterr().err
    assert run(["verify", str(exported), "--model", FACTORY, "--bisect", "--self-test", "-q"]) == EXIT_OK


def test_a_recipe_never_has_code_called(exported: Path, tmp_path: Path) -> None:
    """Also not a forged one, which names code where a recipe of timm has the name of an architecture."""
    model = onnx.load(exported)
    entries = {entry.key: entry.value for entry in model.metadata_props}
    raw = json.loads(entries["nfexport.recipe"])
    del raw["provenance"]
    raw["source"]["model"] = raw["architecture"] = f"{__name__}:trap"
    entries.update(write_recipe(Recipe.from_plain(raw)))
    onnx.helper.set_model_props(model, entries)
    forged = tmp_path / "forged.onnx"
    onnx.save(model, forged)
    recipe = nfexport.inspect(forged).recipe
    assert recipe is not None
    calls: list[Callable[[], Any]] = [
        lambda: nfexport.verify(forged),
        lambda: nfexport.rebuild(forged),
        lambda: nfexport.export(recipe, tmp_path / "again.onnx"),
    ]
    for call in calls:
        with pytest.raises(RecipeError, match="does not load by itself"):
            call()


def trap() -> None:
    raise AssertionError("a recipe had code called")


def test_other_weights_are_told(exported: Path) -> None:
    with pytest.raises(RecipeError, match="are not those of the recipe"):
        nfexport.verify(exported, model=TwoInputs().eval())


def test_rebuild_gives_the_same_bytes(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rebuild", str(exported), "--model", FACTORY, "--no-verify"]) == EXIT_OK
    assert "equal, byte by byte" in capsys.readouterr().out


def test_a_golden_is_recorded_and_checked(exported: Path, tmp_path: Path) -> None:
    golden = tmp_path / "two.golden"
    record_golden(exported, golden, model=FACTORY)
    assert check_golden(exported, golden).passed
    damaged = onnx.load(exported)
    weight = next(tensor for tensor in damaged.graph.initializer if tensor.name == "meta.weight")
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * np.float32(1.01), weight.name))
    onnx.save(damaged, tmp_path / "two.onnx")
    assert not check_golden(tmp_path / "two.onnx", golden).passed


def test_a_damaged_file_is_noticed_and_located(exported: Path, tmp_path: Path) -> None:
    damaged = onnx.load(exported)
    node = next(node for node in damaged.graph.node if node.op_type == "ReduceMax")
    node.op_type = "ReduceMin"
    onnx.save(damaged, tmp_path / "damaged.onnx")
    result = nfexport.verify(tmp_path / "damaged.onnx", model=FACTORY, bisect=True)
    assert result.exit_code == EXIT_VERIFICATION
    assert result.diagnosis is not None
    assert result.diagnosis.bisection.culprit is not None
    assert result.diagnosis.bisection.culprit.operator == "ReduceMin"


def test_surgery_keeps_the_claim(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    nfexport.surgery(exported, path, opset=13, rename={"image": "x", "score": "s"})
    assert nfexport.verify(path, model=FACTORY).passed
    assert [spec.name for spec in nfexport.inspect(path).recipe.inputs] == ["x", "meta"]  # type: ignore[union-attr]


@pytest.mark.parametrize("opset", [11, 17])
def test_whole_numbers_and_a_mask(tmp_path: Path, opset: int) -> None:
    module = Tokens().eval()
    examples = {"ids": torch.tensor([[0, 99, 5], [7, 8, 9]]), "mask": torch.ones(2, 3)}
    path = tmp_path / "tokens.onnx"
    result = nfexport.export(module, path, inputs=examples, opset=opset)
    assert result.recipe.source.inputs == ("ids=int64(batch:2,3):0..99", "mask=float32(batch:2,3)")
    assert nfexport.verify(path, model=module, bisect=True).passed
    assert nfexport.rebuild(path, model=module, verify=False).reproduced


def test_outputs_of_any_kind(tmp_path: Path) -> None:
    path = tmp_path / "kinds.onnx"
    nfexport.export(Kinds().eval(), path, inputs=torch.zeros(2, 1, 16, 16), opset=17)
    types = {output.name: output.dtype for output in nfexport.inspect(path).outputs}
    assert types == {"best": "int64", "above": "bool", "total": "float32"}


def test_a_classifier_of_grey_images_is_a_classifier(tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    result = nfexport.export(
        f"{FILE}:Small",
        path,
        model_kwargs={"classes": 3},
        inputs=("image=float32[batch,1,28,28]",),
        opset=17,
        mean=(0.5,),
        std=(0.25,),
        normalize="nodes",
        outputs=("probs",),
        labels=("a", "b", "c"),
    )
    assert result.recipe.preprocessing.mean == (0.0,)
    assert result.recipe.num_classes == 3
    assert nfexport.verify(path, named=NamedModel(name=f"{FILE}:Small")).passed


def test_seeded_weights_and_a_checkpoint_replace_the_factorys(tmp_path: Path) -> None:
    seeded, own = tmp_path / "seeded.onnx", tmp_path / "own.onnx"
    inputs = ("image=float32[batch,1,28,28]",)
    kinds = []
    choices: list[dict[str, Any]] = [{"seed": 3}, {}]
    for options in choices:
        made = nfexport.export(f"{FILE}:Small", seeded if options else own, inputs=inputs, opset=17, **options)
        kinds.append(made.recipe.weights.kind)
    assert kinds == ["seeded", "module"]
    assert nfexport.rebuild(seeded, model=f"{FILE}:Small", verify=False).reproduced
    trained = Small().eval()
    torch.save(trained.state_dict(), tmp_path / "w.pth")
    third = nfexport.export(
        f"{FILE}:Small", tmp_path / "c.onnx", inputs=inputs, opset=17, checkpoint=tmp_path / "w.pth"
    )
    assert third.recipe.weights.kind == "checkpoint"
    assert nfexport.verify(tmp_path / "c.onnx", model=f"{FILE}:Small", checkpoint=tmp_path / "w.pth").passed


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_file_of_another_tool_is_compared_with_a_factory(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, path = own_modules.Tokens().eval(), tmp_path / "foreign.onnx"
    example = (torch.zeros(2, 4, dtype=torch.int64), torch.ones(2, 4))
    torch.onnx.export(
        module,
        example,
        path,
        dynamo=False,
        opset_version=14,
        input_names=["a", "b"],
        dynamic_axes={"a": {0: "n"}, "b": {0: "n"}},
    )
    assert nfexport.verify(path, named=NamedModel(name=f"{FILE}:Tokens")).passed
    with pytest.raises(RecipeError, match="takes 1 tensors"):
        nfexport.verify(path, named=NamedModel(name=f"{FILE}:Small"))


def test_int8(tmp_path: Path) -> None:
    path = tmp_path / "two.onnx"
    nfexport.export(FACTORY, path, inputs=("image=float32[batch,3,32,40]", INPUTS[1]), opset=17, fold_ws=True)
    made = nfexport.quantize(path, tmp_path / "int8.onnx", calibrate=6)
    assert made.int8_products
    assert nfexport.verify(tmp_path / "int8.onnx", model=FACTORY).passed


IMAGE = ("image=float32[batch,1,16,16]",)


@pytest.mark.parametrize(
    ("model", "options", "error", "words"),
    [
        ("no.such.module:f", {}, UnknownModelError, "there is no Python module 'no.such.module'"),
        ("nowhere.py:f", {}, UnknownModelError, "'nowhere.py' does not exist"),
        (f"{FILE}:smal", {}, UnknownModelError, "has no 'smal'"),
        (f"{FILE}:NUMBER", {}, UnknownModelError, "is not a function or class"),
        (f"{FILE}:nothing", {}, RecipeError, "returns None, not a torch module"),
        (f"{FILE}:failing", {}, RecipeError, "raises OSError: the weights are not here"),
        (f"{FILE}:Small", {"model_kwargs": {"n": 1}}, RecipeError, "cannot be called with the arguments n"),
        (f"{FILE}:Small", {"inputs": ()}, RecipeError, "it is not known what Small takes"),
        (f"{FILE}:half", {}, RecipeError, "is float16, not float32; call .float"),
        (f"{FILE}:without_weights", {}, RecipeError, "is on the device 'meta'"),
        (f"{FILE}:Small", {"inputs": ("image=float32[batch,3,16,16]",)}, RecipeError, "does not take image .2, 3"),
        (f"{FILE}:Small", {"outputs": ("features",)}, RecipeError, "has no features"),
        (f"{FILE}:Small", {"outputs": ("topk",)}, RecipeError, "no top 5 of 4 classes"),
        (f"{FILE}:two_inputs", {"inputs": INPUTS, "normalize": "nodes"}, RecipeError, "--normalize is for images"),
        (f"{FILE}:two_inputs", {"inputs": INPUTS, "outputs": ("probs",)}, RecipeError, "not one tensor of logits"),
        (f"{FILE}:Talking", {}, RecipeError, "Talking returns a str as 'note', not a tensor"),
        (f"{FILE}:Dropping", {}, RecipeError, "two runs of Dropping on the same input give different values"),
        (f"{FILE}:Deciding", {}, VerificationFailed, "reads numbers of its own tensors .own_modules.py, line"),
        (Small(), {}, RecipeError, "Small is in training mode; call .eval"),
        (Small().eval().half(), {}, RecipeError, "is float16"),
        (Small().eval(), {"inputs": [1, 2]}, RecipeError, "is a int, not a tensor"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path, model: Any, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    target = tmp_path / "x.onnx"
    with pytest.raises(error, match=words) as caught:
        nfexport.export(model, target, **{"inputs": IMAGE, "opset": 17, **FAST, **options})
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_parameters_without_effect_are_told(tmp_path: Path) -> None:
    module = Small().eval()
    with torch.no_grad():
        module.classifier.weight.zero_()
    options: dict[str, Any] = {"inputs": torch.zeros(2, 1, 16, 16), "opset": 17}
    made = nfexport.export(module, tmp_path / "x.onnx", **options)
    assert len(made.notes) == 1
    assert "'classifier.weight' are all 0" in made.notes[0]
    assert not nfexport.export(Small().eval(), tmp_path / "y.onnx", **options).notes


def test_the_module_is_left_as_it_was(tmp_path: Path) -> None:
    module = Small().eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    nfexport.export(module, tmp_path / "x.onnx", inputs=torch.zeros(2, 1, 16, 16), opset=17, verify=False)
    assert "forward" not in vars(module)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())

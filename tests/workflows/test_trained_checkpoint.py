"""A checkpoint of timm's training script is exported with no further option: its arguments say all of it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec import UNSET
from PIL import Image

import nfexport
from nfexport.cli import run
from nfexport.errors import EXIT_MISSING, WeightsUnreachable
from nfexport.runtimes import open_session
from nfexport.sources.timm.torchvision_operators import import_timm
from tests.sources.training import CLASSES, SIZE, arguments, train


@pytest.fixture(scope="module")
def args() -> argparse.Namespace:
    return arguments(
        num_classes=4,
        in_chans=1,
        img_size=SIZE,
        mean=[0.4],
        std=[0.3],
        crop_pct=0.8,
        interpolation="bilinear",
        gp="max",
        model_kwargs={"act_layer": "relu"},
        model_ema=True,
    )


@pytest.fixture(scope="module")
def best(tmp_path_factory: pytest.TempPathFactory, args: argparse.Namespace) -> Path:
    return train(tmp_path_factory.mktemp("train"), args)


@pytest.fixture(scope="module")
def exported(best: Path) -> nfexport.ExportResult:
    return nfexport.export(str(best), best.parent / "model_best.onnx", exporter="torchscript", fold_ws=True)


def photographs() -> list[Path]:
    import sklearn.datasets

    return sorted((Path(sklearn.datasets.__file__).parent / "images").glob("*.jpg"))


def timms_model(args: argparse.Namespace, best: Path, *, ema: bool = True) -> torch.nn.Module:
    """Build the trained network as timm's own validation script does."""
    model: torch.nn.Module = import_timm().create_model(
        args.model, in_chans=args.in_chans, num_classes=args.num_classes, global_pool=args.gp, **args.model_kwargs
    )
    from timm.models import load_checkpoint

    load_checkpoint(model, str(best), use_ema=ema)
    return model.eval()


def timms_answers(args: argparse.Namespace, best: Path) -> np.ndarray[Any, Any]:
    """Return PyTorch's logits of the photographs, prepared by timm's own transform."""
    from timm.data import create_transform, resolve_data_config

    model = timms_model(args, best)
    transform = create_transform(**resolve_data_config(vars(args), model=model), is_training=False)
    images = torch.stack([transform(Image.open(path).convert("L")) for path in photographs()])
    with torch.inference_mode():
        logits: np.ndarray[Any, Any] = model(images).numpy()
    return logits


def test_the_file_agrees_with_pytorch_on_photographs(
    exported: nfexport.ExportResult, args: argparse.Namespace, best: Path
) -> None:
    from nfexport.images.preprocessor import preprocessor_of

    expected = timms_answers(args, best)
    assert len(expected) >= 2
    prepare = preprocessor_of(exported.recipe)
    pixels = [prepare.read(path) for path in photographs()]
    (logits,) = open_session(exported.path).run({"input": prepare.batch(pixels)}).values()
    # float32 rounding, and the libraries' decoders are one
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * float(np.ptp(expected)))


def test_classify_finds_the_classes_that_pytorch_finds(
    exported: nfexport.ExportResult,
    args: argparse.Namespace,
    best: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["classify", str(exported.path), *map(str, photographs()), "--json"]
    assert run(words) == 0
    answers = json.loads(capsys.readouterr().out)
    top = [image["classes"][0]["class"] for image in answers["images"]]
    assert top == timms_answers(args, best).argmax(1).tolist()


def test_the_recipe_holds_what_the_checkpoint_says(exported: nfexport.ExportResult) -> None:
    recipe = exported.recipe
    source = recipe.source
    assert (source.model, source.num_classes, source.in_chans, source.ema) == ("test_nfnet", 4, 1, True)
    assert source.model_kwargs == {"act_layer": "relu", "global_pool": "max"}
    assert (source.checkpoint, recipe.provenance) == (None, UNSET)
    assert (recipe.architecture, recipe.weights.kind, recipe.image_size) == ("test_nfnet", "checkpoint", (SIZE, SIZE))
    pre = recipe.preprocessing
    assert (pre.mean, pre.std, pre.crop_pct, pre.interpolation) == ((0.4,), (0.3,), 0.8, "bilinear")
    assert "model_best" not in recipe.to_json()


def test_the_report_tells_what_was_read(best: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--exporter", "torchscript", "--no-verify", "-o", str(tmp_path / "m.onnx")]
    assert run([str(best), *words]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for text in (
        "architecture test_nfnet, 4 classes, 1 channel, 64 × 64 px, mean 0.4, std 0.3, crop 0.8, bilinear",
        "act_layer=relu, global_pool=max: from the checkpoint",
        "the averaged (EMA) weights of the checkpoint are taken; --no-ema takes the raw ones",
    ):
        assert text in shown, shown
    assert run([str(best), *words, "--json", "--no-ema", "--crop-pct", "0.9"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["notes"][1:] == [
        "the raw weights of the checkpoint are taken; --ema takes the averaged (EMA) ones",
        "--crop-pct 0.9 replaces the model's own 0.8",
    ]


def test_verify_and_rebuild_need_nothing_but_the_checkpoint(
    exported: nfexport.ExportResult, best: Path, tmp_path: Path
) -> None:
    assert nfexport.verify(exported.path, checkpoint=best).passed
    assert nfexport.rebuild(exported.path, checkpoint=best, verify=False).differences == ()
    again = nfexport.export(
        "test_nfnet",
        tmp_path / "model_best.onnx",
        checkpoint=best,
        verify=False,
        fold_ws=True,
        exporter="torchscript",
    )
    assert again.path.read_bytes() == exported.path.read_bytes()
    with pytest.raises(WeightsUnreachable, match="a checkpoint of test_nfnet, which is not here") as caught:
        nfexport.verify(exported.path)
    assert (caught.value.exit_code, caught.value.fix) == (EXIT_MISSING, "pass it with --checkpoint FILE")


def test_the_file_is_called_like_the_checkpoint(
    best: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run([str(best), "--exporter", "torchscript", "--no-verify", "-q"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["model_best.onnx"]


def test_labels_from_the_user_fit_the_classes_of_the_checkpoint(best: Path, tmp_path: Path) -> None:
    result = nfexport.export(str(best), tmp_path / "m.onnx", labels=CLASSES, exporter="torchscript", verify=False)
    assert result.recipe.labels == CLASSES


def test_raw_weights_are_others(best: Path, args: argparse.Namespace) -> None:
    from nfexport.sources import ModelSpec, load
    from nfexport.sources.model.digest import state_digest

    for ema in (True, False):
        loaded = load(ModelSpec(name=str(best), ema=ema))
        assert loaded.weights.digest == state_digest(timms_model(args, best, ema=ema))

"""Sizes, classes, hubs and rebuilding from a recipe."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch

from nfexport.errors import EXIT_MISSING, RecipeError, WeightsUnreachable
from nfexport.models import ModelSpec, load
from nfexport.models.catalogue import find_standardised, known_standardised, list_architectures
from nfexport.models.names import resolve
from nfexport.models.sizes import choose_size, preprocessing


@pytest.mark.parametrize(
    ("name", "wanted", "size"),
    [
        ("dm_nfnet_f0", None, (256, 256)),
        ("dm_nfnet_f0", "train", (192, 192)),
        ("nfnet_l0", "test", (288, 288)),
        ("efficientnet_b0", "test", (224, 224)),
        ("nfnet_l0", 160, (160, 160)),
        ("nfnet_l0", (96, 128), (96, 128)),
    ],
)
def test_sizes(name: str, wanted: object, size: tuple[int, int]) -> None:
    assert choose_size(wanted, resolve(name, pretrained=False).cfg) == size  # type: ignore[arg-type]


def test_the_test_size_has_its_own_crop() -> None:
    cfg = resolve("nfnet_l0", pretrained=True).cfg
    assert preprocessing(cfg, (288, 288)).crop_pct == 1.0
    assert preprocessing(cfg, (224, 224)).crop_pct == 0.9


@pytest.mark.parametrize(
    ("name", "size", "problem"),
    [
        ("test_vit", 30, "does not take pictures of 30×30"),
        ("vgg11", 16, "does not take pictures of 16×16"),
        ("test_nfnet", 0, "has no pixels"),
    ],
)
def test_sizes_that_an_architecture_refuses(name: str, size: int, problem: str) -> None:
    with pytest.raises(RecipeError, match=problem) as caught:
        load(ModelSpec(name=name, image_size=size))
    assert "--image-size" in caught.value.fix


def test_a_network_of_fixed_size_is_built_for_the_size_asked_for() -> None:
    loaded = load(ModelSpec(name="test_vit", image_size=96))
    assert loaded.image_size == (96, 96)


def test_a_negative_number_of_classes_is_refused() -> None:
    with pytest.raises(RecipeError, match="-1 classes cannot be"):
        load(ModelSpec(name="test_nfnet", num_classes=-1))


HUB = """
import os, sys, threading, json
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
sys.path.insert(0, {source!r})
from nfexport.models import ModelSpec, load
try:
    loaded = load(ModelSpec(name="test_nfnet.r160_in1k", {arguments}))
    print(json.dumps([loaded.weights.kind, loaded.weights.tag, loaded.weights.digest, loaded.labels]))
except Exception as error:
    print(json.dumps([type(error).__name__, error.exit_code, error.problem, error.fix]))
"""


def in_a_process(tmp_path: Path, arguments: str = "", **environment: str) -> list[object]:
    """Load in a process of its own: the hub's client reads its settings when it is imported."""
    import os

    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-c", HUB.format(source=source, arguments=arguments)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_HOME": str(tmp_path), **environment},
    )
    assert done.stderr == ""
    result: list[object] = json.loads(done.stdout)
    return result


@pytest.fixture
def cache_with_weights(tmp_path: Path) -> tuple[Path, str]:
    """A cache of the hub's client, laid out as the client does, that holds test_nfnet's weights."""
    loaded = load(ModelSpec(name="test_nfnet", seed=3))
    hub_id = resolve("test_nfnet.r160_in1k", pretrained=False).cfg.hf_hub_id
    repository = tmp_path / "hub" / f"models--{hub_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    safetensors.torch.save_file(loaded.module.state_dict(), snapshot / "model.safetensors")
    return tmp_path, loaded.weights.digest


def test_trained_weights_come_through_the_hubs_client(cache_with_weights: tuple[Path, str]) -> None:
    home, digest = cache_with_weights
    result = in_a_process(home, HF_HUB_OFFLINE="1")
    assert result == ["pretrained", "r160_in1k", digest, "imagenet-1k"]


def test_another_number_of_classes_than_the_trained_ones_is_refused(
    cache_with_weights: tuple[Path, str],
) -> None:
    result = in_a_process(cache_with_weights[0], "num_classes=10", HF_HUB_OFFLINE="1")
    assert result[0] == "RecipeError"
    assert "has 1000 classes, not 10" in str(result[2])


@pytest.mark.parametrize(
    "environment",
    [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}],
    ids=["offline mode", "nobody answers"],
)
def test_a_hub_out_of_reach_names_the_two_ways_on(tmp_path: Path, environment: dict[str, str]) -> None:
    kind, exit_code, problem, fix = in_a_process(tmp_path, **environment)
    assert (kind, exit_code) == (WeightsUnreachable.__name__, EXIT_MISSING)
    assert "the weights of test_nfnet.r160_in1k cannot be fetched" in str(problem)
    assert "--checkpoint FILE" in str(fix)
    assert "the bare name 'test_nfnet'" in str(fix)


def test_the_catalogue_marks_weight_standardisation() -> None:
    marks = {entry.architecture: entry.weight_standardised for entry in list_architectures("*50*")}
    assert marks["resnetv2_50x1_bit"]
    assert marks["nf_resnet50"]
    assert not marks["resnet50"]
    assert len(known_standardised()) == 51


@pytest.mark.slow
def test_the_shipped_table_is_current() -> None:
    assert set(find_standardised()) == known_standardised()


REBUILD = """
import json, sys
sys.path.insert(0, {source!r})
from pathlib import Path
import nfexport
nfexport.export("test_nfnet.r160_in1k", {target!r}, fold_ws=True)
print(json.dumps(nfexport.verify({target!r}).passed))
import huggingface_hub.constants, shutil
shutil.rmtree(Path(huggingface_hub.constants.HF_HUB_CACHE))
try:
    nfexport.verify({target!r})
except nfexport.NfexportError as error:
    print(json.dumps([error.exit_code, error.problem, error.fix]))
print(json.dumps(nfexport.verify({target!r}, checkpoint={checkpoint!r}).passed))
"""


def test_a_file_with_trained_weights_is_verified_from_the_hub_or_from_a_checkpoint(
    cache_with_weights: tuple[Path, str], tmp_path: Path
) -> None:
    import os
    import shutil

    home, _ = cache_with_weights
    (weights,) = home.rglob("model.safetensors")
    checkpoint = tmp_path / "kept.safetensors"
    shutil.copy(weights, checkpoint)
    code = REBUILD.format(
        source=str(Path(__file__).parents[2] / "src"), target=str(tmp_path / "m.onnx"), checkpoint=str(checkpoint)
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"},
    )
    passed, refusal, passed_again = map(json.loads, done.stdout.splitlines())
    assert passed is True
    assert refusal[0] == EXIT_MISSING
    assert "the weights of test_nfnet.r160_in1k cannot be fetched" in refusal[1]
    assert refusal[2] == "pass them with --checkpoint FILE"
    assert passed_again is True

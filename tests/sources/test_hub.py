"""Trained weights through the real client of the hub: from a server, from its cache, and from nowhere."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch

from nfexport.errors import EXIT_INPUT, EXIT_MISSING, CheckpointError, RecipeError, WeightsUnreachable
from nfexport.sources import ModelSpec, load
from nfexport.sources.timm import hub
from nfexport.sources.timm.names import resolve_name

NAME = "test_nfnet.r160_in1k"

HUB = """
import json, sys
sys.path.insert(0, {source!r})
from nfexport.sources import ModelSpec, load
try:
    loaded = load(ModelSpec(name="test_nfnet.r160_in1k"))
    print(json.dumps([loaded.weights.kind, loaded.weights.tag, loaded.weights.digest, loaded.labels]))
except Exception as error:
    print(json.dumps([type(error).__name__, error.exit_code, error.problem, error.fix]))
"""


def in_a_process(tmp_path: Path, **environment: str) -> list[object]:
    """Load in a process of its own: the hub's client reads its settings when it is imported."""
    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-c", HUB.format(source=source)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1", **environment},
    )
    assert done.stderr == ""
    result: list[object] = json.loads(done.stdout)
    return result


@pytest.fixture
def cache_with_weights(tmp_path: Path) -> tuple[Path, str]:
    """A cache of the hub's client, laid out as the client does, that holds test_nfnet's weights."""
    loaded = load(ModelSpec(name="test_nfnet", seed=3))
    hub_id = resolve_name("test_nfnet.r160_in1k", pretrained=False).cfg.hf_hub_id
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


@contextlib.contextmanager
def serving(content: bytes, *, status: int = 200, error: str = "") -> Iterator[str]:
    """Serve one weights file as the hub does, or refuse as it does; gives the address."""
    hub_id = resolve_name("test_nfnet.r160_in1k", pretrained=False).cfg.hf_hub_id
    known = f"/{hub_id}/resolve/main/model.safetensors"

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            code, reason = (status, error) if self.path == known else (404, "EntryNotFound")
            self.send_response(code)
            self.send_header("X-Repo-Commit", "1" * 40)
            if code == 200:
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            else:
                self.send_header("X-Error-Code", reason)
            self.send_header("Content-Length", str(len(content) if code == 200 else 0))
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            if self.path == known and status == 200:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_trained_weights_are_downloaded(tmp_path: Path) -> None:
    loaded = load(ModelSpec(name="test_nfnet", seed=4))
    content = safetensors.torch.save(loaded.module.state_dict())
    # a user's own setting for the client's bars must not end in the client's warning
    environment = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1"}
    with serving(content) as address:
        result = in_a_process(tmp_path, HF_ENDPOINT=address, **environment)
    assert result == ["pretrained", "r160_in1k", loaded.weights.digest, "imagenet-1k"]


def test_another_number_of_classes_gets_a_seeded_classifier(point_at: Callable[[str], None]) -> None:
    trained = load(ModelSpec(name="test_nfnet", seed=4))
    with serving(safetensors.torch.save(trained.module.state_dict())) as address:
        point_at(address)
        first, again = (load(ModelSpec(name=NAME, num_classes=10)) for _ in range(2))
        other = load(ModelSpec(name=NAME, num_classes=10, seed=3))
    assert first.weights == again.weights
    assert (first.weights.kind, first.weights.tag, first.weights.seed) == ("pretrained", "r160_in1k", 0)
    assert (first.num_classes, first.labels, other.weights.seed) == (10, None, 3)
    assert first.notes == ("the classifier of 10 classes is seeded (seed 0) and untrained; the trained one has 1000",)
    kept, head = trained.module.state_dict(), ("head.fc.weight", "head.fc.bias")
    for name, tensor in first.module.state_dict().items():
        assert name in head or torch.equal(tensor, kept[name])
    for name in head:
        seeded = first.module.get_parameter(name)
        assert seeded.abs().min() > 0  # every parameter matters
        assert not torch.equal(seeded, other.module.get_parameter(name))


@pytest.mark.parametrize(("channels", "how"), [(1, "summed"), (4, "repeated and scaled")])
def test_the_first_convolution_is_adapted_to_other_channels_as_timm_does(
    point_at: Callable[[str], None], channels: int, how: str
) -> None:
    trained = load(ModelSpec(name="test_nfnet", seed=4))
    with serving(safetensors.torch.save(trained.module.state_dict())) as address:
        point_at(address)
        loaded = load(ModelSpec(name=NAME, in_chans=channels))
    from timm.models._manipulate import adapt_input_conv

    weight = loaded.module.get_parameter("stem.conv1.weight")
    assert torch.equal(weight, adapt_input_conv(channels, trained.module.get_parameter("stem.conv1.weight")))
    assert loaded.in_channels == channels == len(loaded.preprocessing.mean) == len(loaded.preprocessing.std)
    assert loaded.labels == "imagenet-1k"
    assert loaded.notes == (
        f"the first convolution, trained with 3 channels, is {how} for {channels}, as timm does",
        f"mean and std are known for 3 channels; the network of {channels} gets their average, as in timm's loaders, "
        "unless --mean and --std say otherwise",
    )


def test_trained_weights_with_an_argument_that_the_model_does_not_have(point_at: Callable[[str], None]) -> None:
    point_at("http://127.0.0.1:9")
    with pytest.raises(RecipeError, match="test_nfnet has no argument 'global_pol'; did you mean 'global_pool'"):
        load(ModelSpec(name=NAME, model_kwargs={"global_pol": "max"}))


def test_a_damaged_download_is_no_traceback(point_at: Callable[[str], None]) -> None:
    with serving(b"no weights") as address:
        point_at(address)
        with pytest.raises(CheckpointError, match=f"the published weights of {NAME} could not be loaded") as caught:
            load(ModelSpec(name=NAME))
    assert caught.value.exit_code == EXIT_INPUT


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (404, "RepoNotFound", "the hub does not have them"),
        (403, "GatedRepo", "only for users who have accepted their terms"),
        (503, "", "the model hub is unreachable"),
    ],
)
def test_what_a_hub_that_answers_says_is_told(
    point_at: Callable[[str], None], status: int, error: str, reason: str
) -> None:
    with serving(b"", status=status, error=error) as address:
        point_at(address)
        with pytest.raises(WeightsUnreachable, match=reason) as caught:
            load(ModelSpec(name=NAME))
    assert caught.value.exit_code == EXIT_MISSING
    assert "--checkpoint FILE" in caught.value.fix


@pytest.mark.parametrize(
    "environment",
    [{"HF_HUB_OFFLINE": "1"}, pytest.param({"HF_ENDPOINT": "http://127.0.0.1:9"}, marks=pytest.mark.slow)],
    ids=["offline mode", "no server"],
)
def test_a_hub_out_of_reach_names_the_two_ways_on(tmp_path: Path, environment: dict[str, str]) -> None:
    kind, exit_code, problem, fix = in_a_process(tmp_path, **environment)
    assert (kind, exit_code) == (WeightsUnreachable.__name__, EXIT_MISSING)
    assert f"the weights of {NAME} cannot be fetched" in str(problem)
    assert "--checkpoint FILE" in str(fix)
    assert "the bare name 'test_nfnet'" in str(fix)


def test_a_hub_that_never_answers_is_given_up_soon(
    point_at: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        point_at(f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        with pytest.raises(WeightsUnreachable, match="the model hub is unreachable"):
            load(ModelSpec(name=NAME))
    # half a second of patience; the client alone would wait for minutes
    assert time.monotonic() - start < 20


def test_a_size_that_is_refused_does_not_look_like_weights_that_do_not_fit() -> None:
    with pytest.raises(RecipeError, match="xcit_nano_12_p8_224 does not accept images of 30×30"):
        load(ModelSpec(name="xcit_nano_12_p8_224", pretrained=True, image_size=30))


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

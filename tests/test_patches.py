"""The diffs in patches/: each applies to the timm it names, changes no number and exports to opset 11.

Old releases of timm come from the package registry (marker `registry`) and are kept in NFEXPORT_TEST_CACHE,
or else in pytest's cache. Each copy of timm runs in a process of its own: see patch_probe.py.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

PATCHES = Path(__file__).parents[1] / "patches"
PROBE = Path(__file__).parent / "patch_probe.py"

DIFFS = {
    "0.4.5": "timm-0.4.5-0.4.9.diff",
    "0.4.9": "timm-0.4.5-0.4.9.diff",
    "0.4.12": "timm-0.4.12.diff",
    "0.6.13": "timm-0.5.4-0.6.13.diff",
    "0.9.16": "timm-0.8.2-1.0.20.diff",
    "1.0.20": "timm-0.8.2-1.0.20.diff",
    "1.0.31": "timm-1.0.21-1.0.31.diff",
}
RUN = ("0.4.9", "0.4.12", "0.6.13", "0.9.16", "1.0.31")

# Both sides round mean, variance, root and quotient to float32, each once or twice: 8 units in the last place
# of 1.2e-7 between them. Measured: 3.7e-7 at most, kernels and gradients; the nearest wrong formula: 5e-4.
KERNEL_TOLERANCE = 1e-6
# The same rounding after 54 convolutions, as a share of the output's range. Measured: 9e-7.
NETWORK_TOLERANCE = 1e-5


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What one copy of timm computes."""

    arrays: dict[str, np.ndarray]
    settings: dict[str, dict[str, float]]
    operators: set[str]
    image: np.ndarray
    output: np.ndarray
    onnx_path: Path

    def group(self, name: str) -> dict[str, np.ndarray]:
        """Return the arrays called name/…, by what follows the stroke."""
        prefix = f"{name}/"
        return {key[len(prefix) :]: value for key, value in self.arrays.items() if key.startswith(prefix)}


@dataclass(frozen=True, kw_only=True)
class Release:
    version: str
    original: Probe
    patched: Probe


def relative_difference(actual: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference of an entry, as a share of the largest entry of its filter."""
    axes = tuple(range(1, expected.ndim))
    return float(np.max(np.abs(actual - expected).max(axes) / np.abs(expected).max(axes)))


def largest_difference(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    assert actual.keys() == expected.keys()
    return max(relative_difference(actual[name], expected[name]) for name in expected)


def share_of_range(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(actual - expected).max() / np.ptp(expected))


def expected_kernel(
    weight: np.ndarray, gain: np.ndarray, scale: float, eps: float, *, root: str, ddof: int = 0
) -> np.ndarray:
    """Return the kernel in float64, with eps inside or outside the root and the variance over n − ddof."""
    weight = weight.astype(np.float64)
    var = weight.var(axis=(1, 2, 3), keepdims=True, ddof=ddof)
    divisor = {"eps inside": np.sqrt(var + eps), "eps outside": np.sqrt(var) + eps}[root]
    kernel: np.ndarray = gain * scale * (weight - weight.mean(axis=(1, 2, 3), keepdims=True)) / divisor
    return kernel


def root_of(version: str) -> str:
    return "eps outside" if version in ("0.4.5", "0.4.9") else "eps inside"


def timm_copy(version: str, destination: Path, cache: Path) -> Path:
    """Put that version of the package timm into the folder: the installed one, or else a downloaded one."""
    if importlib.metadata.version("timm") == version:
        spec = importlib.util.find_spec("timm")
        assert spec is not None
        assert spec.origin is not None
        shutil.copytree(Path(spec.origin).parent, destination / "timm", ignore=shutil.ignore_patterns("__pycache__"))
        return destination
    if not list(cache.glob(f"timm-{version}-*.whl")):
        problem = download_problem(version, cache)
        # offline is no fault of a diff; one that does not apply fails below
        if problem is not None:
            pytest.skip(f"timm {version} could not be downloaded: its patch was not tried ({problem})")
    with zipfile.ZipFile(next(cache.glob(f"timm-{version}-*.whl"))) as wheel:
        wheel.extractall(destination, [name for name in wheel.namelist() if name.startswith("timm/")])
    return destination


@functools.cache
def download_problem(version: str, cache: Path) -> str | None:
    """Put the wheel into the cache, or return why not; asked once a version, as a dead network is slow."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--retries=0", "--timeout=8"]
    command += ["--dest", str(cache), f"timm=={version}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return "pip took over 60 s"
    return None if done.returncode == 0 else (done.stderr.strip() or "pip gave no reason").splitlines()[-1]


def apply(diff: str, tree: Path) -> str:
    """Apply the diff in the folder that contains timm/, without fuzz, and return what patch says."""
    # a missing program is no fault of a diff; CI installs it
    if shutil.which("patch") is None:
        pytest.skip("the program `patch` is not installed: no diff of patches/ was tried")
    command = ["patch", "-p1", "-F0", "--batch", "-i", str(PATCHES / diff)]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, f"{diff} does not apply: {done.stdout}{done.stderr}"
    return done.stdout


def std_conv_of(tree: Path) -> Path:
    (path,) = tree.glob("timm/**/layers/std_conv.py")
    return path


def probe(version: str, tree: Path, *options: str) -> Probe:
    """Run patch_probe.py with the timm of that tree and read what it wrote."""
    folder = tree.with_name(f"{tree.name}.out")
    folder.mkdir()
    inherited = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    done = subprocess.run(
        [sys.executable, str(PROBE), str(folder), *options],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tree), *inherited])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"the probe failed with timm {version}:\n{done.stdout}{done.stderr}"
    report = json.loads((folder / "report.json").read_text())
    assert report["version"] == version
    assert Path(report["file"]).samefile(std_conv_of(tree))
    with np.load(folder / "convs.npz") as convs, np.load(folder / "network.npz") as network:
        return Probe(
            arrays=dict(convs),
            settings=report["settings"],
            operators=set(report["operators"]),
            image=network["image"],
            output=network["output"],
            onnx_path=folder / "network.onnx",
        )


def probe_both(version: str, trees: Sequence[Path], *options: str) -> list[Probe]:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda tree: probe(version, tree, *options), trees))


@pytest.fixture(scope="module")
def cache(pytestconfig: pytest.Config) -> Path:
    """Return the folder that keeps downloaded wheels from one test run to the next."""
    named = os.environ.get("NFEXPORT_TEST_CACHE")
    folder = Path(named) / "timm" if named else pytestconfig.cache.mkdir("timm")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def room() -> Iterator[Path]:
    """Return a folder that goes at once: a release fills 250 MB, and pytest keeps its own for three runs."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture(scope="module", params=RUN)
def release(request: pytest.FixtureRequest, cache: Path, room: Path) -> Iterator[Release]:
    """Run a release as it is and patched, both at the same time."""
    version = request.param
    base = room / version
    trees = [timm_copy(version, base / kind, cache) for kind in ("original", "patched")]
    apply(DIFFS[version], trees[1])
    original, patched = probe_both(version, trees, "--export")
    yield Release(version=version, original=original, patched=patched)
    shutil.rmtree(base)


def test_the_readme_lists_every_diff() -> None:
    listed = re.findall(r"`(timm-[\w.-]+\.diff)` \|", (PATCHES / "README.md").read_text(encoding="utf-8"))
    on_disk = {path.name for path in PATCHES.glob("*.diff")}
    assert set(listed) == on_disk == set(DIFFS.values())
    assert len(listed) == len(on_disk)


@pytest.mark.registry
@pytest.mark.parametrize("version", DIFFS)
def test_the_diff_applies_without_fuzz(version: str, cache: Path, tmp_path: Path) -> None:
    tree = timm_copy(version, tmp_path, cache)
    said = apply(DIFFS[version], tree)
    assert "fuzz" not in said
    assert not list(tree.glob("**/*.rej"))
    text = std_conv_of(tree).read_text(encoding="utf-8")
    compile(text, "std_conv.py", "exec")
    for fused in ("std_mean(self", "std_mean(module", "F.batch_norm(", "F.layer_norm("):
        assert fused not in text


@pytest.mark.registry
def test_a_diff_refuses_another_generation(cache: Path, tmp_path: Path) -> None:
    tree = timm_copy("0.4.9", tmp_path, cache)
    with pytest.raises(AssertionError, match=r"timm-0\.4\.12\.diff does not apply"):
        apply("timm-0.4.12.diff", tree)


@pytest.mark.slow
@pytest.mark.registry
def test_kernels_and_gradients_are_the_original_ones(release: Release) -> None:
    for name in ("kernel", "gradient"):
        actual, expected = release.patched.group(name), release.original.group(name)
        assert len(expected) >= 4
        assert largest_difference(actual, expected) < KERNEL_TOLERANCE


@pytest.mark.slow
@pytest.mark.registry
def test_kernels_follow_the_formula_of_their_generation_and_no_other(release: Release) -> None:
    kernels, weights, gains = (release.patched.group(name) for name in ("kernel", "weight", "gain"))
    assert len(release.patched.settings) == 54
    for name, setting in release.patched.settings.items():
        for root in ("eps inside", "eps outside"):
            for ddof in (0, 1):
                formula = expected_kernel(weights[name], gains[name], **setting, root=root, ddof=ddof)
                agrees = relative_difference(kernels[name], formula) < KERNEL_TOLERANCE
                assert agrees == (root == root_of(release.version) and ddof == 0), (name, root, ddof)


@pytest.mark.slow
@pytest.mark.registry
def test_the_network_computes_the_same(release: Release) -> None:
    assert np.isfinite(release.original.output).all()
    assert share_of_range(release.patched.output, release.original.output) < NETWORK_TOLERANCE


@pytest.mark.slow
@pytest.mark.registry
def test_the_patched_network_exports_to_opset_11_and_runs(release: Release) -> None:
    model = onnx.load(release.patched.onnx_path)
    onnx.checker.check_model(model)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 11)]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert not release.patched.operators & {"aten::std_mean", "aten::batch_norm", "aten::layer_norm"}
    session = onnxruntime.InferenceSession(release.patched.onnx_path, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"image": release.patched.image})
    assert share_of_range(output, release.original.output) < NETWORK_TOLERANCE


@pytest.mark.slow
@pytest.mark.registry
def test_the_original_shows_what_the_patch_is_for(release: Release) -> None:
    graph = onnx.load(release.original.onnx_path).graph
    outputs = Counter(len(node.output) for node in graph.node if node.op_type == "BatchNormalization")
    if root_of(release.version) == "eps outside":
        # today's torch takes std_mean apart when it exports; the torch of that time stopped here
        assert {"aten::std_mean", "aten::layer_norm"} <= release.original.operators
        assert not outputs
    else:
        assert "aten::batch_norm" in release.original.operators
        assert outputs == {5: 54}, "one in training form for every convolution"


@pytest.mark.slow
@pytest.mark.registry
@pytest.mark.parametrize(
    ("version", "right", "wrong"),
    [
        ("0.4.9", "unbiased=False)\n    return std, mean", "unbiased=True)\n    return std, mean"),
        ("0.4.12", "centred / torch.sqrt(var + eps)", "centred / (torch.sqrt(var) + eps)"),
    ],
    ids=["unbiased", "eps outside"],
)
def test_a_patch_with_a_wrong_formula_is_noticed(
    version: str, right: str, wrong: str, cache: Path, room: Path
) -> None:
    trees = [timm_copy(version, room / f"{version}-{kind}", cache) for kind in ("right", "wrong")]
    for tree in trees:
        apply(DIFFS[version], tree)
    path = std_conv_of(trees[1])
    text = path.read_text(encoding="utf-8")
    assert text.count(right) == 1
    path.write_text(text.replace(right, wrong), encoding="utf-8")
    good, bad = probe_both(version, trees)
    assert largest_difference(bad.group("kernel"), good.group("kernel")) > 100 * KERNEL_TOLERANCE
    assert largest_difference(bad.group("gradient"), good.group("gradient")) > 100 * KERNEL_TOLERANCE
    assert share_of_range(bad.output, good.output) > 10 * NETWORK_TOLERANCE

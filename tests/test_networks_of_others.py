"""Networks that other people wrote, from examples/modules: folded, verified, bisected, and recorded as goldens."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import nfexport
from nfexport.goldens.golden_check import check_golden
from nfexport.workflows.golden import record_golden

EXAMPLES = Path(__file__).parents[1] / "examples" / "modules"
NETWORKS: dict[str, tuple[str, dict[str, Any], int]] = {
    "nf_resnet18": ("nfnets", {"inputs": ("x=float32[batch,3,96,96]",)}, 20),
    "mule": ("mule_torch", {"inputs": ("x=float32[batch,1,96,300]",)}, 120),
    "bit": ("transformers", {"inputs": ("pixel_values=float32[batch,3,96,96]",)}, 23),
    "dinov2": ("transformers", {}, 0),
    "unet": ("segmentation_models_pytorch", {"inputs": ("x=float32[batch,3,height:96,width:96]",)}, 54),
    "resnet18": ("torchvision", {"image_size": 96}, 0),
}
"""The package of each network, its options, and the number of its standardised convolutions."""

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_folded_verified_bisected_and_recorded(tmp_path: Path, name: str, opset: int) -> None:
    package, options, convolutions = NETWORKS[name]
    # other people's packages are an extra, which make acceptance and CI install
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"the package {package} is not installed (pip install nfexport[networks])")
    factory, path = f"{EXAMPLES / 'networks.py'}:{name}", tmp_path / f"{name}.onnx"
    made = nfexport.export(factory, path, opset=opset, fold_ws=True, verify=False, **options)
    assert made.facts.opset_imports[""] == opset
    assert made.facts.computed_conv_weights == 0
    folded = next(report for report in made.passes if report.name == "fold-ws")
    assert folded.changed == convolutions
    result = nfexport.verify(path, model=factory, bisect=True)
    assert result.passed
    assert result.diagnosis is not None
    record_golden(path, tmp_path / "net.golden", model=factory)
    assert check_golden(path, tmp_path / "net.golden").passed


def test_the_readmes_own_module(tmp_path: Path) -> None:
    factory, path = f"{EXAMPLES / 'two_heads.py'}:build", tmp_path / "two.onnx"
    inputs = ("image=float32[batch,3,160,160]", "metadata=float32[batch,4]")
    made = nfexport.export(factory, path, opset=11, fold_ws=True, inputs=inputs, seed=0)
    assert not made.notes
    assert [output.name for output in made.recipe.outputs] == ["species", "age"]
    assert made.facts.computed_conv_weights == 0
    assert nfexport.verify(path, model=factory, bisect=True, self_test=True).passed
    assert nfexport.rebuild(path, model=factory, verify=False).reproduced

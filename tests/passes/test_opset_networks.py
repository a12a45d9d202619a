"""Whole networks from torch's dynamo exporter, which writes opset 18, carried to others."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from tests.passes import opset_agreement as agreement
from tests.patch_probe import declare_torchvision_operators

SIZE = 96


@pytest.fixture(scope="module", params=["test_nfnet", pytest.param("test_efficientnet", marks=pytest.mark.slow)])
def exported(request: pytest.FixtureRequest) -> Iterator[onnx.ModelProto]:
    """Export a network with seeded weights, and with gains that let its residual branches through."""
    kept_alive = declare_torchvision_operators()
    import timm

    torch.manual_seed(0)
    model = timm.create_model(request.param).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("gain"):
                parameter.fill_(0.8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            (torch.randn(2, 3, SIZE, SIZE),),
            dynamo=True,
            optimize=True,
            opset_version=18,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["image"],
            verbose=False,
        )
    assert program is not None
    yield ir.serde.serialize_model(program.model)
    del kept_alive


@pytest.mark.slow
@pytest.mark.parametrize("opset", [9, 11, 13, 17, 22, 26])
def test_a_network_computes_the_same(exported: onnx.ModelProto, opset: int) -> None:
    after, report = agreement.carry(exported, opset)
    assert report.left_alone == {}
    assert report.changed > 0 or opset > 18
    image = np.random.default_rng(0).standard_normal((3, 3, SIZE, SIZE), dtype=np.float32)
    expected = agreement.run(exported, {"image": image})
    assert np.abs(expected[0]).max() > 0
    # another operator may take another kernel, and its roundings pass through some fifty layers
    assert agreement.error(agreement.run(after, {"image": image}), expected) <= 10 * agreement.ROUNDING

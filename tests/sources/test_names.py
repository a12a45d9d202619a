"""Names of timm, and what is said of those that it does not know."""

from __future__ import annotations

import pytest

from nfexport.errors import EXIT_INPUT, UnknownModelError
from nfexport.sources.timm.names import resolve_name


def test_a_bare_name_asks_for_no_trained_weights() -> None:
    assert resolve_name("nfnet_l0", pretrained=False).tag is None


def test_a_tag_asks_for_those_weights_and_pretrained_for_the_default_ones() -> None:
    assert resolve_name("nfnet_l0.ra2_in1k", pretrained=False).tag == "ra2_in1k"
    assert resolve_name("nfnet_l0", pretrained=True).tag == "ra2_in1k"
    assert resolve_name("dm_nfnet_f0", pretrained=True).tag == "dm_in1k"


@pytest.mark.parametrize(
    ("name", "pretrained", "problem", "fix"),
    [
        ("nfnet_f00", False, "has no architecture 'nfnet_f00'", "nfnet_f0"),
        ("xyzzy", False, "has no architecture 'xyzzy'", "nfexport list"),
        ("nfnet_l0.ra2_in21k", False, "timm has no weights 'ra2_in21k' for nfnet_l0", "nfnet_l0.ra2_in1k"),
        ("nfnet_f0", True, "timm publishes no weights for nfnet_f0", "dm_nfnet_f0.dm_in1k"),
        ("nfnet_f0.dm_in1k", False, "timm publishes no weights for nfnet_f0", "seeded, untrained weights"),
        ("", False, "has no architecture ''", "nfexport list"),
        ("NFNet_F0", False, "has no architecture 'NFNet_F0'", "nfnet_f0"),
        ("gluon_resnet50_v1b", False, "has renamed gluon_resnet50_v1b to resnet50", "'resnet50.gluon_in1k'"),
        ("gluon_resnet50_v1b", True, "has renamed gluon_resnet50_v1b to resnet50", "pass 'resnet50', or"),
    ],
)
def test_unknown_names_get_the_nearest_ones(name: str, pretrained: bool, problem: str, fix: str) -> None:
    with pytest.raises(UnknownModelError) as caught:
        resolve_name(name, pretrained=pretrained)
    assert problem in caught.value.problem
    assert fix in caught.value.fix
    assert caught.value.exit_code == EXIT_INPUT

"""What the passes in front of a network leave to the caller."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from nfexport.recipe.interface import callers_part, networks_part
from nfexport.recipe.recipe import PassStep, Preprocessing
from nfexport.verification.file_preprocessing import FilePreprocessing
from nfexport.verification.input_cases import draw
from tests.asked import front_steps

NETWORK = Preprocessing(
    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), crop_pct=0.9, crop_mode="center", interpolation="bicubic"
)

FRONTS: tuple[dict[str, Any], ...] = (
    {"normalize": "nodes", "input_range": 255},
    {"normalize": "fold", "channels": "bgr", "input_dtype": "uint8", "input_layout": "nhwc"},
    {"normalize": "nodes"},
    {"input_range": 255},
    {"channels": "bgr", "input_dtype": "float16"},
)


@pytest.mark.parametrize("front", FRONTS)
def test_the_callers_part_and_the_files_part_make_the_whole(front: dict[str, Any]) -> None:
    """x[c] = (low + (high − low)·pixel − mean) / std by the caller, the steps by the file: the network's own."""
    steps = front_steps(NETWORK, **front)
    left = callers_part(NETWORK, steps)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5)) / 255.0
    low, high = left.value_range
    given = (low + (high - low) * pixels - np.reshape(left.mean, (1, 3, 1, 1))) / np.reshape(left.std, (1, 3, 1, 1))
    if left.channel_order == "bgr":
        given = given[:, ::-1]
    if left.layout == "nhwc":
        given = given.transpose(0, 2, 3, 1)
    if left.dtype == "uint8":
        given = np.rint(given).astype(np.uint8)
    seen = FilePreprocessing(steps=steps).to_network(given)
    wanted = (pixels - np.reshape(NETWORK.mean, (1, 3, 1, 1))) / np.reshape(NETWORK.std, (1, 3, 1, 1))
    np.testing.assert_allclose(seen.exact, wanted, atol=1e-12)


@pytest.mark.parametrize("front", FRONTS)
def test_pictures_for_a_file_are_what_its_network_is_to_see(front: dict[str, Any]) -> None:
    steps = front_steps(NETWORK, **front)
    form = FilePreprocessing(steps=steps)
    picture = draw("gradient", 0, seed=0, shape=(3, 8, 9), preprocessing=NETWORK)[None]
    seen = form.to_network(form.from_network(picture))
    # half a level of a byte, in units of the smallest deviation
    coarse = {"uint8": 0.51 / 255 / 0.224, "float16": 2e-3}.get(front.get("input_dtype", ""), 1e-5)
    np.testing.assert_allclose(seen.exact, picture, atol=coarse)


@pytest.mark.parametrize("front", [*FRONTS, {"normalize": "nodes", "channels": "bgr", "resize": "any"}, {}])
def test_the_networks_part_follows_from_the_callers(front: dict[str, Any]) -> None:
    steps = front_steps(NETWORK, opset=18, **front)
    found = networks_part(callers_part(NETWORK, steps), steps)
    assert replace(found, mean=NETWORK.mean, std=NETWORK.std) == NETWORK
    np.testing.assert_allclose((found.mean, found.std), (NETWORK.mean, NETWORK.std), atol=1e-15)  # float64
    if "normalize" in front:
        assert found == NETWORK  # the network's own numbers come back to the bit


def test_a_swap_is_a_node_behind_nodes_and_folded_otherwise() -> None:
    def fold(**options: Any) -> object:
        steps = front_steps(NETWORK, channels="bgr", **options)
        return next(step for step in steps if step.name == "channels").params["fold"]

    assert fold() == "auto"
    assert fold(normalize="fold") == "auto"
    assert fold(normalize="nodes") is False


def test_a_file_that_normalises_by_itself_leaves_nothing_to_subtract() -> None:
    step = PassStep(name="normalize", params={"mean": NETWORK.mean, "std": NETWORK.std, "value_range": 255.0})
    left = callers_part(NETWORK, [step])
    assert (left.mean, left.std, left.value_range) == ((0, 0, 0), (1, 1, 1), (0, 255))

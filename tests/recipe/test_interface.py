"""What the passes in front of a network leave to the caller."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nfexport.recipe.interface import callers_part, networks_part, steps_in_front
from nfexport.recipe.recipe import PassStep, Preprocessing
from nfexport.recipe.steps import Front
from nfexport.verification.file_preprocessing import FilePreprocessing
from nfexport.verification.input_cases import draw

NETWORK = Preprocessing(
    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), crop_pct=0.9, crop_mode="center", interpolation="bicubic"
)

FRONTS = (
    Front(normalize="nodes", input_range=255),
    Front(normalize="fold", channels="bgr", input_dtype="uint8", input_layout="nhwc"),
    Front(normalize="nodes", mean=(0.5, 0.5, 0.5), std=(0.25, 0.5, 0.75)),
    Front(input_range=255),
    Front(channels="bgr", input_dtype="float16"),
)


@pytest.mark.parametrize("front", FRONTS)
def test_the_callers_part_and_the_files_part_make_the_whole(front: Front) -> None:
    """x[c] = (low + (high − low)·pixel − mean) / std by the caller, the steps by the file: the network's own."""
    steps = front.steps(network=NETWORK, channels=3, opset=17)[:]
    steps.sort(key=lambda step: ("normalize", "channels", "input-form").index(step.name))
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
    seen = FilePreprocessing(steps=tuple(steps)).to_network(given)
    wanted = (pixels - np.reshape(NETWORK.mean, (1, 3, 1, 1))) / np.reshape(NETWORK.std, (1, 3, 1, 1))
    np.testing.assert_allclose(seen.exact, wanted, atol=1e-12)


@pytest.mark.parametrize("front", FRONTS)
def test_pictures_for_a_file_are_what_its_network_is_to_see(front: Front) -> None:
    steps = tuple(front.steps(network=NETWORK, channels=3, opset=17))
    form = FilePreprocessing(steps=steps)
    picture = draw("gradient", 0, seed=0, shape=(3, 8, 9), preprocessing=NETWORK)[None]
    seen = form.to_network(form.from_network(picture))
    # half a level of a byte, in units of the smallest deviation
    coarse = 0.51 / 255 / 0.224 if front.input_dtype == "uint8" else 2e-3 if front.input_dtype == "float16" else 1e-5
    np.testing.assert_allclose(seen.exact, picture, atol=coarse)


@pytest.mark.parametrize("front", [*FRONTS, Front(normalize="nodes", channels="bgr", resize="any"), Front()])
def test_the_networks_part_follows_from_the_callers(front: Front) -> None:
    steps = steps_in_front(front.steps(network=NETWORK, channels=3, opset=18))
    found = networks_part(callers_part(NETWORK, steps), steps)
    assert dataclasses.replace(found, mean=NETWORK.mean, std=NETWORK.std) == NETWORK
    np.testing.assert_allclose((found.mean, found.std), (NETWORK.mean, NETWORK.std), atol=1e-15)  # float64
    if front.mean is None and front.normalize:
        assert found == NETWORK  # the network's own numbers come back to the bit


def test_statistics_above_one_are_in_bytes() -> None:
    bytes_, ones = (
        Front(normalize="nodes", mean=mean, std=std).steps(network=None, channels=3, opset=17)[0].params
        for mean, std in (
            ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
            ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        )
    )
    # a division by 255 rounds at 1e-16
    np.testing.assert_allclose(bytes_["mean"], ones["mean"], rtol=1e-12)
    np.testing.assert_allclose(bytes_["std"], ones["std"], rtol=1e-12)


def test_a_swap_is_a_node_behind_nodes_and_folded_otherwise() -> None:
    def fold(**options: object) -> object:
        steps = Front(channels="bgr", **options).steps(network=NETWORK, channels=3, opset=17)  # type: ignore[arg-type]
        return next(step for step in steps if step.name == "channels").params["fold"]

    assert fold() == "auto"
    assert fold(normalize="fold") == "auto"
    assert fold(normalize="nodes") is False


def test_a_file_that_normalises_by_itself_leaves_nothing_to_subtract() -> None:
    step = PassStep(name="normalize", params={"mean": NETWORK.mean, "std": NETWORK.std, "value_range": 255.0})
    left = callers_part(NETWORK, [step])
    assert (left.mean, left.std, left.value_range) == ((0, 0, 0), (1, 1, 1), (0, 255))

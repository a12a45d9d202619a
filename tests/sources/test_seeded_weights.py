"""Seeded weights: the same bytes everywhere, and every one of them matters."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nfexport.sources import ModelSpec, load
from nfexport.sources.model.digest import state_digest
from nfexport.sources.timm.seeded_weights import uniform
from nfexport.sources.timm.torchvision_operators import import_timm

SMALL = [
    "test_nfnet",
    "test_efficientnet",
    "test_vit",
    "test_resnet",
    "test_convnext",
    "test_byobnet",
]
FAMILIES = [
    "nf_regnet_b0",
    "eca_nfnet_l0",
    "resnetv2_50x1_bit",
    "vit_tiny_r_s16_p8_224",
    "mobilenetv3_small_050",
    "regnety_002",
    "mixer_s32_224",
    pytest.param("vgg11", marks=pytest.mark.slow),
    "swin_tiny_patch4_window7_224",
]

PINNED_NUMBERS = [0.14619290828704834, -0.13905084133148193, -0.21099591255187988, 0.5462325811386108]
PINNED_NFNET = "919560a35ef3b3eeefc1e4179cc33b903b5e3a18a1409eb2769411948fde4622"
PINNED_EFFICIENTNET = "e47510f6475ca248556e347a69d8bc2c35b7c79682c0b0dd4dd4ac51b61aed7f"


def test_the_bytes_are_pinned() -> None:
    """A change of the rule changes the weights of every recipe, and has to be made here too."""
    assert uniform("0/a", 4).tolist() == PINNED_NUMBERS
    assert load(ModelSpec(name="test_nfnet")).weights.digest == PINNED_NFNET
    assert load(ModelSpec(name="test_efficientnet")).weights.digest == PINNED_EFFICIENTNET


def test_threads_and_the_callers_random_numbers_play_no_part() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    threads = torch.get_num_threads()
    first = load(ModelSpec(name="test_efficientnet")).weights.digest
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    torch.set_num_threads(1)
    try:
        assert load(ModelSpec(name="test_efficientnet")).weights.digest == first
    finally:
        torch.set_num_threads(threads)


def test_another_seed_gives_other_weights() -> None:
    assert (
        load(ModelSpec(name="test_nfnet", seed=1)).weights.digest
        != load(ModelSpec(name="test_nfnet", seed=0)).weights.digest
    )


def test_the_numbers_are_uniform_in_minus_one_to_one() -> None:
    numbers = uniform("key", 200_000).astype(np.float64)
    assert -1 <= numbers.min() < -0.999
    assert 0.999 < numbers.max() < 1
    # the standard error of the mean is 0.0013, of the variance 0.0007
    assert abs(numbers.mean()) < 0.006
    assert abs(numbers.var() - 1 / 3) < 0.004
    assert uniform("key", 7).tolist() == uniform("key", 200_000)[:7].tolist()


def tensors_without_effect(model: torch.nn.Module, size: tuple[int, int]) -> list[str]:
    """Perturb each parameter and running statistic by 1 % of its size and return those that change no output.

    An output changes if it does by more than a hundred times float64's rounding of it."""
    model = model.double()
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tensors = {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    silent = []
    with torch.inference_mode():
        expected = model(x)
        for name, tensor in tensors.items():
            saved = tensor.clone()
            noise = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
            tensor += 0.01 * saved.abs().mean().clamp(min=1e-3) * noise
            if (model(x) - expected).abs().max() < 1e-10 * expected.abs().max():
                silent.append(name)
            tensor.copy_(saved)
    return silent


@pytest.mark.parametrize("name", SMALL)
def test_perturbing_any_one_tensor_changes_the_output(name: str) -> None:
    loaded = load(ModelSpec(name=name, image_size=32 if name != "test_vit" else 64))
    assert tensors_without_effect(loaded.module, loaded.image_size) == []


def test_timms_fresh_weights_would_not_pass_that_test() -> None:
    torch.manual_seed(0)
    model = import_timm().create_model("test_nfnet").eval()
    silent = tensors_without_effect(model, (64, 64))
    assert "stages.0.0.conv1.weight" in silent


@pytest.mark.parametrize("name", ["levit_128s", "efficientvit_m0"])
def test_attention_does_not_saturate_on_coherent_images(name: str) -> None:
    """Networks without a normalisation that adapts see more energy in large areas than in noise; with saturated
    attention they amplify float32's rounding to per cents, and no tolerance can be both fair and sharp."""
    loaded = load(ModelSpec(name=name))
    bits = torch.randint(0, 2, (4, 3, 8, 8), generator=torch.Generator().manual_seed(0)).float()
    x = torch.nn.functional.interpolate(4 * bits - 2, size=loaded.image_size, mode="nearest")
    with torch.inference_mode():
        plain = loaded.module(x).double()
        exact = loaded.module.double()(x.double())
    error = float((plain - exact).abs().max() / (exact.max() - exact.min()))
    # statistics taken from noise alone give 5e-2 and 2e-3
    assert error < 1e-4


@pytest.mark.parametrize("name", [*SMALL, *FAMILIES])
def test_signals_neither_die_nor_blow_up(name: str) -> None:
    loaded = load(ModelSpec(name=name))
    x = torch.randn(2, 3, *loaded.image_size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        output = loaded.module(x)
    assert torch.isfinite(output).all()
    assert 0.05 < float(output.std()) < 50
    # two images give two outputs
    assert float((output[0] - output[1]).std()) > 1e-3 * float(output.std())


def test_standardised_filters_have_a_mean_that_a_wrong_fold_would_leave_in() -> None:
    weight = load(ModelSpec(name="test_nfnet")).module.get_parameter("stages.0.0.conv1.weight").detach()
    means, stds = weight.mean(dim=(1, 2, 3)), weight.std(dim=(1, 2, 3))
    assert float((means.abs() / stds).median()) > 0.1


def test_building_leaves_constructor_buffers_right_and_fills_every_parameter() -> None:
    """Skipping timm's random fills must not skip anything else."""
    timm = import_timm()
    torch.manual_seed(0)
    ordinary = timm.create_model("swin_tiny_patch4_window7_224").eval()
    ours = load(ModelSpec(name="swin_tiny_patch4_window7_224")).module
    theirs = dict(ordinary.named_buffers())
    for name, buffer in ours.named_buffers():
        assert torch.equal(buffer, theirs[name]), name
    for name, parameter in ours.named_parameters():
        assert torch.isfinite(parameter).all(), name
        assert parameter.abs().max() < 2, name


def test_the_digest_sees_every_bit() -> None:
    model = load(ModelSpec(name="test_nfnet")).module
    before = state_digest(model)
    with torch.no_grad():
        bias = model.get_parameter("stem.conv1.bias")
        bias[0] = torch.nextafter(bias[0], bias[0] + 1)
    assert state_digest(model) != before

"""What PyTorch computes, in float64 and float32, and that the model comes out as it went in."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from nfexport.verification.file_preprocessing import NetworkImages
from nfexport.verification.input_cases import default_cases
from nfexport.verification.torch_reference import MORE_RUNS, MOST_RUNS, evaluate, with_more_runs
from tests.verification.toy import PREPROCESSING, SIZE, toy


def image(batch: int = 2) -> np.ndarray:
    return default_cases(seed=0, batch=batch, in_channels=3, image_size=SIZE, preprocessing=PREPROCESSING)[0].array


def evaluate_one(module: torch.nn.Module, array: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    reference = evaluate(module.eval(), array, ["y"])
    return reference.expected["y"], reference.float32["y"]


def test_the_reference_is_the_model_converted_to_float64() -> None:
    expected, _ = evaluate_one(toy(), image())
    with torch.inference_mode():
        converted = copy.deepcopy(toy()).double()(torch.from_numpy(image()).double()).numpy()
    assert expected.dtype == np.float64
    np.testing.assert_array_equal(expected, converted)


def test_the_first_float32_run_is_the_model_as_it_is() -> None:
    _, runs = evaluate_one(toy(), image())
    with torch.inference_mode():
        plain = toy()(torch.from_numpy(image())).numpy()
    assert all(run.dtype == np.float32 for run in runs)
    np.testing.assert_array_equal(runs[0], plain)
    assert not np.array_equal(runs[1], plain)
    np.testing.assert_allclose(runs[1], plain, rtol=0, atol=1e-5)


def test_the_model_is_left_as_it_was() -> None:
    module = toy()
    before = {name: (tensor.clone(), tensor.data_ptr()) for name, tensor in module.state_dict().items()}
    evaluate_one(module, image())
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name][0])
        assert tensor.dtype is torch.float32
        assert tensor.data_ptr() == before[name][1]
        assert not vars(tensor)


class AsksForFloat32(torch.nn.Module):
    """Writes float32 into its forward pass in four ways, as some models do for the sake of half precision."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        grid = torch.linspace(0, 1, 40, dtype=torch.float32)
        third = torch.full((1,), 1 / 3)
        return x.float().to(torch.float32).mean((1, 2, 3), keepdim=True)[..., 0, 0] * grid * third.type_as(x)


def test_a_model_that_asks_for_float32_gets_float64() -> None:
    expected, _ = evaluate_one(AsksForFloat32(), image())
    wanted = image().astype(np.float64).mean(axis=(1, 2, 3))[:, None] * np.linspace(0, 1, 40) / 3
    # float64 rounds at 1e-16, a sum in another order at a few times that; float32 would be off by 1e-8
    np.testing.assert_allclose(expected, wanted, rtol=1e-14)


class HasOtherTypes(torch.nn.Module):
    index: torch.Tensor
    tenth: torch.Tensor
    keep: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("index", torch.arange(39, -1, -1))
        self.register_buffer("tenth", torch.full((1,), 0.1, dtype=torch.float16))
        self.register_buffer("keep", torch.ones(1, dtype=torch.bool))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.where(self.keep, x.flatten(1)[:, self.index], x.sum()) * self.tenth


def test_integer_boolean_and_half_buffers_stay_what_they_are() -> None:
    expected, _ = evaluate_one(HasOtherTypes(), image())
    wanted = image().reshape(2, -1)[:, 39::-1].astype(np.float64) * float(np.float16(0.1))
    # float64 rounds at 1e-16, a sum in another order at a few times that; float32 would be off by 1e-8
    np.testing.assert_allclose(expected, wanted, rtol=1e-14)


class Caches(torch.nn.Module):
    """LeViT keeps a table that it computes on its first pass."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = torch.nn.Parameter(torch.linspace(0, 1, 40))
        self.cached: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.cached is None:
            self.cached = self.bias[torch.arange(40)]
        return x.mean((1, 2, 3)).unsqueeze(1) + self.cached


def test_a_cache_in_the_model_is_left_in_float32() -> None:
    module = Caches()
    expected, runs = evaluate_one(module, image())
    assert module.cached is not None
    assert module.cached.dtype is torch.float32
    np.testing.assert_allclose(runs[0], expected, atol=1e-6)


def test_a_network_with_few_outputs_gets_more_float32_runs() -> None:
    class Mean(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((1, 2, 3)).unsqueeze(1)

    _, few = evaluate_one(Mean(), image())
    _, many = evaluate_one(toy(), image())
    assert (len(few), len(many)) == (1 + MOST_RUNS, 2)


def test_the_yardstick_is_not_taken_with_reduced_precision() -> None:
    torch.set_float32_matmul_precision("medium")
    try:
        _, runs = evaluate_one(toy(), image())
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    np.testing.assert_array_equal(runs[0], evaluate_one(toy(), image())[1][0])


def test_the_default_dtype_comes_back_also_after_an_error() -> None:
    class Fails(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if torch.zeros(1).dtype is torch.float64:
                raise KeyError("no")
            return x.flatten(1)

    with pytest.raises(KeyError):
        evaluate_one(Fails(), image())
    assert torch.get_default_dtype() is torch.float32


def test_training_mode_and_a_wrong_number_of_outputs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"training mode; call \.eval\(\) first"):
        evaluate(toy().train(), image(), ["y"])
    with pytest.raises(ValueError, match="has 1 outputs, 2 are named"):
        evaluate(toy(), image(), ["y", "z"])


def test_reversed_turns_the_batch_round() -> None:
    reference = evaluate(toy(), image(), ["y"])
    backwards = reference.reversed()
    np.testing.assert_array_equal(backwards.expected["y"], reference.expected["y"][::-1])
    np.testing.assert_array_equal(backwards.float32["y"][1], reference.float32["y"][1][::-1])


def test_more_runs_are_added_and_none_is_like_another() -> None:
    module = toy().eval()
    images = (NetworkImages(exact=image(), float32=(image(),)),)
    first = evaluate(module, images, ["y"])
    surer = with_more_runs(module, images, first)
    np.testing.assert_array_equal(surer.expected["y"], first.expected["y"])
    runs = surer.float32["y"]
    assert len(runs) == len(first.float32["y"]) + MORE_RUNS
    assert len({run.tobytes() for run in runs}) == len(runs)

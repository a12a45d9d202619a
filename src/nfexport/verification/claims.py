"""What a recipe says of its file, as the verifier needs it."""

from __future__ import annotations

from typing import Any

from nfexport.passes.allowances import explains_weights, keeps_weights, moves_factors
from nfexport.recipe.interface import front_steps, int8_bound, network_preprocessing, precision
from nfexport.recipe.recipe import Recipe
from nfexport.recipe.second_sizes import second_size, second_sizes
from nfexport.verification.model_under_test import ImageModelUnderTest, ModelUnderTest, TensorsUnderTest


def under_test(recipe: Recipe) -> ModelUnderTest:
    """Return what the recipe says of the interface and the arithmetic of its file."""
    shared: dict[str, Any] = {
        "outputs": recipe.outputs,
        "precision": precision(recipe),
        "weights_kept": keeps_weights(recipe.steps),
        "weights_explained": explains_weights(recipe.steps),
        "factors_moved": moves_factors(recipe.steps),
        "int8_bound": int8_bound(recipe),
    }
    if recipe.tensors:
        others = (sizes,) if (sizes := second_sizes(recipe.tensors)) else ()
        return TensorsUnderTest(tensors=recipe.tensors, other_sizes=others, **shared)
    return ImageModelUnderTest(
        input_name=recipe.input_name,
        batch=recipe.batch,
        image_size=recipe.image_size,
        in_channels=recipe.in_channels,
        preprocessing=network_preprocessing(recipe),
        steps=front_steps(recipe),
        other_sizes=(second_size(recipe.image_size),) if recipe.dynamic_size else (),
        **shared,
    )

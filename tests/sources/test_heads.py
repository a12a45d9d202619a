"""What a model returns besides its logits is what timm itself returns."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nfexport.errors import RecipeError
from nfexport.recipe.export_options import Asked
from nfexport.sources import ModelSpec, load
from nfexport.sources.model.heads import giving, plan_outputs
from nfexport.sources.timm.torchvision_operators import import_timm

EVERYTHING: tuple[Asked, ...] = ("logits", "probs", "sigmoid", "topk", "features", "embedding", "embedding-unpooled")


def image_of(size: tuple[int, int]) -> torch.Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))


def test_nfnet_l0_returns_the_maps_and_embeddings_of_its_card() -> None:
    loaded = load(ModelSpec(name="nfnet_l0", image_size=224))
    outputs = plan_outputs(loaded.module, "nfnet_l0", ("features", "embedding", "embedding-unpooled"))
    with giving(loaded.module, outputs), torch.inference_mode():
        given = loaded.module(image_of((224, 224))[:1])
    assert [tuple(tensor.shape) for tensor in given] == [
        (1, 64, 112, 112),
        (1, 256, 56, 56),
        (1, 512, 28, 28),
        (1, 1536, 14, 14),
        (1, 2304, 7, 7),
        (1, 2304),
        (1, 2304, 7, 7),
    ]


@pytest.mark.parametrize("name", ["test_nfnet", "test_efficientnet", "test_vit", "test_resnet"])
def test_they_equal_what_timm_returns(name: str) -> None:
    loaded = load(ModelSpec(name=name))
    module: Any = loaded.module
    image = image_of(loaded.image_size)
    outputs = plan_outputs(module, name, EVERYTHING)
    with torch.inference_mode():
        features = module.forward_features(image)
        logits = module(image)
        maps = module.forward_intermediates(image, intermediates_only=True)
        with giving(module, outputs):
            given = dict(zip([output.name for output in outputs], module(image), strict=True))
        assert torch.equal(module(image), logits)  # and is itself again
    assert torch.equal(given["logits"], logits)
    assert torch.equal(given["probs"], logits.softmax(-1))
    assert torch.equal(given["sigmoid"], logits.sigmoid())
    assert torch.equal(given["topk_values"], logits.softmax(-1).topk(5).values)
    assert torch.equal(given["embedding_unpooled"], features)
    assert torch.equal(given["embedding"], module.forward_head(features, pre_logits=True))
    levels = [output.level for output in outputs if output.kind == "features"]
    for level in levels:
        assert torch.equal(given[f"features_{level}"], maps[level])


@pytest.mark.parametrize("name", ["test_nfnet", "test_vit"])
def test_the_levels_are_those_of_features_only(name: str) -> None:
    wanted = import_timm().create_model(name, features_only=True)
    outputs = plan_outputs(load(ModelSpec(name=name)).module, name, ("features",))
    count = len(wanted.feature_info.channels())
    assert len(outputs) == count
    module = load(ModelSpec(name=name)).module
    with giving(module, outputs), torch.inference_mode():
        given = module(image_of((160, 160)))
    assert [tensor.shape[1] for tensor in given] == wanted.feature_info.channels()


def test_a_single_output_takes_the_name_asked_for() -> None:
    module = load(ModelSpec(name="test_nfnet")).module
    assert [o.name for o in plan_outputs(module, "test_nfnet", ("logits",))] == ["output"]
    assert [o.name for o in plan_outputs(module, "test_nfnet", ("probs",))] == ["probs"]
    assert [o.name for o in plan_outputs(module, "test_nfnet", ("probs",), name="prob")] == ["prob"]
    assert [o.level for o in plan_outputs(module, "test_nfnet", ("features",), levels=(-1, 0))] == [4, 0]


@pytest.mark.parametrize(
    ("asked", "options", "message"),
    [
        (("features",), {"levels": (5,)}, "has no feature map 5; pass levels from 0 to 4"),
        (("features",), {"levels": (0, -5)}, "--features names a level twice"),
        (("topk",), {"k": 1001}, "there is no top 1001 of 1000 classes; pass --top-k from 1 to 1000"),
        (("logits", "probs"), {"name": "x"}, "--output-name names one output, and there are 2"),
    ],
)
def test_what_a_model_cannot_return_is_refused(
    asked: tuple[Asked, ...], options: dict[str, Any], message: str
) -> None:
    module = load(ModelSpec(name="test_nfnet")).module
    with pytest.raises(RecipeError) as caught:
        plan_outputs(module, "test_nfnet", asked, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize("asked", ["logits", "probs", "sigmoid", "topk"])
def test_a_network_without_a_classifier_has_no_scores(asked: Asked) -> None:
    module = load(ModelSpec(name="test_nfnet", num_classes=0)).module
    with pytest.raises(RecipeError, match="has no classifier; ask for --embedding"):
        plan_outputs(module, "test_nfnet", (asked,))


def test_a_network_without_a_classifier_returns_its_embedding() -> None:
    module = load(ModelSpec(name="test_nfnet", num_classes=0)).module
    assert [output.kind for output in plan_outputs(module, "test_nfnet", ())] == ["embedding"]
    assert [output.kind for output in plan_outputs(load(ModelSpec(name="test_vit")).module, "test_vit", ())] == [
        "logits"
    ]


def test_the_embedding_of_a_network_that_is_not_split_is_what_it_returns() -> None:
    class Plain(torch.nn.Module):
        num_classes = 0

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image.mean((2, 3))

    module = Plain()
    outputs = plan_outputs(module, "plain", ())
    assert [(output.kind, output.name) for output in outputs] == [("embedding", "embedding")]
    with giving(module, outputs):
        assert module(image_of((4, 4))).shape == (2, 3)
    with pytest.raises(RecipeError, match="does not separate its features"):
        plan_outputs(module, "plain", ("embedding-unpooled",))

"""The metadata block of a Hugging Face model card, written by huggingface_hub itself."""

from __future__ import annotations

from typing import Any

from nfexport.cards.contents import Card
from nfexport.cards.markdown import clean
from nfexport.recipe.about import Accuracy

LICENCES = frozenset(
    {
        *("apache-2.0", "mit", "isc", "zlib", "mpl-2.0", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear"),
        *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0"),
        *("afl-3.0", "artistic-2.0", "bsl-1.0", "ms-pl", "ncsa", "unlicense", "wtfpl"),
    }
)
"""SPDX identifiers that the hub knows, in lower case; other licences are 'other' with a name."""


def front_matter(card: Card) -> str:
    """Return the YAML between the two lines '---', without them.

    A metric is written only for an accuracy that was measured with this file."""
    from huggingface_hub import EvalResult, ModelCardData

    task = "image-classification" if card.classes is not None else "image-feature-extraction"
    known: dict[str, Any] = {"tags": ["onnx"], "library_name": "onnx"}
    if card.model is not None:
        known |= {"pipeline_tag": task, "tags": [task, "timm", "onnx"]}
    if card.licence is not None:
        known |= _licence(one_line(card.licence))
    if card.dataset is not None:
        known["datasets"] = [dataset_id(one_line(card.dataset))]
    if card.evaluated is not None:
        dataset = one_line(card.evaluated.dataset or "unknown")
        known["model_name"] = one_line(card.title)
        known["eval_results"] = [
            EvalResult(
                task_type="image-classification",
                dataset_type=dataset_id(dataset),
                dataset_name=dataset,
                metric_type="accuracy",
                metric_name=name,
                metric_value=value,
            )
            for name, value in _metrics(card.evaluated)
        ]
    order = ["license", "license_name", "tags", "datasets", "library_name", "pipeline_tag", "model-index"]
    text: str = ModelCardData(**known).to_yaml(line_break="\n", original_order=order)
    return text


def one_line(text: str) -> str:
    """Return a string from a file as one line that YAML can quote."""
    return " ".join(clean(text).split())


def dataset_id(name: str) -> str:
    """Return a data set's name as the hub writes it: 'ImageNet-1k' is imagenet-1k."""
    return name if "/" in name else "-".join(name.lower().split())


def _licence(name: str) -> dict[str, str]:
    if name.lower() in LICENCES:
        return {"license": name.lower()}
    return {"license": "other", "license_name": name.lower()}


def _metrics(accuracy: Accuracy) -> list[tuple[str, float]]:
    metrics = [("Top-1 accuracy (%)", accuracy.top1)]
    if accuracy.top5 is not None:
        metrics.append(("Top-5 accuracy (%)", accuracy.top5))
    return metrics

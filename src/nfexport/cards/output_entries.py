"""The outputs of a file, in the words of the Open Model Zoo's documents."""

from __future__ import annotations

from collections.abc import Sequence

from nfexport.cards.contents import OutputEntry
from nfexport.cards.input_forms import tensor
from nfexport.inspection import TensorFacts
from nfexport.recipe.recipe import Output, Recipe

LETTERS = {"B": "batch size", "C": "channel", "H": "height", "W": "width"}
MANY_CLASSES = 20
NAMES = {"imagenet-1k": "ImageNet classes"}


def output_entries(recipe: Recipe | None, given: Sequence[TensorFacts]) -> tuple[OutputEntry, ...]:
    """Return an entry for each output of the file, in its order."""
    kinds = {} if recipe is None else {output.name: output for output in recipe.outputs}
    return tuple(
        _unknown(entry) if recipe is None or entry.name not in kinds else _entry(recipe, kinds[entry.name], entry)
        for entry in given
    )


def classes(recipe: Recipe) -> str:
    """Return which classes a classifier distinguishes."""
    labels = recipe.labels
    if isinstance(labels, str):
        return NAMES.get(labels, f"{labels} classes")
    if labels is None:
        return f"{recipe.num_classes} classes, whose names the file does not give"
    if len(labels) <= MANY_CLASSES:
        return f"its {len(labels)} classes ({', '.join(labels)})"
    return f"its {len(labels)} classes, whose names are in its recipe"


def _unknown(entry: TensorFacts) -> OutputEntry:
    return OutputEntry(tensor=tensor(entry), what="Its meaning is unknown", legend=())


def _entry(recipe: Recipe, output: Output, entry: TensorFacts) -> OutputEntry:
    what, letters, meaning = _meaning(recipe, output, entry)
    shown = tensor(entry, letters)
    legend = {**LETTERS, **meaning}
    return OutputEntry(
        tensor=shown,
        what=what,
        legend=tuple((letter, legend[letter]) for letter in shown.letters or ()),
    )


def _meaning(
    recipe: Recipe, output: Output, entry: TensorFacts
) -> tuple[str, tuple[str, ...] | None, dict[str, str]]:
    """Return what the output is, the letters of its axes, and what those stand for if not as everywhere."""
    classifier = f"Object classifier according to {classes(recipe)}"
    best = f"of the {output.k} best classes"
    match output.kind:
        case "probs":
            return classifier, ("B", "C"), {"C": "predicted probabilities for each class in [0, 1] range"}
        case "sigmoid":
            meaning = "probability of each label by itself in [0, 1] range; they need not add up to 1"
            return f"Multi-label {classifier[0].lower()}{classifier[1:]}", ("B", "C"), {"C": meaning}
        case "logits":
            scores = "logits for each class: scores of any size, whose softmax gives probabilities"
            return classifier, ("B", "C"), {"C": scores}
        case "topk-values":
            meaning = f"predicted probabilities {best} in [0, 1] range, largest first"
            return f"{classifier}: the best {output.k}", ("B", "K"), {"K": meaning}
        case "topk-indices":
            return f"{classifier}: the best {output.k}", ("B", "K"), {"K": f"indices {best}, counted from 0"}
        case "tensor":
            return f"Tensor {(output.index or 0) + 1} that the module returns", None, {}
        case "features":
            return f"Feature map {output.level}", ("B", "C", "H", "W"), {}
        case "embedding":
            return "Embedding, the pooled features before the classifier", ("B", "C"), {"C": "features"}
    return "Embedding, the features before pooling", _letters_of_map(recipe, entry), {}


def _letters_of_map(recipe: Recipe, entry: TensorFacts) -> tuple[str, ...] | None:
    """Return the layout of unpooled features where the shape of the image determines it: networks of timm give
    maps with the channels first, maps with the channels last, or tokens."""
    shape = entry.shape or ()
    height, width = recipe.image_size
    if len(shape) != 4 or not all(isinstance(dim, int) for dim in shape[1:]):
        return None
    first, second, third = (int(dim) for dim in shape[1:])
    is_nchw, is_nhwc = second * width == third * height, first * width == second * height
    if is_nchw == is_nhwc:
        return None
    return ("B", "C", "H", "W") if is_nchw else ("B", "H", "W", "C")

"""What is known of a file that classifies images: how its input is prepared, and what its outputs are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from nfexport.errors import OnnxFileError, RecipeError
from nfexport.images.preprocessor import Preprocessor, preprocessor_of
from nfexport.inspection import FileFacts
from nfexport.recipe.recipe import Output


@dataclasses.dataclass(frozen=True, kw_only=True)
class Description:
    """Input and outputs of a file, and its classes: their number, and their labels as in a recipe.

    model_name is for messages."""

    preprocessor: Preprocessor
    outputs: tuple[Output, ...]
    num_classes: int
    labels: str | tuple[str, ...] | None
    model_name: str

    @property
    def scores(self) -> tuple[Output, ...]:
        """The outputs that give the classes: probabilities (of classes, else of labels), else logits, else values and
        indices of a TopK.

        Empty if the file has none of these."""
        for kind in ("probs", "sigmoid", "logits"):
            if found := self._of_kind(kind):
                return found[:1]
        return (*self._of_kind("topk-values")[:1], *self._of_kind("topk-indices")[:1])

    @property
    def max_classes(self) -> int:
        """The largest number of classes per image that the file returns."""
        scores = self.scores
        return (scores[0].k or self.num_classes) if scores else 0

    @property
    def embedding(self) -> Output | None:
        """The embedding, or the unpooled one if that is the only one, or None."""
        found = (*self._of_kind("embedding"), *self._of_kind("embedding-unpooled"))
        return found[0] if found else None

    @property
    def features(self) -> tuple[Output, ...]:
        """The feature maps."""
        return self._of_kind("features")

    def check_classes(self) -> None:
        """Raise RecipeError if the file does not return classes."""
        if len(self.scores) == 0 or (self.scores[0].kind == "topk-values" and len(self.scores) < 2):
            raise RecipeError(
                f"the file does not return classes (its outputs: {self._kinds()})",
                fix="save its outputs with --embed FILE or --save-features DIR, or export it with --output logits",
            )

    def check_embedding(self) -> None:
        """Raise RecipeError if the file does not return an embedding."""
        if self.embedding is None:
            raise RecipeError(
                f"the file does not return an embedding (its outputs: {self._kinds()})",
                fix=f"export one that does with 'nfexport {self.model_name} --embedding'",
            )

    def check_features(self) -> None:
        """Raise RecipeError if the file does not return feature maps."""
        if not self.features:
            raise RecipeError(
                f"the file does not return feature maps (its outputs: {self._kinds()})",
                fix=f"export one that does with 'nfexport {self.model_name} --features'",
            )

    def check_names(self, path: str, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Raise OnnxFileError unless the file at path has the described input and outputs."""
        for what, described, there in (
            ("input", [self.preprocessor.input_name], inputs),
            ("output", [output.name for output in self.outputs], outputs),
        ):
            for name in described:
                if name not in there:
                    raise OnnxFileError(
                        f"'{path}' has no {what} '{name}', which its recipe names (it has {', '.join(there)})",
                        fix="export the model again: another tool has renamed it",
                    )

    def _of_kind(self, kind: str) -> tuple[Output, ...]:
        return tuple(output for output in self.outputs if output.kind == kind)

    def _kinds(self) -> str:
        return ", ".join(dict.fromkeys(output.kind for output in self.outputs))


def describe(facts: FileFacts) -> Description:
    """Return the description of a file by its recipe.

    Raises RecipeError if it has no recipe, one that cannot be read, or one that cannot be followed."""
    if facts.recipe_error is not None:
        raise facts.recipe_error
    recipe = facts.recipe
    if recipe is None:
        raise RecipeError(
            f"'{facts.path}' has no recipe, so how its images are prepared is unknown",
            fix="export the model with nfexport, which writes a recipe into the file",
        )
    return Description(
        preprocessor=preprocessor_of(recipe),
        outputs=recipe.outputs,
        num_classes=recipe.num_classes,
        labels=recipe.labels,
        model_name=recipe.model_name,
    )

"""What a caller has to know of a file that classifies pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from nfexport.errors import OnnxFileError, RecipeError
from nfexport.images.preprocessor import Preprocessor, preprocessor_of
from nfexport.inspection import FileFacts
from nfexport.recipe.recipe import Output


@dataclasses.dataclass(frozen=True, kw_only=True)
class Description:
    """How pictures go in (form), what comes out (outputs), and what the classes are (their number and labels,
    as in a recipe). model_name is for messages."""

    form: Preprocessor
    outputs: tuple[Output, ...]
    num_classes: int
    labels: str | tuple[str, ...] | None
    model_name: str

    @property
    def scores(self) -> tuple[Output, ...]:
        """The outputs that classes are read from: of probabilities, else of logits, else the two of a TopK;
        none if the file gives no classes."""
        for kind in ("probs", "logits"):
            if found := self._of_kind(kind):
                return found[:1]
        return (*self._of_kind("topk-values")[:1], *self._of_kind("topk-indices")[:1])

    @property
    def most(self) -> int:
        """How many classes of a picture the file gives at most."""
        scores = self.scores
        return (scores[0].k or self.num_classes) if scores else 0

    @property
    def embedding(self) -> Output | None:
        """The embedding, the unpooled one if there is no other, or None."""
        found = (*self._of_kind("embedding"), *self._of_kind("embedding-unpooled"))
        return found[0] if found else None

    @property
    def features(self) -> tuple[Output, ...]:
        """The feature maps."""
        return self._of_kind("features")

    def check_classes(self) -> None:
        """Raise RecipeError if the file gives no classes."""
        if len(self.scores) == 0 or (self.scores[0].kind == "topk-values" and len(self.scores) < 2):
            raise RecipeError(
                f"the file gives no classes (its outputs: {self._given()})",
                fix="write what it gives with --embed FILE or --save-features DIR, or export it with --output logits",
            )

    def check_embedding(self) -> None:
        """Raise RecipeError if the file gives no embedding."""
        if self.embedding is None:
            raise RecipeError(
                f"the file gives no embedding (its outputs: {self._given()})",
                fix=f"export one that does, with 'nfexport {self.model_name} --embedding'",
            )

    def check_features(self) -> None:
        """Raise RecipeError if the file gives no feature maps."""
        if not self.features:
            raise RecipeError(
                f"the file gives no feature maps (its outputs: {self._given()})",
                fix=f"export one that does, with 'nfexport {self.model_name} --features'",
            )

    def check_names(self, path: str, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Raise OnnxFileError if the file has not the input and outputs that are described."""
        for what, described, there in (
            ("input", [self.form.input_name], inputs),
            ("output", [output.name for output in self.outputs], outputs),
        ):
            for name in described:
                if name not in there:
                    raise OnnxFileError(
                        f"'{path}' has no {what} '{name}', which its recipe names (it has {', '.join(there)})",
                        fix="export it again: something renamed it without telling the recipe",
                    )

    def _of_kind(self, kind: str) -> tuple[Output, ...]:
        return tuple(output for output in self.outputs if output.kind == kind)

    def _given(self) -> str:
        return ", ".join(dict.fromkeys(output.kind for output in self.outputs))


def describe(facts: FileFacts) -> Description:
    """Return what a file's recipe says of it.

    Raises RecipeError if the file has none, or one that cannot be read, or takes no pictures."""
    if facts.recipe_error is not None:
        raise facts.recipe_error
    recipe = facts.recipe
    if recipe is None:
        raise RecipeError(
            f"'{facts.path}' carries no recipe, so it is not known how its pictures are prepared",
            fix="export the model with nfexport, which writes one into the file",
        )
    return Description(
        form=preprocessor_of(recipe),
        outputs=recipe.outputs,
        num_classes=recipe.num_classes,
        labels=recipe.labels,
        model_name=recipe.model_name,
    )

"""Compare a file that has no recipe with the user's own torch module: inputs and outputs are taken in order."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nfexport import sources
from nfexport.errors import InputError, OnnxFileError
from nfexport.recipe.recipe import Output
from nfexport.recipe.second_sizes import second_sizes
from nfexport.recipe.tensor_spec import BATCH, TensorSpec, parse_inputs
from nfexport.sources.model.source_kinds import kind_of, user_named
from nfexport.sources.model.spec import ModelSpec
from nfexport.verification.model_under_test import TensorsUnderTest

if TYPE_CHECKING:
    from nfexport.inspection import FileFacts
    from nfexport.inspection.facts import TensorFacts
    from nfexport.sources import LoadedModel
    from nfexport.workflows.subjects import NamedModel

FOR_TIMM = ("pretrained", "normalize", "mean", "std", "input_range", "channels")
"""What can be said of a named timm model alone."""


def is_own(name: str) -> bool:
    """Say whether a name is that of a user's own module: a factory, or a program of torch.export."""
    return kind_of(name) in user_named()


def load_own(named: NamedModel, facts: FileFacts) -> tuple[LoadedModel, TensorsUnderTest]:
    """Build the user's module for the inputs that the file has, and say what to compare: all outputs, in order.

    Raises OnnxFileError if the file has another number of outputs, and what nfexport.sources.load does."""
    for name in FOR_TIMM:
        if getattr(named, name) not in (None, False):
            raise InputError(f"--{name.replace('_', '-')} is for models of timm", fix="leave it out")
    specs = specs_of_file(facts)
    spec = ModelSpec(
        name=named.name,
        checkpoint=named.checkpoint,
        seed=named.weights_seed or None,
        inputs=specs,
        named_by_user=True,
    )
    loaded = sources.load(spec)
    assert loaded.call is not None
    found = loaded.call.outputs
    if len(found) != len(facts.outputs):
        raise OnnxFileError(
            f"'{facts.path}' has {len(facts.outputs)} outputs, and {named.name} returns {len(found)} "
            f"({', '.join(found)})",
            fix="keep those that it returns: nfexport surgery IN -o OUT --extract-outputs NAME,...",
        )
    outputs = tuple(
        Output(kind="tensor", name=output.name, index=index) for index, output in enumerate(facts.outputs)
    )
    others = (sizes,) if (sizes := second_sizes(specs)) else ()
    return loaded, TensorsUnderTest(outputs=outputs, tensors=specs, other_sizes=others)


def specs_of_file(facts: FileFacts) -> tuple[TensorSpec, ...]:
    """Return the inputs of the file; a symbolic first axis that all of them share is the batch."""
    firsts = {entry.shape[0] if entry.shape else None for entry in facts.inputs}
    (shared,) = firsts if len(firsts) == 1 else (None,)
    return parse_inputs(_written(entry, shared) for entry in facts.inputs)


def _written(entry: TensorFacts, shared: int | str | None) -> str:
    dims = [
        str(dim) if isinstance(dim, int) else BATCH if axis == 0 and dim == shared else _label(dim, axis)
        for axis, dim in enumerate(entry.shape or ())
    ]
    return f"{entry.name}={entry.dtype}({','.join(dims)})"


def _label(dim: str | None, axis: int) -> str:
    return f"dim_{axis}" if not dim else "dim_" + re.sub(r"\W", "_", dim)

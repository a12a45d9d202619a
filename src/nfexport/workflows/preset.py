"""Export a preset: the file that a document describes, by its names, shapes and figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nfexport.errors import RecipeError
from nfexport.graph.file_digest import file_digest
from nfexport.presets import FORMS, Form, Preset, find_preset
from nfexport.progress import Progress
from nfexport.workflows.export import export

if TYPE_CHECKING:
    from nfexport.workflows.results import ExportResult


def export_preset(
    preset: str | Preset,
    output: str | Path | None = None,
    *,
    form: Form | None = None,
    pretrained: bool = False,
    checkpoint: str | Path | None = None,
    seed: int = 0,
    verify: bool = True,
    folders: Sequence[Path] = (),
    progress: Progress | None = None,
    **options: Any,
) -> ExportResult:
    """Export a preset, by its name or as a value, and verify the file before it gets its name.

    form is 'original' (RGB, normalised outside) or 'converted' (BGR in 0..255, everything inside), by default
    the preset's own. The weights are seeded, unless pretrained asks for the documented tag, checkpoint names a
    file, or the preset names one of its own. output defaults to '<preset>.onnx'. options are more of those of
    nfexport.export: to, ir_precision, external_data.
    Raises PresetError if there is no such preset, and NfexportError as export does."""
    chosen = find_preset(preset, folders) if isinstance(preset, str) else preset
    form = form or chosen.default_form
    if form not in FORMS:
        raise RecipeError(f"a preset has no form '{form}'", fix=f"use {' or '.join(FORMS)}")
    if checkpoint is None and not pretrained:
        checkpoint = chosen.checkpoint
    model = chosen.model
    if pretrained and checkpoint is None:
        if chosen.weights.tag is None:
            raise RecipeError(
                f"timm does not have the weights of the preset '{chosen.name}'",
                fix=f"fetch {chosen.weights.file or 'them'}, and pass it with --checkpoint FILE",
            )
        model = f"{chosen.model}.{chosen.weights.tag}"
    return export(
        model,
        output if output is not None else f"{chosen.name}.onnx",
        pretrained=pretrained,
        checkpoint=checkpoint,
        seed=seed,
        about=chosen.about(form),
        verify=verify,
        progress=progress,
        **{**chosen.export_options(form), **options},
    )


def are_documented(preset: Preset, checkpoint: Path) -> bool | None:
    """Return whether a checkpoint is the file that the preset documents, by its checksum; None if the preset
    documents none."""
    known = {"sha256": preset.weights.sha256, "sha384": preset.weights.sha384}
    given = {name: value for name, value in known.items() if value is not None}
    if not given:
        return None
    name, value = next(iter(given.items()))
    return file_digest(checkpoint, name) == value.lower()

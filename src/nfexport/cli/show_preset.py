"""Print presets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from nfexport.cli.escaping import escape
from nfexport.presets.consistency import default_names

if TYPE_CHECKING:
    from nfexport.presets import Preset
    from nfexport.recipe.about import Accuracy


def show_presets(out: Console, presets: Sequence[Preset]) -> None:
    """Print a table with one line for each preset."""
    table = Table(box=None, pad_edge=False, header_style="cyan")
    for column in ("preset", "model", "size", "opset", "input → output", "top-1"):
        table.add_column(column, no_wrap=column == "preset")
    for preset in presets:
        size = "×".join(map(str, preset.image_size))
        top1 = "" if preset.claimed is None else f"{preset.claimed.top1:g}"
        interface = f"{preset.input_name} → {', '.join(_outputs(preset))}"
        cells = (preset.name, preset.model, size, str(preset.opset), interface, top1)
        table.add_row(*map(escape, cells))
    out.print(table)


def show_preset(out: Console, preset: Preset) -> None:
    """Print what the preset fixes."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    images, weights = preset.images, preset.weights
    batch = "B" if preset.batch == "dynamic" else str(preset.batch)
    shape = f"[{batch}, 3, {preset.image_size[0]}, {preset.image_size[1]}]"
    mean, scale = (", ".join(f"{number:g}" for number in numbers) for numbers in (images.mean, images.scale))
    tag = f"timm tag {weights.tag} (--pretrained)" if weights.tag else None
    file = f"{weights.file} (--checkpoint)" if weights.file else None
    rows = {
        "preset": f"{preset.name}  ({preset.path.name})",
        "title": preset.title,
        "about": " ".join(preset.summary.split()),
        "model": preset.model,
        "weights": ", or ".join(filter(None, (tag, file))) or str(preset.checkpoint or "yours, with --checkpoint"),
        "opset": str(preset.opset),
        "original": f"{preset.input_name} {shape}, RGB, (pixel − mean) / scale outside",
        "converted": f"{preset.input_name} {shape}, BGR in 0..255, (pixel − mean) / scale inside",
        "mean": mean,
        "scale": scale,
        "images": f"resized to {images.resize} ({images.crop_mode}, {images.interpolation}), cropped",
        "outputs": ", ".join(f"{name} ({kind})" for name, kind in _outputs(preset).items()),
        "claimed": _accuracy(preset.claimed),
        "licence": preset.licence or "unknown",
    }
    for name, text in rows.items():
        table.add_row(name, escape(text))
    out.print(table)


def _outputs(preset: Preset) -> dict[str, str]:
    """Return the kinds of the outputs, by their documented names."""
    named: dict[str, str] = {
        preset.names.get(name, name): kind
        for kind in preset.outputs
        for name in default_names(kind) or ("features_N",)
    }
    if list(preset.outputs) == ["logits"] and "logits" not in preset.names:
        return {"output": "logits"}
    return named


def _accuracy(claimed: Accuracy | None) -> str:
    if claimed is None:
        return "nothing"
    top5 = "" if claimed.top5 is None else f", top-5 {claimed.top5:g} %"
    return f"top-1 {claimed.top1:g} %{top5} on {claimed.dataset} ({claimed.source})"

"""A folder in the layout of timm's push to the hub, written by timm itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from nfexport.sources.timm.seeded_weights import seed_weights
from nfexport.sources.timm.torchvision_operators import import_timm

LABELS = tuple(f"kind {number}" for number in range(7))
MEAN, STD = (0.1, 0.2, 0.3, 0.4), (0.5, 0.6, 0.7, 0.8)
README = "---\nlibrary_name: timm\nlicense: cc-by-4.0\n---\n# A model\nlicense: none\n"


def saved_model(folder: Path, *, safe: bool | str = True, **changes: Any) -> Path:
    """Write a network of four channels and seven classes; changes are of config.json, where None leaves a key out."""
    import_timm()
    import timm
    from timm.models._hub import save_for_hf

    model = timm.create_model("test_nfnet", in_chans=4, num_classes=7, global_pool="max")
    seed_weights(model, 5, image_size=(96, 96), in_channels=4)
    data = {"mean": MEAN, "std": STD, "crop_pct": 0.8, "interpolation": "bilinear", "input_size": (4, 96, 96)}
    config = {"label_names": list(LABELS), "model_args": {"in_chans": 4, "num_classes": 7, "global_pool": "max"}}
    try:
        save_for_hf(model, folder, model_config=config, safe_serialization=safe, data_config=data)
    except TypeError:  # releases before 1.0.2x take no data_config
        pretrained = {**data, "test_input_size": None}
        save_for_hf(model, folder, model_config={**config, "pretrained_cfg": pretrained}, safe_serialization=safe)
    (folder / "README.md").write_text(README, encoding="utf-8")
    if changes:
        file = folder / "config.json"
        written = {**json.loads(file.read_text()), **changes}
        file.write_text(json.dumps({key: value for key, value in written.items() if value is not None}))
    return folder


def timms_model(folder: Path) -> torch.nn.Module:
    """Build the network as timm itself reads the folder."""
    model: torch.nn.Module = import_timm().create_model(f"local-dir:{folder}", pretrained=True)
    return model.eval()

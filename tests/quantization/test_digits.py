"""A trained network: int8 gives the answers of float."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import nfexport
from nfexport.images.preprocessor import preprocessor_of

CALIBRATING = 10


@pytest.mark.slow
def test_int8_agrees_with_float_on_99_of_100_digits(digits: Path, tmp_path: Path) -> None:
    """Calibrated on ten of each class, compared on the 260 others."""
    plain, rounded = tmp_path / "plain.onnx", tmp_path / "int8.onnx"
    weights = digits / "digits.safetensors"
    nfexport.export("test_nfnet", plain, checkpoint=weights, num_classes=10, image_size=32, fold_ws=True)
    others = []
    for group in sorted((digits / "images").iterdir()):
        images = sorted(group.iterdir())
        (tmp_path / "known" / group.name).mkdir(parents=True)
        for image in images[:CALIBRATING]:
            shutil.copy(image, tmp_path / "known" / group.name)
        others += images[CALIBRATING:]
    result = nfexport.quantize(plain, rounded, calibrate=tmp_path / "known")
    assert result.on_calibration.images == 10 * CALIBRATING
    form = preprocessor_of(result.recipe)
    batch = form.batch([form.read(path) for path in others])
    answers = [
        onnxruntime.InferenceSession(path).run(None, {"input": batch})[0].argmax(axis=1) for path in (plain, rounded)
    ]
    targets = np.array([int(path.parent.name) for path in others])
    assert np.mean(answers[0] == answers[1]) >= 0.99
    assert np.mean(answers[1] == targets) >= 0.98  # float: 0.99 or more
    assert nfexport.verify(rounded, checkpoint=weights).passed

"""Every tensor of a file is looked at, and the file's model is what it was."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from nfexport.errors import OnnxFileError
from nfexport.verification.diagnosis.file_tensors import run_exposed
from tests.verification.toy import SIZE, to_onnx, toy, weights

IMAGE = np.zeros((1, 3, *SIZE), np.float32)


def test_every_tensor_is_given_and_the_model_left_as_it_was() -> None:
    model = onnx.load_from_string(to_onnx(weights(toy())))
    before = model.SerializeToString()
    tensors = run_exposed(model, {"image": IMAGE})
    assert list(tensors.values) == ["logits", "a", "b", "c", "d", "e"]
    assert tensors.outputs == {"logits"}
    assert model.SerializeToString() == before


def test_a_model_that_is_refused_is_left_as_it_was() -> None:
    model = onnx.load_from_string(to_onnx(weights(toy()), last="Unheard"))
    before = model.SerializeToString()
    with pytest.raises(OnnxFileError, match="Unheard"):
        run_exposed(model, {"image": IMAGE})
    assert model.SerializeToString() == before

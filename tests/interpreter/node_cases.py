"""onnx's own tests of single operators: which of them are in float32, and what the evaluator makes of them."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch

from nfexport.interpreter import GraphModule, uncovered_operators

COMPANIONS = {np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8}


@functools.cache
def float32_cases() -> tuple[Any, ...]:
    """Return the node tests of the newest opset with a float32 tensor, and else whole numbers and truth values."""
    from onnx.backend.test.case import node

    with warnings.catch_warnings():  # the tests are made when they are collected, infinities and all
        warnings.simplefilter("ignore")
        cases = node.collect_testcases(None)
    return tuple(case for case in cases if case.data_sets and _is_float32(case))


def _is_float32(case: Any) -> bool:
    kinds = {getattr(array, "dtype", np.dtype(object)).type for pair in case.data_sets for array in _flat(pair)}
    return np.float32 in kinds and kinds <= {np.float32, *COMPANIONS}


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _flat(item)
    elif value is not None:
        yield value


def uncovered(case: Any) -> tuple[str, ...]:
    return uncovered_operators(ir.from_proto(case.model))


def check(case: Any) -> None:
    """Compare types, shapes and values with those that the test records."""
    module = GraphModule(ir.from_proto(case.model))
    for inputs, outputs in case.data_sets:
        with torch.inference_mode():
            results = module(*map(tensors, inputs))
        assert len(results) == len(outputs)
        for actual, expected in zip(results, outputs, strict=True):
            _compare(actual, expected, case)


def tensors(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [tensors(item) for item in value]
    return None if value is None else torch.from_numpy(np.array(value))


def _compare(actual: Any, expected: Any, case: Any) -> None:
    if isinstance(expected, (list, tuple)):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            _compare(one, other, case)
        return
    array = actual.numpy()
    assert (array.dtype, array.shape) == (np.asarray(expected).dtype, np.shape(expected))
    # some record rounding errors of their own where the result is 0
    np.testing.assert_allclose(array, expected, rtol=case.rtol, atol=max(case.atol, 1e-6))


def newest() -> int:
    return int(onnx.defs.onnx_opset_version())

"""Types of the keyword arguments of export and surgery, for type checkers.

Made by `python -m tests.generated --write` from the fields of the options and the declarations of the passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict


class SharedKeywords(TypedDict, total=False):
    """Keyword arguments that nfexport.export and nfexport.surgery have in common."""

    opset: int | None
    optimize: bool
    extra_passes: Mapping[str, Mapping[str, Any]]
    mean: Sequence[float] | None
    std: Sequence[float] | None
    external_data: bool | None
    fold_ws: bool
    merge_branches: bool | None
    fold_scales: bool
    merge_groups: bool | None
    merge_affine: bool | None
    pool_globally: bool | None
    merge_pads: bool | None
    multiply_gates: bool | None
    normalize: Literal["nodes", "fold"] | None
    input_range: float | None
    channels: Literal["rgb", "bgr"] | None
    resize: int | tuple[int, int] | Literal["any"] | None
    input_dtype: Literal["uint8", "float32", "float16"] | None
    input_layout: Literal["nchw", "nhwc"] | None
    rename: Mapping[str, str] | None
    precision: Literal["fp16", "fp16-weights"] | None
    simplify: bool
    strip: bool


class ExportKeywords(SharedKeywords, total=False):
    """Keyword arguments of nfexport.export."""

    pretrained: bool
    checkpoint: str | Path | None
    ema: bool | None
    seed: int | None
    num_classes: int | None
    in_chans: int | None
    model_kwargs: Mapping[str, Any]
    inputs: Any
    image_size: int | tuple[int, int] | Literal["train", "test"] | None
    exporter: Literal["auto", "torchscript", "dynamo"]
    batch: int | Literal["dynamic"]
    dynamic_size: bool
    input_name: str
    output_name: str | None
    output_names: Sequence[str]
    outputs: Sequence[Literal["logits", "probs", "sigmoid", "topk", "features", "embedding", "embedding-unpooled"]]
    top_k: int
    feature_levels: Sequence[int]
    crop_pct: float | None
    crop_mode: Literal["center", "squash", "border"] | None
    interpolation: Literal["bicubic", "bilinear"] | None
    labels: Sequence[str] | None
    to: str
    to_options: Mapping[str, Any]
    ir_precision: Literal["fp32", "fp16"] | None


class SurgeryKeywords(SharedKeywords, total=False):
    """Keyword arguments of nfexport.surgery."""

    fold_bn: bool
    outputs: Sequence[Literal["logits", "probs", "sigmoid", "topk"]]
    top_k: int | None
    logits: str | None
    extract_inputs: Sequence[str]
    extract_outputs: Sequence[str]
    batch: int | tuple[int, int] | Literal["dynamic"] | None

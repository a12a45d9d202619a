"""The commands whose graphs are recorded, as a user types them behind `nfexport`.

A chain is several lines; the last one writes OUT, which is what counts. Files that nobody made before come from
inputs.py by their names. Nothing is compared with its model or its source on the way: comparing writes nothing, and
costs more than all the rest.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.same_graphs import inputs

OUT = "out.onnx"
"""The file that the last line of every command writes."""

COMPARING = ("export", "preset", "surgery")
"""The commands that compare what they write unless they are told not to."""


@dataclasses.dataclass(frozen=True)
class Command:
    """Lines of words, to be run one after another in one folder."""

    name: str
    lines: tuple[tuple[str, ...], ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """The names of the inputs that the lines ask for."""
        return tuple(dict.fromkeys(word for line in self.lines for word in line if word in inputs.MAKERS))

    def __str__(self) -> str:
        return "; ".join(f"nfexport {shlex.join(line)}" for line in self.lines)


class CommandError(Exception):
    """A command that ended in another code than 0."""


def run(command: Command, folder: Path, shared: Path) -> Path:
    """Run a command in an empty folder, in this process, and return the file that it wrote.

    shared is a folder for inputs, which are made there once. Raises CommandError."""
    # the one place that knows where the command line begins
    from nfexport.cli import run as nfexport

    for name in command.reads:
        if not (shared / name).exists():
            inputs.make(name, shared)
        copy = shutil.copytree if (shared / name).is_dir() else shutil.copyfile
        copy(shared / name, folder / name)
    with _inside(folder):
        for line in command.lines:
            quiet = ["--no-verify", "-q"] if line[0] in COMPARING else ["-q"]
            code = nfexport([*line, *quiet])
            if code != 0:
                raise CommandError(f"'nfexport {shlex.join(line)}' ended with {code}")
    return folder / OUT


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _table(text: str, *, first: str = "", last: str = f"-o {OUT}") -> Iterator[Command]:
    """Yield a command for each row 'NAME: LINE; LINE'. The first line of each gets `first` in front, the last one
    `last` behind; a row that ends in a backslash goes on in the next."""
    for row in filter(None, map(str.strip, text.replace("\\\n", " ").splitlines())):
        name, lines = row.split(": ", 1)
        words = [shlex.split(line) for line in f"{first} {lines} {last}".split(";")]
        yield Command(name, tuple(map(tuple, words)))


def _all() -> dict[str, Command]:
    commands = [
        *_table(_EXPORTS, first="export"),
        *_table(_PRESETS, first="preset export"),
        *_table(_CHAINS, first="export"),
        *_table(_FOREIGN, first="surgery"),
    ]
    named = {command.name: command for command in commands}
    if len(named) != len(commands):
        raise ValueError("two commands have one name")
    return named


_EXPORTS = r"""
plain-9:   test_nfnet --image-size 96 --opset 9
plain-11:  test_nfnet --image-size 96 --opset 11
plain-13:  test_nfnet --image-size 96 --opset 13
plain-17:  test_nfnet --image-size 96
fold-ws-9:   test_nfnet --image-size 96 --opset 9 --fold-ws
fold-ws-11:  test_nfnet --image-size 96 --opset 11 --fold-ws
fold-ws-13:  test_nfnet --image-size 96 --opset 13 --fold-ws
fold-ws-17:  test_nfnet --image-size 96 --fold-ws
fold-ws-18:  test_nfnet --image-size 96 --opset 18 --fold-ws
torchscript-23:  test_nfnet --image-size 96 --opset 23 --exporter torchscript --fold-ws
dynamo-11:       test_nfnet --image-size 96 --opset 11 --exporter dynamo --fold-ws
dynamo-17:       test_efficientnet --image-size 96 --exporter dynamo
dynamo-20-plain: test_nfnet --image-size 96 --opset 20
efficientnet-9:   test_efficientnet --image-size 96 --opset 9
efficientnet-13:  test_efficientnet --image-size 96 --opset 13
efficientnet-18:  test_efficientnet --image-size 96 --opset 18
efficientnet-24:  test_efficientnet --image-size 96 --opset 24 --exporter torchscript
hybrid-9:         vit_tiny_r_s16_p8_224 --opset 9 --fold-ws
hybrid-11-plain:  vit_tiny_r_s16_p8_224 --opset 11
hybrid-17:        vit_tiny_r_s16_p8_224 --fold-ws
hybrid-18:        vit_tiny_r_s16_p8_224 --opset 18 --fold-ws
bit-11:  resnetv2_50x1_bit --image-size 64 --opset 11 --fold-ws --num-classes 10
bit-13-plain:  resnetv2_50x1_bit --image-size 64 --opset 13 --num-classes 10
regnet-plain:  nf_regnet_b0 --image-size 64
convnext-18:   test_convnext --opset 18
resnet-13:     test_resnet --opset 13
vit-11:        test_vit --opset 11
vit-17:        test_vit --features
eca-11:    eca_nfnet_l0 --image-size 64 --opset 11 --fold-ws --num-classes 10

fold-scales:         test_nfnet --image-size 96 --fold-ws --fold-scales
fold-scales-alone:   test_nfnet --image-size 96 --fold-scales
fold-scales-regnet:  nf_regnet_b0 --image-size 64 --fold-ws --fold-scales
fold-scales-eca:     eca_nfnet_l0 --image-size 64 --num-classes 10 --fold-ws --fold-scales
optimize-11:         test_nfnet --image-size 96 --opset 11 --optimize
optimize-17:         test_nfnet --image-size 96 --optimize
optimize-regnet:     nf_regnet_b1 --image-size 64 --optimize
optimize-hybrid:     vit_tiny_r_s16_p8_224 --optimize
optimize-bit:        resnetv2_50x1_bit --image-size 64 --opset 13 --optimize --num-classes 10
optimize-l0:         nfnet_l0 --image-size 64 --optimize --num-classes 10
optimize-efficientnet: test_efficientnet --image-size 96 --optimize
no-merge-groups:     nf_regnet_b1 --image-size 64 --optimize --no-merge-groups
no-merge-affine:     vit_tiny_r_s16_p8_224 --optimize --no-merge-affine
no-merge-pads:       vit_tiny_r_s16_p8_224 --optimize --no-merge-pads
no-pool-globally:    test_nfnet --image-size 96 --optimize --no-pool-globally
no-multiply-gates:   nfnet_l0 --image-size 64 --optimize --no-multiply-gates --num-classes 10
merge-groups:        nf_regnet_b1 --image-size 64 --fold-ws --merge-groups
merge-affine:        vit_tiny_r_s16_p8_224 --fold-ws --merge-affine
merge-pads:          vit_tiny_r_s16_p8_224 --fold-ws --merge-pads
pool-globally:       test_nfnet --image-size 96 --fold-ws --pool-globally
multiply-gates:      nfnet_l0 --image-size 64 --fold-ws --multiply-gates --num-classes 10

normalize-nodes:     test_nfnet --image-size 96 --opset 11 --fold-ws --normalize
normalize-fold:      test_nfnet --image-size 96 --fold-ws --normalize fold
normalize-fold-255:  test_nfnet --image-size 96 --fold-ws --normalize fold --input-range 255
normalize-own:       test_nfnet --image-size 96 --normalize nodes --mean 120,110,100 --std 60,58,56 --input-range 255
normalize-own-fold:  test_efficientnet --image-size 96 --normalize fold --mean 0.4,0.5,0.6 --std 0.2,0.25,0.3
network-mean:        test_nfnet --image-size 96 --normalize --network-mean 0.4,0.5,0.6 --network-std 0.2,0.25,0.3
normalize-hybrid:    vit_tiny_r_s16_p8_224 --fold-ws --normalize fold --channels bgr
input-range:         test_nfnet --image-size 96 --fold-ws --input-range 255
channels:            test_nfnet --image-size 96 --fold-ws --channels bgr
channels-plain:      test_nfnet --image-size 96 --channels bgr
channels-nodes:      test_nfnet --image-size 96 --fold-ws --normalize nodes --channels bgr
uint8:               test_nfnet --image-size 96 --opset 13 --fold-ws --input-dtype uint8
uint8-nhwc:          test_nfnet --image-size 96 --opset 11 --fold-ws --input-dtype uint8 --input-layout nhwc \
    --normalize
float16-input:       test_nfnet --image-size 96 --fold-ws --input-dtype float16
nhwc:                test_nfnet --image-size 96 --fold-ws --input-layout nhwc
resize-any:          test_efficientnet --image-size 96 --opset 18 --normalize fold --resize
resize-fixed:        test_nfnet --image-size 96 --opset 11 --fold-ws --normalize fold --resize 120x90
resize-squash:       test_nfnet --image-size 96 --opset 13 --resize 120x90 --crop-mode squash --interpolation bilinear
resize-crop:         test_nfnet --image-size 96 --opset 11 --fold-ws --resize 70x130 --crop-pct 0.8
resize-any-bilinear: test_efficientnet --image-size 96 --opset 19 --resize --interpolation bilinear --channels bgr
resize-any-squash:   test_efficientnet --image-size 64x96 --opset 18 --resize --crop-mode squash --input-layout nchw
raw-pixels:          test_nfnet --image-size 96 --opset 18 --optimize --normalize --channels bgr --resize \
    --output topk

probs:               test_nfnet --image-size 96 --opset 11 --fold-ws --output probs
topk:                test_nfnet --image-size 96 --opset 9 --fold-ws --output topk --top-k 3
scores:              test_nfnet --image-size 96 --fold-ws --output topk --output logits --output probs \
    --num-classes 12
features:            test_nfnet --image-size 96 --fold-ws --features
features-levels:     test_efficientnet --image-size 96 --opset 11 --features=1,-1
features-hybrid:     vit_tiny_r_s16_p8_224 --fold-ws --features --embedding unpooled
embedding:           test_nfnet --image-size 96 --fold-ws --embedding --output-name vector
embedding-unpooled:  test_efficientnet --image-size 96 --opset 18 --embedding unpooled
embedding-headless:  test_nfnet --image-size 96 --fold-ws --num-classes 0 --embedding
everything:          test_nfnet --image-size 96 --fold-ws --output logits --output probs --output topk \
    --features --embedding --embedding unpooled
rename:              test_nfnet --image-size 96 --fold-ws --rename input=image --rename output=scores
names:               test_nfnet --image-size 96 --fold-ws --input-name data --output-name prob --output probs
batch-1:             test_nfnet --image-size 96 --opset 11 --fold-ws --batch 1
batch-2-hybrid:      vit_tiny_r_s16_p8_224 --opset 18 --fold-ws --batch 2
dynamic-size:        test_nfnet --image-size 96 --fold-ws --dynamic-size
dynamic-size-18:     test_efficientnet --image-size 96 --opset 18 --dynamic-size --features
dynamic-size-optimize: nf_regnet_b0 --image-size 64 --optimize --dynamic-size --normalize
image-size:          test_nfnet --image-size 64x128 --fold-ws
image-size-train:    test_efficientnet --image-size train
image-size-default:  test_nfnet --fold-ws --opset 11
num-classes:         test_nfnet --image-size 96 --fold-ws --num-classes 12
seed:                test_nfnet --image-size 96 --fold-ws --seed 3
checkpoint:          test_nfnet --image-size 96 --fold-ws --checkpoint seven.safetensors --num-classes 7
checkpoint-pth:      test_nfnet --image-size 96 --opset 13 --optimize --checkpoint seven.pth --num-classes 7
fp16:                test_nfnet --image-size 96 --fold-ws --precision fp16
fp16-11-raw:         test_nfnet --image-size 96 --opset 11 --fold-ws --normalize --output probs --precision fp16
fp16-hybrid:         vit_tiny_r_s16_p8_224 --fold-ws --precision fp16
fp16-weights:        test_nfnet --image-size 96 --opset 11 --fold-ws --precision fp16-weights
simplify:            test_nfnet --image-size 96 --fold-ws --simplify
simplify-hybrid:     vit_tiny_r_s16_p8_224 --opset 13 --fold-ws --simplify
strip:               test_efficientnet --image-size 96 --opset 18 --strip
external-data:       test_nfnet --image-size 96 --fold-ws --external-data
int8-export:         test_nfnet --image-size 96 --opset 13 --optimize --quantize int8 --calibrate 2 --worst 0
int8-export-18:      test_efficientnet --image-size 96 --opset 18 --quantize int8 --calibrate 9 --worst 2
"""

_PRESETS = r"""
preset-nfnet-f0-original:       nfnet-f0 --form original
preset-nfnet-f0-converted:      nfnet-f0 --form converted --external-data
preset-efficientnet-original:   efficientnet-b0-pytorch --form original
preset-efficientnet-converted:  efficientnet-b0-pytorch --form converted
preset-nfnet-l0-original:       nfnet_l0.ra2_in1k --form original
preset-nfnet-l0-converted:      nfnet_l0.ra2_in1k --form converted --seed 1
preset-migraphx-original:       migraphx-nfnet --form original
preset-migraphx-converted:      migraphx-nfnet --form converted
preset-own:                     own --preset-dir presets
"""

_CHAINS = r"""
then-fold-ws:         test_nfnet --image-size 96 --opset 11 -o a.onnx; surgery a.onnx --fold-ws --fold-scales
then-optimize:        vit_tiny_r_s16_p8_224 -o a.onnx; surgery a.onnx --optimize --no-merge-pads
then-front:           test_nfnet --image-size 96 --fold-ws -o a.onnx; \
    surgery a.onnx --normalize fold --channels bgr --input-range 255 --input-dtype uint8 --input-layout nhwc
then-nodes:           test_nfnet --image-size 96 -o a.onnx; \
    surgery a.onnx --normalize --mean 0.4,0.5,0.6 --std 0.2,0.2,0.3
then-resize:          test_efficientnet --image-size 96 --opset 18 -o a.onnx; surgery a.onnx --normalize --resize
then-resize-fixed:    test_nfnet --image-size 96 --opset 11 -o a.onnx; surgery a.onnx --resize 100x140 --opset 13
then-topk:            test_nfnet --image-size 96 --fold-ws -o a.onnx; \
    surgery a.onnx --output topk --output probs --top-k 2
then-extract:         test_nfnet --image-size 96 --fold-ws --features -o a.onnx; \
    surgery a.onnx --extract-inputs features_1 --extract-outputs features_3,features_2
then-rename:          test_nfnet --image-size 96 -o a.onnx; surgery a.onnx --rename output=scores --strip
then-batch:           vit_tiny_r_s16_p8_224 --opset 13 --batch 2 -o a.onnx; surgery a.onnx --batch dynamic
then-batch-4:         test_nfnet --image-size 96 --fold-ws --normalize --batch 1 -o a.onnx; surgery a.onnx --batch 4
then-opset-9:         test_efficientnet --image-size 96 --opset 18 -o a.onnx; surgery a.onnx --opset 9
then-opset-21:        test_nfnet --image-size 96 --opset 11 -o a.onnx; surgery a.onnx --opset 21
then-opset-hybrid:    vit_tiny_r_s16_p8_224 --output topk -o a.onnx; surgery a.onnx --opset 11
then-fp16:            test_nfnet --image-size 96 --fold-ws --embedding -o a.onnx; \
    surgery a.onnx --precision fp16 --opset 13
then-fp16-weights:    test_nfnet --image-size 96 --fold-ws -o a.onnx; surgery a.onnx --precision fp16-weights
then-simplify:        test_efficientnet --image-size 96 --opset 18 -o a.onnx; surgery a.onnx --simplify
then-external:        test_nfnet --image-size 96 --external-data -o a.onnx; \
    surgery a.onnx --fold-ws --no-external-data
then-again:           test_nfnet --image-size 96 --fold-ws --normalize -o a.onnx; \
    surgery a.onnx --normalize --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5 --force -o b.onnx; \
    surgery b.onnx --external-data --opset 18
int8:                 test_nfnet --image-size 96 --opset 13 --optimize --no-multiply-gates -o a.onnx; \
    quantize a.onnx --calibrate 9
int8-entropy:         test_efficientnet --image-size 96 --opset 13 -o a.onnx; \
    quantize a.onnx --calibrate 6 --calibration-method entropy --worst 0 --seed 2
int8-percentile:      test_efficientnet --image-size 96 --normalize --input-dtype uint8 -o a.onnx; \
    quantize a.onnx --calibrate 6 --calibration-method percentile --keep-float "*conv_pw*"
int8-images:          test_nfnet --image-size 96 --fold-ws --batch 2 -o a.onnx; \
    quantize a.onnx --calibrate images --worst 3
int8-extract:         test_efficientnet --image-size 96 --features -o a.onnx; \
    quantize a.onnx --calibrate 4 -o b.onnx; \
    surgery b.onnx --extract-outputs features_2
"""

_FOREIGN = r"""
foreign-std-mean:         std_mean.onnx --fold-ws
foreign-unbiased:         unbiased.onnx --fold-ws
foreign-var-mean:         var_mean.onnx --fold-ws --opset 11
foreign-batch-norm:       batch_norm.onnx --fold-ws
foreign-layer-norm:       layer_norm.onnx --fold-ws
foreign-std-mean-dynamo:  std_mean_dynamo.onnx --fold-ws
foreign-batch-norm-dynamo: batch_norm_dynamo.onnx --fold-ws --strip
foreign-nfnet:            timm_nfnet.onnx --fold-ws
foreign-nfnet-optimize:   timm_nfnet.onnx --optimize --opset 13
foreign-nfnet-front:      timm_nfnet.onnx --fold-ws --normalize fold --mean 0.4,0.5,0.6 --std 0.2,0.2,0.3 \
    --channels bgr
foreign-nfnet-dynamo:     timm_nfnet_dynamo.onnx --fold-ws --fold-scales
foreign-nfnet-stripped:   timm_nfnet_dynamo.onnx --strip --batch dynamic
foreign-efficientnet:     timm_efficientnet.onnx --fold-bn
foreign-efficientnet-all: timm_efficientnet.onnx --optimize --normalize --mean 0.4,0.5,0.6 --std 0.2,0.2,0.3 \
    --output probs
foreign-efficientnet-9:   timm_efficientnet.onnx --opset 9 --batch 3
foreign-efficientnet-16:  timm_efficientnet.onnx --fold-bn --precision fp16 --input-dtype float16
foreign-efficientnet-simplify: timm_efficientnet.onnx --simplify
foreign-hybrid:           timm_hybrid.onnx --optimize --opset 18
foreign-hybrid-batch:     timm_hybrid.onnx --fold-ws --batch 1
foreign-block-tidy:       block.onnx --rename y=scores
foreign-block-9:          block.onnx --opset 9
foreign-block-12:         block.onnx --opset 12
foreign-block-15:         block.onnx --opset 15
foreign-block-18:         block.onnx --opset 18
foreign-block-24:         block.onnx --opset 24
foreign-block-optimize:   block.onnx --optimize
foreign-block-strip:      block.onnx --strip
foreign-block-groups:     block.onnx --merge-groups
foreign-block-affine:     block.onnx --merge-affine
foreign-block-pool:       block.onnx --pool-globally
foreign-block-pads:       block.onnx --merge-pads
foreign-block-gates:      block.onnx --multiply-gates
foreign-block-bn:         block.onnx --fold-bn
foreign-block-extract:    block.onnx --extract-inputs c --extract-outputs l,t
foreign-block-raw:        block.onnx --input-range 255 --input-layout nhwc --input-dtype uint8 --output topk
foreign-bodies-9:         bodies.onnx --opset 9
foreign-bodies-11:        bodies.onnx --opset 11
foreign-bodies-18:        bodies.onnx --opset 18 --strip
foreign-bodies-probs:     bodies.onnx --output probs --logits y --rename sum=total_of_scores
"""

COMMANDS: Mapping[str, Command] = _all()
"""The commands by their names, in the order in which they are recorded."""

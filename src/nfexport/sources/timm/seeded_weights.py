"""The default, untrained weights: the same bytes on every machine, and a change of any one changes the output.

Numbers come from Philox, a counter-based generator whose raw output is fixed by its key (Salmon et al.,
"Parallel random numbers: as easy as 1, 2, 3", 2011); the key is the sha256 of seed and name. They become
uniform floats by one shift, one subtraction and one multiplication, each exact or rounded by IEEE 754, so that
they do not depend on the processor or the number of threads. torch's own generators take vectorised paths that
differ between processors.

With timm's own initial weights wrong graphs would verify too: the last convolution of every Normalizer-Free block
has gain 0, BatchNorm is the identity, layer scales are 1e-6. Here:

    kernels and matrices      zero mean, std sqrt(2 / fan_in) in convolutions, sqrt(1 / fan_in) in linear layers
    standardised kernels      std sqrt(1 / fan_in), plus a mean for each filter, which standardisation takes away
    gains                     uniform in 0.52..1.32: with more, deep residual networks amplify rounding errors
    norm weights              uniform in 0.5..1.5; layer scales 0.1..0.5
    biases                    uniform in −0.1..0.1
    embeddings, tokens, …     std 0.02..0.2
    running statistics        near those of the network's own activations, see `calibrate`
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import torch
from torch import nn

from nfexport.sources.model.accepted_sizes import REFUSALS
from nfexport.sources.timm.standardised_layers import is_standardised

_MATRIX_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)
_LAYER_SCALES = ("gamma", "gamma_1", "gamma_2", "gamma1", "gamma2", "gamma3", "layer_scale", "ls")
_CHUNK = 1 << 16
"""Numbers drawn at a time, so that they fit into the processor's cache."""

_LARGEST_PROBE = 160
"""Pixels of the images that running statistics are taken from, where the network accepts any size. At 96
inception_v3 ends in one pixel, whose variance over two images is no estimate: its outputs reach 1,000s."""


def seed_weights(
    model: nn.Module,
    seed: int,
    *,
    image_size: tuple[int, int] = (0, 0),
    in_channels: int = 0,
    run: Callable[[], object] | None = None,
) -> None:
    """Overwrite every parameter and running statistic in place.

    run runs the model, converted to float64, on inputs for its running statistics; by default on images of this size
    and number of channels."""
    seed_parameters(model, seed)
    calibrate(model, seed, run or (lambda: _run_on_images(model, seed, image_size, in_channels)))


def seed_parameters(model: nn.Module, seed: int, layers: Collection[str] | None = None) -> None:
    """Overwrite every parameter in place, or those of some layers, by the names of their modules."""
    done: set[int] = set()
    for module_name, module in model.named_modules():
        if layers is not None and not any(f"{module_name}.".startswith(f"{layer}.") for layer in layers):
            continue
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in done or not parameter.is_floating_point():
                continue
            done.add(id(parameter))
            path = f"{module_name}.{name}" if module_name else name
            values = _values(module, name, tuple(parameter.shape), f"{seed}/{path}")
            parameter.data = torch.from_numpy(values).to(parameter.dtype)


def uniform(key: str, size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return size float32 numbers in −1..1, a multiple of 2⁻²³ each, determined by the key alone."""
    digest = hashlib.sha256(key.encode()).digest()
    generator = np.random.Philox(key=int.from_bytes(digest[:16], "little"))
    values = np.empty(size, dtype=np.float32)
    for start in range(0, size, _CHUNK):
        part = values[start : start + _CHUNK]
        raw = generator.random_raw((part.size + 1) // 2).astype("<u8", copy=False).view("<u4")[: part.size]
        np.right_shift(raw, np.uint32(8), out=raw)
        np.subtract(raw, np.float32(2**23), out=part, dtype=np.float32, casting="unsafe")
        part *= np.float32(2**-23)
    return values


def _values(module: nn.Module, name: str, shape: tuple[int, ...], key: str) -> np.ndarray[Any, Any]:
    size = math.prod(shape)
    values = uniform(key, size)
    if sum(dim > 1 for dim in shape) >= 2:
        fan_in = max(1, size // shape[0])
        if isinstance(module, _MATRIX_LAYERS) and name == "weight":
            standardised = is_standardised(module)
            gain = 2.0 if not standardised and not isinstance(module, nn.Linear) else 1.0
            std = math.sqrt(gain / fan_in)
            values *= np.float32(std * math.sqrt(3.0))
            if standardised:
                values = values.reshape(shape[0], -1)
                values += np.float32(0.5 * std) * uniform(f"{key}/mean", shape[0])[:, None]
        else:
            values *= np.float32(min(max(fan_in**-0.5, 0.02), 0.2) * math.sqrt(3.0))
    elif name.endswith("bias") or name in ("b", "beta"):
        values *= np.float32(0.1)
    elif name in _LAYER_SCALES:
        values *= np.float32(0.2)
        values += np.float32(0.3)
    elif name == "gain":
        values *= np.float32(0.4)
        values += np.float32(0.92)
    elif _is_scale(name):
        values *= np.float32(0.5)
        values += np.float32(1.0)
    else:
        values *= np.float32(0.2 * math.sqrt(3.0))
    return values.reshape(shape)


def _is_scale(name: str) -> bool:
    """Say whether a vector is a factor, as gains and the weights of normalisation layers are."""
    return name in (
        "weight",
        "gain",
        "skipinit_gain",
        "scale",
        "alpha",
        "temperature",
        "logit_scale",
        "scaling",
    )


def calibrate(model: nn.Module, seed: int, run: Callable[[], object]) -> None:
    """Set the running statistics of every BatchNorm near those of its input, so that signals neither vanish nor
    explode at any depth.

        running_var = 4^k · u,   running_mean = 2^k · v,   u in 0.5..1.5, v in −0.3..0.3,
        k = round(log4(mean variance of the input's channels))

    run runs the model on seeded inputs, in float64: only a whole number, k, depends on them, so that rounding
    differences between machines do not reach the weights. A network without BatchNorm is not run."""
    names: dict[nn.Module, str] = {
        module: name
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_var is not None
    }
    if not names:
        return

    def set_statistics(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        x = inputs[0]
        channels = x.transpose(0, 1).reshape(x.shape[1], -1)
        mean_square = float(channels.var(dim=1, unbiased=False).mean())
        k = round(math.log(mean_square, 4)) if mean_square > 1e-30 else 0
        size, key = x.shape[1], f"{seed}/{names[module]}"
        mean = uniform(f"{key}.running_mean", size) * np.float32(0.3 * 2.0**k)
        var = (uniform(f"{key}.running_var", size) * np.float32(0.5) + np.float32(1.0)) * np.float32(4.0**k)
        module.get_buffer("running_mean").copy_(torch.from_numpy(mean))
        module.get_buffer("running_var").copy_(torch.from_numpy(var))

    hooks = [module.register_forward_pre_hook(set_statistics) for module in names]
    model.double()
    try:
        with torch.inference_mode():
            run()
    finally:
        model.float()
        for hook in hooks:
            hook.remove()


def _run_on_images(model: nn.Module, seed: int, image_size: tuple[int, int], in_channels: int) -> None:
    for size in dict.fromkeys(((min(image_size[0], _LARGEST_PROBE),) * 2, image_size)):
        try:
            model(_probe(seed, in_channels, size))
        except REFUSALS:
            continue  # a network of fixed size; the next size is its own
        break


def _probe(seed: int, in_channels: int, size: tuple[int, int]) -> torch.Tensor:
    """Return two images in −2..2: noise, and noise on large blocks. Coherent areas excite a network far more than
    noise does; with statistics taken from noise alone attention saturates on any other image."""
    shape = (in_channels, *size)
    noise = uniform(f"{seed}/picture", 2 * math.prod(shape)).astype(np.float64).reshape(2, *shape)
    coarse = uniform(f"{seed}/blocks", in_channels * 16).astype(np.float64).reshape(in_channels, 4, 4)
    rows, columns = np.arange(size[0]) * 4 // size[0], np.arange(size[1]) * 4 // size[1]
    blocks = np.sign(coarse)[:, rows][:, :, columns]
    return torch.from_numpy(2.0 * np.stack([noise[0], 0.9 * blocks + 0.1 * noise[1]]))

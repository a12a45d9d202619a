"""What is found out about a user's own module: whether it can be exported, what it takes, and what it returns.

It is run twice on seeded tensors, and once more at other sizes where a size is symbolic.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from nfexport.errors import RecipeError
from nfexport.recipe.recipe import Preprocessing, Provenance, Weights
from nfexport.recipe.second_sizes import second_sizes
from nfexport.recipe.tensor_spec import BATCH, TensorSpec
from nfexport.sources.model.digest import state_digest
from nfexport.sources.model.example_inputs import default_inputs
from nfexport.sources.model.loaded_model import UNCHANGED, InputSpec, LoadedModel
from nfexport.sources.model.module_call import ModuleCall, match_inputs, output_names
from nfexport.sources.model.observed_run import ObservedRun, observe
from nfexport.sources.model.spec import ModelSpec

MOST_RUNS = 8
"""Runs of a module that draws random numbers, until two of them differ."""

_WHOLE = (torch.float16, torch.bfloat16, torch.float64)


def describe(
    module: torch.nn.Module,
    spec: ModelSpec,
    provenance: Provenance,
    *,
    name: str,
    keywords: tuple[str | None, ...] | None = None,
) -> LoadedModel:
    """Return a module, in evaluation mode, with all that an export needs to know of it.

    name is what messages and recipes call it; keywords are the parameters that take its inputs, if they are known.
    Weights are the module's own, unless the spec asks for others.
    Raises RecipeError for a module that cannot be exported as it is, and CheckpointError."""
    check_state(module, name)
    specs = spec.inputs or default_inputs(module, spec, name)
    call = ModuleCall(keywords=match_inputs(module, specs) if keywords is None else keywords)
    weights = _weights(module, spec, call, specs)
    call = _observe(module, call, specs, name, spec.output_names)
    shared: dict[str, Any] = {
        "module": module,
        "architecture": name,
        "weights": weights,
        "num_classes": call.classes or 0,
        "labels": None,
        "provenance": provenance,
        "call": call,
        "notes": _notes(module, call),
    }
    image = _image(specs)
    if image is None:
        batch = "dynamic" if any(BATCH in one.symbols.values() for one in specs) else 1
        options = {"batch": batch, "input_name": specs[0].name}
        return LoadedModel(**shared, input=None, preprocessing=UNCHANGED, tensors=tuple(specs), options=options)
    (one,) = specs
    return LoadedModel(
        **shared,
        input=image,
        preprocessing=_preprocessing(module, image.channels),
        options={
            "input_name": one.name,
            "batch": "dynamic" if one.symbols.get(0) == BATCH else one.shape[0],
            "dynamic_size": 2 in one.symbols,
        },
    )


def _notes(module: torch.nn.Module, call: ModuleCall) -> tuple[str, ...]:
    notes = [
        f"the module reads numbers of its tensors ({place}): the graph holds what one run decided"
        for place in call.reads[:1]
    ]
    # the gains of fresh Normalizer-Free blocks are 0, and those of a zero-initialised residual branch
    idle = [
        name
        for name, parameter in module.named_parameters()
        if not name.endswith("bias") and parameter.numel() and not bool(parameter.any())
    ]
    if idle:
        more = f" and {len(idle) - 1} more" if len(idle) > 1 else ""
        notes.append(
            f"'{idle[0]}'{more} are all 0: what lies behind has no effect, and the verification does not see it; "
            "export trained weights, or pass --seed 0"
        )
    return tuple(notes)


def check_state(module: torch.nn.Module, name: str) -> None:
    """Raise RecipeError for a module in training mode, on another device than the CPU, or of another precision."""
    if module.training:
        raise RecipeError(f"{name} is in training mode", fix="call .eval() on it first")
    for inner, child in module.named_modules():
        if child.training:
            raise RecipeError(
                f"'{inner}' ({type(child).__name__}) of {name} is in training mode", fix="call .eval() on the module"
            )
    for path, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.device.type != "cpu":
            fix = "give it weights first" if tensor.device.type == "meta" else "call .cpu() on the module"
            raise RecipeError(f"'{path}' of {name} is on the device '{tensor.device}'", fix=fix)
        if tensor.dtype in _WHOLE:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise RecipeError(f"'{path}' of {name} is {kind}, not float32", fix="call .float() on the module")


def _image(specs: Sequence[TensorSpec]) -> InputSpec | None:
    """Return the one image that these inputs are, None if they are something else."""
    if len(specs) != 1 or specs[0].dtype != "float32" or len(specs[0].shape) != 4:
        return None
    batch, channels, height, width = specs[0].shape
    if isinstance(channels, str) or (isinstance(batch, str) and batch != BATCH):
        return None
    if {type(height), type(width)} != {int} and (height, width) != ("height", "width"):
        return None
    sizes = specs[0].at({})
    return InputSpec(channels=channels, height=sizes[2], width=sizes[3])


def _preprocessing(module: torch.nn.Module, channels: int) -> Preprocessing:
    """Return what the module's own configuration, in timm's form, says of mean and std; else nothing is done."""
    found = getattr(module, "pretrained_cfg", None) or {}
    if isinstance(found, Mapping) and len(found.get("mean", ())) == channels == len(found.get("std", ())):
        return Preprocessing(
            mean=tuple(map(float, found["mean"])),
            std=tuple(map(float, found["std"])),
            crop_pct=1.0,
            crop_mode="center",
            interpolation="bicubic",
        )
    return Preprocessing(
        mean=(0.0,) * channels, std=(1.0,) * channels, crop_pct=1.0, crop_mode="center", interpolation="bicubic"
    )


def _weights(module: torch.nn.Module, spec: ModelSpec, call: ModuleCall, specs: Sequence[TensorSpec]) -> Weights:
    if spec.checkpoint is not None:
        from nfexport.sources.timm.checkpoint_reader import read_checkpoint
        from nfexport.sources.timm.checkpoints import load_state
        from nfexport.sources.timm.prefixes import under_prefix

        found = read_checkpoint(spec.checkpoint, ema=spec.ema)
        state, _, _ = under_prefix(
            found.state,
            module.state_dict().keys(),
            spec.checkpoint,
            ema=spec.ema if found.averaged is None else None,
        )
        load_state(module, state, spec.checkpoint)
        return Weights(kind="checkpoint", digest=state_digest(module))
    if spec.seed is not None:
        from nfexport.sources.timm.seeded_weights import seed_weights

        probes = [example_tensors(specs, {}, seed=spec.seed, double=True)]
        seed_weights(module, spec.seed, run=lambda: [call.call(module, probe) for probe in probes])
        return Weights(kind="seeded", digest=state_digest(module), seed=spec.seed)
    return Weights(kind="module", digest=state_digest(module))


def example_tensors(
    specs: Sequence[TensorSpec], sizes: Mapping[str, int], *, seed: int = 0, double: bool = False
) -> tuple[torch.Tensor, ...]:
    """Return seeded tensors for the inputs: normal floats, whole numbers within their bounds."""
    from nfexport.sources.timm.seeded_weights import uniform

    found = []
    for spec in specs:
        shape = spec.at(sizes)
        count = max(1, int(torch.Size(shape).numel()))
        drawn = torch.from_numpy(uniform(f"{seed}/{spec.name}", count)).reshape(shape)
        if spec.dtype == "bool":
            found.append(drawn > 0)
        elif spec.dtype.startswith(("int", "uint")):
            low = spec.low if spec.low is not None else min(0, spec.high or 0)
            high = spec.high if spec.high is not None else low + 1
            whole = low + torch.floor((drawn.double() + 1) / 2 * (high - low + 1))
            found.append(whole.clamp(low, high).to(getattr(torch, spec.dtype)))
        else:
            dtype = torch.float64 if double and spec.dtype == "float32" else getattr(torch, spec.dtype)
            found.append((drawn * 1.7).to(dtype))
    return tuple(found)


def _observe(
    module: torch.nn.Module, call: ModuleCall, specs: Sequence[TensorSpec], name: str, wanted: Sequence[str]
) -> ModuleCall:
    """Run the module, and return the call with the names and shapes of what it returns."""
    seen = _run(module, call, specs, {}, name)
    first = seen.tensors
    found = [label for label, _ in first]
    if not found:
        raise RecipeError(f"{name} returns no tensor", fix="let its forward return what the file should return")
    # random numbers may agree by chance, as those of a dropout on few elements
    for _ in range(MOST_RUNS if seen.random else 1):
        again = _run(module, call, specs, {}, name).tensors
        differing = [label for (label, one), (_, other) in zip(first, again, strict=True) if not _equal(one, other)]
        if differing:
            raise RecipeError(
                f"two runs of {name} on the same input give different values of '{differing[0]}'",
                fix="take out random layers, such as a functional dropout, or let them follow the evaluation mode",
            )
    traced = {dim: size for spec in specs for dim, size in spec.sizes.items()}
    shapes = [tuple(tensor.shape) for _, tensor in first]
    symbolic: list[tuple[int | str, ...]] = [*shapes]
    names = output_names(found, wanted, [spec.name for spec in specs])
    if traced:
        other_sizes = second_sizes(specs)
        others = [tuple(t.shape) for _, t in _run(module, call, specs, other_sizes, name).tensors]
        if [len(shape) for shape in others] != [len(shape) for shape in shapes]:
            raise RecipeError(
                f"{name} returns other tensors at {_shown(other_sizes)}", fix="give --input fixed sizes instead"
            )
        symbolic = [
            tuple(
                _dim(one, other, traced, other_sizes, f"{label}_dim_{axis}")
                for axis, (one, other) in enumerate(zip(shape, changed, strict=True))
            )
            for label, shape, changed in zip(names, shapes, others, strict=True)
        ]
    return dataclasses.replace(
        call, outputs=names, shapes=tuple(symbolic), classes=_classes(first, symbolic), reads=seen.reads
    )


def _dim(one: int, other: int, traced: Mapping[str, int], second: Mapping[str, int], label: str) -> int | str:
    if one == other:
        return one
    return next((n for n, size in traced.items() if size == one and second[n] == other), label)


def _classes(found: Sequence[tuple[str, torch.Tensor]], shapes: Sequence[tuple[int | str, ...]]) -> int | None:
    if len(found) != 1 or len(shapes[0]) != 2 or not found[0][1].is_floating_point():
        return None
    classes = shapes[0][1]
    return classes if isinstance(classes, int) else None


def _run(
    module: torch.nn.Module, call: ModuleCall, specs: Sequence[TensorSpec], sizes: Mapping[str, int], name: str
) -> ObservedRun:
    tensors = example_tensors(specs, sizes)
    try:
        return observe(module, call, tensors)
    except RecipeError:
        raise
    except Exception as error:  # a user's own code may raise anything
        raise _refusal(name, specs, tensors, sizes, error) from error


def _refusal(
    name: str,
    specs: Sequence[TensorSpec],
    tensors: Sequence[torch.Tensor],
    sizes: Mapping[str, int],
    error: Exception,
) -> RecipeError:
    lines = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {lines[0].strip().rstrip('.')[:200]}" if lines else type(error).__name__
    given = ", ".join(f"{spec.name} {list(tensor.shape)}" for spec, tensor in zip(specs, tensors, strict=True))
    if sizes:
        return RecipeError(
            f"{name} does not take {given} ({reason}), and its input is described with symbolic sizes",
            fix="give --input fixed sizes, or other ones to trace at: NAME=DTYPE[batch,3,height:224,width:224]",
        )
    return RecipeError(f"{name} does not take {given} ({reason})", fix="describe its inputs with --input")


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and bool(torch.equal(torch.nan_to_num(one), torch.nan_to_num(other)))


def _shown(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {size}" for name, size in sizes.items())

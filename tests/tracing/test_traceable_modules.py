"""Weight standardisation runs as separate calls inside the block, equal to rounding, and only there."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from nfexport.tracing.traceable_modules import gather_windows, traceable

FUSED = (torch.std_mean, torch.var_mean, F.batch_norm, F.layer_norm)


class Conv(torch.nn.Conv2d):
    """A weight-standardised convolution whose formula is given."""

    def __init__(self, standardise: Callable[[Conv], torch.Tensor]) -> None:
        super().__init__(3, 8, 3)
        self.gain = torch.nn.Parameter(torch.linspace(0.5, 1.5, 8).reshape(8, 1, 1, 1))
        self.standardise = standardise
        with torch.no_grad():
            # small filters with a mean, where eps and the subtraction count
            self.weight.copy_(torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(1)) * 0.02 + 0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.standardise(self), self.bias)


def timm_0_4_9(conv: Conv) -> torch.Tensor:
    std, mean = torch.std_mean(conv.weight, dim=[1, 2, 3], keepdim=True, unbiased=False)
    return conv.gain * (conv.weight - mean) / (std + 1e-5)


def bit_port(conv: Conv) -> torch.Tensor:
    var, mean = torch.var_mean(conv.weight, dim=[1, 2, 3], keepdim=True, unbiased=False)
    return (conv.weight - mean) / torch.sqrt(var + 1e-10)


def bit_port_positional(conv: Conv) -> torch.Tensor:
    var, mean = torch.var_mean(conv.weight, [1, 2, 3], False, True)
    return (conv.weight - mean) / torch.sqrt(var + 1e-10)


def unbiased_over_everything(conv: Conv) -> torch.Tensor:
    std, mean = torch.std_mean(conv.weight)
    return (conv.weight - mean) / std


def timm_today(conv: Conv) -> torch.Tensor:
    row = conv.weight.reshape(1, 8, -1)
    scale = (conv.gain * 0.3).view(-1)
    return F.batch_norm(row, None, None, weight=scale, training=True, momentum=0.0, eps=1e-5).reshape_as(conv.weight)


def layer_norm(conv: Conv) -> torch.Tensor:
    return conv.gain * F.layer_norm(conv.weight, conv.weight.shape[1:], eps=1e-5)


FORMULAS = [timm_0_4_9, bit_port, bit_port_positional, unbiased_over_everything, timm_today, layer_norm]


class Recorder(TorchFunctionMode):
    """Counts the fused calls that reach torch."""

    def __init__(self) -> None:
        super().__init__()
        self.fused: int = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.fused += func in FUSED
        return func(*args, **(kwargs or {}))


def fused_calls(model: torch.nn.Module, x: torch.Tensor, *, patched: bool) -> int:
    recorder = Recorder()
    # it is outside, and so sees the calls that the patch leaves
    with recorder, torch.no_grad():
        if patched:
            with traceable(model):
                model(x)
        else:
            model(x)
    return recorder.fused


@pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.__name__)
def test_each_formula_runs_without_its_fused_call_and_equals_it(
    formula: Callable[[Conv], torch.Tensor],
) -> None:
    conv = Conv(formula)
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = formula(conv)
        with traceable(conv):
            after = formula(conv)
    # a mean over 27 elements and a root: a few roundings of float32
    assert (after - before).abs().max() <= 1e-6 * before.abs().max()
    assert fused_calls(conv, x, patched=False) == 1
    assert fused_calls(conv, x, patched=True) == 0


def test_the_comparison_would_notice_the_unbiased_variance() -> None:
    conv = Conv(timm_today)
    right = timm_today(conv)
    wrong = right * (26 / 27) ** 0.5
    assert (wrong - right).abs().max() > 1e-3 * right.abs().max()


@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.batch_norm(x, None, None, training=True),
        lambda x: F.batch_norm(x, torch.zeros(3), torch.ones(3)),
        lambda x: F.layer_norm(x, x.shape[1:]),
        lambda x: torch.std_mean(x, dim=[1, 2, 3]),
        lambda x: torch.var_mean(x, dim=[1, 2, 3]),
    ],
)
def test_the_same_functions_on_activations_are_left_alone(call: Callable[[torch.Tensor], Any]) -> None:
    class Block(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return call(x)

    assert fused_calls(Block(), torch.randn(2, 3, 4, 4), patched=True) == 1


def test_a_layer_norm_with_parameters_on_activations_is_left_alone() -> None:
    assert fused_calls(torch.nn.LayerNorm(4), torch.randn(2, 4), patched=True) == 1


def test_the_block_leaves_nothing_behind_also_after_an_error() -> None:
    conv = Conv(timm_today)
    x = torch.randn(1, 3, 8, 8)
    state = copy.deepcopy(conv.state_dict())
    functions = (torch.std_mean, torch.var_mean, F.batch_norm, F.layer_norm, F.pad)
    with pytest.raises(RuntimeError, match="inside"), traceable(conv):
        raise RuntimeError("inside")
    assert (torch.std_mean, torch.var_mean, F.batch_norm, F.layer_norm, F.pad) == functions
    assert fused_calls(conv, x, patched=False) == 1
    assert vars(conv).keys() == vars(Conv(timm_today)).keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in conv.state_dict().items())


def test_blocks_nest() -> None:
    conv = Conv(timm_today)
    with torch.no_grad(), traceable(conv):
        with traceable(conv):
            inner = timm_today(conv)
        outer = timm_today(conv)
    assert torch.equal(inner, outer)


def test_fused_attention_is_off_inside_and_back_on_after() -> None:
    class Attention(torch.nn.Module):
        fused_attn = True

    attention = Attention()
    with traceable(torch.nn.Sequential(attention)):
        assert not attention.fused_attn
    assert attention.fused_attn


def test_it_works_under_torch_export() -> None:
    conv = Conv(timm_today)
    x = torch.randn(2, 3, 8, 8)
    with traceable(conv):
        program = torch.export.export(conv, (x,), strict=False)
    names = {str(node.target) for node in program.graph.nodes}
    assert not any("batch_norm" in name for name in names)
    torch.testing.assert_close(program.module()(x), conv(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("axis", "size", "step"), [(2, 3, 2), (-1, 4, 1), (1, 5, 5), (0, 2, 1)])
def test_windows_are_those_of_unfold(axis: int, size: int, step: int) -> None:
    x = torch.randn(2, 5, 9, 11)
    assert torch.equal(gather_windows(x, axis, size, step), x.unfold(axis, size, step))
    with traceable(torch.nn.Identity()):
        assert torch.equal(x.unfold(axis, size, step), gather_windows(x, axis, size, step))

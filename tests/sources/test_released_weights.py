"""Weights that a model gives up live on where they are shared, and only there."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import torch

from nfexport.sources.model.released_weights import release_weights, take_weights


def network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).eval()


def test_the_memory_is_free_once_the_last_who_shares_it_lets_go() -> None:
    module = network()
    shared = module[0].weight.detach().numpy()  # type: ignore[index]
    expected = shared.copy()
    gone = weakref.ref(shared.base if shared.base is not None else shared)
    release_weights(module)
    assert sum(tensor.numel() for tensor in module.state_dict().values()) == 0
    np.testing.assert_array_equal(shared, expected)
    del shared
    gc.collect()
    assert gone() is None


def test_another_of_the_same_form_makes_it_whole_again() -> None:
    module, other = network(), network()
    image = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    release_weights(module)
    take_weights(module, other)
    with torch.no_grad():
        assert torch.equal(module(image), other(image))

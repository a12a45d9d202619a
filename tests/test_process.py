"""The collector is off in the block alone, whatever happens there."""

from __future__ import annotations

import gc

import pytest

from nfexport import process as collector


def test_it_runs_again_afterwards() -> None:
    assert gc.isenabled()
    with pytest.raises(KeyError), collector.paused():
        with collector.paused():
            pass
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()


def test_where_it_was_off_it_stays_off() -> None:
    gc.disable()
    try:
        with collector.paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()

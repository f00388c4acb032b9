"""A pipeline that a test must leave as it was."""

import pytest
import torch

from ..support.families import FAMILIES
from ..support.running import UNEVEN, processors, stock


@pytest.fixture
def untouched():
    """A pipeline whose denoiser must be, after the test, what it was before."""
    pipe = FAMILIES["sd1"].fresh()
    call = FAMILIES["sd1"].call(pipe, UNEVEN, steps=2)
    before, installed = stock(pipe, call), processors(pipe.unet)
    yield pipe, call
    after = processors(pipe.unet)
    assert all(installed[name] is after[name] for name in installed)
    assert not pipe.unet._forward_pre_hooks
    assert not pipe.unet._forward_hooks
    assert torch.equal(stock(pipe, call), before)

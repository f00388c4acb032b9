"""Keys and values read by tensor descriptors: the same result, bit for bit, as by pointers in the same blocks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from aid_kernels.interpolated_attention.inputs import AttentionInputs
from aid_kernels.interpolated_attention.tuning.tile_sizes import LaunchConfig
from tests.testing import Case, assert_accepted, bundled

pytestmark = pytest.mark.usefixtures("interpreted")

CONFIG = LaunchConfig(64, 32, 1, 1, pad=True, descriptors=True)
BASE = Case(dtype=torch.float16, heads=2, head_dim=40)
ONE = {"sources": ((1,), (0,)), "weights": ((1.0,), (0.0,))}


def described(inputs: AttentionInputs, mode: str = "outer") -> bool:
    from triton.tools.tensor_descriptor import TensorDescriptor

    from aid_kernels.interpolated_attention.impl.triton.launch import attention_launch

    launch = attention_launch(mode, "interpreter", inputs, torch.empty_like(inputs.query), CONFIG)
    kinds = {
        isinstance(launch.arguments[name], TensorDescriptor) for name in ("key", "value", "bank_key", "bank_value")
    }
    assert kinds == {launch.constants["TILES"].descriptors}
    return kinds == {True}


def misaligned(tensor: Tensor) -> Tensor:
    """The same values, one element from where a descriptor could begin."""
    storage = torch.empty(tensor.numel() + 1, dtype=tensor.dtype)
    return storage[1:].view(tensor.shape).copy_(tensor)


@pytest.mark.parametrize(
    "case",
    [
        BASE,
        BASE.but(layout="transposed", key_length=77, bank=(4, 21)),
        BASE.but(dtype=torch.bfloat16, head_dim=64, key_length=64, **ONE),
        BASE.but(dtype=torch.float32, head_dim=16, fuse_self=False),
        BASE.but(mode="inner", bank=(3, 150)),
    ],
    ids=str,
)
def test_descriptors_read_what_pointers_read(case: Case) -> None:
    from aid_kernels.interpolated_attention.impl.triton.forward import attend

    inputs = bundled(case.inputs())
    assert described(inputs, "outer" if case.mode == "outer" else "inner_premixed")
    out = attend(case.mode, inputs, CONFIG, "before" if case.mode == "inner" else None)
    assert_accepted(out, case.mode, case.inputs())
    moved = inputs._replace(value=misaligned(inputs.value), bank_value=misaligned(inputs.bank_value))
    if case.mode == "outer":  # inner's bank is what the kernel before made
        assert not described(moved)
        assert torch.equal(attend(case.mode, moved, CONFIG), out)


@pytest.mark.parametrize(
    "case",
    [
        BASE.but(masks="some"),
        BASE.but(layout="expanded"),
        BASE.but(sources=((0, 1, 2),) * 3, weights=((0.2, 0.3, 0.5), (0.0, 0.6, 0.4), (0.0, 0.0, 0.0))),
    ],
    ids=["masks", "expanded", "three sources"],
)
def test_calls_that_descriptors_cannot_serve_are_read_by_pointers(case: Case) -> None:
    from aid_kernels.interpolated_attention.impl.triton.forward import attend, with_packed_masks

    inputs = bundled(case.inputs())
    assert not described(with_packed_masks(inputs))
    assert_accepted(attend("outer", inputs, CONFIG), "outer", case.inputs())


def test_the_order_of_sums_is_the_same_for_any_number_of_sources() -> None:
    from aid_kernels.interpolated_attention.impl.triton.launch import attention_launch

    tiles = []
    for count in (2, 3):
        case = BASE.but(sources=(tuple(range(count)),) * 3, weights=((1 / count,) * count,) * 3)
        inputs = bundled(case.inputs())
        launch = attention_launch("outer", "interpreter", inputs, torch.empty_like(inputs.query), CONFIG)
        tiles.append(launch.constants["TILES"])
    assert replace(tiles[0], descriptors=False) == tiles[1]
    assert tiles[0].short

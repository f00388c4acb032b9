"""The Hopper kernel on a Hopper GPU, skipped without one. It is experimental, so no other measurement waits for it."""

from __future__ import annotations

import pytest
import torch

from aid_kernels.interpolated_attention.impl.hopper.support import TARGET
from aid_kernels.interpolated_attention.tuning.targets import target_of
from tests.kernels.test_gpu import on_device
from tests.testing import OPS, Case, assert_accepted

BASE = Case(head_dim=64, dtype=torch.bfloat16)
# four blocks of own keys, three of a source's: every buffer is used again
LONG = BASE.but(query_length=500, key_length=500, bank=(3, 300))
CASES = [
    case.but(head_dim=head_dim, dtype=dtype)
    for head_dim in (64, 128)
    for dtype in (torch.bfloat16, torch.float16)
    for case in (
        BASE,
        BASE.but(fuse_self=False, bank=(3, 77), layout="transposed"),
        BASE.but(query_length=256, key_length=512, layout="fused"),
        LONG,
        LONG.but(weights=((0.0,), (1.0,)), sources=((0,), (1,))),
        LONG.but(weights=((0.0, 1.0), (1.0, 0.0)), sources=((0, 1), (1, 0)), fuse_self=False),
        BASE.but(weights=((), ()), sources=((), ())),
    )
]
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available() or target_of(torch.device("cuda")) != TARGET, reason=f"needs a GPU of {TARGET}"
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_is_accepted(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    from aid_kernels.interpolated_attention.impl.hopper import forward

    plain = forward.empty_output
    monkeypatch.setattr(forward, "empty_output", lambda query: plain(query).fill_(torch.nan))
    monkeypatch.setenv("AID_KERNELS_EXPERIMENTAL", "1")
    arguments = {name: on_device(value) for name, value in case.inputs().items()}
    # twice: barriers start anew with every program
    for _ in range(2):
        assert_accepted(OPS[case.mode](**arguments, impl="hopper").cpu(), case.mode, case.inputs())

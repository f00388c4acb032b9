"""Stock attention ops that give their log-sum-exp, on a GPU: their conventions are torch's, and may change with it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.backends import cuda as rules

from aid_kernels.interpolated_attention.impl import log_sum_exp_ops
from tests.kernels.test_gpu import BF16, DEVICE, F16, on_device
from tests.testing import OPS, Case, assert_accepted, covering_cases

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
RULES = {
    "cudnn": rules.can_use_cudnn_attention,
    "flash": rules.can_use_flash_attention,
    "efficient": rules.can_use_efficient_attention,
    "math": lambda params: True,
}


def inputs(dim: int, rows: int, queries: int, keys: int) -> list[Tensor]:
    generator = torch.Generator(DEVICE).manual_seed(0)
    lengths = (queries, keys, keys)
    return [
        torch.randn(rows, length, 3, dim, generator=generator, device=DEVICE).to(BF16).transpose(1, 2)
        for length in lengths
    ]


@pytest.mark.parametrize("shape", [(2, 129, 77), (1, 515, 256), (3, 64, 64)])
@pytest.mark.parametrize("dim", [40, 64, 80, 128, 160])
@pytest.mark.parametrize("name", RULES)
def test_op_gives_attention_and_natural_log_sum_exp(
    name: str, dim: int, shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    query, key, value = inputs(dim, *shape)
    params = rules.SDPAParams(query, key, value, None, 0.0, False, False)
    if not RULES[name](params):
        pytest.skip(f"torch does not let {name} serve this")
    monkeypatch.setattr(log_sum_exp_ops, "log_sum_exp_op", lambda *_: name)
    out, lse = log_sum_exp_ops.attend(query, key, value, None, dim**-0.5)
    logits = query.double() @ key.double().mT * dim**-0.5
    exact = logits.softmax(-1) @ value.double()
    assert lse.shape == query.shape[:3]
    assert (lse.double() - logits.logsumexp(-1)).abs().max() < 5e-3
    assert (out.double() - exact).abs().max() < 16 * torch.finfo(BF16).eps * exact.abs().max()


@pytest.mark.parametrize("length", [77, 64, 200])
def test_masks_are_served_by_an_op_that_takes_them(length: int) -> None:
    query, key, value = inputs(64, 3, 130, length)
    mask = torch.rand(3, length, device=DEVICE) < 0.5
    mask[1] = False
    out, lse = log_sum_exp_ops.attend(query, key, value, mask, 0.125)
    logits = (query.double() @ key.double().mT * 0.125).masked_fill(~mask[:, None, None], -torch.inf)
    exact = torch.nan_to_num(logits.softmax(-1)) @ value.double()
    assert (out.double() - exact).abs().max() < 16 * torch.finfo(BF16).eps * exact.abs().max()
    torch.testing.assert_close(lse.double(), logits.logsumexp(-1), atol=5e-3, rtol=0)


@pytest.mark.parametrize("dtype", [F16, BF16])
@pytest.mark.parametrize("case", covering_cases()[::3], ids=str)
def test_the_stock_recipe_is_accepted(case: Case, dtype: torch.dtype) -> None:
    case = case.but(dtype=dtype)
    arguments = {name: on_device(value) for name, value in case.inputs().items()}
    assert_accepted(OPS[case.mode](**arguments, impl="sdpa").cpu(), case.mode, case.inputs())

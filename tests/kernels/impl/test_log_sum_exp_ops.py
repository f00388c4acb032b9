"""The stock ops behind `sdpa`: what they return, which is asked, and what happens where nothing is visible."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from aid_kernels.interpolated_attention.impl import log_sum_exp_ops
from aid_kernels.interpolated_attention.impl.log_sum_exp_ops import attend, log_sum_exp_op

HERE = ("flash_for_cpu", "math")  # the ops a CPU can run


def draw(
    rows: int = 2, heads: int = 3, length: int = 37, keys: int = 45, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(rows, heads, size, 40, generator=generator).to(dtype) for size in (length, keys, keys)]


def exact(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    logits = scale * (query.double() @ key.double().mT).masked_fill(~mask[:, None, None], -torch.inf)
    return logits.softmax(dim=-1).nan_to_num(0) @ value.double(), logits.logsumexp(dim=-1)


@pytest.fixture(params=HERE)
def op(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One of the ops, made to serve everything."""
    monkeypatch.setattr(log_sum_exp_ops, "log_sum_exp_op", lambda *_: request.param)
    return str(request.param)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("masked", [False, True])
def test_result_and_log_sum_exp(op: str, dtype: torch.dtype, masked: bool) -> None:
    query, key, value = draw(dtype=dtype)
    mask = torch.rand(2, 45, generator=torch.Generator().manual_seed(1)) < 0.6
    out, lse = attend(query, key, value, mask if masked else None, 0.2)
    expected, expected_lse = exact(query, key, value, mask if masked else torch.ones_like(mask), 0.2)
    assert lse.dtype == torch.promote_types(dtype, torch.float32)
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=16 * torch.finfo(dtype).eps)
    # for half types the CPU op takes a quicker exponential
    accepted = 1e-4 if dtype.itemsize == 2 else 32 * torch.finfo(dtype).eps
    torch.testing.assert_close(lse.double(), expected_lse, rtol=0, atol=accepted)


def test_nothing_visible_is_zero_with_weight_zero(op: str) -> None:
    mask = torch.ones(2, 45, dtype=torch.bool)
    mask[1] = False
    out, lse = attend(*draw(), mask, 0.2)
    assert (out[1] == 0).all()
    assert (lse[1] == -torch.inf).all()
    assert out[0].abs().min() > 0
    assert lse[0].isfinite().all()


@pytest.mark.parametrize("sizes", [(0, 3, 5, 7), (2, 0, 5, 7), (2, 3, 0, 7), (2, 3, 5, 0), (2, 3, 0, 0)], ids=str)
def test_empty_inputs(op: str, sizes: tuple[int, int, int, int]) -> None:
    rows, heads, length, keys = sizes
    out, lse = attend(*draw(*sizes), torch.ones(rows, keys, dtype=torch.bool), 0.2)
    assert out.shape == (rows, heads, length, 40)
    assert (out == 0).all()
    assert lse.shape == (rows, heads, length)
    assert (lse == -torch.inf).all()


@pytest.mark.parametrize("masked", [False, True])
def test_more_rows_than_a_grid_holds(masked: bool, op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = torch.rand(5, 45, generator=torch.Generator().manual_seed(1)) < 0.6 if masked else None
    whole = attend(*draw(rows=5), mask, 0.2)
    rows = []
    attended = log_sum_exp_ops._OPS[op]
    monkeypatch.setitem(
        log_sum_exp_ops._OPS, op, lambda query, *rest: rows.append(len(query)) or attended(query, *rest)
    )
    monkeypatch.setattr(log_sum_exp_ops, "MAX_ROWS", {"cpu": 2})
    for part, expected in zip(attend(*draw(rows=5), mask, 0.2), whole, strict=True):
        torch.testing.assert_close(part, expected)
    assert rows == [2, 2, 1]


def test_fallback_in_chunks_is_the_fallback_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_sum_exp_ops, "log_sum_exp_op", lambda *_: "math")
    whole = attend(*draw(), None, 0.2)
    monkeypatch.setattr(log_sum_exp_ops, "MAX_LOGITS", 3 * 45 * 4)  # four queries of 37 at a time
    for part, expected in zip(attend(*draw(), None, 0.2), whole, strict=True):
        torch.testing.assert_close(part, expected)


@pytest.mark.parametrize(
    ("name", "masked"),
    [("cudnn", False), ("flash", False), ("efficient", False), ("efficient", True), ("math", False), ("math", True)],
)
def test_shapes_on_a_gpu(name: str, masked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Meta tensors run torch's own shape rules of the GPU ops, 37 queries of which one op pads to 64."""
    monkeypatch.setattr(log_sum_exp_ops, "log_sum_exp_op", lambda *_: name)
    query, key, value = (tensor.to("meta", torch.float16) for tensor in draw())
    mask = torch.ones(2, 45, dtype=torch.bool, device="meta") if masked else None
    out, lse = attend(query, key, value, mask, 0.2)
    assert out.shape == query.shape
    assert lse.shape == query.shape[:3]
    assert lse.dtype == torch.float32


def test_cpu_tensors_take_the_cpu_op() -> None:
    assert log_sum_exp_op(*draw()) == "flash_for_cpu"


def test_unknown_devices_take_the_fallback() -> None:
    assert log_sum_exp_op(*(tensor.to("meta") for tensor in draw())) == "math"


@pytest.mark.parametrize(
    ("able", "masked", "hip", "expected"),
    [
        (("cudnn", "flash", "mem_efficient"), False, None, "cudnn"),
        (("cudnn", "flash", "mem_efficient"), False, "7.0", "flash"),
        (("cudnn", "flash", "mem_efficient"), True, None, "efficient"),
        (("flash", "mem_efficient"), False, None, "flash"),
        (("mem_efficient",), False, None, "efficient"),
        (("cudnn", "flash"), True, None, "math"),
        ((), False, None, "math"),
    ],
)
def test_order_on_a_gpu(
    able: tuple[str, ...], masked: bool, hip: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's rules are stood in for: they answer no without a GPU."""
    rules = {"cudnn": "cudnn", "flash": "flash", "mem_efficient": "efficient"}
    for name, rule in rules.items():
        monkeypatch.setattr(log_sum_exp_ops.rules, f"can_use_{rule}_attention", lambda _, name=name: name in able)
    monkeypatch.setattr(log_sum_exp_ops.rules, "SDPAParams", lambda *arguments: arguments)
    monkeypatch.setattr(torch.version, "hip", hip)
    tensor = SimpleNamespace(device=torch.device("cuda"))
    assert log_sum_exp_op(tensor, tensor, tensor, tensor if masked else None) == expected

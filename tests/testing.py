"""Shared makers and the one tolerance that every implementation must meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from aid_kernels import InterpolationPlan, inner_attention, outer_attention
from aid_kernels.interpolated_attention.checks import checked_inputs
from aid_kernels.interpolated_attention.inputs import AttentionInputs

OPS: dict[str, Callable[..., Tensor]] = {"outer": outer_attention, "inner": inner_attention}


@dataclass(frozen=True)
class Case:
    """One call of the op, small enough for Triton's interpreter; `inputs()` makes its tensors."""

    mode: str = "outer"
    fuse_self: bool = True
    weights: tuple[tuple[float, ...], ...] = ((0.0, 0.0), (0.7, 0.3), (0.0, 0.0))
    sources: tuple[tuple[int, ...], ...] = ((0, 2), (0, 2), (0, 2))
    heads: int = 3
    query_length: int = 37
    key_length: int = 37
    bank: tuple[int, int] | None = None  # entries, length
    head_dim: int = 40
    dtype: torch.dtype = torch.float32
    layout: str = "dense"  # dense | transposed | fused | expanded
    masks: str = "none"  # none | some | blind (rows with nothing visible)
    scale: float | None = None
    seed: int = 0

    def __str__(self) -> str:
        changed = [f"{name}={value}" for name, value in vars(self).items() if value != getattr(Case, name)]
        return " ".join(changed).replace("torch.", "") or "default"

    def but(self, **changes: object) -> Case:
        return replace(self, **changes)  # type: ignore[arg-type]

    def plan(self) -> InterpolationPlan:
        rows = len(self.weights)
        width = len(self.weights[0]) if rows else 0
        sources = torch.tensor(self.sources, dtype=torch.int32).reshape(rows, width)
        return InterpolationPlan(sources, torch.tensor(self.weights, dtype=torch.float32).reshape(rows, width))

    def inputs(self) -> dict[str, object]:
        """Arguments of the op, on the CPU."""
        generator = torch.Generator().manual_seed(self.seed)
        rows = len(self.weights)
        query = self._tensor(generator, rows, self.query_length, "dense" if self.layout == "fused" else self.layout)
        key, value = (self._tensor(generator, rows, self.key_length, self.layout) for _ in range(2))
        arguments: dict[str, object] = dict(q=query, k=key, v=value, plan=self.plan(), fuse_self=self.fuse_self)
        entries, length = self.bank or (rows, self.key_length)
        if self.bank:
            arguments["bank"] = tuple(self._tensor(generator, entries, length, self.layout) for _ in range(2))
        if self.masks != "none":
            key_mask = torch.rand(rows, self.key_length, generator=generator) < 0.6
            bank_mask = torch.rand(entries, length, generator=generator) < 0.6
            if self.masks == "blind":
                key_mask[-2:] = False
                bank_mask[-1:] = False
            arguments |= dict(key_mask=key_mask, bank_mask=bank_mask)
        return arguments | dict(scale=self.scale)

    def _tensor(self, generator: torch.Generator, rows: int, length: int, layout: str) -> Tensor:
        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator).to(self.dtype)

        heads, dim = self.heads, self.head_dim
        if layout == "transposed":
            return draw(rows, length, heads, dim).transpose(1, 2)
        if layout == "fused":  # the middle third of a fused projection
            return draw(rows, length, 3, heads, dim)[:, :, 1].transpose(1, 2)
        if layout == "expanded":
            return draw(1, heads, length, dim).expand(rows, heads, length, dim)
        return draw(rows, heads, length, dim)


def run_triton(case: Case, **changes: object) -> Tensor:
    """The case by the kernels, with some arguments changed."""
    return OPS[case.mode](**case.inputs() | changes, impl="triton")


def bundled(arguments: dict[str, object]) -> AttentionInputs:
    """The op's arguments as its implementations take them."""
    names = ("q", "k", "v", "plan", "fuse_self", "bank", "key_mask", "bank_mask", "scale")
    return checked_inputs(*(arguments.get(name) for name in names))


def widen(arguments: dict[str, object]) -> dict[str, object]:
    """The same call in float64."""

    def wide(value: object) -> object:
        if isinstance(value, tuple):
            return tuple(wide(part) for part in value)
        return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value

    return {name: wide(value) for name, value in arguments.items()}


def oracle(mode: str, arguments: dict[str, object]) -> Tensor:
    """float64 result of the reference implementation."""
    return OPS[mode](**widen(arguments), impl="reference")


def stock(mode: str, arguments: dict[str, object]) -> Tensor:
    """What stock PyTorch gives in the inputs' own dtype: concatenated keys, one SDPA call a term."""
    query, key, value, plan = (arguments[name] for name in ("q", "k", "v", "plan"))
    bank_key, bank_value = arguments.get("bank") or (key, value)
    key_mask, bank_mask = arguments.get("key_mask"), arguments.get("bank_mask")
    if key_mask is None:
        key_mask = torch.ones(key.shape[0], key.shape[2], dtype=torch.bool)
    if bank_mask is None:
        bank_mask = torch.ones(bank_key.shape[0], bank_key.shape[2], dtype=torch.bool)
    rows = []
    for row in range(query.shape[0]):
        own = key[row], value[row], key_mask[row]
        pairs = [(s, w) for s, w in zip(plan.sources[row].tolist(), plan.weights[row].tolist(), strict=True) if w]
        if mode == "outer":
            terms = [(w, (bank_key[s], bank_value[s], bank_mask[s])) for s, w in pairs]
        else:
            terms = []
            if pairs:
                mixed = [sum(w * part[s] for s, w in pairs) for part in (bank_key, bank_value)]
                terms = [(1.0, (*mixed, torch.stack([bank_mask[s] for s, _ in pairs]).any(0)))]
        segments = [(w, [term, own] if arguments["fuse_self"] else [term]) for w, term in terms] or [(1.0, [own])]
        rows.append(sum(w * _stock_attention(query[row], parts, arguments["scale"]) for w, parts in segments))
    return torch.stack(rows) if rows else torch.empty_like(query)


def _stock_attention(query: Tensor, segments: list[tuple[Tensor, Tensor, Tensor]], scale: float | None) -> Tensor:
    key, value, mask = (torch.cat(parts, dim=-2 if parts[0].ndim > 1 else 0) for parts in zip(*segments, strict=True))
    if not mask.any():
        return torch.zeros_like(query)
    # four dimensions, or PyTorch leaves its fused op for the materialised one
    mask = mask.expand(1, 1, query.shape[-2], -1)
    return F.scaled_dot_product_attention(query[None], key[None], value[None], attn_mask=mask, scale=scale)[0]


def tolerance(mode: str, arguments: dict[str, object]) -> float:
    """2 max|stock - ref64| + one rounding: the rule of `operator.md`, the same wherever it is checked."""
    exact = oracle(mode, arguments)
    if not exact.numel():
        return 0.0
    error = (stock(mode, arguments).double() - exact).abs().max().item()
    return 2 * error + torch.finfo(arguments["q"].dtype).eps / 2 * exact.abs().max().item()


def assert_accepted(out: Tensor, mode: str, arguments: dict[str, object]) -> None:
    """Shape, dtype, finiteness and the tolerance."""
    exact = oracle(mode, arguments)
    assert out.shape == exact.shape
    assert out.dtype == arguments["q"].dtype
    if not exact.numel():
        return
    error = (out.double() - exact).abs().max().item()  # nan fails the comparison below
    limit = tolerance(mode, arguments)
    assert error <= limit, f"max error {error:.3e} over the accepted {limit:.3e}"


def covering_cases() -> list[Case]:
    """Every head size, dtype, layout, number of sources, mask, bank and edge of the contract, a few at a time."""
    base = Case()
    ends = {"sources": ((0, 4),) * 5, "weights": ((0.0, 0.0), (1.0, 0.0), (0.5, 0.5), (0.0, 1.0), (0.0, 0.0))}
    three = {"sources": ((0, 1, 3),) * 4, "weights": ((0.0,) * 3, (0.2, 0.3, 0.5), (0.0, 0.6, 0.4), (0.0,) * 3)}
    one = {"sources": ((1,), (0,)), "weights": ((1.0,), (0.0,))}
    none = {"sources": ((), ()), "weights": ((), ())}
    cases = [base.but(head_dim=dim) for dim in (8, 40, 64, 80, 96, 128, 160, 256)]
    cases += [base.but(dtype=dtype, head_dim=dim) for dtype in (torch.float16, torch.bfloat16) for dim in (40, 64)]
    cases += [base.but(layout=layout) for layout in ("transposed", "fused", "expanded")]
    cases += [base.but(**plan) for plan in (ends, three, one, none)]
    cases += [base.but(masks=masks, **ends) for masks in ("some", "blind")]
    cases += [
        base.but(key_length=77),
        base.but(key_length=77, bank=(3, 77), layout="transposed", masks="some", dtype=torch.bfloat16),
        base.but(bank=(4, 21), sources=((0, 3),) * 3, head_dim=80, masks="blind"),
        base.but(bank=(3, 150), query_length=1, key_length=1),
        base.but(query_length=0),
        base.but(key_length=0, bank=(3, 5)),
        base.but(key_length=0),
        base.but(weights=(), sources=()),
        base.but(scale=0.3, query_length=65, key_length=129),
        base.but(scale=-0.2),
        base.but(scale=0.0),
    ]
    return [case.but(mode=mode, fuse_self=fuse) for case in cases for mode in OPS for fuse in (True, False)]

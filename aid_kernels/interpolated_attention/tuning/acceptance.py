"""Acceptance of a candidate: a sample of its output against the float64 reference, in memory that was poisoned.

The rule is the operator's: max|out - exact| <= 2 max|stock in the same dtype - exact| + one rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ..inputs import AttentionInputs

Attention = Callable[[AttentionInputs], Tensor]

BLOCK = 16  # neighbouring queries of a sampled block
_EMPTY = ("aten::empty", "aten::new_empty")


@dataclass(frozen=True)
class Sample:
    """Some rows, heads and blocks of queries of a call, their exact result and how far a result may be from it.

    Attributes:
        rows, heads, queries: indices into the output.
        exact: (rows, heads, queries, D) float64.
        limit: the largest error that is accepted.
    """

    rows: list[int]
    heads: list[int]
    queries: list[int]
    exact: Tensor
    limit: float

    def error(self, out: Tensor) -> float:
        """The largest error; NaN where the output holds one."""
        return (_cut(out, self.rows, self.heads, self.queries).double() - self.exact).abs().max().item()

    def fault(self, out: Tensor) -> tuple[float, str | None]:
        """The largest error of an output, and why it is refused; None if it is not."""
        error = self.error(out)
        if not error <= self.limit:
            return error, f"it disagrees with the reference: error {error:.2e} over the accepted {self.limit:.2e}"
        if not bool(out.isfinite().all()):
            return error, "it left parts of its output unwritten, or NaN"
        return error, None


def sample(inputs: AttentionInputs, reference: Attention, stock: Attention) -> Sample | None:
    """The sample of a call; None where the exact result is not finite, so that nothing can be compared."""
    terms = inputs.plan.host_terms()
    mixed = [row for row, found in enumerate(terms) if found]
    plain = [row for row, found in enumerate(terms) if not found]
    rows = sorted({*mixed[:1], *mixed[len(mixed) // 2 :][:1], *mixed[-1:], *plain[:1], *plain[-1:]})
    heads = sorted({0, inputs.query.shape[1] - 1})
    length = inputs.query.shape[2]
    starts = (0, max(0, length // 2 - BLOCK // 2), max(0, length - BLOCK))
    queries = sorted({place for start in starts for place in range(start, min(length, start + BLOCK))})
    part = _part(inputs, rows, heads, queries)
    exact = reference(part._replace(**{name: getattr(part, name).double() for name in part._fields[:5]}))
    if not bool(exact.isfinite().all()):
        return None
    rounding = torch.finfo(inputs.query.dtype).eps / 2 * exact.abs().max().item()
    stock_error = (stock(part).double() - exact).abs().max().item()
    return Sample(rows, heads, queries, exact, 2 * stock_error + rounding)


@contextmanager
def poisoned() -> Iterator[None]:
    """While active, memory that is handed out uninitialised is NaN: what a kernel leaves unwritten is seen."""
    with _Poison():
        yield


class _Poison(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func.name().startswith(_EMPTY) and made.is_floating_point():
            made.fill_(torch.nan)
        return made


def _part(inputs: AttentionInputs, rows: list[int], heads: list[int], queries: list[int]) -> AttentionInputs:
    """The call that gives the sampled part of the output, with the bank entries that its rows read."""
    terms = inputs.plan.host_terms()
    entries = sorted({source for row in rows for _, source, _ in terms[row]}) or [0][: inputs.bank_key.shape[0]]
    return inputs._replace(
        query=_cut(inputs.query, rows, heads, queries),
        key=inputs.key[rows][:, heads],
        value=inputs.value[rows][:, heads],
        bank_key=inputs.bank_key[entries][:, heads],
        bank_value=inputs.bank_value[entries][:, heads],
        key_mask=None if inputs.key_mask is None else inputs.key_mask[rows],
        bank_mask=None if inputs.bank_mask is None else inputs.bank_mask[entries],
        plan=inputs.plan.select(rows, entries),
    )


def _cut(tensor: Tensor, rows: list[int], heads: list[int], queries: list[int]) -> Tensor:
    return tensor[rows][:, heads][:, :, queries]

"""Inputs of one call: made once by the public functions, handed on as one object, flat only in torch's own ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..plan import InterpolationPlan
from .biases import differs_by_query


class AttentionInputs(NamedTuple):
    """What either op computes from, with every default filled in.

    Attributes:
        query: (B, H, Sq, D).
        key, value: (B, H, Sk, D), the rows' own.
        bank_key, bank_value: (E, H, Ss, D), what the plan's sources index; `key` and `value` where no bank is given.
        key_mask: (B, Sk) bool, True = may be attended to; or with a query axis, (B, 1 or H, 1 or Sq, Sk), bool or
            added to the logits. None: all.
        bank_mask: (E, Ss) or (E, 1 or H, 1 or Sq, Ss), likewise.
        plan: sources and weights of the B rows.
        fuse_self: interpolated rows attend to their own keys too.
        scale: factor of the logits.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    bank_key: Tensor
    bank_value: Tensor
    key_mask: Tensor | None
    bank_mask: Tensor | None
    plan: InterpolationPlan
    fuse_self: bool
    scale: float

    @property
    def masked(self) -> bool:
        """Whether a mask is given."""
        return self.key_mask is not None or self.bank_mask is not None

    @property
    def by_query(self) -> bool:
        """Whether a mask has a query axis."""
        return differs_by_query(self.key_mask) or differs_by_query(self.bank_mask)


# the fields in a torch op's schema, in order. Torch knows no plan, so the plan's tensors stand for it. The scale is a
# float64 tensor on the CPU: Inductor may compute one call with another's symbolic float, pytorch/pytorch#197889
SCHEMA = (
    "Tensor query, Tensor key, Tensor value, Tensor bank_key, Tensor bank_value, Tensor? key_mask, Tensor? bank_mask, "
    "Tensor[] plan, bool fuse_self, Tensor scale"
)


def flatten(inputs: AttentionInputs) -> tuple[Any, ...]:
    """Arguments of an op with `SCHEMA`."""
    *tensors, plan, fuse_self, scale = inputs
    return *tensors, plan.tensors(), fuse_self, torch.tensor(scale, dtype=torch.float64, device="cpu")


def unflatten(arguments: Sequence[Any]) -> AttentionInputs:
    """The inputs again, from what `flatten` made of them."""
    *tensors, plan, fuse_self, scale = arguments
    return AttentionInputs._make([*tensors, InterpolationPlan.from_tensors(plan), fuse_self, scale.item()])


def requires_grad(inputs: AttentionInputs) -> bool:
    """Whether autograd is on and asks for the gradient of any input."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs[:5])

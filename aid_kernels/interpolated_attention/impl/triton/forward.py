"""The `triton` implementation: one fused launch for all rows; inner mixes long keys in a launch before it."""

from __future__ import annotations

import torch
from torch import Tensor

from ....plan import InterpolationPlan
from ...layout import empty_output
from ...tuning.static import MIX_ON_THE_WAY, Setting
from ...tuning.tuned import measured_for
from .launch import Own, Source, attention_launch, lerp_launch
from .support import interpreting, target_of

# decided when the kernels were defined, by the import above
INTERPRETED = interpreting()


def outer_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    plan: InterpolationPlan,
    *,
    fuse_self: bool,
    bank: tuple[Tensor, Tensor],
    key_mask: Tensor | None,
    bank_mask: Tensor | None,
    scale: float,
) -> Tensor:
    """Equations (1) and (2). Same signature, shapes and rules as the public op; softmax and sums in float32."""
    found = measured_for("outer", query, key, plan, bank, key_mask is not None or bank_mask is not None)
    setting = None if found is None else found.setting
    return attend("outer", (query, key, value, key_mask), (*bank, bank_mask), plan, fuse_self, scale, setting)


def inner_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    plan: InterpolationPlan,
    *,
    fuse_self: bool,
    bank: tuple[Tensor, Tensor],
    key_mask: Tensor | None,
    bank_mask: Tensor | None,
    scale: float,
) -> Tensor:
    """Equations (3) and (4). Keys and values are mixed in float32 and rounded once."""
    found = measured_for("inner", query, key, plan, bank, key_mask is not None or bank_mask is not None)
    setting, mix = (None, None) if found is None else (found.setting, found.mix)
    return attend("inner", (query, key, value, key_mask), (*bank, bank_mask), plan, fuse_self, scale, setting, mix)


def attend(
    mode: str,
    own: Own,
    source: Source,
    plan: InterpolationPlan,
    fuse_self: bool,
    scale: float,
    setting: Setting | None = None,
    mix: str | None = None,
) -> Tensor:
    """Either op, launched as told; without `setting` as the chip's table says.

    `mix`, inner only: keys mixed "before" or "on_the_way" of the attention kernel; default: by their number.
    """
    query = own[0]
    output = empty_output(query)
    if not output.numel():
        return output
    with torch.cuda.device_of(query):
        kind = "listed"
        if mode == "inner":
            if mix is None:
                mix = "before" if source[0].shape[2] > MIX_ON_THE_WAY else "on_the_way"
            kind = "packed" if mix == "before" else "mixed"
            source = mixed_bank(plan, *source) if mix == "before" else source
        attention_launch(kind, target_of(query.device), own, source, output, plan, fuse_self, scale, setting).run()
    return output


def mixed_bank(
    plan: InterpolationPlan, bank_key: Tensor, bank_value: Tensor, bank_mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """(N, H, Ss, D) keys and values (3) and (N, Ss) mask of the N interpolated rows, in the schedule's order."""
    rows, (_, heads, length, head_dim) = plan.num_interpolated, bank_key.shape
    mixed_key, mixed_value = (
        torch.empty(rows, heads, length, head_dim, dtype=bank_key.dtype, device=bank_key.device) for _ in range(2)
    )
    mixed_mask = None
    if bank_mask is not None:
        mixed_mask = torch.empty(rows, length, dtype=torch.bool, device=bank_key.device)
    mixed = mixed_key, mixed_value, mixed_mask
    if mixed_key.numel():
        lerp_launch((bank_key, bank_value, bank_mask), mixed, plan).run()
    return mixed

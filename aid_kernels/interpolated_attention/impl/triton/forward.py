"""Triton implementation: one fused launch for all rows; inner mixes long keys in a launch before it."""

from __future__ import annotations

import torch
from torch import Tensor

from ...inputs import AttentionInputs
from ...layout import empty_output
from ...tuning.targets import target_of
from ...tuning.tile_sizes import LaunchConfig, kernel_mode
from ...tuning.tuned import tuned_for
from .launch import attention_launch, lerp_launch, pack_launch, packed_words
from .support import interpreting

# decided when the kernels were defined, by the import above
INTERPRETED = interpreting()


def outer_attention(inputs: AttentionInputs) -> Tensor:
    """Equations (1) and (2). Shapes and rules of the public op; softmax and sums in float32."""
    return _tuned_attend("outer", inputs)


def inner_attention(inputs: AttentionInputs) -> Tensor:
    """Equations (3) and (4). Keys and values are mixed in float32 and rounded once."""
    return _tuned_attend("inner", inputs)


def attend(mode: str, inputs: AttentionInputs, config: LaunchConfig | None = None, mix: str | None = None) -> Tensor:
    """Either op, launched as told.

    Args:
        config: tiles and options; None means the chip's static ones.
        mix: inner only, keys mixed "before" the attention kernel or "fused" into it; None means by length.
    """
    output = empty_output(inputs.query)
    if not output.numel():
        return output
    with torch.cuda.device_of(inputs.query):
        inputs = with_packed_masks(inputs)
        launched = kernel_mode(mode, inputs.query.shape[2], inputs.bank_key.shape[2], mix)
        if launched == "inner_premixed":
            inputs = premixed(inputs)
        attention_launch(launched, target_of(inputs.query.device), inputs, output, config).run()
    return output


def with_packed_masks(inputs: AttentionInputs) -> AttentionInputs:
    """The inputs with masks as the kernels read them: bits, (N, words) int32."""
    key_mask = _packed(inputs.key_mask)
    bank_mask = key_mask if inputs.bank_mask is inputs.key_mask else _packed(inputs.bank_mask)
    return inputs._replace(key_mask=key_mask, bank_mask=bank_mask)


def premixed(inputs: AttentionInputs) -> AttentionInputs:
    """The inputs with a bank of mixed keys and values (3), (N, H, Ss, D), of the N interpolated rows as scheduled.

    Args:
        inputs: with packed masks.
    """
    (_, heads, length, head_dim), rows = inputs.bank_key.shape, inputs.plan.num_interpolated
    mixed_key, mixed_value = (
        torch.empty(rows, heads, length, head_dim, dtype=bank.dtype, device=bank.device)
        for bank in (inputs.bank_key, inputs.bank_value)
    )
    mixed_mask = inputs.bank_mask
    if mixed_mask is not None:
        mixed_mask = mixed_mask.new_empty(rows, mixed_mask.shape[1])
    mixed = inputs._replace(bank_key=mixed_key, bank_value=mixed_value, bank_mask=mixed_mask)
    if mixed_key.numel():
        lerp_launch(inputs, mixed).run()
    return mixed


def _packed(mask: Tensor | None) -> Tensor | None:
    if mask is None:
        return None
    bits = torch.empty(len(mask), packed_words(mask.shape[1]), dtype=torch.int32, device=mask.device)
    if bits.numel():
        pack_launch(mask, bits).run()
    return bits


def _tuned_attend(mode: str, inputs: AttentionInputs) -> Tensor:
    tuned = tuned_for(mode, inputs)
    return attend(mode, inputs) if tuned is None else attend(mode, inputs, tuned.config, tuned.mix)

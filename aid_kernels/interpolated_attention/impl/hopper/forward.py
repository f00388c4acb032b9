"""Hopper implementation: one launch for all rows of outer attention."""

from __future__ import annotations

import torch
from torch import Tensor

from ...inputs import AttentionInputs
from ...layout import empty_output
from .launch import attention_launch


def outer_attention(inputs: AttentionInputs) -> Tensor:
    """Equations (1) and (2), for what `support` lets through; softmax and sums in float32."""
    output = empty_output(inputs.query)
    if output.numel():
        with torch.cuda.device_of(inputs.query):
            attention_launch(inputs, output).run()
    return output

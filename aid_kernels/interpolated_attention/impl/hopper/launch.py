"""Launch of the Hopper kernel: descriptors, constants and options, from shapes and strides alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from ...inputs import AttentionInputs
from .attend import attention_kernel

# queries of a program, half for each consumer
BLOCK_M = 128
# by head_dim: keys of a block, and blocks ahead. More of either spills
BLOCKS = {64: (128, 2), 128: (64, 3)}
# of a thread: the accumulators of a consumer, and next to nothing for the loading warp
CONSUMER_REGISTERS, PRODUCER_REGISTERS = 232, 24
_ELEMENTS = {torch.float16: gl.float16, torch.bfloat16: gl.bfloat16}


@dataclass(frozen=True)
class HopperLaunch:
    """The kernel and all it is launched with; `benchmarks.compile_report.hopper` compiles it without launching it."""

    kernel: Any
    grid: tuple[int, ...]
    arguments: dict[str, Any]
    constants: dict[str, Any]
    options: dict[str, Any]

    def run(self) -> None:
        self.kernel[self.grid](**self.arguments, **self.constants, **self.options)


def attention_launch(inputs: AttentionInputs, output: Tensor) -> HopperLaunch:
    """The launch that fills `output` (B, H, Sq, D), which is not empty."""
    batch, heads, query_length, head_dim = inputs.query.shape
    key_length, bank_length = inputs.key.shape[2], inputs.bank_key.shape[2]
    block_n, buffers = BLOCKS[head_dim]
    plan = inputs.plan
    keys = {name: descriptor(getattr(inputs, name), block_n) for name in ("key", "value", "bank_key", "bank_value")}
    return HopperLaunch(
        kernel=attention_kernel,
        grid=(batch * heads * -(-query_length // BLOCK_M),),
        arguments=dict(
            query=descriptor(inputs.query, BLOCK_M // 2),
            **keys,
            output=descriptor(output, BLOCK_M // 2),
            sources=plan.sources,
            weights=plan.weights,
            schedule=plan.schedule,
            batch=batch,
            heads=heads,
            query_length=query_length,
            key_length=key_length,
            bank_length=bank_length,
            num_sources=plan.num_sources,
            scale=inputs.scale * math.log2(math.e),
        ),
        constants=dict(
            TERMS=max(1, plan.num_sources),
            FUSE_SELF=bool(inputs.fuse_self),
            EVEN=key_length % block_n == 0,
            BANK_EVEN=bank_length % block_n == 0,
            BLOCK_M=BLOCK_M,
            BLOCK_N=block_n,
            HEAD_DIM=head_dim,
            BUFFERS=buffers,
            CONSUMER_REGISTERS=CONSUMER_REGISTERS,
            PRODUCER_REGISTERS=PRODUCER_REGISTERS,
        ),
        options=dict(num_warps=4, enable_fp_fusion=True),
    )


def descriptor(view: Tensor, positions: int) -> TensorDescriptor:
    """What the TMA unit is told of (entry, head, position, column): blocks of so many positions of one head.

    Past the end of a head it reads zeros and writes nothing.
    """
    block = [1, 1, positions, view.shape[3]]
    layout = gl.NVMMASharedLayout.get_default_for(block, _ELEMENTS[view.dtype])
    # a dimension of size 1 may have any stride
    dense = view.shape[3]
    steps = [step if size > 1 else dense for step, size in zip(view.stride()[:3], view.shape[:3], strict=True)]
    return TensorDescriptor(view, list(view.shape), [*steps, 1], block, layout)

"""Kernel launches: every argument, constant and option, from the tensors' shapes and strides alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from ...inputs import AttentionInputs
from ...tuning.tile_sizes import LERP_BLOCK, MAX_UNROLLED, LaunchConfig, Tiles, fit, static_config
from .attend import attention_kernel
from .lerp import lerp_kernel
from .pack import MASK_ALIGN, PACK_BLOCK, pack_kernel
from .tile_ops import WORD


@dataclass(frozen=True)
class Launch:
    """A kernel and all it is launched with; `benchmarks.compile_report` compiles it without launching it."""

    kernel: Any
    grid: tuple[int, ...]
    arguments: dict[str, Any]
    constants: dict[str, Any]
    options: dict[str, Any]

    def run(self) -> None:
        self.kernel[self.grid](**self.arguments, **self.constants, **self.options)


def attention_launch(
    mode: str, target: str, inputs: AttentionInputs, output: Tensor, config: LaunchConfig | None = None
) -> Launch:
    """The launch that fills `output` (B, H, Sq, D), which is not empty.

    Args:
        mode: the kernel's, as `kernel_mode` says; for "inner_premixed" the bank holds what `lerp_launch` made.
        inputs: with masks as `pack_launch` makes them.
        target: the chip, as `target_of` names it.
        config: tuned tiles and options; None means the chip's static ones.
    """
    batch, heads, query_length, head_dim = inputs.query.shape
    key_length, bank_length = inputs.key.shape[2], inputs.bank_key.shape[2]
    # inner is one term; a plan without sources is one term of weight zero
    terms = max(1, inputs.plan.num_sources) if mode == "outer" else 1
    many, keys = terms > MAX_UNROLLED, max(key_length, bank_length)
    if config is None:
        config = static_config(
            target, inputs.query.itemsize, head_dim, many=many, masked=inputs.masked, inner=mode != "outer",
            queries=query_length, keys=keys,
        )  # fmt: skip
    fitted = fit(target, head_dim, config, keys)
    tiles = fitted.tiles
    kept = inputs[1:5]
    if tiles.descriptors and (many or inputs.masked or mode == "inner_fused" or not all(map(_describable, kept))):
        tiles = replace(tiles, descriptors=False)  # the same blocks, by pointers
    options = dict(num_warps=fitted.num_warps, num_stages=fitted.num_stages, enable_fp_fusion=True)
    if target.startswith("sm_"):
        # ptxas would rather spill a few bytes where keys are mixed than let fewer warps be resident
        registers = fitted.registers or (255 if mode == "inner_fused" else 0)
        options |= dict(maxnreg=registers) if registers else {}
    names = ("query", "key", "value", "output", "bank_key", "bank_value")
    views = {name: output if name == "output" else getattr(inputs, name) for name in names}
    unit = _stride_unit(*views.values())
    described = {name: _descriptor(views[name], tiles) for name in names[1:3] + names[4:]} if tiles.descriptors else {}
    return Launch(
        kernel=attention_kernel,
        grid=(batch * heads * -(-query_length // tiles.block_m) * tiles.slices,),
        arguments=dict(
            **(views | described),
            **_masks(key_mask=inputs.key_mask, bank_mask=inputs.bank_mask),
            **_plan(inputs),
            **_steps(unit, **views),
            batch=batch,
            heads=heads,
            query_length=query_length,
            key_length=key_length,
            bank_length=bank_length,
            scale=(abs(inputs.scale) or 1.0) * math.log2(math.e),
        ),
        constants=dict(
            MODE=mode,
            SLOTS=0 if many else terms,
            FUSE_SELF=inputs.fuse_self,
            SIGN=(inputs.scale > 0) - (inputs.scale < 0),
            EVEN=key_length % tiles.block_n == 0,
            BANK_EVEN=bank_length % tiles.block_n == 0,
            STRIDE_UNIT=unit,
            USE_INT64=needs_int64(max(tiles.block_m, tiles.block_n), *views.values()),
            TILES=tiles,
        ),
        options=options,
    )


def lerp_launch(inputs: AttentionInputs, mixed: AttentionInputs) -> Launch:
    """The launch that mixes the bank of `inputs` into that of `mixed`, (N, H, Ss, D), which is not empty.

    N: the plan's interpolated rows, in the schedule's order. Masks are packed in both.
    """
    rows, heads, length, head_dim = mixed.bank_key.shape
    views = dict(
        bank_key=inputs.bank_key,
        bank_value=inputs.bank_value,
        mixed_key=mixed.bank_key,
        mixed_value=mixed.bank_value,
    )
    unit = _stride_unit(*views.values())
    return Launch(
        kernel=lerp_kernel,
        grid=(-(-length // LERP_BLOCK) * heads * rows,),
        arguments=dict(
            **views,
            **_masks(bank_mask=inputs.bank_mask, mixed_mask=mixed.bank_mask),
            **_plan(inputs),
            **_steps(unit, **views),
            heads=heads,
            length=length,
        ),
        constants=dict(
            HEAD_DIM=head_dim,
            WIDTH=max(16, 1 << (head_dim - 1).bit_length()),
            BLOCK=LERP_BLOCK,
            STRIDE_UNIT=unit,
            USE_INT64=needs_int64(LERP_BLOCK, *views.values()),
        ),
        # with masks 4 warps spill a few bytes
        options=dict(num_warps=8 if inputs.masked else 4, num_stages=1, enable_fp_fusion=True),
    )


def pack_launch(mask: Tensor, bits: Tensor) -> Launch:
    """The launch that packs a mask of keys, (N, S) bool, into `bits`, (N, `packed_words(S)`) int32, not empty."""
    rows, words = bits.shape
    batch, step = mask.stride()
    return Launch(
        kernel=pack_kernel,
        grid=(rows * -(-words // PACK_BLOCK.value),),
        arguments=dict(
            mask=mask.view(torch.uint8),
            bits=bits,
            mask_batch=batch,
            mask_step=step,
            bits_batch=words,
            length=mask.shape[1],
        ),
        constants={},
        options=dict(num_warps=4, num_stages=1),
    )


def packed_words(length: int) -> int:
    """Words of a packed mask of so many keys: none of a block of keys is past them."""
    return -(-length // (WORD.value * MASK_ALIGN.value)) * MASK_ALIGN.value


def needs_int64(positions: int, *tensors: Tensor) -> bool:
    """Whether an offset within a tile of `positions` rows can pass 2^31 elements."""
    return max(positions * tensor.stride(2) + tensor.shape[3] for tensor in tensors) >= 2**31


def _describable(tensor: Tensor) -> bool:
    """Whether a tensor descriptor can name a tensor: rows and base at multiples of 16 bytes, nothing expanded."""
    aligned = all(step * tensor.itemsize % 16 == 0 and step > 0 for step in _described_strides(tensor))
    return tensor.numel() > 0 and aligned and tensor.data_ptr() % 16 == 0


def _described_strides(tensor: Tensor) -> list[int]:
    """Strides but the last; those of dimensions of size 1, which can be anything, as if the rest were contiguous."""
    strides = tensor.stride()[:-1]
    return [step if size > 1 else tensor.numel() * 16 for step, size in zip(strides, tensor.shape[:-1], strict=True)]


def _descriptor(tensor: Tensor, tiles: Tiles) -> TensorDescriptor:
    """Blocks of one entry and head, as wide as the tile: keys and values have the same tiles."""
    return TensorDescriptor(
        tensor, list(tensor.shape), [*_described_strides(tensor), 1], [1, 1, tiles.block_n, tiles.key_main]
    )


def _stride_unit(*tensors: Tensor) -> int:
    """Elements in 16 bytes if every stride is a multiple of that, else 1.

    Triton itself notices multiples of 16 elements only, which rows of 40 contiguous elements are not; without it such
    rows would be read two bytes at a time.
    """
    unit = 16 // tensors[0].itemsize
    return unit if all(step % unit == 0 for tensor in tensors for step in _strides(tensor)) else 1


def _strides(tensor: Tensor) -> list[int]:
    """Steps along all dimensions but the last; 0 along those of size 1, where a stride can be anything."""
    return [step if size > 1 else 0 for step, size in zip(tensor.stride()[:-1], tensor.shape[:-1], strict=True)]


def _steps(unit: int, **tensors: Tensor) -> dict[str, int]:
    steps: dict[str, int] = {}
    for name, tensor in tensors.items():
        batch, head, position = _strides(tensor)
        steps |= {f"{name}_batch": batch // unit, f"{name}_head": head // unit, f"{name}_step": position // unit}
    return steps


def _plan(inputs: AttentionInputs) -> dict[str, Tensor | int]:
    plan = inputs.plan
    return dict(sources=plan.sources, weights=plan.weights, schedule=plan.schedule, num_sources=plan.num_sources)


def _masks(**masks: Tensor | None) -> dict[str, Tensor | int | None]:
    """Packed masks, with their steps."""
    arguments: dict[str, Tensor | int | None] = {}
    for name, mask in masks.items():
        arguments |= {name: mask, f"{name}_batch": 0 if mask is None else mask.stride(0)}
    return arguments

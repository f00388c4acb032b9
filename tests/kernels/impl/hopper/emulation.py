"""Emulation of the Hopper kernel: its own source, run on a pretended multiprocessor in place of Gluon's language."""

from __future__ import annotations

import importlib.util
import math
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aid_kernels.interpolated_attention.impl.hopper import attend, launch
from aid_kernels.interpolated_attention.inputs import AttentionInputs

from .machine import Multiprocessor
from .memory import Barrier, Memory, Tile


@dataclass
class Pointer:
    """A place in a tensor's memory."""

    tensor: Tensor
    place: Any = 0

    def __add__(self, step: Any) -> Pointer:
        return Pointer(self.tensor, self.place + step)


@dataclass
class Descriptor:
    """A tensor descriptor, as the kernel sees it."""

    tensor: Tensor
    block: list[int]
    layout: str = "swizzled"

    @property
    def dtype(self) -> torch.dtype:
        return self.tensor.dtype

    @property
    def block_type(self) -> Any:
        return types.SimpleNamespace(nbytes=math.prod(self.block) * self.tensor.itemsize)


def emulate(inputs: AttentionInputs, seed: int = 0, source: Path | None = None) -> Tensor:
    """The call's output, NaN where nothing was written.

    Args:
        seed: of the order in which partitions go on and copies arrive.
        source: another file with the kernel; None means the package's own.

    Raises:
        ScheduleError: what the pretended multiprocessor found.
    """
    output = torch.full(inputs.query.shape, torch.nan, dtype=inputs.query.dtype)
    what = launch.attention_launch(inputs, output)
    # their order in a call, whatever the order of the launch
    arguments = [_argument(what.arguments.get(name, what.constants.get(name))) for name in what.kernel.arg_names]
    for program in range(what.grid[0]):
        _kernel(source, Multiprocessor(seed + program), program)(*arguments)
    return output


def _argument(value: Any) -> Any:
    if isinstance(value, Tensor):
        return Pointer(value.flatten())
    if hasattr(value, "block_shape"):
        return Descriptor(value.base, value.block_shape)
    return value


def _kernel(source: Path | None, machine: Multiprocessor, program: int) -> Any:
    """The kernel's function and all it calls, in a module whose language is the pretended one."""
    module = attend if source is None else _load(source)
    namespace = dict(vars(module)) | _language(machine, program) | {"LOWEST": attend.LOWEST.value}
    for name, value in vars(module).items():
        if hasattr(value, "fn") and hasattr(value, "arg_names"):
            namespace[name] = types.FunctionType(value.fn.__code__, namespace, name)
    return namespace["attention_kernel"]


def _load(path: Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _language(machine: Multiprocessor, program: int) -> dict[str, Any]:
    """What the kernel's module imports and names."""

    def allocate(dtype: torch.dtype, shape: list[int], layout: Any) -> Memory:
        if dtype == torch.int64:
            memory = Memory([Barrier() for _ in range(shape[0])])
        else:
            memory = Memory([Tile(torch.full(shape[1:], torch.nan, dtype=dtype), machine) for _ in range(shape[0])])
        machine.memory.append(memory)
        return memory

    def begin(barrier: Barrier, count: int) -> None:
        barrier.count = barrier.pending = count

    def load(pointer: Pointer, mask: Any = True, other: Any = 0) -> Any:
        return pointer.tensor[int(pointer.place)] if mask else torch.tensor(other)

    def specialize(parts: list[Any], warps: list[int], registers: list[int]) -> None:
        machine.run([lambda function=function, given=given: function(*given) for function, given in parts])

    def where(condition: Any, yes: Any, no: Any) -> Any:
        return torch.where(torch.as_tensor(condition), torch.as_tensor(yes), torch.as_tensor(no))

    language = types.SimpleNamespace(
        constexpr=lambda value: value, static_range=range, float32=torch.float32, int64=torch.int64,
        program_id=lambda axis: torch.tensor(program), cdiv=lambda length, block: -(-length // block),
        load=load, where=where, maximum=torch.maximum, exp2=torch.exp2,
        max=lambda tensor, axis: tensor.amax(axis), sum=lambda tensor, axis: tensor.sum(axis),
        zeros=lambda shape, dtype, layout: torch.zeros(shape, dtype=dtype),
        full=lambda shape, value, dtype, layout: torch.full(shape, value, dtype=dtype),
        arange=lambda first, end, layout: torch.arange(first, end), convert_layout=lambda tensor, layout: tensor,
        allocate_shared_memory=allocate, warp_specialize=specialize,
        **dict.fromkeys(("NVMMADistributedLayout", "SliceLayout", "DotOperandLayout"), lambda *given: given),
    )  # fmt: skip
    return dict(
        gl=language,
        mbarrier=types.SimpleNamespace(
            init=begin, wait=machine.wait, arrive=machine.arrive, MBarrierLayout=lambda: None,
            expect=lambda barrier, size: machine.arrive(barrier, 1, size),
        ),
        tma=types.SimpleNamespace(store_wait=lambda pending: machine.step()),
        copy_in=lambda source, place, barrier, view: machine.copy_in(source.tensor, source.block, place, barrier, view),
        copy_out=lambda target, place, view: machine.copy_out(target.tensor, target.block, place, view),
        fence_async_shared=machine.fence,
        warpgroup_mma=lambda left, right, total, use_acc=True, is_async=False: machine.multiply(
            left, right, total if use_acc else torch.zeros_like(total)
        ),
        warpgroup_mma_wait=lambda left, deps: machine.wait_products(left, deps),
    )  # fmt: skip

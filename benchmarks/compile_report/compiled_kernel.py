"""Compile one launch for a named GPU on a machine without one, and read what the assembler made of it."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.tools.tensor_descriptor import TensorDescriptor

from aid_kernels.interpolated_attention.impl.triton.launch import Launch
from benchmarks.compile_report.chips import ARCHITECTURES, Architecture

CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"

_POINTERS = {
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.int32: "*i32",
    torch.uint8: "*u8",
}


@dataclass(frozen=True)
class Resources:
    """What a compiled kernel takes: registers of a thread, bytes, counts, and the share of resident warps it allows."""

    registers: int
    spilled: int  # bytes of local memory per thread
    shared: int
    instructions: int  # of the chip's matrix unit
    programs: int  # resident on a multiprocessor
    occupancy: float


def compile_launch(launch: Launch, target: str) -> Any:
    """Triton's compiled kernel, specialised as a launch with these arguments on `target` would be."""
    fixed, types, attributes = dict(launch.constants), {}, {}
    specialised = {parameter.name for parameter in launch.kernel.params if not parameter.do_not_specialize}
    for name, argument in launch.arguments.items():
        number = isinstance(argument, int) and name in specialised
        if argument is None or (number and argument == 1):
            fixed[name] = argument
            continue
        types[name] = _type(argument)
        if isinstance(argument, Tensor) or (number and argument % 16 == 0):
            attributes[name] = [["tt.divisibility", 16]]
        if isinstance(argument, Tensor) and target.startswith("gfx"):
            # what Triton adds on AMD for tensors below 2 GiB
            attributes[name].append(["tt.pointer_range", 32])
    names = launch.kernel.arg_names
    source = ASTSource(
        fn=launch.kernel,
        signature={name: types.get(name, "constexpr") for name in names},
        constexprs={(names.index(name),): value for name, value in fixed.items()},
        attrs={(names.index(name),): value for name, value in attributes.items()},
    )
    return triton.compile(source, target=gpu_target(target), options=launch.options)


def gpu_target(target: str) -> GPUTarget:
    if target.startswith("gfx"):
        return GPUTarget("hip", target, 64)
    return GPUTarget("cuda", int(target.removeprefix("sm_")), 32)


def read_resources(compiled: Any, target: str) -> Resources:
    chip = ARCHITECTURES[target]
    warps, shared = compiled.metadata.num_warps, compiled.metadata.shared
    if target.startswith("gfx"):
        text = compiled.asm["amdgcn"]
        registers = _number(r"\.vgpr_count:\s*(\d+)", text)
        spilled = max(
            4 * _number(r"\.vgpr_spill_count:\s*(\d+)", text), _number(r"\.private_segment_fixed_size:\s*(\d+)", text)
        )
    else:
        text = compiled.asm["ptx"]
        usage = _usage(compiled.asm["cubin"])
        registers = _number(r"REG:(\d+)", usage)
        spilled = _number(r"STACK:(\d+)", usage) + _number(r"LOCAL:(\d+)", usage)
    columns = getattr(compiled.metadata, "tmem_size", None) or 0
    programs = resident_programs(chip, warps, registers, shared, columns)
    share = programs * warps * chip.warp / chip.threads
    return Resources(registers, spilled, shared, text.count(chip.instruction), programs, share)


def resident_programs(chip: Architecture, warps: int, registers: int, shared: int, columns: int) -> int:
    """Programs a multiprocessor runs at once, from registers (granted by eights), shared and tensor memory."""
    threads = warps * chip.warp
    return min(
        chip.programs,
        chip.threads // threads,
        chip.registers // (-(-max(registers, 1) // 8) * 8 * threads),
        chip.shared // (shared + 1024) if chip.warp == 32 else chip.shared // max(shared, 1),
        chip.tensor_memory // columns if columns else chip.programs,
    )


def _usage(cubin: bytes) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(CUOBJDUMP), "--dump-resource-usage", file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"nothing matches {pattern!r} in the assembler's report; has its format changed?")
    return int(found[1])


def _type(argument: Any) -> str:
    if isinstance(argument, Tensor):
        return _POINTERS[argument.dtype]
    if isinstance(argument, TensorDescriptor):
        return f"tensordesc<{_POINTERS[argument.base.dtype][1:]}{list(argument.block_shape)}>"
    if isinstance(argument, float):
        return "fp32"
    return "i32" if -(2**31) <= argument < 2**31 else "i64"

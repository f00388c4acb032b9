"""The tuner's candidates compiled ahead, in processes beside the one that measures, into Triton's own cache."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context

import torch

from benchmarks.operator.shapes import LayerShape
from benchmarks.tune.space import Candidate

MOST_PROCESSES = 16
SPILL_LIMIT = 64  # bytes of a thread: a few may cost nothing, more always do


def start_pool() -> ProcessPoolExecutor:
    """Processes that compile; to be shut down by the caller."""
    return ProcessPoolExecutor(min(MOST_PROCESSES, os.cpu_count() or 1), mp_context=get_context("spawn"))


def submit(
    pool: ProcessPoolExecutor, mode: str, target: str, shape: LayerShape, dtype: str, frames: int, sources: int,
    chosen: Sequence[Candidate],
) -> dict[Candidate, Future[str | None]]:  # fmt: skip
    """For each candidate what will say whether it can run."""
    return {
        candidate: pool.submit(problem_of, mode, target, shape, dtype, frames, sources, candidate)
        for candidate in chosen
    }


def problem_of(
    mode: str, target: str, shape: LayerShape, dtype: str, frames: int, sources: int, candidate: Candidate
) -> str | None:
    """Compile one candidate as a launch of it would be; why it is not worth a measurement, or None."""
    from triton.compiler.errors import CompilationError

    from aid_kernels import InterpolationPlan
    from aid_kernels.interpolated_attention.impl.triton.launch import attention_launch
    from aid_kernels.interpolated_attention.inputs import AttentionInputs
    from aid_kernels.interpolated_attention.tuning.tile_sizes import kernel_mode
    from benchmarks.compile_report.chips import ARCHITECTURES
    from benchmarks.compile_report.compiled_kernel import CUOBJDUMP, compile_launch, read_resources

    def empty(length: int) -> torch.Tensor:
        views = torch.empty(frames, length, shape.heads, shape.head_dim, dtype=getattr(torch, dtype), device="meta")
        return views.transpose(1, 2)

    query, key, value, output = (
        empty(length) for length in (shape.query_length, shape.key_length, shape.key_length, shape.query_length)
    )
    bank_key, bank_value = key, value
    if candidate.mix == "before":
        bank_key, bank_value = (torch.empty(key.shape, dtype=key.dtype, device="meta")[:-2] for _ in range(2))
    weights = torch.zeros(frames, sources)
    weights[sources:, 0] = 1
    plan = InterpolationPlan(torch.zeros(frames, sources, dtype=torch.int32), weights)
    scale = shape.head_dim**-0.5
    inputs = AttentionInputs(query, key, value, bank_key, bank_value, None, None, plan, True, scale)
    try:
        launched = kernel_mode(mode, shape.query_length, bank_key.shape[2], candidate.mix)
        launch = attention_launch(launched, target, inputs, output, candidate.setting)
        compiled = compile_launch(launch, target)
        if not CUOBJDUMP.exists():
            return None  # the measurement will tell
        found = read_resources(compiled, target)
    except CompilationError as error:
        return f"does not compile: {' '.join(str(error).split())[-200:]}"
    except Exception:  # noqa: BLE001 - not this process's to judge: the launch that is measured will raise it again
        return None
    if found.shared > ARCHITECTURES[target].shared_limit:
        return f"wants {found.shared} bytes of shared memory, the chip has {ARCHITECTURES[target].shared_limit}"
    return f"spills {found.spilled} bytes" if found.spilled > SPILL_LIMIT else None
